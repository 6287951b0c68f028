# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: JDKs, samples, cores, and running hangscope.

Rules of the house: every process is started here and killed by its own PID, every core lies in a temporary
directory that dies with the test, and everything has a time limit.
"""

import contextlib
import functools
import json
import os
import pathlib
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
HANGSCOPE = pathlib.Path(os.environ.get("HANGSCOPE", ROOT / "build/release/hangscope")).absolute()
SAMPLES_OUT = pathlib.Path(os.environ.get("HS_SAMPLES_OUT", ROOT / "build/samples")).absolute()
FULL_JDKS = ("17", "21.0.2", "21", "25")
# A few tests each, to keep the time: all of them with HS_FULL=1. 26 to 28 come and go in their archive.
SHORT_JDKS = ("8", "11", "17.0.2", "21.0.4", "25.0.2", "26", "27", "28")
ALL_JDKS = FULL_JDKS + SHORT_JDKS
SHORT_SAMPLES = ("clinit-cycle", "loader-lock-vs-link-old-verifier", "monitor-and-reentrantlock", "two-monitors")
RUN_ALL = os.environ.get("HS_FULL", "0") not in ("", "0")
CI = os.environ.get("CI") == "true"
# Sanitizers and a busy 2-core machine: generous limits, which only a hang reaches.
READY_TIMEOUT = 120
RUN_TIMEOUT = 180
EX_SKIP = 77
LACKING = "lacking: "

EX_CLEAR, EX_FINDINGS, EX_INCOMPLETE = 0, 1, 2
EX_USAGE, EX_NOINPUT, EX_NOPERM, EX_SOFTWARE = 64, 66, 77, 70


class Unavailable(unittest.SkipTest):
    """Something the machine lacks: a skip here, a failure in CI."""

    def __init__(self, what):
        super().__init__(f"{LACKING}{what}")


# --- scratch space ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def temp_dir():
    """A directory for cores and copies, below HS_TMP or the system's temporary directory."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="hangscope-test-", dir=os.environ.get("HS_TMP")))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


# --- JDKs --------------------------------------------------------------------------------------------------------


