#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of AFL++, as they are, on a whole machine.

Most checks have the payload for a guest (guest/payload/fuzz.c), which boots in
no time.
"""

import os
import re
import signal
import subprocess
import sys

from campaign import (NEAR, afl_environment, figures, find_crash, fuzz, need,
                      run_checks)
from tap import Tap, becomes, equal
from vm import LONG_TIMEOUT, ROOT, payload

sys.path.insert(0, os.path.join(ROOT, "harness"))
from snapfuzz import doctor    # noqa: E402  (its directory is added above)

# For one input the tools need no fork server: this is for the boot, too.
TOOL_MS = "300000"


def records(bench):
    """The machine that runs the example."""
    return bench.command("fuzz-records", "afl=on")


def tool(bench, name, *args, code=0, data=b""):
    """Run a program of AFL++ to its end, which is to be @code, with this on its
    standard input.  Returns what it prints.
    """
    stdin = bench.write("stdin", data)
    with open(stdin, "rb") as file:
        end = bench.run([need(name), *args], stdin=file,
                        env={**afl_environment(), "AFL_QUIET": "1",
                             "AFL_NO_COLOR": "1", "AFL_ALLOW_TMP": "1"})
    if end.returncode != code:
        raise AssertionError(f"{name}: exit code {end.returncode}, expected "
                             f"{code}: {end.stdout}{end.stderr}")
    return end.stdout


def check_campaign(bench):
    """afl-fuzz finds the bug of the example, and it can be reproduced."""
    out, _ = fuzz(bench, bench.inputs("near", {"near": NEAR}), records(bench),
                  "-V", "200", until_crash=True)
    crash = find_crash(bench, out)
    end = bench.run(bench.command("fuzz-records", f"seeds={crash}"))
    if f"{crash}: crash " not in end.stdout:
        raise AssertionError(end.stdout + end.stderr)


def check_showmap(bench):
    """afl-showmap: one input, several inputs, an input that crashes."""
    maps = []
    options = ("-t", TOOL_MS, "-o", bench.path("map"), "--", *payload())
    for _ in range(2):
        tool(bench, "afl-showmap", *options, data=b"cras")
        maps.append(bench.read("map").decode())
    # One for each letter, and one for the input
    equal("bytes of the map", len(maps[0].splitlines()), 5)
    equal("second map", maps[1], maps[0])
    tool(bench, "afl-showmap", *options, data=b"crash", code=2)
    seeds = bench.inputs("shown", {"a": b"cras", "b": b"h", "c": b"hang"[:2]})
    tool(bench, "afl-showmap", "-t", TOOL_MS, "-i", seeds, "-o",
         bench.path("maps"), "--", *payload())
    equal("maps", sorted(os.listdir(bench.path("maps"))), ["a", "b", "c"])
    equal("map of the fork server", bench.read("maps/a").decode(), maps[0])


def check_handshake(bench):
    """The newest handshake that this AFL++ knows."""
    version = doctor.afl_version(bench.run([need("afl-fuzz"), "-h"]).stdout)
    Tap.comment("AFL++ %u.%02u" % version)
    end = bench.run(
        ["afl-showmap", "-t", TOOL_MS, "-i",
         bench.inputs("greeted", {"a": b"x"}), "-o", bench.path("greeting"),
         "--", *payload()], env={**afl_environment(), "AFL_DEBUG": "1"})
    for words in ("new fork server model v1 is up" if version >= (4, 20)
                  else "All right - fork server is up", "Target map size: 64"):
        if words not in end.stdout:
            raise AssertionError(end.stdout + end.stderr)


def check_cmin(bench):
    """afl-cmin keeps what adds coverage, the shortest of each."""
    seeds = bench.inputs("many", {
        str(i): data for i, data in enumerate([
            b"c", b"cr", b"crxx", b"cryyy", b"h", b"hzz"])})
    out = bench.path("few")
    tool(bench, "afl-cmin", "-t", TOOL_MS, "-i", seeds, "-o", out, "--",
         *payload())
    kept = sorted(bench.read(os.path.join("few", name))
                  for name in os.listdir(out))
    if b"cr" not in kept or b"h" not in kept or len(kept) > 3:
        raise AssertionError(f"kept: {kept}")


def check_tmin(bench):
    """afl-tmin leaves of an input that crashes what has it crash; with a map
    that is larger than its own at first, too.
    """
    long = bench.write("long", b"crash" + b"?" * 20)
    for device in ("", ",map-size=131072"):
        small = "small" + device
        tool(bench, "afl-tmin", "-t", TOOL_MS, "-i", long, "-o",
             bench.path(small), "--", *payload(device))
        equal("what is left", bench.read(small), b"crash")


def check_analyze(bench):
    """afl-analyze sees which bytes matter: two of eight."""
    text = tool(bench, "afl-analyze", "-t", TOOL_MS, "-i",
                bench.write("analyzed", b"crxxxxxx"), "--", *payload())
    share = re.search(r"Interesting bits: .*?([\d.]+)%", text)
    if not share or not 20 <= float(share[1]) <= 40:
        raise AssertionError(text)


class Fuzzer:
    """One of several that work together, in the background."""

    def __init__(self, bench, sync, name, *options, **more):
        self.out = os.path.join(sync, name[2:])
        self.process = subprocess.Popen(
            [need("afl-fuzz"), name[:2], name[2:], "-o", sync, *options,
             "-t", "5000", "--", *records(bench)],
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            env={**afl_environment(), "AFL_IMPORT_FIRST": "1", **more})

    def wait(self, figure):
        """Wait until a figure of it is not zero."""
        becomes(f"{figure} of {self.out} above zero",
                lambda: int(figures(self.out).get(figure, 0)) > 0, True,
                LONG_TIMEOUT)

    def stop(self):
        """Ctrl-C"""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(LONG_TIMEOUT)


def check_parallel(bench):
    """Two of them: each takes over what the other one has found."""
    sync = bench.path("sync")
    seeds = {"-Mfirst": b"RCn\x05hello", "-Ssecond": b"RCs\x05hello"}
    fuzzers = [Fuzzer(bench, sync, name, "-i",
                      bench.inputs(name, {"seed": data}))
               for name, data in seeds.items()]
    for fuzzer in fuzzers:
        fuzzer.wait("execs_done")
    for fuzzer in fuzzers:
        fuzzer.stop()
    # What they take over while they run comes half a minute later, or more.
    fuzzers = [Fuzzer(bench, sync, name, "-i", "-") for name in seeds]
    for fuzzer in fuzzers:
        fuzzer.wait("corpus_imported")
        fuzzer.stop()


def checks(tap, bench):
    """Make all checks."""
    every = (check_handshake, check_showmap, check_cmin, check_analyze,
             check_tmin, check_parallel, check_campaign)
    for check in every:
        tap.check(check.__name__.split("_", 1)[1], check, bench)


def main():
    """Run the test."""
    return run_checks("afl", checks)


if __name__ == "__main__":
    sys.exit(main())
