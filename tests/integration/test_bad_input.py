# SPDX-License-Identifier: Apache-2.0
"""Bad input: one clear line that names the cause, the documented exit status; never a crash, a hang or a stopped target."""

import contextlib
import ctypes
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import harness

FLIP_ROUNDS = int(os.environ.get("HS_FLIP_ROUNDS") or 150)
QUICK = 60  # seconds; a run on a small target that takes longer hangs
ANSWERS = (harness.EX_CLEAR, harness.EX_FINDINGS, harness.EX_INCOMPLETE)
NOBODY = 65534
_IN_ACCESS, _IN_OPEN = 0x1, 0x20


def small_core(directory):
    with harness.Sample("pthread-cycle").start() as target:
        return harness.gcore(target.pid, directory)


class Base(harness.TestCase):
    def refused(self, result, status, pattern):
        """No answer: the status, nothing on stdout, and an error of few lines that says why."""
        self.assertEqual(result.status, status, str(result))
        self.assertEqual(result.out, "", "an error belongs on stderr")
        self.assertRegex(result.err, pattern)
        self.assertLessEqual(len(result.err.strip().splitlines()), 3, str(result))

    def refused_live(self, result, pattern):
        """May not be attached to: the status and the reason, and on stdout what could be had all the same."""
        self.assertEqual(result.status, harness.EX_NOPERM, str(result))
        self.assertIn("attaching: ", result.out, str(result))
        self.assertRegex(result.err, pattern)
        self.assertLessEqual(len(result.err.strip().splitlines()), 3, str(result))


