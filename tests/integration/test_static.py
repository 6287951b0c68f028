# SPDX-License-Identifier: Apache-2.0
"""The static hangscope (-DHS_STATIC=ON): in the root directories of other systems, in one that holds nothing else, in a
debug container; and its reports equal to those of the program that is linked dynamically."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import harness
import roots

STATIC = pathlib.Path(os.environ.get("HANGSCOPE_STATIC", harness.HANGSCOPE.parent / "static/hangscope")).absolute()
CYCLE = harness.SAMPLES / "pthread-cycle/main.c"
MUSL = harness.ROOT / "tests/integration/c/musl.c"
SIZE_LIMIT = 4 << 20


class Static(harness.TestCase):
    def setUp(self):
        super().setUp()
        if not STATIC.exists():
            raise harness.Unavailable(f"no static hangscope at {STATIC}: configure with -DHS_STATIC=ON")

    def scratch(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(harness.temp_dir())

    def content(self, *extra):
        """A directory with hangscope and what else is to be copied into a root directory."""
        directory = self.scratch()
        os.chmod(directory, 0o755)
        for file in (STATIC, *extra):
            shutil.copy(file, directory)
        return directory

    def need_no_yama(self):
        yama = pathlib.Path("/proc/sys/kernel/yama/ptrace_scope")
        if yama.exists() and yama.read_text().strip() != "0":
            self.skipTest("Yama lets no user look at processes that are not children")

    def compile(self, directory, *options, compiler="cc", source=CYCLE):
        command = [compiler, "-g", "-O0", "-o", directory / "target", source, *options]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=harness.RUN_TIMEOUT)

    def check_cycle(self, done, what, names=("ledger_lock", "cache_lock", "audit_lock")):
        text = f"{what}\n{done.stdout.decode(errors='replace')}{done.stderr.decode(errors='replace')}"
        self.assertEqual(done.returncode, harness.EX_FINDINGS, text)
        report = harness.Report(json.loads(done.stdout))
        [finding] = report.findings("deadlock.cycle")
        self.assertEqual((finding["certainty"], finding["confirmed"]), ("read", True), text)
        for name in names:
            self.assertIn(name, json.dumps(finding), text)
        return report


class Program(Static):
    def test_needs_no_file(self):
        """No interpreter, no library, and at its start no file is opened: no locale, no character sets, no names."""
        headers = subprocess.run(["readelf", "-lW", STATIC], capture_output=True, text=True, check=True).stdout
        self.assertIn("DYN (", headers, "position independent")
        self.assertNotIn("INTERP", headers)
        needed = subprocess.run(["readelf", "-dW", STATIC], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("NEEDED", needed)
        self.assertLess(STATIC.stat().st_size, SIZE_LIMIT)
        symbols = subprocess.run(["nm", f"{STATIC}.debug"], capture_output=True, text=True, check=True).stdout
        names = {line.split()[-1] for line in symbols.splitlines()}
        self.assertTrue("main" in names)
        # What would ask the name service, or load code of the root directory that it runs in.
        self.assertEqual(names & {"getaddrinfo", "gethostbyname", "getpwnam", "getpwuid", "getgrnam", "getgrgid"}, set())
        if not shutil.which("strace"):
            raise harness.Unavailable("strace is missing")
        command = ["strace", "-f", "-e", "trace=open,openat,openat2,connect", STATIC, "--version"]
        traced = subprocess.run(command, capture_output=True, text=True, timeout=harness.RUN_TIMEOUT)
        self.assertNotRegex(traced.stderr, r"(?m)^(open|connect)")

    def test_says_what_it_lacks(self):
        version = subprocess.run([STATIC, "--version"], capture_output=True, text=True, check=True).stdout
        self.assertRegex(version, r"(?m)^  libthread_db  no")
        self.assertRegex(version, r"(?m)^  unwinding .*no libunwind")
        with harness.Sample("pthread-cycle").start() as target:
            done = subprocess.run([STATIC, str(target.pid), "--unwinder=libunwind"], capture_output=True, text=True)
            self.assertEqual(done.returncode, harness.EX_USAGE, done.stderr)
            self.assertIn("static", done.stderr)

    def equal(self, *args):
        """The JSON of both programs over the same core, which says all that a text or a graph can say."""
        ours = subprocess.run([STATIC, *args, "--json"], capture_output=True, timeout=harness.RUN_TIMEOUT)
        theirs = harness.hangscope(*args, "--json")
        self.assertEqual(ours.returncode, theirs.status, ours.stderr)
        self.assertEqual(json.loads(ours.stdout), theirs.json())
        self.assertEqual(ours.stderr.decode(), theirs.err)

    def check_cores(self, sample, jdk=None, *options):
        with harness.temp_dir() as tmp:
            with sample.start(jdk) as target:
                core = harness.gcore(target.pid, tmp)
                live = subprocess.run([STATIC, str(target.pid), "--json"], capture_output=True, timeout=harness.RUN_TIMEOUT)
                theirs = harness.hangscope(target.pid, "--json")
            self.equal(core)
            self.equal(core, *options)
            packed = tmp / "core.zst"
            subprocess.run(["zstd", "-q", "-1", core, "-o", packed], check=True, timeout=harness.RUN_TIMEOUT)
            self.equal(packed)
        ours = json.loads(live.stdout)
        self.assertEqual(live.returncode, theirs.status)
        self.assertEqual(self.told(ours), self.told(theirs.json()))

    def told(self, data):
        """What two looks at a process that stands still have in common."""
        waiting = [t for t in data["threads"] if t["waits_for"]]
        frames = [[(f["kind"], f["function"], f["method"], f["pc"], f["found_by"]) for f in t["frames"]] for t in waiting]
        names = [(t["tid"], t["name"], t["pthread"], t["start_routine"]) for t in waiting]
        return data["verdict"], data["gaps"], [(f["id"], f["signature"]) for f in data["findings"]], names, frames

    def test_equal_native(self):
        self.check_cores(harness.Sample("pthread-cycle"))

    def test_equal_jvm(self):
        self.check_cores(harness.Sample("loader-lock-vs-link-old-verifier"), harness.need_jdk("17"), "--locals")


class Roots(Static):
    """Copied into the root directory of the target, and run there."""

    def check_debian(self, suite):
        """A program linked for the oldest glibc of them, so that one serves for all."""
        root = roots.need(suite)
        content = self.content()
        self.compile(content, "-pthread", *roots.link_options(roots.need("bullseye")))
        with roots.Container(root, content, ["/tmp/target"]) as target:
            self.assertEqual(target.pid, 1)
            report = self.check_cycle(target.execute("/tmp/hangscope", "1", "--json"), suite)
            # The target's own libc, not ours: its file was read, and its threads were started where they were.
            self.assertEqual([m["state"] for m in report.data["modules"] if "libc" in m["path"]][:1], ["ok"])
            self.assertEqual(sorted(t["start_routine"] for t in report.threads.values()), ["main", "run", "run", "run"])
            self.check_cycle(target.execute("/tmp/hangscope", "1", "--json", "--stop"), f"{suite} --stop")

    def test_bullseye(self):
        self.check_debian("bullseye")

    def test_bookworm(self):
        self.check_debian("bookworm")

    def test_trixie(self):
        self.check_debian("trixie")

    def test_musl(self):
        if not shutil.which("musl-gcc"):
            raise harness.Unavailable("musl-gcc is missing (package musl-tools)")
        content = self.content()
        self.compile(content, compiler="musl-gcc", source=MUSL)
        with roots.Container(roots.need("musl"), content, ["/tmp/target", "recursive"]) as target:
            self.check_cycle(target.execute("/tmp/hangscope", "1", "--json"), "musl", names=())

    def bare_root(self):
        roots.need_rights()
        root = self.scratch()
        os.chmod(root, 0o755)
        for name in ("proc", "tmp"):
            (root / name).mkdir()
        return root

    def test_nothing_else(self):
        """A root directory that holds the target, hangscope and /proc."""
        content = self.content()
        self.compile(content, "-pthread", "-static")
        with roots.Container(self.bare_root(), content, ["/tmp/target"]) as target:
            self.check_cycle(target.execute("/tmp/hangscope", "1", "--json"), "bare")

    def test_own_user(self):
        """Neither root nor any capability: the user that the target runs as (runAsNonRoot)."""
        self.need_no_yama()
        content = self.content()
        self.compile(content, "-pthread", "-static")
        with roots.Container(self.bare_root(), content, ["/tmp/target"], uid=roots.NOBODY) as target:
            self.check_cycle(target.execute("/tmp/hangscope", "1", "--json", uid=roots.NOBODY), "own user")
            other = target.execute("/tmp/hangscope", "1", "--json", uid=roots.NOBODY - 1)
            self.assertEqual(other.returncode, harness.EX_NOPERM, other.stderr)

    def check_jvm(self, name):
        """In the root directory of a JDK, whose libc is another."""
        jdk = harness.need_jdk(name)
        content = self.content()
        with harness.Sample("loader-lock-vs-link-old-verifier").start(jdk) as target:
            env = {**os.environ, "HS_JDK_BIND": str(content)}
            command = [jdk.run, str(content / "hangscope"), str(target.pid), "--json"]
            done = subprocess.run(command, env=env, capture_output=True, timeout=harness.RUN_TIMEOUT)
            self.assertEqual(done.returncode, harness.EX_FINDINGS, done.stderr)
            [finding] = harness.Report(json.loads(done.stdout)).findings("class-loading.loader-lock-vs-link")
            theirs = harness.Report(harness.hangscope(target.pid, "--json").json())
            self.assertEqual(finding["signature"], theirs.findings("class-loading.loader-lock-vs-link")[0]["signature"])

    def test_jvm_11(self):
        self.check_jvm("11")

    def test_jvm_25(self):
        self.check_jvm("25")


class DebugContainer(Static):
    """An ephemeral container: a root directory of its own, the PID namespace of the target."""

    def setUp(self):
        super().setUp()
        self.root = roots.need("musl")
        self.tool = self.content()

    def start(self, uid=0):
        content = self.content()
        self.compile(content, "-pthread", *roots.link_options(roots.need("bullseye")))
        return roots.Container(roots.need("trixie"), content, ["/tmp/target"], uid=uid)

    def test_other_root(self):
        """--profile=general: the capabilities of a container, and SYS_PTRACE."""
        with self.start(uid=roots.NOBODY) as target:
            report = self.check_cycle(target.debug(self.root, self.tool, "/tmp/hangscope", "1", "--json"), "debug")
            # The target's libc, which the debug container does not have.
            self.assertTrue([m for m in report.data["modules"] if "libc.so.6" in m["path"] and m["state"] == "ok"])
            self.assertEqual(report.data["target"]["pid"], 1)
            without = target.debug(self.root, self.tool, "/tmp/hangscope", "1", capabilities=roots.DEFAULT)
            self.assertEqual(without.returncode, harness.EX_NOPERM, without.stderr)

    def test_same_user(self):
        """same-user.json: no capability, the user of the target."""
        self.need_no_yama()
        with self.start(uid=roots.NOBODY) as target:
            self.check_cycle(target.debug(self.root, self.tool, "/tmp/hangscope", "1", "--json", uid=roots.NOBODY), "same user")
            other = target.debug(self.root, self.tool, "/tmp/hangscope", "1", uid=roots.NOBODY - 1)
            self.assertEqual(other.returncode, harness.EX_NOPERM, other.stderr)

    def test_brought_home(self):
        """A snapshot through a pipe, and with the target's files as a bundle: read here, where these files are not."""
        with self.start() as target:
            snapshot = target.debug(self.root, self.tool, "/tmp/hangscope", "snapshot", "1", "-o", "-")
            script = "/tmp/hangscope snapshot 1 -o /tmp/s && /tmp/hangscope bundle /tmp/s --root /proc/1/root -o -"
            bundle = target.debug(self.root, self.tool, "/usr/bin/busybox", "sh", "-c", script)
        with harness.temp_dir() as tmp:
            for name, done in (("snapshot", snapshot), ("bundle", bundle)):
                self.assertEqual(done.returncode, 0, done.stderr)
                (tmp / name).write_bytes(done.stdout)
            # Without the target's files the mutexes are found by what their words look like.
            alone = harness.hangscope(tmp / "snapshot", "--json")
            self.assertEqual(alone.status, harness.EX_FINDINGS, str(alone))
            whole = harness.hangscope(tmp / "bundle", "--json")
            self.assertEqual(whole.status, harness.EX_FINDINGS, str(whole))
            [finding] = harness.Report(whole.json()).findings("deadlock.cycle")
            self.assertIn("ledger_lock", json.dumps(finding))

    def test_jvm(self):
        """A JVM in its own root directory: the report in the debug container, and that of a bundle, read here."""
        jdk = harness.need_jdk("25")
        root = pathlib.Path(jdk.run).parent / "root"
        if not root.is_dir():
            self.skipTest("this JDK has no root directory of its own")
        [java] = (path for path in root.glob("usr/lib/jvm/*/bin/java") if not path.parents[1].is_symlink())
        sample = harness.SAMPLES_OUT / "loader-lock-vs-link-old-verifier"
        if not sample.exists():
            harness.build_samples(sample.name)
        content = self.scratch()
        os.chmod(content, 0o755)
        shutil.copytree(sample, content, dirs_exist_ok=True)
        command = [f"/{java.relative_to(root)}", "-Xmx64m", "-cp", "/tmp/boot", "boot.Boot", "/tmp/app/"]
        with roots.Container(root, content, command) as target:
            report = target.debug(self.root, self.tool, "/tmp/hangscope", "1", "--json")
            bundle = target.debug(self.root, self.tool, "/tmp/hangscope", "bundle", "1", "-o", "-")
        self.assertEqual(report.returncode, harness.EX_FINDINGS, report.stderr)
        self.assertEqual(bundle.returncode, 0, bundle.stderr)
        with harness.temp_dir() as tmp:
            (tmp / "bundle").write_bytes(bundle.stdout)
            home = harness.hangscope(tmp / "bundle", "--json")
        there, here = (harness.Report(data).findings("class-loading.loader-lock-vs-link") for data in (json.loads(report.stdout), home.json()))
        self.assertEqual(len(there), 1)
        self.assertEqual([f["signature"] for f in there], [f["signature"] for f in here])

    def test_copied_in(self):
        """The program through the standard input of a shell in the target's container."""
        with self.start() as target:
            script = "cat > /tmp/hangscope && chmod +x /tmp/hangscope"
            copied = target.execute("/bin/sh", "-c", script, stdin=STATIC.read_bytes())
            self.assertEqual(copied.returncode, 0, copied.stderr)
            self.check_cycle(target.execute("/tmp/hangscope", "1", "--json"), "copied in")


if __name__ == "__main__":
    harness.main()
