# SPDX-License-Identifier: Apache-2.0
"""Programs whose files are deleted or replaced while they run, and cores whose files, list of files, headers or end
are lost: what memory still has is used, what is lost is said, and no verdict is wrong."""

import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess

import harness
from test_moved import graph

C = harness.ROOT / "tests/integration/c"
NT_FILE = 0x46494C45
# /proc/PID/coredump_filter, core(5): 4 is ELF headers, 2 and 3 are file pages.
FILTERS = {"default": 0x33, "no headers": 0x23, "file pages": 0x3F}
# Without these /proc/PID/map_files cannot be followed.
WITHOUT = ("setpriv", "--bounding-set=-sys_admin,-checkpoint_restore", "--inh-caps=-all")


def build_lost(directory):
    """The program and its library, which has no frame pointers, no .symtab and the build id of its content."""
    library = directory / "liblost.so"
    flags = ("-O1", "-fomit-frame-pointer", "-fvisibility=hidden", "-fPIC", "-shared", "-s", "-Wl,--build-id=sha1")
    harness.compile_c(C / "lost_library.c", library, *flags)
    harness.compile_c(C / "lost.c", directory / "lost", library, "-Wl,-rpath,$ORIGIN")
    harness.compile_c(C / "lost_library.c", directory / "other.so", *flags, "-DOTHER")
    return directory / "lost"


def limits():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def pattern_is_plain():
    return pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip() == "core"


def without_notes(core, *kinds):
    """Make notes of these types unknown."""
    with open(core, "r+b") as file:
        header = file.read(64)
        offset, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
        for i in range(count):
            file.seek(offset + 56 * i)
            kind, _, start, _, _, size = struct.unpack("<IIQQQQ", file.read(40))
            if kind != 4:
                continue
            at = start
            while at < start + size:
                file.seek(at)
                name, desc, note = struct.unpack("<III", file.read(12))
                if note in kinds:
                    file.seek(at + 8)
                    file.write(struct.pack("<I", 0x7FFFFFFF))
                at += 12 + (name + 3) // 4 * 4 + (desc + 3) // 4 * 4


