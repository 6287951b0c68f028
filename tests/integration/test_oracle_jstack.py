# SPDX-License-Identifier: Apache-2.0
"""Whole Java stacks, with lock lines, of every thread that stands still: equal to `jstack -l` on the same process.

jstack is taken before and after hangscope; a thread whose stack is the same in both stood still and is compared. The
same with a core, taken between the two.
"""

import re
import tempfile
import unittest

import harness

MIX_OPTIONS = ("", "-Xint", "-XX:TieredStopAtLevel=1", "-XX:-TieredCompilation", "-XX:+UseSerialGC -XX:-UseCompressedOops")
# Frames that the VM hides from jstack (annotation @Hidden: the glue of method handles).
_HIDDEN = re.compile(r"java\.lang\.invoke\.(LambdaForm\$|\w+\$Holder\.)")
_JAVA_KINDS = ("interpreted", "compiled", "inlined")


def place(file, line):
    """File:line, or nothing: jstack's "Native Method", "Unknown Source" and a bare file name all lack a line."""
    return f"{file}:{line}" if file and line is not None and line > 0 else ""


def parse_jstack(text):
    """{name: [(class.method, place, [(state, address, class)])]} for all threads with Java frames."""
    threads, frames = {}, None
    # Up to 23 this line has no end of its own (vframe.cpp: print, not print_cr), and the next frame follows on it.
    text = re.sub(r"(\t- eliminated <owner is scalar replaced> \(a [^\t\n]*\))\t", r"\1\n\t", text)
    for line in text.splitlines():
        header = re.match(r'"(.*)" (?:#\d+ )?.*\btid=0x', line)
        frame = re.match(r"\tat ([^(]+)\((?:.*/)?([^/()]*)\)$", line)
        lock = re.match(r"\t- ([a-z A-Z()-]+?)\s*<(0x[0-9a-f]+)> \(an? (.*)\)$", line)
        if header:
            frames = threads.setdefault(header.group(1), [])
        elif line.startswith("   Locked ownable") or line.startswith("JNI global") or line.startswith("Found "):
            frames = None
        elif frames is None:
            continue
        elif frame and _HIDDEN.match(frame.group(1)):
            continue
        elif frame:
            file, _, number = frame.group(2).partition(":")
            frames.append((frame.group(1), place(file, int(number) if number else None), []))
        elif lock and lock.group(1).startswith(("locked", "waiting", "parking")):
            # 11 says "waiting to re-lock in wait()" of all monitors that wait() gave up, in the frames that took
            # them; the others say "locked" there, and "re-lock" in the frame of wait() when it is so (vframe.cpp).
            given_up = lock.group(1).startswith("waiting to re-lock") and len(frames) > 1
            state = "locked" if lock.group(1) == "locked" or given_up else "waiting"
            frames[-1][2].append((state, int(lock.group(2), 16), lock.group(3)))
    return {name: frames for name, frames in threads.items() if frames}


def frame_locks(frame, report):
    locks = []
    for lock in frame["locks"]:
        resource = report.resources[lock["resource"]]
        if resource["kind"] in ("class-init", "class-link"):
            continue  # jstack has words of its own for these, or none
        locks.append((lock["state"], int(resource["address"], 0), resource["class"]))
    return locks


def parse_report(report):
    threads = {}
    for thread in report.data["threads"]:
        frames = [
            (f"{f['class']}.{f['method']}", place(f["file"], f["line"]), frame_locks(f, report))
            for f in thread["frames"]
            if f["kind"] in _JAVA_KINDS and f["class"] and not _HIDDEN.match(f"{f['class']}.{f['method']}")
        ]
        if frames:
            threads[thread["name"]] = frames
    return threads


def show(frames):
    if frames is None:
        return "  (no such thread)"
    lines = []
    for name, where, locks in frames:
        lines.append(f"  {name}({where})")
        lines += [f"    {state} {address and hex(address)} {cls}" for state, address, cls in locks]
    return "\n".join(lines)


def same_class(ours, theirs):
    # jstack: "a java.lang.Class for Mix"; ours may stop at the class of the object.
    return ours == theirs or theirs.split(" for ")[0] == ours


def equal(ours, theirs):
    if ours is None or len(ours) != len(theirs):
        return False
    for (name, where, locks), (their_name, their_where, their_locks) in zip(ours, theirs):
        if name != their_name or where != their_where or len(locks) != len(their_locks):
            return False
        for (state, address, cls), (their_state, their_address, their_cls) in zip(locks, their_locks):
            if (state, address) != (their_state, their_address) or not same_class(cls, their_cls):
                return False
    return True


