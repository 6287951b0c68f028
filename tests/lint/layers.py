#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may include whom (DESIGN.md 2): fails on any other edge. layers.py SOURCE_DIR"""

import pathlib
import re
import sys

BASE = {"core/base", "core/limits.h", "core/musl_pthread.h"}
RECORDS = BASE | {"core/target.h", "core/module_map.h", "core/regs.h", "core/snapshot.h", "core/frame.h", "core/thread_dump.h"}
PURE = RECORDS | {"core/wait_graph.h", "core/report.h", "core/words.h"}

# Folder (longest match wins) → folders and headers it may include, besides its own.
ALLOWED = {
    "core/base": set(),
    "core/source": BASE | {"core/target.h", "core/module_map.h", "core/regs.h"},
    "core/capture": BASE | {"core/target.h", "core/module_map.h", "core/regs.h", "core/source"},
    "core/native": RECORDS | {"core/stepper.h"},
    "core/jvm": RECORDS | {"core/stepper.h"},
    "core/capture": BASE | {"core/target.h", "core/module_map.h", "core/source", "core/native/native.h"},
    "core/doctor": BASE | {"core/source", "core/native/native.h", "core/native/thread_db.h", "core/target.h", "core/module_map.h", "core/words.h"},
    "core/render": PURE | {"core/renderer.h"},
    "analyzers": PURE | {"core/analyzer.h"},
    "cli": PURE | {"core/analysis.h", "core/analyzer.h", "core/capture", "core/doctor/doctor.h", "core/renderer.h", "version.h"},
    "core": {"core"},
    "tests": {"core", "tests", "analyzers"},
}


def folder_of(path):
    best = ""
    for folder in ALLOWED:
        if path.startswith(folder + "/") and len(folder) > len(best):
            best = folder
    return best


def permitted(folder, include):
    if include.startswith(folder + "/") or include == folder:
        return True
    return any(include == a or include.startswith(a + "/") for a in ALLOWED[folder])


def main():
    root = pathlib.Path(sys.argv[1])
    bad = 0
    for top in ("core", "analyzers", "cli"):
        for path in sorted((root / top).rglob("*.[ch]")):
            name = path.relative_to(root).as_posix()
            folder = folder_of(name)
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if match and "/" in match[1] and not permitted(folder, match[1]):
                    print(f"{name}:{number}: {folder}/ may not include {match[1]}")
                    bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
