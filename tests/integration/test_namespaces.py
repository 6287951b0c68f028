# SPDX-License-Identifier: Apache-2.0
"""Targets in another mount, pid and user namespace with another libc, looked at from outside and from beside them."""

import os
import pathlib
import shutil
import subprocess

import containers
import harness

JAVA, SAMPLE = "25", "/sample"


def jdk_root(name):
    """The root directory that this JDK came with, and its java in there."""
    root = pathlib.Path(harness.need_jdk(name).run).parent / "root"
    found = sorted(root.glob("usr/lib/jvm/*/bin/java"))
    if not found:
        raise harness.Unavailable(f"JDK {name} has no root directory of its own")
    return root, "/" + str(found[0].relative_to(root))


def has_overlay(tmp):
    """May an overlay be mounted over a directory here? Not on top of another one, as a container's root often is."""
    for part in ("lower", "upper", "work", "root"):
        (tmp / "probe" / part).mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir={tmp}/probe/lower,upperdir={tmp}/probe/upper,workdir={tmp}/probe/work"
    command = ["unshare", "-m", "mount", "-t", "overlay", "overlay", "-o", layers, tmp / "probe/root"]
    return subprocess.run(command, capture_output=True).returncode == 0


class Namespaces(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise harness.Unavailable("needs root, to make namespaces")
        if not harness.HANGSCOPE.exists():
            raise harness.Unavailable(f"no hangscope at {harness.HANGSCOPE}: build it, or set HANGSCOPE")
        cls.root, cls.java = jdk_root(JAVA)
        cls.stack = harness.contextlib.ExitStack()
        cls.tmp = cls.stack.enter_context(harness.temp_dir())
        for name in ("two-monitors", "pthread-cycle"):
            if not (harness.SAMPLES_OUT / name / "start").exists():
                harness.build_samples(name)
        # What is not root outside must be able to run it too.
        cls.binary = cls.tmp / "bin"
        cls.binary.mkdir(mode=0o755)
        shutil.copy(harness.HANGSCOPE, cls.binary / "hangscope")
        (cls.binary / "hangscope").chmod(0o755)
        cls.overlay = has_overlay(cls.tmp)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def spec(self, directory, **more):
        """A root of its own: the JDK's directory below an overlay, so that nothing is written to it."""
        spec = {"root": str(self.root), "binds": [[str(harness.SAMPLES_OUT), SAMPLE]], "pid": True, **more}
        base = self.tmp / directory
        for part in ("root", "upper", "work"):
            (base / part).mkdir(parents=True, exist_ok=True)
            (base / part).chmod(0o755)
        if self.overlay:
            spec["root"] = str(base / "root")
            spec["overlay"] = [str(self.root), str(base / "upper"), str(base / "work")]
        return spec

    def start_java(self, spec):
        command = [self.java, "-Xmx64m", "-XX:ReservedCodeCacheSize=48m", "-cp", f"{SAMPLE}/two-monitors", "Main"]
        target = containers.Contained(spec, command)
        self.addCleanup(target.close)
        return target

    def start_native(self, spec, command=(f"{SAMPLE}/pthread-cycle/main",)):
        target = containers.Contained(spec, command)
        self.addCleanup(target.close)
        return target

    def check(self, result, target, threads, own_numbers=True):
        """The deadlock is found, all files are those of the target, and threads have both numbers."""
        self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
        report = harness.Report(result.json())
        [finding] = report.findings("deadlock.cycle")
        self.assertEqual(set(report.thread_names(finding["threads"])), set(threads))
        self.assertTrue(finding["confirmed"])
        self.assertEqual(report.data["gaps"], [])
        self.assertEqual({m["state"] for m in report.data["modules"]}, {"ok"})
        if own_numbers:
            shown = {t["tid"]: t["host_tid"] for t in report.data["threads"] if t["tid"]}
            self.assertEqual(shown, target.tids())
            self.assertNotEqual(target.inner_pid, target.pid)
        for thread in report.data["threads"]:
            if thread["name"] in threads:
                self.assertIn(thread["frames"][-1]["function"], ("__clone3", "clone3", "__clone", "clone", None))
        return report

    JAVA_THREADS = ("transfer-alice-to-bob", "transfer-bob-to-alice")
    NATIVE_THREADS = ("ledger-writer", "cache-flusher", "auditor")

    def check_text(self, target, name):
        """The text shows both numbers of a thread, and either of them names it."""
        numbers = target.tids()
        report = harness.Report(harness.hangscope(target.pid, "--json").json())
        [thread] = [t for t in report.data["threads"] if t["name"] == name]
        inner, host = thread["tid"], thread["host_tid"]
        self.assertEqual(numbers[inner], host)
        line = f"tid {inner} ({host} on the host)"
        text = harness.hangscope(target.pid).out
        self.assertIn(line, text)
        self.assertIn(f"pid {target.pid} ({target.inner_pid} in its own namespace)", text.splitlines()[0])
        for number in (inner, host):
            shown = harness.hangscope("stacks", target.pid, "--thread", number)
            self.assertIn(f'"{name}" {line}', shown.out)
            self.assertEqual(shown.out.count("on the host)"), 1, shown.out)
        # A thread's number on the host is as good as the process's.
        self.assertIn(line, harness.hangscope(host).out)

    def check_core(self, target, threads):
        """gcore on the host writes the host's numbers; owner words and the VM have the others."""
        core = harness.gcore(target.pid, self.tmp)
        result = harness.hangscope(core, "--root", f"/proc/{target.pid}/root", "--json")
        core.unlink()
        report = harness.Report(result.json())
        self.assertEqual([len(f["threads"]) for f in report.findings("deadlock.cycle")], [len(threads)], str(result))
        shown = {t["tid"]: t["host_tid"] for t in report.data["threads"] if t["tid"]}
        self.assertEqual(shown, target.tids())
        return report

    def test_core_of_the_host(self):
        target = self.start_native(self.spec("core-native"))
        self.check_core(target, self.NATIVE_THREADS)
        target.close()
        target = self.start_java(self.spec("core-java"))
        report = self.check_core(target, self.JAVA_THREADS)
        [finding] = report.findings("deadlock.cycle")
        self.assertEqual(set(report.thread_names(finding["threads"])), set(self.JAVA_THREADS))

    def test_java(self):
        target = self.start_java(self.spec("java"))
        self.check(harness.hangscope(target.pid, "--json"), target, self.JAVA_THREADS)
        self.check_text(target, self.JAVA_THREADS[0])

    def test_native(self):
        """On an overlay, whose inode numbers need not be those in maps; libc has the path of the host's."""
        target = self.start_native(self.spec("native"))
        report = self.check(harness.hangscope(target.pid, "--json"), target, self.NATIVE_THREADS)
        libc = next(m for m in report.data["modules"] if m["path"].endswith("/libc.so.6"))
        self.assertTrue(os.path.exists(libc["path"]), "the test wants a path that means another file outside")
        self.check_text(target, self.NATIVE_THREADS[0])

    def test_user_namespace(self):
        for name, start, threads in (
            ("user-java", self.start_java, self.JAVA_THREADS),
            ("user-native", self.start_native, self.NATIVE_THREADS),
        ):
            with self.subTest(name):
                target = start(self.spec(name, user=True))
                self.assertEqual(os.stat(f"/proc/{target.pid}").st_uid, containers.FIRST_UID)
                self.check(harness.hangscope(target.pid, "--json"), target, threads)

    def beside(self, target, name, kinds):
        """Options that run hangscope in namespaces of the target, but with the host's files for its own root."""
        root, binds = containers.host_root(self.tmp / name)
        spec = {"root": str(root), "binds": [*binds, [str(self.binary), "/hangscope"]], "join": target.pid, "join_kinds": kinds}
        return containers.prefix(spec)

    def run_beside(self, target, name, kinds, *arguments):
        return harness.hangscope(*arguments, prefix=self.beside(target, name, kinds), binary="/hangscope/hangscope")

    def test_same_pid_namespace(self):
        """As an ephemeral container of kubectl debug --target: the target's pids, and none of its files."""
        for name, start, threads in (
            ("beside-java", self.start_java, self.JAVA_THREADS),
            ("beside-native", self.start_native, self.NATIVE_THREADS),
        ):
            with self.subTest(name):
                target = start(self.spec(name))
                result = self.run_beside(target, f"{name}-host", ["pid"], target.inner_pid, "--json")
                report = self.check(result, target, threads, own_numbers=False)
                self.assertEqual({t["tid"] for t in report.data["threads"] if t["tid"]}, set(target.tids()))
                self.assertEqual({t["host_tid"] for t in report.data["threads"] if t["tid"]}, set(target.tids()))
                text = self.run_beside(target, f"{name}-host", ["pid"], target.inner_pid)
                self.assertNotIn("on the host)", text.out, "there is one number only")

    def test_same_user_namespace(self):
        """Beside a target in its user namespace: no capability counts outside of it."""
        for name, start, threads in (
            ("peer-java", self.start_java, self.JAVA_THREADS),
            ("peer-native", self.start_native, self.NATIVE_THREADS),
        ):
            with self.subTest(name):
                target = start(self.spec(name, user=True))
                result = self.run_beside(target, f"{name}-host", ["user", "pid"], target.inner_pid, "--json")
                self.check(result, target, threads, own_numbers=False)


class Paths(harness.TestCase):
    """Roots and names that are not as simple as ours."""

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise harness.Unavailable("needs root, to change the root directory")
        if not (harness.SAMPLES_OUT / "pthread-cycle/main").exists():
            harness.build_samples("pthread-cycle")
        cls.stack = harness.contextlib.ExitStack()
        cls.tmp = cls.stack.enter_context(harness.temp_dir())

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def test_odd_names(self):
        directory = self.tmp / "a b\nc (deleted)"
        directory.mkdir()
        program = directory / "x\ty (deleted)"
        shutil.copy(harness.SAMPLES_OUT / "pthread-cycle/main", program)
        with harness.Target([program]) as target:
            reports = [harness.hangscope(target.pid, "--json")]
            core = harness.gcore(target.pid, self.tmp)
            target.assert_running(self)
        reports.append(harness.hangscope(core, "--json"))
        core.unlink()
        for result in reports:
            report = harness.Report(result.json())
            self.assertEqual(len(report.findings("deadlock.cycle")), 1, str(result))
            self.assertEqual({m["state"] for m in report.data["modules"]}, {"ok"}, report.data["gaps"])
            self.assertIn("run", [f["function"] for t in report.data["threads"] for f in t["frames"]])

    def test_links_inside_of_the_root(self):
        """A core of a container, and its root: absolute links in there lead to files in there."""
        root, _ = jdk_root(JAVA)
        if not has_overlay(self.tmp):
            self.skipTest("no overlay can be mounted here")
        base = self.tmp / "links"
        spec = {"pid": True, "overlay": [str(root), str(base / "upper"), str(base / "work")], "root": str(base / "root")}
        for part in ("root", "upper", "work"):
            (base / part).mkdir(parents=True)
        (base / "upper/app").mkdir()
        shutil.copy(harness.SAMPLES_OUT / "pthread-cycle/main", base / "upper/app/main")
        with containers.Contained(spec, ["/app/main"]) as target:
            core = harness.gcore(target.pid, self.tmp)
        copy = self.tmp / "copy"
        (copy / "real/libraries").mkdir(parents=True)
        shutil.copytree(base / "upper/app", copy / "real/app")
        for library in root.glob("usr/lib/x86_64-linux-gnu/*.so.*"):
            if library.name.startswith(("libc.so", "ld-linux")):
                shutil.copy(library, copy / "real/libraries")
        (copy / "app").symlink_to("/real/app")
        (copy / "usr/lib").mkdir(parents=True)
        (copy / "usr/lib/x86_64-linux-gnu").symlink_to("/real/libraries")
        result = harness.hangscope(core, "--root", copy, "--json")
        core.unlink()
        report = harness.Report(result.json())
        self.assertEqual(len(report.findings("deadlock.cycle")), 1, str(result))
        self.assertEqual({m["state"] for m in report.data["modules"]}, {"ok"}, report.data["gaps"])


if __name__ == "__main__":
    harness.main()
