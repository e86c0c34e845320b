#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets of targets/ that are other people's programs: what their README.md
says is to be expected.
"""

import os
import re
import struct
import subprocess
import sys
import tempfile
import tomllib

import image
from cpio import Archive
from tap import Skip, Tap, equal
from test_fuzz import Bench, find_crash, fuzz, results
from vm import BUILD, QEMU, ROOT

TARGETS = os.path.join(ROOT, "targets")


def read_target(name):
    """The description of a target, and its directory."""
    directory = os.path.join(TARGETS, name)
    with open(os.path.join(directory, "target.toml"), "rb") as file:
        return tomllib.load(file), directory


def properties(target, *more):
    """Properties of the device, as a target wants them."""
    words = [f"{name}={value}" for name, value in
             target.get("snapshot", {}).items()]
    return ",".join([*words, *more])


def count_seeds(directory):
    """How many seeds a target has."""
    return len(os.listdir(os.path.join(directory, "seeds")))


def check_exact(end, seeds):
    """All seeds were run, to a normal end, and restores were exact."""
    equal("ends", results(end.stdout),
          {name: "done 0" for name in os.listdir(seeds)})
    equal("exit code", end.returncode, 0)
    if "restore is not exact" in end.stderr:
        raise AssertionError(end.stderr)


def expat_command(bench, *more):
    """A machine with Expat's harness in it."""
    target, directory = read_target("expat")
    program = target["programs"][0].replace("@build@", BUILD)
    if not os.path.exists(program):
        with open(program + ".skipped", encoding="ascii") as file:
            raise Skip(file.read().strip())
    initrd = bench.path("initrd-expat")
    if not os.path.exists(initrd):
        archive = Archive()
        archive.add_file("/bin/" + target["run"], program)
        image.write_initrd(initrd, archive)
    return bench.command(target["run"], properties(target, *more),
                         initrd=initrd), directory


def check_expat_seeds(bench):
    """Each seed is parsed, twice, and nothing is left behind."""
    _, directory = expat_command(bench)
    seeds = os.path.join(directory, "seeds")
    check_exact(bench.run(expat_command(
        bench, f"seeds={seeds}", "verify=on")[0]), seeds)


def check_expat_campaign(bench):
    """afl-fuzz gets ahead in it, and finds no bug."""
    command, directory = expat_command(bench, "afl=on")
    out, stats = fuzz(bench, os.path.join(directory, "seeds"), command,
                      "-E", "1000", "-x", os.path.join(directory, "dict"))
    if int(stats["corpus_count"]) < count_seeds(directory) + 30:
        raise AssertionError("hardly anything was found")
    if int(stats["edges_found"]) < 800:
        raise AssertionError("too few edges")
    crashes = os.listdir(os.path.join(out, "crashes"))
    equal("crashes", [name for name in crashes if name.startswith("id:")], [])


def device_command(options, emulator=None, more=()):
    """A machine whose guest accesses a device's registers."""
    target, directory = read_target("device")
    emulator = emulator or target["emulator"].replace("@build@", BUILD)
    return [emulator, "-m", str(target["memory"]), "-display", "none",
            "-nodefaults", "-kernel",
            target["kernel"].replace("@build@", BUILD),
            *(more or ["-append", target["append"], *target["qemu"]]),
            "-device", "snapshot," + options], directory


def operations(directory, way, file):
    """Have an input made into text, or the other way round."""
    return subprocess.run([os.path.join(directory, "operations"), way, file],
                          check=True, stdout=subprocess.PIPE).stdout


def check_operations(bench):
    """Inputs to text and back; what cannot be read is told."""
    _, directory = read_target("device")
    seeds = os.path.join(directory, "seeds")
    for name in os.listdir(seeds):
        seed = os.path.join(seeds, name)
        text = bench.path("text")
        with open(text, "wb") as file:
            file.write(operations(directory, "decode", seed))
        with open(seed, "rb") as file:
            equal(name, operations(directory, "encode", text), file.read())
    with open(text, "wb") as file:
        file.write(b"wait 1 # and\nwrite4 bar1+0x20\n")
    end = bench.run([os.path.join(directory, "operations"), "encode", text])
    equal("exit code", end.returncode, 1)
    if "line 2: " not in end.stderr:
        raise AssertionError(end.stderr)


