# SPDX-License-Identifier: Apache-2.0
"""Busy programs without a problem, looked at again and again: never a deadlock, and they run on."""

import collections
import os
import time

import harness

ROUNDS = int(os.environ.get("HS_HEALTHY_ROUNDS") or (100 if harness.CI else 20))
# Of carriers: with one, whoever computes keeps all others from running, whatever they hold.
PARALLELISM = (1, 2)


def without_carrier(data):
    """Is there a virtual thread that others wait behind, and that waits for a carrier?"""
    resources = {r["ref"]: r for r in data["resources"]}
    for thread in data["threads"]:
        if thread["waits_for"] and resources[thread["waits_for"]]["kind"] == "carrier":
            if any(resources[ref]["waiters"] for ref in thread["holds"]):
                return True
    return False


class Healthy(harness.TestCase):
    def look(self, target, expect, rounds, what):
        verdicts = collections.Counter()
        saturated = 0
        started = time.monotonic()
        for i in range(rounds):
            result = harness.hangscope(target.pid, "--json")
            data = result.json()
            ids = {finding["id"] for finding in data["findings"]}
            self.assertIn(data["verdict"], expect["verdict"], f"round {i}\n{result}")
            self.assertEqual(result.status, 1 if data["findings"] else 0, f"round {i}\n{result}")
            self.assertFalse(ids & set(expect["not_findings"]), f"round {i}\n{result}")
            verdicts[data["verdict"]] += 1
            saturated += without_carrier(data)
        target.assert_running(self)
        print(f"{what}: {dict(verdicts)}, {(time.monotonic() - started) / rounds * 1000:.0f} ms each")
        return saturated

    def check(self, name, jdk=None):
        sample = harness.Sample(name)
        with sample.start(jdk) as target:
            self.look(target, sample.expect(jdk, "live"), ROUNDS, f"{name} {jdk or ''}")

    def check_virtual(self, jdk_name):
        """Locks whose holders wait for a carrier are no deadlock while carriers only compute."""
        jdk = harness.need_jdk(jdk_name)
        expect = harness.Sample("healthy-java").expect(jdk, "live")
        saturated = 0
        with harness.temp_dir() as directory:
            harness.SAMPLES_OUT.mkdir(parents=True, exist_ok=True)  # shown to every JDK, built or not
            harness.compile_java(harness.ROOT / "tests/integration/java/HealthyVirtual.java", directory)
            for parallelism in PARALLELISM:
                options = ["-Xmx128m", f"-Djdk.virtualThreadScheduler.parallelism={parallelism}"]
                command = [jdk.run, "java", *options, "-cp", directory, "HealthyVirtual"]
                with harness.Target(command, env=jdk.environment(directory)) as target:
                    what = f"virtual threads, {parallelism} carriers, {jdk}"
                    saturated += self.look(target, expect, min(ROUNDS, 20), what)
        print(f"virtual threads, {jdk}: {saturated} times a holder waited for a carrier")
        self.assertGreater(saturated, 0, "nothing was proved: no holder ever waited for a carrier")

    def check_modes(self, name, jdk=None):
        """Without one moment of all threads there is no deadlock either, only what is not known."""
        sample = harness.Sample(name)
        expect = sample.expect(jdk, "live")
        with sample.start(jdk) as target:
            for mode, more in (("--rolling", ()), ("--no-stop", ("incomplete",))):
                for i in range(min(ROUNDS, 15)):
                    result = harness.hangscope(target.pid, "--json", mode)
                    data = result.json()
                    ids = {finding["id"] for finding in data["findings"]}
                    self.assertIn(data["verdict"], (*expect["verdict"], *more), f"round {i}\n{result}")
                    self.assertFalse(ids & set(expect["not_findings"]), f"round {i}\n{result}")
            target.assert_running(self)

    def test_same_call(self):
        """Waits for two locks from one place, at two moments, are two waits."""
        with harness.temp_dir() as directory:
            harness.compile_c(harness.ROOT / "tests/integration/c/same_call.c", directory / "same_call")
            with harness.Target([directory / "same_call"]) as target:
                for i in range(min(ROUNDS, 30)):
                    for mode in ((), ("--rolling",), ("--no-stop",)):
                        data = harness.hangscope(target.pid, "--json", *mode).json()
                        self.assertIn(data["verdict"], ("clear", "contention", "incomplete"), f"round {i} {mode}: {data['findings']}")
                target.assert_running(self)

    def test_modes_c(self):
        self.check_modes("healthy-c")

    def test_modes_java_17(self):
        self.check_modes("healthy-java", harness.need_jdk("17"))

    def test_modes_java_25(self):
        self.check_modes("healthy-java", harness.need_jdk("25"))

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

    def test_virtual_21(self):
        self.check_virtual("21")

    def test_virtual_25(self):
        self.check_virtual("25")


if __name__ == "__main__":
    harness.main()
