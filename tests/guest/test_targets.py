#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets of targets/ that are other people's programs: what their README.md
says is to be expected.
"""

import dataclasses
import os
import random
import re
import struct
import subprocess
import sys
from pathlib import Path

from campaign import find_crash, fuzz, results, run_checks
from tap import Skip, Tap, equal
from vm import BUILD, ROOT

sys.path.insert(0, os.path.join(ROOT, "harness"))
# Its directory is added above.
from snapfuzz import SnapfuzzError    # noqa: E402
from snapfuzz.machine import Machine, Places    # noqa: E402
from snapfuzz.target import read_target    # noqa: E402

TARGETS = os.path.join(ROOT, "targets")
SNAPFUZZ = os.path.join(BUILD, "bin", "snapfuzz")
OPERATIONS = os.path.join(TARGETS, "device", "operations")


def find_target(name):
    """The target of this name, as its target.toml has it."""
    try:
        return read_target(os.path.join(TARGETS, name), BUILD)
    except SnapfuzzError as error:
        if "could not be built" in str(error):
            raise Skip(str(error)) from None
        raise


def machine_of(bench, target):
    """The machine that runs a target."""
    initrd = Path(bench.path("initrd-" + target.name))
    machine = Machine(Places(Path(ROOT), Path(BUILD)), target, initrd)
    if not initrd.exists():
        machine.make_initrd()
    return machine


def check_exact(end, seeds, harmed=0):
    """All seeds were run, to a normal end, and restores were exact.

    In so many runs, at most, DMA may have harmed the guest's own program.
    """
    bad = {name: words for name, words in results(end.stdout).items()
           if words != "done 0"}
    if len(bad) > harmed or set(bad.values()) - {"done 1"}:
        raise AssertionError(f"ends: {bad}")
    equal("runs", len(results(end.stdout)), len(os.listdir(seeds)))
    equal("exit code", end.returncode, 0)
    if "restore is not exact" in end.stderr:
        raise AssertionError(end.stderr)


def check_expat_seeds(bench):
    """Each seed is parsed, and nothing of that is left behind."""
    target = find_target("expat")
    command = machine_of(bench, target).command(f"seeds={target.seeds}",
                                                "verify=on")
    check_exact(bench.run(command), target.seeds)


def check_expat_campaign(bench):
    """afl-fuzz gets ahead in it, and finds no bug."""
    target = find_target("expat")
    out, stats = fuzz(bench, str(target.seeds),
                      machine_of(bench, target).command("afl=on"),
                      "-E", "1000", "-x", str(target.dictionary))
    if int(stats["corpus_count"]) < len(os.listdir(target.seeds)) + 30:
        raise AssertionError("hardly anything was found")
    if int(stats["edges_found"]) < 800:
        raise AssertionError("too few edges")
    crashes = os.listdir(os.path.join(out, "crashes"))
    equal("crashes", [name for name in crashes if name.startswith("id:")], [])


def check_module(bench):
    """afl-fuzz finds what is wrong in a module of the guest's kernel, by its
    edges; the front end shows where that is.
    """
    target = find_target("module")
    out, stats = fuzz(bench, str(target.seeds),
                      machine_of(bench, target).command("afl=on"),
                      "-E", "20000", until_crash=True)
    if int(stats["edges_found"]) < 15:
        raise AssertionError("too few edges")
    end = bench.run([SNAPFUZZ, "repro", str(target.directory),
                     find_crash(bench, out, 6)])
    for words in (target.crash, "Kernel stack is corrupted in: unpack_label+",
                  ": unpack_label at ", "\nreproduced\n"):
        if words not in end.stdout:
            raise AssertionError(end.stdout + end.stderr)


def operations(way, file):
    """Have an input made into text, or the other way round."""
    return subprocess.run([OPERATIONS, way, file], check=True,
                          stdout=subprocess.PIPE).stdout


def check_operations(bench):
    """Inputs to text and back; what cannot be read is told."""
    text = bench.path("text")
    for seed in find_target("device").seeds.iterdir():
        with open(text, "wb") as file:
            file.write(operations("decode", seed))
        equal(seed.name, operations("encode", text), seed.read_bytes())
    with open(text, "wb") as file:
        file.write(b"wait 1 # and\nwrite4 bar1+0x20\n")
    end = bench.run([OPERATIONS, "encode", text])
    equal("exit code", end.returncode, 1)
    if "line 2: " not in end.stderr:
        raise AssertionError(end.stderr)


def ordinary_device(bench, **more):
    """The target device with the ordinary QEMU, which counts nothing of its
    own code; @more are other entries of target.toml.
    """
    entries = {"emulator": None, "snapshot": {}, **more}
    return machine_of(bench, dataclasses.replace(find_target("device"),
                                                 **entries))


def check_device_refused(bench):
    """A device that QEMU cannot migrate, and a QEMU that counts nothing."""
    machine = ordinary_device(bench, append="device=1234:11e8", qemu=[
        "-device", "edu", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"])
    end = bench.run(machine.command("seeds=/dev/null"))
    if end.returncode == 0 or "edu" not in end.stderr:
        raise AssertionError(f"{end.returncode}: {end.stderr}")
    end = bench.run(ordinary_device(bench).command("coverage=qemu"))
    equal("exit code", end.returncode, 1)
    if "instrument-qemu" not in end.stderr:
        raise AssertionError(end.stderr)


def check_device_seeds(bench):
    """Each seed is run; QEMU counts much, where it counts, and the guest less.
    """
    target = find_target("device")
    for machine, least in ((machine_of(bench, target), 20),
                           (ordinary_device(bench), 1)):
        end = bench.run(machine.command(f"seeds={target.seeds}", "verify=on"))
        check_exact(end, target.seeds)
        counts = [int(count) for count in re.findall(
            r"us, (\d+) bytes of the map", end.stdout)]
        if min(counts) < least or max(counts) < least + 3:
            raise AssertionError(f"coverage {counts}")


# More devices, by their PCI ids, with what QEMU needs for them
DISK = ["-drive", "if=none,id=disk,driver=null-co,size=1M"]
MORE_DEVICES = {
    "8086:10d3": ["-device", "e1000e"],
    "1000:0012": [*DISK, "-device", "lsi53c895a,id=bus", "-device",
                  "scsi-hd,drive=disk,bus=bus.0"],
    "1033:0194": ["-device", "nec-usb-xhci,id=bus", "-device",
                  "usb-kbd,bus=bus.0"],
}


def random_operation(numbers):
    """Some operation, as guest/payload/device.c takes them."""
    offset = numbers.randrange(4 ** numbers.randrange(3, 9)) & ~3
    value = numbers.choice((
        numbers.randrange(16), 1 << numbers.randrange(32),
        numbers.getrandbits(32), 0x3000000 + 16 * numbers.randrange(256)))
    # Of each eight, four write to registers, three to memory, and one reads.
    kind = numbers.choice((0, 0, 0, 0, 2, 2, 2, 1))
    return struct.pack("<BBHI", kind << 2 | numbers.choice((0, 1, 2, 2)),
                       numbers.randrange(6), offset, value)


def check_more_devices(bench):
    """Restores are exact, whatever state other devices are in."""
    numbers = random.Random(1)
    seeds = bench.inputs("random", {
        f"{n:03}": b"".join(random_operation(numbers)
                            for _ in range(numbers.randrange(1, 60)))
        for n in range(80)})
    for number, options in MORE_DEVICES.items():
        machine = ordinary_device(bench, append="device=" + number,
                                  qemu=options)
        Tap.comment(number)
        check_exact(bench.run(machine.command(f"seeds={seeds}", "verify=on")),
                    seeds, harmed=3)


def crashes_qemu(bench, file):
    """Does this input end QEMU, by the assertion that is known?"""
    end = bench.run(ordinary_device(bench).command(f"seeds={file}"))
    return end.returncode == -6 and "vmxnet3_setup_tx_offloads" in end.stderr


def flips_bits():
    """Does afl-fuzz with -D flip each bit?  Newer ones choose, and ignore it."""
    usage = subprocess.run(["afl-fuzz", "-h"], check=False, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return "-D flags are ignored" not in usage.stdout


def check_device_campaign(bench):
    """afl-fuzz finds an input that ends QEMU, by what QEMU counts of itself.
    Restores are exact after all that it has tried.
    """
    target = find_target("device")
    machine = machine_of(bench, target)
    known = bench.path("known")
    seed = (target.seeds / "packet").read_bytes()
    with open(known, "wb") as file:     # offload mode 1 of a descriptor
        file.write(seed.replace(struct.pack("<HI", 0x80c, 0x3000),
                                struct.pack("<HI", 0x80c, 0x3400)))
    if not crashes_qemu(bench, known):
        raise Skip("this QEMU does not have the bug")
    out, stats = fuzz(bench, bench.inputs("packet", {"packet": seed}),
                      machine.command("afl=on"), "-D", "-V", "200",
                      until_crash=True)
    crash = find_crash(bench, out, 6)
    if not crashes_qemu(bench, crash):
        raise AssertionError("the crash is not seen again")
    if flips_bits() and int(stats["execs_done"]) > 10000:
        raise AssertionError(f"{stats['execs_done']} runs are too many for a "
                             "flip of one bit")
    if int(stats["edges_found"]) < 150:
        raise AssertionError("too few edges")
    end = bench.run(machine.command(f"seeds={out}/queue", "verify=on"))
    equal("exit code", end.returncode, 0)
    equal("ends", set(results(end.stdout).values()), {"done 0"})
    if "restore is not exact" in end.stderr or len(results(end.stdout)) < 10:
        raise AssertionError(end.stdout + end.stderr)


def checks(tap, bench):
    """Run all checks."""
    tap.check("expat: seeds", check_expat_seeds, bench)
    tap.check("expat: afl-fuzz", check_expat_campaign, bench)
    tap.check("module: afl-fuzz", check_module, bench)
    tap.check("device: operations as text", check_operations, bench)
    tap.check("device: refused", check_device_refused, bench)
    tap.check("device: seeds", check_device_seeds, bench)
    tap.check("device: others", check_more_devices, bench)
    tap.check("device: afl-fuzz", check_device_campaign, bench)


def main():
    """Run the test."""
    return run_checks("targets", checks)


if __name__ == "__main__":
    sys.exit(main())
