# SPDX-License-Identifier: Apache-2.0
"""Virtual threads, mounted or not: stacks, states, carriers and locks equal to Thread.dump_to_file on the same process.

The dump is taken before and after hangscope looks; what is the same in both stood still and is compared. Frames that
one of the two hides (lambdas, the machinery of continuations) are dropped from both sides.
"""

import json
import re
import unittest

import harness

JDKS = ("21.0.2", "21", "25")
NEWER_JDKS = ("26", "27", "28")
# The wheel of 21.0.2 has no jcmd: what the program does is known, and is compared with that.
WITHOUT_JCMD = ("21.0.2",)
PARTS = ("warm", "mixed", "pinned", "executors")
NUM_THREADS = 13 + 5 + 5
_DROPPED = re.compile(
    r"jdk\.internal\.vm\.Continuation\.|java\.lang\.VirtualThread\$VThreadContinuation|"
    r"java\.lang\.VirtualThread\.yieldContinuation\b|java\.lang\.Thread\.runWith\b|"
    r"java\.lang\.invoke\.(LambdaForm\$|\w+\$Holder\.)|[^(]*\$\$Lambda"
)
_JAVA_KINDS = ("interpreted", "compiled", "inlined")


def parse_element(text):
    """(class.method, place) of "java.base/java.lang.Object.wait(Object.java:366)"."""
    name, _, place = text.rpartition("(")
    name = name.rpartition("/")[2] if "$$Lambda" not in name else name
    file, _, line = place.rstrip(")").partition(":")
    return name, f"{file}:{line}" if line else ""


def short(name):
    """Class of an object in the dump, "Virtual$Held@31989e5a"."""
    return name.rpartition("@")[0]


def parse_dump(text):
    """{tid: thread} of the virtual threads."""
    found = {}
    for container in json.loads(text)["threadDump"]["threadContainers"]:
        for thread in container["threads"]:
            stack = [parse_element(element) for element in thread["stack"]]
            if not stack or stack[-1][0] != "java.lang.VirtualThread.run":
                continue
            found[int(thread["tid"])] = {
                "name": thread["name"],
                "frames": [frame for frame in stack if not _DROPPED.match(frame[0])],
                "state": thread.get("state"),
                "carrier": int(thread["carrier"]) if "carrier" in thread else None,
                # With a compiled wait0() the dump does not know what it waits for.
                "knows_waited": "waitingOn" in thread,
                # 28 leaves out the one that is released in wait().
                "owned": sorted(
                    short(o)
                    for level in thread.get("monitorsOwned", [])
                    for o in level["locks"]
                    if o and o != thread.get("waitingOn")
                ),
            }
    return found


def java_frames(thread):
    frames = []
    for frame in thread["frames"]:
        name = f"{frame['class']}.{frame['method']}"
        if frame["kind"] in _JAVA_KINDS and frame["class"] and not _DROPPED.match(name):
            line = frame["line"] if frame["line"] and frame["line"] > 0 else None
            frames.append((name, f"{frame['file']}:{line}" if frame["file"] and line else ""))
    return frames


def owned_monitors(thread, report):
    """Classes of the monitors on its stack: those that it owns, those that it released in wait()."""
    owned, released = [], []
    waited = {report.resources[l["resource"]]["address"] for f in thread["frames"] for l in f["locks"] if l["state"] == "waiting"}
    for frame in thread["frames"]:
        for lock in frame["locks"]:
            resource = report.resources[lock["resource"]]
            if lock["state"] == "locked" and resource["kind"] in ("java-monitor", "loader-lock"):
                (released if resource["address"] in waited else owned).append(resource["class"])
    return sorted(owned), sorted(released)


def parse_report(report):
    found = {}
    for thread in report.data["threads"]:
        if thread["kind"] != "virtual":
            continue
        carrier = report.threads[thread["carrier"]] if thread["carrier"] else None
        owned, released = owned_monitors(thread, report)
        found[thread["java_tid"]] = {
            "name": thread["name"] or "",
            "frames": java_frames(thread),
            "state": thread["state"].split(" ")[0],
            "carrier": carrier and carrier["java_tid"],
            "owned": owned,
            "released": released,
        }
    return found


def show(thread):
    if thread is None:
        return "  (no such thread)"
    lines = [f"  {thread['state']} carrier {thread['carrier']} owns {thread['owned']}"]
    return "\n".join(lines + [f"  {name}({place})" for name, place in thread["frames"]])


