#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Campaigns whose machines are Arm's: a harness as for any other guest."""

import os
import sys

import afl_client
import image
from campaign import NEAR, Bench, find_crash, fuzz, results, run_checks
from cpio import Archive
from tap import Skip, equal
from vm import AARCH64, BUILD

# All of a program that is not moved when it is loaded
PROGRAM = "snapctl cover 0x400000 0x200000; fuzz-records"


class ArmBench(Bench):
    """Machines that have the harness of targets/records in them."""
    arch = AARCH64
    options = ("-machine", "virt,gic-version=3", "-cpu", "cortex-a57")

    def make_initrd(self):
        archive = Archive()
        archive.add_file("/bin/fuzz-records", os.path.join(
            BUILD, "targets", "records", "fuzz-records-arm64"))
        image.write_initrd(self.initrd, archive, self.arch)

    def command(self, program, options, *more, initrd=None):
        if not os.path.exists(self.arch.qemu):
            raise Skip(f"{self.arch.qemu} is not there")
        return super().command(program, options, *more, initrd=initrd)


def check_campaign(bench):
    """afl-fuzz finds the bug; restores are exact, also after its crash."""
    out, _ = fuzz(bench, bench.inputs("near", {"near": NEAR}),
                  bench.command("fuzz-records", "afl=on"), "-V", "200",
                  until_crash=True)
    crash = os.path.basename(find_crash(bench, out))
    inputs = {"a": NEAR, crash: bench.read(crash), "d": NEAR, "e": b""}
    end = bench.run(bench.command(
        "fuzz-records", f"seeds={bench.inputs('inputs', inputs)},verify=on"))
    ends = results(end.stdout)
    if not ends.pop(crash, "").startswith("crash "):
        raise AssertionError(end.stdout)
    equal("other ends", ends, {"a": "done 0", "d": "done 0", "e": "done 0"})
    if "restore is not exact" in end.stderr:
        raise AssertionError(end.stderr)


def check_coverage(bench):
    """What TCG counts comes in addition to what is compiled in, is the same
    each time, and tells of the way that an input takes.
    """
    maps = []
    with afl_client.Client(bench.command(
            PROGRAM, "afl=on,coverage=tcg")) as client:
        client.greet()
        for data in (b"RCn\x01x", b"-", b"RCn\x01x"):
            equal("status", client.run(data)[0], 0)
            maps.append(client.map.read(afl_client.MAP_SIZE))
    name, nothing, again = (len(each) - each.count(0) for each in maps)
    equal("edges, again", again, name)
    if not 20 < nothing < name:
        raise AssertionError(f"edges: {nothing} for nothing, {name}")


def checks(tap, bench):
    """Run all checks."""
    tap.check("afl-fuzz", check_campaign, bench)
    tap.check("edges that TCG counts", check_coverage, bench)


def main():
    """Run the test."""
    return run_checks("arm64", checks, make=ArmBench)


if __name__ == "__main__":
    sys.exit(main())
