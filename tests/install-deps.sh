#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install-deps.sh [tool|build|test|ci]...: installs, by apt-get, the Debian or Ubuntu packages that are missing.
#   tool   compile hangscope, without its tests
#   build  compile hangscope, build and run the samples (default)
#   test   the above, and what the tests and tests/jdk/fetch.sh need
#   ci     the above, clang 14 and its tools (the format of another version differs)
# Needs root, or sudo; says so when neither is there and something is missing. Installs nothing that is there.
set -eu

packages='build-essential cmake ninja-build pkg-config libdw-dev libelf-dev libunwind-dev libarchive-dev
libjansson-dev zlib1g-dev libbz2-dev liblzma-dev libzstd-dev liblz4-dev'

say() { printf 'install-deps.sh: %s\n' "$*"; }

case " $* " in
' tool ') jdk=0 ;;
*)
	jdk=1
	packages="$packages libcmocka-dev python3 gdb"
	;;
esac
# A JDK that the machine has already is good, whatever package it came from.
[ "$jdk" = 0 ] || { command -v javac >/dev/null 2>&1 && command -v java >/dev/null 2>&1; } || packages="$packages default-jdk-headless"
case " $* " in
*' test '* | *' ci '*)
	packages="$packages elfutils util-linux ca-certificates xz-utils zstd lz4 gpgv musl-tools debootstrap strace"
	# Published jars of samples/spring-boot-incident; brings a JRE of its own when none is there.
	command -v mvn >/dev/null 2>&1 || packages="$packages maven"
	python3 -m pip --version >/dev/null 2>&1 || packages="$packages python3-pip"
	;;
esac
case " $* " in
*' ci '*) packages="$packages clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14" ;;
esac

command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1 || {
	say "no apt-get here: nothing installed. hangscope needs the equivalents of:" $packages >&2
	exit 0
}

missing=
for package in $packages; do
	case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) in
	'install ok installed') ;;
	*) missing="$missing $package" ;;
	esac
done
if [ -z "$missing" ]; then
	say "all packages are there"
	exit 0
fi

if [ "$(id -u)" = 0 ]; then
	as_root=
elif command -v sudo >/dev/null 2>&1; then
	as_root=sudo
else
	say "error: run as root, or install sudo; missing packages:$missing" >&2
	exit 77
fi
say "installing (this can take minutes):$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Package lists may be absent (fresh image) or stale, so they are fetched when something is missing.
{
	$as_root apt-get update -q &&
		$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
} >"$log" 2>&1 </dev/null || {
	tail -n 40 "$log" >&2
	say "error: apt-get could not install:$missing" >&2
	exit 1
}
