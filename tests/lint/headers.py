#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every header compiles alone. headers.py SOURCE_DIR COMPILER"""

import pathlib
import subprocess
import sys


def main():
    root, compiler = pathlib.Path(sys.argv[1]), sys.argv[2]
    bad = 0
    for path in sorted((root / "core").rglob("*.h")):
        name = path.relative_to(root).as_posix()
        run = subprocess.run(
            [compiler, "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{root}",
             "-x", "c", "-"],
            input=f'#include "{name}"\n', text=True, capture_output=True)
        if run.returncode:
            print(f"{name} does not compile alone:\n{run.stderr}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
