#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Coverage that the device counts by itself (coverage=tcg), and the targets of
targets/ that need it: a file system and a panic of the stock kernel.
"""

import os
import re
import subprocess
import sys
import time
import tomllib

import afl_client
from campaign import Bench, find_crash, fuzz, results, run_checks
from tap import equal
from vm import QEMU, ROOT

TARGETS = os.path.join(ROOT, "targets")
VFAT_SEEDS = os.path.join(TARGETS, "vfat", "seeds")
MAKE_SEEDS = os.path.join(TARGETS, "vfat", "make-seeds")


def run_of(target):
    """The guest's command line, as the target's description has it."""
    with open(os.path.join(TARGETS, target, "target.toml"), "rb") as file:
        return tomllib.load(file)["run"]


VFAT = run_of("vfat")
PANIC = run_of("panic")

# All of the kernel's own code, wherever it has put itself
KERNEL = ("set -- $(grep -w -e _stext -e _etext /proc/kallsyms | sort | "
          "cut -c1-16); cover 0x$1 $((0x$2 - 0x$1))")

# With -icount nothing depends on the host's time.
ICOUNT = ("-icount", "shift=1,sleep=off")

# Here an instruction takes so long that timer interrupts are 125,000 apart.
ICOUNT_SLOW = ("-icount", "shift=5,sleep=off")


def maps_of(command, inputs, pause=0.0):
    """Run each of the inputs, in order; returns their coverage maps.

    The machine waits for so many seconds in front of each.
    """
    maps = []
    with afl_client.Client(command) as client:
        client.greet()
        for data in inputs:
            time.sleep(pause)
            status = client.run(data)[0]
            equal("status", status, 0)
            maps.append(client.map.read(afl_client.MAP_SIZE))
    return maps


def edges(coverage):
    """How many edges a map has."""
    return len(coverage) - coverage.count(0)


def contents(directory):
    """What the files in a directory have in them, by name."""
    found = {}
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), "rb") as file:
            found[name] = file.read()
    return found


def check_refused(bench):
    """Where nothing is translated, nothing can be counted."""
    end = bench.run([QEMU, "-accel", "qtest", "-display", "none",
                     "-device", "snapshot,coverage=tcg"])
    if end.returncode != 1 or "use -accel tcg" not in end.stderr:
        raise AssertionError(f"{end.returncode}: {end.stderr}")


def check_ranges(bench):
    """The guest's command line tool, and what the device says to it."""
    script = ("snapctl cover 0x1000 0; echo A $?; "
              "snapctl cover 0xffffffff81000000 4096; echo B $?; "
              "for i in $(seq 2 64); do snapctl cover $i 1; done; "
              "snapctl cover 1 1; echo C $?; snapctl uncover; echo D $?; "
              "snapctl cover 1 1; echo E $?; "
              "snapctl cover-module no_such; echo F $?")
    end = bench.run(bench.command(script, "coverage=tcg"))
    equal("exit code", end.returncode, 0)
    with open(bench.path("console"), encoding="ascii") as file:
        results_of = re.findall(r"^([A-F] \d)\r?$", file.read(), re.M)
    equal("results", results_of, ["A 1", "B 0", "C 1", "D 0", "E 0", "F 1"])


def check_no_kcov(bench):
    """A kernel without KCOV is told as such, with what to use instead."""
    end = bench.run(bench.command("SNAPSHOT_KCOV=1 fuzz-filesystem vfat",
                                  "coverage=tcg"))
    equal("exit code", end.returncode, 0)
    with open(bench.path("console"), encoding="ascii") as file:
        console = file.read()
    for text in ("no KCOV (CONFIG_KCOV)", "coverage=tcg", "exit 1"):
        if text not in console:
            raise AssertionError(console)


def check_process(bench):
    """Edges of one process, or of all that run the same program."""
    found = {}
    for whose in ("here", "any"):
        maps = maps_of(bench.command("cover " + whose, "afl=on,coverage=tcg"),
                       [b"w", b"c", b"-", b"w"])
        found[whose] = [edges(coverage) for coverage in maps]
    work, child, nothing, again = found["here"]
    if not 0 < nothing < work or again != work:
        raise AssertionError(f"of this process: {found}")
    if not child + 3 < found["any"][1]:
        raise AssertionError(f"the child's are missing, or in both: {found}")


def check_interrupts(bench):
    """Interrupts take a long loop apart, and do not show in the map."""
    command = bench.command(KERNEL, "afl=on,coverage=tcg")
    maps = maps_of(command, [b"k"] + [b"s"] * 5)
    if edges(maps[0]) < 10:
        raise AssertionError(f"system calls: {edges(maps[0])} edges")
    equal("edges of interrupts", [edges(each) for each in maps[1:]], [0] * 5)


