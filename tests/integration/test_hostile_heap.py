# SPDX-License-Identifier: Apache-2.0
"""Damaged objects in real cores: stack chunks of virtual threads, half-written monitors, absurd counts.

One structure is damaged at a time. What hangs on it may be lost, with a gap; all else is as in the unchanged core.
"""

import collections
import contextlib
import os
import struct

import harness
import patching

FULL = os.environ.get("HS_FULL") == "1"
# Words of a StackChunk on 21.0.4 to 25 with compressed class pointers: hangscope reads them from the classes.
CHUNK_KLASS, CHUNK_SIZE, CHUNK_SP, CHUNK_BOTTOM, CHUNK_PARENT, CHUNK_STACK = 8, 12, 24, 28, 40, 48
MAX_CHUNK_WORDS = 1 << 16


def thread_key(thread):
    return (thread["kind"], thread["java_tid"]) if thread["java_tid"] else (thread["kind"], thread["tid"])


def describe(report):
    """{thread: all that is said of it}, with locks by what they are."""
    threads = {t["ref"]: thread_key(t) for t in report["threads"]}
    locks = {r["ref"]: (r["kind"], r["address"], threads.get(r["owner"])) for r in report["resources"]}
    found = {}
    for t in report["threads"]:
        frames = [(patching.frame_key(f), [(l["state"], locks[l["resource"]]) for l in f["locks"]]) for f in t["frames"]]
        edges = locks.get(t["waits_for"]), sorted(map(str, (locks[ref] for ref in t["holds"])))
        found[thread_key(t)] = {"name": t["name"], "state": t["state"], "frames": frames, "edges": edges}
    return found


class Chunk(collections.namedtuple("Chunk", "addr size sp bottom")):
    """One in a core that holds the frames of some virtual thread."""


class Base(harness.TestCase):
    def damaged(self):
        """What a changed core says: (report, {thread: description})."""
        result = harness.hangscope(self.core.path, "--json")
        self.assertIn(result.status, (harness.EX_CLEAR, harness.EX_FINDINGS, harness.EX_INCOMPLETE), str(result))
        return result.json(), describe(result.json())

    def new_gaps(self, report):
        old = {(g["subject"], g["reason"]) for g in self.base["gaps"]}
        return [g for g in report["gaps"] if (g["subject"], g["reason"]) not in old]


