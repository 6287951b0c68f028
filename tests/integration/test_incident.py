# SPDX-License-Identifier: Apache-2.0
"""samples/spring-boot-incident: the published jars, started until they hang, live and from a core."""

import json

import harness
import schema
import test_samples

# Which class of ASM the two threads meet at is a matter of microseconds: the incident's in three of four hangs.
INCIDENT_CLASS = "reactor.tools.shaded.net.bytebuddy.jar.asm.ClassWriter"
MAX_HANGS = 8


class Incident(harness.TestCase):
    # {class that is being linked: {JDK: signature}}
    signatures = {}

    def check_incident(self, jdk_name):
        jdk, sample = harness.need_jdk(jdk_name), harness.Sample("spring-boot-incident")
        linked = [self.check_hang(sample, jdk)]
        while linked[-1] != INCIDENT_CLASS and len(linked) < MAX_HANGS:
            linked.append(self.check_hang(sample, jdk))
        self.assertIn(INCIDENT_CLASS, linked)

    def check_hang(self, sample, jdk):
        """One hang; returns the class that is being linked."""
        with harness.temp_dir() as tmp, sample.start(jdk) as target:
            live = self.check_report(sample, jdk, "live", target.pid, tmp)
            target.assert_running(self)
            core = harness.gcore(target.pid, tmp)
            target.close()  # from here on the core stands alone
            self.assertEqual(live, self.check_report(sample, jdk, "core", core, tmp))
        linked, signature = live
        others = self.signatures.setdefault(linked, {})
        others.setdefault(jdk.name, set()).add(signature)
        self.assertEqual(len(set.union(*others.values())), 1, f"one bug, several signatures: {others}")
        return linked

    def check_report(self, sample, jdk, mode, what, tmp):
        """Returns the class that is being linked, and the signature."""
        expect = sample.expect(jdk, mode)
        json_file = tmp / f"{mode}.json"
        result = harness.hangscope(what, "--json-file", json_file)
        data = json.loads(json_file.read_text())
        report = harness.Report(data)
        context = f"{sample.name} {jdk} {mode}\n{result}"

        self.assertEqual(schema.errors(data), [], context)
        self.assertEqual(data["target"]["kind"], mode, context)
        self.assertEqual((data["verdict"], result.status), (expect["verdict"], expect["exit"]), context)
        self.assertEqual({f["id"] for f in data["findings"]} & set(expect["not_findings"]), set(), context)
        wanted = expect["findings"][0]
        for pattern in [*expect["text"], *wanted["text"]]:
            self.assertRegex(result.out, pattern, context)
        found = report.findings(wanted["id"])
        self.assertEqual(len(found), 1, context)
        finding = found[0]
        for key in ("severity", "certainty"):
            self.assertEqual(finding[key], wanted[key], f"{key}: {context}")
        self.assertTrue(finding["confirmed"], context)
        self.assertEqual([issue["url"] for issue in finding["known"]], wanted["known"], context)
        names = report.thread_names(finding["threads"])
        self.assertLessEqual(set(wanted["threads"]), set(names), context)
        self.assertEqual((len(names), len(finding["cycle"])), (2, 2), context)
        resources = {r["kind"]: r for r in (report.resources[ref] for ref in finding["resources"])}
        self.assertEqual(set(resources), set(wanted["resource_kinds"]), context)
        self.assertLessEqual(set(wanted["classes"]), {r["class"] for r in resources.values()}, context)
        test_samples.Samples.check_references(self, data, context)
        return resources["class-link"]["class"], finding["signature"]


def add_tests():
    for jdk in ("21.0.2", "21"):

        def test(self, jdk=jdk):
            self.check_incident(jdk)

        setattr(Incident, f"test_incident_{jdk.replace('.', '_')}", test)


add_tests()

if __name__ == "__main__":
    harness.main()
