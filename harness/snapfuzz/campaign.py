# SPDX-License-Identifier: GPL-2.0-or-later
"""A campaign: workers, each a fuzzer with a machine, from start to end.

What is in the directory of a campaign:

  main/, worker2/, ...    afl-fuzz's own, as ever
  corpus/, crashes/       libFuzzer's
  machine/                the guest's initramfs, its map's size, and a lock
  log/                    what the fuzzers print
  summary.json            what the last campaign there has reached
"""

import contextlib
import fcntl
import hashlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import (SnapfuzzError, afl, figures, libfuzzer, once, processes)
from .machine import Machine, write_whole
from .qmp import Monitors

TICK = 0.2              # seconds between two looks at whether to end
SAMPLE = 1.0            # and between two looks at the workers
CRASHES_SHOWN = 10
LAST_WORDS = 8          # lines of what a worker has printed

# A worker that has found the same crash so many times gets no further.
SAME_CRASH_MAX = 3


@dataclass
class Plan:
    """What all workers of a campaign have in common."""
    machine: Machine
    out: Path
    jobs: int = 1
    timeout: int = 5000         # of a run, in milliseconds
    options: list = field(default_factory=list)     # more for the fuzzer
    fuzzer: Path = None         # libFuzzer, linked with what drives a machine

    @staticmethod
    def name(index):
        """What a worker is called."""
        return "main" if index == 0 else f"worker{index + 1}"

    def log(self, name):
        """The file with what a worker prints."""
        return self.out / "log" / f"{name}.log"

    @property
    def work(self):
        """A directory for what is made for the campaign."""
        return self.out / "machine"


class Running:
    """A worker and its process."""

    def __init__(self, worker, sockets):
        self.worker = worker
        self._qmp = sockets / worker.name
        persistent = worker.plan.machine.target.snapshot.get("persistent", 1)
        self.watch = figures.Watch(Monitors(self._qmp), max(1, persistent))
        self.process = None
        self._fruitless = 0         # ends in a row without a new crash
        self._crashes = 0

    def start(self):
        """Start the fuzzer."""
        worker = self.worker
        command = worker.command(self._qmp)
        log = worker.plan.log(worker.name)
        with open(log, "ab") as file:
            file.write(f"{shlex.join(map(str, command))}\n".encode())
            file.flush()
            self.process = processes.start(
                command, stdout=file, stderr=subprocess.STDOUT,
                env=worker.environment())

    def figures(self):
        """What it has reached."""
        found = self.worker.figures()
        self.watch.add_to(found)
        return found

    def goes_on(self):
        """Is there a process?  One that ends with each crash is started again.
        """
        code = self.process.poll()
        if code is None:
            return True
        if code not in self.worker.again:
            return False
        crashes = len(self.worker.crashes())
        self._fruitless = 0 if crashes > self._crashes else self._fruitless + 1
        self._crashes = crashes
        if self._fruitless >= SAME_CRASH_MAX:
            return False
        self.start()
        return True

    def close(self):
        """It is over."""
        self.watch.monitors.close()

    def last_words(self):
        """The end of what it has printed."""
        text = self.worker.plan.log(self.worker.name).read_text(
            errors="replace")
        # afl-fuzz has colours.
        lines = re.sub("\033\\[[0-9;?]*[a-zA-Z]", "", text).splitlines()
        return "\n".join(lines[-LAST_WORDS:])


def crashes_of(workers):
    """The inputs that crash, the first file with each; by worker and name."""
    seen = {}
    for worker in workers:
        for path in worker.crashes():
            digest = hashlib.sha256(path.read_bytes()).digest()
            seen.setdefault(digest, path)
    return list(seen.values())


