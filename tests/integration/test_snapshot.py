# SPDX-License-Identifier: Apache-2.0
"""hangscope snapshot: a small core says what the process said, here, in gdb and in eu-stack; and it is there whole or
not at all."""

import os
import pathlib
import re
import signal
import stat
import subprocess
import time
import unittest

import harness

JDKS = harness.ALL_JDKS if harness.RUN_ALL else ("25", "17", "8")
NAMED = (  # thread, what is the same in each look at a process that stands still
    "name", "kind", "tid", "host_tid", "java_tid", "pthread", "start_routine", "carrier", "waits_for", "holds", "frames",
)
FINDING = ("id", "signature", "severity", "certainty", "confirmed", "title", "why", "fix", "threads", "cycle", "blocked")
EX_CANTCREAT = 73


def pcs_of(report):
    """{tid: [pc]} of native frames up to the first Java one."""
    stacks = {}
    for thread in report["threads"]:
        frames = []
        for frame in thread["frames"]:
            if frame["kind"] != "native":
                break
            frames.append(int(frame["pc"], 16))
        if thread["tid"]:
            stacks[thread["tid"]] = frames
    return stacks


def start_c(name):
    return harness.Sample(name).start()


class Samples(harness.TestCase):
    """One test method per sample and JDK, made below."""

    def check_sample(self, sample, jdk_name):
        jdk = harness.need_jdk(jdk_name) if jdk_name else None
        with harness.temp_dir() as tmp, sample.start(jdk) as target:
            snapshot = tmp / "process.core"
            done = harness.hangscope("snapshot", target.pid, "-o", snapshot, "--json")
            self.assertEqual(done.status, 0, done)
            summary = done.json()
            live = harness.hangscope("stacks", "--all", "--locals", "--json", target.pid).json()
            dump = harness.hangscope("stacks", "--format", "jstack", target.pid).out if jdk else ""
            target.assert_running(self)
            target.close()  # from here on the snapshot stands alone

            self.assertEqual(summary["bytes"], snapshot.stat().st_size)
            replay = harness.hangscope("stacks", "--all", "--locals", "--json", snapshot)
            self.assertEqual(replay.json()["verdict"], summary["verdict"], done)
            self.assertEqual(len(replay.json()["findings"]), summary["findings"], done)
            stands_still = not sample.name.startswith(("healthy", "contention"))
            if stands_still:
                self.compare(live, replay.json())
            if stands_still and jdk:
                self.compare_dump(dump, harness.hangscope("stacks", "--format", "jstack", snapshot).out)
            self.check_expect(sample, jdk, snapshot)
            self.check_debuggers(snapshot, replay.json())

    def compare(self, live, replay):
        self.assertEqual(replay["target"]["kind"], "snapshot")
        for key in ("pid", "exe", "args", "runtime", "host"):
            self.assertEqual(replay["target"][key], live["target"][key], key)
        self.assertEqual(replay["verdict"], live["verdict"])
        self.assertEqual(
            [{k: f[k] for k in FINDING} for f in replay["findings"]],
            [{k: f[k] for k in FINDING} for f in live["findings"]],
        )
        moving = self.moving(live) | self.moving(replay)
        self.assertEqual([t["name"] for t in replay["threads"]], [t["name"] for t in live["threads"]])
        for mine, theirs in zip(replay["threads"], live["threads"]):
            if mine["ref"] in moving:
                continue
            for key in NAMED:
                self.assertEqual(mine[key], theirs[key], f"{key} of {mine['name']}")
        self.assertEqual(replay["gaps"], live["gaps"])

    @staticmethod
    def moving(report):
        """Threads that are not at rest: they run, or wait with a time-out that ends now and then."""
        return {
            t["ref"]
            for t in report["threads"]
            if t["state"] == "running" or re.search(r"until|restart_syscall|nanosleep|timeout|ms\)", t["syscall"] or "")
        }

    def compare_dump(self, live, replay):
        def facts(text):
            text = re.sub(r"(cpu|elapsed)=\S+|^\d{4}-\S+ \S+$|_java_thread_list=\S+|allocated=\S+", "", text, flags=re.M)
            return [line for line in text.splitlines() if line.strip()]

        # Daemons of the VM come and go from their waits: the stacks of the program's own threads have to be the same.
        self.assertEqual(len(facts(replay)), len(facts(live)))
        for mine, theirs in zip(facts(replay), facts(live)):
            if "os_prio" not in mine:
                self.assertEqual(mine, theirs)

    def check_expect(self, sample, jdk, snapshot):
        expect = sample.expect(jdk, "live")
        result = harness.hangscope(snapshot)
        wanted = expect["exit"] if isinstance(expect["exit"], list) else [expect["exit"]]
        self.assertIn(result.status, wanted, result)
        for pattern in expect.get("text", []):
            self.assertRegex(result.out, pattern)
        self.assertRegex(result.out.splitlines()[0], r"· snapshot process\.core · pid \d+ .*paused \d")

    def check_debuggers(self, snapshot, report):
        ours = pcs_of(report)
        done = subprocess.run(
            ["eu-stack", "-q", "--core", str(snapshot)], capture_output=True, text=True, timeout=harness.RUN_TIMEOUT
        )
        theirs, tid = {}, None
        for line in done.stdout.splitlines():
            if found := re.match(r"TID (\d+):", line):
                tid = int(found[1])
                theirs[tid] = []
            elif found := re.match(r"#\d+\s+(0x[0-9a-f]+)", line):
                theirs[tid].append(int(found[1], 16))
        self.assertEqual(set(theirs), set(ours), done.stderr)
        for tid, pcs in ours.items():
            self.assertEqual(theirs[tid][: len(pcs)], pcs, f"eu-stack, tid {tid}")
        # The list of loaded objects has the names that the process itself sees.
        root = report["target"]["exe"].partition("/usr/lib/jvm/")[0] if "/usr/lib/jvm/" in report["target"]["exe"] else ""
        gdb = subprocess.run(
            ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", f"set sysroot {root or '/'}", "-ex",
             "set backtrace past-main on", "-ex", "set backtrace past-entry on", "-ex", "thread apply all bt -frame-info location-and-address",
             "-c", str(snapshot), report["target"]["exe"]],
            capture_output=True, text=True, errors="replace", timeout=harness.RUN_TIMEOUT,
        )
        stacks = re.split(r"^Thread \d+ .*?LWP (\d+)\).*$", gdb.stdout, flags=re.M)[1:]
        shown = {int(tid): text for tid, text in zip(stacks[::2], stacks[1::2])}
        self.assertEqual(set(shown), set(ours), gdb.stderr)
        for tid, pcs in ours.items():
            found = [int(pc, 16) for pc in re.findall(r"^#\d+ +(0x[0-9a-f]+)", shown[tid], flags=re.M)]
            # gdb shows inlined calls as frames of their own, with the same pc.
            self.assertTrue(set(pcs) <= set(found), f"gdb, tid {tid}: {list(map(hex, pcs))}\n{shown[tid]}")


