#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Benchmark: hangscope against gdb, eu-stack, jhsdb, jstack and gcore on the same process and the same
# core, in one run. Prints a table and ratios. Needs root (or CAP_SYS_PTRACE) and a JDK on PATH.
#   sh tests/bench/run.sh [--threads 2000] [--repeat 3] [--live-mb 0] [--quick]
#   sh tests/bench/run.sh --grow        live looks at 50, 2000 and 10,000 threads
# --quick leaves out the tools that take minutes (eu-stack with names, jhsdb).
# HANGSCOPE: the program under test (default build/release/hangscope).
set -eu
cd "$(dirname "$0")/../.."
HANGSCOPE=${HANGSCOPE:-build/release/hangscope}
[ -x "$HANGSCOPE" ] || { echo "bench: no $HANGSCOPE: run sh tests/run.sh first" >&2; exit 1; }
export HANGSCOPE
exec python3 tests/bench/bench.py "$@"
