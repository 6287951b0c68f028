# SPDX-License-Identifier: Apache-2.0
"""cpack: the Debian package in a clean minimal installation, and the archive of the static program."""

import os
import pathlib
import re
import shutil
import subprocess
import tarfile

import harness
import roots

BUILD = pathlib.Path(os.environ.get("HANGSCOPE_BUILD", harness.HANGSCOPE.parent)).absolute()
# What dpkg and man write about packages, not files of a package.
BOOKS = ("/var/lib/dpkg/", "/var/log/", "/var/cache/man/", "/var/cache/ldconfig/", "/etc/ld.so.cache", "/tmp/", "/proc/")
INSTALLED = (
    "/usr/bin/hangscope",
    "/usr/share/man/man1/hangscope.1",
    "/usr/share/bash-completion/completions/hangscope",
    "/usr/share/zsh/vendor-completions/_hangscope",
    "/usr/share/fish/vendor_completions.d/hangscope.fish",
    "/usr/share/doc/hangscope/LICENSE",
)


def run(command, **options):
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.RUN_TIMEOUT, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def files_below(root):
    found = set()
    for directory, names, files in os.walk(root):
        inside = "/" + os.path.relpath(directory, root).removeprefix(".").lstrip("/")
        found.update(os.path.join(inside, name) for name in names + files)
    return {path for path in found if not (path + "/").startswith(BOOKS)}


class Package(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("cpack") or not shutil.which("dpkg-shlibdeps"):
            raise harness.Unavailable("cpack or dpkg-shlibdeps is missing (packages cmake, dpkg-dev)")
        context = harness.temp_dir()
        cls.tmp = context.__enter__()
        cls.addClassCleanup(context.__exit__, None, None, None)
        run(["cpack", "-B", cls.tmp], cwd=BUILD)

    def test_debian(self):
        release = pathlib.Path("/etc/os-release").read_text()
        if "VERSION_CODENAME=bookworm" not in release:
            self.skipTest("a package that is built here is not for Debian 12")
        clean = roots.need("bookworm")
        content = self.tmp / "content"
        content.mkdir()
        packages = sorted(self.tmp.glob("*.deb"))
        self.assertEqual([re.sub(r"_.*", "", package.name) for package in packages], ["hangscope", "libhangscope-dev"])
        for package in packages:
            shutil.copy(package, content)
        harness.compile_c(harness.SAMPLES / "pthread-cycle/main.c", content / "target")
        with roots.Container(clean, content, ["/tmp/target"], is_copy=True) as target:
            before = files_below(target.root)
            self.assertGreater(len(before), 1000)
            self.check_installed(target, [f"/tmp/{package.name}" for package in packages])
            after = files_below(target.root)
        self.assertEqual(sorted(after - before), [], "left after dpkg -r")
        self.assertEqual(sorted(before - after), [], "lost by dpkg -r")

    def check_installed(self, target, packages):
        """Inside: dpkg refuses a package whose dependencies are not installed."""

        def execute(*command, status=0):
            done = target.execute("/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "MANPAGER=cat", *command)
            out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
            self.assertEqual(done.returncode, status, f"{command}\n{out}{err}")
            return out

        execute("dpkg", "-i", *packages)
        for path in INSTALLED:
            self.assertTrue((target.root / path[1:]).is_file(), path)
        self.assertRegex(execute("hangscope", "--version"), r"(?m)^  libthread_db  yes")
        self.assertIn("EXIT STATUS", execute("man", "hangscope"))
        self.assertRegex(execute("hangscope", "1", status=harness.EX_FINDINGS), r"(?m)^DEADLOCK  ")
        execute("dpkg", "-r", "hangscope")
        execute("dpkg", "-P", "libhangscope-dev")  # its script that calls ldconfig stays otherwise
        known = [line for line in execute("dpkg", "-l").splitlines() if "hangscope" in line]
        self.assertEqual(known, [])

    def test_archive(self):
        """One directory, and in it a program that is complete."""
        [archive] = self.tmp.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(self.tmp / "unpacked")
        [top] = (self.tmp / "unpacked").iterdir()
        self.assertTrue({"hangscope", "hangscope.1", "LICENSE", "README.md"} <= {path.name for path in top.iterdir()})
        self.assertRegex(run([top / "hangscope", "--version"]), r"(?m)^hangscope \d")
        self.assertNotIn("NEEDED", run(["readelf", "-dW", top / "hangscope"]))


if __name__ == "__main__":
    harness.main()