def add_tests():
    for sample in harness.samples():
        for jdk in JDKS if sample.is_java else (None,):
            if jdk in ("8", "17") and sample.name not in harness.SHORT_SAMPLES and not harness.RUN_ALL:
                continue

            def test(self, sample=sample, jdk=jdk):
                self.check_sample(sample, jdk)

            name = re.sub(r"\W", "_", f"{sample.name}_{jdk}" if jdk else sample.name)
            setattr(Samples, f"test_{name}", test)


class Virtual(harness.TestCase):
    """Stacks of virtual threads that are not mounted lie in the heap, and with ZGC pointers have colours."""

    compare, moving = Samples.compare, staticmethod(Samples.moving)

    def check_virtual(self, options):
        jdk = harness.need_jdk("25")
        with harness.temp_dir() as tmp:
            harness.SAMPLES_OUT.mkdir(parents=True, exist_ok=True)  # shown to every JDK, built or not
            harness.compile_java(harness.ROOT / "tests/integration/java/Virtual.java", tmp)
            command = [jdk.run, "java", "-Xmx128m", "-Djdk.virtualThreadScheduler.parallelism=8", *options, "-cp", tmp]
            command += ["Virtual", "warm", "mixed", "pinned", "executors"]
            with harness.Target(command, env=jdk.environment(tmp)) as target:
                done = harness.hangscope("snapshot", target.pid, "-o", tmp / "x")
                self.assertEqual(done.status, 0, done)
                live = harness.hangscope("stacks", "--all", "--locals", "--json", target.pid).json()
                target.close()
                self.assertTrue(any(t["kind"] == "virtual" and t["frames"] for t in live["threads"]))
                self.compare(live, harness.hangscope("stacks", "--all", "--locals", "--json", tmp / "x").json())

    def test_g1(self):
        self.check_virtual([])

    def test_zgc(self):
        self.check_virtual(["-XX:+UseZGC"])


