# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker of a campaign: afl-fuzz with a machine."""

import contextlib
import os
import shutil

from . import SnapfuzzError, figures

PROGRAM = "afl-fuzz"


def is_found(path):
    """Is a file of this name one that afl-fuzz has found?"""
    return path.name.startswith("id:")


def files_of(directory):
    """What afl-fuzz has put into one of its directories, and into those that
    it has put aside, with the time appended to the name, as it went on.
    """
    return sorted(path for place in (
        directory, *directory.parent.glob(directory.name + ".*"))
        for path in place.glob("*") if is_found(path))


def check():
    """Raise unless afl-fuzz is there."""
    if not shutil.which(PROGRAM):
        raise SnapfuzzError("afl-fuzz is not installed: install the package "
                            "afl++, or use --libfuzzer")


def environment(map_size, smp):
    """The environment of afl-fuzz, for a machine with @smp CPUs.

    What it wants of the host is for programs that it runs itself: a crash in
    the guest leaves no core.  It ends when it sees options of sanitizers that
    are meant for somebody else.  The guest may take ten minutes to boot.

    afl-fuzz and a machine with one CPU take turns, and wake each other up
    faster on one processor than on two, if there is a free one.
    """
    affinity = "AFL_TRY_AFFINITY" if smp == 1 else "AFL_NO_AFFINITY"
    inherited = {name: value for name, value in os.environ.items()
                 if not name.endswith("SAN_OPTIONS")}
    return {"AFL_SKIP_CPUFREQ": "1", "AFL_FORKSRV_INIT_TMOUT": "600000",
            **inherited, "AFL_NO_UI": "1",
            affinity: "1", "AFL_MAP_SIZE": str(map_size),
            "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1"}


class Worker:
    """What there is to know of one afl-fuzz."""

    # Exit codes after which it is started again
    again = ()

    def __init__(self, plan, index):
        """@plan is the campaign's Plan, and this is worker @index of it."""
        self.plan = plan
        self.name = plan.name(index)
        self.directory = plan.out / self.name
        self._is_main = index == 0 and plan.jobs > 1
        # It goes on counting where it was.
        self._execs_before = self._stats().get("execs_done", 0)

    def command(self, qmp):
        """The command line; @qmp is the path of the machine's monitor."""
        plan, target = self.plan, self.plan.machine.target
        # Begun before: go on with what was found.
        begun = bool(files_of(self.directory / "queue"))
        # One alone has better things to do than -M's deterministic steps.
        role = "-M" if self._is_main else "-S"
        command = [PROGRAM, "-i", "-" if begun else target.seeds, "-o",
                   plan.out, role, self.name, "-t", plan.timeout]
        if target.dictionary:
            command += ["-x", target.dictionary]
        if "input-size" in target.snapshot:
            command += ["-G", target.snapshot["input-size"]]
        return [*command, *plan.options, "--",
                *plan.machine.command("afl=on", qmp=qmp)]

    def environment(self):
        """The environment to start it in."""
        machine = self.plan.machine
        return environment(machine.map_size, machine.target.smp)

    def _stats(self):
        """The numbers in fuzzer_stats, by name; none if it is not there yet."""
        try:
            text = (self.directory / "fuzzer_stats").read_text(
                encoding="ascii", errors="replace")
        except FileNotFoundError:
            return {}
        numbers = {}
        for name, value in figures.parse_stats(text).items():
            # afl-fuzz may be just writing it; and not all are numbers.
            with contextlib.suppress(ValueError):
                numbers[name] = (float(value.rstrip("%")) if "." in value
                                 else int(value))
        return numbers

    def figures(self):
        """What it has reached."""
        found = figures.Figures(
            inputs=len(files_of(self.directory / "queue")),
            crashes=len(files_of(self.directory / "crashes")),
            hangs=len(files_of(self.directory / "hangs")))
        stats = self._stats()
        found.execs = max(0, stats.get("execs_done", 0) - self._execs_before)
        found.edges = stats.get("edges_found")
        found.stability = stats.get("stability")
        return found

    def crashes(self):
        """The files with inputs that crash."""
        return files_of(self.directory / "crashes")
