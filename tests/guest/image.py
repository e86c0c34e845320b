# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs of the tests: the default guest's and a few programs more."""

import os
import re
import shutil
import subprocess
import sys

from pathlib import Path

from vm import BUILD, ROOT, X86_64

sys.path.insert(0, os.path.join(ROOT, "scripts"))
# Their directory is added above.
from cpio import Archive    # noqa: E402
from mkinitramfs import add_modules, list_lines    # noqa: E402

PCIUTILS = ("lspci", "setpci")


def find_pciutils():
    """Return the paths of pciutils' programs on the host, or None."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin"
    found = [shutil.which(name, path=path) for name in PCIUTILS]
    return found if all(found) else None


def libraries(program):
    """Return the paths of the shared libraries that @program loads."""
    listing = subprocess.run(["ldd", program], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    return re.findall(r"(/\S+) \(0x", listing)


def test_programs():
    """Where meson has built the programs of tests/guest/programs."""
    return os.environ.get("SNAPSHOT_TEST_PROGRAMS",
                          os.path.join(BUILD, "tests", "guest"))


def write_initrd(path, archive, arch=X86_64):
    """Write the default guest's initramfs, with @archive in addition."""
    with open(arch.initrd, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        # The kernel looks for the next archive on a multiple of four.
        file.write(data + bytes(-len(data) % 4) + archive.to_bytes())


def add_more_modules(archive, arch, names):
    """Put kernel modules in @archive, and indexes of these and the default."""
    default = list_lines(Path(ROOT, "guest", "modules.list"))
    add_modules(archive, Path(arch.modules),
                [words[0] for _, words in default] + list(names))


def make_initrd(path, more=None):
    """Write the tests' initramfs to the file @path; @more says which programs
    of the host are to be where in the guest besides.
    """
    archive = Archive()
    for name, program in (more or {}).items():
        archive.add_file(name, program)
    for name in ("compare", "cover", "dirty", "ends", "loop", "magic-call"):
        archive.add_file("/bin/" + name, os.path.join(test_programs(), name))
    archive.add_file("/etc/udev/70-snapshot-device.rules", os.path.join(
        ROOT, "guest", "udev", "70-snapshot-device.rules"), 0o644)
    copied = set()
    for program in find_pciutils() or ():
        archive.add_file("/usr/bin/" + os.path.basename(program), program)
        copied.update(libraries(program))
    for library in sorted(copied):
        archive.add_file(library, library)
    write_initrd(path, archive)