add_tests()


class Odd(harness.TestCase):
    """What only a live process tells is in the snapshot, too."""

    def check_odd(self, *args):
        with harness.temp_dir() as tmp:
            harness.compile_c(harness.ROOT / "tests/integration/c/odd.c", tmp / "odd")
            with harness.Target([tmp / "odd", *args]) as target:
                done = harness.hangscope("snapshot", target.pid, "-o", tmp / "x")
                self.assertEqual(done.status, 0, done)
                live = harness.hangscope("stacks", "--all", "--json", target.pid)
                replay = harness.hangscope("stacks", "--all", "--json", tmp / "x")
            self.assertEqual(replay.status, live.status, replay)
            for key in ("verdict", "findings", "gaps"):
                self.assertEqual(replay.json()[key], live.json()[key], key)
            return live.json()["threads"], replay.json()["threads"]

    def test_owner_has_exited(self):
        live, replay = self.check_odd("orphan", "mutex")
        self.assertEqual([t["waits_for"] for t in replay], [t["waits_for"] for t in live])
        self.assertTrue(any(t["waits_for"] for t in live))

    def test_uninterruptible(self):
        live, replay = self.check_odd("vfork", "child")
        for key in ("wchan", "kernel_stack", "syscall", "state"):
            self.assertEqual([t.get(key) for t in replay], [t.get(key) for t in live], key)
        if not any(t.get("wchan") or t.get("kernel_stack") for t in live):
            raise harness.Unavailable("/proc/PID/task/TID/wchan, which this kernel or sandbox does not show,")


