# SPDX-License-Identifier: Apache-2.0
"""The matrix: release x mode, all blocked threads' Java stacks and lock lines equal to that JDK's own `jstack -l`.

  matrix.py [--jdk NAME...] [--short] [--row NUMBER...] [--list] [--readme FILE] [--verbose]

Of the modes that a release has (collector, compiler, compressed pointers, object headers, locking, the kind of core)
every pair of two values occurs in one row at least; --short runs one row for each value instead. A row starts one JVM
with Mix.java, compares a live look with jstack, then a core of the same process: written by gcore, or by the kernel
under some coredump_filter. jstack is read before and after: a thread that it shows standing still must be equal, line
by line: class, method, file, line number, and the lines of locks. --readme writes the table between the markers of
that file, over those of the same releases. Exit status: 0 no difference, 1 differences, 77 nothing could be run.
"""

import argparse
import collections
import concurrent.futures
import datetime
import difflib
import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import harness

CORE_PATTERN = pathlib.Path("/proc/sys/kernel/core_pattern")
MARKERS = ("<!-- matrix.py writes from here -->", "<!-- to here -->")
MAX_DIFF = 12  # lines of differences shown for a thread,
MAX_LINES = 60  # and for a row without --verbose

# --- the modes ---------------------------------------------------------------------------------------------------

# What a mode adds to the command line, by factor. Names are what the table shows.
_COLLECTORS = {
    "G1": "-XX:+UseG1GC",
    "Serial": "-XX:+UseSerialGC",
    "Parallel": "-XX:+UseParallelGC",
    "CMS": "-XX:+UseConcMarkSweepGC",
    "Shenandoah": "-XX:+UseShenandoahGC",
    "ZGC": "-XX:+UseZGC",
    "ZGC generational": "-XX:+UseZGC -XX:+ZGenerational",
}
_COMPILERS = {
    "tiered": "",
    "-Xint": "-Xint",
    "C1": "-XX:TieredStopAtLevel=1",
    "C2": "-XX:-TieredCompilation",
    "-Xcomp": "-Xcomp",
}
_POINTERS = {
    "coops": "",
    "no coops": "-XX:-UseCompressedOops",
    "33 GB": "-Xmx33g -Xms32m",
    "16-byte objects": "-XX:ObjectAlignmentInBytes=16",
}
_HEADERS = {
    "default": "",
    "no ccp": "-XX:-UseCompressedClassPointers",
    "compact": "-XX:+UseCompactObjectHeaders",
    "not compact": "-XX:-UseCompactObjectHeaders",
}
_LOCKS = {
    "default": "",
    "biased": "-XX:+UseBiasedLocking -XX:BiasedLockingStartupDelay=0",
    "unbiased": "-XX:-UseBiasedLocking",
    "heavy": "-XX:+UseHeavyMonitors",
    "LM 0": "-XX:LockingMode=0",
    "LM 1": "-XX:LockingMode=1",
    "LM 2": "-XX:LockingMode=2",
    "table": "-XX:+UseObjectMonitorTable",
}
# Bits of coredump_filter (core(5)): 0x1, 0x2 anonymous memory; 0x4, 0x8 pages of files; 0x10 ELF headers; 0x20, 0x40
# huge pages. A filter of None is the one that the JVM sets itself.
_CORES = {
    "gcore": "gcore",
    "kernel": None,
    "kernel 0x33": 0x33,
    "kernel 0x23": 0x23,
    "kernel 0x7": 0x7,
    "kernel 0x3": 0x3,
}
FACTORS = ("collector", "compiler", "pointers", "headers", "locks", "core")
_OPTIONS = dict(zip(FACTORS, (_COLLECTORS, _COMPILERS, _POINTERS, _HEADERS, _LOCKS)))

_ALL_GC = ("G1", "Serial", "Parallel", "ZGC", "Shenandoah")
_LM = ("default", "LM 0", "LM 1", "LM 2")
_COMMON = {"compiler": tuple(_COMPILERS), "pointers": tuple(_POINTERS), "core": tuple(_CORES)}
_RELEASES = {
    "8": {"collector": ("G1", "Serial", "Parallel", "CMS"), "headers": ("default", "no ccp"), "locks": ("default", "unbiased", "heavy")},
    "11": {"collector": ("G1", "Serial", "Parallel", "CMS", "Shenandoah"), "headers": ("default", "no ccp"), "locks": ("default", "unbiased", "heavy")},
    "17": {"collector": _ALL_GC, "headers": ("default", "no ccp"), "locks": ("default", "biased", "heavy")},
    "21.0.2": {"collector": (*_ALL_GC, "ZGC generational"), "headers": ("default", "no ccp"), "locks": _LM},
    "21": {"collector": (*_ALL_GC, "ZGC generational"), "headers": ("default", "no ccp"), "locks": _LM},
    "25": {"collector": _ALL_GC, "headers": ("default", "no ccp", "compact"), "locks": (*_LM, "table")},
    "26": {"collector": _ALL_GC, "headers": ("default", "no ccp", "compact"), "locks": ("default", "table")},
    "27": {"collector": _ALL_GC, "headers": ("default", "not compact"), "locks": ("default",)},
    "28": {"collector": _ALL_GC, "headers": ("default", "not compact"), "locks": ("default",)},
}


