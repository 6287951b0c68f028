# SPDX-License-Identifier: Apache-2.0
"""stacks --locals: arguments and local variables are what the program says they are; --redact: none of it gets out."""

import contextlib
import os
import random
import struct
import subprocess
import sys
import unittest

import harness
import schema

SOURCE = harness.ROOT / "tests/integration/java/Locals.java"
THREAD = "hunter2-thread"
KEEP_FRAMES = "-Xbatch -XX:CompileCommand=quiet -XX:CompileCommand=exclude,Locals.hold"
# Name, options, calls before the one that is looked at.
INT = ("int", "-Xint", 0)
C1 = ("c1", f"{KEEP_FRAMES} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UseCompressedOops", 20000)
C2 = ("c2", f"{KEEP_FRAMES} -XX:-TieredCompilation -XX:+UseParallelGC", 20000)
# Mode, javac's -g:, the method on top, also from a core?
SHORT = (
    (INT, "g", "objects", True),
    (C1, "g", "locked", True),
    (C2, "g", "objects", True),
    (C2, "none", "numbers", False),
)
FULL = SHORT + (
    (INT, "none", "numbers", False),
    (C1, "g", "numbers", False),
    (C1, "g", "objects", True),
    (C1, "none", "objects", False),
    (C2, "g", "numbers", False),
    (C2, "g", "locked", False),
)
# What the compilers may drop: not used after the call.
DEAD = {("variables", "this"), ("variables", "seed"), ("locked", "monitor")}
TEXTS = {"ODD": "tab\t quote\" \u20ac \U0001f600 \x1b[2J", "LARGE": "y" * 120}
LENGTHS = {"LARGE": 5000}
ARGUMENTS = {
    "numbers": ("yes", "small", "mid", "letter", "count", "big", "half", "ratio"),
    "objects": (
        "text odd large nothing ints table type primitive color box real self lock"
    ).split(),
    "variables": ("this", "seed"),
    "locked": ("a", "b", "d", "f", "name", "monitor"),
}
FLIP_ROUNDS = int(os.environ.get("HS_FLIP_ROUNDS", "20"))


def same_number(local, expected):
    if local["value"] == expected:
        return True
    try:
        return local["type"] in ("float", "double") and float(local["value"]) == float(expected)
    except ValueError:
        return False


class Base(harness.TestCase):
    classes = {}

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.tmp = cls.stack.enter_context(harness.temp_dir())

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()
        cls.classes = {}

    def compiled(self, kind):
        """Directory of the classes with ("g") or without ("none") debug information; compiled when they are first wanted."""
        if kind not in self.classes:
            directory = self.tmp / kind
            directory.mkdir()
            options = ["-nowarn", "-Xlint:-options", "-g" if kind == "g" else "-g:none", "--release", "8", "-d", directory]
            try:
                subprocess.run(
                    [os.environ.get("HS_JAVAC", "javac"), *options, SOURCE, SOURCE.with_name("Secrets.java")],
                    stdin=subprocess.DEVNULL,
                    check=True,
                    timeout=harness.RUN_TIMEOUT,
                )
            except FileNotFoundError as error:
                raise harness.Unavailable("javac is missing (sh tests/install-deps.sh)") from error
            type(self).classes = {**self.classes, kind: directory}
        return self.classes[kind]

    def start(self, jdk, kind, main, *args, options=""):
        command = [jdk.run, "java", "-Xmx128m", *options.split(), "-cp", self.compiled(kind), main, *args]
        return harness.Target(command, env={"HS_JDK_BIND": str(self.tmp)})


