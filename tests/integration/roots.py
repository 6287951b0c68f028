# SPDX-License-Identifier: Apache-2.0
"""Programs in root directories, PID and mount namespaces of their own, as containers have them; no runtime needed."""

import contextlib
import ctypes
import functools
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import harness

NOBODY = 65534
# Runs as the first process of a PID namespace. Nothing of it is seen outside, and nothing is left in ROOT.
ENTER = """
root=$1 content=$2 is_copy=$3
shift 3
if [ "$is_copy" = True ]; then
	mount -t tmpfs tmpfs "$root/tmp" && mkdir -m 755 "$root/tmp/copy" && cp -ax "$root/." "$root/tmp/copy" || exit 125
	root=$root/tmp/copy
fi
mount --bind "$root" "$root" && mount -t tmpfs tmpfs "$root/tmp" && chmod 1777 "$root/tmp" &&
	mount -t proc proc "$root/proc" && cp -a "$content/." "$root/tmp" && cd "$root" || exit 125
exec python3 "$@"
"""
# What container runtimes leave to root (linux/capability.h); with PTRACE, the profile "general" of kubectl debug.
DEFAULT = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
PTRACE = (*DEFAULT, 19)
SYS_pivot_root = 155
MNT_DETACH = 2
PR_CAPBSET_DROP = 24


def enter(uid, capabilities, *command):
    """Make the current directory the root, as runtimes do it (chroot would leave other paths in /proc/PID/maps), and become
    the command with these rights."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(SYS_pivot_root, b".", b".") or libc.umount2(b".", MNT_DETACH):
        sys.exit(f"roots.py: pivot_root: {os.strerror(ctypes.get_errno())}")
    os.chdir("/")
    for capability in range(64):  # fails for those that this kernel does not know
        if str(capability) not in capabilities.split(","):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(int(uid), int(uid), int(uid))
    os.setresuid(int(uid), int(uid), int(uid))
    os.execv(command[0], command)


def need_rights():
    if os.geteuid() != 0:
        raise harness.Unavailable("root directories of their own need root")
    for tool in ("unshare", "nsenter"):
        if not shutil.which(tool):
            raise harness.Unavailable(f"{tool} is missing (package util-linux)")
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


def _unshare(root, content, uid, capabilities, command, *options, is_copy=False):
    rights = [str(uid), ",".join(map(str, capabilities))]
    entered = ["sh", "-c", ENTER, "sh", str(root), str(content), str(is_copy), __file__, *rights, *map(str, command)]
    return ["unshare", "--mount", *options, "--fork", "--kill-child", *entered]


class Container(harness.Target):
    """A program that says READY, process 1 of its namespaces. What lies in `content` is below /tmp in its root; with
    `is_copy` that is a copy in memory, which may be written to."""

    def __init__(self, root, content, command, uid=0, is_copy=False):
        super().__init__(_unshare(root, content, uid, DEFAULT, command, "--pid", is_copy=is_copy), in_namespace=True)
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.host_pid = int(children[0])
        self.root = pathlib.Path(f"/proc/{self.host_pid}/root")

    def close(self):
        # The end of process 1 is the end of the namespace; a change of user forgets --kill-child.
        with contextlib.suppress(ProcessLookupError, AttributeError):
            os.kill(self.host_pid, signal.SIGKILL)
        super().close()

    def execute(self, *command, uid=0, stdin=b""):
        """Run a program in its namespaces and root, as `kubectl exec` does. Returns the finished process, with bytes."""
        enter = ["nsenter", f"--target={self.host_pid}", "--mount", "--pid", "--root", "--wdns=/"]
        if uid:
            enter += [f"--setuid={uid}", f"--setgid={uid}"]
        enter += ["--", *map(str, command)]
        return subprocess.run(enter, input=stdin, capture_output=True, timeout=harness.RUN_TIMEOUT)

    def debug(self, root, content, *command, uid=0, capabilities=PTRACE):
        """Run a program in another root directory that shares its PID namespace, as `kubectl debug --target` does."""
        enter = ["nsenter", f"--target={self.host_pid}", "--pid", "--"]
        return subprocess.run(
            enter + _unshare(root, content, uid, capabilities, command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=harness.RUN_TIMEOUT,
        )


if __name__ == "__main__":
    enter(*sys.argv[1:])
