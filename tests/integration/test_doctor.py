# SPDX-License-Identifier: Apache-2.0
"""doctor: its answers in places that are made for them, and what a refused attach leaves to say."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import harness
import schema

NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
C = pathlib.Path(__file__).parent / "c"
SCHEMA = json.loads((harness.ROOT / "core/doctor/hangscope-doctor-1.schema.json").read_text())
# The leak checker traces the program itself, which a filter on ptrace() forbids.
NO_LEAK_CHECK = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=0"}
SEIZE = (
    "import ctypes, sys, time; libc = ctypes.CDLL(None, use_errno=True);"
    "libc.ptrace.argtypes = [ctypes.c_long] * 4;"
    "r = libc.ptrace(0x4206, int(sys.argv[1]), 0, 0);"  # PTRACE_SEIZE
    "print('seized' if r == 0 else ctypes.get_errno(), flush=True); time.sleep(600)"
)


class Doctor(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            raise harness.Unavailable("needs root and setpriv, to drop root's rights")
        if not harness.HANGSCOPE.exists():
            raise harness.Unavailable(f"no hangscope at {harness.HANGSCOPE}: build it, or set HANGSCOPE")
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.tmp = cls.stack.enter_context(harness.temp_dir())
        os.chmod(cls.tmp, 0o755)
        cls.copy = pathlib.Path(shutil.copy(harness.HANGSCOPE, cls.tmp))  # where nobody can reach it
        os.chmod(cls.copy, 0o755)
        cls.target = cls.stack.enter_context(harness.Sample("pthread-cycle").start())

    def run_copy(self, *args, prefix=(), env=None):
        """The copy of hangscope, under another program that changes who it is."""
        command = [*prefix, str(self.copy), *map(str, args)]
        full = {**os.environ, "ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99", **(env or {})}
        done = subprocess.run(
            command, env=full, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=harness.RUN_TIMEOUT
        )
        result = harness.Result(command, done.returncode, done.stdout, done.stderr)
        self.assertNotRegex(result.err, r"Sanitizer|runtime error:", str(result))
        self.assertGreaterEqual(result.status, 0, str(result))
        return result

    def examine(self, *args, prefix=(), env=None, status=None):
        """The JSON diagnosis, valid, and its checks by id."""
        result = self.run_copy("doctor", *args, "--json", prefix=prefix, env=env)
        data = json.loads(result.out)
        self.assertEqual(schema.errors(data, SCHEMA), [], str(result))
        if status is not None:
            self.assertEqual(result.status, status, str(result))
        for check in data["checks"]:
            if check["answer"] == "no":
                self.assertTrue(check["remedy"], check)
        return data, {check["id"]: check for check in data["checks"]}

    def refused(self, pid, reason, prefix=(), env=None, capture="proc"):
        """Attaching is refused: diagnosis on stderr, 77, and a report of what could be had without."""
        result = self.run_copy(pid, "--json", prefix=prefix, env=env)
        self.assertEqual(result.status, harness.EX_NOPERM, str(result))
        self.assertRegex(result.err, rf"(?m)^hangscope: PID {pid} \(.*\) cannot be attached to: .*{reason}")
        self.assertRegex(result.err, r"(?m)^  Do this: \S")
        data = result.json()
        self.assertEqual(schema.errors(data), [], str(result))
        self.assertEqual(data["target"]["pid"], pid)
        self.assertEqual(data["target"]["capture"], capture)
        self.assertRegex([g["reason"] for g in data["gaps"] if g["subject"] == "attaching"][0], reason)
        if capture == "proc":
            self.assertEqual(data["verdict"], "incomplete")
            self.assertEqual([t["frames"] for t in data["threads"]], [[] for _ in data["threads"]])
        return data


class Place(Doctor):
    def test_no_target(self):
        data, checks = self.examine(status=harness.EX_CLEAR)
        self.assertEqual(data["target"]["kind"], "none")
        self.assertEqual(data["health"], "good")
        self.assertEqual(checks["attach.capability"]["answer"], "yes")
        result = self.run_copy("doctor")
        self.assertEqual(result.status, harness.EX_CLEAR, str(result))
        self.assertRegex(result.out.splitlines()[2], r"^YES  processes can be attached to")

    def test_no_such_process(self):
        data, checks = self.examine("4194305", status=harness.EX_NOINPUT)
        self.assertEqual(data["health"], "no-target")
        self.assertEqual(list(checks), ["attach.process"])
        self.assertEqual(self.run_copy("doctor", "4194305").status, harness.EX_NOINPUT)

    def test_zombie(self):
        process = subprocess.Popen(["true"])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        try:
            data, _ = self.examine(process.pid, status=harness.EX_NOINPUT)
            self.assertIn("zombie", data["verdict"])
        finally:
            process.wait()

    def test_no_such_core(self):
        result = self.run_copy("doctor", self.tmp / "no-core", "--json")
        self.assertEqual((result.status, result.out), (harness.EX_NOINPUT, ""), str(result))


class Live(Doctor):
    def test_all_is_well(self):
        data, checks = self.examine(self.target.pid, status=harness.EX_CLEAR)
        self.assertEqual(data["health"], "good")
        for check in checks.values():
            if check["needed_for"] != "nothing":
                self.assertEqual(check["answer"], "yes", check)
        self.assertEqual(checks["files.libc"]["detail"], "glibc")
        result = self.run_copy("doctor", self.target.pid)
        self.assertRegex(result.out.splitlines()[2], rf"^YES  PID {self.target.pid} \(\S+\) can be attached to")
        self.target.assert_running(self)

    def test_settings_of_a_core(self):
        limits = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_CORE, (0, -1)); os.execv(sys.argv[1], sys.argv[1:])"
        pid_file = "/proc/self/coredump_filter"
        script = f"open('{pid_file}', 'w').write('0x1'); {limits}"
        with subprocess.Popen([sys.executable, "-c", script, "/bin/sleep", "600"]) as process:
            try:
                while os.readlink(f"/proc/{process.pid}/exe") == os.path.realpath(sys.executable):
                    self.assertIsNone(process.poll())
                    time.sleep(0.01)
                _, checks = self.examine(process.pid, status=harness.EX_CLEAR)
                self.assertEqual(checks["core-writing.filter"]["answer"], "no")
                self.assertIn(f"echo 0x13 > /proc/{process.pid}/coredump_filter", checks["core-writing.filter"]["remedy"])
                pipe = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().startswith("|")
                self.assertEqual(checks["core-writing.limit"]["answer"], "yes" if pipe else "no")
                if not pipe:
                    self.assertIn(f"prlimit --core=unlimited --pid {process.pid}", checks["core-writing.limit"]["remedy"])
            finally:
                process.kill()

    def test_another_user(self):
        reason = rf"belongs to uid 0, and we are uid {NOBODY} without CAP_SYS_PTRACE"
        data, checks = self.examine(self.target.pid, prefix=AS_NOBODY, status=harness.EX_NOPERM)
        self.assertRegex(data["verdict"], reason)
        self.assertIn(f"hangscope {self.target.pid}", data["remedy"])
        self.assertEqual(checks["attach.uid"]["answer"], "no")
        self.assertEqual(checks["attach.memory"]["answer"], "no")
        self.assertEqual(checks["attach.tracer"]["answer"], "yes")
        report = self.refused(self.target.pid, reason, AS_NOBODY)
        here = {int(tid) for tid in os.listdir(f"/proc/{self.target.pid}/task")}
        self.assertEqual({t["tid"] for t in report["threads"]}, here)
        self.assertIn("auditor", [t["name"] for t in report["threads"]])
        for thread in report["threads"]:
            self.assertEqual(thread["state"], "sleeping")
        self.target.assert_running(self)

    def test_another_user_text(self):
        result = self.run_copy(self.target.pid, prefix=AS_NOBODY)
        self.assertRegex(result.out, r"(?m)^INCOMPLETE  attaching was refused")
        self.assertRegex(result.out, r'(?m)^  and 3 more like it: .*"auditor"')
        result = self.run_copy("stacks", self.target.pid, prefix=AS_NOBODY)
        self.assertRegex(result.out, r'(?m)^"auditor" tid \d+ · sleeping')
        stacks = self.run_copy("stacks", self.target.pid, "--format=folded", prefix=AS_NOBODY)
        self.assertEqual(stacks.status, harness.EX_NOPERM, str(stacks))
        doctor = self.run_copy("doctor", self.target.pid, prefix=AS_NOBODY)
        self.assertRegex(doctor.out.splitlines()[2], r"^NO  PID \d+ \(\S+\) cannot be attached to: ")
        self.assertRegex(doctor.out.splitlines()[3], r"^  Do this: ")

    def test_root_without_the_capability(self):
        prefix = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
        _, checks = self.examine(self.target.pid, prefix=prefix, status=harness.EX_NOPERM)
        self.assertEqual(checks["attach.capabilities"]["answer"], "no")
        self.refused(self.target.pid, "capabilities that we lack", prefix)

    def test_not_dumpable(self):
        harness.compile_c(C / "undumpable.c", self.tmp / "undumpable")
        with harness.Target([*AS_NOBODY, self.tmp / "undumpable"]) as target:
            data, checks = self.examine(target.pid, prefix=AS_NOBODY, status=harness.EX_NOPERM)
            self.assertIn("not dumpable", data["verdict"])
            self.assertEqual(checks["attach.dumpable"]["answer"], "no")
            self.assertEqual(checks["attach.uid"]["answer"], "yes")
            self.refused(target.pid, "not dumpable", AS_NOBODY)
            data, _ = self.examine(target.pid, status=harness.EX_CLEAR)  # root may
            target.assert_running(self)

    def test_traced(self):
        with harness.Sample("pthread-cycle").start() as target:
            tracer = subprocess.Popen([sys.executable, "-c", SEIZE, str(target.pid)], stdout=subprocess.PIPE, text=True)
            try:
                self.assertEqual(tracer.stdout.readline(), "seized\n")
                data, checks = self.examine(target.pid, status=harness.EX_NOPERM)
                self.assertRegex(data["verdict"], rf"traced already, by {tracer.pid} \(")
                self.assertIn("--no-stop", data["remedy"])
                self.assertEqual(checks["attach.memory"]["answer"], "yes")
                # What is offered works: it is also what the report is made of.
                report = self.refused(target.pid, rf"traced already, by {tracer.pid} ", capture="no-stop")
                self.assertTrue(any(t["frames"] for t in report["threads"]))
                unstopped = harness.hangscope(target.pid, "--no-stop", "--json")
                self.assertLess(unstopped.status, 3, str(unstopped))
                self.assertEqual(unstopped.json()["verdict"], report["verdict"])
            finally:
                tracer.kill()
                tracer.wait()
                tracer.stdout.close()
            target.assert_running(self)

    def test_seccomp(self):
        harness.compile_c(C / "no_ptrace.c", self.tmp / "no_ptrace")
        prefix = [str(self.tmp / "no_ptrace")]
        data, checks = self.examine(self.target.pid, prefix=prefix, env=NO_LEAK_CHECK, status=harness.EX_NOPERM)
        self.assertIn("seccomp filter", data["verdict"])
        self.assertIn(f"hangscope {self.target.pid} --no-stop", data["remedy"])
        self.assertEqual(checks["attach.seccomp"]["answer"], "no")
        self.assertEqual(checks["attach.readv"]["answer"], "no")
        report = self.refused(self.target.pid, "seccomp filter", prefix, env=NO_LEAK_CHECK, capture="no-stop")
        self.assertTrue(any(t["frames"] for t in report["threads"]))
        data, _ = self.examine(prefix=prefix, env=NO_LEAK_CHECK, status=harness.EX_NOPERM)  # and nothing else either
        self.assertIn("seccomp", data["verdict"])

    def test_hidden(self):
        mount = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
        prefix = ["unshare", "--mount", "sh", "-c", mount, "sh", *AS_NOBODY]
        if subprocess.run([*prefix, "true"], capture_output=True).returncode:
            raise harness.Unavailable("/proc cannot be mounted with hidepid here")
        data, checks = self.examine(self.target.pid, prefix=prefix, status=harness.EX_NOPERM)
        self.assertRegex(checks["attach.process"]["detail"], r"hidepid=(2|invisible)\b")
        result = self.run_copy(self.target.pid, prefix=prefix)
        self.assertEqual((result.status, result.out), (harness.EX_NOPERM, ""), str(result))
        self.assertIn("hidepid", result.err)

    def test_user_namespaces(self):
        enter = ["unshare", "--user", "--map-root-user"]
        if subprocess.run([*enter, "true"], capture_output=True).returncode:
            raise harness.Unavailable("no user namespace can be made here")
        # We are in one, and root of it; the process is not.
        data, checks = self.examine(self.target.pid, prefix=enter, status=harness.EX_NOPERM)
        self.assertIn("another user namespace", data["verdict"])
        self.assertEqual(checks["attach.user-namespace"]["answer"], "no")
        # The other way round: our rights count below.
        start = harness.SAMPLES_OUT / "pthread-cycle" / "start"
        with harness.Target([*enter, start]) as target:
            _, checks = self.examine(target.pid, status=harness.EX_CLEAR)
            self.assertEqual(checks["attach.user-namespace"]["detail"], "its user namespace is below ours")

    def test_pid_namespace(self):
        outer = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "600"])
        try:
            children = pathlib.Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            while not children.read_text().split():
                if outer.poll() is not None:
                    raise harness.Unavailable("no pid namespace can be made here")
                time.sleep(0.01)
            pid = int(children.read_text().split()[0])
            _, checks = self.examine(pid, status=harness.EX_CLEAR)
            self.assertRegex(checks["attach.process"]["detail"], "pid namespace of its own, 1 below ours")
        finally:
            outer.kill()
            outer.wait()


class Cores(Doctor):
    def test_snapshot(self):
        snapshot = self.tmp / "snapshot"
        taken = harness.hangscope("snapshot", self.target.pid, "-o", snapshot)
        self.assertEqual(taken.status, harness.EX_CLEAR, str(taken))
        _, checks = self.examine(snapshot, status=harness.EX_CLEAR)
        self.assertIn("hangscope snapshot", checks["core.kind"]["detail"])
        self.assertEqual(checks["core.memory"]["answer"], "yes")
        refused = self.run_copy("snapshot", self.target.pid, "-o", "/dev/null", prefix=AS_NOBODY)
        self.assertEqual(refused.status, harness.EX_NOPERM, str(refused))
        self.assertRegex(refused.err, r"(?m)^  Do this: ")

    def test_whole_cut_and_without_its_program(self):
        program = self.tmp / "program"
        harness.compile_c(harness.SAMPLES / "pthread-cycle" / "main.c", program)
        with harness.Target([program]) as target:
            core = harness.gcore(target.pid, self.tmp)
        data, checks = self.examine(core, status=harness.EX_CLEAR)
        self.assertEqual(data["target"]["kind"], "core")
        self.assertEqual(checks["core.complete"]["answer"], "yes")
        self.assertRegex(checks["core.threads"]["detail"], r"^\d+ threads$")

        program.rename(self.tmp / "elsewhere")
        data, checks = self.examine(core, status=harness.EX_INCOMPLETE)
        self.assertIn(str(program), checks["files.present"]["detail"])
        self.assertIn(f"hangscope {core} --exe FILE", data["remedy"])
        self.examine(core, "--exe", self.tmp / "elsewhere", status=harness.EX_CLEAR)

        os.truncate(core, core.stat().st_size // 2)
        data, checks = self.examine(core, "--exe", self.tmp / "elsewhere", status=harness.EX_INCOMPLETE)
        self.assertRegex(checks["core.complete"]["detail"], r"cut off: .*B are missing")
        self.assertEqual(checks["core.memory"]["answer"], "no")
        text = self.run_copy("doctor", core)
        self.assertRegex(text.out.splitlines()[2], r"^YES, BUT  ")
        core.unlink()


if __name__ == "__main__":
    harness.main()
