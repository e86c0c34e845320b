# SPDX-License-Identifier: GPL-2.0-or-later
"""The machines of the matrix, and which devices each is tried with."""

from dataclasses import dataclass, replace

from devices import BOARD, CARDS, REFUSED, REFUSED_ARM, VIRTIO


@dataclass(frozen=True)
class Machine:
    """One row of the table, or several: one for each number of CPUs.

    Each of @sets is a machine of its own.  @append is for the kernel's command
    line.
    """
    name: str
    options: tuple
    sets: tuple
    smp: tuple = (1, 2, 4)
    arch: str = "x86_64"
    append: str = ""


PC = Machine("pc", ("-machine", "pc"), (
    VIRTIO, CARDS, BOARD + ("ide",), REFUSED))
Q35 = Machine("q35", ("-machine", "q35"), (VIRTIO, CARDS, BOARD, REFUSED))
MICROVM = Machine("microvm", (
    "-machine", "microvm,pcie=on,rtc=on,pit=on,pic=on"), (
    VIRTIO[:-1] + ("rtc",),),
    # Without KVM's clock, nothing on this machine tells how fast the TSC is.
    append="tsc_early_khz=2000000")
VIRT = Machine("virt", ("-machine", "virt,gic-version=3", "-cpu",
                        "cortex-a57"), (
    VIRTIO + ("pl031",), ("timer", "e1000e", "ahci", "xhci-keyboard",
                          "xhci-storage"), REFUSED_ARM), arch="aarch64")


def variant(machine, name, *options, smp, sets=slice(None)):
    """@machine with more options."""
    return replace(machine, name=f"{machine.name}, {name}",
                   options=machine.options + options, smp=smp,
                   sets=machine.sets[sets])


ICOUNT = ("-icount", "shift=3")
ONE_THREAD = ("-accel", "tcg,thread=single")

MACHINES = (
    PC, Q35, MICROVM, VIRT,
    variant(PC, "one thread", *ONE_THREAD, smp=(2,), sets=slice(1)),
    variant(PC, "icount", *ICOUNT, smp=(1, 2), sets=slice(1)),
    variant(Q35, "icount", *ICOUNT, smp=(1,), sets=slice(1, 2)),
    variant(VIRT, "icount", *ICOUNT, smp=(1,), sets=slice(1)),
)

# Each kind of machine, and each device, once or twice
SHORT = (
    replace(PC, smp=(2,), sets=(CARDS, ("edu", "tpm-tis"))),
    replace(Q35, smp=(2,), sets=(VIRTIO, BOARD)),
    replace(MICROVM, smp=(1,)),
    replace(VIRT, smp=(2,), sets=VIRT.sets[:1]),
)
