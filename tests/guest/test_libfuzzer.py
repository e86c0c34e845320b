#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libFuzzer, which drives a machine by way of harness/libfuzzer.

Most checks have the payload for a guest (guest/payload/fuzz.c), which boots in
no time.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from campaign import descendants
from tap import Tap, equal
from vm import (BUILD, LONG_TIMEOUT, QEMU, ROOT, TIMEOUT, X86_64, children,
                gone, payload)

LIBRARY = os.path.join(ROOT, "harness", "libfuzzer")
BUILT = os.path.join(BUILD, "harness", "libfuzzer")
FUZZER = os.path.join(BUILT, "snapshot-fuzzer")
SEEDS = os.path.join(ROOT, "targets", "records", "seeds")

TEXT = "\n    the word is crash\n"

# Exit codes of libFuzzer
CRASH, TIMED_OUT = 77, 70


def linux():
    """One that runs the example."""
    return [QEMU, "-display", "none", "-nodefaults", "-m", "256",
            "-kernel", X86_64.kernel, "-initrd", X86_64.initrd,
            "-append", "quiet snapshot.run=fuzz-records",
            "-device", "snapshot,afl=on"]


class Bench:
    """A directory for each check, in which the fuzzer runs."""

    def __init__(self, work):
        self.work = work
        os.mkdir(work)

    def path(self, name):
        """A file of this check."""
        return os.path.join(self.work, name)

    def corpus(self, name, *inputs):
        """A directory with these inputs; returns its path."""
        path = self.path(name)
        os.mkdir(path)
        for i, data in enumerate(inputs):
            with open(os.path.join(path, str(i)), "wb") as file:
                file.write(data)
        return path

    def file(self, name, data):
        """A file with this in it; returns its path."""
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def start(self, machine, *args, fuzzer=FUZZER, **env):
        """Start the fuzzer; @machine is a command line, or None."""
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("SNAPSHOT_")}
        if machine:
            environment["SNAPSHOT_MACHINE"] = shlex.join(machine)
        return subprocess.Popen(
            [fuzzer, *args], cwd=self.work, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace", env={**environment, **env})

    def run(self, machine, *args, code=0, **more):
        """Run the fuzzer to its end, which is to be @code; returns its
        standard error.
        """
        process = self.start(machine, *args, **more)
        try:
            errors = process.communicate(timeout=LONG_TIMEOUT)[1]
        except subprocess.TimeoutExpired:
            for pid in [*descendants(process.pid), process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError(
                f"{args}: no end: {process.communicate()[1]}") from None
        if process.returncode != code:
            raise AssertionError(f"{args}: exit code {process.returncode}, "
                                 f"expected {code}: {errors}")
        return errors

    def artifact(self, kind):
        """The path of the one file that libFuzzer has written."""
        names = [name for name in os.listdir(self.work)
                 if name.startswith(kind + "-")]
        equal(f"number of files {kind}-*", len(names), 1)
        return self.path(names[0])


def contains(text, *parts):
    """Raise unless all @parts are in @text, in this order."""
    at = 0
    for part in parts:
        found = text.find(part, at)
        if found < 0:
            raise AssertionError(f"no {part!r} in: {text}")
        at = found + len(part)


def contents(directory):
    """What the files in a directory have in them, in order."""
    found = []
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            found.append(file.read())
    return sorted(found)


def check_find(bench):
    """The bug is found, letter by letter, and can be reproduced."""
    seeds = bench.corpus("seeds", b"cra")
    errors = bench.run(payload(), "-runs=1000000", "-max_len=16", "-seed=1",
                       seeds, code=CRASH)
    contains(errors, "snapshot: crash 11", TEXT, "by signal 11",
             "libFuzzer: deadly signal")
    crash = bench.artifact("crash")
    with open(crash, "rb") as file:
        equal("input", file.read(5), b"crash")
    contains(bench.run(payload(",verify=on"), crash, code=CRASH), TEXT)
    equal("letters on the way", b"cras" in b" ".join(contents(seeds)), True)


def check_linux(bench):
    """The bug of the example, in Linux; it can be reproduced."""
    seeds = bench.path("seeds")
    shutil.copytree(SEEDS, seeds)
    words = "signal 11 (SEGV)"
    errors = bench.run(linux(), "-runs=1000000", "-len_control=0", "-seed=1",
                       "-max_len=400", "-print_final_stats=1", seeds,
                       code=CRASH)
    contains(errors, words, "libFuzzer: deadly signal")
    Tap.comment(re.search(r"number_of_executed_units: \d+", errors).group())
    contains(bench.run(linux(), bench.artifact("crash"), code=CRASH), words)


def check_merge(bench):
    """-merge=1 keeps what adds coverage, the shortest of each; a crash on the
    way does not end it.
    """
    seeds = bench.corpus("seeds", b"c", b"cr", b"h", b"zz", b"crxx", b"hzz",
                         b"crash")
    merged = bench.corpus("merged")
    errors = bench.run(payload(), "-merge=1", merged, seeds)
    contains(errors, TEXT, "successful in 2 attempt")
    equal("merged", contents(merged), [b"c", b"cr", b"h"])


def check_minimize(bench):
    """-minimize_crash=1"""
    long = b"crash" + bytes(range(100, 120))
    bench.run(payload(), "-minimize_crash=1", "-runs=2000",
              bench.file("long", long))
    results = [file for file in contents_of(bench, "minimized-from-")]
    if not results or len(min(results, key=len)) > len(long) - 5:
        raise AssertionError(results)
    for result in results:
        equal("input", result[:5], b"crash")


def contents_of(bench, prefix):
    """What files of this check have in them."""
    for name in os.listdir(bench.work):
        if name.startswith(prefix):
            with open(bench.path(name), "rb") as file:
                yield file.read()


def check_fork(bench):
    """-fork=1: a process finds it, with a machine of its own.  One that comes
    upon "hang" before is followed by another.
    """
    seeds = bench.corpus("seeds", b"cras", b"h")
    errors = bench.run(payload(), "-fork=1", "-runs=1000000", "-max_len=16",
                       "-timeout=2", seeds, code=CRASH)
    contains(errors, "-fork=1: 2 seed inputs", TEXT, "deadly signal")
    bench.artifact("crash")


def check_jobs(bench):
    """-jobs=2: two processes at a time."""
    bench.run(payload(), "-jobs=2", "-workers=2", "-runs=2000", "-max_len=3")
    for i in range(2):
        with open(bench.path(f"fuzz-{i}.log"), encoding="utf-8") as file:
            contains(file.read(), "Done 2000 runs")


def check_slow(bench):
    """A run without end: for libFuzzer, and for the device."""
    seeds = bench.corpus("seeds", b"hang")
    errors = bench.run(payload(), "-timeout=3", seeds, code=TIMED_OUT)
    contains(errors, "libFuzzer: timeout")
    bench.artifact("timeout")
    errors = bench.run(payload(",timeout=300"), seeds, code=CRASH)
    contains(errors, "snapshot: timeout, ", "by signal 9")
    bench.artifact("crash")


def check_stuck(bench):
    """QEMU itself hangs: it is gone soon after the fuzzer."""
    process = bench.start(payload("", "-append", "fuzz stuck"), "-timeout=2",
                          bench.file("stuck", b"stuck"))
    read_until(process, "Running: ")
    machines = children(process.pid)
    # At the end of what QEMU may say, too
    contains(process.communicate(timeout=TIMEOUT)[1], "libFuzzer: timeout")
    equal("exit code", process.returncode, TIMED_OUT)
    if not machines or not gone(machines[0]):
        raise AssertionError(f"left of {machines}")


def check_reset(bench):
    """The guest resets itself, which is a bug."""
    machine = shlex.join(payload()).replace(" -", "\n    -")
    errors = bench.run(None, bench.file("reset", b"reset"), code=CRASH,
                       SNAPSHOT_MACHINE=machine)
    contains(errors, "snapshot: reset by the guest", "by signal 1")


def check_own(bench):
    """A fuzzer with a target function and a map of its own."""
    fuzzer = bench.path("fuzzer")
    end = subprocess.run(
        ["clang", "-fsanitize=fuzzer", "-I", LIBRARY, os.path.join(
            ROOT, "tests", "guest", "programs", "fuzzer.c"),
         os.path.join(BUILT, "libsnapshot-fuzzer.a"), "-o", fuzzer],
        stderr=subprocess.PIPE, text=True, check=False)
    equal("errors of clang", end.stderr, "")
    upper = bench.file("upper", b"CRASH")
    errors = bench.run(payload(",map-size=131072"), upper, fuzzer=fuzzer,
                       code=CRASH)
    contains(errors, "131072 Extra Counters", TEXT,
             "status 11, map begins with 0 1")


def read_until(process, text):
    """What the fuzzer says, up to a line with @text."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"no {text!r} in: {''.join(lines)}")


def busy_for(pid, seconds):
    """Wait until a process has had the processor for so long."""
    start = None
    for _ in range(TIMEOUT * 10):
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        start = used if start is None else start
        if used >= start + seconds:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} does nothing")


def check_qemu_killed(bench):
    """QEMU is killed: between two runs, and in one, which is a crash then."""
    process = bench.start(payload(), "-max_len=3", "-runs=1000000000",
                          bench.corpus("seeds", b"x"))
    read_until(process, "INITED")
    process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    killed = children(process.pid)
    os.kill(killed[0], signal.SIGKILL)
    process.send_signal(signal.SIGCONT)
    read_until(process, "QEMU ended by signal 9 (Killed), between two runs")
    # The machine that follows gets on with the inputs.
    read_until(process, "pulse")
    if killed == children(process.pid):
        raise AssertionError("it is the same QEMU")
    process.kill()
    process.communicate()

    process = bench.start(payload(), bench.corpus("hang", b"hang"))
    read_until(process, "seed corpus")
    qemu = children(process.pid)[0]
    busy_for(qemu, 0.5)
    os.kill(qemu, signal.SIGKILL)
    contains(process.communicate()[1], "ended by signal 9 (Killed), during",
             "deadly signal")
    equal("exit code", process.returncode, CRASH)
    bench.artifact("crash")


def check_fuzzer_killed(bench):
    """Nothing is left of a machine when its fuzzer is killed."""
    process = bench.start(payload(), "-max_len=3", "-runs=1000000000",
                          bench.corpus("seeds", b"x"))
    read_until(process, "INITED")
    machines = children(process.pid)
    equal("number of machines", len(machines), 1)
    process.kill()
    process.communicate()
    if not gone(machines[0]):
        raise AssertionError("QEMU outlives its fuzzer")


def check_errors(bench):
    """What is wrong with a machine, and what to do about it."""
    seeds = bench.corpus("seeds", b"x")
    for machine, env, words in (
            (None, {}, ["set SNAPSHOT_MACHINE to a command"]),
            (["/nowhere/qemu"], {}, ["exit code 127", "it was not found"]),
            (payload(), {"SNAPSHOT_BOOT_TIMEOUT": "soon"},
             ["SNAPSHOT_BOOT_TIMEOUT=soon is no number of seconds"]),
            (["sleep", "1000"], {"SNAPSHOT_BOOT_TIMEOUT": "1"},
             ["nobody greets within 1 s", "-device snapshot,afl=on"]),
            (payload("", "-S"), {"SNAPSHOT_BOOT_TIMEOUT": "12"},
             ["has not asked for an input in 12 s", "SNAPSHOT_BOOT_TIMEOUT"]),
            (["echo", "hello"], {},
             ["hello", "ended with exit code 0, before it greeted"]),
            (payload(",map-size=131072"), {},
             ["map-size= is more than 65536"])):
        for option in ("-runs=10", "-merge=1"):
            if option == "-merge=1" and machine:
                continue        # said by another process
            errors = bench.run(machine, option, seeds, code=1, **env)
            contains(errors, *words)
            equal("stack of a crash", "deadly signal" in errors, False)


def main():
    """Run the test."""
    tap = Tap.from_arguments(__doc__)
    if not os.path.exists(FUZZER):
        print("1..0 # SKIP libFuzzer is not installed (clang, "
              "libclang-rt-dev)")
        return 0
    checks = [
        ("finds a bug", check_find), ("in Linux", check_linux),
        ("-merge", check_merge), ("-minimize_crash", check_minimize),
        ("-fork", check_fork), ("-jobs", check_jobs),
        ("runs without end", check_slow),
        ("QEMU hangs", check_stuck), ("reset", check_reset),
        ("a target function of one's own", check_own),
        ("QEMU is killed", check_qemu_killed),
        ("the fuzzer is killed", check_fuzzer_killed),
        ("errors", check_errors),
    ]
    with tempfile.TemporaryDirectory(prefix="snapshot-libfuzzer-") as work:
        for i, (name, function) in enumerate(checks):
            tap.check(name, function, Bench(os.path.join(work, str(i))))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
