# SPDX-License-Identifier: Apache-2.0
"""stacks --format=jstack is what `jstack -l -e` prints: by a grammar that both must obey, and line by line.

jstack is taken before and after; what is the same in both stood still, and hangscope must print exactly that, live and
from a core. Removed before comparing: the date, CPU and elapsed time, and the Attach Listener, which jstack itself wakes.
Threads of the VM are compared without their order, which HotSpot keeps in a list that it does not publish.
"""

import re
import subprocess
import tempfile

import harness

ADDRESS = r"0x[0-9a-f]{16}"
CLASS = r"[^ \t()<>]+"
OBJECT = rf"<{ADDRESS}> \(an? (?:java\.lang\.Class for )?{CLASS}\)"
COUNTERS = r"(?:cpu=\d+\.\d\dms )?(?:elapsed=\d+\.\d\ds )?(?:allocated=\d+[BKMG] )?(?:defined_classes=\d+ )?"
OS_STATE = (
    r"(?:allocated|initialized|runnable|waiting for monitor entry|waiting on condition|in Object\.wait\(\)"
    r"|at breakpoint|sleeping|zombie)"
)
NATIVE = rf"os_prio=\d+ {COUNTERS}tid={ADDRESS} nid=(?:0x[0-9a-f]+|\d+) {OS_STATE} "
JAVA_STATE = (
    r"(?:NEW|RUNNABLE|TERMINATED|BLOCKED \(on object monitor\)|WAITING \((?:on object monitor|parking)\)"
    r"|TIMED_WAITING \((?:on object monitor|parking|sleeping)\))"
)
GRAMMAR = {
    "blank": r"",
    "date": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "title": r"Full thread dump .* \(.*\):?",
    "jdk": r" {17}JDK version: .* \(.*\) \(build .*\)",
    "list title": r"Threads class SMR info:",
    "list": rf"_java_thread_list={ADDRESS}, length=\d+, elements=\{{",
    "list row": rf"{ADDRESS}(?:, {ADDRESS}){{0,3}},?",
    "list end": r"\}",
    "thread": rf'".*" #\d+ (?:\[\d+\] )?(?:daemon )?prio=\d+ {NATIVE} ?\[{ADDRESS}\]',
    "vm thread": rf'".*" {NATIVE} ?',
    "state": rf"   java\.lang\.Thread\.State: {JAVA_STATE}",
    "carrier": rf'".*" #\d+ \[\d+\] (?:daemon )?prio=\d+ os_prio=\d+ {COUNTERS}tid={ADDRESS}  \[{ADDRESS}\]',
    "virtual": r'".*" #\d+ daemon prio=5 virtual',
    "carrying": r"   (?:Carrying|Mounted) virtual thread #\d+",
    "compiler": r"   (?:No compile task|Compiling: .*)",
    "frame": r"\tat [^()\t]+\((?:[^()/@]+(?:@[^()/]+)?/)?(?:Native Method|Unknown Source|Redefined|[^():/]+(?::\d+)?)\)",
    "lock": rf"\t- (?:locked|waiting to lock|waiting on|parking to wait for |eliminated|waiting to re-lock in wait\(\)) {OBJECT}",
    "no object": r"\t- (?:waiting on|waiting to re-lock in wait\(\)) <no object reference available>",
    "scalar": rf"\t- eliminated <owner is scalar replaced> \(a {CLASS}\)",
    "class init": rf"\t- waiting on the Class initialization monitor for {CLASS}",
    "owned title": r"   Locked ownable synchronizers:",
    "owned": rf"\t- (?:None|{OBJECT})",
    "jni": r"JNI global (?:refs: \d+, weak refs: \d+|references: \d+)",
    "deadlock title": r"Found one Java-level deadlock:",
    "rule": r"=+",
    "deadlock thread": r'".*":',
    "deadlock wait": rf"  waiting to lock monitor {ADDRESS} \(object {ADDRESS}, an? {CLASS}\),?",
    "deadlock park": rf"  waiting for ownable synchronizer {ADDRESS}, \(an? {CLASS}\),",
    "deadlock owner": r'  (?:in JNI, )?which is held by ".*"',
    "deadlock stacks": r"Java stack information for the threads listed above:",
    "deadlocks": r"Found \d+ deadlocks?\.",
}
LINES = re.compile("|".join(f"(?:{regex})" for regex in GRAMMAR.values()))
# jstack itself breaks no rule, but HotSpot ends no line after a scalar-replaced owner before 21: two lines in one.
_TWO_IN_ONE = re.compile(r"(<owner is scalar replaced> \(a [^)]*\))(?=\t)")
_TIMES = re.compile(r" (?:cpu=[\d.]+ms|elapsed=[\d.]+s)")
MIX_OPTIONS = ("", "-Xint", "-XX:+UseSerialGC -XX:-UseCompressedOops", "-XX:+UseParallelGC -XX:TieredStopAtLevel=1")


