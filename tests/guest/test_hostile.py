#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that does to the device what no driver would (guest/payload/hostile.c),
in a campaign.

The host is to be well: QEMU does not end, its monitor answers, runs go on, and
restores are exact.  With a QEMU that was built with sanitizers, they have
nothing to say.
"""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

import afl_client
from campaign import Monitor, run_for
from tap import Tap, equal
from vm import BUILD, LONG_TIMEOUT, QEMU, TIMEOUT

# Machines that take turns: properties of the device, and more options
MACHINES = (
    ("coverage=tcg", "-smp", "2"),
    ("verify=on", "-smp", "1"),
    ("persistent=3,engine=remap", "-smp", "3", "-machine", "q35"),
    ("verify=on,persistent=2", "-smp", "2"),
    ("coverage=tcg,map-size=4160,input-size=5000", "-smp", "1"),
    ("verify=on,engine=remap", "-accel", "tcg,thread=single", "-smp", "2"),
)

QUESTIONS = ("query-status", "x-snapshot-device-query", "query-cpus-fast")

RUN_MS = 60         # limit of a run, by the device
RUN_S = 20          # and by us: then QEMU does not get on
START_S = 10        # it may have lost its way before it asks for an input
LONGEST = 2000      # bytes of an input
ENDS = 8            # different ones, or one in so many runs:
RUNS_PER_END = 30


def machine(seed, properties, *options):
    """The command line of a hostile machine."""
    return [QEMU, "-display", "none", "-nodefaults", "-m", "72", "-kernel",
            os.path.join(BUILD, "guest", "payload", "payload.elf"),
            "-append", f"hostile={seed}", "-device",
            f"snapshot,timeout={RUN_MS},{properties}", *options]


def check_errors(file):
    """Raise if QEMU, or a sanitizer, has something to say."""
    file.seek(0)
    text = file.read().decode(errors="replace")
    bad = re.search(r"[^\n]*(?:starting another|no more runs|Sanitizer|"
                    r"runtime error|not exact|transition|hangs)[^\0]*", text)
    if bad:
        raise AssertionError(bad[0][:20000])


def disturb(monitor, chance):
    """Do what a user may do at any time."""
    what = chance.randrange(40)
    if what == 0:
        monitor.ask("stop")
        monitor.ask(chance.choice(QUESTIONS))
        monitor.ask("cont")
    elif what == 1:
        monitor.ask("x-snapshot-device-restore")
    elif what == 2:
        monitor.ask("system_reset")
    elif what < 8:
        monitor.ask(chance.choice(QUESTIONS))


class Count:
    """What has happened so far."""

    def __init__(self):
        self.runs = self.machines = 0
        self.ends = set()

    def run(self, client, monitor, chance):
        """One run.  Returns False if the guest never asks for an input."""
        data = chance.randbytes(chance.choice((0, 1, 30, LONGEST)))
        if not client.begun:
            client.begin(data)
            client.begun = True
        disturb(monitor, chance)
        if not client.wait_readable(RUN_S if client.runs else START_S):
            if client.runs:
                raise AssertionError(f"no run begins in {RUN_S} s")
            return False
        client.begun = False
        client.get()
        disturb(monitor, chance)
        if not client.wait_readable(RUN_S):
            raise AssertionError(f"no end of a run in {RUN_S} s")
        self.ends.add(afl_client.exited(client.get()))
        self.runs += 1
        client.runs += 1
        return True


def check_campaign(seed, row, seconds, count):
    """One machine for so many seconds."""
    chance = random.Random(seed)
    monitor = Monitor()
    properties, *options = row
    Tap.comment(f"--seed {seed}: {' '.join(row)}")
    with tempfile.TemporaryFile() as errors:
        command = machine(seed, "afl=on," + properties, *options,
                          *monitor.options)
        with afl_client.Client(command, keep=[monitor.fd],
                               stderr=errors) as client:
            client.begun = False
            client.runs = 0
            client.greet()
            end = time.monotonic() + seconds
            while time.monotonic() < end and count.run(client, monitor,
                                                       chance):
                pass
            check_errors(errors)
            info = monitor.ask("x-snapshot-device-query")
            monitor.ask("quit")
            code = client.process.wait(TIMEOUT)
        check_errors(errors)
    equal("exit code of QEMU", code, 0)
    equal("verify failures", info.get("verify-failures"), 0)
    count.machines += 1


def check_files(seed, work):
    """Files as inputs, to the last one: text and log are printed."""
    seeds = os.path.join(work, "seeds")
    if not os.path.isdir(seeds):
        os.mkdir(seeds)
        for i in range(60):
            with open(os.path.join(seeds, f"{i:02}"), "wb") as file:
                file.write(random.Random(i).randbytes(i * 50))
    with tempfile.TemporaryFile() as errors:
        end = subprocess.run(
            machine(seed, f"seeds={seeds},input-size=1000", "-smp", "2"),
            stdout=subprocess.PIPE, stderr=errors, check=False,
            timeout=LONG_TIMEOUT)
        check_errors(errors)
    if end.returncode not in (0, 1):
        raise AssertionError(f"exit code {end.returncode}")
    equal("runs", len(re.findall(rb"^\S+: .* bytes of the map$", end.stdout,
                                 re.MULTILINE)), 60)


def check_all(seconds, seed, work):
    """Machines take turns until the time is over."""
    count = Count()
    share = max(1.5, seconds / 30)
    end = time.monotonic() + seconds
    while time.monotonic() < end or count.machines < len(MACHINES):
        check_campaign(seed, MACHINES[count.machines % len(MACHINES)], share,
                       count)
        seed += 1
    check_files(seed, work)
    Tap.comment(f"{count.runs} runs of {count.machines} machines; "
                f"{len(count.ends)} ends: {', '.join(sorted(count.ends))}")
    signals = {f"signal {number:d}" for number in (
        signal.SIGHUP, signal.SIGKILL, signal.SIGTERM)}
    # With sanitizers there are far fewer runs.
    if not signals <= count.ends or len(count.ends) < min(
            ENDS, count.runs // RUNS_PER_END):
        raise AssertionError("hardly any ends")


def main():
    """Run the test."""
    return run_for("hostile guest", check_all, float(
        os.environ.get("SNAPSHOT_HOSTILE_SECONDS", "10")))


if __name__ == "__main__":
    sys.exit(main())
