# SPDX-License-Identifier: Apache-2.0
"""Programs that check their own work, captured again and again in every mode: nothing is lost, nobody hangs, and no
system call returns EINTR that does not do so after any stop of a process (signal(7)).

HS_ROUNDS is the number of captures of the native program, in all modes together; of a JVM it is a part of that.
"""

import os
import re
import signal
import subprocess
import time

import harness

ROUNDS = int(os.environ.get("HS_ROUNDS") or 1000)
ATTACH_ROUNDS = harness.HANGSCOPE.parent / "tests/attach_rounds"
# Parts of the rounds; the plain pause is what users do.
MODES = {"pause": 0.7, "rolling": 0.1, "stop": 0.1, "no-stop": 0.1}
LINE = re.compile(r"CALL (.+): (\d+) calls, (\d+) EINTR, (\d+) wrong, (may|must not)$")


def rounds(target, mode, count):
    if not ATTACH_ROUNDS.exists():
        raise harness.Unavailable(f"{ATTACH_ROUNDS} is missing: build all")
    done = subprocess.run(
        [str(ATTACH_ROUNDS), str(target.pid), mode, str(count)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=harness.RUN_TIMEOUT * 2,
    )
    found = re.search(r"^ROUNDS (\d+) (\d+) (\d+)$", done.stdout, re.M)
    if done.returncode or not found:
        raise AssertionError(f"attach_rounds {mode}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return int(found.group(1)), int(found.group(3))


class Undisturbed(harness.TestCase):
    def check(self, target, total):
        made = 0
        for mode, part in MODES.items():
            count = max(int(total * part), 1)
            started = time.monotonic()
            captured, threads = rounds(target, mode, count)
            self.assertEqual(captured, count)
            self.assertGreater(threads, count, f"{mode}: hardly any registers were read")
            print(f"{mode}: {count} times, {(time.monotonic() - started) / count * 1000:.1f} ms each")
            target.assert_running(self)
            made += captured
        os.kill(target.pid, signal.SIGTERM)
        target.process.wait(harness.RUN_TIMEOUT)
        target._reader.join(10)
        text = "".join(target.output)
        self.assertIn("END\n", text)
        self.assertNotIn("STUCK", text)
        lines = [found for found in map(LINE.match, text.splitlines()) if found]
        self.assertGreater(len(lines), 5, text)
        for name, calls, eintr, wrong, rule in (line.groups() for line in lines):
            with self.subTest(name):
                self.assertGreater(int(calls), 0)
                self.assertEqual(int(wrong), 0, text)
                if rule == "may":
                    print(f"{name}: {eintr} EINTR in {calls} calls, {made} captures: documented in signal(7)")
                    self.assertLessEqual(int(eintr), made)
                else:
                    self.assertEqual(int(eintr), 0, text)

    def test_native(self):
        with harness.temp_dir() as tmp:
            harness.compile_c(harness.ROOT / "tests/integration/c/interrupted.c", tmp / "interrupted")
            with harness.Target([tmp / "interrupted"]) as target:
                self.check(target, ROUNDS)

    def check_java(self, name):
        jdk = harness.need_jdk(name)
        with harness.temp_dir() as tmp:
            harness.SAMPLES_OUT.mkdir(parents=True, exist_ok=True)
            harness.compile_java(harness.ROOT / "tests/integration/java/Undisturbed.java", tmp)
            command = [jdk.run, "java", "-Xmx96m", "-cp", tmp, "Undisturbed"]
            with harness.Target(command, env=jdk.environment(tmp)) as target:
                self.check(target, ROUNDS // 5)

    def test_java_17(self):
        self.check_java("17")

    def test_java_25(self):
        self.check_java("25")


if __name__ == "__main__":
    harness.main()
