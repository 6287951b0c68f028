#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make tests/fuzz/corpus from real JVMs and a real core: make_corpus.py BUILD_DIR [RELEASE...]

Starts one sample on each release, dumps small streams of it (dump_streams), and cuts down a core of a native program.
What is there of a release is replaced; inputs named found-* (they found a bug) stay.
"""

import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
import harness  # noqa: E402
import subprocess  # noqa: E402

CORPUS = HERE / "corpus"
STREAMS = ("vmstructs", "field_info", "scopes", "line_numbers", "oop_map")
JAVA = HERE.parent / "integration/java"
EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
KEPT_NOTES = {1: "NT_PRSTATUS", 3: "NT_PRPSINFO", 6: "NT_AUXV", 0x46494C45: "NT_FILE", 0x53494749: "NT_SIGINFO"}
MAX_LOADS, MAX_BYTES = 14, 256


def dump_target(build, jdk, target, *streams):
    for stream in streams:
        (CORPUS / stream).mkdir(parents=True, exist_ok=True)
        for old in (CORPUS / stream).glob(f"{jdk.name}-*"):
            old.unlink()
    subprocess.run([build / "tests/fuzz/dump_streams", str(target.pid), CORPUS, jdk.name, *streams], check=True)


def dump(build, jdk):
    # C1 and C2 have done something by then.
    with harness.Sample("loader-lock-vs-link-old-verifier").start(jdk, "-Xmx64m -Xbatch -XX:CompileThreshold=100") as target:
        dump_target(build, jdk, target, *STREAMS)
    with harness.temp_dir() as tmp:
        for source, options in (("Locals", ["-g"]), ("Virtual", [])):
            subprocess.run(["javac", "-nowarn", "-Xlint:-options", *options, "--release", "8", "-d", tmp, JAVA / f"{source}.java"], check=True)
        java = [jdk.run, "java", "-Xmx64m", "-cp", tmp]
        with harness.Target([*java, "-Xbatch", "-XX:CompileCommand=quiet", "-XX:CompileCommand=exclude,Locals.hold", "-XX:TieredStopAtLevel=1", "Locals", "locked", "20000"], env=jdk.environment(tmp)) as target:
            dump_target(build, jdk, target, "local_table")
        if int(jdk.name.split(".")[0]) >= 21:
            with harness.Target([*java, "Virtual", "warm", "mixed"], env=jdk.environment(tmp)) as target:
                dump_target(build, jdk, target, "stack_chunks")


def notes_of(data):
    at = 0
    while at + 12 <= len(data):
        name_size, desc_size, kind = struct.unpack_from("<III", data, at)
        size = 12 + (name_size + 3 & ~3) + (desc_size + 3 & ~3)
        yield kind, data[at : at + size]
        at += size


def small_core(path):
    """Headers, notes and the first bytes of some segments: all that the readers of headers look at."""
    core = path.read_bytes()
    header = list(EHDR.unpack_from(core))
    loads, notes = [], b""
    for i in range(header[10]):
        phdr = PHDR.unpack_from(core, header[5] + i * PHDR.size)
        if phdr[0] == 4:
            kept = [note for kind, note in notes_of(core[phdr[2] : phdr[2] + phdr[5]]) if kind in KEPT_NOTES]
            notes += b"".join(kept)
        elif phdr[0] == 1 and len(loads) < MAX_LOADS:
            loads.append((phdr, core[phdr[2] : phdr[2] + min(phdr[5], MAX_BYTES)]))
    header[5], header[6], header[10], header[12] = EHDR.size, 0, len(loads) + 1, 0
    at = EHDR.size + (len(loads) + 1) * PHDR.size
    out = EHDR.pack(*header) + PHDR.pack(4, 4, at, 0, 0, len(notes), 0, 4)
    at += len(notes)
    for phdr, data in loads:
        out += PHDR.pack(1, phdr[1], at, phdr[3], 0, len(data), phdr[6], 1)
        at += len(data)
    return out + notes + b"".join(data for _, data in loads)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    for name in sys.argv[2:] or [name for name, jdk in harness.jdks().items() if jdk]:
        dump(build, harness.need_jdk(name))
    (CORPUS / "core_file").mkdir(parents=True, exist_ok=True)
    with harness.temp_dir() as tmp, harness.Sample("pthread-cycle").start() as target:
        (CORPUS / "core_file/gcore").write_bytes(small_core(harness.gcore(target.pid, tmp)))
    seen = {}
    for path in sorted(CORPUS.glob("*/*")):
        if seen.setdefault((path.parent, path.read_bytes()), path) != path:
            path.unlink()  # the same in another release
    print(sum(path.stat().st_size for path in CORPUS.glob("*/*")), "bytes in", CORPUS)


if __name__ == "__main__":
    main()