class Campaign:
    """Sets up the workers, watches them, and ends them."""

    def __init__(self, plan, workers, limits, program="snapfuzz"):
        """@limits is a pair: seconds of fuzzing or None, and whether the first
        crash ends it.  @program is how the user calls snapfuzz.
        """
        self.plan = plan
        self.workers = workers
        self.seconds, self.until_crash = limits
        self.program = program
        self.progress = figures.Progress()
        self.sum = figures.Figures()
        self._signal = None
        self._running = []
        self._began = None          # when the first machine was ready
        self._ended = None
        self._crashes_before = 0    # in the directory, from earlier campaigns

    def stopped(self):
        """Has somebody asked for the end?"""
        return self._signal is not None

    def _on_signal(self, number, _):
        self._signal = number

    @contextlib.contextmanager
    def _signals(self):
        """While in this, signals ask for an end, and do not make one."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, self._on_signal) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before):
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _lock(self):
        """Have the directory for us alone."""
        self.plan.work.mkdir(parents=True, exist_ok=True)
        with open(self.plan.work / "lock", "w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SnapfuzzError(
                    f"{self.plan.out}: another campaign is running there: end "
                    "that, or choose another directory with -o") from None
            yield

    def run(self):
        """From start to end.  Returns the exit code."""
        with self._signals(), self._lock():
            (self.plan.out / "log").mkdir(exist_ok=True)
            # Paths of sockets have to be short.
            with tempfile.TemporaryDirectory(prefix="snapfuzz-") as sockets:
                try:
                    return self._run(Path(sockets))
                except once.Stopped:
                    self.progress.say("stopped before the campaign began")
                    return 0

    def _run(self, sockets):
        self._prepare()
        processes.adopt_orphans()
        self._running = [Running(worker, sockets) for worker in self.workers]
        self._crashes_before = figures.total(
            [worker.figures() for worker in self.workers]).crashes
        killed = 0
        try:
            for running in self._running:
                running.start()
            failed = self._watch()
        finally:
            self._ended = time.monotonic()
            self._sample()
            killed = processes.end_all(
                [running.process for running in self._running
                 if running.process])
        self._sample()
        for running in self._running:
            running.close()
        if killed:
            self.progress.say(f"{killed} processes had to be killed")
        self._summarise()
        return 1 if failed else 0

    def _prepare(self):
        """What takes some seconds before the first fuzzer is started."""
        machine = self.plan.machine
        self.progress.say(f"{machine.target.name}: making the guest's "
                          "initramfs")
        start = time.monotonic()
        machine.make_initrd()
        self._size_map()
        self.progress.say(
            f"map of {machine.map_size} bytes, {self.plan.jobs} "
            f"worker{'s' * (self.plan.jobs > 1)}, after "
            f"{time.monotonic() - start:.1f} s")
        self.plan.fuzzer = self.plan.fuzzer and libfuzzer.make_fuzzer(
            machine.places, machine.map_size, self.plan.work)

    def _size_map(self):
        """Find out how large the map has to be, unless it is known from an
        earlier campaign with the same guest.
        """
        machine = self.plan.machine
        path = self.plan.work / "map.json"
        guest = machine.digest()
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = json.loads(path.read_text(encoding="ascii"))
            if known["guest"] == guest:
                machine.map_size = known["map_size"]
                return
        self.progress.say("running the seeds once")
        result = once.size_map(machine, self.plan.timeout, self.stopped)
        for end in result.ends:
            if end.signal:
                self.progress.say(f"warning: seed {end.name}: {end.words}; "
                                  "better seeds are those that just end")
        write_whole(path, json.dumps(
            {"guest": guest, "map_size": machine.map_size}).encode())

    def _sample(self):
        self.sum = figures.total([each.figures() for each in self._running])
        if self._began is None and self.sum.boot is not None:
            self._began = time.monotonic()

    def _is_over(self):
        if self.stopped() or (self.until_crash and
                              self.sum.crashes > self._crashes_before):
            return True
        return bool(self.seconds and self._began and
                    time.monotonic() >= self._began + self.seconds)

    def _watch(self):
        """Until the end.  Returns whether no worker was able to go on."""
        going, next_look = list(self._running), 0
        crashes = self._crashes_before
        while not self._is_over():
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + SAMPLE
                self._sample()
                if self.sum.crashes > crashes:
                    self.progress.say(f"a crash: {self.sum.crashes} so far")
                crashes = self.sum.crashes
                self.progress.show(self.sum)
            for running in [each for each in going if not each.goes_on()]:
                going.remove(running)
                self.progress.say(f"{running.worker.name} has ended:\n"
                                  f"{running.last_words()}")
            if not going:
                return not self.stopped()
            time.sleep(TICK)
        return False

    def _summarise(self):
        """Say what was reached, and write it down."""
        if not self._began:
            self.progress.say("no guest has had an input")
        seconds = self._ended - self._began if self._began else 0
        rates = [number / seconds if seconds else 0
                 for number in (self.sum.execs, self.sum.restores)]
        if self._began:
            self.progress.say("in all: " + figures.describe(
                self.sum, rates, seconds))
            if self.sum.runs.get("ended"):
                self.progress.say(figures.describe_run(self.sum.runs))
            self.progress.say(f"the guests took {self.sum.boot:.1f} s to boot")
        found = crashes_of(self.workers)
        write_whole(self.plan.out / "summary.json", (json.dumps({
            **asdict(self.sum), "seconds": seconds, "execs_per_s": rates[0],
            "restores_per_s": rates[1], "map_size": self.plan.machine.map_size,
            "crash_files": [str(path) for path in found],
        }, indent=1) + "\n").encode())
        if not found:
            self.progress.say("no crashes")
            return
        self.progress.say("1 input that crashes; to see it again:"
                          if len(found) == 1 else f"{len(found)} inputs that "
                          "crash; to see one again:")
        for path in found[:CRASHES_SHOWN]:
            self.progress.say("  " + shlex.join(
                [self.program, "repro", str(self.plan.machine.target.directory),
                 str(path)]))
        if len(found) > CRASHES_SHOWN:
            self.progress.say(f"  and {len(found) - CRASHES_SHOWN} more")


def make_out(out):
    """The directory of a campaign, made if it has to be."""
    path = Path(out).resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SnapfuzzError(f"{path}: {error.strerror}: choose another "
                            "directory with -o") from error
    if shutil.disk_usage(path).free < 64 << 20:
        print(f"warning: {path}: less than 64 MiB free", file=sys.stderr)
    return path


def make_campaign(places, target, args, program="snapfuzz"):
    """The campaign that the options of the command line ask for."""
    if args.libfuzzer:
        libfuzzer.check(places)
    else:
        afl.check()
    out = make_out(args.output)
    machine = Machine(places, target, out / "machine" / "initramfs.cpio.gz",
                      args.accel)
    plan = Plan(machine, out, args.jobs, args.timeout, args.options,
                places.libfuzzer if args.libfuzzer else None)
    module = libfuzzer if args.libfuzzer else afl
    workers = [module.Worker(plan, index) for index in range(args.jobs)]
    return Campaign(plan, workers, (args.seconds, args.until_crash), program)
