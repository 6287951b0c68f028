# SPDX-License-Identifier: Apache-2.0
"""Hostile cores: change words of a real core at known addresses, and compare what hangscope says with the unchanged one.

What a changed core may cost is an answer, never a wrong one: every thread, frame, lock line and edge of the report is
the one of the unchanged core, or it is missing and a gap or the verdict says so.
"""

import contextlib
import re
import struct

import harness

PHDR = struct.Struct("<IIQQQQQQ")
PT_LOAD, SHT_DYNSYM = 1, 11


class Core:
    """A core file opened for changes; every change is undone by the context that made it."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "r+b", buffering=0)
        header = self.file.read(64)
        at, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
        self.file.seek(at)
        rows = self.file.read(count * PHDR.size)
        self.loads = []
        for i in range(count):
            kind, _, offset, vaddr, _, size, _, _ = PHDR.unpack_from(rows, i * PHDR.size)
            if kind == PT_LOAD and size:
                self.loads.append((vaddr, vaddr + size, offset))

    def close(self):
        self.file.close()

    def offset(self, addr, size):
        for start, end, offset in self.loads:
            if start <= addr and addr + size <= end:
                return offset + addr - start
        raise KeyError(f"0x{addr:x} is not in the core")

    def read(self, addr, size):
        self.file.seek(self.offset(addr, size))
        return self.file.read(size)

    def u32(self, addr):
        return struct.unpack("<I", self.read(addr, 4))[0]

    def u64(self, addr):
        return struct.unpack("<Q", self.read(addr, 8))[0]

    def cstr(self, addr):
        data = b""
        while b"\0" not in data:
            data += self.read(addr + len(data), 16)
        return data.partition(b"\0")[0].decode(errors="replace")

    @contextlib.contextmanager
    def changed(self, addr, data):
        old = self.read(addr, len(data))
        self.write(addr, data)
        try:
            yield
        finally:
            self.write(addr, old)

    def write(self, addr, data):
        self.file.seek(self.offset(addr, len(data)))
        self.file.write(data)

    def changed_u64(self, addr, value):
        return self.changed(addr, struct.pack("<Q", value & (1 << 64) - 1))


def dynamic_symbols(path):
    """{name: value} of a shared library's .dynsym."""
    with open(path, "rb") as file:
        data = file.read()
    shoff, shentsize, shnum = *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, shoff + i * shentsize) for i in range(shnum)]
    found = {}
    for section in sections:
        if section[1] != SHT_DYNSYM:
            continue
        strings = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, _, _, shndx, value, _ = struct.unpack_from("<IBBHQQ", data, at)
            if shndx:
                end = data.index(b"\0", strings + name)
                found[data[strings + name : end].decode()] = value
    return found


