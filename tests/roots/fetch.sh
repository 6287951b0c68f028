#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetches the root directories of the integration tests into a cache outside the source tree.
#
#   fetch.sh [NAME...]   make the named root directories (default: all) usable; one line on stdout for each
#   fetch.sh list        NAME<TAB>DIRECTORY of each usable one; fetches nothing
#   fetch.sh names       all names this script knows
#
#   bullseye   Debian 11: libc6 with the files to link programs for it, dash, coreutils; packages unpacked, no more
#   trixie     Debian 13: libc6, dash, coreutils, likewise
#   bookworm   Debian 12: a minimal installation by debootstrap, with dpkg, man, and the libraries that hangscope's own
#              package depends on
#   musl       busybox-static and musl: no glibc at all
#
# Archives are found by asking apt; signatures and sums are checked. debootstrap needs root.
# Environment: HS_ROOTS_CACHE (default ${XDG_CACHE_HOME:-$HOME/.cache}/hangscope/roots), HS_DEBIAN_MIRROR and
# HS_DEBIAN_SECURITY_MIRROR (for a host whose apt knows no Debian archive). Exit status: 0 all there, 1 at least one could not be had.
set -eu
LC_ALL=C
export LC_ALL

NAMES='bullseye bookworm trixie musl'
cache=${HS_ROOTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hangscope/roots}
downloads=$cache/downloads
# What the few programs in there do without.
skip='^(debconf.*|cdebconf|perl.*|dpkg|tar|adduser|install-info|libc-bin|libc-dev-bin|libcrypt.*|libnsl.*|libtirpc.*|'\
'rpcsvc-proto|manpages.*|gcc-.*-base|awk|mawk|openssl-provider.*|usr-is-merged|usrmerge)$'
# Of hangscope's package (cpack says which: dpkg-shlibdeps), and what shows its man page.
dependencies='libarchive13,libdw1,libelf1,libjansson4,libstdc++6,libunwind8,man-db'
me=fetch.sh
. "$(dirname "$0")/../support/debian.sh"

fetch_unpacked() { # NAME PACKAGES SUITES
	table_of "$3" >"$cache/$1/table"
	plan "$cache/$1/table" "$2" >"$cache/$1/plan" || die "no archive at hand has $2 (run apt-get update?)"
	empty_root "$cache/$1/root"
	unpack_plan "$cache/$1/plan" "$cache/$1/root"
	rm -f "$cache/$1/table"
	# An absolute link would lead a linker out of this root.
	for file in "$cache/$1"/root/lib64/* "$cache/$1"/root/usr/lib/*-linux-gnu/*; do
		[ -L "$file" ] || continue
		case $(readlink "$file") in
		/*) ln -srf "$cache/$1/root$(readlink "$file")" "$file" ;;
		esac
	done
}

fetch_debootstrap() { # NAME PACKAGES
	PATH=$PATH:/usr/sbin:/sbin
	need debootstrap
	[ "$(id -u)" = 0 ] || die "debootstrap needs root"
	archive=$(debian_archive "$1")
	[ -n "$archive" ] || die "apt here knows no Debian archive for $1 (HS_DEBIAN_MIRROR sets one)"
	rm -rf "$cache/$1/root"
	say "$1: debootstrap, this can take minutes"
	debootstrap --variant=minbase --include="$2" "$1" "$cache/$1/root" "$archive" >"$cache/$1/log" 2>&1 || {
		tail -n 20 "$cache/$1/log" >&2
		die "debootstrap failed"
	}
	rm -rf "$cache/$1/root/var/cache/apt" "$cache/$1/root/var/lib/apt/lists"
}

fetch_one() { # NAME
	case " $NAMES " in
	*" $1 "*) ;;
	*) die "no root directory called $1: $NAMES" ;;
	esac
	dir=$cache/$1
	mkdir -p "$dir"
	if [ ! -f "$dir/ok" ]; then
		need_tools
		case $1 in
		bullseye) fetch_unpacked "$1" 'dash coreutils libc6-dev linux-libc-dev' bullseye ;;
		trixie) fetch_unpacked "$1" 'dash coreutils libc6' trixie ;;
		bookworm) fetch_debootstrap "$1" "$dependencies" ;;
		musl) fetch_unpacked "$1" 'busybox-static musl' host ;;
		esac
		: >"$dir/ok"
	fi
	printf '%s\t%s\n' "$1" "$dir/root"
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
		if [ -f "$cache/$name/ok" ]; then printf '%s\t%s\n' "$name" "$cache/$name/root"; fi
	done
	exit 0
	;;
esac

fetch_all "$@"