def differs(ours, theirs):
    if ours is None or ours["name"] != theirs["name"] or ours["frames"] != theirs["frames"]:
        return True
    if theirs["state"] is None:  # before 25 the dump says no more
        return False
    in_wait = bool(theirs["frames"]) and theirs["frames"][0][0].startswith("java.lang.Object.wait")
    owned = [ours["owned"]]
    if in_wait and not theirs["knows_waited"]:
        owned.append(sorted(ours["owned"] + ours["released"]))
    return ours["state"] != theirs["state"] or ours["carrier"] != theirs["carrier"] or theirs["owned"] not in owned


class VirtualThreads(harness.TestCase):
    def start(self, jdk, directory, options, *parts):
        harness.SAMPLES_OUT.mkdir(parents=True, exist_ok=True)  # shown to every JDK, built or not
        harness.compile_java(harness.ROOT / "tests/integration/java/Virtual.java", directory)
        command = [jdk.run, "java", "-Xmx128m", "-Djdk.virtualThreadScheduler.parallelism=8"]
        return harness.Target([*command, *options, "-cp", directory, "Virtual", *parts], env=jdk.environment(directory))

    def dump(self, jdk, target, directory):
        file = directory / "dump.json"
        jdk.tool("jcmd", target.pid, "Thread.dump_to_file", "-overwrite", "-format=json", file, directories=[directory])
        return parse_dump(file.read_text())

    def compare(self, ours, theirs, what):
        self.assertEqual(set(ours), set(theirs), f"{what}: not the same virtual threads")
        self.assertEqual(len(ours), NUM_THREADS, what)
        different = {tid: thread for tid, thread in theirs.items() if differs(ours.get(tid), thread)}
        if different:
            shown = list(different.items())[:4]
            text = "\n".join(f'#{t} "{d["name"]}"\n dump:\n{show(d)}\n hangscope:\n{show(ours.get(t))}' for t, d in shown)
            names = sorted(thread["name"] for thread in different.values())
            self.fail(f"{what}: {len(different)} of {len(theirs)} virtual threads differ: {names}\n{text}")
        frames = sum(len(thread["frames"]) for thread in theirs.values())
        print(f"{what}: {len(theirs)} virtual threads, {frames} frames equal")

    def look(self, target):
        result = harness.hangscope(target, "--json")
        report = harness.Report(result.json())
        gaps = [gap for gap in report.data["gaps"] if "irtual" in json.dumps(gap)]
        self.assertEqual(gaps, [], str(result))
        self.assertNotIn(report.data["verdict"], ("deadlock", "possible-deadlock"), str(result))
        return report

    def compare_live(self, jdk, target, directory, what):
        before = self.dump(jdk, target, directory)
        ours = parse_report(self.look(target.pid))
        after = self.dump(jdk, target, directory)
        self.assertEqual(before, after, "the program does not stand still")
        self.compare(ours, after, what)
        return after

    def check(self, jdk_name, options=(), core=True):
        jdk = harness.need_jdk(jdk_name)
        what = f"{jdk} {' '.join(options)}"
        with harness.temp_dir() as directory, self.start(jdk, directory, options, *PARTS) as target:
            self.compare_live(jdk, target, directory, what)
            jdk.tool("jcmd", target.pid, "GC.run")
            last = self.compare_live(jdk, target, directory, f"{what} after GC.run")
            if core:
                file = harness.gcore(target.pid, directory)
                self.compare(parse_report(self.look(file)), last, f"{what}, a core")
            target.assert_running(self)

    def check_known(self, jdk_name):
        """Without jcmd: the threads, what they stand in, and why some keep their carrier."""
        jdk = harness.need_jdk(jdk_name)
        with harness.temp_dir() as directory, self.start(jdk, directory, [], *PARTS) as target:
            report = self.look(target.pid)
            found = {t["name"]: t for t in report.data["threads"] if t["kind"] == "virtual"}
            ours = parse_report(report)
            self.assertEqual(len(ours), NUM_THREADS)
            for name, frames, state in (
                ("v-park-for", {"java.util.concurrent.locks.LockSupport.park"}, "WAITING (parking)"),
                ("v-sleep", {"java.lang.Thread.sleep"}, "TIMED_WAITING (parking)"),
                ("v-lock", {"java.util.concurrent.locks.ReentrantLock.lock"}, "WAITING (parking)"),
                ("v-monitor", {"java.lang.VirtualThread.run"}, "BLOCKED (on object monitor)"),
                ("v-wait", {"java.lang.Object.wait"}, "WAITING (on object monitor)"),
                ("v-deep", {"Virtual.deep"}, "WAITING (parking)"),
                ("v-barrier", {"Virtual.deep", "Virtual$PinnedBelow.<clinit>"}, "WAITING (parking)"),
            ):
                names = [f[0] for f in java_frames(found[name])]
                self.assertLessEqual(frames, set(names), name)
                self.assertEqual(names[-1], "java.lang.VirtualThread.run", name)
                self.assertEqual(found[name]["state"], state, name)
            for name, depth in (("v-deep", 151), ("v-barrier", 301)):
                self.assertEqual([f[0] for f in java_frames(found[name])].count("Virtual.deep"), depth)
            target.assert_running(self)

    # ---- locks

    def check_waits(self, jdk_name):
        """Who waits for whom; why some keep their carrier."""
        jdk = harness.need_jdk(jdk_name)
        old = jdk_name.startswith("21")
        with harness.temp_dir() as directory, self.start(jdk, directory, [], "mixed", "pinned") as target:
            report = self.look(target.pid)
            found = {t["name"]: t for t in report.data["threads"]}
            for name, kind, owner in (
                ("v-lock", "juc-lock", "main"),
                ("v-read", "juc-lock", "main"),
                ("v-second", "juc-lock", "v-second-owner"),
                ("v-join", "juc-sync", "v-park"),
                ("v-latch", "juc-sync", None),
                ("v-monitor", "java-monitor", "main"),
                ("v-wait", "juc-sync", None),
            ):
                self.assertIsNotNone(found[name]["waits_for"], name)
                resource = report.resources[found[name]["waits_for"]]
                self.assertEqual(resource["kind"], kind, name)
                held_by = report.threads[resource["owner"]]["name"] if resource["owner"] else None
                self.assertEqual(held_by, owner, name)
            for name in ("v-park", "v-sleep"):
                self.assertIsNone(found[name]["waits_for"], name)
            pinned = {name: t["pinned"] for name, t in found.items() if t["pinned"]}
            expected = {"v-pinned-native", "v-barrier"} | ({"v-monitor", "v-wait", "v-pinned-monitor"} if old else set())
            self.assertEqual(set(pinned), expected)
            for name in expected:
                self.assertIsNotNone(found[name]["carrier"], name)
            self.assertIn("Virtual.lambda$pinned$", pinned["v-pinned-native"])
            for thread in report.data["threads"]:
                if thread["kind"] != "virtual" and thread["ref"] in {t["carrier"] for t in report.data["threads"]}:
                    self.assertIsNone(thread["waits_for"], "a carrier waits beside its virtual thread")

    def check_deadlock(self, jdk_name, part, kind):
        jdk = harness.need_jdk(jdk_name)
        with harness.temp_dir() as directory, self.start(jdk, directory, [], "mixed", part) as target:
            files = [target.pid, harness.gcore(target.pid, directory)]
            for file in files:
                result = harness.hangscope(file, "--json")
                report = harness.Report(result.json())
                self.assertEqual(report.data["verdict"], "deadlock", str(result))
                (finding,) = report.findings("deadlock.cycle")
                self.assertEqual(set(report.thread_names(finding["threads"])), {"v-left", "v-right"})
                self.assertEqual({report.resources[r]["kind"] for r in finding["resources"]}, {kind})
                self.assertEqual({report.threads[r]["kind"] for r in finding["threads"]}, {"virtual"})
                text = harness.hangscope(file, "--no-color").out
                self.assertIn('DEADLOCK  "v-left" and "v-right" wait for each other', text)
            target.assert_running(self)

    def check_starved(self, jdk_name):
        """All carriers are pinned behind a lock whose holder is ready to run: nobody ever will."""
        jdk = harness.need_jdk(jdk_name)
        options = ["-Djdk.virtualThreadScheduler.parallelism=2"]
        with harness.temp_dir() as directory, self.start(jdk, directory, options, "starve") as target:
            result = harness.hangscope(target.pid, "--json")
            report = harness.Report(result.json())
            self.assertEqual(report.data["verdict"], "possible-deadlock", str(result))
            found = {t["name"]: t for t in report.data["threads"]}
            carrier = report.resources[found["v-starved"]["waits_for"]]
            self.assertEqual(carrier["kind"], "carrier")
            holders = [t["name"] for t in report.data["threads"] if carrier["ref"] in t["holds"]]
            self.assertEqual(sorted(holders), ["v-one", "v-two"])
            for name in ("v-one", "v-two"):
                self.assertEqual(report.resources[found[name]["waits_for"]]["owner"], found["v-starved"]["ref"])
            self.assertTrue(report.findings("deadlock.possible"))
            for finding in report.findings("deadlock.possible"):
                self.assertIn("v-starved", report.thread_names(finding["threads"]))

    def check_starved_beside_spare(self, jdk_name):
        """An idle spare carrier, made for some file access, does not run while the pinned ones count as active."""
        jdk = harness.need_jdk(jdk_name)
        options = ["-Djdk.virtualThreadScheduler.parallelism=1"]
        with harness.temp_dir() as directory, self.start(jdk, directory, options, "spare", "starve-one") as target:
            for file in (target.pid, harness.gcore(target.pid, directory)):
                result = harness.hangscope(file, "--json")
                report = harness.Report(result.json())
                workers = [t for t in report.data["threads"] if re.match(r"ForkJoinPool-1-worker-", t["name"] or "")]
                self.assertGreater(len(workers), 1, "no spare was made")
                self.assertEqual(report.data["verdict"], "possible-deadlock", str(result))
                (finding,) = report.findings("deadlock.possible")
                self.assertEqual(set(report.thread_names(finding["threads"])), {"v-starved", "v-one"})

    def check_untracked(self, jdk_name):
        """Only counted by the JVM: the report says that it cannot see them."""
        jdk = harness.need_jdk(jdk_name)
        options = ["-Djdk.trackAllThreads=false"]
        with harness.temp_dir() as directory, self.start(jdk, directory, options, "mixed", "executors") as target:
            result = harness.hangscope(target.pid, "--json")
            report = harness.Report(result.json())
            virtual = [t for t in report.data["threads"] if t["kind"] == "virtual"]
            self.assertEqual(len(virtual), 5, "those of executors are known")
            (gap,) = [g for g in report.data["gaps"] if "virtual threads" in g["subject"]]
            self.assertIn("jdk.trackAllThreads=false", gap["reason"])
            self.assertIn(": 13", gap["reason"])

    def test_many_25(self):
        """Equal stacks are one: the text of 2000 is as short as that of two."""
        jdk = harness.need_jdk("25")
        with harness.temp_dir() as directory, self.start(jdk, directory, ["-Xint"], "many=2000") as target:
            text = harness.hangscope("stacks", target.pid, "--no-color").out
            self.assertIn("and 1999 more with the same stack", text)
            self.assertLess(len(text.splitlines()), 1000)


