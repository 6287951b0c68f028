#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh: builds hangscope and runs all its tests, unit and integration, with all set-up.
#
# Installs missing packages (apt-get; root or sudo), fetches the JDKs and root directories of the tests into a cache outside
# the tree (tests/jdk/fetch.sh, tests/roots/fetch.sh), configures, builds, and runs ctest. A second run does only what is left to do.
#   HS_BUILD_TYPE  Release (default) or Debug
#   HS_SANITIZE    for example address,undefined
#   HS_SKIP_JDK    1: no JVM tests, no JDKs fetched
#   HS_JDKS        only these, for example "17 25"
#   HS_FULL        1: all tests also on the JDKs that run only a few (harness.py, SHORT_JDKS)
#   HS_BUILD_DIR   default build/release, with sanitizers build/sanitize
#   HS_CTEST       more options for ctest, as words
#   CC             the compiler, when the build directory is new
set -eu

case ${1:-} in
-h | --help)
	sed -n '3,/^set -eu/{/^set/d;s/^# \{0,1\}//;p;}' "$0"
	exit 0
	;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
build_type=${HS_BUILD_TYPE:-Release}
sanitize=${HS_SANITIZE:-}
if [ -n "$sanitize" ]; then kind=sanitize; else kind=$(printf %s "$build_type" | tr '[:upper:]' '[:lower:]'); fi
build=${HS_BUILD_DIR:-$root/build/$kind}
if [ -n "$sanitize" ]; then static=OFF; else static=ON; fi
jobs=$(nproc 2>/dev/null || echo 2)

step() { printf '\n== %s\n' "$*"; }

HS_SAMPLES_OUT=${HS_SAMPLES_OUT:-$root/build/samples}
export HS_SAMPLES_OUT
case ${HS_SKIP_JDK:-0}$HS_SAMPLES_OUT in
0*[[:space:]]*)
	echo "run.sh: JVM tests need a path without spaces; set HS_SAMPLES_OUT to another than $HS_SAMPLES_OUT" >&2
	exit 64
	;;
esac

step "packages"
sh "$root/tests/install-deps.sh" test

if [ "${HS_SKIP_JDK:-0}" = 0 ]; then
	step "JDKs"
	# A JDK that cannot be had is a skipped test with a reason; in CI that test fails, but for those in short form.
	sh "$root/tests/jdk/fetch.sh" ${HS_JDKS:-} || echo "run.sh: not all JDKs could be had"
fi

if [ "$static" = ON ]; then
	step "root directories"
	sh "$root/tests/roots/fetch.sh" || echo "run.sh: not all root directories could be had"
fi

step "building in $build ($build_type${sanitize:+, $sanitize})"
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE="$build_type" -DHS_SANITIZE="$sanitize" -DHS_STATIC="$static"
cmake --build "$build" -j "$jobs"

step "samples"
sh "$root/samples/build.sh"

step "tests"
# One at a time: each integration test has a JVM or two of its own, and a core.
cd "$build"
ctest --output-on-failure ${HS_CTEST:-}