class VmStructs:
    """HotSpot's own tables in a core: where each row is, to rename it and to find what it describes."""

    def __init__(self, core, report):
        libjvm = next(m for m in report["modules"] if m["path"].endswith("/libjvm.so"))
        start = int(libjvm["start"], 16)
        self.core = core
        self.symbols = {n: v + start for n, v in dynamic_symbols(libjvm["path"]).items() if n.startswith("gHotSpotVM")}
        self.fields, self.types, self.constants = {}, {}, {}
        for row in self._rows("Structs", "StructEntry", "FieldName"):
            at = {k: row + self._value(f"StructEntry{k}Offset") for k in ("TypeName", "FieldName", "IsStatic", "Offset", "Address")}
            key = core.cstr(core.u64(at["TypeName"])), core.cstr(core.u64(at["FieldName"]))
            self.fields[key] = at
        for row in self._rows("Types", "TypeEntry", "TypeName"):
            name = row + self._value("TypeEntryTypeNameOffset")
            self.types[core.cstr(core.u64(name))] = name
        for table in ("Int", "Long"):
            for row in self._rows(f"{table}Constants", f"{table}ConstantEntry", "Name"):
                name = row + self._value(f"{table}ConstantEntryNameOffset")
                self.constants[core.cstr(core.u64(name))] = name

    def _value(self, name):
        return self.core.u64(self.symbols[f"gHotSpotVM{name}"])

    def _rows(self, table, entry, name):
        row, stride, at = self._value(table), self._value(f"{entry}ArrayStride"), self._value(f"{entry}{name}Offset")
        while self.core.u64(row + at):
            yield row
            row += stride

    def offset(self, type_name, field):
        return self.core.u64(self.fields[type_name, field]["Offset"])

    def static(self, type_name, field):
        return self.core.u64(self.fields[type_name, field]["Address"])

    def flags(self):
        """{name: its word} of the flags that core/jvm/jvm.c asks for."""
        wanted = set(re.findall(r'\[FLAG_\w+\] = "(\w+)"', (harness.ROOT / "core/jvm/jvm.c").read_text()))
        row, count = self.core.u64(self.static("JVMFlag", "flags")), self.core.u64(self.static("JVMFlag", "numFlags"))
        size_word = self.types["JVMFlag"] - self._value("TypeEntryTypeNameOffset") + self._value("TypeEntrySizeOffset")
        found = {}
        for i in range(count):
            word = row + i * self.core.u64(size_word) + self.offset("JVMFlag", "_name")
            name = self.core.u64(word) and self.core.cstr(self.core.u64(word))
            if name in wanted:
                found[name] = word
        return found

    def renamed(self, name_word):
        """Names lose their first letter: the row is there, but not the one that is looked for."""
        return self.core.changed_u64(name_word, self.core.u64(name_word) + 1)


def spellings():
    """[(row, (type, field))], [type] of core/jvm/layout_fields.def."""
    text = (harness.ROOT / "core/jvm/layout_fields.def").read_text()
    fields, types = [], []
    for kind, args in re.findall(r"^(FIELD|TYPE)\(((?:[^()\"]|\"[^\"]*\")*)\)", text, re.M):
        names = re.findall(r'"([^"]*)"', args)
        if kind == "TYPE":
            types += names
        else:
            row = args.split(",")[0].strip()
            fields += [(row, pair) for pair in zip(names[::2], names[1::2])]
    return fields, types


def constants_used():
    """Names of the VM constants that the code asks for."""
    text = "".join(path.read_text() for path in sorted((harness.ROOT / "core/jvm").glob("*.[cd]*")))
    return sorted(set(re.findall(r'"((?:\w+::)+\w+|_thread_\w+)"', text)))


# --- comparing reports ---------------------------------------------------------------------------------------------


def frame_key(frame):
    return (frame["pc"], frame["kind"], frame["class"], frame["method"], frame["descriptor"], frame["bci"], frame["line"], frame["function"], frame["file"])


