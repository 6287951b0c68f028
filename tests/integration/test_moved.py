# SPDX-License-Identifier: Apache-2.0
"""A core whose JDK is gone: moved away, it gives the same lock graph; what only the files tell is a gap."""

import shutil

import harness

_SAMPLES = ("two-monitors", "monitor-and-reentrantlock", "clinit-cycle", "loader-lock-vs-link-old-verifier")


def graph(report):
    """What the report says of locks and Java stacks, without names of native code."""

    def frames(thread):
        return [
            (f["class"], f["method"], f["line"], [(lock["state"], lock["resource"]) for lock in f["locks"]])
            for f in thread["frames"]
            if f["class"]
        ]

    return {
        "verdict": report["verdict"],
        "findings": [(f["id"], f["certainty"], f["threads"], f["resources"]) for f in report["findings"]],
        "resources": [(r["ref"], r["kind"], r["address"], r["class"], r["owner"], r["waiters"]) for r in report["resources"]],
        "threads": [
            (t["ref"], t["name"], t["state"], t["waits_for"], t["holds"], frames(t)) for t in report["threads"]
        ],
    }


class Moved(harness.TestCase):
    def check(self, name):
        original = harness.need_jdk("21.0.2")
        source = harness.pathlib.Path(original.run).parent / "unpacked"
        with harness.temp_dir() as tmp:
            shutil.copytree(source, tmp / "jdk", symlinks=True)
            tools = next((tmp / "jdk").rglob("bin/java")).parent
            run = tmp / "run"
            run.write_text(f'#!/bin/sh\ntool=$1\nshift\nexec "{tools}/$tool" "$@"\n')
            run.chmod(0o755)
            with harness.Sample(name).start(harness.Jdk("21.0.2", str(run))) as target:
                core = harness.gcore(target.pid, tmp)
            before = harness.hangscope(core, "--json").json()
            (tmp / "jdk").rename(tmp / "gone")
            after = harness.hangscope(core, "--json").json()
        self.maxDiff = 4000
        self.assertTrue(before["findings"])
        self.assertEqual(graph(after), graph(before))
        gone = [m["path"] for m in after["modules"] if m["path"].endswith("libjvm.so")]
        self.assertTrue(gone)
        self.assertTrue(any("libjvm.so" in g["subject"] for g in after["gaps"]), "that libjvm.so is gone must be said")


for _name in _SAMPLES:
    setattr(Moved, f"test_{_name.replace('-', '_')}", lambda self, name=_name: self.check(name))

if __name__ == "__main__":
    harness.main()