def lines_of(text):
    return _TWO_IN_ONE.sub(r"\1\n", text).rstrip("\n").split("\n")


class Dump:
    """A thread dump in parts: its threads by the address of the Thread, its list, its tail."""

    def __init__(self, text):
        self.threads, self.list, self.title, self.tail, self.order = {}, [], [], [], []
        part = self.title
        for line in lines_of(text):
            header = re.match(rf'".*tid=({ADDRESS}) ', line)
            if re.match(r"_java_thread_list=", line):
                part = self.list
                continue  # the list is another after each thread that starts
            if re.match(r"JNI global|Found one Java", line):
                part = self.tail
            if header:
                part = self.threads.setdefault(header.group(1), [])
                self.order.append(header.group(1))
            if line and not re.fullmatch(GRAMMAR["date"], line):
                part.append(_TIMES.sub("", line))

    def java_order(self):
        return [tid for tid in self.order if '" #' in self.threads[tid][0] and "Attach Listener" not in self.threads[tid][0]]


def without(line, field):
    return re.sub(rf" {field}=\w+", "", line)


def same(ours, theirs, moving):
    """Equal, but for the allocated bytes of a thread that allocated meanwhile."""
    return ours == theirs or (moving and [without(o, "allocated") for o in ours] == [without(t, "allocated") for t in theirs])


