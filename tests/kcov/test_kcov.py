#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel with KCOV tells the fuzzer what it does and what it compares.

Needs the kernel that scripts/build-kcov makes.
"""

import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "guest"))
# Their directory is added above.
from campaign import Bench, fuzz, results   # noqa: E402
from tap import Tap, equal      # noqa: E402
from test_coverage import (ICOUNT, VFAT_SEEDS, contents,    # noqa: E402
                           edges, maps_of)
from vm import BUILD            # noqa: E402

KERNEL = os.path.join(BUILD, "kcov", "bzImage")
VFAT = "SNAPSHOT_KCOV=1 fuzz-filesystem vfat"

# Of the system call that reboots: with comparisons it takes about 2,000, and
# twelve bytes have to be right.
EXECUTIONS = "20000"


def command(bench, program, options, *more):
    """The command line of a machine with that kernel."""
    line = bench.command(program, options, *more)
    line[line.index("-kernel") + 1] = KERNEL
    return line


def find_crashes(out):
    """The files of a campaign's crashes."""
    crashes = os.path.join(out, "crashes")
    return [os.path.join(crashes, name) for name in os.listdir(crashes)
            if name.startswith("id:")]


def check_exact(bench):
    """The same input has the same edges, and there are many of them."""
    seeds = list(contents(VFAT_SEEDS).values())
    maps = maps_of(command(bench, VFAT, "afl=on,verify=on", *ICOUNT),
                   seeds * 3)
    for at, coverage in enumerate(maps):
        equal(f"run {at}", coverage == maps[at % len(seeds)], True)
    equal("number of maps", len(set(maps)), len(seeds))
    if min(edges(coverage) for coverage in maps) < 500:
        raise AssertionError([edges(coverage) for coverage in maps])
    without = maps_of(command(bench, "fuzz-filesystem vfat", "afl=on"),
                      seeds[:1])
    equal("edges without KCOV", edges(without[0]), 0)


def check_seeds(bench):
    """Each run ends as it does without, with all of the machine put back."""
    end = bench.run(command(bench, VFAT, f"seeds={VFAT_SEEDS},verify=on"))
    equal("ends", results(end.stdout),
          {name: "done 0" for name in contents(VFAT_SEEDS)})
    if "restore is not exact" in end.stderr:
        raise AssertionError(end.stderr)


def check_filesystem(bench):
    """afl-fuzz gets ahead in a file system, by edges of all of the kernel."""
    _, stats = fuzz(bench, VFAT_SEEDS,
                    command(bench, VFAT, "afl=on", *ICOUNT), "-E", "1000")
    if int(stats["corpus_count"]) <= len(os.listdir(VFAT_SEEDS)) + 5:
        raise AssertionError("nothing was found that is not in the seeds")


def check_comparisons(bench):
    """afl-fuzz -c finds numbers that only the kernel knows; by itself it does
    not.
    """
    seeds = bench.inputs("magic", {"seed": b"abcdefghijkl"})
    line = command(bench, "SNAPSHOT_KCOV=1 magic-call", "afl=on", *ICOUNT)
    out, _ = fuzz(bench, seeds, line, "-c", "0", "-E", EXECUTIONS,
                  until_crash=True)
    # It resets the machine, halts it or switches it off.
    crash, = find_crashes(out)
    with open(crash, "rb") as file:
        equal("first magic number", file.read(4), b"\xad\xde\xe1\xfe")
    _, stats = fuzz(bench, seeds, line, "-E", EXECUTIONS)
    equal("crashes without -c", stats["saved_crashes"], "0")


def main():
    """Run the test."""
    tap = Tap.from_arguments(__doc__)
    if not os.path.exists(KERNEL):
        return tap.bail_out(f"{KERNEL} is missing: run scripts/build-kcov")
    with tempfile.TemporaryDirectory(prefix="snapshot-kcov-") as work:
        bench = Bench(work, "1")
        tap.check("vfat: the same map each time", check_exact, bench)
        tap.check("vfat: seeds", check_seeds, bench)
        tap.check("vfat: afl-fuzz", check_filesystem, bench)
        tap.check("comparisons of the kernel", check_comparisons, bench)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
