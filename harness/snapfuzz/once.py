# SPDX-License-Identifier: GPL-2.0-or-later
"""Inputs without a fuzzer, a run each: to size the map, to see a crash again."""

import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import SnapfuzzError, processes, qmp, symbols

# The guest's boot and all runs; seconds
PATIENCE = 300

# After so many seconds QEMU is asked how it is; if it does not answer for so
# many, it hangs.
ASK_AFTER, ANSWERS_WITHIN = 5, 20

# The device takes no larger map.
MAP_MAX = 8 << 20
MAP_MIN = 4096

# Where the guest does not number its edges but hashes them, so many bytes for
# each that the seeds have: fuzzing finds more, and few are to collide.
SPARSE = 32

END = re.compile(
    # What the guest has to say is indented.
    r"^(?! {4})(?P<name>.*): (?P<kind>done|crash|panic of the guest's kernel|"
    r"reset by the guest|shutdown by the guest|internal error of the "
    r"accelerator|halted for good|timeout)(?: (?P<code>\d+))?, "
    r"(?P<us>\d+) us, (?P<used>\d+) bytes of the map$", re.MULTILINE)
# In a QEMU that is built with sanitizers
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error: ")
MAP_USED = re.compile(r"^the target has (\d+) bytes of the map$", re.MULTILINE)

# The signals that a fuzzer hears of for each kind, as in the device's manual
SIGNALS = {"panic of the guest's kernel": signal.SIGABRT,
           "reset by the guest": signal.SIGHUP,
           "shutdown by the guest": signal.SIGTERM,
           "internal error of the accelerator": signal.SIGILL,
           "halted for good": signal.SIGALRM, "timeout": signal.SIGKILL}


class Stopped(Exception):
    """The user has had enough."""


@dataclass
class End:
    """How a run has ended."""
    name: str           # the file with the input
    words: str          # as QEMU says it: "crash 11"
    signal: int         # that a fuzzer would hear of; 0: none
    used: int = 0       # bytes of the map that are not zero


@dataclass
class Result:
    """What came of a QEMU with files as inputs."""
    ends: list
    map_used: int       # bytes, as the guest says; 0: it does not
    code: int           # QEMU's exit code, negative: of a signal
    output: str         # QEMU's standard output
    errors: str         # and its standard error
    console: str        # of the guest
    hangs: bool = False     # QEMU itself has hung, and was killed

    def crash_of_qemu(self):
        """The signal by which QEMU itself has crashed, as a fuzzer hears of
        it; 0: it has not.
        """
        if self.hangs:
            return signal.SIGKILL
        if self.code < 0:
            return -self.code
        return signal.SIGABRT if SANITIZER.search(self.errors) else 0


def parse_ends(output):
    """The End of each run in QEMU's standard output."""
    ends = []
    for match in END.finditer(output):
        kind, code = match["kind"], match["code"]
        number = int(code) if kind == "crash" else SIGNALS.get(kind, 0)
        ends.append(End(match["name"], f"{kind} {code}" if code else kind,
                        int(number), int(match["used"])))
    return ends


def parse_map_used(output):
    """How much of the map the guest says its code has, 0 if it does not."""
    match = MAP_USED.search(output)
    return int(match[1]) if match else 0


def map_size(map_used, seen):
    """The size of a map, in bytes, that is enough and no more.

    @map_used is what the guest says it has, 0 if its edges are hashed; @seen is
    the most that a seed has set.
    """
    wanted = map_used or seen * SPARSE
    size = MAP_MIN
    while size < wanted and size < MAP_MAX:
        size *= 2
    return size


class Late(Exception):
    """QEMU does not end; @hangs: nor does it answer."""

    def __init__(self, hangs):
        super().__init__()
        self.hangs = hangs


