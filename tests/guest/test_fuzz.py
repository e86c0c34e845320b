#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs of a guest: each way that one can end, for each of those who give
inputs, and the libraries in the guest.
"""

import os
import re
import shutil
import struct
import sys

import afl_client
import image
from campaign import Monitor, afl_environment, results, run_checks
from tap import Tap, becomes, equal
from vm import BUILD, ROOT, payload

sys.path.insert(0, os.path.join(ROOT, "harness"))
from snapfuzz.symbols import symbolise    # noqa: E402  (added above)

ARCHIVE = os.path.join(BUILD, "guest", "fuzz", "libsnapshot-fuzz.a")
RECORDS = os.path.join(ROOT, "targets", "records", "records.c")

# A record 'n' that is too long, and a record 's'
CRASH = b"RCn\xc8" + b"A" * 200 + b"s\x01a"

# What each input of the program "ends" does, as afl-fuzz hears of it; its
# first run after a restore always is its first.
ENDS = {
    "d": "exit 0", "c": "exit 1", "x": "exit 3", "a": "signal 6",
    "s": "signal 11", "v": "signal 11", "p": "signal 6", "r": "signal 1",
    "o": "signal 15", "h": "signal 14", "f": "signal 9",
}

# And in the words of a run without afl-fuzz
WORDS = {
    "d": "done 0", "c": "done 1", "x": "done 3", "a": "crash 6",
    "s": "crash 11", "v": "crash 11", "p": "panic of the guest's kernel",
    "r": "reset by the guest", "o": "shutdown by the guest",
    "h": "halted for good", "f": "timeout",
}


def check_files(bench):
    """Each way to end, with files as inputs."""
    seeds = bench.inputs("ends", {letter: letter.encode() for letter in WORDS})
    end = bench.run(bench.command(
        "ends", f"seeds={seeds},timeout=3000,verify=on"))
    equal("ends", results(end.stdout), WORDS)
    equal("exit code", end.returncode, 1)
    if "restore is not exact" in end.stderr:
        raise AssertionError(end.stderr)
    if "signal 11 (SEGV), code 1, address 0x8" not in end.stdout:
        raise AssertionError(end.stdout)
    check_calls(end.stdout)


def check_calls(output):
    """abort() is in the C library; the report says who has called it."""
    report = re.search(r"^    signal 6 \(ABRT\).*\n(?:      from 0x.*\n)+",
                       output, re.MULTILINE)
    lines = symbolise(report[0] if report else "",
                      [os.path.join(image.test_programs(), "ends")])
    if not any("LLVMFuzzerTestOneInput" in line for line in lines):
        raise AssertionError(f"{lines}: {output}")


# The same for the payload's words
PAYLOAD_ENDS = {"x": "exit 0", "crash": "signal 11", "hang": "signal 9",
                "reset": "signal 1"}


def check_protocol(bench, kind, machine, ends, *options):
    """The fork server protocol, with each way to end, twice."""
    python = sys.executable
    if kind == "new":
        # What QEMU looks for in the program that has started it
        python = bench.path("python")
        shutil.copy(os.path.realpath(sys.executable), python)
        with open(python, "ab") as file:
            file.write(afl_client.NEW_TEXT)
    words = list(ends) * 2
    end = bench.run([python, afl_client.__file__, "--inputs", ",".join(words),
                     *options, "--", *machine])
    lines = end.stdout.splitlines()
    if not lines or not lines[0].startswith(f"handshake {kind} "):
        raise AssertionError(end.stdout + end.stderr)
    equal("results", [line.rsplit(" ", 1)[0] for line in lines[1:-1]],
          [f"{word} {ends[word]}" for word in words])
    coverage = [line.rsplit(" ", 1)[1] for line in lines[1:-1]]
    if "0" in coverage:
        raise AssertionError(f"no coverage: {lines}")
    equal("coverage of the second time", coverage[len(ends):],
          coverage[:len(ends)])
    equal("last line", lines[-1], "end 0")


def check_persistent(bench):
    """persistent=3: the machine goes back before each third run only."""
    end = bench.run([
        sys.executable, afl_client.__file__, "--inputs",
        ",".join("ddcddcdsddc"), "--",
        *bench.command("ends", "afl=on,persistent=3")])
    codes = [line.split()[1:3] for line in end.stdout.splitlines()[1:-1]]
    # exit() is no normal end: what has called it cannot go on.
    equal("results", [" ".join(code) for code in codes],
          ["exit 0", "exit 0", "exit 3", "exit 0", "exit 0", "exit 3",
           "exit 0", "signal 11", "exit 0", "exit 0", "exit 3"])


def check_loop(bench):
    """A source for AFL++'s persistent mode."""
    seeds = bench.inputs("loop", {"1": b"", "2": b"ab", "3": b"xa",
                                  "4": b"xyz", "5": b"abcde", "6": b"a"})
    for count in ("1", "4"):
        end = bench.run(bench.command(
            "loop", f"seeds={seeds},verify=on,persistent={count}"))
        equal("ends", results(end.stdout), {
            "1": "done 0", "2": "done 0", "3": "crash 6", "4": "done 0",
            "5": "done 5", "6": "crash 6"})


