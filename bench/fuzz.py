#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure campaigns: the same target in a process and in a machine, by afl-fuzz
and by libFuzzer, one after the other.

Writes fuzz.json to the output directory, a list with an object for each
campaign: mode, target, execs_per_s, and stability in percent (null for
libFuzzer, which does not measure it).  Then says which aims were reached.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

import aims
import report
from machines import ROOT, guest

TARGET = os.path.join(ROOT, "bench", "fuzz-target.c")
ARCHIVE = os.path.join(guest.BUILD, "guest", "fuzz", "libsnapshot-fuzz.a")
FUZZER = os.path.join(guest.BUILD, "harness", "libfuzzer", "snapshot-fuzzer")
SEED = b"width=640\nheight=480\n"
# A run of this one is work of the guest, not of all that is around it.
LONG = SEED * 200
BOOT_SECONDS = 300

PROGRAMS = {
    "native-forkserver": ["afl-clang-fast", "-O2", "-DWITH_MAIN"],
    "native-persistent": ["afl-clang-fast", "-O2", "-fsanitize=fuzzer"],
    "native-libfuzzer": ["clang", "-O2", "-fsanitize=fuzzer"],
    "vm": ["clang", "-O2", "-fsanitize-coverage=trace-pc-guard",
           "-fno-sanitize-link-runtime", "-static"],
    # compiled as ever: QEMU counts its edges (coverage=tcg), or nobody does
    "plain": ["clang", "-O2", "-static", "-DWITH_COVER",
              *("-I" + os.path.join(ROOT, *names)
                for names in (("guest", "include"), ("include",)))],
}
IN_GUEST = ("vm", "plain")


class BenchError(Exception):
    """What has gone wrong; its text is for the user."""