class Locals(Base):
    """test_RELEASE is added below for each release."""

    compared = 0

    def check_value(self, method, frame, local, expected, where):
        kind = local["kind"]
        if kind == "optimized-out":
            self.assertNotEqual(frame["kind"], "interpreted", where)
            self.assertIn((method, local["name"]), DEAD, where)
        elif kind == "eliminated":
            self.assertNotEqual(frame["kind"], "interpreted", where)
            self.assertIn(local["class"], ("Locals$Point", "java.lang.String", "java.lang.Integer", "java.lang.Double"), where)
        elif kind == "unknown":  # in registers; 8 tells in no table that we read where its stubs save them
            self.assertEqual((self.jdk, method), ("8", "locked"), where)
        elif kind == "primitive":
            self.assertTrue(same_number(local, expected), where)
        elif kind == "null":
            self.assertEqual(expected, "null", where)
        elif kind != "object":
            self.fail(where)
        elif local["length"] is not None and local["class"] != "java.lang.String":
            self.assertEqual(f"{local['class']} {local['length']}", expected, where)
        elif local["value"] is not None:
            self.assertEqual(local["value"], TEXTS.get(expected, expected), where)
            if local["class"] == "java.lang.String":
                self.assertEqual(local["length"], LENGTHS.get(expected, local["length"]), where)
        else:
            self.assertEqual(local["class"], expected, where)

    def check_names(self, frame, method, expected):
        """With -g: every variable that is in scope, by name and type, and no other."""
        found = {local["name"]: local for local in frame["locals"]}
        self.assertEqual(len(found), len(frame["locals"]))
        self.assertEqual(set(found) - {"held"}, set(expected[method]), method)
        for name, (type_, value) in expected[method].items():
            local = found[name]
            where = f"{method}.{name}: {local}, expected {value}"
            self.assertEqual(local["type"], type_, where)
            self.assertEqual(local["argument"], name in ARGUMENTS[method], where)
            self.check_value(method, frame, local, value, where)
            type(self).compared += 1

    def check_numbers(self, frame, method, expected):
        """Without -g: arguments by their place and declared type, the rest by slot without a type."""
        arguments = [local for local in frame["locals"] if local["argument"]]
        self.assertEqual(len(arguments), len(ARGUMENTS[method]), method)
        number = 0
        for name, local in zip(ARGUMENTS[method], arguments):
            type_, value = expected[method][name]
            where = f"{method}.{name}: {local}, expected {value}"
            if name != "this":
                self.assertEqual(local["name"], f"arg{number}", where)
                number += 1
            self.assertEqual(local["type"], type_, where)
            self.check_value(method, frame, {**local, "name": name}, value, where)
            type(self).compared += 1
        others = {local["name"]: local for local in frame["locals"] if not local["argument"]}
        self.assertEqual({local["type"] for local in others.values()} - {None}, set())
        if method != "variables":
            return
        raw = {name: int(local["value"], 0) for name, local in others.items() if local["kind"] == "raw"}
        if frame["kind"] == "interpreted":  # the second of two slots holds a long
            self.assertEqual({local["kind"] for local in others.values()}, {"raw"})
            self.assertEqual(raw["local2"] & 0xFFFFFFFF, 154)
            self.assertEqual(raw["local4"], 77 << 40)
            self.assertEqual(raw["local6"], struct.unpack("<Q", struct.pack("<d", 77 / 8))[0])
        else:
            self.assertEqual(raw["local2"], 154)
            self.assertEqual(raw["local3"], 77 << 40)
            self.assertEqual(raw["local5"], struct.unpack("<Q", struct.pack("<d", 77 / 8))[0])
            self.assertEqual(raw["local7"], struct.unpack("<I", struct.pack("<f", 77 / 4))[0])
            self.assertIn(others["local8"]["kind"], ("object", "eliminated"))
            self.assertIn(others["local9"]["kind"], ("object", "eliminated"))
        type(self).compared += len(raw)

    def check_hashes(self, frames, hashes, kind):
        for (method, name), value in hashes.items():
            for local in frames.get(method, {"locals": []})["locals"]:
                if local["name"] == name and local["kind"] == "object":
                    self.assertEqual(local["hash"], value, f"{method}.{name}")

    def check(self, report, target, mode, kind, where):
        expected, hashes = {}, {}
        for line in target.output:
            words = line.rstrip("\n").split("\t")
            if words[0] == "EXPECT":
                expected.setdefault(words[1], {})[words[2]] = (words[3], words[4])
            elif words[0] == "HASH":
                hashes[words[1], words[2]] = int(words[3])
        thread = next(t for t in report["threads"] if t["name"] == THREAD)
        frames = {f["method"]: f for f in thread["frames"] if f["class"] == "Locals"}
        for method in (where,) if where == "locked" else (where, "variables"):
            self.assertIn(method, frames, [f["method"] or f["function"] for f in thread["frames"]])
            frame = frames[method]
            self.assertEqual(frame["kind"] == "interpreted", mode == "int", f"{mode} {method}: {frame['kind']}")
            (self.check_names if kind == "g" else self.check_numbers)(frame, method, expected)
        self.check_hashes(frames, hashes, kind)
        if where != "locked":
            self.assertEqual(frames["hold"]["locals"][0]["value"], "1" if where == "numbers" else "2")

    def check_others(self, report):
        self.assertEqual(schema.errors(report), [])
        """Nothing stands still in a core: each value of each thread can be read."""
        for thread in report["threads"]:
            for frame in thread["frames"]:
                for local in frame.get("locals", ()):
                    self.assertNotEqual(local["kind"], "unreadable", f"{thread['name']} {frame['method']} {local}")
                    type(self).compared += 1
        self.assertEqual([g for g in report["gaps"] if g["subject"].startswith("local variables")], [])

    def run_release(self, name):
        jdk = harness.need_jdk(name)
        self.jdk = name
        for (mode, options, rounds), kind, where, core in SHORT if harness.is_short(name) else FULL:
            with self.subTest(mode=mode, kind=kind, where=where):
                with self.start(jdk, kind, "Locals", where, rounds, options=options) as target:
                    report = harness.hangscope("stacks", target.pid, "--locals", "--json").json()
                    self.check(report, target, mode, kind, where)
                    if core:
                        path = harness.gcore(target.pid, self.tmp)
                        self.addCleanup(path.unlink, missing_ok=True)
                        report = harness.hangscope("stacks", path, "--locals", "--json").json()
                        if any("gcore leaves out" in gap["reason"] for gap in report["gaps"]):
                            print(f"JDK {name} {mode} {where}: gcore left out the stacks", file=sys.stderr)
                            path.unlink()
                            continue
                        self.check(report, target, mode, kind, where)
                        self.check_others(report)
                        if where == "objects":
                            self.check_text(path)
                        path.unlink()
        print(f"JDK {name}: {self.compared} values compared", file=sys.stderr)
        type(self).compared = 0

    def check_text(self, core):
        out = harness.hangscope("stacks", core, "--locals", "--thread", THREAD).out
        self.assertRegex(out, r"(?m)^ +int seed = (77|<optimized out>)$")
        self.assertRegex(out, r'(?m)^ +java\.lang\.String odd = "tab\\x09 quote\\" \u20ac \U0001f600 \\x1b\[2J" @0x[0-9a-f]+$')
        self.assertRegex(out, r'"y{120}"\u2026 \(5000 characters\)')
        self.assertRegex(out, r"(?m)^ +int\[\] ints = int\[3\] @0x")
        self.assertRegex(out, r"(?m)^ +java\.lang\.Object nothing = null$")
        self.assertNotIn("int seed", harness.hangscope("stacks", core).out)


