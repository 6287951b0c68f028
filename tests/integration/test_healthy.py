# SPDX-License-Identifier: Apache-2.0
"""Busy programs without a problem, looked at again and again: never a deadlock, and they run on."""

import collections
import os
import time

import harness

ROUNDS = int(os.environ.get("HS_HEALTHY_ROUNDS") or (100 if harness.CI else 20))


class Healthy(harness.TestCase):
    def check(self, name, jdk=None):
        sample = harness.Sample(name)
        expect = sample.expect(jdk, "live")
        with sample.start(jdk) as target:
            verdicts = collections.Counter()
            started = time.monotonic()
            for i in range(ROUNDS):
                result = harness.hangscope(target.pid, "--json")
                data = result.json()
                ids = {finding["id"] for finding in data["findings"]}
                self.assertIn(data["verdict"], expect["verdict"], f"round {i}\n{result}")
                self.assertFalse(ids & set(expect["not_findings"]), f"round {i}\n{result}")
                verdicts[data["verdict"]] += 1
            target.assert_running(self)
            print(f"{name} {jdk or ''}: {dict(verdicts)}, {(time.monotonic() - started) / ROUNDS * 1000:.0f} ms each")

    def test_c(self):
        self.check("healthy-c")

    def test_java_17(self):
        self.check("healthy-java", harness.need_jdk("17"))

    def test_java_21_0_2(self):
        self.check("healthy-java", harness.need_jdk("21.0.2"))

    def test_java_21(self):
        self.check("healthy-java", harness.need_jdk("21"))

    def test_java_25(self):
        self.check("healthy-java", harness.need_jdk("25"))


if __name__ == "__main__":
    harness.main()