def run(command, env=None, seconds=BOOT_SECONDS):
    """Run a command to its end; returns what it printed."""
    try:
        done = subprocess.run(
            command, env={**os.environ, **(env or {})}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            stdin=subprocess.DEVNULL, timeout=seconds + BOOT_SECONDS)
    except FileNotFoundError:
        raise BenchError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"no end of {shlex.join(command)}") from None
    if done.returncode:
        raise BenchError(f"{shlex.join(command)}: exit code "
                         f"{done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


def bound(command, index=0):
    """The command line of @command with one processor, number @index from the
    last one; afl-fuzz would choose one by itself.
    """
    processors = sorted(os.sched_getaffinity(0), reverse=True)
    return ["taskset", "-c", str(processors[index]), *command]


class Campaigns:
    """The programs, and how each kind of campaign is run."""

    def __init__(self, work, seconds, accel):
        self.work = work
        self.seconds = seconds
        self.accel = accel
        self.seeds = self.path("seeds")
        os.mkdir(self.seeds)
        for name, data in (("seeds/seed", SEED), ("long", LONG)):
            with open(self.path(name), "wb") as file:
                file.write(data)
        for name, command in PROGRAMS.items():
            run([*command, TARGET, *([ARCHIVE] if name in IN_GUEST else []),
                 "-o", self.path(name)], {"AFL_QUIET": "1"})
        run([os.path.join(ROOT, "scripts", "mkinitramfs.py"),
             "--guest", os.path.join(guest.BUILD, "guest"),
             "--programs", os.path.join(guest.BUILD, "guest"),
             *(word for name in IN_GUEST
               for word in ("--add", self.path(name))),
             "--output", self.path("initrd")])

    def path(self, name):
        """A file of this benchmark."""
        return os.path.join(self.work, name)

    def machine(self, program="vm", options=""):
        """The command line of the machine that runs a program."""
        return [guest.QEMU, "-accel", self.accel, "-m", "256", "-display",
                "none", "-nodefaults", "-kernel", guest.X86_64.kernel,
                "-initrd", self.path("initrd"), "-append",
                "quiet snapshot.run=" + program, "-device",
                "snapshot,afl=on" + options]

    def worker(self, out, command, options=(), index=0):
        """One afl-fuzz, on processor @index: executions/s, and stability in
        percent.
        """
        run(bound(["afl-fuzz", "-V", str(self.seconds), "-t", "5000", "-i",
                   self.seeds, "-o", self.path(out), *options, "--", *command],
                  index),
            {"AFL_NO_UI": "1", "AFL_NO_AFFINITY": "1",
             "AFL_SKIP_CPUFREQ": "1", "AFL_FAST_CAL": "1",
             "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1"}, self.seconds)
        worker = options[1] if options else "default"
        with open(self.path(f"{out}/{worker}/fuzzer_stats"),
                  encoding="ascii") as file:
            stats = dict(re.findall(r"(\w+)\s+: (\S+)", file.read()))
        return (float(stats["execs_per_sec"]),
                float(stats["stability"].rstrip("%")))

    def afl(self, name, command):
        """A campaign of one worker."""
        return self.worker("out-" + name, command)

    def workers(self, name, command):
        """Two workers, each with a processor of its own: the sum of their
        executions/s, the least stability.
        """
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            ends = [pool.submit(self.worker, f"out-{name}", command,
                                ("-S" if i else "-M", f"worker{i}"), i)
                    for i in range(2)]
            found = [end.result() for end in ends]
        return sum(rate for rate, _ in found), min(each for _, each in found)

    def libfuzzer(self, name, program):
        """A campaign of libFuzzer: executions/s."""
        corpus = self.path("corpus-" + name)
        os.mkdir(corpus)
        output = run(bound([program, f"-max_total_time={self.seconds}",
                            "-print_final_stats=1", corpus, self.seeds]),
                     {"SNAPSHOT_MACHINE": shlex.join(self.machine())},
                     self.seconds)
        units = re.search(r"number_of_executed_units:\s*(\d+)", output)
        return int(units.group(1)) / self.seconds, None

    def long_input(self, options):
        """The same long input again and again: executions/s."""
        count = 200 * self.seconds
        output = run(bound([FUZZER, f"-runs={count}", self.path("long")]),
                     {"SNAPSHOT_MACHINE":
                      shlex.join(self.machine("plain", options))})
        took = re.search(r"Executed \S+ in (\d+) ms", output)
        return count / (int(took.group(1)) / 1000), None

    def all(self):
        """Yield the mode of each campaign and a function that runs it."""
        for name in ("native-forkserver", "native-persistent"):
            yield name, lambda n: self.afl(n, [self.path(n)])
        yield "vm-restore", lambda n: self.afl(n, self.machine())
        yield "vm-persistent", lambda n: self.afl(
            n, self.machine(options=",persistent=1000"))
        yield "vm-coverage", lambda n: self.afl(
            n, self.machine("plain", ",coverage=tcg"))
        yield "native-libfuzzer", lambda n: self.libfuzzer(n, self.path(n))
        yield "vm-libfuzzer", lambda n: self.libfuzzer(n, FUZZER)
        yield "vm-long-input", lambda _: self.long_input("")
        yield "vm-long-input-coverage", lambda _: self.long_input(
            ",coverage=tcg")
        if len(os.sched_getaffinity(0)) > 1:
            yield "native-persistent-2", lambda n: self.workers(
                n, [self.path("native-persistent")])
            yield "vm-restore-2", lambda n: self.workers(n, self.machine())


def measure(campaigns):
    """Run all campaigns and print a line for each; returns the results."""
    results = []
    print(f"{'mode':26} {'runs/s':>10} {'of fork server':>15} "
          f"{'stability':>10}", flush=True)
    for mode, function in campaigns.all():
        rate, stability = function(mode)
        results.append({"mode": mode, "target": "fuzz-target",
                        "execs_per_s": rate, "stability": stability})
        words = "" if stability is None else f"{stability:.2f} %"
        print(f"{mode:26} {rate:10.0f} "
              f"{rate / results[0]['execs_per_s']:15.2f} {words:>10}",
              flush=True)
    print("\n" + report.aim_table(aims.campaigns(results)), end="")
    return results


def main():
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20,
                        help="that each campaign takes (default: 20)")
    parser.add_argument("--accel", default="tcg",
                        help="QEMU's accelerator (default: tcg)")
    parser.add_argument("--output", default=os.path.join(guest.BUILD, "bench"),
                        help="directory for fuzz.json")
    args = parser.parse_args()
    os.makedirs(args.output, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="snapshot-bench-") as work:
        try:
            results = measure(Campaigns(work, args.seconds, args.accel))
        except BenchError as error:
            print(f"fuzz.py: error: {error}", file=sys.stderr)
            return 1
    with open(os.path.join(args.output, "fuzz.json"), "w",
              encoding="ascii") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