class Redact(Base):
    """test_RELEASE is added below for each release."""

    SECRETS = ("hunter2", "4711471147114711", "word-77", "84662395338752")
    COMMANDS = (
        ("analyze",),
        ("analyze", "--locals", "--json"),
        ("stacks", "--all"),
        ("stacks", "--locals"),
        ("stacks", "--locals", "--format=json"),
        ("graph",),
        ("graph", "--format=text"),
    )

    def check(self, target):
        report = None
        for command in self.COMMANDS:
            verb, *options = command
            leaky = harness.hangscope(verb, target, *options)
            self.assertIn("hunter2", leaky.out, f"{command}: this proves nothing")
            result = harness.hangscope(verb, target, "--redact", *options)
            text = (result.out + result.err).replace(str(target), "")
            for secret in self.SECRETS:
                self.assertNotIn(secret, text, str(command))
            if "--json" in options:
                report = result.json()
                self.assertEqual(report["verdict"], leaky.json()["verdict"])
                self.assertEqual(
                    [f["signature"] for f in report["findings"]], [f["signature"] for f in leaky.json()["findings"]]
                )
        for index, thread in enumerate(report["threads"]):
            if thread["kind"] == "java" and thread["name"].startswith("thread "):
                self.assertEqual(thread["name"], f"thread {thread['ref']}")
        values = [
            local
            for thread in report["threads"]
            for frame in thread["frames"]
            for local in frame.get("locals", ())
            if local["kind"] in ("primitive", "raw") or local["class"] == "java.lang.String"
        ]
        self.assertTrue(values)
        self.assertEqual({(local["value"], local["length"]) for local in values}, {(None, None)})

    def run_release(self, name):
        jdk = harness.need_jdk(name)
        fifo = self.tmp / "hunter2-fifo"
        if not fifo.exists():
            os.mkfifo(fifo)
        with self.start(jdk, "g", "Secrets", fifo, options="-Dpassword=hunter2-argument") as target:
            self.check(target.pid)
            core = harness.gcore(target.pid, self.tmp)
        self.addCleanup(core.unlink)
        self.check(core)


class BadInput(Base):
    def test_flipped(self):
        """Bit flips in the heap, the metadata and the stacks of a core: --locals does not crash."""
        jdk = harness.need_jdk("25")
        chance = random.Random(7)
        with self.start(jdk, "g", "Locals", "objects", C2[2], options=C2[1]) as target:
            core = harness.gcore(target.pid, self.tmp)
        self.addCleanup(core.unlink)
        size = core.stat().st_size
        with open(core, "r+b") as file:
            for i in range(max(FLIP_ROUNDS // 5, 1)):
                saved = {}
                for _ in range(chance.choice((2000, 20000, 200000))):
                    offset = chance.randrange(1 << 16, size)
                    old = os.pread(file.fileno(), 1, offset)
                    saved.setdefault(offset, old)
                    os.pwrite(file.fileno(), bytes([old[0] ^ 1 << chance.randrange(8)]), offset)
                with self.subTest(round=i):
                    result = harness.hangscope("stacks", core, "--locals", "--json")
                    self.assertIn(result.status, (0, 1, 2, harness.EX_NOINPUT), str(result))
                for offset, old in saved.items():
                    os.pwrite(file.fileno(), old, offset)


def add_tests():
    for name in dict.fromkeys((*harness.ALL_JDKS, *os.environ.get("HS_JDKS", "").split())):
        # What is redacted does not depend on the release: in short form the oldest and the newest.
        for case in (Locals,) if harness.is_short(name) and name not in ("8", "28") else (Locals, Redact):
            setattr(case, f"test_{name.replace('.', '_')}", lambda self, name=name: self.run_release(name))


add_tests()


if __name__ == "__main__":
    harness.main()
