# SPDX-License-Identifier: Apache-2.0
"""The command line: verbs, options, exit status, where output goes."""

import json
import re
import shlex

import harness
import schema

VERBS = ("analyze", "stacks", "graph", "doctor")


class NoTarget(harness.TestCase):
    def test_help(self):
        for args in (["--help"], ["-h"]):
            result = harness.hangscope(*args)
            self.assertEqual(result.status, 0, str(result))
            for verb in VERBS:
                self.assertIn(verb, result.out)
            self.assertIn("--json", result.out)
            self.assertEqual(result.err, "")

    def test_version(self):
        result = harness.hangscope("--version")
        self.assertEqual(result.status, 0, str(result))
        self.assertRegex(result.out, r"^hangscope \d+\.\d+")

    def test_usage(self):
        for args in ([], ["--no-such-option"], ["analyze"], ["stacks"], ["graph", "1", "2", "3"], ["graph", "1", "--format=nonsense"]):
            with self.subTest(args=args):
                result = harness.hangscope(*args)
                self.assertEqual(result.status, harness.EX_USAGE, str(result))
                self.assertEqual(result.out, "", "a usage error goes to stderr")
                self.assertTrue(result.err.strip())


class OnTarget(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.target = harness.Sample("pthread-cycle").start()

    @classmethod
    def tearDownClass(cls):
        cls.target.close()

    def test_analyze_is_the_default(self):
        short = harness.hangscope(self.target.pid)
        long = harness.hangscope("analyze", self.target.pid)
        self.assertEqual(short.status, harness.EX_FINDINGS, str(short))
        self.assertEqual(long.status, harness.EX_FINDINGS, str(long))
        self.assertRegex(short.out, r"(?m)^DEADLOCK")
        self.assertRegex(long.out, r"(?m)^DEADLOCK")

    def test_verdict_comes_first(self):
        lines = harness.hangscope(self.target.pid).out.splitlines()
        self.assertRegex(lines[0], rf"^hangscope .*pid {self.target.pid}\b")
        self.assertTrue(lines[2].startswith("DEADLOCK  "), lines[:4])

    def test_json_is_alone_on_stdout(self):
        for args in ([self.target.pid, "--json"], ["--json", self.target.pid], ["-v", "--json", self.target.pid]):
            with self.subTest(args=args):
                result = harness.hangscope(*args)
                self.assertEqual(result.status, harness.EX_FINDINGS, str(result))
                self.assertEqual(schema.errors(result.json()), [])

    def test_json_file(self):
        with harness.temp_dir() as tmp:
            result = harness.hangscope(self.target.pid, "--json-file", tmp / "report.json")
            self.assertRegex(result.out, r"(?m)^DEADLOCK")
            data = json.loads((tmp / "report.json").read_text())
            self.assertEqual(schema.errors(data), [])
            self.assertEqual(data["target"]["pid"], self.target.pid)
            nowhere = harness.hangscope(self.target.pid, "--json-file", tmp / "no" / "such" / "dir")
            self.assertGreater(nowhere.status, 2, str(nowhere))
            self.assertTrue(nowhere.err.strip())

    def test_no_colour_without_a_terminal(self):
        for env in ({}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}):
            self.assertNotIn("\x1b", harness.hangscope(self.target.pid, env=env).out)

    def test_colour_on_a_terminal(self):
        def on_terminal(*args, **extra):
            # script(1) gives the program a terminal.
            command = shlex.join([str(harness.HANGSCOPE), str(self.target.pid), *args])
            env = {"TERM": "xterm-256color", **extra}
            return harness.run_on_terminal(command, env)

        self.assertIn("\x1b[", on_terminal())
        self.assertNotIn("\x1b[", on_terminal("--no-color"))
        self.assertNotIn("\x1b[", on_terminal(NO_COLOR="1"))

    def test_stacks(self):
        result = harness.hangscope("stacks", self.target.pid)
        self.assertLess(result.status, 3, str(result))
        for name in ("ledger-writer", "cache-flusher", "auditor"):
            self.assertIn(name, result.out)
        # Exported: named with and without libc's debug symbols (pthread_join() is a tail call).
        self.assertIn("pthread_mutex_lock", result.out)

    def test_stacks_of_one_thread(self):
        data = harness.hangscope(self.target.pid, "--json").json()
        auditor = next(t for t in data["threads"] if t["name"] == "auditor")
        for which in ("auditor", auditor["tid"]):
            with self.subTest(which=which):
                out = harness.hangscope("stacks", self.target.pid, "--thread", which).out
                self.assertIn("auditor", out)
                self.assertNotIn("ledger-writer", out)
        unknown = harness.hangscope("stacks", self.target.pid, "--thread", "no-such-thread")
        self.assertGreater(unknown.status, 2, str(unknown))
        self.assertIn("no-such-thread", unknown.err)

    def test_stacks_all_unfolds(self):
        out = harness.hangscope("stacks", "--all", self.target.pid).out
        self.assertGreaterEqual(len(re.findall(r"\bmain\.c:\d+|\brun\b", out)), 3)

    def test_graph_dot(self):
        result = harness.hangscope("graph", self.target.pid, "--format=dot")
        self.assertLess(result.status, 3, str(result))
        self.assertRegex(result.out, r"^(strict )?digraph\b")
        self.assertEqual(result.out.count("{"), result.out.count("}"))
        self.assertGreaterEqual(result.out.count("->"), 6, "three waits and three holds")
        for name in ("ledger-writer", "cache-flusher", "auditor"):
            self.assertIn(name, result.out)

    def test_unwinder_libunwind_agrees(self):
        def pcs(*options):
            data = harness.hangscope(self.target.pid, "--json", *options).json()
            return {t["tid"]: [f["pc"] for f in t["frames"]] for t in data["threads"]}

        self.assertEqual(pcs(), pcs("--unwinder=libunwind"))


if __name__ == "__main__":
    harness.main()
