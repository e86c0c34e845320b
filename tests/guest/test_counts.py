#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a restore costs, counted and not timed, so that load does not matter.

For each machine of counts.txt: system calls of QEMU (strace), sections of
device state that were serialised, and restores in which a TLB was flushed, with
Linux in the guest; instructions of the engine (valgrind's callgrind), with the
bare-metal payload.  Counts are
taken with few restores and with more; the difference is what restores cost,
whatever the rest of the run did.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
import machines    # noqa: E402  (its directory is added above)
import rate    # noqa: E402  (bench/machines.py adds its directory)
from tap import Skip, Tap    # noqa: E402
from vm import QEMU, TIMEOUT    # noqa: E402

LIMITS = os.path.join(ROOT, "tests", "guest", "counts.txt")
MARGIN = 1.5            # times what counts.txt says
SLACK = 0.5             # and this much, for what is next to nothing
# The main loop wakes up when it will, which a busy host makes it do more often.
CALLS_SLACK = 10
TRIES = 3               # the difference of two runs is noisy now and then
PAGES = 16
FEW, MANY = 200, 1200   # restores with Linux in the guest
FEW_BARE, MANY_BARE = 20, 120
# The function of the engine in which instructions are counted
COUNTED = "snapshot_carry_out"

MACHINES = {
    "pc": machines.Machine("pc", ram_mib=128),
    "pc+virtio": machines.Machine("pc", machines.VIRTIO, ram_mib=128),
    "q35": machines.Machine("q35", ram_mib=128),
}


def read_limits(text):
    """Return {machine: {what: number}} of the lines of counts.txt."""
    rows = [line.split() for line in text.splitlines()
            if line.strip() and not line.startswith("#")]
    heads = rows[0][1:]
    return {row[0]: dict(zip(heads, map(float, row[1:]), strict=True))
            for row in rows[1:]}


def format_limits(text, counts):
    """Return @text, of counts.txt, with other numbers."""
    comments = [line for line in text.splitlines() if line.startswith("#")]
    heads = list(next(iter(counts.values())))
    rows = [["machine", *heads]] + [
        [name, *(f"{max(row[head], 0):.1f}" for head in heads)]
        for name, row in counts.items()]
    lines = [rows[0][0].ljust(12) + "".join(cell.rjust(14)
                                            for cell in rows[0][1:])]
    lines += [row[0].ljust(12) + "".join(cell.rjust(14) for cell in row[1:])
              for row in rows[1:]]
    return "\n".join([*comments, *lines, ""])


def check_limit(what, count, noted):
    """Raise if @count is clearly more than was @noted."""
    slack = CALLS_SLACK if what == "syscalls" else SLACK
    limit = noted * MARGIN + slack
    if count < -slack:
        raise AssertionError(f"{count:.1f} {what} a restore: nothing but noise")
    if count > limit:
        raise AssertionError(
            f"{count:.1f} {what} a restore, at most {limit:.1f} expected; if "
            "that has to be, run tests/guest/test_counts.py --update")


# --- System calls ----------------------------------------------------------

def parse_strace(text):
    """The number of calls in the table that strace -c prints."""
    match = re.search(r"^100\.00\s+\S+\s+\S*\s+(\d+)\s+(?:\d+\s+)?total$", text,
                      re.M)
    if not match:
        raise ValueError(f"no table of strace in: {text}")
    return int(match[1])


def count_calls(vm, restores):
    """System calls of all threads of QEMU while the guest runs its loop."""
    command = ["strace", "-c", "-f", "-p", str(vm.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE,
                          text=True) as strace:
        first = strace.stderr.readline()    # when it has got hold of QEMU
        if "attached" not in first:
            strace.kill()
            raise Skip(f"strace cannot be used here: {first.strip()}")
        rate.measure(vm, restores, PAGES)
        strace.send_signal(signal.SIGINT)
        return parse_strace(strace.communicate(timeout=TIMEOUT)[1])


def syscalls(vm):
    """System calls a restore."""
    if not shutil.which("strace"):
        raise Skip("strace is not installed")
    few = count_calls(vm, FEW)
    return (count_calls(vm, MANY) - few) / (MANY - FEW)


def serialised(vm):
    """Sections of device state serialised, a restore."""
    rate.measure(vm, MANY, PAGES)
    query = vm.qmp("x-snapshot-device-query")
    return (sum(load["serialised"] for load in query["loads"])
            / query["restores"])


def flushed(vm):
    """Restores in which a TLB was flushed, of all."""
    query = vm.qmp("x-snapshot-device-query")
    return 1 - query["tlbs-kept"] / query["restores"]


# --- Instructions ----------------------------------------------------------

def count_instructions(machine, work, restores):
    """Instructions of the engine in a run of the payload."""
    command = [
        "valgrind", "--tool=callgrind", "--smc-check=all-non-file",
        f"--toggle-collect={COUNTED}",
        f"--callgrind-out-file={os.path.join(work, 'callgrind.out')}",
        QEMU, "-display", "none", "-nodefaults", "-no-reboot",
        *machine.options(machines.make_disk(work), "format=raw"),
        "-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4",
        "-device", "snapshot", "-kernel", machines.PAYLOAD,
        "-append", f"tests=rate dirty={PAGES} restores={restores}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=TIMEOUT)
    match = re.search(r"Collected : (\d+)", done.stderr)
    if f"rate: end {restores}\n" not in done.stdout or not match:
        raise AssertionError(f"{done.stdout}{done.stderr[-2000:]}")
    return int(match[1])


def instructions(machine, work):
    """Instructions of the engine a restore."""
    if not shutil.which("valgrind"):
        raise Skip("valgrind is not installed")
    few = count_instructions(machine, work, FEW_BARE)
    return ((count_instructions(machine, work, MANY_BARE) - few)
            / (MANY_BARE - FEW_BARE))


# --- All of them -----------------------------------------------------------

def check_counts(tap, name, machine, noted):
    """Compare what is counted with @noted.  Returns what was counted."""
    counts = {}

    def check(what, function, *args):
        for left in reversed(range(TRIES)):
            count = counts[what] = function(*args)
            tap.comment(f"{name}: {count:.1f} {what} a restore, "
                        f"{noted[what]:.1f} noted")
            try:
                check_limit(what, count, noted[what])
                return
            except AssertionError:
                if not left:
                    raise

    with tempfile.TemporaryDirectory(prefix="snapshot-counts-") as work:
        with machines.linux(machine, work) as vm:
            tap.check(f"{name}: syscalls", check, "syscalls", syscalls, vm)
            tap.check(f"{name}: serialised", check, "serialised", serialised,
                      vm)
            tap.check(f"{name}: flushed", check, "flushed", flushed, vm)
        tap.check(f"{name}: instructions", check, "instructions", instructions,
                  machine, work)
    return counts


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--update", action="store_true",
                        help="write what is counted to counts.txt")
    args = parser.parse_args()
    with open(LIMITS, encoding="utf-8") as file:
        text = file.read()
    noted = read_limits(text)
    tap = Tap()
    counts = {name: {**noted[name],
                     **check_counts(tap, name, machine, noted[name])}
              for name, machine in MACHINES.items()}
    if args.update:
        with open(LIMITS, "w", encoding="utf-8") as file:
            file.write(format_limits(text, counts))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