class JstackFormat(harness.TestCase):
    def grammar(self, text, who):
        bad = [line for line in lines_of(text) if not LINES.fullmatch(line)]
        self.assertEqual(bad[:5], [], f"{len(bad)} lines of {who} are no thread dump")

    def jstack(self, jdk, pid):
        extended = () if jdk.name == "8" else ("-e",)
        return jdk.tool("jstack", "-l", *extended, pid)

    def ours(self, target):
        # The verdict of the analysis is the exit status: any will do here.
        result = harness.hangscope("stacks", "--format=jstack", target)
        self.assertIn(result.status, (0, 1, 2), result)
        self.grammar(result.out, "hangscope")
        return result.out

    def compare(self, jdk, before, ours, after, is_core, wanted=()):
        for text in (before, after):
            self.grammar(text, f"jstack on {jdk}")
        old, mine, new = Dump(before), Dump(ours), Dump(after)
        compared, different = 0, []
        for tid, theirs in new.threads.items():
            if "Attach Listener" in theirs[0] or tid not in old.threads:
                continue
            if "CompilerThread" in theirs[0]:
                continue  # compiles, or is taken away, when it likes
            if not same(old.threads[tid], theirs, True):
                continue
            got, moving = mine.threads.get(tid, []), old.threads[tid] != theirs
            if is_core and got and got[0].startswith('"VM thread" '):
                theirs = [re.sub(r'"VM Periodic Task Thread"', '"VM thread"', theirs[0])]  # gcore keeps no such names
            compared += len(theirs)
            if not same(got, theirs, moving):
                different += [f"- {t}" for t in theirs if t not in got] + [f"+ {g}" for g in got if g not in theirs] or ["(order)"]
        self.assertEqual(different[:20], [], f"{len(different)} lines differ on {jdk}")
        self.assertGreater(compared, 50)
        names = {re.match(r'"(.*?)" ', section[0]).group(1) for section in new.threads.values()}
        self.assertLessEqual(set(wanted), names)
        common = set(old.threads) & set(new.threads) & set(mine.threads)  # compiler threads come and go
        self.assertEqual(*([tid for tid in dump.java_order() if tid in common] for dump in (mine, new)))
        self.assertEqual(mine.title[:1], new.title[:1])
        if mine.list:  # not published by 8 and 11
            self.assertEqual(mine.list, new.list)
            compared += len(new.list)
        if jdk.name != "8" and old.tail == new.tail:
            self.assertEqual(mine.tail, new.tail)
            compared += len(new.tail)
        print(f"jstack format, {jdk}, {'core' if is_core else 'live'}: {compared} lines compared, 0 differ")

    def check_target(self, jdk, target, wanted, with_core):
        before = self.jstack(jdk, target.pid)
        live = self.ours(target.pid)
        after = self.jstack(jdk, target.pid)
        self.compare(jdk, before, live, after, False, wanted)
        if not with_core:
            return
        with harness.temp_dir() as directory:
            core = harness.gcore(target.pid, directory)
            text = self.ours(core)
        self.compare(jdk, before, text, self.jstack(jdk, target.pid), True, wanted)
        target.assert_running(self)

    def check_mix(self, name):
        jdk = harness.need_jdk(name)
        options_of = MIX_OPTIONS if name in ("17", "25") else MIX_OPTIONS[:1]
        with tempfile.TemporaryDirectory(prefix="hangscope-mix-") as classes:
            harness.compile_java(harness.ROOT / "tests/integration/java/Mix.java", classes)
            for options in options_of:
                with self.subTest(options=options):
                    command = [jdk.run, "java", "-Xmx128m", *options.split(), "-cp", classes, "Mix"]
                    with harness.Target(command, env=jdk.environment(classes)) as target:
                        wanted = ["hot-top", "condition", "accept", "VM Thread", "VM Periodic Task Thread"]
                        # gcore writes zeros for stacks of glibc 2.42 and later, the libc of these.
                        with_core = options == "" and name not in ("8", "26", "27", "28")
                        self.check_target(jdk, target, wanted, with_core)

    def check_samples(self, name):
        jdk = harness.need_jdk(name)
        for sample in harness.samples():
            if not sample.is_java or sample.name in ("contention", "healthy-java", "spring-boot-incident"):
                continue  # they run, or have a test of their own
            with self.subTest(sample=sample.name), sample.start(jdk, "-Xmx128m") as target:
                self.check_target(jdk, target, (), with_core=False)

    def test_hostile_names(self):
        jdk = harness.need_jdk("17")
        with tempfile.TemporaryDirectory(prefix="hangscope-names-") as classes:
            harness.compile_java(harness.ROOT / "tests/integration/java/Names.java", classes)
            command = [jdk.run, "java", "-Xmx128m", "-cp", classes, "Names"]
            with harness.Target(command, env=jdk.environment(classes)) as target:
                text = self.ours(target.pid)
        self.assertIn("Found one Java-level deadlock:", text)
        self.assertNotRegex(text, "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")

    def test_no_jvm(self):
        process = subprocess.Popen(["sleep", "1000"])
        try:
            result = harness.hangscope("stacks", "--format=jstack", process.pid)
        finally:
            process.kill()
            process.wait()
        self.assertEqual((result.status, result.out), (harness.EX_NOINPUT, ""), result)
        self.assertIn("no Java virtual machine", result.err)


def add_tests():
    for jdk in harness.ALL_JDKS:
        suffix = jdk.replace(".", "_")
        setattr(JstackFormat, f"test_mix_{suffix}", lambda self, jdk=jdk: self.check_mix(jdk))
        if jdk in harness.FULL_JDKS:
            setattr(JstackFormat, f"test_samples_{suffix}", lambda self, jdk=jdk: self.check_samples(jdk))


add_tests()

if __name__ == "__main__":
    harness.main()
