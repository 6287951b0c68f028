#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh OUT: builds this sample in the directory OUT: an executable jar as Spring Boot lays it out, the tracer's jar
# beside it, and the script that starts them. Called by samples/build.sh. Exit status 77: a published jar is lacking.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$1
jars=$(sh "$here/fetch.sh") || exit 77
javac=${HS_JAVAC:-javac}
jar=jar
case $javac in
*/*) jar=${javac%/*}/jar ;;
esac

# app/ goes through Spring Boot's loader, reactor-tools too; common/ is beside the loader, so that what tells the
# outside about the hang is not caught in it.
"$javac" -nowarn -Xlint:-options -g --release 8 -d "$out/jar" "$here/../common/Ready.java"
"$javac" -nowarn -Xlint:-options -g --release 8 -cp "$out/jar:$jars/reactor-tools-3.6.8.jar" \
	-d "$out/jar/BOOT-INF/classes" "$here"/app/*.java
mkdir -p "$out/jar/BOOT-INF/lib"
cp "$jars/reactor-tools-3.6.8.jar" "$out/jar/BOOT-INF/lib/"
(cd "$out/jar" && "$jar" -xf "$jars/spring-boot-loader-3.2.7.jar" org)
cat >"$out/manifest" <<-MANIFEST
	Main-Class: org.springframework.boot.loader.launch.JarLauncher
	Start-Class: app.Application
MANIFEST
# A nested jar is read in place, so it must be stored, not compressed.
"$jar" --create --file "$out/app.jar" --no-compress --date 2024-07-01T00:00:00Z --manifest "$out/manifest" -C "$out/jar" .
cp "$jars/dd-java-agent-1.35.2.jar" "$out/dd-java-agent.jar"
rm -rf "$out/jar" "$out/manifest"

# The tracer is on, as in the incident, but must reach nobody: nothing listens on port 1, what else talks is off, and
# where that is allowed the program has a network of its own, without an interface that is up.
cat >"$out/start" <<-START
	#!/bin/sh
	MALLOC_ARENA_MAX=2 DD_AGENT_HOST=127.0.0.1 DD_TRACE_AGENT_PORT=1 DD_DOGSTATSD_PORT=1
	DD_INSTRUMENTATION_TELEMETRY_ENABLED=false DD_REMOTE_CONFIG_ENABLED=false DD_JMXFETCH_ENABLED=false
	DD_PROFILING_ENABLED=false DD_CRASHTRACKING_ENABLED=false DD_TRACE_STARTUP_LOGS=false
	export MALLOC_ARENA_MAX DD_AGENT_HOST DD_TRACE_AGENT_PORT DD_DOGSTATSD_PORT
	export DD_INSTRUMENTATION_TELEMETRY_ENABLED DD_REMOTE_CONFIG_ENABLED DD_JMXFETCH_ENABLED
	export DD_PROFILING_ENABLED DD_CRASHTRACKING_ENABLED DD_TRACE_STARTUP_LOGS
	net=
	if unshare -n true 2>/dev/null; then net='unshare -n'; fi
	exec \$net \${HS_JAVA:-java} -Xmx128m -XX:ReservedCodeCacheSize=48m -XX:CompressedClassSpaceSize=32m \\
	  \${HS_JAVA_OPTS:-} -javaagent:'$out/dd-java-agent.jar' -jar '$out/app.jar'
START
chmod +x "$out/start"