class Files(Base):
    """Cores that are none, or not whole."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.tmp = cls.stack.enter_context(harness.temp_dir())
        cls.core = small_core(cls.tmp)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def variant(self, name, change):
        path = self.tmp / name
        data = bytearray(self.core.read_bytes())
        changed = change(data)
        path.write_bytes(data if changed is None else changed)
        self.addCleanup(path.unlink, missing_ok=True)
        return path

    def test_no_such_file(self):
        self.refused(harness.hangscope(self.tmp / "nothing"), harness.EX_NOINPUT, r"(?i)nothing.*no such file")

    def test_not_elf(self):
        for name, content in (("empty", b""), ("text", b"hello\n" * 100), ("zeros", bytes(8192)), ("magic", b"\x7fELF")):
            with self.subTest(name):
                path = self.variant(name, lambda _, content=content: content)
                self.refused(harness.hangscope(path), harness.EX_NOINPUT, name)

    def test_no_threads(self):
        """A whole core without one NT_PRSTATUS: nothing is known of any thread, so nothing is clear."""

        def rename(data):
            headers, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
            for at in range(headers, headers + 56 * count, 56):
                kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, at)
                end = offset + size if kind == 4 else 0  # PT_NOTE
                while offset + 12 <= end:
                    name, desc, note = struct.unpack_from("<III", data, offset)
                    if note == 1:  # NT_PRSTATUS
                        struct.pack_into("<I", data, offset + 8, 0x7777)
                    offset += 12 + (name + 3) // 4 * 4 + (desc + 3) // 4 * 4

        result = harness.hangscope(self.variant("no-threads", rename))
        self.assertEqual(result.status, harness.EX_INCOMPLETE, str(result))
        self.assertIn("the core has no threads", " ".join(result.out.split()))

    def test_broken_compression(self):
        for name, magic in (("z.gz", b"\x1f\x8b\x08\x00"), ("z.zst", b"\x28\xb5\x2f\xfd"), ("z.xz", b"\xfd7zXZ\x00"), ("z.lz4", b"\x04\x22\x4d\x18")):
            with self.subTest(name):
                path = self.variant(name, lambda _, magic=magic: magic + b"\xa5" * 500)
                self.refused(harness.hangscope(path, timeout=QUICK), harness.EX_NOINPUT, name.replace(".", r"\."))

    def test_an_executable_is_no_core(self):
        self.refused(harness.hangscope(shutil.which("gdb")), harness.EX_NOINPUT, r"(?i)core")

    def test_a_directory(self):
        self.refused(harness.hangscope(self.tmp), harness.EX_NOINPUT, r"(?i)directory|regular")

    def test_a_fifo(self):
        fifo = self.tmp / "fifo"
        os.mkfifo(fifo)
        self.refused(harness.hangscope(fifo, timeout=QUICK), harness.EX_NOINPUT, r"(?i)fifo|pipe|regular")

    def test_other_machine(self):
        for name, machine in (("i386", 3), ("arm", 40), ("s390", 22), ("unknown", 9999)):
            with self.subTest(name):
                path = self.variant(name, lambda data, machine=machine: struct.pack_into("<H", data, 18, machine))
                self.refused(harness.hangscope(path), harness.EX_NOINPUT, r"(?i)machine|architecture|support|only x86_64")

    def test_32_bit(self):
        path = self.variant("elf32", lambda data: data.__setitem__(4, 1))
        self.refused(harness.hangscope(path), harness.EX_NOINPUT, r"(?i)32|class|support")

    def test_compressed(self):
        tools = {"gz": ["gzip"], "xz": ["xz", "-1"], "zst": ["zstd", "-q"], "lz4": ["lz4", "-q"]}
        for suffix, command in tools.items():
            with self.subTest(suffix):
                if not shutil.which(command[0]):
                    raise harness.Unavailable(f"{command[0]} is missing")
                path = self.tmp / f"packed.{suffix}"
                with open(self.core, "rb") as source, open(path, "wb") as packed:
                    subprocess.run([*command, "-c"], stdin=source, stdout=packed, check=True)
                result = harness.hangscope(path)
                path.unlink()
                self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
                self.assertIn("ledger_lock", result.out)

    def test_truncated(self):
        size = self.core.stat().st_size
        for percent in (1, 5, 20, 50, 75, 90, 99):
            with self.subTest(percent=percent):
                path = self.variant("short", lambda data, n=size * percent // 100: data[:n])
                result = harness.hangscope(path, timeout=QUICK)
                self.assertIn(result.status, (*ANSWERS, harness.EX_NOINPUT), str(result))
                self.assertRegex(result.out + result.err, r"(?i)truncated|cut|short|incomplete")

    def test_truncated_headers(self):
        for size in (5, 16, 52, 63, 64, 65, 100, 120, 600):
            with self.subTest(size=size):
                path = self.variant("stub", lambda data, n=size: data[:n])
                result = harness.hangscope(path, timeout=QUICK)
                self.assertIn(result.status, (harness.EX_INCOMPLETE, harness.EX_NOINPUT), str(result))

    def test_flipped_headers(self):
        """ELF header, program headers and notes: where all counts and offsets are."""
        chance = random.Random(2)
        for i in range(FLIP_ROUNDS):

            def change(data):
                for _ in range(chance.choice((1, 1, 2, 8, 64))):
                    data[chance.randrange(8 if chance.random() < 0.9 else 0, min(len(data), 20000))] ^= 1 << chance.randrange(8)

            self.flipped(i, self.variant("flipped", change))

    def test_flipped_anywhere(self):
        chance = random.Random(3)
        for i in range(FLIP_ROUNDS):

            def change(data):
                for _ in range(chance.choice((16, 256, 4096))):
                    data[chance.randrange(64, len(data))] ^= 1 << chance.randrange(8)

            self.flipped(i, self.variant("flipped", change))

    def flipped(self, i, path):
        with self.subTest(round=i):
            result = harness.hangscope(path, timeout=QUICK)
            self.assertIn(result.status, (*ANSWERS, harness.EX_NOINPUT), str(result))

    def test_exe_is_another_program(self):
        result = harness.hangscope(self.core, "--exe", shutil.which("gdb"), timeout=QUICK)
        self.assertIn(result.status, (*ANSWERS, harness.EX_NOINPUT), str(result))
        self.assertRegex(result.out + result.err, r"(?i)build.?id|does not match|mismatch|another")

    def test_exe_missing(self):
        program = self.tmp / "gone"
        shutil.copy(harness.SAMPLES_OUT / "pthread-cycle/main", program)
        with harness.Target([program]) as target:
            core = harness.gcore(target.pid, self.tmp)
        program.unlink()
        self.addCleanup(core.unlink)
        result = harness.hangscope(core, "--json", timeout=QUICK)
        self.assertIn(result.status, ANSWERS, str(result))
        module = next(m for m in result.json()["modules"] if m["path"].endswith("/gone"))
        self.assertEqual(module["state"], "missing")
        self.assertTrue(result.json()["gaps"], "a missing file costs something")

    def test_exe_replaced(self):
        program = self.tmp / "changed"
        shutil.copy(harness.SAMPLES_OUT / "pthread-cycle/main", program)
        with harness.Target([program]) as target:
            core = harness.gcore(target.pid, self.tmp)
        self.addCleanup(core.unlink)
        program.unlink()
        shutil.copy(shutil.which("gdb"), program)
        result = harness.hangscope(core, "--json", timeout=QUICK)
        self.assertIn(result.status, ANSWERS, str(result))
        module = next(m for m in result.json()["modules"] if m["path"].endswith("/changed"))
        self.assertEqual(module["state"], "mismatch")


class JavaCore(Base):
    def test_flipped(self):
        """Bit flips all over a JVM's core: heap, VM metadata, stacks."""
        jdk = harness.need_jdk("25")
        chance = random.Random(4)
        with harness.temp_dir() as tmp:
            with harness.Sample("loader-lock-vs-link-old-verifier").start(jdk) as target:
                core = harness.gcore(target.pid, tmp)
            size = core.stat().st_size
            with open(core, "r+b") as file:
                for i in range(max(FLIP_ROUNDS // 5, 1)):
                    saved = {}
                    for _ in range(chance.choice((100, 2000, 20000))):
                        # Most of a core is heap and reserve; its small segments hold what is read.
                        offset = chance.randrange(64, size)
                        file.seek(offset)
                        old = file.read(1)
                        saved.setdefault(offset, old)
                        file.seek(offset)
                        file.write(bytes([old[0] ^ 1 << chance.randrange(8)]))
                    file.flush()
                    with self.subTest(round=i):
                        result = harness.hangscope(core)
                        self.assertIn(result.status, (*ANSWERS, harness.EX_NOINPUT), str(result))
                    for offset, old in saved.items():
                        file.seek(offset)
                        file.write(old)
                    file.flush()

    def test_truncated(self):
        jdk = harness.need_jdk("17")
        with harness.temp_dir() as tmp:
            with harness.Sample("two-monitors").start(jdk) as target:
                core = harness.gcore(target.pid, tmp)
            for percent in (95, 60, 30, 5):
                os.truncate(core, core.stat().st_size * percent // 100)
                with self.subTest(percent=percent):
                    result = harness.hangscope(core)
                    self.assertIn(result.status, (*ANSWERS, harness.EX_NOINPUT), str(result))
                    self.assertRegex(result.out + result.err, r"(?i)truncated|cut|short|incomplete")

    def test_no_libjvm_file(self):
        """The file behind libjvm.so is gone, as on a laptop without that JDK."""
        jdk = harness.need_jdk("21.0.2")  # it can be copied and deleted
        with harness.temp_dir() as tmp:
            found = subprocess.run(
                [jdk.run, "java", "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True
            ).stderr
            home = next(line.split("=", 1)[1].strip() for line in found.splitlines() if " java.home = " in line)
            copy = tmp / "jdk"
            shutil.copytree(home, copy, symlinks=True)
            sample = harness.Sample("two-monitors")
            with harness.Target(
                [harness.SAMPLES_OUT / sample.name / "start"], env={"HS_JAVA": f"{copy}/bin/java"}
            ) as target:
                core = harness.gcore(target.pid, tmp)
            shutil.rmtree(copy)
            result = harness.hangscope(core)
            self.assertIn(result.status, ANSWERS, str(result))
            self.assertRegex(result.out + result.err, r"libjvm\.so")


class Processes(Base):
    def test_pid_gone(self):
        process = subprocess.Popen(["true"])
        process.wait()
        self.refused(harness.hangscope(process.pid), harness.EX_NOINPUT, rf"\b{process.pid}\b")

    def test_impossible_pids(self):
        for pid in ("0", "99999999999999999999", "4194305"):
            with self.subTest(pid):
                result = harness.hangscope(pid)
                self.assertIn(result.status, (harness.EX_NOINPUT, harness.EX_USAGE), str(result))

    def test_zombie(self):
        process = subprocess.Popen(["true"])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        try:
            self.refused(harness.hangscope(process.pid, timeout=QUICK), harness.EX_NOINPUT, r"(?i)zombie|exited|ended")
        finally:
            process.wait()

    def test_kernel_thread(self):
        if harness.proc_status(2, "Name") != "kthreadd":
            raise unittest.SkipTest("no kernel threads are visible here")
        result = harness.hangscope(2, timeout=QUICK)
        self.assertIn(result.status, (harness.EX_NOINPUT, harness.EX_NOPERM), str(result))

    def test_itself_is_not_confused(self):
        """Our own parent: a live process that waits for hangscope."""
        result = harness.hangscope(os.getpid(), timeout=QUICK)
        self.assertIn(result.status, ANSWERS, str(result))

    def test_no_permission(self):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            raise harness.Unavailable("needs root and setpriv, to drop root's rights")
        with tempfile.TemporaryDirectory() as tmp, harness.Sample("pthread-cycle").start() as target:
            os.chmod(tmp, 0o755)
            copy = shutil.copy(harness.HANGSCOPE, tmp)  # where nobody can reach it
            os.chmod(copy, 0o755)
            done = subprocess.run(
                ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", copy, str(target.pid)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=QUICK,
                cwd="/",
            )
            result = harness.Result(done.args, done.returncode, done.stdout, done.stderr)
            self.refused_live(result, r"(?i)permission|not permitted|ptrace|root")
            target.assert_running(self)

    def test_already_traced(self):
        script = (
            "import ctypes, sys, time; libc = ctypes.CDLL(None, use_errno=True);"
            "libc.ptrace.argtypes = [ctypes.c_long] * 4;"
            "r = libc.ptrace(0x4206, int(sys.argv[1]), 0, 0);"  # PTRACE_SEIZE
            "print('seized' if r == 0 else ctypes.get_errno(), flush=True); time.sleep(600)"
        )
        with harness.Sample("pthread-cycle").start() as target:
            tracer = subprocess.Popen([sys.executable, "-c", script, str(target.pid)], stdout=subprocess.PIPE, text=True)
            try:
                self.assertEqual(tracer.stdout.readline(), "seized\n")
                result = harness.hangscope(target.pid, timeout=QUICK)
                self.refused_live(result, rf"(?i)traced.*\b{tracer.pid}\b|\b{tracer.pid}\b.*trac")
                self.assertEqual(harness.proc_status(target.pid, "TracerPid"), str(tracer.pid))
            finally:
                tracer.kill()
                tracer.wait()
                tracer.stdout.close()
            target.assert_running(self)

    def test_stopped_process_stays_stopped(self):
        with harness.Sample("pthread-cycle").start() as target:
            os.kill(target.pid, signal.SIGSTOP)
            result = harness.hangscope(target.pid, timeout=QUICK)
            self.assertIn(result.status, ANSWERS, str(result))
            # After a tracer has let go, each thread goes back to its stop by itself.
            deadline = time.monotonic() + 5
            while set(harness.thread_states(target.pid).values()) != {"T"} and time.monotonic() < deadline:
                time.sleep(0.02)
            self.assertEqual(set(harness.thread_states(target.pid).values()), {"T"})
            os.kill(target.pid, signal.SIGCONT)


class OpenWatch:
    """Tells whether anyone opens or reads a file (inotify)."""

    def __init__(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(path), _IN_OPEN | _IN_ACCESS) < 0:
            raise harness.Unavailable("inotify is missing")

    def touched(self):
        try:
            return bool(os.read(self.fd, 4096))
        except BlockingIOError:
            return False

    def close(self):
        os.close(self.fd)


class MappedPaths(Base):
    """A mapped file whose path is something else by the time we look."""

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.tmp = cls.stack.enter_context(harness.temp_dir())
        cls.odd = cls.tmp / "odd"
        harness.compile_c(harness.ROOT / "tests/integration/c/odd.c", cls.odd)
        cls.library = pathlib.Path(
            next(line.split()[-1] for line in open("/proc/self/maps") if "/libc.so" in line or "/libc-" in line)
        )

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def check_replaced(self, replace):
        path = self.tmp / "mapped.so"
        shutil.copy(self.library, path)
        try:
            with harness.Target([self.odd, "map", path]) as target:
                path.unlink()
                replace(path)
                result = harness.hangscope(target.pid, timeout=QUICK)
                self.assertIn(result.status, ANSWERS, str(result))
                target.assert_running(self)
        finally:
            path.unlink(missing_ok=True)

    def test_fifo(self):
        self.check_replaced(os.mkfifo)

    def test_device(self):
        if os.geteuid() != 0:
            raise harness.Unavailable("needs root, to make a device")
        self.check_replaced(lambda path: os.mknod(path, 0o20644, os.makedev(1, 5)))

    def test_directory(self):
        def replace(path):
            path.mkdir()
            self.addCleanup(path.rmdir)

        path = self.tmp / "mapped.so"
        shutil.copy(self.library, path)
        with harness.Target([self.odd, "map", path]) as target:
            path.unlink()
            replace(path)
            self.assertIn(harness.hangscope(target.pid, timeout=QUICK).status, ANSWERS)

    def test_nothing(self):
        self.check_replaced(lambda path: None)

    def test_link_out_of_the_root(self):
        """In a target with a root of its own, an absolute link must not lead into ours."""
        if os.geteuid() != 0:
            raise harness.Unavailable("needs root, to change the root directory")
        chroot = shutil.which("chroot", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        root = self.tmp / "root"
        root.mkdir()
        harness.compile_c(harness.ROOT / "tests/integration/c/odd.c", root / "odd", "-static")
        shutil.copy(self.library, root / "mapped.so")
        outside = self.tmp / "outside.so"
        shutil.copy(self.library, outside)
        with harness.Target([chroot, root, "/odd", "map", "/mapped.so"]) as target:
            (root / "mapped.so").unlink()
            (root / "mapped.so").symlink_to(outside)
            watch = OpenWatch(outside)
            result = harness.hangscope(target.pid, timeout=QUICK)
            self.assertIn(result.status, ANSWERS, str(result))
            self.assertFalse(watch.touched(), "a link of the target led to a file outside its root")
            watch.close()
            target.assert_running(self)


class Names(Base):
    """Names come from the target: they must not command the reader's terminal."""

    def check_text(self, text):
        bad = {c for c in text if c != "\n" and (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066")}
        self.assertFalse(bad, repr(text))

    def test_native_thread_name(self):
        with harness.temp_dir() as tmp:
            odd = tmp / "odd"
            harness.compile_c(harness.ROOT / "tests/integration/c/odd.c", odd)
            with harness.Target([odd, "name", "a\x1b[2J\nCLEAR\x07\r"]) as target:
                for args in ([target.pid], ["stacks", "--all", target.pid], ["graph", "--format=dot", target.pid]):
                    with self.subTest(args=args):
                        result = harness.hangscope(*args)
                        self.assertIn(result.status, ANSWERS, str(result))
                        self.check_text(result.out + result.err)
                        self.assertNotRegex(result.out, r"(?m)^CLEAR")
                report = harness.hangscope(target.pid, "--json").json()
                self.assertIn("a\x1b[2J\nCLEAR\x07\r", [t["name"] for t in report["threads"]])

    def test_name_that_is_not_utf8(self):
        with harness.temp_dir() as tmp:
            odd = tmp / "odd"
            harness.compile_c(harness.ROOT / "tests/integration/c/odd.c", odd)
            with harness.Target([odd, "name", os.fsdecode(b"bad\xff\xfe\xc3(")]) as target:
                result = harness.hangscope(target.pid, "--json", text=False)
                result.out.decode("utf-8")  # valid UTF-8, whatever the name was
                text = harness.hangscope(target.pid, text=False)
                text.out.decode("utf-8")

    def test_java_thread_names(self):
        jdk = harness.need_jdk("17")
        with tempfile.TemporaryDirectory(prefix="hangscope-names-") as classes:
            harness.compile_java(harness.ROOT / "tests/integration/java/Names.java", classes)
            with harness.Target([jdk.run, "java", "-Xmx64m", "-cp", classes, "Names"]) as target:
                for args in ([target.pid], ["stacks", target.pid], ["graph", "--format=dot", target.pid]):
                    with self.subTest(args=args):
                        result = harness.hangscope(*args)
                        self.check_text(result.out + result.err)
                        self.assertNotRegex(result.out, r"(?m)^CLEAR")
                report = harness.hangscope(target.pid, "--json").json()
                names = [t["name"] for t in report["threads"]]
                self.assertIn("one\x1b[2J\x07\nCLEAR  nothing found\r\x9b31m", names)
                self.assertEqual(report["verdict"], "deadlock")


if __name__ == "__main__":
    harness.main()
