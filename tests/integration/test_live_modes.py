# SPDX-License-Identifier: Apache-2.0
"""How a live process is captured: what each mode says of itself, and that it sees the same as the others."""

import re
import shutil

import harness

MODES = {"pause": (), "stop": ("--stop",), "rolling": ("--rolling",), "no-stop": ("--no-stop",)}
_JAVA_KINDS = ("interpreted", "compiled", "inlined")
# A thread that waits with a time-out may have woken up in between: what differs once must be equal soon.
TRIES = 5
FLIPS = 30


def java_frames(thread):
    return [
        tuple(frame[key] for key in ("kind", "class", "method", "descriptor", "bci", "line"))
        for frame in thread["frames"]
        if frame["kind"] in _JAVA_KINDS
    ]


def by_tid(data):
    return {thread["tid"]: thread for thread in data["threads"] if thread["tid"]}


def run(target, mode):
    result = harness.hangscope(target.pid, "--json", *MODES[mode])
    return result, result.json()


def differences(expected, found):
    """Java threads whose Java frames are not the same."""
    expected, found = by_tid(expected), by_tid(found)
    return {
        thread["name"]: (java_frames(thread), java_frames(found[tid]) if tid in found else None)
        for tid, thread in expected.items()
        if java_frames(thread) and (tid not in found or java_frames(thread) != java_frames(found[tid]))
    }