class Jdk:
    """One JDK of tests/jdk/fetch.sh; `run` is a program that becomes any of its tools."""

    def __init__(self, name, run):
        self.name = name
        self.run = run

    def environment(self, *directories):
        shown = [str(SAMPLES_OUT), *map(str, directories)]
        return {"HS_JAVA": f"{self.run} java", "HS_JDK_BIND": " ".join(dict.fromkeys(shown))}

    def tool(self, *command, directories=(), timeout=RUN_TIMEOUT):
        """Run one of its tools (inside its root, where it has one) and return stdout."""
        done = subprocess.run(
            [self.run, *map(str, command)],
            env={**os.environ, **self.environment(*directories)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command} on JDK {self.name}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def __str__(self):
        return f"JDK {self.name}"


@functools.lru_cache
def jdks():
    """{name: Jdk or None} for every JDK the tests know, limited by HS_JDKS="17 25"; empty with HS_SKIP_JDK."""
    if os.environ.get("HS_SKIP_JDK", "0") not in ("", "0"):
        return {}
    listed = subprocess.run(
        ["sh", str(ROOT / "tests/jdk/fetch.sh"), "list"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    found = dict(line.split("\t", 1) for line in listed.splitlines())
    wanted = os.environ.get("HS_JDKS", "").split() or ALL_JDKS
    return {name: Jdk(name, found[name]) if name in found else None for name in wanted}


def need_jdk(name):
    """The Jdk called `name`, or a skip."""
    known = jdks()
    if name not in known:
        raise unittest.SkipTest(f"JDK {name} is not wanted in this run (HS_JDKS, HS_SKIP_JDK)")
    if known[name] is None and name in SHORT_JDKS:
        raise unittest.SkipTest(f"JDK {name} is missing: sh tests/jdk/fetch.sh {name}")
    if known[name] is None:
        raise Unavailable(f"JDK {name} is missing: sh tests/jdk/fetch.sh {name}")
    return known[name]


def is_short(jdk_name):
    """Does this JDK run only a few of the tests?"""
    return jdk_name in SHORT_JDKS and not RUN_ALL


# --- processes ---------------------------------------------------------------------------------------------------


def proc_status(pid, key):
    """The value of one line of /proc/PID/status, or None when the process or the key is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{key}:\s*(.*)$", text, re.M)
    return found.group(1) if found else None


def thread_states(pid):
    """{tid: one-letter state} of every thread."""
    states = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            states[int(task.name)] = (task / "stat").read_text().rpartition(") ")[2][0]
    return states


class EndedEarly(AssertionError):
    """The program ended by itself, with status 0, before its state was reached."""


class Target:
    """A started program that printed READY and its PID. Kill it with close()."""

    def __init__(self, command, env=None, cwd=None, in_namespace=False):
        self.process = subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.output = []
        self.pid = None
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(ready,), daemon=True)
        self._reader.start()
        ready.wait(READY_TIMEOUT)
        if self.pid is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
            ended = self.process.returncode == 0
            self.close()
            kind = EndedEarly if ended else AssertionError
            raise kind(f"{command} did not get READY in {READY_TIMEOUT} s:\n{''.join(self.output)}")
        # The wrappers exec, so what was started is the program itself.
        if self.pid != self.process.pid and not in_namespace:
            self.close()
            raise AssertionError(f"READY says pid {self.pid}, started was {self.process.pid}")

    def _read(self, ready):
        for line in self.process.stdout:
            self.output.append(line)
            found = re.match(r"READY (\d+)", line)
            if found:
                self.pid = int(found.group(1))
                ready.set()
        ready.set()

    def alive(self):
        return self.process.poll() is None

    def assert_running(self, test):
        """It lives, is not traced, and no thread of it is left stopped."""
        test.assertTrue(self.alive(), "the target died:\n" + "".join(self.output))
        test.assertEqual(proc_status(self.pid, "TracerPid"), "0", "a tracer is still attached")
        stopped = {tid: state for tid, state in thread_states(self.pid).items() if state in "Tt"}
        test.assertEqual(stopped, {}, "threads were left stopped")

    def assert_soon_running(self, test):
        """The kernel lets go when a tracer is reaped; each thread then leaves its stop by itself."""
        deadline = time.monotonic() + 10
        while True:
            try:
                self.assert_running(test)
                return
            except AssertionError:
                if time.monotonic() > deadline or not self.alive():
                    raise
                time.sleep(0.02)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _load_segments(core):
    """[(address, file offset, size in the file)] of the PT_LOADs of an ELF64 core."""
    header = core.read(64)
    offset, size, count = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
    if count == 0xFFFF:  # PN_XNUM: the number is in sh_info of the first section header
        core.seek(struct.unpack_from("<Q", header, 40)[0] + 44)
        count = struct.unpack("<I", core.read(4))[0]
    core.seek(offset)
    rows = [struct.unpack("<IIQQQQQQ", core.read(size)[:56]) for _ in range(count)]
    return [(row[3], row[2], row[5]) for row in rows if row[0] == 1]


def _complete_core(pid, path, lost):
    """Fill in what gcore lost: a page it cannot read costs the rest of that mapping. With glibc 2.42 and later such
    pages, the guards of stacks, lie within a mapping. The threads that tests look at stand still meanwhile."""
    page = os.sysconf("SC_PAGE_SIZE")
    with open(path, "r+b") as core, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        segments = _load_segments(core)
        for start in lost:
            for address, offset, size in segments:
                if not address <= start < address + size:
                    continue
                for at in range(start, address + size, page):
                    with contextlib.suppress(OSError, OverflowError):  # the vsyscall page is above what seeks reach
                        content = os.pread(memory.fileno(), page, at)
                        core.seek(offset + at - address)
                        core.write(content)


def gcore(pid, directory):
    """A core of a live process, made by gdb's gcore."""
    if not shutil.which("gcore"):
        raise Unavailable("gcore is missing (package gdb)")
    prefix = pathlib.Path(directory) / "core"
    done = subprocess.run(
        ["gcore", "-o", str(prefix), str(pid)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=RUN_TIMEOUT,
    )
    core = prefix.with_name(f"core.{pid}")
    if not core.exists():
        raise RuntimeError(f"gcore wrote nothing:\n{done.stdout}{done.stderr}")
    lost = re.findall(r"Memory read failed for corefile section, \d+ bytes at (0x[0-9a-f]+)", done.stdout + done.stderr)
    _complete_core(pid, core, [int(address, 16) for address in lost])
    return core


# --- samples -----------------------------------------------------------------------------------------------------


class Sample:
    def __init__(self, name):
        self.name = name
        self.is_java = not (SAMPLES / name / "main.c").exists()
        self._expect = json.loads((SAMPLES / name / "expect.json").read_text())
        # A race: a start that misses it ends normally, and up to so many are made.
        self.starts = self._expect.get("starts", 1)

    def expect(self, jdk=None, mode=None):
        """expect.json with the overrides of this JDK and mode ("live" or "core") laid over it."""
        merged = {k: v for k, v in self._expect.items() if k not in ("jdk", "mode")}
        merged.update(self._expect.get("jdk", {}).get(jdk.name if jdk else "", {}))
        merged.update(self._expect.get("mode", {}).get(mode, {}))
        return merged

    def start(self, jdk=None, options=""):
        start = SAMPLES_OUT / self.name / "start"
        if not start.exists():
            build_samples(self.name)
        env = jdk.environment() if jdk else {}
        for missed in range(1, self.starts + 1):
            try:
                return Target([start], env={**env, "HS_JAVA_OPTS": options})
            except EndedEarly:
                if missed == self.starts:
                    raise
        raise AssertionError("unreachable")


def samples():
    """Those that reach their state at each start; a race has a test of its own."""
    every = [Sample(path.parent.name) for path in sorted(SAMPLES.glob("*/expect.json"))]
    return [sample for sample in every if sample.starts == 1]


def build_samples(*names):
    """Build these samples, or all; needs a javac on the host."""
    if not shutil.which(os.environ.get("HS_JAVAC", "javac")):
        raise Unavailable("javac is missing (sh tests/install-deps.sh)")
    done = subprocess.run(
        ["sh", str(SAMPLES / "build.sh"), *names],
        env={**os.environ, "HS_SAMPLES_OUT": str(SAMPLES_OUT)},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        timeout=RUN_TIMEOUT,
    )
    if done.returncode == EX_SKIP:
        raise Unavailable(f"sample {' '.join(names)} could not be built: sh samples/build.sh says why")
    done.check_returncode()


def javac():
    """Path of the host's javac."""
    path = shutil.which(os.environ.get("HS_JAVAC", "javac"))
    if not path:
        raise Unavailable("javac is missing (sh tests/install-deps.sh)")
    return path


def compile_java(source, directory):
    """Compile a Java file, and what it uses of its directory, for release 8 with the host's javac."""
    options = ["-nowarn", "-Xlint:-options", "-g", "--release", "8", "-sourcepath", str(source.parent)]
    subprocess.run(
        [javac(), *options, "-d", str(directory), str(source)],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=RUN_TIMEOUT,
    )


def compile_c(source, output, *options):
    subprocess.run(
        [os.environ.get("CC", "cc"), "-g", "-O0", "-pthread", "-o", str(output), str(source), *options],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=RUN_TIMEOUT,
    )


# --- hangscope ---------------------------------------------------------------------------------------------------


class Result:
    def __init__(self, command, status, out, err):
        self.command, self.status, self.out, self.err = command, status, out, err

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"{' '.join(self.command)}\nstatus {self.status}\n--- stdout\n{self.out[:8000]}\n--- stderr\n{self.err[:8000]}"


def hangscope(*args, env=None, timeout=RUN_TIMEOUT, prefix=(), text=True, binary=None):
    """Run the binary under test. A signal or a sanitizer report is an error of its own, whatever was asked.
    `binary`: where it lies as seen after `prefix`."""
    command = [*map(str, prefix), str(binary or HANGSCOPE), *map(str, args)]
    full = {**os.environ, **(env or {})}
    # A sanitizer report must not look like "1 = findings".
    full.setdefault("ASAN_OPTIONS", "exitcode=99:abort_on_error=0:detect_leaks=1")
    full.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1:exitcode=99")
    done = subprocess.run(command, env=full, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    out, err = done.stdout, done.stderr
    if text:
        out, err = out.decode(errors="replace"), err.decode(errors="replace")
    result = Result(command, done.returncode, out, err)
    err_text = err if text else err.decode(errors="replace")
    if result.status < 0 or result.status == 99 or re.search(r"(Address|Leak|UndefinedBehavior)Sanitizer|runtime error:", err_text):
        raise AssertionError(f"hangscope crashed:\n{result}")
    if result.status == EX_SOFTWARE:
        raise AssertionError(f"hangscope reports a bug of its own:\n{result}")
    return result


def run_on_terminal(command, env, timeout=RUN_TIMEOUT):
    """What a shell command writes when its stdout is a terminal."""
    if not shutil.which("script"):
        raise Unavailable("script is missing (package bsdutils)")
    full = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    done = subprocess.run(
        ["script", "-q", "-e", "-c", command, "/dev/null"],
        env={**full, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
    )
    return done.stdout.decode(errors="replace")


class Report:
    """The JSON report with its references resolved."""

    def __init__(self, data):
        self.data = data
        self.threads = {t["ref"]: t for t in data["threads"]}
        self.resources = {r["ref"]: r for r in data["resources"]}

    def thread_names(self, refs):
        return [self.threads[ref]["name"] for ref in refs]

    def findings(self, finding_id):
        return [f for f in self.data["findings"] if f["id"] == finding_id]


# --- running a test file -----------------------------------------------------------------------------------------


class TestCase(unittest.TestCase):
    longMessage = True

    def setUp(self):
        if not HANGSCOPE.exists():
            raise Unavailable(f"no hangscope at {HANGSCOPE}: build it, or set HANGSCOPE")


def main():
    """Like unittest.main(), with the exit status ctest expects: 77 when everything was skipped."""
    result = unittest.main(module="__main__", exit=False, verbosity=2).result
    for _, reason in result.skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    lacking = [reason for _, reason in result.skipped if reason.startswith(LACKING)]
    if not result.wasSuccessful():
        sys.exit(1)
    if CI and lacking:
        sys.exit("CI must not lack anything: " + "; ".join(sorted(set(lacking))))
    if not result.testsRun or len(result.skipped) >= result.testsRun:
        sys.exit(EX_SKIP)
