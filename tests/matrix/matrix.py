#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the matrix: every machine with every device that it can have, restored
many times, with every restore verified by QEMU.

Writes what came of it to build/matrix.json; table.py makes the page in docs
of it.
"""

import argparse
import concurrent.futures
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import asdict

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "guest"))
# Their directory is added above.
import payload                          # noqa: E402
import run                              # noqa: E402
from host import Host                   # noqa: E402
from machines import MACHINES, SHORT    # noqa: E402
from tap import Tap                     # noqa: E402
from vm import ARCHS, BUILD             # noqa: E402

QEMU_MIB = 1024         # that one QEMU may need, at most


def default_jobs():
    """How many machines run at once, as far as CPUs and memory go."""
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":") for line in file)
    free = int(fields["MemAvailable"].split()[0]) >> 10
    return max(1, min(len(os.sched_getaffinity(0)), free // QEMU_MIB))


def jobs_for(args):
    """[(name, function)] of what is to be run."""
    jobs = []
    for machine in SHORT if args.short else MACHINES:
        for smp in machine.smp:
            for devices in machine.sets:
                if args.devices:
                    devices = tuple(name for name in devices
                                    if name in args.devices)
                name = f"{machine.name}, {smp} CPUs: {', '.join(devices)}"
                if devices and args.only in name:
                    jobs.append((name, run.run_set, machine, smp, devices))
    if not args.short and not args.devices:
        jobs += [(name, payload.run_payload, name, *options)
                 for name, *options in payload.MACHINES if args.only in name]
    return jobs


class Progress:
    """Says how far the runs are, one line for each that ends."""

    def __init__(self, total):
        self._lock = threading.Lock()
        self._total = total
        self._ended = 0
        self._start = time.monotonic()

    def ended(self, name, results):
        """Report the results of one run."""
        with self._lock:
            self._ended += 1
            counts = {}
            for result in results:
                counts[result.result] = counts.get(result.result, 0) + 1
            said = ", ".join(f"{n} {what}" for what, n in counts.items())
            print(f"# {time.monotonic() - self._start:5.0f} s "
                  f"[{self._ended}/{self._total}] {name}: {said}", flush=True)
            for result in results:
                if result.result == run.FAILED:
                    print(f"#   {result.device}: {result.detail[:300]!r}",
                          flush=True)


def write_results(path, results):
    """Write the Results for table.py."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump([asdict(result) for result in results], file, indent=1)


def run_all(args, host):
    """Run everything; returns the Results, and writes them as they come."""
    jobs = jobs_for(args)
    progress = Progress(len(jobs))
    so_far, lock = [], threading.Lock()

    def run_one(job):
        name, function, *more = job
        results = function(*more, args.restores, host, not args.short)
        progress.ended(name, results)
        with lock:
            so_far.extend(results)
            write_results(args.output, so_far)
        return results

    for arch in {job[2].arch for job in jobs if job[1] is run.run_set}:
        if os.path.exists(ARCHS[arch].initrd):
            run.make_initrd(os.path.join(host.directory, arch), ARCHS[arch])
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        return [result for results in pool.map(run_one, jobs)
                for result in results]


def report(results):
    """Print the results as TAP; returns the exit code."""
    tap = Tap()
    for result in results:
        name = f"{result.machine}, {result.smp} CPUs: {result.device}"
        if result.result == run.SKIPPED:
            tap.skip(name, result.detail)
            continue
        tap.result(result.result != run.FAILED, f"{name}, {result.result}"
                   f" after {result.restores} restores")
        if result.result == run.FAILED:
            tap.comment(result.detail)
    return tap.end()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--restores", type=int, default=1000, metavar="N")
    parser.add_argument("--short", action="store_true",
                        help="only the machines that tell most")
    parser.add_argument("--jobs", type=int, default=default_jobs(),
                        metavar="N", help="machines that run at once")
    parser.add_argument("--only", default="", metavar="TEXT",
                        help="only runs whose name has this in it")
    parser.add_argument("--devices", nargs="+", metavar="NAME",
                        help="only these devices")
    parser.add_argument("--output", metavar="FILE",
                        default=os.path.join(BUILD, "matrix.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="matrix-") as directory:
        with Host(directory) as host:
            results = run_all(args, host)
    write_results(args.output, results)
    return report(results)


if __name__ == "__main__":
    sys.exit(main())