class Output(harness.TestCase):
    """Where it goes, and what is left when it cannot."""

    def test_file(self):
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            path = tmp / "out"
            path.write_text("old")
            path.chmod(0o644)
            old = open(path)
            done = harness.hangscope("snapshot", target.pid, "-o", path)
            self.assertEqual(done.status, 0, done)
            self.assertEqual(done.out, "")
            self.assertRegex(done.err, r"out: 0\.\d MB, 4 threads, paused [\d.]+ ms\n.*deadlock: .*hangscope .*/out\n")
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
            self.assertEqual(os.listdir(tmp), ["out"])
            self.assertEqual(old.read(), "old", "the file that was there is another one")
            old.close()
            target.assert_running(self)

    def test_pipe(self):
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            done = harness.hangscope("snapshot", target.pid, "-o", "-", text=False)
            self.assertEqual(done.status, 0, done)
            (tmp / "core").write_bytes(done.out)
            self.assertEqual(harness.hangscope(tmp / "core", "--json").json()["verdict"], "deadlock")
            self.assertEqual(harness.hangscope("snapshot", target.pid, "-o", "-", "--json").status, harness.EX_USAGE)

    def test_broken_pipe(self):
        with start_c("pthread-cycle") as target:
            read, write = os.pipe()
            os.close(read)
            done = subprocess.run(
                [str(harness.HANGSCOPE), "snapshot", str(target.pid), "-o", "-"],
                stdout=write, stderr=subprocess.PIPE, text=True, timeout=harness.RUN_TIMEOUT,
            )
            os.close(write)
            self.assertEqual(done.returncode, EX_CANTCREAT, done.stderr)
            self.assertRegex(done.stderr, r"\Ahangscope: .*Broken pipe\n\Z")
            target.assert_running(self)

    def test_terminal(self):
        with start_c("pthread-cycle") as target:
            shown = harness.run_on_terminal(f"{harness.HANGSCOPE} snapshot {target.pid} -o -", {})
            self.assertIn("is a terminal", shown)

    def test_usage(self):
        with start_c("pthread-cycle") as target:
            for args in ((target.pid,), (target.pid, "-o", ""), ("core", "-o", "x"), (target.pid, "-o", "x", "--redact")):
                self.assertEqual(harness.hangscope("snapshot", *args).status, harness.EX_USAGE, args)

    def test_cannot_write(self):
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            for path in (tmp, tmp / "none" / "x", "/dev/full"):
                done = harness.hangscope("snapshot", target.pid, "-o", path)
                self.assertEqual(done.status, EX_CANTCREAT, done)
                self.assertRegex(done.err, r"\Ahangscope: .*\n\Z")
            self.assertEqual(os.listdir(tmp), [])
            done = harness.hangscope("snapshot", target.pid, "-o", tmp / "x", prefix=("prlimit", "--fsize=20000"))
            self.assertEqual(done.status, EX_CANTCREAT, done)
            self.assertEqual(os.listdir(tmp), [])
            target.assert_running(self)

    def test_wrong_path_costs_nothing(self):
        """It is known before the process is looked for."""
        for verb in ("snapshot", "bundle"):
            done = harness.hangscope(verb, 2**22 + 1, "-o", "/nowhere/x")  # no such process, either
            self.assertEqual(done.status, EX_CANTCREAT, done)
            self.assertIn("cannot write /nowhere/x", done.err)

    def test_full_disk(self):
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
            raise unittest.SkipTest("a private mount namespace is not permitted here")
        script = 'mount -t tmpfs -o size=32k none "$1" && "$2" snapshot "$3" -o "$1/x"; echo "status $?"; ls -A "$1"'
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            done = subprocess.run(
                ["unshare", "-m", "sh", "-c", script, "sh", tmp, harness.HANGSCOPE, str(target.pid)],
                capture_output=True, text=True, timeout=harness.RUN_TIMEOUT,
            )
            self.assertEqual(done.stdout, f"status {EX_CANTCREAT}\n", done.stderr)
            self.assertIn("No space left", done.stderr)
            target.assert_running(self)

    def test_signal(self):
        """Ended at some moment: a whole file, or nothing."""
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            for delay in (0.0, 0.02, 0.05, 0.1):
                child = subprocess.Popen(
                    [str(harness.HANGSCOPE), "snapshot", str(target.pid), "--full", "-o", str(tmp / "x")],
                    stderr=subprocess.DEVNULL,
                )
                time.sleep(delay)  # whichever moment it is, the result has to be one of two
                child.send_signal(signal.SIGTERM)
                status = child.wait(harness.RUN_TIMEOUT)
                self.assertIn(status, (0, -signal.SIGTERM))
                self.assertIn(os.listdir(tmp), (["x"],) if status == 0 else (["x"], []))
                if (tmp / "x").exists():  # also when the signal came after it was complete
                    self.assertEqual(harness.hangscope(tmp / "x").status, harness.EX_FINDINGS)
                    (tmp / "x").unlink()
                target.assert_soon_running(self)

    def test_target_ends(self):
        """It is killed while it is looked at: a whole snapshot, or a clear error and nothing."""
        with harness.temp_dir() as tmp:
            for delay in (0.0, 0.03, 0.06, 0.12):
                with start_c("pthread-cycle") as target:
                    child = subprocess.Popen(
                        [str(harness.HANGSCOPE), "snapshot", str(target.pid), "-o", str(tmp / "x")],
                        stderr=subprocess.PIPE, text=True,
                    )
                    time.sleep(delay)
                    target.process.kill()
                    err = child.communicate(timeout=harness.RUN_TIMEOUT)[1]
                    self.assertIn(child.returncode, (0, harness.EX_NOINPUT), err)
                    if child.returncode == 0:
                        self.assertIn(harness.hangscope(tmp / "x").status, (0, 1, 2))
                        (tmp / "x").unlink()
                self.assertEqual(os.listdir(tmp), [])


