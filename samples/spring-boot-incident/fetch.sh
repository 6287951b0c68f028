#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fetch.sh: makes the published jars of the incident usable, and prints the directory they lie in.
# Maven fetches them, once; their SHA-256 sums are checked at each call.
# Environment: HS_MAVEN_CACHE (default ${XDG_CACHE_HOME:-$HOME/.cache}/hangscope/maven).
# Exit status: 0 all there, 77 something could not be had.
set -eu

cache=${HS_MAVEN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hangscope/maven}
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.6.1

say() { printf 'fetch.sh: %s\n' "$*" >&2; }
lack() {
	say "error: $*"
	exit 77
}

# jar GROUP ARTIFACT VERSION SHA256
jar() {
	file=$cache/$2-$3.jar
	if ! printf '%s  %s\n' "$4" "$file" | sha256sum -c --status 2>/dev/null; then
		command -v mvn >/dev/null 2>&1 || lack "needs mvn (sh tests/install-deps.sh test installs it)"
		say "fetching $2 $3"
		mvn -q -B "$plugin:copy" "-Dartifact=$1:$2:$3" "-DoutputDirectory=$cache" -Dmdep.overWriteReleases=true \
			>"$cache/log" 2>&1 </dev/null || {
			tail -n 20 "$cache/log" >&2
			lack "Maven could not fetch $2 $3"
		}
		printf '%s  %s\n' "$4" "$file" | sha256sum -c --status || lack "wrong SHA-256 sum: $file"
	fi
}

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
if command -v flock >/dev/null 2>&1; then # two runs at once would write the same file
	exec 9>"$cache/lock"
	flock 9
fi
# Spring Boot 3.2.9 is the first 3.2 whose loader is parallel capable; the others are of the same summer.
jar org.springframework.boot spring-boot-loader 3.2.7 b65a7df5c994f8419b826bc69306e7e8a7b5dc557e79b92a31e3c533c34fdd8d
jar io.projectreactor reactor-tools 3.6.8 67e1d3636bc26158cf72c664ad27516b945f3d924513e3710809366c30ec4c0e
jar com.datadoghq dd-java-agent 1.35.2 ba312f3f0f7890fee598db437473176eb3c31087fbf7d9ea629075c934508ac7
printf '%s\n' "$cache"
