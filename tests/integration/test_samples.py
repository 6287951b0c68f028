# SPDX-License-Identifier: Apache-2.0
"""Every sample on every JDK (on some only a few, see harness.SHORT_JDKS), live and from a core, against the sample's one expect.json."""

import json
import re
import unittest

import harness
import schema


def as_list(value):
    return value if isinstance(value, list) else [value]


class Samples(harness.TestCase):
    """One test method per sample and JDK, made below."""

    def check_sample(self, sample, jdk_name):
        jdk = harness.need_jdk(jdk_name) if jdk_name else None
        with harness.temp_dir() as tmp, sample.start(jdk) as target:
            signatures = {}
            with self.subTest(mode="live"):
                signatures["live"] = self.check_run(sample, jdk, "live", target.pid, tmp)
                target.assert_running(self)
            core = harness.gcore(target.pid, tmp)
            target.close()  # from here on the core stands alone
            with self.subTest(mode="core"):
                signatures["core"] = self.check_run(sample, jdk, "core", core, tmp)
            if len(signatures) == 2 and not sample.name.startswith("healthy"):
                self.assertEqual(signatures["live"], signatures["core"], "the signature depends on the mode")

    def check_run(self, sample, jdk, mode, what, tmp):
        expect = sample.expect(jdk, mode)
        json_file = tmp / f"{mode}.json"
        result = harness.hangscope(what, "--json-file", json_file)
        data = json.loads(json_file.read_text())
        report = harness.Report(data)
        context = f"{sample.name} {jdk or ''} {mode}\n{result}"

        self.assertEqual(schema.errors(data), [], context)
        self.assertEqual(data["schema"], "hangscope/1")
        self.assertEqual(data["target"]["kind"], mode, context)
        self.assertEqual(data["target"]["runtime"]["kind"], "hotspot" if sample.is_java else "native", context)
        self.assertIn(data["verdict"], as_list(expect["verdict"]), context)
        self.assertIn(result.status, as_list(expect["exit"]), context)
        for pattern in expect.get("text", []):
            self.assertRegex(result.out, pattern, context)
        found = {finding["id"] for finding in data["findings"]}
        self.assertEqual(found & set(expect["not_findings"]), set(), context)
        for wanted in expect["findings"]:
            self.check_finding(wanted, report, result, context)
        self.check_references(data, context)
        return sorted((f["id"], f["signature"]) for f in data["findings"])

    def check_finding(self, wanted, report, result, context):
        candidates = report.findings(wanted["id"])
        self.assertTrue(candidates, f"no finding {wanted['id']}: {context}")
        # Several findings may share an id; the one with our threads is meant, and each problem is reported once.
        names = set(wanted["threads"])
        ours = [f for f in candidates if names <= set(report.thread_names(f["threads"]))]
        self.assertEqual(
            len(ours), 1, f"threads {sorted(names)}: {[report.thread_names(f['threads']) for f in candidates]}\n{context}"
        )
        finding = ours[0]
        for key in ("severity", "certainty"):
            if key in wanted:
                self.assertEqual(finding[key], wanted[key], f"{key}: {context}")
        self.assertTrue(finding["confirmed"], context)
        if finding["cycle"]:
            walked = {report.threads[step["thread"]]["name"] for step in finding["cycle"]}
            self.assertEqual(walked - {None}, names, f"the threads of the cycle: {context}")
            self.assertEqual(len(finding["cycle"]), len(names) + wanted.get("unnamed", 0), context)
        behind = set(report.thread_names(finding["blocked"]))
        self.assertLessEqual(set(wanted.get("blocked", [])), behind, f"the threads behind it: {context}")
        self.assertFalse(names & behind, f"a thread of the problem itself is listed as behind it: {context}")
        resources = [report.resources[ref] for ref in finding["resources"]]
        self.assertLessEqual(set(wanted.get("resource_kinds", [])), {r["kind"] for r in resources}, context)
        self.assertLessEqual(set(wanted.get("classes", [])), {r["class"] for r in resources}, context)
        self.assertTrue(finding["why"] and finding["fix"] and finding["evidence"], f"why, fix, evidence: {context}")
        for pattern in wanted.get("text", []):
            self.assertRegex(result.out, pattern, context)

    def check_references(self, data, context):
        threads = {t["ref"] for t in data["threads"]}
        resources = {r["ref"] for r in data["resources"]}
        self.assertEqual(len(threads), len(data["threads"]), "thread references are unique")
        for thread in data["threads"]:
            refs = {thread["waits_for"], *thread["holds"]} - {None}
            refs |= {lock["resource"] for frame in thread["frames"] for lock in frame.get("locks", [])} - {None}
            self.assertLessEqual(refs, resources, context)
        for resource in data["resources"]:
            self.assertLessEqual({resource["owner"], *resource["waiters"]} - {None}, threads, context)


def add_tests():
    for sample in harness.samples():
        for jdk in harness.ALL_JDKS if sample.is_java else (None,):
            if harness.is_short(jdk) and sample.name not in harness.SHORT_SAMPLES:
                continue

            def test(self, sample=sample, jdk=jdk):
                self.check_sample(sample, jdk)

            name = re.sub(r"\W", "_", f"{sample.name}_{jdk}" if jdk else sample.name)
            setattr(Samples, f"test_{name}", test)


add_tests()


class Signatures(harness.TestCase):
    """The same bug has the same signature on every JDK."""

    def check_signature(self, name, finding_id):
        sample = harness.Sample(name)
        signatures = {}
        for jdk in harness.jdks().values():
            if jdk:
                with sample.start(jdk) as target:
                    report = harness.Report(harness.hangscope(target.pid, "--json").json())
                    signatures[jdk.name] = [f["signature"] for f in report.findings(finding_id)]
        if len(signatures) < 2:
            raise unittest.SkipTest("needs two JDKs")
        self.assertEqual(len({tuple(s) for s in signatures.values()}), 1, signatures)
        self.assertTrue(all(signatures.values()), signatures)

    def test_loader_lock(self):
        self.check_signature("loader-lock-vs-link-old-verifier", "class-loading.loader-lock-vs-link")

    def test_two_monitors(self):
        self.check_signature("two-monitors", "deadlock.cycle")


if __name__ == "__main__":
    harness.main()
