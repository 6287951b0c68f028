# SPDX-License-Identifier: Apache-2.0
"""Live targets that cannot be captured, or hardly: they end, run another program, never hold still, belong to others,
are stopped, frozen, traced, 32-bit. One clear line and the right exit status, or a report; nothing left behind."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import harness

MODES = ((), ("--stop",), ("--rolling",), ("--no-stop",))
ANSWERS = (harness.EX_CLEAR, harness.EX_FINDINGS, harness.EX_INCOMPLETE)
QUICK = 60  # seconds; what takes longer hangs
DEATHS = int(os.environ.get("HS_DEATHS") or 40)
NOBODY = 65534
# A system call of hangscope, and which of its calls of that name: where it is slow, and the target ends meanwhile.
PHASES = (
    [("openat", n) for n in (20, 40, 60, 80)]
    + [("ptrace", n) for n in (1, 2, 4, 6, 9)]
    + [("process_vm_readv", n) for n in (1, 2, 8)]
    + [("pread64", n) for n in (1, 20, 60)]
)


class Base(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.tmp = cls.stack.enter_context(harness.temp_dir())
        os.chmod(cls.tmp, 0o755)
        cls.restless = cls.tmp / "restless"
        harness.compile_c(harness.ROOT / "tests/integration/c/restless.c", cls.restless)

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def start(self, mode):
        return harness.Target([self.restless, mode])

    def refused(self, result, status, pattern):
        self.assertEqual(result.status, status, str(result))
        self.assertEqual(result.out, "", "an error belongs on stderr")
        self.assertRegex(result.err, pattern)
        # What may not be attached to is explained: why, what to do, and where more is said.
        lines = 3 if status == harness.EX_NOPERM else 1
        self.assertEqual(len(result.err.strip().splitlines()), lines, str(result))

    def is_deadlock(self, result):
        self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
        self.assertIn("DEADLOCK", result.out)


class Ending(Base):
    def ended(self, result):
        """A report of what there was, or one line."""
        self.assertIn(result.status, (*ANSWERS, harness.EX_NOINPUT), str(result))
        if result.status == harness.EX_NOINPUT:
            self.refused(result, harness.EX_NOINPUT, r"ended|no process|zombie|gone|replaced")

    def test_at_any_moment(self):
        chance = random.Random(5)
        started = time.monotonic()
        with self.start("threads") as target:
            harness.hangscope(target.pid)
            whole = time.monotonic() - started
        for i in range(DEATHS):
            with self.start("threads") as target, self.subTest(round=i):
                killer = subprocess.Popen(
                    [sys.executable, "-c", f"import os,time; time.sleep({chance.uniform(0, whole)}); os.kill({target.pid}, 9)"]
                )
                self.ended(harness.hangscope(target.pid, *MODES[i % len(MODES)], timeout=QUICK))
                killer.wait()

    def test_in_each_phase(self):
        if not shutil.which("strace"):
            raise harness.Unavailable("strace is missing (package strace)")
        for i, (call, number) in enumerate(PHASES):
            options = MODES[i % 3]
            with self.start("threads") as target, self.subTest(call=call, number=number, options=options):
                log = self.tmp / "log"
                inject = f"inject={call}:delay_enter=400000:when={number}"
                killer = subprocess.Popen(
                    [sys.executable, "-c", f"import os,time; time.sleep(0.3); os.kill({target.pid}, 9)"]
                )
                result = harness.hangscope(
                    target.pid,
                    *options,
                    prefix=("strace", "-f", "-qq", "-o", log, "-e", f"trace={call}", "-e", inject),
                    env={"ASAN_OPTIONS": "exitcode=99:detect_leaks=0"},
                    timeout=QUICK,
                )
                killer.wait()
                self.ended(result)

    def test_the_leader_alone(self):
        with self.start("leader") as target:
            deadline = time.monotonic() + QUICK
            while harness.proc_status(target.pid, "State")[0] != "Z" and time.monotonic() < deadline:
                time.sleep(0.01)
            for options in MODES:
                with self.subTest(options=options):
                    result = harness.hangscope(target.pid, *options)
                    self.is_deadlock(result)
                    self.assertIn("it has exited; other threads live on", result.out)
            target.assert_soon_running(self)


class Restless(Base):
    def test_threads_that_come_and_go(self):
        with self.start("threads") as target:
            for _ in range(3):
                for options in MODES:
                    with self.subTest(options=options):
                        self.is_deadlock(harness.hangscope(target.pid, *options))
            target.assert_soon_running(self)

    def test_forks(self):
        """Its children are never held, and end as they would."""
        with self.start("forks") as target:
            for _ in range(3):
                for options in MODES:
                    with self.subTest(options=options):
                        self.is_deadlock(harness.hangscope(target.pid, *options))
            target.assert_soon_running(self)

    def test_execs(self):
        with self.start("execs") as target:
            for i in range(24):
                options = MODES[i % len(MODES)]
                with self.subTest(round=i, options=options):
                    result = harness.hangscope(target.pid, *options, timeout=QUICK)
                    self.assertIn(result.status, (*ANSWERS, harness.EX_NOINPUT), str(result))
                    if result.status == harness.EX_NOINPUT:
                        self.refused(result, harness.EX_NOINPUT, r"execve|ended")
            target.assert_soon_running(self)

    def test_an_exec_that_hangs(self):
        """PTRACE_SEIZE does not return then: given up after a second."""
        with self.start("stuck-exec") as target:
            deadline = time.monotonic() + QUICK
            while harness.proc_status(target.pid, "State")[0] != "D" and time.monotonic() < deadline:
                time.sleep(0.01)
            for options in MODES[:3]:
                with self.subTest(options=options):
                    self.refused(harness.hangscope(target.pid, *options, timeout=QUICK), harness.EX_NOINPUT, r"execve.*--no-stop")
            self.assertIn(harness.hangscope(target.pid, "--no-stop", timeout=QUICK).status, ANSWERS)


class Held(Base):
    def check_traced(self, command):
        if not shutil.which(command[0]):
            raise harness.Unavailable(f"{command[0]} is missing")
        with self.start("forks") as target:
            tracer = subprocess.Popen(
                [str(part).replace("PID", str(target.pid)) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                deadline = time.monotonic() + QUICK
                while harness.proc_status(target.pid, "TracerPid") == "0" and time.monotonic() < deadline:
                    time.sleep(0.02)
                for options in MODES[:3]:
                    result = harness.hangscope(target.pid, *options, timeout=QUICK)
                    self.assertEqual(result.status, harness.EX_NOPERM, str(result))
                    self.assertRegex(result.err, rf"traced.*\b{tracer.pid} \({command[0]}\)")
                self.is_deadlock(harness.hangscope(target.pid, "--no-stop", timeout=QUICK))
                self.assertEqual(harness.proc_status(target.pid, "TracerPid"), str(tracer.pid))
            finally:
                tracer.send_signal(signal.SIGINT if command[0] == "strace" else signal.SIGKILL)
                tracer.stdin.close()
                tracer.wait()
            target.assert_soon_running(self)

    def test_by_strace(self):
        self.check_traced(["strace", "-f", "-o", "/dev/null", "-p", "PID"])

    def test_by_gdb(self):
        self.check_traced(["gdb", "-q", "-nx", "-p", "PID"])

    def test_stopped(self):
        """It is analysed, and it stays stopped."""
        with self.start("threads") as target:
            os.kill(target.pid, signal.SIGSTOP)
            for options in MODES:
                with self.subTest(options=options):
                    result = harness.hangscope(target.pid, "--json", *options, timeout=QUICK)
                    self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
                    self.assertTrue(all(t["state"].lower() in ("t", "stopped") for t in result.json()["threads"]), str(result))
                    deadline = time.monotonic() + QUICK
                    while set(harness.thread_states(target.pid).values()) != {"T"} and time.monotonic() < deadline:
                        time.sleep(0.02)
                    self.assertEqual(set(harness.thread_states(target.pid).values()), {"T"})
            os.kill(target.pid, signal.SIGCONT)
            target.assert_soon_running(self)

    def freezer(self):
        """(directory of a new cgroup, file, word for frozen, word for thawed)"""
        name = f"hangscope-test-{os.getpid()}"
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            _, mount, kind, options = line.split()[:4]
            if kind == "cgroup" and "freezer" in options.split(","):
                yield pathlib.Path(mount) / name, "freezer.state", "FROZEN", "THAWED"
            elif kind == "cgroup2":
                yield pathlib.Path(mount) / name, "cgroup.freeze", "1", "0"

    def test_frozen(self):
        tried = 0
        for directory, file, frozen, thawed in self.freezer():
            try:
                directory.mkdir()
            except OSError:
                continue
            try:
                tried += self.check_frozen(directory, directory / file, frozen, thawed)
            finally:
                deadline = time.monotonic() + QUICK
                while directory.exists() and time.monotonic() < deadline:
                    with contextlib.suppress(OSError):
                        directory.rmdir()
                    time.sleep(0.02)
        if not tried:
            self.skipTest("no cgroup freezer can be used here")

    def check_frozen(self, directory, file, frozen, thawed):
        with self.start("leader") as target:
            try:
                (directory / "cgroup.procs").write_text(str(target.pid))
                file.write_text(frozen)
            except OSError:
                return False
            try:
                for options in MODES:
                    with self.subTest(file=str(file), options=options):
                        self.is_deadlock(harness.hangscope(target.pid, *options, timeout=QUICK))
                self.assertEqual(file.read_text().strip(), frozen)
            finally:
                file.write_text(thawed)
            target.assert_soon_running(self)
        return True


class Foreign(Base):
    def as_nobody(self, *command):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            raise harness.Unavailable("needs root and setpriv, to drop root's rights")
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *map(str, command)]

    def copy(self):
        """hangscope where everybody can reach it."""
        path = self.tmp / "hangscope"
        if not path.exists():
            shutil.copy(harness.HANGSCOPE, path)
            path.chmod(0o755)
        return path

    def run_command(self, command):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=QUICK, cwd="/")
        return harness.Result(list(map(str, command)), done.returncode, done.stdout, done.stderr)

    def test_of_another_user(self):
        with self.start("leader") as target:
            for options in MODES:
                with self.subTest(options=options):
                    result = self.run_command(self.as_nobody(self.copy(), target.pid, *options))
                    self.assertEqual(result.status, harness.EX_NOPERM, str(result))
                    self.assertIn("uid", result.err)
            target.assert_soon_running(self)

    def test_hidden(self):
        """/proc with hidepid, as another user."""
        if not shutil.which("unshare"):
            raise harness.Unavailable("unshare is missing (package util-linux)")
        script = (
            "mount -t proc -o hidepid=$1 proc /proc || exit 99; shift; "
            'sleep 1000 & pid=$!; "$@" $pid; status=$?; kill $pid; exit $status'
        )
        for level in (1, 2, 4):
            command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh", level]
            result = self.run_command([*map(str, command), *self.as_nobody(self.copy())])
            if result.status == 99 or "unshare" in result.err:
                self.skipTest(f"no namespaces, or no hidepid={level}, here: {result.err}")
            with self.subTest(level=level):
                self.refused(result, harness.EX_NOPERM, r"hidepid")

    def test_32_bit(self):
        source = self.tmp / "small.s"
        # write(1, ...) its "READY PID" in 32-bit code, then pause().
        source.write_text(
            ".globl _start\n_start:\n mov $20, %eax\n int $0x80\n mov $10, %ebx\n mov $end, %ecx\n"
            "1: xor %edx, %edx\n div %ebx\n add $'0', %edx\n dec %ecx\n mov %dl, (%ecx)\n test %eax, %eax\n jnz 1b\n"
            " sub $6, %ecx\n movl $0x44414552, (%ecx)\n movw $0x2059, 4(%ecx)\n"
            " mov $end+1, %edx\n sub %ecx, %edx\n mov $1, %ebx\n mov $4, %eax\n int $0x80\n"
            "2: mov $29, %eax\n int $0x80\n jmp 2b\n"
            '.data\n .fill 32, 1, 0\nend: .ascii "\\n"\n'
        )
        program = self.tmp / "small"
        for command in (
            ["as", "--32", "-o", self.tmp / "small.o", source],
            ["ld", "-m", "elf_i386", "-o", program, self.tmp / "small.o"],
        ):
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            if done.returncode:
                self.skipTest(f"no 32-bit program can be made here: {done.stderr}")
        try:
            target = harness.Target([program])
        except OSError as error:
            self.skipTest(f"this kernel runs no 32-bit programs: {error}")
        with target:
            for options in MODES:
                self.refused(harness.hangscope(target.pid, *options), harness.EX_NOINPUT, r"32.bit.*only x86_64")
            if not shutil.which("gcore"):
                raise harness.Unavailable("gcore is missing (package gdb)")
            core = self.tmp / f"core.{target.pid}"
            command = ["gcore", "-o", str(self.tmp / "core"), str(target.pid)]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=QUICK)
            self.refused(harness.hangscope(core), harness.EX_NOINPUT, r"32.bit.*only x86_64")
            core.unlink()
            target.assert_soon_running(self)


class NothingIsLeft(Base):
    def test_files_and_processes(self):
        """Neither a temporary file nor a child of ours."""
        with tempfile.TemporaryDirectory() as tmp, self.start("threads") as target:
            for options in MODES:
                harness.hangscope(target.pid, *options, env={"TMPDIR": tmp})
                harness.hangscope(target.pid, "--exe", "/nonexistent", *options, env={"TMPDIR": tmp})
            self.assertEqual(os.listdir(tmp), [])
            children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children")
            if children.exists():
                self.assertEqual(children.read_text().split(), [str(target.pid)])


if __name__ == "__main__":
    harness.main()
