# SPDX-License-Identifier: Apache-2.0
"""Programs on musl, dynamic and static, live and from a core: what their locks say without unwind information."""

import os
import shutil
import subprocess

import harness

SOURCE = harness.ROOT / "tests/integration/c/musl.c"


class Musl(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("musl-gcc"):
            raise harness.Unavailable("musl-gcc is missing (package musl-tools)")
        cls.tmp = cls.enterClassContext(harness.temp_dir()) if hasattr(cls, "enterClassContext") else None
        if cls.tmp is None:
            raise harness.Unavailable("needs Python 3.11")
        for name, options in (("dynamic", ()), ("static", ("-static",)), ("stripped", ("-s",))):
            subprocess.run(["musl-gcc", "-g", "-O1", *options, "-o", cls.tmp / name, SOURCE], check=True)

    def reports(self, name, kind):
        with harness.Target([self.tmp / name, kind]) as target:
            yield "live", harness.hangscope(target.pid, "--json")
            core = harness.gcore(target.pid, self.tmp)
        yield "core", harness.hangscope(core, "--json")
        os.unlink(core)

    def edges(self, report):
        """{label without its address: (number of waiters, has an owner)}."""
        found = {}
        for r in report.data["resources"]:
            if r["waiters"]:
                found.setdefault((r["kind"], r["label"].split(" 0x")[0]), []).append((len(r["waiters"]), r["owner_tid"] is not None))
        return {key: sorted(value) for key, value in found.items()}

    def test_owners(self):
        """Recursive mutexes record their owner: a deadlock of two, and main joins one of them."""
        for name in ("dynamic", "static", "stripped"):
            for mode, result in self.reports(name, "recursive"):
                with self.subTest(name, mode=mode):
                    self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
                    report = harness.Report(result.json())
                    # No function name confirms what the memory says.
                    [finding] = report.findings("deadlock.possible")
                    self.assertEqual(len(finding["threads"]), 2)
                    self.assertEqual(len(finding["blocked"]), 1, "main, which joins")
                    edges = self.edges(report)
                    self.assertEqual(edges["pthread-mutex", "pthread mutex"], [(1, True)] * 2)
                    self.assertEqual(edges["pthread-rwlock", "pthread rwlock"], [(1, False)])
                    self.assertEqual(edges["pthread-cond", "pthread condition, waiter"], [(1, False)])
                    self.assertEqual(edges["futex", "pthread rwlock or semaphore"], [(1, False)] * 2)
                    self.assertEqual([n for (kind, _), n in edges.items() if kind == "pthread-join"], [[(1, True)]])

    def test_normal_mutexes(self):
        """They record no owner: that there is no deadlock cannot be said."""
        for mode, result in self.reports("dynamic", "normal"):
            with self.subTest(mode):
                self.assertEqual(result.status, harness.EX_INCOMPLETE, str(result))
                self.assertEqual(result.json()["verdict"], "incomplete")
                self.assertIn("musl does not record the owner of a normal mutex", {g["reason"] for g in result.json()["gaps"]})


if __name__ == "__main__":
    harness.main()
