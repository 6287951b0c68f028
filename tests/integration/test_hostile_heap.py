# SPDX-License-Identifier: Apache-2.0
"""Damaged objects in real cores: stack chunks of virtual threads, half-written monitors, absurd counts.

One structure is damaged at a time. What hangs on it may be lost, with a gap; all else is as in the unchanged core.
"""

import collections
import contextlib
import re
import struct

import harness
import patching
import test_hostile

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
        """By their shape: sizes that fit, and at sp the pc of the innermost frame of a virtual thread.

        The heap is below 4 GiB, where narrow oops are addresses.
        """
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
            for number, chunk in enumerate(chunks if harness.RUN_ALL else chunks[:1]):
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


class Monitors(test_hostile.Base):
    """Half-written: an ObjectMonitor and the header of its object in states that no moment has."""

    def combinations(self, monitor, mark, thread):
        """[(what, [(address, bytes)])]"""

        def at(field, value):
            return monitor + self.vm.offset("ObjectMonitor", field), (value & (1 << 64) - 1).to_bytes(8, "little")

        def header(value):
            return mark, (value & (1 << 64) - 1).to_bytes(8, "little")

        other = self.core.u64(thread + 8)
        busy = [at(f, 5) for f in ("_recursions",) if ("ObjectMonitor", f) in self.vm.fields]
        crowd = [at(f, -1) for f in ("_recursions",) if ("ObjectMonitor", f) in self.vm.fields]
        free = [at("_owner", 0)]
        yield "no owner, entered again", free + busy
        yield "owner, recursions -1", crowd
        yield "no owner, no object", free + [at("_object", 0)]
        yield "owner, no object, header neutral", [at("_object", 0), header(1)]
        yield "owner, header neutral", [header(1)]
        yield "owner, header of a stack lock", [header(thread & ~7)]
        yield "owner, header inflated to nowhere", [header(0xDEAD0002)]
        yield "no owner, header inflated to another", free + [header(monitor + 0x1000 | 2)]
        yield "wild owner, entered again", [at("_owner", other)] + busy
        yield "anonymous owner, no object", [at("_owner", 1), at("_object", 0)]
        yield "all zero", free + [at("_object", 0), header(0)] + [at("_recursions", 0)] * bool(busy)
        yield "marked by a collector", [header(3)]

    def check(self):
        finding = next(f for f in self.base["findings"] if f["severity"] == "critical")
        text = "\n".join(finding["evidence"])
        monitors = sorted({int(n, 16) for n in re.findall(r"ObjectMonitor (0x[0-9a-f]+)", text)})
        thread = int(re.search(r"JavaThread (0x[0-9a-f]+)", text).group(1), 16)
        marks = {int(r["address"], 16) for r in self.base["resources"] if r["ref"] in finding["resources"]}
        self.assertTrue(monitors and marks)
        blocked = {t["name"] for t in self.base["threads"] if t["ref"] in finding["threads"] + finding["blocked"]}
        outcomes = collections.Counter()
        for monitor in monitors:
            mark = next(m for m in marks if self.core.u64(m) & ~3 == monitor)
            for what, words in self.combinations(monitor, mark, thread):
                with self.subTest(what), contextlib.ExitStack() as changes:
                    for addr, data in words:
                        changes.enter_context(self.core.changed(addr, data))
                    result, comparison = self.analyze()
                    outcomes[result.status] += 1
                    self.assertNotEqual(result.status, harness.EX_CLEAR, str(result))
                    wrong = [text for text in comparison.wrong if text.split('"')[1:2] and text.split('"')[1] not in blocked]
                    self.assertEqual(wrong, [], str(result))
        print(f"{sum(outcomes.values())} combinations: {dict(outcomes)}")


