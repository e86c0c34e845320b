#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snaprun: programs of the guest that know nothing of the device are run once
for each input.
"""

import os
import sys

import afl_client
from campaign import fuzz, results, run_checks
from tap import equal
from vm import ROOT

TARGET = os.path.join(ROOT, "targets", "gunzip")
SEEDS = os.path.join(TARGET, "seeds")
GUNZIP = "snaprun busybox gunzip -c"

# Ends as its input says
SCRIPT = ("snaprun sh -c 'read word; case $word in segv) kill -SEGV $$;; "
          "exit) exit 3;; say) echo some words;; "
          "exec) exec grep nothing /dev/null;; esac'")
ENDS = {"segv": "crash 11", "exit": "done 3", "say": "done 0",
        "exec": "done 1", "other": "done 0"}


def statuses(command, inputs):
    """What a fuzzer hears of each input, and the edges, as a set of bytes."""
    found = []
    with afl_client.Client(command) as client:
        client.greet()
        for data in inputs:
            found.append((afl_client.exited(client.run(data)[0]),
                          client.used_map()))
    return found


def check_ends(bench):
    """Exit codes, signals, another program, and what was printed."""
    seeds = bench.inputs("ends", {name: name.encode() + b"\n"
                                  for name in ENDS})
    end = bench.run(bench.command(SCRIPT, f"seeds={seeds},verify=on"))
    equal("ends", results(end.stdout), ENDS)
    for text in ("signal 11 (SEGV), code 0", "(busybox+0x", "some words"):
        if text not in end.stdout:
            raise AssertionError(f"no '{text}' in {end.stdout}")
    if "restore is not exact" in end.stderr:
        raise AssertionError(end.stderr)


def check_file(bench):
    """The input in a file, under a name of its own or none."""
    for name in ("", "-f /tmp/input.txt "):
        command = bench.command(f"snaprun {name}grep -q yes @@", "afl=on")
        got = [end for end, _ in statuses(command, [b"no", b"yes", b"", b"no"])]
        equal(f"ends with '{name}'", got,
              ["exit 1", "exit 0", "exit 1", "exit 1"])


def check_coverage(bench):
    """Edges of the program are counted: of the same run the same ones."""
    with open(os.path.join(SEEDS, "dynamic"), "rb") as file:
        seed = file.read()
    command = bench.command(GUNZIP, "afl=on,coverage=tcg")
    good, bad, again = statuses(command, [seed, b"x", seed])
    equal("ends", [good[0], bad[0]], ["exit 0", "exit 1"])
    differ = set(good[1]) ^ set(again[1])
    equal("edges that the same input has not always", differ, set())
    if len(good[1]) < len(bad[1]) + 50 or len(bad[1]) < 50:
        raise AssertionError(f"{len(good[1])} and {len(bad[1])} edges")


def check_campaign(bench):
    """afl-fuzz gets ahead in a program of the distribution."""
    _, stats = fuzz(bench, SEEDS, bench.command(GUNZIP, "afl=on,coverage=tcg"),
                    "-E", "500")
    if int(stats["corpus_count"]) < len(os.listdir(SEEDS)) + 5:
        raise AssertionError(f"{stats['corpus_count']} inputs")


def check_wrong(bench):
    """What cannot be run is told, and why."""
    for options, code, text in (
            ("", 2, "which program?"), ("-x ls", 2, "try 'snaprun --help'"),
            ("/nowhere/program", 1, "/nowhere/program: No such file"),
            ("-f /nowhere/file cat @@", 1, "/nowhere/file: No such file")):
        bench.run(bench.command(f"snaprun {options}", "seeds=/dev/null"))
        console = bench.read("console").decode(errors="replace")
        for part in (text, f"snapshot.run: exit {code}"):
            if part not in console:
                raise AssertionError(f"{options}: {console}")


def checks(tap, bench):
    """All of them"""
    tap.check("ends of a program", check_ends, bench)
    tap.check("an input in a file", check_file, bench)
    tap.check("edges of a program", check_coverage, bench)
    tap.check("a campaign", check_campaign, bench)
    tap.check("wrong options", check_wrong, bench)


if __name__ == "__main__":
    sys.exit(run_checks("snaprun", checks))
