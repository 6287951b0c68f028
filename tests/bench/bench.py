#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures hangscope and its peers on one 2000-thread JVM, live and from one core; prints a table."""

import argparse
import datetime
import mmap
import os
import pathlib
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
GROWTH = (50, 2000, 10000)


class Heartbeat:
    """The longest gap of the target's 1 ms tick."""

    def __init__(self, path):
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)

    def reset(self):
        self.map[8:16] = struct.pack("<Q", 1)
        deadline = time.time() + 5
        while struct.unpack("<Q", self.map[8:16])[0] and time.time() < deadline:
            time.sleep(0.002)

    def worst_ms(self):
        return struct.unpack("<Q", self.map[0:8])[0] / 1e6


def measure(command, out):
    """One run: wall seconds, CPU seconds, peak MB, exit status."""
    start = time.monotonic()
    with open(out, "wb") as f:
        child = subprocess.Popen(command, stdout=f, stderr=subprocess.DEVNULL,
                                 stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    return (wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024,
            child.returncode)


class Bench:
    def __init__(self, args, work):
        self.args, self.work = args, pathlib.Path(work)
        self.rows = {}
        self.hangscope = os.environ["HANGSCOPE"]

    def start_target(self):
        subprocess.run(["javac", "-d", self.work, HERE / "ManyThreads.java"], check=True)
        self.hb_file = self.work / "heartbeat"
        heap = ["-Xmx256m"] if not self.args.live_mb else [f"-Xmx{2 * self.args.live_mb}m"]
        self.target = subprocess.Popen(
            ["java", *heap, "-Xss256k", "-XX:CompileCommand=quiet",
             "-XX:CompileCommand=exclude,ManyThreads::interpreted",
             "-XX:CompileCommand=exclude,ManyThreads::interpretedToo",
             "-cp", str(self.work), "ManyThreads", str(self.args.threads), "40",
             str(self.hb_file), str(self.args.live_mb)],
            stdout=subprocess.PIPE, text=True)
        for line in self.target.stdout:
            if line.startswith("READY"):
                break
        else:
            sys.exit("bench: the target did not start")
        self.pid = str(self.target.pid)
        self.heartbeat = Heartbeat(self.hb_file)

    def stop_target(self):
        self.target.kill()
        self.target.wait()

    def row(self, name, command, live, repeat=None):
        """Median of several runs; one run for what takes minutes."""
        if not shutil.which(command[0]) and not os.path.exists(command[0]):
            print(f"bench: {command[0]} is not there, left out", file=sys.stderr)
            return
        runs, gaps = [], []
        out = self.work / "out"
        for _ in range(repeat or self.args.repeat):
            self.heartbeat.reset()
            runs.append(measure(command, out))
            if live:
                gaps.append(self.heartbeat.worst_ms())
        lines = sum(1 for _ in open(out, "rb"))
        self.rows[name] = {
            "wall": statistics.median(r[0] for r in runs),
            "cpu": statistics.median(r[1] for r in runs),
            "mb": statistics.median(r[2] for r in runs),
            "pause": statistics.median(gaps) if live else None,
            "lines": lines, "n": len(runs), "exit": runs[-1][3],
        }
        self.print_row(name)

    def print_row(self, name):
        r = self.rows[name]
        pause = f"{r['pause']:9.1f}" if r["pause"] is not None else "        -"
        print(f"| {name:34} | {r['wall']:8.3f} | {r['cpu']:8.3f} | {r['mb']:8.0f} | {pause} "
              f"| {r['lines']:8} | {r['n']} |", flush=True)

    def idle(self):
        self.heartbeat.reset()
        time.sleep(2)
        print(f"idle: longest gap of the heartbeat in 2 s is {self.heartbeat.worst_ms():.1f} ms")

    def run(self):
        gdb = ["gdb", "-nx", "-batch", "-ex", "set pagination off", "-ex",
               "set debuginfod enabled off", "-ex", "thread apply all bt"]
        core = str(self.work / f"core.{self.pid}")
        print("| tool | wall s | CPU s | peak MB | pause ms | lines | n |")
        print("|---|---|---|---|---|---|---|")
        self.row("hangscope stacks PID", [self.hangscope, "stacks", "--all", self.pid], True)
        self.row("hangscope PID", [self.hangscope, self.pid], True)
        self.row("gdb -p PID", gdb + ["-p", self.pid], True)
        self.row("eu-stack -q -p PID (no names)", ["eu-stack", "-q", "-p", self.pid], True)
        if not self.args.quick:
            self.row("eu-stack -p PID", ["eu-stack", "-p", self.pid], True, 1)
            self.row("jhsdb jstack --mixed --pid",
                     ["jhsdb", "jstack", "--mixed", "--pid", self.pid], True, 1)
        self.row("jstack -l PID", ["jstack", "-l", self.pid], True)
        self.snapshot = self.work / "snapshot"
        self.row("hangscope snapshot PID",
                 [self.hangscope, "snapshot", self.pid, "-o", str(self.snapshot)], True)
        self.row("hangscope snapshot --full PID",
                 [self.hangscope, "snapshot", self.pid, "--full", "-o", str(self.work / "full")],
                 True, 1)
        (self.work / "full").unlink(missing_ok=True)
        self.row("gcore PID", ["gcore", "-o", str(self.work / "core"), self.pid], True, 1)
        java = os.path.realpath(f"/proc/{self.pid}/exe")
        self.row("hangscope stacks CORE", [self.hangscope, "stacks", "--all", core], False)
        self.row("hangscope CORE", [self.hangscope, core], False)
        self.row("gdb CORE", gdb + [java, core], False)
        if not self.args.quick:
            self.row("eu-stack --core", ["eu-stack", "--core", core], False, 1)
            self.row("jhsdb jstack --mixed --core",
                     ["jhsdb", "jstack", "--mixed", "--exe", java, "--core", core], False, 1)
        print(f"\ncore: {os.path.getsize(core) / 1e6:.0f} MB")
        if self.snapshot.exists():
            print(f"snapshot: {self.snapshot.stat().st_size / 1e6:.1f} MB")
            self.rows["gcore PID"]["size"] = os.path.getsize(core)
            self.rows["hangscope snapshot PID"]["size"] = self.snapshot.stat().st_size

    def run_growth(self):
        print("| tool | wall s | CPU s | peak MB | pause ms | lines | n |")
        print("|---|---|---|---|---|---|---|")
        self.row("hangscope PID", [self.hangscope, self.pid], True)
        self.row("hangscope --rolling PID", [self.hangscope, "--rolling", self.pid], True)
        self.row("hangscope --no-stop PID", [self.hangscope, "--no-stop", self.pid], True)
        snapshot = self.work / "snapshot"
        self.row("hangscope snapshot PID", [self.hangscope, "snapshot", self.pid, "-o", str(snapshot)], True)
        if snapshot.exists():
            print(f"snapshot: {snapshot.stat().st_blocks * 512 / 1e6:.1f} MB")
        self.row("jstack -l PID", ["jstack", "-l", self.pid], True)
        gdb = ["gdb", "-nx", "-batch", "-ex", "set pagination off", "-ex", "set debuginfod enabled off",
               "-ex", "thread apply all bt", "-p", self.pid]
        self.row("gdb -p PID", gdb, True, 1)

    def ratio(self, what, mine, theirs, goal):
        if mine not in self.rows or theirs not in self.rows:
            return
        a, b = self.rows[mine][what], self.rows[theirs][what]
        verdict = "reached" if a * goal <= b else "MISSED"
        print(f"| {what} of {mine} : {theirs} | 1/{b / a if a else 0:.1f} | 1/{goal} | {verdict} |")

    def ratios(self):
        print("\n| ratio | measured | goal | |\n|---|---|---|---|")
        self.ratio("wall", "hangscope stacks CORE", "gdb CORE", 10)
        self.ratio("wall", "hangscope stacks CORE", "jhsdb jstack --mixed --core", 50)
        self.ratio("wall", "hangscope PID", "gdb -p PID", 5)
        self.ratio("wall", "hangscope stacks PID", "gdb -p PID", 5)
        self.ratio("pause", "hangscope stacks PID", "gdb -p PID", 50)
        self.ratio("pause", "hangscope stacks PID", "jstack -l PID", 1)
        if "size" in self.rows.get("gcore PID", {}):
            self.ratio("size", "hangscope snapshot PID", "gcore PID", 50)
        self.ratio("pause", "hangscope snapshot PID", "gcore PID", 100)
        for name in ("hangscope stacks PID", "hangscope stacks CORE"):
            mb = self.rows[name]["mb"]
            print(f"| peak memory of {name} | {mb:.0f} MB | 100 MB | "
                  f"{'reached' if mb <= 100 else 'MISSED'} |")


def grow(args):
    """How pause, time and memory of a live look grow with the number of threads."""
    for threads in GROWTH:
        args.threads = threads
        with tempfile.TemporaryDirectory(prefix="hangscope-bench-") as work:
            bench = Bench(args, work)
            print(f"\n{threads} threads, {args.live_mb} MB of live heap")
            bench.start_target()
            try:
                bench.idle()
                bench.run_growth()
            finally:
                bench.stop_target()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--live-mb", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--grow", action="store_true")
    args = parser.parse_args()
    if args.grow:
        print(f"{datetime.date.today()}, {os.cpu_count()} cores, Linux {platform.release()}")
        grow(args)
        return
    with tempfile.TemporaryDirectory(prefix="hangscope-bench-") as work:
        bench = Bench(args, work)
        print(f"{datetime.date.today()}, {os.cpu_count()} cores, Linux {platform.release()}, "
              f"{args.threads} threads, {args.live_mb} MB of live heap")
        bench.start_target()
        try:
            bench.idle()
            bench.run()
        finally:
            bench.stop_target()
        bench.ratios()


if __name__ == "__main__":
    main()