class Modes(harness.TestCase):
    def check_same(self, name, jdk, options=""):
        """The same findings, and the same Java frames in every thread that hangs."""
        with harness.Sample(name).start(jdk, options) as target:
            for mode in ("no-stop", "rolling"):
                for _ in range(TRIES):
                    _, expected = run(target, "pause")
                    result, data = run(target, mode)
                    differ = differences(expected, data)
                    if not differ:
                        break
                self.assertEqual(differ, {}, f"{name} {jdk} {options} {mode}\n{result}")
                self.assertGreater(sum(bool(java_frames(t)) for t in expected["threads"]), 4)
                self.assertEqual(
                    [(f["id"], f["certainty"], f["signature"]) for f in data["findings"] if f["cycle"]],
                    [(f["id"], f["certainty"], f["signature"]) for f in expected["findings"] if f["cycle"]],
                )
                self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
                self.assertTrue(all(f["confirmed"] for f in data["findings"]), str(result))
            target.assert_running(self)

    def check_jdk(self, name):
        jdk = harness.need_jdk(name)
        self.check_same("two-monitors", jdk)
        self.check_same("loader-lock-vs-link-split-verifier", jdk, "-Xint")
        self.check_same("monitor-and-reentrantlock", jdk, "-XX:+UseZGC")

    def test_same_17(self):
        self.check_jdk("17")

    def test_same_21(self):
        self.check_jdk("21")

    def test_same_25(self):
        self.check_jdk("25")

    def test_no_stack_of_two_moments(self):
        """Threads that move between two ways to one native function: a Java stack is one of them, or cut."""
        jdk = harness.need_jdk("17")
        ways = (["leftRead", *["deeper"] * 8, "left", "run"], ["rightRead", "right", "run"], ["run"])
        whole = 0
        with harness.temp_dir() as tmp:
            harness.SAMPLES_OUT.mkdir(parents=True, exist_ok=True)
            harness.compile_java(harness.ROOT / "tests/integration/java/Flip.java", tmp)
            command = [jdk.run, "java", "-Xmx64m", "-cp", tmp, "Flip"]
            with harness.Target(command, env=jdk.environment(tmp)) as target:
                for i in range(FLIPS):
                    result, data = run(target, ("no-stop", "rolling")[i % 2])
                    for thread in data["threads"]:
                        methods = [f["method"] for f in thread["frames"] if f["class"] == "Flip"]
                        if thread["name"] != "flip" or not methods:
                            continue
                        # On its way there, or back: the outer frames of one way.
                        if not any(methods == way[-len(methods) :] for way in ways):
                            # Cut: the innermost frames of one way, and the report says so.
                            self.assertTrue(any(methods == way[: len(methods)] for way in ways), f"round {i}: {methods}, {data['gaps']}")
                            said = [g for g in data["gaps"] if '"flip"' in g["subject"]]
                            self.assertTrue(said, f"round {i}: cut without a word: {methods}, {data['gaps']}")
                            continue
                        whole += len(methods) > 1
                target.assert_running(self)
        self.assertGreater(whole, FLIPS, "nothing was proved: hardly any Java stacks were read")

    def test_words(self):
        heads = {
            "pause": r"· paused \d+\.\d ms$",
            "stop": r"· stopped for \d+\.\d ms$",
            "rolling": r"· no thread paused longer than \d+\.\d ms$",
            "no-stop": r"· never paused$",
        }
        with harness.Sample("pthread-cycle").start() as target:
            for mode, head in heads.items():
                with self.subTest(mode):
                    result, data = run(target, mode)
                    text = harness.hangscope(target.pid, *MODES[mode]).out
                    self.assertEqual(data["target"]["capture"], mode)
                    self.assertRegex(text.splitlines()[0], head)
                    self.assertEqual(result.status, harness.EX_FINDINGS)
                    moments = [gap for gap in data["gaps"] if gap["subject"] == "one moment of all threads"]
                    self.assertEqual(len(moments), mode in ("rolling", "no-stop"), str(result))
                    evidence = [line for f in data["findings"] for line in f["evidence"] if "not captured at one moment" in line]
                    self.assertEqual(bool(evidence), mode in ("rolling", "no-stop"), str(result))
                    if mode == "no-stop":
                        self.assertEqual(data["target"]["pause_ms"], 0)
                    else:
                        self.assertGreater(data["target"]["pause_ms"], 0)
            target.assert_running(self)

    def test_what_is_no_cycle_is_inferred(self):
        jdk = harness.need_jdk("17")
        with harness.Sample("contention").start(jdk) as target:
            for mode in ("rolling", "no-stop"):
                result, data = run(target, mode)
                for finding in data["findings"]:
                    if not finding["cycle"]:
                        self.assertIn(finding["certainty"], ("inferred", "guessed"), str(result))

    def test_contradictions(self):
        for options in (("--rolling", "--no-stop"), ("--stop", "--rolling"), ("--stop", "--no-stop")):
            result = harness.hangscope("1", *options)
            self.assertEqual(result.status, harness.EX_USAGE, str(result))
            self.assertIn("contradict", result.err)

    def traced(self, pid, *options):
        if not shutil.which("strace"):
            raise harness.Unavailable("strace is missing (package strace)")
        with harness.temp_dir() as tmp:
            result = harness.hangscope(
                pid,
                "--json",
                *options,
                prefix=("strace", "-f", "-qq", "-o", tmp / "log", "-e", "trace=ptrace,kill,tkill,tgkill,pidfd_send_signal"),
                # LeakSanitizer stops its own threads by ptrace.
                env={"ASAN_OPTIONS": "exitcode=99:detect_leaks=0"},
            )
            return result, (tmp / "log").read_text()

    def test_no_stop_never_traces(self):
        with harness.Sample("pthread-cycle").start() as target:
            result, log = self.traced(target.pid, "--no-stop")
            self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
            self.assertNotIn("ptrace(", log)

    def test_no_signal_is_sent(self):
        with harness.Sample("pthread-cycle").start() as target:
            for mode, options in MODES.items():
                _, log = self.traced(target.pid, *options)
                calls = re.findall(r"\b(kill|tkill|tgkill|pidfd_send_signal)\((.*)", log)
                self.assertEqual(calls, [], mode)
                requests = set(re.findall(r"ptrace\((\w+)", log))
                allowed = {"PTRACE_SEIZE", "PTRACE_INTERRUPT", "PTRACE_GETSIGINFO", "PTRACE_GETREGSET", "PTRACE_DETACH"}
                self.assertLessEqual(requests, allowed if mode != "no-stop" else set(), mode)

    def test_rolling_holds_one_thread_at_a_time(self):
        with harness.Sample("pthread-cycle").start() as target:
            _, log = self.traced(target.pid, "--rolling")
            held = set()
            most = 0
            for request, tid in re.findall(r"ptrace\(PTRACE_(INTERRUPT|DETACH), (\d+).*= 0$", log, re.M):
                held.add(tid) if request == "INTERRUPT" else held.discard(tid)
                most = max(most, len(held))
            self.assertEqual(held, set(), log)
            self.assertEqual(most, 1, log)

    def test_running_threads_have_no_values(self):
        """--no-stop says so of threads that run, and the report is incomplete."""
        with harness.temp_dir() as tmp:
            (tmp / "spin.c").write_text(
                '#include <stdio.h>\n#include <unistd.h>\nint main(void){printf("READY %d\\n",(int)getpid());fflush(stdout);for(;;);}\n'
            )
            harness.compile_c(tmp / "spin.c", tmp / "spin")
            with harness.Target([tmp / "spin"]) as target:
                result, data = run(target, "no-stop")
                self.assertEqual(result.status, harness.EX_INCOMPLETE, str(result))
                self.assertEqual(data["threads"][0]["frames"], [])
                self.assertTrue(any("running" in gap["reason"] for gap in data["gaps"]), str(result))
                result, data = run(target, "rolling")
                self.assertEqual(data["threads"][0]["frames"][0]["function"], "main", str(result))
                target.assert_running(self)


if __name__ == "__main__":
    harness.main()
