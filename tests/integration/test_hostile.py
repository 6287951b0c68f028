# SPDX-License-Identifier: Apache-2.0
"""Damaged cores and unknown releases: each word that hangscope relies on is changed, one at a time, in a real core.

What that costs is an answer with a gap, or the all-clear; never a wrong answer and never a crash.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess

import harness
import patching

LOADER, MONITORS = "loader-lock-vs-link-old-verifier", "two-monitors"
RELEASES = ("17", "21", "25")
# A little heap and code cache make a small core.
SMALL = "-Xmx32m -XX:ReservedCodeCacheSize=16m"
EVERY = int(os.environ.get("HS_HOSTILE_EVERY") or (1 if harness.RUN_ALL else 4))  # 1: every change, 4: each fourth


class Base(harness.TestCase):
    """self.core: a core that can be changed; self.base: what it says unchanged; self.vm: its tables."""

    @contextlib.contextmanager
    def opened(self, release, sample, options=SMALL):
        jdk = harness.need_jdk(release)
        with harness.temp_dir() as tmp:
            with harness.Sample(sample).start(jdk, options) as target:
                path = harness.gcore(target.pid, tmp)
            self.core = patching.Core(path)
            with contextlib.closing(self.core):
                self.base = harness.hangscope(path, "--json").json()
                self.assertEqual(self.base["verdict"], "deadlock")
                self.vm = patching.VmStructs(self.core, self.base)
                yield

    def analyze(self):
        result = harness.hangscope(self.core.path, "--json")
        self.assertIn(result.status, (0, 1, 2), str(result))
        return result, patching.Comparison(self.base, result.json())


class UnknownRelease(Base):
    """A name that a newer HotSpot does not publish any more."""

    def names(self):
        fields, types = patching.spellings()
        found = {f"{row} {'::'.join(key)}": self.vm.fields[key]["FieldName"] for row, key in fields if key in self.vm.fields}
        found.update({f"size of {name}": self.vm.types[name] for name in types if name in self.vm.types})
        found.update({f"constant {name}": self.vm.constants[name] for name in patching.constants_used() if name in self.vm.constants})
        found.update({f"flag {name}": word for name, word in self.vm.flags().items()})
        self.assertGreater(len(found), 150)
        return found

    def check(self):
        for name, word in list(self.names().items())[::EVERY]:
            with self.subTest(name), self.vm.renamed(word):
                result, comparison = self.analyze()
                self.assertEqual(comparison.problems(result.status), [], str(result))

    def test_newer(self):
        """Only the number is new: everything is read, and a gap warns."""
        with self.opened("25", MONITORS):
            major = self.vm.static("Abstract_VM_Version", "_vm_major_version")
            with self.core.changed(major, (99).to_bytes(4, "little")):
                result, comparison = self.analyze()
            self.assertEqual(comparison.wrong + comparison.lost, [])
            self.assertIn("Java 99", [gap["subject"] for gap in result.json()["gaps"]])

    def test_compiled(self):
        with self.opened("25", MONITORS, "-Xcomp -Xmx32m -XX:ReservedCodeCacheSize=32m"):
            self.check()


class Words(Base):
    """Words of locks, threads and classes."""

    def words(self):
        """[(name, address, size)] of all that the finding was read from."""
        [finding] = [f for f in self.base["findings"] if f["severity"] == "critical"]
        text = "\n".join(finding["evidence"])
        numbers = {what: sorted({int(n, 16) for n in re.findall(what + r" (0x[0-9a-f]+)", text)}) for what in ("ObjectMonitor", "JavaThread", "slot")}
        resources = [r for r in self.base["resources"] if r["ref"] in finding["resources"]]
        self.other_threads = {t["name"] for t in self.base["threads"] if t["ref"] not in finding["threads"] + finding["blocked"]}
        found = []
        for r in resources:
            at = int(r["address"], 16)
            if r["kind"] == "class-link":
                found += [(f"class {f}", at + self.vm.offset(t, f), size) for t, f, size in (
                    ("InstanceKlass", "_init_state", 1), ("InstanceKlass", "_init_thread", 8), ("Klass", "_java_mirror", 8),
                    ("Klass", "_name", 8), ("Klass", "_layout_helper", 4), ("Klass", "_next_link", 8))]
            else:
                found += [("mark", at + self.vm.offset("oopDesc", "_mark"), 8), ("class of object", at + 8, 4)]
        for monitor in numbers["ObjectMonitor"]:
            found += self.of("ObjectMonitor", monitor, ("_owner", 8), ("_object", 8), ("_next_om", 8))
        for thread in numbers["JavaThread"]:
            found += self.of("JavaThread", thread, ("_current_pending_monitor", 8), ("_threadObj", 8), ("_vthread", 8), ("_stack_base", 8),
                             ("_stack_size", 8), ("_monitor_owner_id", 8), ("_thread_state", 4))
            osthread = thread + self.vm.offset(*next(k for k in (("Thread", "_osthread"), ("JavaThread", "_osthread")) if k in self.vm.fields))
            found += [("_osthread", osthread, 8), ("_thread_id", self.core.u64(osthread) + self.vm.offset("OSThread", "_thread_id"), 4)]
            anchor = thread + self.vm.offset("JavaThread", "_anchor")
            found += self.of("JavaFrameAnchor", anchor, ("_last_Java_sp", 8), ("_last_Java_pc", 8), ("_last_Java_fp", 8))
            if ("JavaThread", "_lock_stack") in self.vm.fields:
                found += self.of("LockStack", thread + self.vm.offset("JavaThread", "_lock_stack"), ("_top", 4))
        found += [("slot", slot, 8) for slot in numbers["slot"]]
        pointer = self.vm.static("ThreadsSMRSupport", "_java_thread_list")
        found += [("list of threads", pointer, 8)] + self.of("ThreadsList", self.core.u64(pointer), ("_length", 4), ("_threads", 8))
        elements = self.core.u64(self.core.u64(pointer) + self.vm.offset("ThreadsList", "_threads"))
        found += [("thread in the list", elements + 8 * i, 8) for i in range(3)]
        self.pointer = numbers["JavaThread"][0]
        return found

    def of(self, type_name, base, *fields):
        return [(f"{type_name}::{f}", base + self.vm.offset(type_name, f), size) for f, size in fields if (type_name, f) in self.vm.fields]

    def check(self):
        outcomes = {}
        changes = [(*word, value) for word in self.words() for value in self.values(*word[1:])]
        for name, addr, size, value in changes[::EVERY]:
            with self.subTest(name, value=hex(value)), self.core.changed(addr, value.to_bytes(size, "little")):
                result, comparison = self.analyze()
                outcomes[result.status] = outcomes.get(result.status, 0) + 1
                self.assertNotEqual(result.status, harness.EX_CLEAR, str(result))
                others = [text for text in comparison.wrong if text.split('"')[1:2] and text.split('"')[1] in self.other_threads]
                self.assertEqual([t for t in others if " waits for " not in t and " frame " in t], [], "frames of threads that were not touched")
        print(f"{sum(outcomes.values())} changes: {outcomes}", flush=True)

    def values(self, addr, size):
        old = int.from_bytes(self.core.read(addr, size), "little")
        some = (0, 1, 1 << 64, 0xDEADBEEFDEADBEEF, old ^ 1, old ^ 4, old ^ 8, old ^ 0x100, old - 8, self.pointer)
        limit = (1 << 8 * size) - 1
        return sorted({value - (value >> 64) & limit for value in some} - {old})


def add_tests():
    for release in RELEASES:
        for sample, word in ((LOADER, "loader"), (MONITORS, "monitors")):

            def test_words(self, release=release, sample=sample):
                with self.opened(release, sample):
                    self.check()

            setattr(Words, f"test_{word}_{release}", test_words)

        def test_names(self, release=release):
            with self.opened(release, LOADER):
                self.check()

        setattr(UnknownRelease, f"test_names_{release}", test_names)


add_tests()


class Stripped(harness.TestCase):
    def test_libjvm(self):
        """The same core, before and after libjvm's .symtab went: only names of native functions may be lacking."""
        jdk = harness.need_jdk("17")
        if not shutil.which("strip"):
            raise harness.Unavailable("strip is missing (package binutils)")
        shown = subprocess.run([jdk.run, "java", "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True).stderr
        home = pathlib.Path(next(line.split("=", 1)[1].strip() for line in shown.splitlines() if " java.home = " in line))
        if not home.is_dir():
            raise harness.Unavailable("JDK 17 lies in a root of its own: it cannot be copied")
        with harness.temp_dir() as tmp:
            copy = tmp / "jdk"
            shutil.copytree(home, copy, symlinks=True)
            start = harness.SAMPLES_OUT / LOADER / "start"
            if not start.exists():
                harness.build_samples()
            with harness.Target([start], env={"HS_JAVA": f"{copy}/bin/java"}) as target:
                core = harness.gcore(target.pid, tmp)
            base = harness.hangscope(core, "--json")
            subprocess.run(["strip", "--strip-all", copy / "lib/server/libjvm.so"], check=True)
            result = harness.hangscope(core, "--json")
        comparison = patching.Comparison(base.json(), result.json())
        self.assertEqual(result.status, base.status)
        self.assertEqual(comparison.wrong, [])
        self.assertEqual([text for text in comparison.lost if "'native'" not in text], [])
        self.assertGreater(len([f for t in result.json()["threads"] for f in t["frames"] if f["class"]]), 20)


class Collecting(harness.TestCase):
    """A core from the middle of a collection that moves objects."""

    def check(self, release, collector):
        jdk = harness.need_jdk(release)
        with harness.temp_dir() as tmp:
            harness.compile_java(harness.ROOT / "tests/integration/java/Garbage.java", tmp)
            options = f"-XX:+Use{collector}GC -Xmx96m -XX:ReservedCodeCacheSize=16m"
            command = ["sh", "-c", f'exec {jdk.run} java {options} -cp {tmp} Garbage $$']
            with harness.Target(command, env=jdk.environment(tmp)) as target:
                for _ in range(12):
                    core = harness.gcore(target.pid, tmp)
                    result = harness.hangscope(core, "--json")
                    report = result.json()
                    core.unlink()
                    # Right or incomplete, but not clear, whatever moment it was.
                    self.assertIn(result.status, (harness.EX_FINDINGS, harness.EX_INCOMPLETE), str(result))
                    names = {t["ref"]: t["name"] for t in report["threads"]}
                    # A collector's threads may wait for each other for a moment, and say so in a note.
                    for finding in (f for f in report["findings"] if f["severity"] == "critical"):
                        found = [names[ref] for ref in finding["threads"]]
                        self.assertEqual(len(found), 2, str(result))
                        # The object with its name may be on its way.
                        self.assertLessEqual(set(found), {"one", "two", None}, str(result))
                        self.assertTrue(None not in found or report["gaps"], str(result))
                    if any("garbage collection was running" in gap["reason"] for gap in report["gaps"]):
                        return
            raise harness.Unavailable("no core was taken during a collection")


for _release in ("17", "25"):
    for _collector in ("Serial", "Parallel", "G1"):
        setattr(Collecting, f"test_{_collector}_{_release}", lambda self, r=_release, c=_collector: self.check(r, c))


if __name__ == "__main__":
    harness.main()
