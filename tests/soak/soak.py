#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Restore a machine very often: nothing may grow, go back or go wrong.

The guest reads and writes its disk, sends a datagram and looks at its clock
between two restores.  Once a second the next restores are verified.
"""

import argparse
import os
import re
import sys
import time

from session import MACHINES, Session
from tap import Tap, equal

SETTLED = 1000              # restores, before memory is looked at
MAX_GROWTH_KIB = 1024
LOOK_S = 1
SAY_S = 10


def memory_kib(pid):
    """Resident memory of a QEMU, without translated code.

    That is in the one mapping that is writable and executable, whose size has
    a limit (tb-size); it is filled little by little.
    """
    total, code = 0, False
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                code = line.split()[1].startswith("rwx")
            elif line.startswith("Rss:") and not code:
                total += int(line.split()[1])
    return total


def descriptors(pid):
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Soak:
    """What was seen of one machine."""

    def __init__(self, session, restores):
        self._session = session
        self._restores = restores
        self._settled = None
        self.verified = 0

    def _sample(self):
        pid = self._session.vm.pid
        return memory_kib(pid), descriptors(pid)

    def _look(self):
        """Verify some; returns restores so far, memory, open files."""
        done = self._session.query()["restores"]
        self.verified += self._session.verify_some()
        now = self._sample()
        if self._settled is None and done >= SETTLED:
            self._settled = now
        return done, now

    def run(self):
        """Restore until the end; raises if anything is wrong."""
        start = said = time.monotonic()
        self._session.start(self._restores)
        end = last = None
        while not end:
            end = self._session.ended(LOOK_S)
            if end:
                break
            done, last = self._look()
            if time.monotonic() - said > SAY_S:
                said = time.monotonic()
                print(f"# {said - start:.0f} s: {done} of {self._restores} "
                      f"restores, {self.verified} verified; {last[0]} KiB, "
                      f"{last[1]} files", flush=True)
        equal("the end", end, f"exercise: ok {self._restores}")
        print(f"# {self._restores / (time.monotonic() - start):.0f} restores "
              "a second", flush=True)
        self._check_flat(last)

    def _check_flat(self, last):
        if not self.verified or not self._settled:
            raise AssertionError("it was over before it was looked at")
        growth = last[0] - self._settled[0]
        print(f"# {self.verified} restores verified; memory grew by {growth} "
              f"KiB, from {self._settled[0]}", flush=True)
        if growth > MAX_GROWTH_KIB:
            raise AssertionError(f"memory grew by {growth} KiB")
        equal("open files", last[1], self._settled[1])


def check_machine(machine, restores):
    """One machine, from its start to its end."""
    with Session(machine) as session:
        Soak(session, restores).run()
        session.vm.must("dmesg | grep -E 'BUG:|WARNING:|stall|lockup'; "
                        "[ $? = 1 ]")
        session.power_off()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--restores", type=int, default=1000000, metavar="N")
    parser.add_argument("machines", nargs="*", default=list(MACHINES),
                        help=f"of {', '.join(MACHINES)} (default: all)")
    args = parser.parse_args()
    tap = Tap()
    for machine in args.machines:
        try:
            tap.check(f"{machine}: {args.restores} restores", check_machine,
                      machine, args.restores, fatal=FileNotFoundError)
        except FileNotFoundError as error:
            return tap.bail_out(f"{error.filename} is missing: run 'make'")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