def check_switch(bench):
    """What the kernel goes on with at the end of an interrupt of another
    process counts.
    """
    maps = maps_of(bench.command("cover here", "afl=on,coverage=tcg"),
                   [b"w"] + [b"b"] * 5)
    work, *found = [edges(coverage) for coverage in maps]
    if min(found) < work:
        raise AssertionError(f"{work} edges, and with a switch {found}")


def check_cut(bench):
    """Where the end of a budget of instructions takes a block apart does not
    show in the map, and neither does it in blocks that access a device.
    """
    command = bench.command("cover program", "afl=on,coverage=tcg",
                            *ICOUNT_SLOW)
    maps = maps_of(command, [bytes((ord("t"), n)) for n in range(12)])
    if edges(maps[0]) < 10:
        raise AssertionError(f"{edges(maps[0])} edges")
    equal("bytes that differ", [sum(a != b for a, b in zip(each, maps[1]))
                                for each in maps[1:]], [0] * 11)


def check_exact(bench):
    """With -icount the same input has the same map: in each run, whatever ran
    before, after whatever pause, and in another process.
    """
    seeds = list(contents(VFAT_SEEDS).values())
    command = bench.command(VFAT, "afl=on,coverage=tcg", *ICOUNT)
    inputs = seeds * 8 + seeds[::-1] + seeds
    maps = maps_of(command, seeds * 8)
    maps += maps_of(command, inputs[len(maps):], pause=0.02)
    first = {}
    equal("runs that have another map",
          [at for at, (data, each) in enumerate(zip(inputs, maps))
           if first.setdefault(data, each) != each], [])


def check_seeds(bench):
    """Each seed is a file system, and garbage is none."""
    seeds = bench.path("seeds")
    subprocess.run([sys.executable, MAKE_SEEDS, seeds], check=True)
    equal("made again", contents(seeds) == contents(VFAT_SEEDS), True)
    garbage = os.path.join(seeds, "garbage")
    with open(garbage, "wb") as file:
        file.write(b"no file system" * 100)
    end = bench.run(bench.command(
        VFAT, f"seeds={seeds},coverage=tcg,verify=on"))
    os.remove(garbage)
    equal("ends", results(end.stdout), {
        "garbage": "done 1", **{name: "done 0" for name in contents(seeds)}})
    if "restore is not exact" in end.stderr:
        raise AssertionError(end.stderr)


def check_filesystem(bench):
    """afl-fuzz gets ahead in a file system of a kernel nobody has compiled."""
    _, stats = fuzz(bench, VFAT_SEEDS,
                    bench.command(VFAT, "afl=on,coverage=tcg"), "-E", "1500")
    if int(stats["corpus_count"]) <= len(os.listdir(VFAT_SEEDS)) + 5:
        raise AssertionError("nothing was found that is not in the seeds")
    if int(stats["edges_found"]) < 1000:
        raise AssertionError("too few edges")


def check_panic(bench):
    """afl-fuzz finds the input that has the kernel panic; it does so again."""
    out, _ = fuzz(bench, os.path.join(TARGETS, "panic", "seeds"),
                  bench.command(PANIC, "afl=on,coverage=tcg"),
                  "-V", "200", until_crash=True)
    crash = find_crash(bench, out, 6)
    with open(crash, "rb") as file:
        equal("input", file.read(3), b"BUG")
    end = bench.run(bench.command(PANIC, f"seeds={crash},coverage=tcg"))
    if f"{crash}: panic of the guest's kernel" not in end.stdout:
        raise AssertionError(end.stdout + end.stderr)


def checks(tap, bench):
    """Run all checks."""
    os.mkdir(bench.path("two"))
    two = Bench(bench.path("two"), "2")
    tap.check("refused without TCG", check_refused, bench)
    tap.check("ranges", check_ranges, bench)
    tap.check("no KCOV", check_no_kcov, bench)
    tap.check("one process, two vCPUs", check_process, two)
    tap.check("interrupts", check_interrupts, bench)
    tap.check("threads switched in interrupts", check_switch, bench)
    tap.check("blocks cut apart", check_cut, bench)
    tap.check("the same map each time", check_exact, bench)
    tap.check("vfat: seeds", check_seeds, bench)
    tap.check("vfat: afl-fuzz", check_filesystem, bench)
    tap.check("panic: afl-fuzz", check_panic, bench)


def main():
    """Run the test."""
    return run_checks("coverage", checks)


if __name__ == "__main__":
    sys.exit(main())
