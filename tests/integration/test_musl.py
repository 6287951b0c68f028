# SPDX-License-Identifier: Apache-2.0
"""Programs on musl, dynamic and static, live and from a core: stacks and locks without unwind information of libc."""

import os
import shutil
import subprocess

import harness

SOURCE = harness.ROOT / "tests/integration/c/musl.c"
STACKS = harness.ROOT / "tests/integration/c/musl_stacks.c"

# The program's own functions, innermost first, of each thread of musl_stacks.c in the order they are started.
ALL_STACKS = [
    ["main"],
    ["lock_it", "compare", "sorts"],
    ["lock_it", "after_deep"],
    ["with_alloca"],
    ["many_arguments"],
    ["prints"],
    ["polls"],
    ["lock_it", "by_pointer"],
]


class Musl(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("musl-gcc"):
            raise harness.Unavailable("musl-gcc is missing (package musl-tools)")
        cls.tmp = cls.enterClassContext(harness.temp_dir()) if hasattr(cls, "enterClassContext") else None
        if cls.tmp is None:
            raise harness.Unavailable("needs Python 3.11")
        for name, options in (("dynamic", ()), ("static", ("-static",)), ("stripped", ("-s",)), ("bare", ("-s", "-static"))):
            subprocess.run(["musl-gcc", "-g", "-O1", *options, "-o", cls.tmp / name, SOURCE], check=True)
            for level in ("-O0", "-O2"):
                subprocess.run(["musl-gcc", "-g", level, *options, "-o", cls.tmp / f"stacks-{name}{level}", STACKS], check=True)

    def reports(self, name, *arguments):
        with harness.Target([self.tmp / name, *arguments]) as target:
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

    def own_functions(self, report, program):
        """The program's functions, innermost first, of each thread in the order they were started."""
        libc = {"start", "__clone", "_start", "libc_start_main_stage2", "__syscall_cp_c", "__stdio_write", "sift", "trinkle"}
        return [
            [f["function"] for f in t["frames"] if f["module"].endswith(program) and f["function"] not in libc]
            for t in sorted(report.data["threads"], key=lambda t: t["tid"])
        ]

    def test_stacks(self):
        """Every blocked thread's stack reaches its start routine, with no wrong frame in between."""
        for name in ("dynamic", "static"):
            for level in ("-O0", "-O2"):
                program = f"stacks-{name}{level}"
                expected = ALL_STACKS
                if level == "-O2":
                    # lock_it() is a jump, so it has no frame; called by pointer it proves nothing: a gap.
                    expected = [[f for f in own if f != "lock_it"] for own in ALL_STACKS[:-1]] + [[]]
                for mode, result in self.reports(program):
                    with self.subTest(program, mode=mode):
                        report = harness.Report(result.json())
                        self.assertEqual(self.own_functions(report, program), expected)
                        for t in report.data["threads"]:
                            self.assertNotIn("rbp", {f["found_by"] for f in t["frames"]}, t["tid"])
                        cut = [g for g in report.data["gaps"] if g["subject"].startswith("stack")]
                        self.assertEqual(len(cut), level == "-O2", cut)
                        self.assertTrue([g for g in report.data["gaps"] if g["subject"].startswith("frames inside")])

    def test_stacks_stripped(self):
        """Without symbols the stacks have the same depth."""
        for whole, stripped in (("dynamic", "stripped"), ("static", "bare")):
            for level in ("-O0", "-O2"):
                depths = []
                for name in (whole, stripped):
                    _, result = next(self.reports(f"stacks-{name}{level}"))
                    threads = sorted(result.json()["threads"], key=lambda t: t["tid"])
                    depths.append([len(t["frames"]) for t in threads])
                with self.subTest(stripped, level=level):
                    self.assertEqual(depths[0], depths[1])

    def test_owners(self):
        """Recursive mutexes record their owner: a deadlock of two, and main joins one of them."""
        for name in ("dynamic", "static", "stripped", "bare"):
            # Where the name of the function that was called says the same as the memory.
            is_named = name != "bare"
            for mode, result in self.reports(name, "recursive"):
                with self.subTest(name, mode=mode):
                    self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
                    report = harness.Report(result.json())
                    [finding] = report.findings("deadlock.cycle" if is_named else "deadlock.possible")
                    self.assertEqual(len(finding["threads"]), 2)
                    self.assertEqual(len(finding["blocked"]), 1, "main, which joins")
                    edges = self.edges(report)
                    self.assertEqual(edges["pthread-mutex", "pthread mutex"], [(1, True)] * 2)
                    self.assertEqual(edges["pthread-cond", "pthread condition, waiter"], [(1, False)])
                    if is_named:
                        self.assertEqual(edges["pthread-rwlock", "pthread rwlock"], [(1, False)] * 2)
                        self.assertEqual(edges["semaphore", "semaphore"], [(1, False)])
                    else:
                        self.assertEqual(edges["pthread-rwlock", "pthread rwlock"], [(1, False)])
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
