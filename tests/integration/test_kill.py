# SPDX-License-Identifier: Apache-2.0
"""hangscope killed at any moment, in every mode, leaves its target running: no tracer, no stopped thread, work goes on."""

import random
import subprocess
import time

import harness

ROUNDS = 60
MODES = ((), ("--stop",), ("--rolling",), ("--no-stop",))


class Kill(harness.TestCase):
    def check(self, name, jdk=None):
        chance = random.Random(1)
        with harness.Sample(name).start(jdk) as target:
            whole = {}
            for mode in MODES:
                started = time.monotonic()
                harness.hangscope(target.pid, "--json", *mode)
                whole[mode] = time.monotonic() - started
            for i in range(ROUNDS):
                mode = MODES[i % len(MODES)]
                process = subprocess.Popen(
                    [str(harness.HANGSCOPE), str(target.pid), "--json", *mode],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                delay = chance.uniform(0, whole[mode])
                time.sleep(delay)
                process.kill()
                process.wait()
                with self.subTest(round=i, mode=mode, delay=delay):
                    target.assert_soon_running(self)

    def test_c(self):
        self.check("healthy-c")

    def test_hung_c(self):
        self.check("pthread-cycle")

    def test_java_17(self):
        self.check("healthy-java", harness.need_jdk("17"))

    def test_java_25(self):
        self.check("healthy-java", harness.need_jdk("25"))


if __name__ == "__main__":
    harness.main()
