# SPDX-License-Identifier: Apache-2.0
# debian.sh: for scripts that unpack Debian packages into root directories of their own; to be sourced.
#
# Nothing is installed on the host: packages are only unpacked, no maintainer script runs. Archives are found by asking
# apt (or HS_DEBIAN_MIRROR, HS_DEBIAN_SECURITY_MIRROR); signatures and sums are checked.
# The script sets: me (its name for messages), downloads (a directory that is there), skip (an awk pattern of packages
# that are not followed). A suite is a name such as trixie or bullseye-security; "host" is what the host's own apt knows.

helper=/usr/lib/apt/apt-helper
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf '%s: %s\n' "$me" "$*" >&2; }
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

# plan TABLE PACKAGES: the closure over Depends; of alternatives the first one the table has.
plan() {
	awk -F '\t' -v want="$2" -v skip="$skip" '
		function bare(x) { gsub(/\([^)]*\)|\[[^]]*\]|<[^>]*>|:[a-z0-9]+|[ \t]/, "", x); return x }
		{
			row[$1] = $2 "\t" $3 "\t" $4; dep[$1] = $6
			n = split($5, a, ",")
			for (i = 1; i <= n; i++) { b = bare(a[i]); if (!(b in prov)) prov[b] = $1 }
		}
		END {
			n = split(want, q, " ")
			for (i = 1; i <= n; i++) {
				if (!(q[i] in row)) exit 3
				seen[q[i]] = 1
			}
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

# table_of SUITES: the tables of all of them; of two packages with the same name the last one counts.
table_of() {
	found=$downloads/table.$$
	: >"$found"
	for suite in $1; do
		[ "$suite" != host ] || continue
		archive=$(debian_archive "$suite")
		if [ -n "$archive" ]; then
			table_of_suite "$archive" "$suite" >>"$found"
		else
			say "apt here knows no Debian archive for $suite (HS_DEBIAN_MIRROR sets one)"
		fi
	done
	[ -s "$found" ] || table_of_host >"$found"
	cat "$found"
	rm -f "$found"
}

# empty_root DIR: an empty root directory with a merged /usr.
empty_root() {
	rm -rf "$1"
	for sub in bin sbin lib lib64; do
		mkdir -p "$1/usr/$sub"
		ln -s "usr/$sub" "$1/$sub"
	done
	mkdir -p "$1/proc" "$1/dev" "$1/tmp" "$1/etc" "$1/root"
	chmod 1777 "$1/tmp"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
}

# unpack_plan PLAN DIR: unpack all packages of a plan.
unpack_plan() {
	while IFS='	' read -r package _ url sum; do
		say "unpacking $package"
		deb=$downloads/$(basename "$url")
		download "$url" "$deb" "$sum"
		# A pipe would hide the exit status of its left side.
		dpkg-deb --fsys-tarfile "$deb" >"$downloads/tar" && tar -x --no-same-owner --keep-directory-symlink \
			-C "$2" -f "$downloads/tar" || die "cannot unpack $deb"
		rm -f "$deb" "$downloads/tar"
	done <"$1"
}

need_tools() {
	need awk sha256sum xz dpkg dpkg-deb apt-get tar
	[ -x "$helper" ] || die "needs $helper (package apt)"
	arch=$(dpkg --print-architecture)
}

# fetch_all [NAME...]: fetch_one of the script for each of them, or of all NAMES; "one NAME" does it in this process. Exits.
fetch_all() {
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
}