class StackChunks(Base):
    @contextlib.contextmanager
    def opened(self, release):
        jdk = harness.need_jdk(release)
        with harness.temp_dir() as tmp:
            harness.compile_java(harness.ROOT / "tests/integration/java/Virtual.java", tmp)
            options = "-Xmx32m -XX:+UseSerialGC -XX:ReservedCodeCacheSize=16m".split()
            with harness.Target([jdk.run, "java", *options, "-cp", tmp, "Virtual", "mixed"], env=jdk.environment(tmp)) as target:
                path = harness.gcore(target.pid, tmp)
            self.core = patching.Core(path)
            with contextlib.closing(self.core):
                self.base = harness.hangscope(path, "--json").json()
                self.threads = describe(self.base)
                yield

    def chunks(self):
        """Of a heap below 4 GiB, where narrow oops are addresses. By their shape: sizes that fit, and at sp the pc of the innermost frame of a virtual thread."""
        virtual = [t for t in self.base["threads"] if t["kind"] == "virtual" and not t["carrier"] and t["frames"]]
        self.assertGreater(len(virtual), 8)
        wanted = {int(t["frames"][0]["pc"], 16) for t in virtual}
        found = collections.defaultdict(list)
        for start, end, offset in self.core.loads:
            if start >> 32 or end - start > 64 << 20:
                continue  # a heap that small lies below 4 GiB
            data = self.core.read(start, end - start)
            for pc in wanted:
                at = data.find(struct.pack("<Q", pc))
                while at >= 0:
                    for chunk in self.chunks_around(data, at) if at % 8 == 0 else ():
                        found[struct.unpack_from("<I", data, chunk.addr + CHUNK_KLASS)].append(chunk._replace(addr=start + chunk.addr))
                    at = data.find(struct.pack("<Q", pc), at + 1)
        return max(found.values(), key=len)  # of one class

    def chunks_around(self, data, at):
        """Those in which the word at `at` is the return address below sp."""
        for addr in range(at - CHUNK_STACK, max(at - CHUNK_STACK - 8 * 4096, 0), -8):
            size, sp, bottom = struct.unpack_from("<I8xII", data, addr + CHUNK_SIZE)
            if 0 < sp <= bottom <= size < MAX_CHUNK_WORDS and addr + CHUNK_STACK + 8 * (sp - 1) == at:
                yield Chunk(addr, size, sp, bottom)

    def check(self, what, chunks):
        """At most as many virtual threads as chunks were changed say less; all others say the same. @return Those, new gaps."""
        report, threads = self.damaged()
        self.assertEqual(set(threads), set(self.threads), what)
        changed = [key for key, thread in threads.items() if thread["frames"] != self.threads[key]["frames"]]
        self.assertLessEqual(len(changed), chunks, f"{what}: {changed}")
        for key, thread in threads.items():
            for part in ("name", "edges") if key in changed else ("name", "state", "edges"):
                self.assertEqual(thread[part], self.threads[key][part], f"{what}: {part} of {key}")
        for key in changed:
            self.assertEqual(key[0], "virtual", what)
            new, old = threads[key]["frames"], self.threads[key]["frames"]
            self.assertEqual(new, old[: len(new)], f"{what}: {thread['name']}")
            self.assertTrue(self.new_gaps(report), f"{what}: no gap")
        return changed, self.new_gaps(report)

    def check_release(self, release):
        with self.opened(release):
            chunks = self.chunks()
            self.assertGreater(len(chunks), 8)
            lost, gaps = collections.Counter(), collections.Counter()
            for number, chunk in enumerate(chunks if FULL else chunks[:2]):
                for what, offset, value in self.values(chunk):
                    with self.subTest(what, chunk=number), self.core.changed(chunk.addr + offset, value.to_bytes(4, "little")):
                        changed, new = self.check(what, 1)
                        lost[what] += len(changed)
                        gaps[what] += bool(new)
            for what, count in gaps.items():  # a chunk that no thread uses any more changes nothing
                self.assertGreater(count, 0, f"{what}: no chunk of any thread")
            for what, count in lost.items():
                self.assertEqual(count > 0, "parent" not in what, f"{what}: the chunk's own frames")
            self.check_circle(chunks)
            print(f"{release}: {len(chunks)} chunks, stacks cut by {dict(lost)}")

    def values(self, chunk):
        yield "size 2^32 - 1", CHUNK_SIZE, (1 << 32) - 1
        yield "size 0", CHUNK_SIZE, 0
        yield "sp 2^31", CHUNK_SP, 1 << 31
        yield "sp behind the end", CHUNK_SP, chunk.size + 1
        yield "sp in the middle of a frame", CHUNK_SP, chunk.sp + 1
        yield "bottom 2^32 - 1", CHUNK_BOTTOM, (1 << 32) - 1
        yield "no class", CHUNK_KLASS, 0
        yield "wild class", CHUNK_KLASS, 0xDEADBEEF
        yield "parent itself", CHUNK_PARENT, chunk.addr
        yield "wild parent", CHUNK_PARENT, 0xDEADBEE8

    def check_circle(self, chunks):
        """Each is the other's parent."""
        one, two = chunks[0], chunks[1]
        with self.subTest("circle of two"):
            with self.core.changed(one.addr + CHUNK_PARENT, two.addr.to_bytes(4, "little")):
                with self.core.changed(two.addr + CHUNK_PARENT, one.addr.to_bytes(4, "little")):
                    changed, gaps = self.check("circle of two", 2)
                    self.assertEqual(changed, [], "the frames of the first chunk are there")
                    self.assertTrue(any("has no end" in g["reason"] for g in gaps), gaps)


for _release in ("21", "25"):
    setattr(StackChunks, f"test_{_release}", lambda self, r=_release: self.check_release(r))


if __name__ == "__main__":
    harness.main()
