# SPDX-License-Identifier: Apache-2.0
"""Stacks of threads that run, from registers at any instruction: Spin.java, looked at again and again.

Each stack must be one that the program can have: from Worker.run() in, each line calls by name the method above it, and
the innermost line belongs to its method. What cannot be read must be said (the walk is cut, or lines and inlined methods
near the pc are marked as an approximation); what is not marked and cannot be is a wrong stack.

HS_RUNNING_LOOKS sets how many looks are taken in each mode.
"""

import collections
import os
import re
import tempfile

import harness
import matrix

LOOKS = int(os.environ.get("HS_RUNNING_LOOKS", "12"))
MODES = {
    "default": "",
    "interpreter": "-Xint",
    "c1": "-XX:TieredStopAtLevel=1",
    "c2": "-XX:-TieredCompilation",
    "c2_zgc": "-XX:-TieredCompilation -XX:+UseZGC",
}
_OPTIONS = "-Xmx96m -XX:+IgnoreUnrecognizedVMOptions -XX:CompileCommand=quiet -XX:CompileCommand=exclude,Spin::neverCompiled*"
_JAVA_KINDS = ("interpreted", "compiled", "inlined")
_SOURCE = harness.ROOT / "tests/integration/java/Spin.java"


class Source:
    """Which lines call what, and which lines a method has."""

    def __init__(self, text):
        self.lines = ["", *text.splitlines()]
        self.methods = {}
        start = None
        for number, line in enumerate(self.lines):
            declared = re.match(r"( {2,4})[\w@ ]*?[\w\[\]]+ (\w+)\([^;]*\{$", line)
            if declared and not line.strip().startswith(("return", "throw", "for", "if", "while", "synchronized (")):
                start = (declared.group(1), declared.group(2), number)
            elif start and line == start[0] + "}":
                self.methods.setdefault(start[1], []).append(range(start[2], number + 1))
                start = None

    def calls(self, number, method):
        return re.search(rf"\b{re.escape(method)}\(", self.lines[number]) is not None

    def has_line(self, method, number):
        return any(number in lines for lines in self.methods.get(method, ()))


def is_ours(frame):
    return frame["class"].split("$")[0] == "Spin"


def java_frames(thread):
    return [f for f in thread["frames"] if f["kind"] in _JAVA_KINDS and f["class"]]


def find_fault(source, thread):
    """Why the program cannot have this stack, or None. Frames innermost first."""
    frames = java_frames(thread)
    if not frames or (frames[-1]["class"], frames[-1]["method"]) != ("Spin$Worker", "run"):
        return "it does not start in Worker.run"
    if len(frames) > 1 and not frames[-1].get("opaque") and frames[-2]["method"] != thread["name"]:
        return f"Worker.run calls {frames[-2]['method']}"
    for i, frame in enumerate(frames):
        if not is_ours(frame) or frame["line"] is None:
            continue  # no line: past the last debug information of compiled code, and said so
        if not source.has_line(frame["method"], frame["line"]):
            return f"{frame['method']} has no line {frame['line']}"
        callee = frames[i - 1] if i else None
        # Up to another method of the program: library code in between calls back by other names.
        if callee and is_ours(callee) and not source.calls(frame["line"], callee["method"]):
            return f"line {frame['line']} does not call {callee['method']}"
        if callee and not is_ours(callee) and not callee["class"].startswith(("java.", "jdk.", "sun.", "SpinNative")):
            return f"{frame['method']} calls {callee['class']}"
    return None


def certain(thread):
    """The thread as it is without what the report calls an approximation: inlined methods and lines near the pc."""
    frames = []
    for frame in thread["frames"]:
        if frame["found_by"] == "near" and frame["kind"] == "inlined":
            continue
        frames.append({**frame, "line": None, "opaque": True} if frame["found_by"] == "near" else frame)
    return {**thread, "frames": frames}


def is_gap(thread, report):
    """The report says that this stack is not whole."""
    names = (f'"{thread["name"]}"', "threads, first")
    return any(name in gap["subject"] for gap in report["gaps"] for name in names)