def check_device_refused(bench):
    """A device that QEMU cannot migrate, and a QEMU that counts nothing."""
    edu = device_command("seeds=/dev/null", QEMU, [
        "-append", "device=1234:11e8", "-device", "edu",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"])[0]
    end = bench.run(edu)
    if end.returncode == 0 or "edu" not in end.stderr:
        raise AssertionError(f"{end.returncode}: {end.stderr}")
    end = bench.run(device_command("coverage=qemu", QEMU)[0])
    equal("exit code", end.returncode, 1)
    if "instrument-qemu" not in end.stderr:
        raise AssertionError(end.stderr)


def device_properties(*more):
    """The properties that the target has."""
    return properties(read_target("device")[0], *more)


def check_device_seeds(bench):
    """Each seed is run; QEMU counts much, where it counts, and the guest less."""
    seeds = os.path.join(TARGETS, "device", "seeds")
    for emulator, options, least in (
            (None, device_properties(f"seeds={seeds}", "verify=on"), 20),
            (QEMU, f"seeds={seeds},verify=on", 1)):
        end = bench.run(device_command(options, emulator)[0])
        check_exact(end, seeds)
        counts = [int(count) for count in re.findall(
            r"us, (\d+) bytes of the map", end.stdout)]
        if min(counts) < least or max(counts) < least + 3:
            raise AssertionError(f"coverage {counts}")


def crashes_qemu(bench, file):
    """Does this input end QEMU, by the assertion that is known?"""
    end = bench.run(device_command(f"seeds={file}", QEMU)[0])
    return end.returncode == -6 and "vmxnet3_setup_tx_offloads" in end.stderr


def check_device_campaign(bench):
    """afl-fuzz finds an input that ends QEMU, by what QEMU counts of itself.
    Restores are exact after all that it has tried.
    """
    _, directory = read_target("device")
    known = bench.path("known")
    with open(os.path.join(directory, "seeds", "packet"), "rb") as file:
        seed = file.read()
    with open(known, "wb") as file:     # offload mode 1 of a descriptor
        file.write(seed.replace(struct.pack("<HI", 0x80c, 0x3000),
                                struct.pack("<HI", 0x80c, 0x3400)))
    if not crashes_qemu(bench, known):
        raise Skip("this QEMU does not have the bug")
    out, stats = fuzz(bench, bench.inputs("packet", {"packet": seed}),
                      device_command(device_properties("afl=on"))[0],
                      "-D", "-V", "200", until_crash=True)
    crash = find_crash(bench, out, 6)
    if not crashes_qemu(bench, crash):
        raise AssertionError("the crash is not seen again")
    if int(stats["execs_done"]) > 10000:
        raise AssertionError("that is too many for a flip of one bit")
    if int(stats["edges_found"]) < 150:
        raise AssertionError("too few edges")
    queue = os.path.join(out, "queue")
    end = bench.run(device_command(
        device_properties(f"seeds={queue}", "verify=on"))[0])
    equal("exit code", end.returncode, 0)
    equal("ends", set(results(end.stdout).values()), {"done 0"})
    if "restore is not exact" in end.stderr or len(results(end.stdout)) < 10:
        raise AssertionError(end.stdout + end.stderr)


def main():
    """Run all checks."""
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="snapshot-targets-") as work:
        try:
            bench = Bench(work, "1")
        except FileNotFoundError as error:
            return tap.bail_out(f"{error.filename} is missing: run 'make'")
        tap.check("expat: seeds", check_expat_seeds, bench)
        tap.check("expat: afl-fuzz", check_expat_campaign, bench)
        tap.check("device: operations as text", check_operations, bench)
        tap.check("device: refused", check_device_refused, bench)
        tap.check("device: seeds", check_device_seeds, bench)
        tap.check("device: afl-fuzz", check_device_campaign, bench)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
