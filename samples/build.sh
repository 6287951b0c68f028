#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh [NAME...]: builds the samples (default: all) into ${HS_SAMPLES_OUT:-build/samples}/NAME.
# Afterwards  OUT/NAME/start  runs one in the foreground; it prints READY and its PID when its state is reached.
#   HS_JAVA       how to run java, as words        (default: java)
#   HS_JAVA_OPTS  options for it, as words         (default: none)
# To build: HS_JAVAC (default: javac), CC (default: cc). A sample that needs more has a build.sh of its own; when all
# are built, one whose parts cannot be had is left out with a message, and called by name it is exit status 77.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${HS_SAMPLES_OUT:-$here/../build/samples}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# compile DIR SOURCE...: class files every supported JVM runs. One javac knows all releases from 8 on.
compile() {
	dir=$1
	shift
	mkdir -p "$dir"
	"${HS_JAVAC:-javac}" -nowarn -Xlint:-options -g --release 8 -sourcepath "$here" -d "$dir" "$@"
}

# gcore writes reserved memory too: with the defaults of a big machine a core has many gigabytes.
small_vm='-Xmx64m -XX:ReservedCodeCacheSize=48m -XX:CompressedClassSpaceSize=16m'

# start_script NAME LINE: OUT/NAME/start, which keeps its PID.
start_script() {
	printf '#!/bin/sh\nMALLOC_ARENA_MAX=2\nexport MALLOC_ARENA_MAX\nexec %s\n' "$2" >"$out/$1/start"
	chmod +x "$out/$1/start"
}

build_java() {
	compile "$out/$1" "$here/common/Ready.java" "$here/$1/Main.java"
	start_script "$1" "\${HS_JAVA:-java} $small_vm \${HS_JAVA_OPTS:-} -cp '$out/$1' Main"
}

# A launcher in boot/ that makes its own class loader for app/.
build_loader() {
	compile "$out/$1/boot" "$here/common/Ready.java" "$here/$1"/boot/*.java
	compile "$out/$1/app" "$here/$1"/app/*.java
	main=$(basename "$here/$1"/boot/*.java .java)
	start_script "$1" "\${HS_JAVA:-java} $small_vm \${HS_JAVA_OPTS:-} -cp '$out/$1/boot' boot.$main '$out/$1/app/'"
}

# Class file version 49 has no StackMapTable: HotSpot checks it with the old verifier in libverify.so.
use_old_verifier() {
	printf '\000\061' | dd of="$1" bs=1 seek=6 conv=notrunc 2>/dev/null
}

build_c() {
	"${CC:-cc}" -g -O0 -Wall -Wextra -pthread -o "$out/$1/main" "$here/$1/main.c"
	start_script "$1" "'$out/$1/main'"
}

# lacking NAME STATUS: what becomes of a sample whose own build.sh failed.
lacking() {
	rm -rf "${out:?}/$1"
	[ "$2" = 77 ] && [ "$all" = 1 ] || exit "$2"
	echo "build.sh: sample $1 is left out" >&2
}

build_one() {
	rm -rf "${out:?}/$1"
	mkdir -p "$out/$1"
	if [ -f "$here/$1/build.sh" ]; then
		sh "$here/$1/build.sh" "$out/$1" || lacking "$1" $?
	elif [ -f "$here/$1/main.c" ]; then
		build_c "$1"
	elif [ -d "$here/$1/boot" ]; then
		build_loader "$1"
	elif [ -f "$here/$1/Main.java" ]; then
		build_java "$1"
	else
		echo "build.sh: no sample called $1" >&2
		exit 64
	fi
	case $1 in
	*-old-verifier) use_old_verifier "$out/$1/app/app/ClassWriter.class" ;;
	esac
}

all=0
if [ $# -eq 0 ]; then
	all=1
	for file in "$here"/*/expect.json; do
		name=${file%/expect.json}
		set -- "$@" "${name##*/}"
	done
fi
for name; do
	build_one "$name"
done