class Full(harness.TestCase):
    def test_full(self):
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            for name, options in (("stopped", ()), ("running", ("--no-stop",))):
                path = tmp / name
                done = harness.hangscope("snapshot", target.pid, "--full", "-o", path, *options)
                self.assertEqual(done.status, 0, done)
                target.assert_running(self)
                self.assertEqual(harness.hangscope(path, "--json").json()["verdict"], "deadlock")
                self.check_memory(target.pid, path)

    def check_memory(self, pid, path):
        """What is in it is what is there; and all that gcore takes of the heap is."""
        heap = re.search(r"^(\S+) .*\[heap\]$", pathlib.Path(f"/proc/{pid}/maps").read_text(), re.M)[1]
        low, high = (int(part, 16) for part in heap.split("-"))
        found = 0
        with open(path, "rb") as core, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for address, offset, size in harness._load_segments(core):
                if low <= address < high:
                    self.assertEqual(os.pread(core.fileno(), size, offset), os.pread(memory.fileno(), size, address))
                    found += size
        self.assertGreater(found, 0)

    def test_pause(self):
        """What is printed is all of the time that it was held; the file knows of it until the writing."""
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            done = harness.hangscope("snapshot", target.pid, "--full", "-o", tmp / "x", "--json")
            self.assertEqual((done.status, done.json()["lost"]), (0, 0), done)
            noted = harness.hangscope(tmp / "x", "--json").json()["target"]["pause_ms"]
            self.assertGreater(done.json()["pause_ms"], noted)
            done = harness.hangscope("snapshot", target.pid, "--stop", "-o", tmp / "x", "--json")
            noted = harness.hangscope(tmp / "x", "--json").json()["target"]["pause_ms"]
            self.assertEqual(done.json()["pause_ms"], noted, "it was released before")

    def test_shared_memory(self):
        """What another process has written is told by the file behind it; what nobody has, is not read."""
        with harness.temp_dir() as tmp:
            harness.compile_c(harness.ROOT / "tests/integration/c/odd.c", tmp / "odd")
            with harness.Target([tmp / "odd", "shared", "child"]) as target:
                (link,) = pathlib.Path(f"/proc/{target.pid}/map_files").glob(self.shared_range(target.pid))
                try:
                    os.stat(link)
                except PermissionError:
                    raise harness.Unavailable("a right to open /proc/PID/map_files") from None
                done = harness.hangscope("snapshot", target.pid, "--full", "-o", tmp / "x")
                self.assertEqual(done.status, 0, done)
                self.assertTrue(b"written by a child" in (tmp / "x").read_bytes())
                self.assertLess(os.stat(link).st_blocks * 512, 1 << 20, "memory of the target was allocated")

    @staticmethod
    def shared_range(pid):
        line = re.search(r"^(\S+) rw-s .*/dev/zero", pathlib.Path(f"/proc/{pid}/maps").read_text(), re.M)
        return "-".join(part.lstrip("0") for part in line[1].split("-"))

    def test_full_pipe(self):
        with start_c("pthread-cycle") as target:
            done = harness.hangscope("snapshot", target.pid, "--full", "-o", "-")
            self.assertEqual(done.status, harness.EX_USAGE, done)
            self.assertIn("would hold the process for as long as the reader takes", done.err)
            done = harness.hangscope("snapshot", target.pid, "--full", "--no-stop", "-o", "-", text=False)
            self.assertEqual(done.status, 0, done)

    def test_small(self):
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            harness.hangscope("snapshot", target.pid, "-o", tmp / "small")
            self.assertLess((tmp / "small").stat().st_size, harness.gcore(target.pid, tmp).stat().st_size)


class Damaged(harness.TestCase):
    def test_cut(self):
        """The beginning of one, as a pipe that broke leaves it."""
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            harness.hangscope("snapshot", target.pid, "-o", tmp / "x")
            whole = (tmp / "x").read_bytes()
            for part in range(1, 16):
                (tmp / "cut").write_bytes(whole[: len(whole) * part // 16])
                self.assertIn(harness.hangscope(tmp / "cut").status, (1, 2, harness.EX_NOINPUT))

    def test_missing_page(self):
        """A stack that is not in it is a gap that says so."""
        with harness.temp_dir() as tmp, start_c("pthread-cycle") as target:
            harness.hangscope("snapshot", target.pid, "-o", tmp / "x")
            report = harness.hangscope(tmp / "x", "--json").json()
            self.assertEqual(report["gaps"], [])
            data = bytearray((tmp / "x").read_bytes())
            count = int.from_bytes(data[56:58], "little")
            for i in range(1, count):  # all writable memory loses its bytes
                at = 64 + 56 * i
                if data[at + 4] & 2:
                    data[at + 32 : at + 40] = bytes(8)
            (tmp / "x").write_bytes(data)
            result = harness.hangscope(tmp / "x")
            self.assertIn("Could not be read\n", result.out)
            self.assertRegex(re.sub(r"\s+", " ", result.out), "stacks of 3 threads.*: the return address cannot be read")


if __name__ == "__main__":
    harness.main()
