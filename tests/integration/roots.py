# SPDX-License-Identifier: Apache-2.0
"""Programs in root directories, PID and mount namespaces of their own, as containers have them; no runtime needed."""

import contextlib
import functools
import os
import pathlib
import shutil
import signal
import subprocess

import harness

NOBODY = 65534

# Runs as the first process of a PID namespace. Nothing of it is seen outside, and nothing is left in ROOT.
ENTER = """
root=$1 content=$2 user=$3
shift 3
mount -t tmpfs tmpfs "$root/tmp" && chmod 1777 "$root/tmp" && mount -t proc proc "$root/proc" &&
	cp -a "$content/." "$root/tmp" || exit 125
cd /
exec chroot --userspec="$user" "$root" "$@"
"""


def need_rights():
    if os.geteuid() != 0:
        raise harness.Unavailable("root directories of their own need root")
    for tool in ("unshare", "nsenter", "chroot"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise harness.Unavailable(f"{tool} is missing (package util-linux or coreutils)")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode != 0:
        raise harness.Unavailable("this machine gives no mount and PID namespaces")


@functools.lru_cache
def fetched():
    script = harness.ROOT / "tests/roots/fetch.sh"
    listed = subprocess.run(["sh", str(script), "list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: pathlib.Path(path) for name, path in (line.split("\t") for line in listed.splitlines())}


def need(name):
    """The root directory called `name` of tests/roots/fetch.sh, or a skip."""
    need_rights()
    if name not in fetched():
        raise harness.Unavailable(f"root directory {name} is missing: sh tests/roots/fetch.sh {name}")
    return fetched()[name]


def link_options(root):
    """Options of a compiler, after the source, that links for the glibc of a root directory."""
    library = root / "usr/lib/x86_64-linux-gnu"
    return [f"--sysroot={root}", f"-B{library}", f"-L{library}", f"-L{root}/lib/x86_64-linux-gnu", "-lpthread"]


def _unshare(root, content, uid, command, *options):
    entered = ["sh", "-c", ENTER, "sh", str(root), str(content), f"{uid}:{uid}"]
    return ["unshare", "--mount", *options, "--fork", "--kill-child", *entered, *map(str, command)]


class Container(harness.Target):
    """A program that says READY, process 1 of its namespaces. What lies in `content` is below /tmp in its root."""

    def __init__(self, root, content, command, uid=0):
        super().__init__(_unshare(root, content, uid, command, "--pid"), in_namespace=True)
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.host_pid = int(children[0])

    def close(self):
        # The end of process 1 is the end of the namespace; a change of user forgets --kill-child.
        with contextlib.suppress(ProcessLookupError, AttributeError):
            os.kill(self.host_pid, signal.SIGKILL)
        super().close()

    def execute(self, *command, uid=0):
        """Run a program in its namespaces and root, as `kubectl exec` does. Returns the finished process, with bytes."""
        enter = ["nsenter", f"--target={self.host_pid}", "--mount", "--pid", "--root", "--wdns=/"]
        if uid:
            enter += [f"--setuid={uid}", f"--setgid={uid}"]
        return subprocess.run(
            [*enter, "--", *map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, timeout=harness.RUN_TIMEOUT
        )

    def debug(self, root, content, *command, uid=0):
        """Run a program in another root directory that shares its PID namespace, as `kubectl debug --target` does."""
        enter = ["nsenter", f"--target={self.host_pid}", "--pid", "--"]
        return subprocess.run(
            enter + _unshare(root, content, uid, command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=harness.RUN_TIMEOUT,
        )
