# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that runs a target: its initramfs, and QEMU's command line."""

import hashlib
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import SnapfuzzError


def write_whole(path, data):
    """Write bytes to a file, which is there whole or as it was before."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def escape(text):
    """A value for a list of options of QEMU, where a comma is doubled."""
    return str(text).replace(",", ",,")


@dataclass(frozen=True)
class Places:
    """Where things are."""
    source: Path        # the project
    build: Path

    @property
    def qemu(self):
        """QEMU with the device; SNAPSHOT_QEMU may name another one."""
        return Path(os.environ.get("SNAPSHOT_QEMU") or
                    self.build / "bin" / "qemu-system-x86_64")

    @property
    def guest(self):
        """The directory with the default guest."""
        return self.build / "guest"

    @property
    def kernel(self):
        """The default guest's kernel."""
        return self.guest / "vmlinuz"

    @property
    def libfuzzer(self):
        """libFuzzer, linked with what drives a machine."""
        return self.build / "harness" / "libfuzzer" / "snapshot-fuzzer"

    @property
    def targets(self):
        """The directory with the project's targets."""
        return self.source / "targets"

    def missing(self):
        """What is needed for any target and is not there."""
        return [path for path in (self.qemu, self.kernel,
                                  self.guest / "busybox")
                if not path.exists()]


class Machine:
    """How the machine of a target is started."""

    def __init__(self, places, target, initrd, accel=None):
        self.places = places
        self.target = target
        self.initrd = initrd
        self.accel = accel
        self.map_size = target.snapshot.get("map-size")

    def make_initrd(self):
        """Write the guest's initramfs, if it has one."""
        if not self.target.run:
            return
        missing = self.places.missing()
        if missing:
            raise SnapfuzzError(f"{missing[0]} is missing: run 'make' in "
                                f"{self.places.source}")
        part = self.initrd.with_name(f".{self.initrd.name}.{os.getpid()}")
        command = [sys.executable,
                   self.places.source / "scripts" / "mkinitramfs.py",
                   "--guest", self.places.guest,
                   "--programs", self.places.guest, "--output", part]
        for program in self.target.programs:
            command += ["--add", program]
        if self.target.root:
            command += ["--root", self.target.root]
        try:
            done = subprocess.run(command, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True,
                                  check=False)
            if done.returncode:
                raise SnapfuzzError("no initramfs: " + done.stderr.strip())
            part.replace(self.initrd)
        finally:
            part.unlink(missing_ok=True)

    def digest(self):
        """Tells guests apart: text that differs where a guest does."""
        guest = hashlib.sha256(self.initrd.read_bytes())
        guest.update(shlex.join(self.command()).encode())
        return guest.hexdigest()

    def command(self, *properties, console=None, qmp=None):
        """QEMU's command line, with these properties of the device.

        @console is a file for the guest's serial console, @qmp the path of a
        socket that the monitor connects to.
        """
        target = self.target
        kernel_line = [target.append]
        command = [target.emulator or self.places.qemu,
                   "-machine", target.machine,
                   "-m", target.memory, "-smp", target.smp,
                   "-display", "none", "-nodefaults",
                   "-kernel", target.kernel or self.places.kernel]
        if target.run:
            kernel_line = ["quiet", target.append,
                           f'snapshot.run="{target.run}"']
            command += ["-initrd", self.initrd]
        if self.accel:
            command += ["-accel", self.accel]
        if console:
            if target.run:
                kernel_line.insert(0, "console=ttyS0")
            command += ["-chardev", f"file,id=console,path={escape(console)}",
                        "-serial", "chardev:console"]
        if qmp:
            command += ["-qmp", f"unix:{escape(qmp)}"]
        words = [word for word in target.properties()
                 if not word.startswith("map-size=")]
        if self.map_size:
            words.append(f"map-size={self.map_size}")
        command += ["-append", " ".join(filter(None, kernel_line)),
                    *target.qemu,
                    "-device", ",".join(["snapshot", *words, *properties])]
        return [str(word) for word in command]