class Counts(test_hostile.Base):
    """Lengths that cannot be."""

    VALUES = (0xFFFFFFFF, 0x7FFFFFFF, 1 << 30)
    TABLE, BYTES = "[Ljava/util/concurrent/ConcurrentHashMap$Node;", "[B"

    def size_of(self, name):
        word = self.vm.types[name] - self.vm._value("TypeEntryTypeNameOffset") + self.vm._value("TypeEntrySizeOffset")
        return self.core.u64(word)

    def blob_of(self, pc):
        """(CodeHeap, CodeBlob) around a pc, by the segment map."""
        vm, core = self.vm, self.core
        heaps = core.u64(vm.static("CodeCache", "_heaps"))
        elements = core.u64(heaps + vm.offset("GrowableArray<int>", "_data"))
        for i in range(core.u32(heaps + vm.offset("GrowableArrayBase", "_len"))):
            heap = core.u64(elements + 8 * i)
            memory, segmap = (heap + vm.offset("CodeHeap", f) for f in ("_memory", "_segmap"))
            low, high = (core.u64(memory + vm.offset("VirtualSpace", f)) for f in ("_low", "_high"))
            if low <= pc < high:
                shift = core.u32(heap + vm.offset("CodeHeap", "_log2_segment_size"))
                first = core.u64(segmap + vm.offset("VirtualSpace", "_low"))
                index = (pc - low) >> shift
                while back := core.read(first + index, 1)[0]:
                    index -= back
                return heap, low + (index << shift) + self.size_of("HeapBlock")
        raise AssertionError(f"0x{pc:x} is in no code heap")

    def vm_words(self):
        """[(what, [address of a count of 4 bytes])]"""
        vm, core = self.vm, self.core
        threads = core.u64(vm.static("ThreadsSMRSupport", "_java_thread_list"))
        yield "threads", [threads + vm.offset("ThreadsList", "_length")]
        yield "code heaps", [core.u64(vm.static("CodeCache", "_heaps")) + vm.offset("GrowableArrayBase", "_len")]
        pcs = [int(f["pc"], 16) for t in self.base["threads"] for f in t["frames"] if f["kind"] == "compiled"]
        self.assertTrue(pcs)
        blobs = sorted({self.blob_of(pc) for pc in pcs})
        yield "code segments", sorted({heap + vm.offset("CodeHeap", "_log2_segment_size") for heap, _ in blobs})
        for type_name, field in (
            ("CodeBlob", "_size"),
            ("CodeBlob", "_frame_size"),
            ("nmethod", "_scopes_pcs_offset"),
            ("nmethod", "_dependencies_offset"),  # the end of the PcDescs, before 23
            ("nmethod", "_immutable_data_size"),  # since
        ):
            if (type_name, field) in vm.fields:
                yield f"{type_name}::{field}", [blob + vm.offset(type_name, field) for _, blob in blobs]

    def klass(self, wanted):
        vm, core = self.vm, self.core
        cld = core.u64(vm.static("ClassLoaderDataGraph", "_head"))
        while cld:
            klass = core.u64(cld + vm.offset("ClassLoaderData", "_klasses"))
            while klass:
                name = core.u64(klass + vm.offset("Klass", "_name"))
                length = int.from_bytes(core.read(name + vm.offset("Symbol", "_length"), 2), "little")
                if core.read(name + vm.offset("Symbol", "_body"), length) == wanted.encode():
                    return klass
                klass = core.u64(klass + vm.offset("Klass", "_next_link"))
            cld = core.u64(cld + vm.offset("ClassLoaderData", "_next"))
        raise AssertionError(f"no class {wanted}")

    def arrays(self, name):
        """Addresses of the lengths of all arrays of a class, in a heap below 4 GiB with compressed class pointers."""
        vm, core = self.vm, self.core
        base, shift = (f for f in vm.fields if f[0] == "CompressedKlassPointers" and f[1].rpartition(".")[2].lstrip("_") in ("base", "shift"))
        base, shift = sorted((base, shift), key=lambda f: "shift" in f[1])
        number = (self.klass(name) - core.u64(vm.static(*base))) >> core.u32(vm.static(*shift))
        word, found = number.to_bytes(4, "little"), []
        for start, end, _ in core.loads:
            if start >> 32 or end - start > 64 << 20:
                continue
            data = core.read(start, end - start)
            at = data.find(word)
            while at >= 0:
                if at % 8 == 0 and data[at - 8 : at - 4] in (b"\1\0\0\0", b"\5\0\0\0"):
                    found.append(start + at + 4)
                at = data.find(word, at + 1)
        self.assertTrue(found, name)
        return found

    def check(self, words):
        outcomes = collections.Counter()
        for what, addresses in words:
            for value in self.VALUES:
                with self.subTest(what, value=hex(value)), contextlib.ExitStack() as changes:
                    for addr in addresses:
                        changes.enter_context(self.core.changed(addr, value.to_bytes(4, "little")))
                    result, comparison = self.analyze()
                    outcomes[result.status] += 1
                    self.assertEqual(comparison.problems(result.status), [], str(result))
        print(f"{sum(outcomes.values())} counts: {dict(outcomes)}")

    def check_vm(self, release):
        with self.opened(release, test_hostile.MONITORS, "-Xcomp -Xmx32m -XX:ReservedCodeCacheSize=32m"):
            self.check(self.vm_words())

    def check_heap(self, release):
        with self.opened(release, test_hostile.LOADER, f"{test_hostile.SMALL} -XX:+UseSerialGC"):
            self.check((f"all {name}", self.arrays(name)) for name in (self.TABLE, self.BYTES))


def add_tests():
    for release in ("21", "25"):
        setattr(StackChunks, f"test_{release}", lambda self, r=release: self.check_release(r))
    for release in ("17", "25"):

        def test_monitors(self, release=release):
            with self.opened(release, test_hostile.MONITORS):
                self.check()

        setattr(Monitors, f"test_{release}", test_monitors)
        setattr(Counts, f"test_vm_{release}", lambda self, r=release: self.check_vm(r))
        setattr(Counts, f"test_heap_{release}", lambda self, r=release: self.check_heap(r))


add_tests()

if __name__ == "__main__":
    harness.main()
