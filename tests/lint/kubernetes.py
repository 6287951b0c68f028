#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""samples/kubernetes as far as it can be checked without a cluster, and README: the JSON and YAML can be read and have what
their kind needs, the Dockerfile builds what CMake knows, and each `hangscope` command in a code block uses verbs and options
that there are. kubernetes.py SOURCE_DIR HANGSCOPE"""

import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import completions  # noqa: E402

PROFILE_KEYS = {"runAsUser", "runAsGroup", "runAsNonRoot", "allowPrivilegeEscalation", "capabilities", "seccompProfile"}


def profiles(folder):
    """A custom profile of kubectl debug is a part of a container."""
    for path in sorted(folder.glob("*.json")):
        context = json.loads(path.read_text())["securityContext"]
        if not set(context) <= PROFILE_KEYS:
            yield f"{path.name}: unknown keys {set(context) - PROFILE_KEYS}"
        if not all(isinstance(name, str) for names in context["capabilities"].values() for name in names):
            yield f"{path.name}: capabilities are lists of names"
    added = json.loads((folder / "ptrace.json").read_text())["securityContext"]["capabilities"]
    if added != {"add": ["SYS_PTRACE"]}:
        yield f"ptrace.json: adds {added}"


def yaml_documents(text):
    """By PyYAML, or by a look at the top level."""
    try:
        import yaml
    except ImportError:
        documents = text.split("\n---\n")
        return [dict(re.findall(r"^(\w+):[ ]?(.*)$", document, re.M)) for document in documents]
    return list(yaml.safe_load_all(text))


def manifests(folder):
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text()
        if "\t" in text:
            yield f"{path.name}: a tab"
        kinds = [document.get("kind") for document in yaml_documents(text)]
        if kinds != ["Role", "RoleBinding"]:
            yield f"{path.name}: kinds {kinds}"
        for need in ("pods/ephemeralcontainers", "pods/attach", "pods/exec"):
            if need not in text:
                yield f"{path.name}: no rule for {need}"


def dockerfile(root):
    text = (root / "samples/kubernetes/Dockerfile").read_text()
    for source in re.findall(r"^COPY ([^-]\S*) ", text, re.M):
        if not (root / source).exists():
            yield f"Dockerfile: no {source}"
    cmake = (root / "cli/static.cmake").read_text() + (root / "CMakeLists.txt").read_text()
    for target in re.findall(r"--target (hangscope\w*)", text):
        if f"add_executable({target}" not in cmake:
            yield f"Dockerfile: no target {target}"
    for option in re.findall(r"-D(HS_\w+)=", text):
        if f"option({option} " not in cmake:
            yield f"Dockerfile: no option {option}"


def commands(root, name, verbs, options):
    """What stands behind `hangscope` in code blocks, up to the next shell word."""
    blocks = re.findall(r"^ *```\n(.*?)^ *```", (root / name).read_text(), re.M | re.S)
    for line in "\n".join(blocks).splitlines():
        for words in re.findall(r"(?:^|[ $('&;]|/tmp/)hangscope((?: +[^\s|&;>#')]+)*)", line):
            words = words.split()
            for word in words:
                if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options:
                    yield f"{name}: no option {word}: {line.strip()}"
            if words and re.fullmatch(r"[a-z]+", words[0]) and words[0] not in verbs and "kubectl cp" not in line:
                yield f"{name}: no verb {words[0]}: {line.strip()}"


def main():
    root, hangscope = pathlib.Path(sys.argv[1]), sys.argv[2]
    folder = root / "samples/kubernetes"
    text = subprocess.run([hangscope, "--help"], capture_output=True, text=True, check=True).stdout
    verbs, options = completions.of_help(text)
    bad = [*profiles(folder), *manifests(folder), *dockerfile(root)]
    for name in ("README.md", "samples/kubernetes/README.md"):
        bad += commands(root, name, verbs, options)
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
