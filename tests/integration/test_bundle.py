# SPDX-License-Identifier: Apache-2.0
"""Bundles: read on a machine that has none of the target's files, they give the same report; bad ones give one clear line."""

import contextlib
import io
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tarfile
import time
import unittest

import harness

QUICK = 60  # seconds; what takes longer on a small core hangs
MIB = 1 << 20


def namespace(*options):
    """The beginning of a command that runs in a mount namespace of its own."""
    command = ["unshare", *options, "-m"] if os.geteuid() == 0 else ["unshare", "-Ur", *options, "-m"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        raise harness.Unavailable("unshare -m is not permitted here")
    return command


def zstd(data, *options):
    if not shutil.which("zstd"):
        raise harness.Unavailable("zstd is missing")
    return subprocess.run(["zstd", "-q", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def open_bundle(path):
    return tarfile.open(fileobj=io.BytesIO(zstd(path.read_bytes(), "-d")))


EX_CANNOT_WRITE = 73


class OtherMachine:
    """A root directory with hangscope and its libraries, under names that no target has."""

    def __init__(self, directory):
        self.root = pathlib.Path(directory)
        self.command = namespace()
        for name in ("proc", "tmp", "hangscope"):
            (self.root / name).mkdir()
        listed = subprocess.run(["ldd", str(harness.HANGSCOPE)], capture_output=True, text=True, check=True).stdout
        paths = [pathlib.Path(path) for path in re.findall(r"(/\S+) \(0x", listed)]
        self.loader = next(path.name for path in paths if path.name.startswith("ld-"))
        libc = next(path for path in paths if path.name.startswith("libc."))
        for path in [harness.HANGSCOPE, libc.resolve().with_name("libthread_db.so.1"), *paths]:
            shutil.copy(path, self.root / "hangscope" / path.name)

    def hangscope(self, *args):
        """Run it there. Sanitizers need /proc."""
        there = f"/hangscope/{self.loader} --library-path /hangscope /hangscope/{harness.HANGSCOPE.name}"
        script = f'mount --rbind /proc "$0/proc" && exec chroot "$0" {there} "$@"'
        command = [*self.command, "sh", "-c", script, str(self.root), *map(str, args)]
        env = {"PATH": os.environ["PATH"], "TMPDIR": "/tmp", "ASAN_OPTIONS": "exitcode=99:detect_leaks=0"}
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.RUN_TIMEOUT, check=False)
        return harness.Result(command, done.returncode, done.stdout, done.stderr)


class Base(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.tmp = cls.stack.enter_context(harness.temp_dir())

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def bundle(self, core, path, *options, status=harness.EX_CLEAR):
        result = harness.hangscope("bundle", core, "-o", path, *options)
        self.assertEqual(result.status, status, str(result))
        self.assertEqual(result.out, "")
        return result

    def refused(self, result, status, pattern):
        self.assertEqual(result.status, status, str(result))
        self.assertEqual(result.out, "")
        self.assertRegex(result.err, pattern)
        self.assertLessEqual(len(result.err.strip().splitlines()), 3, str(result))


class Elsewhere(Base):
    """The same report from a bundle where nothing else is."""

    def same_elsewhere(self, sample, jdk=None):
        directory = self.tmp / (jdk.name if jdk else "native")
        machine = OtherMachine(self.make(directory))
        with sample.start(jdk) as target:
            core = harness.gcore(target.pid, directory)
            self.bundle(core, machine.root / "b.tar.zst")
            with self.subTest("of the process"):
                self.of_process(target, machine)
        with self.subTest("the files are not there"):
            bare = machine.root / "core"
            core.rename(bare)
            missing = machine.hangscope("/core", "--json").json()["modules"]
            self.assertEqual({module["state"] for module in missing} - {"ok"}, {"missing"})
            bare.rename(core)
        for view in ([], ["stacks", "--all"], ["stacks", "--format=jstack"], ["graph"]):
            with self.subTest(view=view):
                verb, options = view[:1], view[1:]
                here = harness.hangscope(*verb, core, *options)
                there = machine.hangscope(*verb, "/b.tar.zst", *options)
                self.assertEqual(there.status, here.status, str(there))
                self.assertEqual(there.out.replace("b.tar.zst", core.name), here.out)
        here = harness.hangscope(core, "--json").json()
        there = machine.hangscope("/b.tar.zst", "--json").json()
        self.assertEqual((here["target"].pop("path"), there["target"].pop("path")), (str(core), "/b.tar.zst"))
        self.assertEqual(there, here)
        self.assertEqual({m["state"] for m in here["modules"] if m["path"] != "[vdso]"}, {"ok"})
        core.unlink()

    def of_process(self, target, machine):
        """A snapshot is packed: the report is that of the snapshot."""
        path = machine.root / "live.tar.zst"
        result = self.bundle(target.pid, path)
        target.assert_running(self)
        self.assertIn(f"snapshot of {target.pid}: ", result.err)
        with open_bundle(path) as archive:
            self.assertIn("texts/status", archive.getnames())
            archive.extract("core", machine.root)
        here = harness.hangscope(machine.root / "core", "--json").json()
        there = machine.hangscope("/live.tar.zst", "--json").json()
        self.assertEqual((here["target"]["kind"], here["verdict"]), ("snapshot", "deadlock"))
        self.assertNotEqual(here["target"].pop("path"), there["target"].pop("path"))
        self.assertEqual(there, here)
        path.unlink()
        (machine.root / "core").unlink()

    def make(self, directory):
        directory.mkdir()
        (directory / "root").mkdir()
        return directory / "root"

    def test_native(self):
        self.same_elsewhere(harness.Sample("pthread-cycle"))

    def test_17(self):
        self.same_elsewhere(harness.Sample("monitor-and-reentrantlock"), harness.need_jdk("17"))

    def test_25(self):
        self.same_elsewhere(harness.Sample("two-monitors"), harness.need_jdk("25"))


class Descriptors(Base):
    def names(self, path):
        with open_bundle(path) as archive:
            return sorted(archive.getnames())

    def test_few(self):
        """What is not packed because no more files can be opened is named; the soft limit is none."""
        if not shutil.which("prlimit"):
            self.skipTest("prlimit is missing")
        path = self.tmp / "few.tar.zst"
        with harness.Sample("pthread-cycle").start() as target:
            core = harness.gcore(target.pid, self.tmp)
            self.bundle(core, path)
            everything = self.names(path)
            path.unlink()
            for soft, hard in ((6, 4096), *((n, n) for n in range(6, 20))):
                with self.subTest(soft=soft, hard=hard):
                    result = harness.hangscope("bundle", core, "-o", path, prefix=["prlimit", f"--nofile={soft}:{hard}"])
                    if hard > soft or result.status == harness.EX_CLEAR:
                        self.assertEqual(result.status, harness.EX_CLEAR, str(result))
                        self.assertEqual(self.names(path), everything)
                    elif result.status == harness.EX_INCOMPLETE:
                        self.assertIn("Too many open files", result.err)
                    else:
                        self.assertIn(result.status, (harness.EX_NOINPUT, EX_CANNOT_WRITE), str(result))
                        self.assertIn("Too many open files", result.err)
                path.unlink(missing_ok=True)
            core.unlink()


class Native(Base):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not harness.HANGSCOPE.exists():
            raise harness.Unavailable(f"no hangscope at {harness.HANGSCOPE}: build it, or set HANGSCOPE")
        cls.program = cls.tmp / "program"
        if not (harness.SAMPLES_OUT / "pthread-cycle/main").exists():
            harness.build_samples("pthread-cycle")
        shutil.copy(harness.SAMPLES_OUT / "pthread-cycle/main", cls.program)
        cls.target = cls.stack.enter_context(harness.Target([cls.program]))
        cls.core = harness.gcore(cls.target.pid, cls.tmp)
        cls.whole = cls.tmp / "whole"  # found by its content, not by its name
        result = harness.hangscope("bundle", cls.core, "-o", cls.whole)
        assert result.status == harness.EX_CLEAR, str(result)

    def scratch(self, name, content=None):
        path = self.tmp / name
        self.addCleanup(path.unlink, missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        return path

    def manifest(self, path):
        with open_bundle(path) as archive:
            return archive.getnames(), json.load(archive.extractfile("manifest.json"))

    # What is in it.

    def test_contents(self):
        names, manifest = self.manifest(self.whole)
        self.assertEqual(names[0], "manifest.json")
        self.assertEqual(names[-1], "core")
        self.assertEqual(manifest["schema"], "hangscope-bundle/1")
        self.assertEqual(manifest["pid"], self.target.pid)
        self.assertEqual(manifest["core"]["size"], self.core.stat().st_size)
        self.assertEqual(manifest["core"]["path"], str(self.core))
        listed = [line["name"] for line in manifest["texts"] + manifest["files"]]
        self.assertEqual(names[1:-1], listed)
        program = next(line for line in manifest["files"] if line["path"] == str(self.program))
        self.assertEqual(program["state"], "ok")
        self.assertEqual(program["name"], f"files/{program['build_id']}/program")
        with open_bundle(self.whole) as archive:
            self.assertEqual(archive.extractfile(program["name"]).read(), self.program.read_bytes())
            self.assertEqual(archive.extractfile("core").read(), self.core.read_bytes())
            self.assertEqual({member.mode for member in archive.getmembers()}, {0o600})

    def test_texts_of_the_process(self):
        with open_bundle(self.whole) as archive:
            texts = {name for name in archive.getnames() if name.startswith("texts/")}
            self.assertLessEqual({f"texts/{name}" for name in ("maps", "status", "limits", "cgroup", "mountinfo", "cmdline")}, texts)
            self.assertNotIn("texts/environ", texts)
            self.assertEqual(archive.extractfile("texts/cmdline").read(), f"{self.program}\0".encode())
            self.assertIn(str(self.program).encode(), archive.extractfile("texts/maps").read())

    def test_another_process_has_the_number(self):
        """Its texts are not the core's: the auxiliary vector tells."""
        path, core = self.scratch("other.b"), self.scratch("core.other", self.core.read_bytes())
        with harness.Target([self.program]) as other:
            content = core.read_bytes()
            old, new = (pid.to_bytes(4, "little") for pid in (self.target.pid, other.pid))
            # NT_PRPSINFO: pr_pid, pr_ppid, pr_pgrp, pr_sid, pr_fname
            row = re.search(re.escape(old) + b".{12}program\0", content, re.S)
            core.write_bytes(content[: row.start()] + new + content[row.start() + 4 :])
            self.bundle(core, path)
        names, manifest = self.manifest(path)
        self.assertEqual(manifest["pid"], other.pid)
        self.assertEqual([name for name in names if name.startswith("texts/")], ["texts/maps"])

    def test_summary(self):
        path = self.scratch("summary.b")
        result = self.bundle(self.core, path)
        self.assertRegex(result.err, rf"hangscope: packed the core \(.*\), \d+ files.* into .*\n.*hangscope {re.escape(str(path))}\n$")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_without_compression(self):
        """What came out of `zstd -d` is read, too."""
        path = self.scratch("plain.tar", zstd(self.whole.read_bytes(), "-d"))
        self.assertEqual(harness.hangscope(path).status, harness.EX_FINDINGS)

    def test_bundle_of_a_bundle(self):
        path = self.scratch("again.b")
        self.bundle(self.whole, path)
        self.assertEqual(self.manifest(path)[1]["files"], self.manifest(self.whole)[1]["files"])

    def test_missing_file(self):
        """Named on stderr and in the manifest; the rest is packed."""
        path = self.scratch("missing.b")
        away = self.program.with_suffix(".away")
        self.program.rename(away)
        self.addCleanup(away.rename, self.program)
        result = self.bundle(self.core, path, status=harness.EX_INCOMPLETE)
        self.assertRegex(result.err, rf"missing: {re.escape(str(self.program))}: the file is not here")
        self.assertIn("; 1 file is missing", result.err)
        line = next(line for line in self.manifest(path)[1]["files"] if line["path"] == str(self.program))
        self.assertEqual((line["state"], line["name"], line["size"]), ("missing", None, None))
        here = harness.hangscope(self.core, "--json").json()
        there = harness.hangscope(path, "--json").json()
        self.assertNotEqual(here["target"].pop("path"), there["target"].pop("path"))
        self.assertEqual(there, here)

    @unittest.skipIf(os.geteuid(), "/proc/PID/map_files is for root")
    def test_deleted_file(self):
        """A living process still has what was deleted, or replaced by another build."""
        program, path = self.scratch("deleted", self.program.read_bytes()), self.scratch("deleted.b")
        program.chmod(0o700)
        with harness.Target([program]) as target:
            program.unlink()
            program.write_bytes(pathlib.Path("/bin/sh").read_bytes())
            self.bundle(target.pid, path)
        report = harness.hangscope(path, "--json").json()
        self.assertEqual(report["verdict"], "deadlock")
        self.assertEqual({m["state"] for m in report["modules"] if m["path"] == str(program)}, {"ok"})

    # Where it goes.

    def test_pipe(self):
        path = self.scratch("piped.b")
        result = harness.hangscope("bundle", self.core, "-o", "-", text=False)
        self.assertEqual(result.status, harness.EX_CLEAR)
        self.assertIn(b"hangscope: packed", result.err)
        path.write_bytes(result.out)
        self.assertEqual(self.manifest(path)[1]["files"], self.manifest(self.whole)[1]["files"])

    def test_process_ends_before_it_is_packed(self):
        """What was captured is packed; the process ends while the line about it is waited with."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, b"#")
        os.set_blocking(write, True)
        path = self.tmp / "ended.tar.zst"
        with harness.Sample("pthread-cycle").start() as target:
            command = [str(harness.HANGSCOPE), "bundle", str(target.pid), "-o", str(path)]
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=write)
            os.close(write)
            end = time.monotonic() + harness.RUN_TIMEOUT
            while not pathlib.Path(f"/proc/{child.pid}/syscall").read_text().startswith("1 0x2 "):
                self.assertIsNone(child.poll())
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)
            target.process.kill()
            target.process.wait()
            with open(read, "rb") as pipe:
                said = pipe.read().lstrip(b"#").decode()
            self.assertIn(child.wait(harness.RUN_TIMEOUT), (0, 2), said)
        self.assertIn("packed the snapshot", said)
        self.assertEqual(harness.hangscope(path, "--json").json()["verdict"], "deadlock")

    def test_temporary_directory(self):
        env = {**os.environ, "TMPDIR": "/nowhere"}
        with harness.Sample("pthread-cycle").start() as target:
            result = harness.hangscope("bundle", target.pid, "-o", self.tmp / "x", env=env)
            self.refused(result, EX_CANNOT_WRITE, "/nowhere.*set TMPDIR")
            result = harness.hangscope("bundle", target.pid, "-o", self.tmp / "x", prefix=("prlimit", "--fsize=20000"))
            self.refused(result, EX_CANNOT_WRITE, "temporary directory .*TMPDIR")

    def test_reader_that_goes_away(self):
        command = f'"{harness.HANGSCOPE}" bundle "{self.core}" -o - | head -c 100 >/dev/null; echo "${{PIPESTATUS[0]}}"'
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=QUICK, check=True)
        self.assertIn(done.stdout.strip(), (str(128 + signal.SIGPIPE), str(EX_CANNOT_WRITE)), done.stderr)

    def test_terminal(self):
        master, slave = pty.openpty()
        try:
            command = [str(harness.HANGSCOPE), "bundle", str(self.core), "-o", "-"]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE, text=True, timeout=QUICK, check=False)
            self.assertEqual(done.returncode, harness.EX_USAGE)
            self.assertIn("is a terminal", done.stderr)
            self.assertFalse(select.select([master], [], [], 0)[0], "nothing was written to it")
        finally:
            os.close(slave)
            os.close(master)

    def test_usage(self):
        for args in (("bundle", self.core), ("bundle", self.core, "-o", "x", "--redact"), ("analyze", self.core, "-o", "x"), ("bundle", "-o", "x"), ("bundle", self.core, "-o", "")):
            with self.subTest(args=args):
                self.refused(harness.hangscope(*args), harness.EX_USAGE, "hangscope: ")

    def test_full_disk(self):
        """Of the one who packs: nothing is left. Of the one who reads: a clear line."""
        script = 'mount -t tmpfs -o size=2m none "$0" && "$@"; status=$?; ls -A "$0"; exit $status'
        small = self.tmp / "small"
        small.mkdir(exist_ok=True)
        for command, status in (
            (["bundle", self.core, "-o", small / "b"], EX_CANNOT_WRITE),
            (["bundle", self.target.pid, "-o", small / "b"], EX_CANNOT_WRITE),
            ([self.whole], harness.EX_NOINPUT),
        ):
            with self.subTest(command=command):
                result = harness.hangscope(
                    *command, prefix=[*namespace(), "sh", "-c", script, small], env={"TMPDIR": str(small)}, timeout=QUICK
                )
                self.assertEqual(result.status, status, str(result))
                self.assertEqual(result.out, "", "nothing is left in the directory")
                self.assertIn("No space left on device", result.err)

    def test_killed(self):
        """Whenever it ends, there is no half of a file."""
        path = self.scratch("killed.b")
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            # The pipe is full at once: it cannot have ended by itself.
            with subprocess.Popen(
                [str(harness.HANGSCOPE), "bundle", str(self.core), "-o", str(path)], stderr=subprocess.DEVNULL
            ) as process:
                process.send_signal(signum)
            self.assertIn(process.returncode, (-signum, 0))
            self.assertEqual(path.exists(), process.returncode == 0)
            path.unlink(missing_ok=True)
            self.assertEqual([p.name for p in self.tmp.glob(".hangscope-*")], [])

    # Bad ones.

    def test_no_process(self):
        path = self.scratch("none.b")
        self.refused(harness.hangscope("bundle", "4194304", "-o", path), harness.EX_NOINPUT, "4194304")
        self.assertFalse(path.exists())

    def test_truncated(self):
        content = self.whole.read_bytes()
        for percent in (0.01, 1, 50, 99):
            with self.subTest(percent=percent):
                path = self.scratch("cut.tar.zst", content[: max(4, int(len(content) * percent / 100))])
                self.refused(harness.hangscope(path, timeout=QUICK), harness.EX_NOINPUT, r"cut\.tar\.zst")

    def test_other_archive(self):
        path = self.scratch("other.tar.zst")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(self.core, "core")
        path.write_bytes(zstd(buffer.getvalue()))
        self.refused(harness.hangscope(path), harness.EX_NOINPUT, "is a tar archive, but no bundle of hangscope")

    def test_zeros(self):
        """Much from little is a core of zeros at worst: holes, no disk."""
        manifest = {"schema": "hangscope-bundle/1", "core": {"name": "core", "size": 512 * MIB}, "files": [], "texts": []}
        text = json.dumps(manifest).encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, size, content in (("manifest.json", len(text), text), ("core", 512 * MIB, b"")):
                info = tarfile.TarInfo(name)
                info.size = size
                archive.fileobj.write(info.tobuf())
                archive.fileobj.write(content + bytes(-len(content) % 512))
        packed = self.scratch("zeros.tar.zst")
        with open(packed, "wb") as out, subprocess.Popen(["zstd", "-q"], stdin=subprocess.PIPE, stdout=out) as process:
            process.stdin.write(buffer.getvalue().rstrip(b"\0").ljust(4 * 512, b"\0")[: 3 * 512])
            for _ in range(512):
                process.stdin.write(bytes(MIB))
            process.stdin.write(bytes(1024))
        self.assertLess(packed.stat().st_size, MIB)
        self.refused(harness.hangscope(packed, timeout=QUICK), harness.EX_NOINPUT, "not an ELF file")


if __name__ == "__main__":
    harness.main()