class Jstack(harness.TestCase):
    def compare(self, jdk, target, wanted):
        """Compare all threads that stood still; `wanted` must be among them."""
        before = parse_jstack(jdk.tool("jstack", "-l", target.pid))
        result = harness.hangscope(target.pid, "--json")
        self.compare_reading(jdk, target, wanted, before, result)

    def compare_core(self, jdk, target, wanted):
        before = parse_jstack(jdk.tool("jstack", "-l", target.pid))
        with harness.temp_dir() as tmp:
            core = harness.gcore(target.pid, tmp)
            result = harness.hangscope(core, "--json")
        self.compare_reading(jdk, target, wanted, before, result)

    def compare_reading(self, jdk, target, wanted, before, result):
        after = parse_jstack(jdk.tool("jstack", "-l", target.pid))
        still = {name: frames for name, frames in before.items() if after.get(name) == frames}
        self.assertLessEqual(set(wanted), set(still), "jstack does not show these threads standing still")
        report = harness.Report(result.json())
        ours = parse_report(report)
        lost = self.lost_stacks(report) & set(still) - set(ours)
        different = {n: f for n, f in still.items() if n not in lost and not equal(ours.get(n), f)}
        if different:
            shown = list(different.items())[:6]
            text = "\n".join(f'"{n}"\n jstack:\n{show(f)}\n hangscope:\n{show(ours.get(n))}' for n, f in shown)
            self.fail(f"{len(different)} of {len(still)} threads differ on {jdk}: {sorted(different)}\n{text}")
        frames = sum(len(f) for n, f in still.items() if n not in lost)
        print(f"{jdk}: {len(still) - len(lost)} threads, {frames} frames equal; not in the core: {sorted(lost)}")

    def lost_stacks(self, report):
        """Names of the threads that may lack their stack: gcore left it out, and the report says so."""
        gaps = [gap for gap in report.data["gaps"] if "the stack is missing from the core" in gap["reason"]]
        if not gaps:
            return set()
        self.assertEqual(report.data["target"]["kind"], "core")
        # Only the first is named: those without a Java frame whose innermost native frame has no caller.
        return {t["name"] for t in report.data["threads"] if t["kind"] == "java" and len(t["frames"]) <= 1}

    def check_core(self, jdk_name):
        jdk = harness.need_jdk(jdk_name)
        with tempfile.TemporaryDirectory(prefix="hangscope-mix-") as classes:
            harness.compile_java(harness.ROOT / "tests/integration/java/Mix.java", classes)
            command = [jdk.run, "java", "-Xmx128m", "-cp", classes, "Mix"]
            with harness.Target(command, env=jdk.environment(classes)) as target:
                self.compare_core(jdk, target, ["condition"])

    def check_sample(self, name, jdk_name):
        jdk, sample = harness.need_jdk(jdk_name), harness.Sample(name)
        wanted = {thread for finding in sample.expect(jdk)["findings"] for thread in finding["threads"]}
        with sample.start(jdk) as target:
            self.compare(jdk, target, wanted)

    def check_mix(self, jdk_name):
        jdk = harness.need_jdk(jdk_name)
        with tempfile.TemporaryDirectory(prefix="hangscope-mix-") as classes:
            harness.compile_java(harness.ROOT / "tests/integration/java/Mix.java", classes)
            for options in MIX_OPTIONS[:1] if harness.is_short(jdk_name) else MIX_OPTIONS:
                with self.subTest(options=options):
                    command = [jdk.run, "java", *options.split(), "-cp", classes, "Mix"]
                    with harness.Target(command, env=jdk.environment(classes)) as target:
                        self.compare(jdk, target, ["hot-top", "reflection", "condition", "wait-holding-others"])
                        target.assert_running(self)


def add_tests():
    names = [s.name for s in harness.samples() if s.is_java and not s.name.startswith("healthy")]
    for jdk in harness.ALL_JDKS:
        suffix = jdk.replace(".", "_")
        setattr(Jstack, f"test_mix_{suffix}", lambda self, jdk=jdk: self.check_mix(jdk))
        setattr(Jstack, f"test_core_{suffix}", lambda self, jdk=jdk: self.check_core(jdk))
        for name in () if harness.is_short(jdk) else names:
            method = f"test_{name.replace('-', '_')}_{suffix}"
            setattr(Jstack, method, lambda self, name=name, jdk=jdk: self.check_sample(name, jdk))


add_tests()

if __name__ == "__main__":
    harness.main()