class Comparison:
    """What a changed core's report says otherwise (wrong) and what it lacks (lost).

    A lock that is not recognized as a loader's or a class's is the monitor that it is, with the same owner: less, not
    wrong. So is a finding of another id about the same threads.
    """

    def __init__(self, base, changed):
        self.base, self.changed = base, changed
        self.wrong, self.lost = [], []
        self.resources = [{r["ref"]: r for r in report["resources"]} for report in (base, changed)]
        old = {t["tid"]: t for t in base["threads"] if t["tid"]}
        new = {t["tid"]: t for t in changed["threads"] if t["tid"]}
        for tid in new.keys() - old.keys():
            self.wrong.append(f"thread {tid} came up")
        for tid, thread in old.items():
            if tid not in new:
                self.lost.append(f"thread {tid}")
            else:
                self._thread(thread, new[tid])
        self._findings()

    def _thread(self, old, new):
        who = f'"{old["name"]}" {old["tid"]}'
        for key in ("name", "java_tid", "kind", "state"):
            if new[key] != old[key]:
                # Without its Java side a thread is what the kernel sees of it.
                less = key in ("kind", "state", "name") or new[key] in (None, 0)
                (self.lost if less else self.wrong).append(f"{who} {key} {old[key]!r} is {new[key]!r}")
        self._frames(who, old, new)
        self._locks(f"{who} waits for", [old["waits_for"]], [new["waits_for"]])
        self._locks(f"{who} holds", old["holds"], new["holds"])

    def _locks(self, what, old, new):
        """Each lock of `new` must be one of `old`."""
        left = [self.resources[0][ref] for ref in old if ref]
        for resource in (self.resources[1][ref] for ref in new if ref):
            same = [r for r in left if self._key(r) == self._key(resource)]
            less = [r for r in left if self._is_less(r, resource)]
            if same or less:
                left.remove((same or less)[0])
                if not same:
                    self.lost.append(f"{what} {self._key(less[0])} is {self._key(resource)}")
            else:
                self.wrong.append(f"{what} {self._key(resource)}")
        self.lost += [f"{what} {self._key(resource)}" for resource in left]

    @staticmethod
    def _key(resource):
        return resource["kind"], resource["address"], resource["owner_tid"]

    @staticmethod
    def _is_less(old, new):
        if new["owner_tid"] not in (old["owner_tid"], None):
            return False
        if (old["kind"], old["address"]) == (new["kind"], new["address"]):
            return True  # whose it is is not known
        # The lock of a class is the monitor of an int[0], at an address of its own.
        return new["kind"] == "java-monitor" and (
            old["address"] == new["address"] or (old["kind"] in ("class-link", "class-init") and new["class"] in ("[I", None))
        )

    def _frames(self, who, old, new):
        at = 0
        for frame in new["frames"]:
            key = frame_key(frame)
            while at < len(old["frames"]) and not self._is_frame(frame_key(old["frames"][at]), key):
                self.lost.append(f"{who} frame {frame_key(old['frames'][at])}")
                at += 1
            if at == len(old["frames"]):
                self.wrong.append(f"{who} frame {key} came up")
                return
            if key != frame_key(old["frames"][at]):
                self.lost.append(f"{who} frame {frame_key(old['frames'][at])} is {key}")
            for state in ("locked", "waiting"):
                locks = [[lock["resource"] for lock in f["locks"] if lock["state"] == state] for f in (old["frames"][at], frame)]
                self._locks(f"{who} {key} {state}", *locks)
            at += 1
        self.lost += [f"{who} frame {frame_key(frame)}" for frame in old["frames"][at:]]

    @staticmethod
    def _is_frame(old, new):
        """Equal, but for what is not known: class, method, line ... may be lacking, and a pc without a name be native."""
        if (new[1] == "native" and new[7] is None) or (new[1] == "stub" and new[7] in ("nmethod", "native nmethod")):
            return new[0] == old[0]
        return all(b == a or b in (None, -1) for a, b in zip(old, new))

    def _findings(self):
        tids = [{t["ref"]: t["tid"] for t in report["threads"]} for report in (self.base, self.changed)]
        old, new = (
            {f["id"]: {names[ref] for ref in f["threads"]} for f in report["findings"]} for names, report in zip(tids, (self.base, self.changed))
        )
        self.verdict_lost = False
        for name, threads in new.items():
            if name not in old and not any(threads <= others for others in old.values()):
                self.wrong.append(f"finding {name} came up")
        for name, threads in old.items():
            if name not in new:
                self.lost.append(f"finding {name}")
                self.verdict_lost |= not any(threads == others for others in new.values())

    def new_gaps(self):
        old = {(g["subject"], g["reason"]) for g in self.base["gaps"]}
        return [g for g in self.changed["gaps"] if (g["subject"], g["reason"]) not in old]

    def problems(self, status):
        """What must not be, in words: wrong answers, lost ones without a gap, an all-clear that is none."""
        found = [f"wrong: {text}" for text in self.wrong]
        if self.lost and not self.new_gaps():
            found += [f"no gap, but lost: {text}" for text in self.lost]
        if self.verdict_lost and status == harness.EX_CLEAR:
            found.append(f"status {status}, verdict {self.changed['verdict']}")
        return found