def allowed(row):
    """Combinations that a JVM refuses, or ignores."""
    values = dict(zip(FACTORS, row))
    if values["headers"] == "compact" and values["locks"] in ("LM 0", "LM 1"):
        return False
    if values["collector"].startswith("ZGC") and values["pointers"] != "coops":
        return False  # it has no compressed oops
    if values["core"] == "gcore" and (values["collector"].startswith("ZGC") or values["pointers"] == "33 GB"):
        return False  # gdb reads, and writes, all of the reserved memory
    return True


def pairwise(factors):
    """Rows in which all pairs of values that are allowed occur, found greedily; always the same ones."""
    rows = [row for row in itertools.product(*factors) if allowed(row)]
    pairs_of = {
        row: frozenset(itertools.combinations(enumerate(row), 2)) for row in rows
    }
    missing = set().union(*pairs_of.values())
    chosen = []
    while missing:
        best = max(rows, key=lambda row: len(pairs_of[row] & missing))
        chosen.append(best)
        missing -= pairs_of[best]
    return chosen


def short(rows):
    """So many of the rows that each value occurs."""
    missing = set().union(*(enumerate(row) for row in rows))
    chosen = []
    while missing:
        best = max(rows, key=lambda row: len(missing & set(enumerate(row))))
        chosen.append(best)
        missing -= set(enumerate(best))
    return chosen


def rows_of(release, is_short):
    modes = {**_COMMON, **_RELEASES[release]}
    rows = pairwise([modes[factor] for factor in FACTORS])
    return short(rows) if is_short else rows


def options_of(row):
    words = ["-XX:+UnlockExperimentalVMOptions", "-XX:+UnlockDiagnosticVMOptions", "-XX:+IgnoreUnrecognizedVMOptions", "-Xmx96m"]
    for value, (_, options) in zip(row, _OPTIONS.items()):
        words += options[value].split()
    if "-Xmx33g" in words:
        words.remove("-Xmx96m")
    return words


# --- stacks as text ----------------------------------------------------------------------------------------------

_HEADER = re.compile(r'"(.*)" ')
_JSTACK_FRAME = re.compile(r"\tat (\S+)\((?:[\w.]+@[^/()]*/)?([^()]*)\)$")
_OUR_FRAME = re.compile(r"    #\d+ +(\S+)\(([^()]*)\)( \[.*\])?$")


def parse_jstack(text):
    """{name: [(frame, [lock line])]} of threads with Java frames."""
    threads, frames = {}, None
    for line in text.splitlines():
        header = _HEADER.match(line)
        frame = _JSTACK_FRAME.match(line)
        if header:
            frames = threads.setdefault(header.group(1), [])
        elif line.startswith(("   Locked ownable", "JNI global", "Found ")):
            frames = None
        elif frames is None:
            continue
        elif frame:
            frames.append((f"{frame.group(1)}({frame.group(2)})", []))
        elif line.startswith("\t- ") and frames:
            # Up to 23 the line of an object that the compiler dissolved has no end of its own.
            line, _, rest = line.partition("\tat ")
            frames[-1][1].append(" ".join(line.split()))
            frame = _JSTACK_FRAME.match(f"\tat {rest}")
            if frame:
                frames.append((f"{frame.group(1)}({frame.group(2)})", []))
    return {name: frames for name, frames in threads.items() if frames}


def parse_stacks(text, kinds):
    """The same of `hangscope stacks --all`. Native frames and VM stubs are left out; @p kinds counts the Java ones."""
    threads, frames, in_java = {}, None, False
    for line in text.splitlines():
        header = _HEADER.match(line)
        frame = _OUR_FRAME.match(line)
        if header:
            frames, in_java = threads.setdefault(header.group(1), []), False
        elif line.startswith("    #"):
            in_java = bool(frame and frame.group(3) and not frame.group(3).startswith(" [VM stub]"))
            if in_java and frames is not None:
                frames.append((f"{frame.group(1)}({frame.group(2)})", []))
                kinds[re.sub(r" \[|\]| \(guessed.*", "", frame.group(3))] += 1
        elif line.startswith("          - ") and in_java:
            frames[-1][1].append(" ".join(line.split()))
    return {name: frames for name, frames in threads.items() if frames}


