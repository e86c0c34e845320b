# SPDX-License-Identifier: GPL-2.0-or-later
"""The machines that are measured, and how they are started."""

import contextlib
import os
import sys
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "guest"))
import vm as guest    # noqa: E402  (its directory is added above)

PAYLOAD = os.path.join(guest.BUILD, "guest", "payload", "payload.elf")
DISK_MIB = 64
VIRTIO = "virtio-blk virtio-net"
DEVICE = "/machine/peripheral/snap"     # in QOM


@dataclass(frozen=True)
class Machine:
    """One machine, as the points of the result name it."""

    machine: str
    devices: str = ""       # that are added to those of the machine type
    vcpus: int = 1
    ram_mib: int = 512
    accel: str = "tcg"

    def title(self):
        """A few words for people."""
        extra = " + virtio-blk + virtio-net" if self.devices else ""
        return (f"{self.accel} {self.machine}{extra}, {self.vcpus} CPU, "
                f"{self.ram_mib} MiB")

    def options(self, disk, *disk_options):
        """The command line of QEMU; the disk is the file @disk."""
        options = ["-machine", self.machine, "-accel", self.accel,
                   "-smp", str(self.vcpus), "-m", str(self.ram_mib)]
        if self.devices:
            options += [
                "-drive", ",".join((f"file={disk}", "if=none", "id=disk",
                                    *disk_options)),
                "-device", "virtio-blk-pci,drive=disk",
                "-netdev", "user,id=net",
                "-device", "virtio-net-pci,netdev=net"]
        return options


def make_disk(work):
    """A disk for machines with virtio-blk, in the directory @work."""
    path = os.path.join(work, "disk.raw")
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.truncate(DISK_MIB << 20)
    return path


@contextlib.contextmanager
def linux(machine, work, *more):
    """The default guest, booted on @machine, with the snapshot device."""
    options = machine.options(make_disk(work), "format=raw")
    vm = guest.boot_linux(*options, "-device", "snapshot,id=snap", *more)
    with vm:
        if machine.devices:
            # As in use: a driver that is up has buffers in its queues.
            vm.must("for name in $(ls /sys/class/net); do "
                    "ip link set $name up; done")
        yield vm


def bare_metal(machine, work, engine, options):
    """The bare-metal payload, started on @machine with its own @options."""
    return guest.VM(
        *machine.options(make_disk(work), "format=raw"),
        "-device", f"snapshot,engine={engine}", "-kernel", PAYLOAD,
        "-device", "isa-debugcon,iobase=0xe9,chardev=console",
        "-append", f"tests=rate {options}")


def set_property(vm, name, value):
    """Set a property of the snapshot device, for the next save."""
    vm.qmp("qom-set", path=DEVICE, property=name, value=value)