class Running(harness.TestCase):
    def check(self, jdk_name, mode):
        jdk = harness.need_jdk(jdk_name)
        source = Source(_SOURCE.read_text())
        workers = set(re.findall(r'"(\w+)"', re.search(r"names = \{(.*?)\}", _SOURCE.read_text(), re.S).group(1)))
        seen, lineless, misses, gaps, wrong, tops = 0, 0, 0, collections.Counter(), [], collections.Counter()
        with tempfile.TemporaryDirectory(prefix="hangscope-spin-", dir=os.environ.get("HS_TMP")) as directory:
            matrix.compile_native(directory, "Spin.java")
            command = [jdk.run, "java", *_OPTIONS.split(), *MODES[mode].split(), "-cp", directory, "Spin", f"{directory}/libmixnative.so"]
            with harness.Target(command, env=jdk.environment(directory)) as target:
                os.setpriority(os.PRIO_PROCESS, target.pid, 10)
                names = None
                for _ in range(LOOKS):
                    report = harness.hangscope(target.pid, "--json").json()
                    threads = [t for t in report["threads"] if t["name"] in workers]
                    names = names or {t["name"] for t in threads}
                    nameless = names - {t["name"] for t in threads}
                    said = [g for g in report["gaps"] if g["subject"].startswith("java.lang.Thread of tid")]
                    self.assertLessEqual(len(nameless), len(said), nameless)
                    gaps.update(nameless)
                    for thread in threads:
                        seen += 1
                        fault = find_fault(source, thread)
                        top = thread["frames"][0] if thread["frames"] else None
                        lineless += any(is_ours(f) and f["line"] is None for f in java_frames(thread))
                        if top:
                            tops[top["kind"]] += 1
                        if not fault:
                            continue
                        if not find_fault(source, certain(thread)):
                            misses += 1  # marked as an approximation
                            continue
                        if fault == "it does not start in Worker.run" and is_gap(thread, report):
                            gaps[thread["name"]] += 1
                            self.note(thread, report)
                            continue
                        wrong.append((fault, thread, report["gaps"]))
                target.assert_running(self)
        kinds = ", ".join(f"{count} {kind}" for kind, count in tops.most_common())
        exact = seen - len(wrong) - sum(gaps.values()) - misses
        print(f"{jdk} {mode}: {exact} of {seen} stacks exact, {misses} approximations beside the truth, {sum(gaps.values())} gaps, {len(wrong)} wrong, {lineless} with a line unknown; innermost frames: {kinds}")
        if wrong:
            shown = "\n".join(self.show(*item) for item in wrong[:5])
            self.fail(f"{len(wrong)} of {seen} stacks are wrong:\n{shown}")
        self.assertLessEqual(misses, seen // 40, "too many approximations are beside the truth")
        self.assertLessEqual(sum(gaps.values()), seen // 20, f"too many gaps: {dict(gaps)}")

    def note(self, thread, report):
        """For whoever wants to close gaps."""
        if os.environ.get("HS_RUNNING_VERBOSE"):
            print(self.show("gap", thread, [g for g in report["gaps"] if "stack" in g["subject"]]))

    def show(self, fault, thread, gaps):
        lines = [f'"{thread["name"]}": {fault}']
        for f in thread["frames"][:10]:
            where = f"{f['class']}.{f['method']}:{f['line']}" if f["class"] else f"{f['function']} {f['module'] or ''}"
            lines.append(f"    {f['kind']} {where} pc {f['pc']} {f['found_by']}")
        return "\n".join(lines + [f"    gap: {gap['subject']}: {gap.get('reason')}" for gap in gaps[:4]])


def add_tests():
    for jdk in harness.FULL_JDKS:
        for mode in MODES:
            name = f"test_{mode}_{jdk.replace('.', '_')}"
            setattr(Running, name, lambda self, jdk=jdk, mode=mode: self.check(jdk, mode))


add_tests()

if __name__ == "__main__":
    harness.main()
