#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh [SAMPLE]: shows what hangscope says about a program that hangs.
#
# Installs missing packages (apt-get; root or sudo), builds hangscope in build/release, builds the sample, starts it,
# takes a core with gcore, and prints hangscope's report of the core and of the live process. Ends what it started;
# the core lies in a temporary directory and is deleted. A second run does only what is left to do.
#
# SAMPLE is a folder of samples/ (default: loader-lock-vs-link-old-verifier).
#   HS_JAVA  how to run java (default: java)
#   HS_JDK   17, 21.0.2, 21 or 25: a JDK of tests/jdk/fetch.sh instead; fetched when missing
set -eu

sample=${1:-loader-lock-vs-link-old-verifier}
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
case $sample in
-h | --help)
	sed -n '3,/^set -eu/{/^set/d;s/^# \{0,1\}//;p;}' "$0"
	exit 0
	;;
esac
[ -f "$here/$sample/expect.json" ] || {
	echo "run.sh: no sample called $sample; there are:" >&2
	for file in "$here"/*/expect.json; do echo "  $(basename "$(dirname "$file")")" >&2; done
	exit 64
}

step() { printf '\n== %s\n' "$*"; }

step "packages"
sh "$root/tests/install-deps.sh" build
if [ -f "$here/$sample/fetch.sh" ]; then sh "$root/tests/install-deps.sh" test; fi

step "building hangscope in build/release"
cmake -S "$root" -B "$root/build/release" -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
# The tests are left out; `cmake --install build/release` needs both libraries.
cmake --build "$root/build/release" --target hangscope_cli hangscope_static hangscope_shared
hangscope=$root/build/release/hangscope

step "building the sample $sample"
HS_SAMPLES_OUT=${HS_SAMPLES_OUT:-$root/build/samples}
export HS_SAMPLES_OUT
sh "$here/build.sh" "$sample"
if [ -n "${HS_JDK:-}" ]; then
	case $HS_SAMPLES_OUT in
	*[[:space:]]*)
		echo "run.sh: with HS_JDK, a path without spaces is needed; set HS_SAMPLES_OUT to another than $HS_SAMPLES_OUT" >&2
		exit 64
		;;
	esac
	sh "$root/tests/install-deps.sh" test
	sh "$root/tests/jdk/fetch.sh" "$HS_JDK"
	HS_JAVA="$(sh "$root/tests/jdk/fetch.sh" list | awk -F '\t' -v jdk="$HS_JDK" '$1 == jdk { print $2 }') java"
	HS_JDK_BIND=$(cd "$HS_SAMPLES_OUT" && pwd)
	export HS_JAVA HS_JDK_BIND
fi

# What runs a hung program may need rights over it: with Yama, only its parent may look at it.
as_root=
if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null 2>&1; then as_root=sudo; fi

work=$(mktemp -d)
pid=
cleanup() {
	trap - EXIT HUP INT TERM
	if [ -n "$pid" ]; then
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	fi
	$as_root rm -rf "$work"
}
trap cleanup EXIT
trap 'cleanup; exit 130' HUP INT TERM

step "starting it"
missed() {
	cat "$work/out" >&2
	echo "run.sh: the sample did not reach its state" >&2
	exit 1
}

# start_once: false when the program ended normally before its state was reached: a race that was not lost this time.
start_once() {
	"$HS_SAMPLES_OUT/$sample/start" >"$work/out" 2>&1 </dev/null &
	pid=$! # the start script becomes the program: the same PID
	tries=0
	until grep -q '^READY ' "$work/out"; do
		tries=$((tries + 1))
		if ! kill -0 "$pid" 2>/dev/null; then
			if wait "$pid"; then return 1; fi
			missed
		fi
		[ "$tries" -le 1200 ] || missed
		sleep 0.1
	done
}

starts=1
until start_once; do
	[ "$starts" -lt 40 ] || missed
	starts=$((starts + 1))
	echo "no hang this time; start $starts of at most 40"
done
echo "pid $pid hangs (or is busy), as it should"

# 0, 1 and 2 are answers: nothing found, findings, incomplete.
report() {
	step "hangscope $2"
	status=0
	$as_root "$hangscope" "$1" || status=$?
	echo "(exit status $status)"
	[ "$status" -le 2 ] || exit "$status"
}

step "gcore $pid"
$as_root gcore -o "$work/core" "$pid" >"$work/gcore.log" 2>&1 || {
	cat "$work/gcore.log" >&2
	echo "run.sh: gcore failed" >&2
	exit 1
}
ls -lh "$work/core.$pid" | awk '{ print "core." "'"$pid"'" ": " $5 }'

report "$work/core.$pid" "core.$pid"
report "$pid" "$pid (the live process)"
