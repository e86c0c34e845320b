# SPDX-License-Identifier: GPL-2.0-or-later
"""What a campaign has reached, and how that is told."""

import collections
import re
import shutil
import sys
import time
from dataclasses import dataclass, field

# Seconds between two lines where there is no terminal
LINE_SECONDS = 10
# Who has the time of a run, in turn
PARTS = ("fuzzer", "wake-up", "guest", "restore")


@dataclass
class Figures:
    """Of one worker, or of all.  None: not known yet."""
    execs: int = 0              # of this campaign, as restores and pages are
    restores: int = 0
    pages: int = 0              # put back by these restores
    inputs: int = 0             # that are kept, seeds included
    crashes: int = 0
    hangs: int = 0
    edges: int = None
    stability: float = None     # percent
    boot: float = None          # seconds until the guest had its first input
    # "ended": runs; each of PARTS: nanoseconds that it has taken
    runs: dict = field(default_factory=dict)


def total(figures):
    """The figures of all workers, from those of each."""
    def known(name):
        return [value for value in (getattr(each, name) for each in figures)
                if value is not None]

    return Figures(
        **{name: sum(getattr(each, name) for each in figures)
           for name in ("execs", "restores", "pages", "crashes", "hangs")},
        # Workers tell each other what they find.
        inputs=max((each.inputs for each in figures), default=0),
        edges=max(known("edges"), default=None),
        stability=min(known("stability"), default=None),
        boot=max(known("boot"), default=None),
        runs=add_up(each.runs for each in figures))


def add_up(dicts):
    """One with the sums of the numbers of all."""
    return dict(sum(map(collections.Counter, dicts), collections.Counter()))


def parse_stats(text):
    """The entries of afl-fuzz's fuzzer_stats, by name, as text."""
    return dict(re.findall(r"^(\w+)\s*: (.*?)\s*$", text, re.MULTILINE))


class Counter:
    """Adds up a number that begins at 0 again when a process is a new one."""

    def __init__(self):
        self._before = 0
        self._last = 0

    def update(self, value):
        """Take a new value; returns the sum."""
        if value < self._last:
            self._before += self._last
        self._last = value
        return self._before + self._last


class Watch:
    """Asks the QEMUs of a worker for their figures."""

    def __init__(self, monitors, persistent):
        """@persistent is how many runs there are for a restore."""
        self.monitors = monitors
        self._persistent = persistent
        self._start = time.monotonic()
        self._boot = None

    def add_to(self, figures):
        """Set what QEMU knows in the Figures of a worker."""
        answers = [answer for answer in
                   self.monitors.query("x-snapshot-device-query")
                   if answer["armed"]]
        if answers and self._boot is None:
            self._boot = time.monotonic() - self._start
        figures.restores = sum(answer["restores"] for answer in answers)
        figures.pages = sum(answer["pages-total"] for answer in answers)
        figures.boot = self._boot
        figures.runs = add_up(answer["runs"] for answer in answers)
        # What the fuzzer says comes rarely, and counts too.
        figures.execs = max(figures.execs,
                            figures.restores * self._persistent)


def clock(seconds):
    """A time as hours, minutes and seconds."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def describe(figures, rates, seconds):
    """A line with all figures, the most important first; @rates are execs/s and
    restores/s, @seconds is the time since the start.
    """
    if figures.boot is None:
        return f"{clock(seconds)}  the guests boot"
    pages = figures.pages / figures.restores if figures.restores else 0
    words = [clock(seconds),
             f"{figures.execs:,} execs ({rates[0]:,.0f}/s)",
             f"crashes {figures.crashes}", f"hangs {figures.hangs}",
             f"inputs {figures.inputs}"]
    if figures.edges is not None:
        words.append(f"edges {figures.edges}")
    if figures.stability is not None:
        words.append(f"stability {figures.stability:g} %")
    words += [f"{rates[1]:,.0f} restores/s", f"{pages:.1f} pages/run"]
    return "  ".join(words)


def describe_run(runs):
    """Where the time of a run goes, on average; there has been one."""
    times = [(name, runs[name] / 1000 / runs["ended"]) for name in PARTS]
    return (f"a run takes {sum(us for _, us in times):.1f} us: " + ", ".join(
        f"{name} {us:.1f}" for name, us in times))


class Progress:
    """Shows how a campaign is getting on: one line that changes on a terminal,
    else a line now and then.
    """

    def __init__(self, stream=sys.stdout, period=LINE_SECONDS):
        self._stream = stream
        self._period = period
        self._in_place = stream.isatty()
        self._start = self._shown_at = time.monotonic()
        self._last = None           # (time, execs, restores)
        self._is_shown = False

    def _rates(self, now, figures):
        """Executions and restores a second since the last time."""
        here = (now, figures.execs, figures.restores)
        last, self._last = self._last or here, here
        span = here[0] - last[0]
        if span <= 0:
            return 0.0, 0.0
        return tuple((here[i] - last[i]) / span for i in (1, 2))

    def show(self, figures):
        """Show the figures, if it is time to."""
        now = time.monotonic()
        if not self._in_place and now < self._shown_at + self._period:
            return
        self._shown_at = now
        line = describe(figures, self._rates(now, figures), now - self._start)
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r\033[K" + line[:width])
            self._is_shown = True
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def say(self, text):
        """Print something that stays."""
        if self._is_shown:
            self._stream.write("\r\033[K")
            self._is_shown = False
        self._stream.write(text + "\n")
        self._stream.flush()
