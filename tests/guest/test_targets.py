#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets of targets/ that are other people's programs: what their README.md
says is to be expected.
"""

import os
import sys
import tempfile
import tomllib

import image
from cpio import Archive
from tap import Skip, Tap, equal
from test_fuzz import Bench, fuzz, results
from vm import BUILD, ROOT

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
                      "-E", "1500", "-x", os.path.join(directory, "dict"))
    if int(stats["corpus_count"]) < count_seeds(directory) + 30:
        raise AssertionError("hardly anything was found")
    if int(stats["edges_found"]) < 800:
        raise AssertionError("too few edges")
    crashes = os.listdir(os.path.join(out, "crashes"))
    equal("crashes", [name for name in crashes if name.startswith("id:")], [])


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
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
