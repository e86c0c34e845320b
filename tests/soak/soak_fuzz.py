#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A campaign of the real afl-fuzz in which everything goes wrong: runs crash,
hang and reset the machine, and QEMU itself is killed at random moments.

All of it has to be recorded, runs have to go on, and nothing may grow or be
left over.
"""

import contextlib
import glob
import os
import random
import re
import signal
import sys
import time

from soak import descriptors, memory_kib
# Their directory is added by that.
from campaign import Campaign, descendants, remove_segments, run_for
from tap import Tap, becomes, equal
from vm import children, gone, payload

LOOK_S = 1
SETTLED_S = 2           # of a QEMU
BURIED_S = 5            # a process that has ended; a busy host takes its time
MAX_GROWTH_KIB = 2048
PATIENCE_S = 200        # without a run; afl-fuzz tells once a minute
KILL_EVERY_S = 2        # on average, but not more often than so all in all,
KILLS = 200             # as one in some thousands is between two instructions

# The words of the payload that have it crash, hang, and be reset
WORDS = 'crash="crash"\nhang="hang"\nreset="reset"\n'
SEEDS = (b"cras", b"ha", b"rese", b"x")
LIMIT_MS = "40"         # of a run; afl-fuzz tries longer before it says hang

# What afl-fuzz records: the signal by which a run ended, or a time-out
PLANTED = {"crash": "crashes/.*sig:11", "reset": "crashes/.*sig:01",
           "hang": "hangs/", "QEMU": "crashes/.*sig:0[69]"}


class Watch:
    """What a process has, from when it has settled until it ends."""

    def __init__(self):
        self._first = {}
        self.worst = 0

    def look(self, pid):
        """Compare a process with what it was at the first look."""
        now = (memory_kib(pid), descriptors(pid))
        first = self._first.setdefault(pid, now)
        self.worst = max(self.worst, now[0] - first[0])
        if now[0] - first[0] > MAX_GROWTH_KIB:
            raise AssertionError(f"process {pid} grew from {first[0]} to "
                                 f"{now[0]} KiB")
        if now[1] > first[1] + 1:
            raise AssertionError(f"process {pid} had {first[1]} open files, "
                                 f"and has {now[1]}")


def recorded(out):
    """Which of PLANTED have been recorded."""
    names = [f"{kind}/{name}" for kind in ("crashes", "hangs")
             for name in os.listdir(os.path.join(out, kind))
             if name.startswith("id:")]
    return {what for what, pattern in PLANTED.items()
            if any(re.match(pattern, name) for name in names)}


def zombies(pids):
    """Those that have ended, and nobody has asked how."""
    found = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    found.append(pid)
        except FileNotFoundError:
            pass
    return found


def waits(pid):
    """What each thread of a process and of its descendants waits for."""
    found = []
    for each in [pid, *descendants(pid)]:
        for thread in glob.glob(f"/proc/{each}/task/*"):
            words = []
            for name in ("comm", "wchan", "syscall"):
                with contextlib.suppress(OSError), \
                        open(os.path.join(thread, name),
                             encoding="ascii") as file:
                    words.append(file.read().strip())
            found.append(f"{thread}: {' '.join(words)}")
    return "\n".join(found)


class Soak:
    """A campaign that is watched."""

    def __init__(self, campaign, chance, seconds):
        self._campaign = campaign
        self._half = time.monotonic() + seconds / 2
        self._end = time.monotonic() + seconds
        self._kill = LOOK_S / max(KILL_EVERY_S, seconds / KILLS)
        self._chance = chance
        self._watch = Watch()
        self._execs = (0, time.monotonic())
        self._born = {}
        self.killed = 0
        self.seen = set()

    def _check_runs(self):
        runs = self._campaign.runs()
        last, since = self._execs
        if runs != last:
            self._execs = (runs, time.monotonic())
        elif time.monotonic() - since > PATIENCE_S:
            raise AssertionError(f"no run for {PATIENCE_S} s, after {runs}\n" +
                                 waits(self._campaign.process.pid))

    def _may_kill(self):
        """afl-fuzz tries what takes too long once more, for a second, and if
        QEMU is killed then it forgets it for good.
        """
        return (time.monotonic() > self._half or
                "hang" in recorded(self._campaign.out))

    def _check_processes(self, keeper):
        pids = descendants(keeper)
        self.seen.update(pids)
        self._watch.look(keeper)
        qemu = children(keeper)
        if not qemu:
            return
        born = self._born.setdefault(qemu[0], time.monotonic())
        if time.monotonic() > born + SETTLED_S:
            self._watch.look(qemu[0])
        becomes("processes that nobody has waited for",
                lambda: zombies(pids), [], BURIED_S)
        if self._may_kill() and self._chance.random() < self._kill:
            os.kill(qemu[0], self._chance.choice(
                (signal.SIGABRT, signal.SIGABRT, signal.SIGABRT,
                 signal.SIGKILL)))
            self.killed += 1

    def run(self):
        """Watch it to its end; raises if anything is wrong."""
        keeper = self._campaign.processes()[1]
        self.seen.add(keeper)
        while time.monotonic() < self._end:
            time.sleep(LOOK_S)
            if self._campaign.process.poll() is not None:
                raise AssertionError("afl-fuzz has ended:\n" +
                                     self._campaign.last_words())
            try:
                self._check_processes(keeper)
            except (FileNotFoundError, ProcessLookupError):
                pass            # it has just been killed, or afl-fuzz's did it
            self._check_runs()
        Tap.comment(f"QEMU killed {self.killed} times, growth "
                    f"{self._watch.worst} KiB at most")
        equal("keeper", children(self._campaign.process.pid), [keeper])


def check_soak(seconds, seed, work):
    """One campaign, from its start to its end."""
    chance = random.Random(seed)
    seeds, out = os.path.join(work, "seeds"), os.path.join(work, "out")
    os.mkdir(seeds)
    for data in SEEDS:
        with open(os.path.join(seeds, data.decode()), "wb") as file:
            file.write(data)
    words = os.path.join(work, "words")
    with open(words, "w", encoding="ascii") as file:
        file.write(WORDS)
    with Campaign(out, seeds, payload(), "-x", words,
                  limit=LIMIT_MS) as campaign:
        campaign.wait_for_runs()
        soak = Soak(campaign, chance, seconds)
        soak.run()
        # QEMU may just have been killed, but the keeper has the same.
        remove_segments(children(campaign.process.pid)[0])
        campaign.process.send_signal(signal.SIGINT)
        campaign.process.wait()
        left = [pid for pid in soak.seen if not gone(pid, 5)]
        equal("processes that are left", left, [])
    equal("recorded", recorded(campaign.out), set(PLANTED))
    Tap.comment(f"{campaign.runs()} runs")
    if campaign.runs() < 10 * seconds:
        raise AssertionError("hardly any runs")


def main():
    """Run the test."""
    return run_for("mixed campaign", check_soak, 1800)


if __name__ == "__main__":
    sys.exit(main())