def wait(process, monitors, stopped):
    """Wait for QEMU to end; returns its standard output and standard error.

    Raises Late if it takes too long, and Stopped when @stopped() is true.
    """
    start = answered = time.monotonic()
    while True:
        try:
            return process.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            if stopped():
                raise Stopped from None
        now = time.monotonic()
        if now > start + ASK_AFTER:
            monitors.query("query-status")
        if now <= start + ASK_AFTER or not monitors.is_silent():
            answered = now
        if now > answered + ANSWERS_WITHIN or now > start + PATIENCE:
            raise Late(now > answered + ANSWERS_WITHIN)


def run(machine, inputs, timeout, stopped=lambda: False):
    """Boot the machine and have a run with each input.

    @inputs is a file or a directory; @timeout is the limit of a run, in ms.
    Raises Stopped as soon as @stopped() is true.
    """
    options = [f"seeds={str(inputs).replace(',', ',,')}"]
    if "timeout" not in machine.target.snapshot:
        options.append(f"timeout={timeout}")
    late = None
    with tempfile.TemporaryDirectory(prefix="snapfuzz-") as work:
        console, monitor = Path(work, "console"), Path(work, "monitor")
        console.touch()
        monitors = qmp.Monitors(monitor)
        process = processes.start(
            machine.command(*options, console=console, qmp=monitor),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace")
        try:
            output, errors = wait(process, monitors, stopped)
        except Late as error:
            late = error
        finally:
            processes.end(process, signal.SIGKILL)
            monitors.close()
        if late:
            output, errors = process.communicate()
        said = console.read_text(errors="replace")
    if late and not late.hangs:
        errors += f"not at its end after {PATIENCE} s\n"
    return Result(parse_ends(output), parse_map_used(output),
                  0 if late else process.returncode, output, errors, said,
                  bool(late and late.hangs))


def must_have_run(result):
    """Raise, with all that was said, if there was no run at all."""
    if result.ends or result.crash_of_qemu():
        return
    last = "\n".join(result.console.splitlines()[-15:])
    raise SnapfuzzError(
        "the guest has not had a run: see that 'run' of target.toml starts "
        "the target, and that it asks for inputs\n"
        f"QEMU (exit code {result.code}): {result.errors.strip()}\n"
        f"the guest's console, its last lines:\n{last}")


def size_map(machine, timeout, stopped):
    """Run the seeds and set the machine's map size, unless the target has.

    Returns the Result.
    """
    given = machine.map_size
    machine.map_size = given or MAP_MAX
    result = run(machine, machine.target.seeds, timeout, stopped)
    must_have_run(result)
    machine.map_size = given or map_size(
        result.map_used, max((end.used for end in result.ends), default=0))
    return result


def expected_signal(crash):
    """The signal in a name that afl-fuzz has given, or None."""
    match = re.search(r"\bsig:(\d+)", os.path.basename(crash))
    return int(match[1]) if match else None


def has_reproduced(result, expected):
    """Has the input done what it did before?

    @expected is the signal of that time; None if any is right.
    """
    got = result.crash_of_qemu()
    if not got and result.ends:
        got = result.ends[0].signal
    return bool(got) and expected in (None, got)


def report(result, target):
    """Print how a run has ended, and all that is known of it."""
    output = MAP_USED.sub("", result.output)
    output = re.sub(r"^\d+ runs, \d+ of them not just done$", "", output,
                    flags=re.MULTILINE).rstrip()
    if output:
        print(output)
    number = result.crash_of_qemu()
    if result.hangs:
        print("QEMU itself hangs: its monitor does not answer for "
              f"{ANSWERS_WITHIN} s")
    elif number:
        print(f"QEMU itself has crashed, by signal {number} "
              f"({signal.Signals(number).name})")
    lines = symbols.symbolise(
        output + result.errors + result.console, target.programs)
    for title, text in (
            ("where that is:", "\n".join(lines)),
            ("the guest's kernel:",
             "\n".join(symbols.kernel_lines(result.console))),
            ("QEMU:", result.errors.strip()),
            ("the guest's console:", result.console.strip())):
        if text:
            print(f"\n{title}")
            print("\n".join("    " + line for line in text.splitlines()))
