# SPDX-License-Identifier: Apache-2.0
"""Native program counters of every thread: equal to `eu-stack -q`, live and from a core.

Of a JVM thread, eu-stack is right down to the first Java frame; that part is compared. Threads whose stack is not
the same in two runs of eu-stack did not stand still and are left out.
"""

import re
import shutil
import subprocess

import harness


def eu_stack(*options):
    """{tid: [pc, ...]}; a frame walk that ends in an error is kept as far as it went."""
    if not shutil.which("eu-stack"):
        raise harness.Unavailable("eu-stack is missing (package elfutils)")
    done = subprocess.run(
        ["eu-stack", "-q", *map(str, options)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=harness.RUN_TIMEOUT,
    )
    stacks, frames = {}, None
    for line in done.stdout.splitlines():
        thread = re.match(r"TID (\d+):", line)
        frame = re.match(r"#\d+\s+(0x[0-9a-f]+)", line)
        if thread:
            frames = stacks.setdefault(int(thread.group(1)), [])
        elif frame and frames is not None:
            frames.append(int(frame.group(1), 16))
    if not stacks:
        raise RuntimeError(f"eu-stack shows nothing:\n{done.stderr}")
    return stacks


def number(value):
    return int(value, 0) if isinstance(value, str) else value


def hangscope_stacks(what):
    """{tid: ([pc of each native frame down to the first Java frame], whether that is the whole stack)}"""
    stacks = {}
    for thread in harness.hangscope(what, "--json").json()["threads"]:
        if not thread["tid"]:
            continue
        pcs = []
        for frame in thread["frames"]:
            if frame["kind"] != "native":
                break
            pcs.append(number(frame["pc"]))
        stacks[thread["tid"]] = (pcs, len(pcs) == len(thread["frames"]))
    return stacks


class EuStack(harness.TestCase):
    def compare(self, what, options, at_least):
        before = eu_stack(*options)
        ours = hangscope_stacks(what)
        after = eu_stack(*options)
        compared, different = 0, []
        for tid, theirs in before.items():
            if after.get(tid) != theirs:
                continue
            pcs, whole = ours.get(tid, ([], True))
            compared += 1
            # Below Java frames eu-stack guesses on, so only our native part can be equal.
            if pcs != (theirs if whole else theirs[: len(pcs)]) or not pcs:
                different.append(f"{tid}\n eu-stack:  {[hex(p) for p in theirs]}\n hangscope: {[hex(p) for p in pcs]}")
        if different:
            self.fail(f"{len(different)} of {compared} threads differ on {what}\n" + "\n".join(different[:10]))
        self.assertGreaterEqual(compared, at_least)
        print(f"{what}: {compared} threads equal")

    def check(self, name, jdk=None, at_least=1):
        with harness.temp_dir() as tmp, harness.Sample(name).start(jdk) as target:
            self.compare(target.pid, ["-p", target.pid], at_least)
            core = harness.gcore(target.pid, tmp)
            exe = f"/proc/{target.pid}/exe"
            self.compare(core, ["--core", core, "-e", exe], at_least)
            target.assert_running(self)

    def test_pthread_cycle(self):
        self.check("pthread-cycle", at_least=4)

    def test_jvm_17(self):
        self.check("loader-lock-vs-link-old-verifier", harness.need_jdk("17"), at_least=10)

    def test_jvm_21_0_2(self):
        self.check("loader-lock-vs-link-old-verifier", harness.need_jdk("21.0.2"), at_least=10)


if __name__ == "__main__":
    harness.main()
