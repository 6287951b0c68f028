#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verbs and options are the same in --help, the man page and each completion. completions.py SOURCE_DIR HANGSCOPE"""

import pathlib
import re
import shutil
import subprocess
import sys


def of_help(text):
    """Verbs and options ("-o", "--json") that --help lists, each at the start of a line."""
    verbs = re.search(r"^Verbs:\n((?:  .*\n)+)", text, re.M)[1]
    options = []
    for line in re.findall(r"^  (-.*)$", text, re.M):
        options += re.findall(r"(?:^|, )(--?[a-z][a-z-]*)", line.split("  ")[0])
    return set(re.findall(r"^  ([a-z]+) ", verbs, re.M)), set(options)


def of_man(text):
    page, options = text.split(".Sh OPTIONS", 1)
    tags = re.findall(r"^\.It ((?:Fl .*))$", options.split(".Sh ", 1)[0], re.M)
    names = [name for tag in tags for name in re.findall(r"(?:Fl |, )(-?[a-z][a-z-]*)", tag)]
    return set(re.findall(r"^\.It Cm ([a-z]+)", page, re.M)), {f"-{name}" for name in names}


def of_bash(text):
    verbs = re.search(r"local verbs='([^']*)'", text)[1].split()
    return set(verbs), set(re.search(r"local options='([^']*)'", text)[1].split())


def of_zsh(text):
    verbs = re.findall(r"^\t\t'([a-z]+):", text, re.M)
    options = []
    for line in re.findall(r"^\t(['\"(].*-.*) \\$", text, re.M):
        spelled = re.search(r"\{(-[^}]*)\}", line)
        options += spelled[1].split(",") if spelled else re.findall(r"^(?:['\"](?:\([^)]*\))?)(--?[a-z-]+)", line)
    return set(verbs), set(options)


def of_fish(text):
    verbs = re.findall(r"-n __fish_use_subcommand -a ([a-z]+) ", text)
    lines = [line for line in text.splitlines() if re.search(r" -[sl] ", line)]
    options = [f"--{name}" for line in lines for name in re.findall(r" -l ([a-z-]+)", line)]
    options += [f"-{name}" for line in lines for name in re.findall(r" -s ([a-z]) ", line)]
    return set(verbs), set(options)


def main():
    root, hangscope = pathlib.Path(sys.argv[1]), sys.argv[2]
    text = subprocess.run([hangscope, "--help"], capture_output=True, text=True, check=True).stdout
    wanted = of_help(text)
    bad = 0
    for name, read in (
        ("cli/hangscope.1", of_man),
        ("cli/completions/hangscope.bash", of_bash),
        ("cli/completions/_hangscope", of_zsh),
        ("cli/completions/hangscope.fish", of_fish),
    ):
        found = read((root / name).read_text())
        for kind, here, there in zip(("verb", "option"), found, wanted):
            bad += len(here ^ there)
            for word in sorted(there - here):
                print(f"{name}: {kind} {word} of --help is missing")
            for word in sorted(here - there):
                print(f"{name}: {kind} {word} is not in --help")
    if not wanted[0] or not wanted[1]:
        print("--help lists no verbs or no options")
        bad += 1
    # Their own shells read them, where these are there.
    for shell, name in (("bash", "hangscope.bash"), ("zsh", "_hangscope"), ("fish", "hangscope.fish")):
        if shutil.which(shell):
            bad += subprocess.run([shell, "-n", root / "cli/completions" / name]).returncode != 0
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