def add_tests():
    for name in JDKS:
        suffix = name.replace(".", "_")
        if name in WITHOUT_JCMD:
            setattr(VirtualThreads, f"test_known_{suffix}", lambda self, name=name: self.check_known(name))
        else:
            setattr(VirtualThreads, f"test_dump_{suffix}", lambda self, name=name: self.check(name))
        setattr(VirtualThreads, f"test_waits_{suffix}", lambda self, name=name: self.check_waits(name))
        setattr(
            VirtualThreads,
            f"test_deadlock_locks_{suffix}",
            lambda self, name=name: self.check_deadlock(name, "locks", "juc-lock"),
        )
    for name in ("21", "25"):
        setattr(VirtualThreads, f"test_starved_{name}", lambda self, name=name: self.check_starved(name))
        setattr(VirtualThreads, f"test_untracked_{name}", lambda self, name=name: self.check_untracked(name))
        setattr(
            VirtualThreads,
            f"test_deadlock_monitors_{name}",
            lambda self, name=name: self.check_deadlock(name, "monitors", "java-monitor"),
        )
    for name in NEWER_JDKS:
        setattr(VirtualThreads, f"test_dump_{name}", lambda self, name=name: self.check(name, core=False))
        setattr(VirtualThreads, f"test_waits_{name}", lambda self, name=name: self.check_waits(name))
    # Later ones read files without a spare.
    VirtualThreads.test_starved_beside_spare_21 = lambda self: self.check_starved_beside_spare("21")
    zgc = ["-XX:+UseZGC"]
    VirtualThreads.test_dump_zgc_25 = lambda self: self.check("25", zgc)


add_tests()

if __name__ == "__main__":
    harness.main()
