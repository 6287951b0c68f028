# SPDX-License-Identifier: Apache-2.0
"""Programs in namespaces of their own, as a container runtime starts them: another root, pid and user namespace.

Run as a program it enters what its argument (JSON) describes and becomes the command there; as a module it starts
such programs and hangscope beside them. Needs root: only root may make all of these namespaces anywhere."""

import contextlib
import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
PR_SET_PDEATHSIG = 1
SYS_pivot_root = 155
FIRST_UID = 100000  # of the host, for uid 0 of a user namespace
HOST_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib64")


# --- inside: becomes the command ---------------------------------------------------------------------------------


def _check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Libc:
    def __init__(self):
        self.c = ctypes.CDLL(None, use_errno=True)

    def mount(self, source, target, kind=None, flags=0, data=None):
        text = [None if t is None else os.fsencode(t) for t in (source, target, kind, data)]
        _check(self.c.mount(text[0], text[1], text[2], ctypes.c_ulong(flags), text[3]))

    def unshare(self, flags):
        _check(self.c.unshare(flags))

    def setns(self, fd):
        _check(self.c.setns(fd, 0))

    def pivot_root(self, root):
        os.chdir(root)
        _check(self.c.syscall(SYS_pivot_root, b".", b"."))
        _check(self.c.umount2(b".", MNT_DETACH))
        os.chdir("/")

    def die_with_parent(self):
        _check(self.c.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def _make_root(libc, spec):
    root = spec["root"]
    libc.unshare(CLONE_NEWNS)
    libc.mount(None, "/", flags=MS_REC | MS_PRIVATE)
    if spec.get("overlay"):
        lower, upper, work = spec["overlay"]
        libc.mount("overlay", root, "overlay", data=f"lowerdir={lower},upperdir={upper},workdir={work}")
    else:
        libc.mount(root, root, flags=MS_BIND | MS_REC)
    for source, target in [("/proc", "/proc"), ("/dev", "/dev"), *spec.get("binds", ())]:
        os.makedirs(root + target, exist_ok=True)
        libc.mount(source, root + target, flags=MS_BIND | MS_REC)
    libc.pivot_root(root)


def _enter_user_namespace(libc, to_parent, from_parent):
    libc.unshare(CLONE_NEWUSER)
    os.write(to_parent, b"m")
    if os.read(from_parent, 1) != b"m":
        os._exit(125)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _inside(libc, spec, to_parent, from_parent):
    join = {kind: os.open(f"/proc/{spec['join']}/ns/{kind}", os.O_RDONLY) for kind in spec.get("join_kinds", ())}
    _make_root(libc, spec)
    if "user" in join:
        libc.setns(join["user"])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    elif spec.get("user"):
        _enter_user_namespace(libc, to_parent, from_parent)
    if "pid" in join:
        libc.setns(join["pid"])
    elif spec.get("pid"):
        libc.unshare(CLONE_NEWPID)
    libc.die_with_parent()
    child = os.fork()
    if child:
        if spec.get("announce"):
            print(f"HOST {child}", flush=True)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    libc.die_with_parent()
    if "pid" in join or spec.get("pid"):
        libc.unshare(CLONE_NEWNS)
        libc.mount("proc", "/proc", "proc")
    os.execve(spec["command"][0], spec["command"], spec["env"])


def _main(spec):
    libc = _Libc()
    parent_reads, child_writes = os.pipe()
    child_reads, parent_writes = os.pipe()
    libc.die_with_parent()
    child = os.fork()
    if not child:
        try:
            libc.die_with_parent()
            _inside(libc, spec, child_writes, child_reads)
        except BaseException as error:  # nothing may go on as a second copy of this program
            print(f"containers.py: {error!r}", file=sys.stderr, flush=True)
        os._exit(125)
    os.close(child_writes)
    if spec.get("user") and os.read(parent_reads, 1) == b"m":
        for name in ("uid_map", "gid_map"):
            pathlib.Path(f"/proc/{child}/{name}").write_text(f"0 {FIRST_UID} 65536\n")
        os.write(parent_writes, b"m")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)


# --- outside -----------------------------------------------------------------------------------------------------


def _command(spec, command, env):
    full = {"PATH": "/usr/bin:/bin", **(env or {})}
    return [sys.executable, __file__, json.dumps({**spec, "command": [str(part) for part in command], "env": full})]


class Contained:
    """A program in namespaces that printed READY. `pid` is the host's number for it, `inner_pid` its own."""

    def __init__(self, spec, command, env=None, timeout=120):
        self.process = subprocess.Popen(
            _command({**spec, "announce": True}, command, env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.pid = self.inner_pid = None
        self.output = []
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(ready,), daemon=True)
        self._reader.start()
        ready.wait(timeout)
        if self.pid is None or self.inner_pid is None:
            self.close()
            raise AssertionError(f"{command} did not get READY:\n{''.join(self.output)}")

    def _read(self, ready):
        for line in self.process.stdout:
            self.output.append(line)
            host, inner = re.match(r"HOST (\d+)", line), re.match(r"READY (\d+)", line)
            self.pid = int(host.group(1)) if host else self.pid
            if inner:
                self.inner_pid = int(inner.group(1))
                ready.set()
        ready.set()

    def tids(self):
        """{number in its own namespace: number on the host}, as /proc tells."""
        found = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                numbers = re.search(r"^NSpid:\s*(.*)$", (task / "status").read_text(), re.M).group(1).split()
                found[int(numbers[-1])] = int(numbers[0])
        return found

    def close(self):
        if self.pid and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def host_root(directory):
    """Make an empty root directory, and the binds that show the host's programs (and nothing else) in it."""
    root = pathlib.Path(directory)
    binds = []
    root.mkdir(exist_ok=True)
    root.chmod(0o755)
    (root / "tmp").mkdir(exist_ok=True)
    for path in map(pathlib.Path, HOST_DIRECTORIES):
        if path.is_symlink():
            with contextlib.suppress(FileExistsError):
                (root / path.name).symlink_to(os.readlink(path))
        elif path.is_dir():
            binds.append([str(path), str(path)])
    return root, binds


def prefix(spec):
    """A command prefix that runs what follows in these namespaces."""
    return [sys.executable, __file__, "--", json.dumps(spec)]


if __name__ == "__main__":
    if sys.argv[1] == "--":
        _main({**json.loads(sys.argv[2]), "command": sys.argv[3:], "env": dict(os.environ)})
    else:
        _main(json.loads(sys.argv[1]))