# Ways to compile a harness, and to link it where the README says how.
OWN_RUNTIME = "-fno-sanitize-link-runtime"
COMPILERS = {
    "guards": ["clang", "-fsanitize-coverage=trace-pc-guard"],
    "counters": ["clang", "-fsanitize=fuzzer-no-link"],
    "afl": ["afl-clang-fast"],
    "pairs": ["gcc", "-fsanitize-coverage=trace-pc,trace-cmp"],
}


def check_compilers(bench):
    """Each compiler's coverage reaches the map, and only that of the run."""
    seeds = bench.inputs("compilers", {"1": b"", "2": b"RCs\3abc",
                                       "3": CRASH, "4": b""})
    for name, (compiler, *options) in COMPILERS.items():
        if not shutil.which(compiler):
            Tap.comment(f"{compiler} is not installed")
            continue
        link = {"gcc": ["gcc"], "afl-clang-fast": ["clang"],
                "clang": ["clang", *options, OWN_RUNTIME]}[compiler]
        made = [bench.path(name + ".o"), bench.path(name)]
        for command in (
                [compiler, *options, "-O1", "-c", RECORDS, "-o", made[0]],
                [*link, "-static", made[0], ARCHIVE, "-o", made[1]]):
            end = bench.run(command, env=afl_environment())
            if end.returncode:
                raise AssertionError(f"{command}: {end.stderr}")
        initrd = bench.path("initrd-" + name)
        image.make_initrd(initrd, {"/bin/target": made[1]})
        end = bench.run(bench.command("target", f"seeds={seeds}",
                                      initrd=initrd))
        equal(name, results(end.stdout), {
            "1": "done 0", "2": "done 0", "3": "crash 11", "4": "done 0"})
        counts = [int(count) for count in re.findall(
            r"us, (\d+) bytes of the map", end.stdout)]
        if not 0 < counts[0] < min(counts[1:3]):
            raise AssertionError(f"{name}: coverage {counts}")
        equal(f"{name}: coverage again", counts[3], counts[0])


def check_monitor(smp):
    """While the machine waits for an input the monitor works."""
    monitor = Monitor()
    machine = payload(",verify=on", "-smp", smp, *monitor.options)
    with afl_client.Client(machine, keep=[monitor.fd]) as client:
        client.greet()
        equal("first run", client.run(b"crash")[0], 11)
        client.input.write(struct.pack("=I", 1) + b"x")
        for _ in range(3):
            # After a run the machine goes back, and stands meanwhile.
            becomes("running",
                    lambda: monitor.ask("query-status")["running"], True)
            monitor.ask("stop")
            equal("running", monitor.ask("query-status")["running"], False)
            client.put(0)
            equal("a run of a stopped machine", client.wait_readable(1), [])
            monitor.ask("cont")
            client.get()
            equal("run after cont", client.get(), 0)
            monitor.ask("x-snapshot-device-restore")
            # It stops, and goes on by itself.
            monitor.ask("system_reset")
            equal("run after a restore", client.run(b"crash")[0], 11)
            client.input.write(struct.pack("=I", 1) + b"x")
        equal("failed", monitor.ask("x-snapshot-device-query")
              ["verify-failures"], 0)
        monitor.ask("quit")
        equal("exit code", client.process.wait(60), 0)


def checks(tap, bench):
    """Run all checks; the number of vCPUs may be given."""
    tap.check("files: every end", check_files, bench)
    tap.check("protocol, old", check_protocol, bench, "old",
              bench.command("ends", "afl=on,verify=on"), ENDS)
    tap.check("monitor", check_monitor, bench.smp)
    if bench.smp == "1":
        # What follows has nothing to do with the number of vCPUs.
        tap.check("protocol, new", check_protocol, bench, "new",
                  payload(",verify=on"), PAYLOAD_ENDS)
        tap.check("protocol, input in a file", check_protocol, bench,
                  "old", payload(",verify=on"), PAYLOAD_ENDS, "--file")
        tap.check("persistent", check_persistent, bench)
        tap.check("persistent mode of AFL++", check_loop, bench)
        tap.check("compilers", check_compilers, bench)


def main():
    """Run the test."""
    return run_checks("fuzz", checks)


if __name__ == "__main__":
    sys.exit(main())