class Lost(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = harness.contextlib.ExitStack()
        cls.tmp = cls.stack.enter_context(harness.temp_dir())

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def place(self, name):
        directory = self.tmp / name
        directory.mkdir()
        return directory, build_lost(directory)

    def gaps(self, report, word):
        return [g for g in report.data["gaps"] if word in g["subject"]]

    def check(self, result, whole=True, named=True):
        """The deadlock is found; `whole`: the stacks of both threads go through the library to their start."""
        self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
        report = harness.Report(result.json())
        [finding] = report.findings("deadlock.cycle")
        self.assertEqual(len(finding["threads"]), 2)
        for ref in finding["threads"] if whole else ():
            functions = [f["function"] for f in report.threads[ref]["frames"]]
            self.assertIn("lost_take_both" if named else None, functions)
            self.assertRegex(functions[-1] or "", "clone", functions)
        return report


class Live(Lost):
    def change(self, directory, how):
        if how == "deleted":
            (directory / "liblost.so").unlink()
        elif how == "replaced":
            (directory / "other.so").rename(directory / "liblost.so")
        elif how == "reinstalled":
            shutil.copy(directory / "liblost.so", directory / "new.so")
            (directory / "new.so").rename(directory / "liblost.so")
        else:
            shutil.rmtree(directory)

    def check_change(self, how, state_without):
        directory, program = self.place(how.replace(" ", "-"))
        with harness.Target([program]) as target:
            self.change(directory, how)
            if os.geteuid() == 0:
                report = self.check(harness.hangscope(target.pid, "--json"))
                self.assertEqual({m["state"] for m in report.data["modules"]}, {"ok"})
                self.assertEqual(report.data["gaps"], [])
            if not shutil.which("setpriv"):
                raise harness.Unavailable("setpriv is missing (package util-linux)")
            prefix = WITHOUT if os.geteuid() == 0 else ()
            report = self.check(harness.hangscope(target.pid, "--json", prefix=prefix))
            states = {m["path"].rpartition("/")[2]: m["state"] for m in report.data["modules"]}
            self.assertEqual(states["liblost.so"], state_without)
            gaps = self.gaps(report, "liblost.so")
            self.assertEqual(len(gaps), state_without != "ok", gaps)
            if gaps:
                self.assertIn("its image in memory gives the names that it exports and the unwind information", gaps[0]["reason"])
                self.assertEqual(gaps[0]["costs"], "names of functions that are not exported by liblost.so")
            if how == "deleted":
                self.assertIn("CAP_CHECKPOINT_RESTORE", gaps[0]["reason"])
            target.assert_running(self)

    def test_deleted(self):
        self.check_change("deleted", "missing")

    def test_replaced(self):
        """Upgraded in place: another build lies there now."""
        self.check_change("replaced", "mismatch")

    def test_reinstalled(self):
        """The same build lies there again, with another inode."""
        self.check_change("reinstalled", "ok")

    def test_all_gone(self):
        """The program too, and its directory."""
        self.check_change("all gone", "missing")

    def test_snapshot(self):
        """A small core of it has what its readers, who find the file nowhere, need of it."""
        directory, program = self.place("snapshot")
        with harness.Target([program]) as target:
            self.change(directory, "deleted")
            for prefix in ((), WITHOUT) if os.geteuid() == 0 else ((),):
                snapshot = directory / "small"
                harness.hangscope("snapshot", target.pid, "-o", snapshot, prefix=prefix)
                self.check(harness.hangscope(snapshot, "--json"))
                snapshot.unlink()

    def test_libjvm_replaced(self):
        """An upgrade of the JDK under a running JVM."""
        original = pathlib.Path(harness.need_jdk("21.0.2").run).parent / "unpacked"
        copy = self.tmp / "jdk"
        shutil.copytree(original, copy, symlinks=True)
        run = self.tmp / "run"
        run.write_text(f'#!/bin/sh\ntool=$1\nshift\nexec "{next(copy.rglob("bin/java")).parent}/$tool" "$@"\n')
        run.chmod(0o755)
        [libjvm] = copy.rglob("libjvm.so")
        with harness.Sample("two-monitors").start(harness.Jdk("21.0.2", str(run))) as target:
            before = harness.hangscope(target.pid, "--json").json()
            shutil.copy(shutil.which("gdb"), libjvm.with_name("new"))
            libjvm.with_name("new").rename(libjvm)
            results = [(True, harness.hangscope(target.pid, "--json"))] if os.geteuid() == 0 else []
            results.append((False, harness.hangscope(target.pid, "--json", prefix=WITHOUT if os.geteuid() == 0 else ())))
            target.assert_running(self)
        for is_whole, result in results:
            with self.subTest(map_files=is_whole):
                after = result.json()
                self.assertEqual(graph(after), graph(before))
                self.assertEqual(any("libjvm.so" in g["subject"] for g in after["gaps"]), not is_whole)
                pcs = [[f["pc"] for f in t["frames"]] for t in after["threads"] if t["name"] in ("main", "auditor")]
                self.assertEqual(pcs, [[f["pc"] for f in t["frames"]] for t in before["threads"] if t["name"] in ("main", "auditor")])


class NativeCores(Lost):
    """The kernel's cores and gcore's, each with its files there, replaced and gone."""

    def kernel_core(self, command, directory, filter_bits):
        if not pattern_is_plain():
            self.skipTest("kernel.core_pattern is not 'core'")
        own = pathlib.Path("/proc/self/coredump_filter")
        before = own.read_text()
        own.write_text(hex(filter_bits))
        try:
            process = subprocess.Popen(command, cwd=directory, preexec_fn=limits, stdin=subprocess.DEVNULL)
            process.wait(harness.RUN_TIMEOUT)
        finally:
            own.write_text("0x" + before.strip())
        [core] = [path for path in directory.glob("core*") if path.is_file()]
        return core

    def check_core(self, core, directory, memory_has):
        """`memory_has`: what the core itself has of its files: "", "id", "names" or "all"."""
        self.check(harness.hangscope(core, "--json"))
        library = directory / "liblost.so"
        kept = directory / "kept.so"
        library.rename(kept)
        shutil.copy(directory / "other.so", library)
        report = harness.Report(harness.hangscope(core, "--json").json())
        state = next(m["state"] for m in report.data["modules"] if m["path"].endswith("/liblost.so"))
        if memory_has:
            self.assertEqual(state, "mismatch")
        elif state == "ok":
            # Nothing in the core tells: then that is said.
            self.assertTrue(self.gaps(report, "taken by their name"), report.data["gaps"])
        self.assertEqual(len(report.findings("deadlock.cycle")), 1)
        library.unlink()
        report = self.check(harness.hangscope(core, "--json"), whole=memory_has == "all")
        [gap] = self.gaps(report, "liblost.so")
        self.assertEqual("gives the names" in gap["reason"], memory_has in ("names", "all"), gap)
        self.assertEqual("unwind information" in gap["reason"], memory_has == "all", gap)
        self.assertIn("--root", gap["reason"])
        if memory_has != "all":
            self.assertTrue([g for g in report.data["gaps"] if "stack" in g["subject"]], report.data["gaps"])
        # Given a directory that has all of them, nothing is missing.
        root = directory / "root"
        for module in report.data["modules"]:
            if module["path"].startswith("/"):
                inside = root / module["path"].lstrip("/")
                inside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(kept if inside.name == library.name else module["path"], inside)
        report = self.check(harness.hangscope(core, "--root", root, "--json"))
        self.assertEqual({m["state"] for m in report.data["modules"]}, {"ok"})
        core.unlink()

    def test_gcore(self):
        directory, program = self.place("gcore")
        with harness.Target([program]) as target:
            core = harness.gcore(target.pid, directory)
        # gdb writes the whole mapping of an ELF header; a library this small has its symbols there.
        self.check_core(core, directory, "names")

    def test_kernel(self):
        for words, bits in FILTERS.items():
            with self.subTest(words):
                directory, program = self.place(f"kernel-{bits:x}")
                core = self.kernel_core([program, "crash"], directory, bits)
                self.check_core(core, directory, {"default": "names", "no headers": "", "file pages": "all"}[words])

    def test_debug_file(self):
        """The file is gone, its debug file is here: it has all names, memory what is needed to unwind."""
        if not shutil.which("objcopy"):
            raise harness.Unavailable("objcopy is missing (package binutils)")
        directory, program = self.place("debug")
        whole, library = directory / "whole.so", directory / "liblost.so"
        flags = ("-O1", "-fomit-frame-pointer", "-fvisibility=hidden", "-fPIC", "-shared", "-Wl,--build-id=0xabcdef0123456789")
        harness.compile_c(C / "lost_library.c", whole, *flags)
        subprocess.run(["objcopy", "--strip-all", whole, library], check=True)
        symbols = directory / "symbols/.build-id/ab/cdef0123456789.debug"
        symbols.parent.mkdir(parents=True)
        subprocess.run(["objcopy", "--only-keep-debug", whole, symbols], check=True)
        core = self.kernel_core([program, "crash"], directory, FILTERS["file pages"])
        library.unlink()
        for options, is_named in (((), False), (("--debug-dir", directory / "symbols"), True)):
            # The system's own debug files, which name the start of a thread, are not asked then.
            report = self.check(harness.hangscope(core, *options, "--json"), whole=not is_named)
            names = {f["function"] for t in report.data["threads"] for f in t["frames"]}
            self.assertEqual("take_second" in names, is_named, names)
        core.unlink()

    def test_without_list_of_files(self):
        """Modules by the dynamic linker's list: the same stacks."""
        directory, program = self.place("list")
        with harness.Target([program]) as target:
            core = harness.gcore(target.pid, directory)
        before = self.check(harness.hangscope(core, "--json"))
        without_notes(core, NT_FILE)
        after = self.check(harness.hangscope(core, "--json"))
        self.assertEqual(
            [[(f["pc"], f["function"]) for f in t["frames"]] for t in after.data["threads"]],
            [[(f["pc"], f["function"]) for f in t["frames"]] for t in before.data["threads"]],
        )
        self.assertEqual(
            {(m["path"].rpartition("/")[2], m["build_id"], m["start"]) for m in after.data["modules"]},
            {(m["path"].rpartition("/")[2], m["build_id"], m["start"]) for m in before.data["modules"]},
        )
        self.assertTrue(any("NT_FILE" in g["reason"] for g in after.data["gaps"]))
        core.unlink()

    def test_without_list_and_headers(self):
        """Neither NT_FILE nor ELF headers: names from the dynamic linker's list, the rest from the files."""
        directory, program = self.place("bare")
        core = self.kernel_core([program, "crash"], directory, FILTERS["no headers"])
        without_notes(core, NT_FILE)
        self.check(harness.hangscope(core, "--json"))
        core.unlink()

    def test_end_is_lost(self):
        """gcore writes its notes last: a core that is cut off has no threads, and says so first."""
        directory, program = self.place("cut")
        with harness.Target([program]) as target:
            core = harness.gcore(target.pid, directory)
        size = core.stat().st_size
        for percent in (99, 50):
            os.truncate(core, size * percent // 100)
            result = harness.hangscope(core)
            self.assertEqual(result.status, harness.EX_INCOMPLETE, str(result))
            self.assertIn("INCOMPLETE  nothing is known of its threads", result.out)
            self.assertRegex(result.out, r"cut off \(\d+ bytes are missing\)")
            self.assertIn("Take the", result.out)
            first = harness.hangscope(core, "--json").json()["gaps"][0]
            self.assertRegex(first["reason"], "no threads: it is cut off")
        core.unlink()


class JavaCores(NativeCores):
    """The same of a JVM. Its JDK is not moved away: an empty root has none either."""

    test_gcore = test_kernel = test_debug_file = test_without_list_and_headers = None

    def test_without_list_of_files(self):
        with harness.Sample("two-monitors").start(harness.need_jdk("17")) as target:
            core = harness.gcore(target.pid, self.tmp)
        before = harness.hangscope(core, "--json").json()
        without_notes(core, NT_FILE)
        after = harness.hangscope(core, "--json").json()
        core.unlink()
        self.assertTrue(before["findings"])
        self.assertEqual(graph(after), graph(before))
        self.assertEqual([[f["pc"] for f in t["frames"]] for t in after["threads"]], [[f["pc"] for f in t["frames"]] for t in before["threads"]])

    def test_end_is_lost(self):
        with harness.Sample("two-monitors").start(harness.need_jdk("17")) as target:
            core = harness.gcore(target.pid, self.tmp)
        os.truncate(core, core.stat().st_size * 98 // 100)
        result = harness.hangscope(core)
        core.unlink()
        self.assertIn(result.status, (harness.EX_FINDINGS, harness.EX_INCOMPLETE), str(result))
        self.assertNotIn("CLEAR", result.out)
        self.assertRegex(result.out, r"cut off \(\d+ bytes are missing\)")

    def check_lost(self, core, is_whole):
        """The same core with all files there, and with none (in an empty root)."""
        empty = self.tmp / "empty"
        empty.mkdir(exist_ok=True)
        before = harness.hangscope(core, "--json")
        after = harness.hangscope(core, "--root", empty, "--json")
        self.assertEqual(before.status, harness.EX_FINDINGS, str(before))
        self.assertTrue(harness.Report(before.json()).findings("deadlock.cycle"))
        self.assertTrue([g for g in after.json()["gaps"] if g["subject"].endswith("libjvm.so")])
        self.assertEqual({m["state"] for m in after.json()["modules"]} - {"ok"}, {"missing"})
        if is_whole:
            self.assertEqual(graph(after.json()), graph(before.json()))
        else:
            self.assertEqual(after.status, harness.EX_INCOMPLETE, str(after))

    def test_kernel_core_of_a_lost_jdk(self):
        """The usual core of a container that is gone: without libjvm.so no word on Java, and no wrong one."""
        if not pattern_is_plain():
            self.skipTest("kernel.core_pattern is not 'core'")
        jdk = harness.need_jdk("17")
        if not (harness.SAMPLES_OUT / "two-monitors/start").exists():
            harness.build_samples("two-monitors")
        command = [jdk.run, "java", "-Xmx64m", "-XX:ReservedCodeCacheSize=48m", "-cp", harness.SAMPLES_OUT / "two-monitors", "Main"]
        for words, bits in FILTERS.items():
            with self.subTest(words):
                with harness.Target(command, cwd=self.tmp) as target:
                    pathlib.Path(f"/proc/{target.pid}/coredump_filter").write_text(hex(bits))
                    resource.prlimit(target.pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                    os.kill(target.pid, signal.SIGABRT)
                    target.process.wait(harness.RUN_TIMEOUT)
                [core] = [path for path in self.tmp.glob("core*") if path.is_file()]
                self.check_lost(core, words == "file pages")
                core.unlink()

    def test_gcore_of_a_lost_jdk(self):
        """gdb's gcore keeps to coredump_filter too, which HotSpot sets to 0x3f."""
        with harness.Sample("two-monitors").start(harness.need_jdk("17")) as target:
            core = harness.gcore(target.pid, self.tmp)
        self.check_lost(core, True)
        core.unlink()


if __name__ == "__main__":
    harness.main()