def lines_of(frames):
    return [line for frame, locks in frames or [] for line in (f"at {frame}", *locks)]


def in_old_words(frames):
    """What jstack of 8 and 11 words otherwise, in the words of the later ones, or left out where it says nothing."""

    def word(frame, lock):
        in_wait = frame.startswith("java.lang.Object.wait")
        return lock.replace("waiting to re-lock in wait()", "waiting on" if in_wait else "locked")

    unsaid = ("initialization monitor", "no object reference available")
    return frames and [(f, [word(f, lock) for lock in locks if not any(text in lock for text in unsaid)]) for f, locks in frames]


class Looks:
    """What one look at a process or core was compared with."""

    def __init__(self, is_old):
        self.is_old = is_old
        self.threads = self.frames = 0
        self.different = []
        self.lines = []

    def compare(self, what, theirs, ours):
        for name, frames in theirs.items():
            self.threads += 1
            self.frames += len(frames)
            if ours.get(name) == frames:
                continue
            if self.is_old and in_old_words(ours.get(name)) == in_old_words(frames):
                continue
            self.different.append(f"{what}: {name}")
            diff = list(difflib.unified_diff(lines_of(frames), lines_of(ours.get(name)), n=1, lineterm=""))[3:]
            self.lines += [f'  {what}: "{name}" (- jstack, + hangscope)', *(f"    {line}" for line in diff[:MAX_DIFF])]


# --- one row -----------------------------------------------------------------------------------------------------


class Row:
    def __init__(self, jdk, number, row):
        self.jdk, self.number, self.row = jdk, number, row
        is_old = jdk.name in ("8", "11")
        self.live, self.core = Looks(is_old), Looks(is_old)
        self.kinds = collections.Counter()
        self.failed = self.to_remove = None

    def mode(self):
        return ", ".join(value for value in self.row if value != "default")

    def different(self):
        return self.live.different + self.core.different

    def stacks(self, *target):
        result = harness.hangscope("stacks", *target, "--all", "--no-color")
        if result.status not in (harness.EX_CLEAR, harness.EX_FINDINGS, harness.EX_INCOMPLETE):
            raise AssertionError(str(result))
        self.report = result.out
        return parse_stacks(result.out, self.kinds)

    def run(self, classes, directory):
        filter_ = _CORES[self.row[-1]]
        command = [self.jdk.run, "java", *options_of(self.row), f"-Dmix.core={directory}", "-cp", classes, "Mix", classes / "libmixnative.so"]
        with harness.Target(command, env=self.jdk.environment(classes, directory)) as target:
            before = parse_jstack(self.jdk.tool("jstack", "-l", target.pid))
            ours = self.stacks(target.pid)
            after = parse_jstack(self.jdk.tool("jstack", "-l", target.pid))
            still = {name: frames for name, frames in before.items() if after.get(name) == frames}
            if len(still) < 40:
                raise AssertionError(f"only {len(still)} threads stand still")
            self.live.compare("live", still, ours)
            core = harness.gcore(target.pid, directory) if filter_ == "gcore" else kernel_core(target, filter_, directory)
        try:
            self.core.compare(self.row[-1], still, self.stacks(core, *self.root(classes)))
        finally:
            core.unlink()

    def root(self, classes):
        """Where the files of a core that the kernel wrote inside a JDK's root are."""
        root = pathlib.Path(self.jdk.run).parent / "root"
        if not root.is_dir() or self.row[-1] == "gcore":
            return ()
        library = root / str(classes).lstrip("/") / "libmixnative.so"  # was mounted there
        if not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(classes / library.name, library)
        self.to_remove = library
        return ("--root", root)


def kernel_core(target, filter_, directory):
    """Let the kernel write a core of the process, which dies."""
    if "/" in CORE_PATTERN.read_text() or CORE_PATTERN.read_text().startswith("|"):
        raise harness.Unavailable("kernel.core_pattern is not a plain file name: set it to core")
    if filter_ is not None:
        pathlib.Path(f"/proc/{target.pid}/coredump_filter").write_text(hex(filter_))
    os.kill(target.pid, signal.SIGABRT)
    target.process.wait(harness.RUN_TIMEOUT)
    cores = list(directory.glob("core*"))
    if not cores:
        raise harness.Unavailable("a core from the kernel: it wrote none")
    return cores[0]


def run_row(row, classes):
    with harness.temp_dir() as directory:
        for attempt in (1, 2):
            try:
                row.run(classes, directory)
                return
            except harness.Unavailable:
                raise
            except (AssertionError, RuntimeError, OSError, subprocess.TimeoutExpired) as e:
                row.failed = str(e)
                if attempt == 1 and "READY" in row.failed:
                    row.failed = None
                    continue
                return


# --- the table ---------------------------------------------------------------------------------------------------


def kinds_text(kinds):
    c1 = sum(count for kind, count in kinds.items() if re.match(r"compiled, tier [123]", kind))
    counts = (kinds["interpreted"], c1, kinds["compiled, tier 4"], kinds["inlined"], kinds["compiled"])
    return ", ".join(map(str, counts))


def table(rows):
    lines = [
        "| release | mode | threads live + core | frames live + core | interpreted, C1, C2, inlined, wrappers | differences |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        differences = "not run" if row.failed else str(len(row.different()))
        lines.append(
            f"| {row.jdk.name} | {row.mode()} | {row.live.threads} + {row.core.threads} | {row.live.frames} + {row.core.frames} "
            f"| {kinds_text(row.kinds)} | {differences} |"
        )
    return lines


def order_of(line):
    release = line.split("|")[1].strip()
    return list(_RELEASES).index(release) if release in _RELEASES else len(_RELEASES)


def write_readme(path, lines):
    """Put rows into the table, in place of those of the same releases."""
    text = path.read_text()
    start, end = (text.index(marker) for marker in MARKERS)
    new = {order_of(line) for line in lines[2:]}
    old = [line for line in text[start:end].splitlines() if line.startswith("| ") and order_of(line) not in new]
    rows = sorted((line for line in old[1:] + lines[2:]), key=order_of)  # stable: in the order of the run
    numbers = [[int(n) for n in re.findall(r"\d+", line.split("|")[4])] for line in rows]
    frames = sum(map(sum, numbers))
    summary = f"{len(rows)} rows, {frames} frames compared; last run {datetime.date.today().isoformat()}."
    path.write_text(text[:start] + "\n".join([MARKERS[0], "", summary, "", *lines[:2], *rows, "", ""]) + text[end:])


def compile_native(directory, name="Mix.java"):
    """A Java program and the library of its native methods."""
    harness.compile_java(harness.ROOT / "tests/integration/java" / name, directory)
    home = pathlib.Path(harness.javac()).resolve().parents[1] / "include"
    if not (home / "jni.h").exists():
        raise harness.Unavailable("jni.h is missing beside javac (sh tests/install-deps.sh)")
    harness.compile_c(
        harness.ROOT / "tests/integration/c/mixnative.c", f"{directory}/libmixnative.so", "-D_GNU_SOURCE", "-shared", "-fPIC", f"-I{home}", f"-I{home}/linux"
    )


def run_and_print(row, classes, verbose):
    start = time.monotonic()
    run_row(row, classes)
    lines = row.live.lines + row.core.lines
    print(
        f"{row.jdk} row {row.number}: {row.mode()}: {row.live.threads} threads, {row.live.frames} + {row.core.frames} frames, "
        f"{len(row.different())} differ{' ' + row.failed if row.failed else ''} ({time.monotonic() - start:.0f} s)",
        *(lines if verbose else lines[:MAX_LINES]),
        sep="\n",
        flush=True,
    )


def run_all(jdks, arguments):
    """Two rows at a time: most of each is waiting."""
    rows = [
        Row(jdk, number, values)
        for jdk in jdks
        for number, values in enumerate(rows_of(jdk.name, arguments.short))
        if not arguments.row or number in arguments.row
    ]
    with harness.temp_dir() as classes, concurrent.futures.ThreadPoolExecutor(2) as pool:
        compile_native(classes)
        try:
            list(pool.map(lambda row: run_and_print(row, classes, arguments.verbose), rows))
        finally:
            for library in {row.to_remove for row in rows if row.to_remove}:
                library.unlink(missing_ok=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jdk", nargs="+", default=list(harness.ALL_JDKS))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--row", nargs="+", type=int)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--readme", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.list:
        for release in arguments.jdk:
            for number, row in enumerate(rows_of(release, arguments.short)):
                print(release, number, ", ".join(row))
        return 0
    jdks, lacking = [], []
    for name in arguments.jdk:
        try:
            jdks.append(harness.need_jdk(name))
        except harness.unittest.SkipTest as e:
            lacking.append(str(e))
    print(*lacking, sep="\n", file=sys.stderr)
    if harness.CI and any(reason.startswith(harness.LACKING) for reason in lacking):
        return 1
    if not jdks:
        return harness.EX_SKIP
    try:
        rows = run_all(jdks, arguments)
    except harness.Unavailable as e:
        print(f"skipped: {e}", file=sys.stderr)
        return 1 if harness.CI else harness.EX_SKIP
    print(*table(rows), sep="\n")
    if arguments.readme:
        write_readme(arguments.readme, table(rows))
    return 1 if any(row.failed or row.different() for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
