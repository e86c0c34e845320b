#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure restores, what they are compared with, and whether aims are reached.

Writes restore.json, restore.txt and the drawings restore.svg and restore.png
to the output directory.  The exit code tells whether everything could be
measured, not whether all aims were reached.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import aims
import baselines
import machines
import plot
import points
import report
from machines import Machine, guest
import test_payload    # noqa: E402  (machines.py adds its directory)

ENGINES = ("copy", "remap")
KVM_RAM_MIB = 128
ROUNDS = 5              # of points that aims are about, each with its own save


class Settings:
    """How much is measured."""

    def __init__(self, quick):
        self.pages = (16, 1024, 8192) if quick else (0, 16, 128, 1024, 8192)
        self.seconds = 0.4 if quick else 1.0
        self.repeat = 2 if quick else 5     # of slow baselines
        sizes = (512,) if quick else (128, 512, 4096)
        kinds = (Machine("pc"), aims.MAIN, Machine("q35"))
        self.curve = [replace(kind, ram_mib=size)
                      for size in sizes for kind in kinds]


class Bench:
    """One run: what it found so far, and how it tells of it."""

    def __init__(self, settings, work, floor):
        self.settings = settings
        self.work = work
        self.floor = floor
        self.result = {"host": host_facts(), "points": [], "pairs": {},
                       "baselines": {}}
        self.start = time.monotonic()

    def say(self, text):
        """Print a line with the time since the beginning."""
        print(f"[{time.monotonic() - self.start:4.0f} s] {text}", flush=True)

    def add(self, point):
        """Keep a point."""
        self.result["points"].append(point)
        self.say(f"    {point['engine']:5} {point['dirty_pages']:5} pages: "
                 f"{point['restores_per_s']:9,.0f}/s, "
                 f"p50 {point['p50_us']:,.1f} us, "
                 f"p99 {point['p99_us']:,.1f} us")

    def add_baseline(self, name, figures):
        """Keep a baseline."""
        self.result["baselines"][name] = figures
        self.say(f"    {figures}")

    def linux(self, machine, engines, pages):
        """Points of one machine with Linux: one boot serves all of them."""
        self.say(f"{machine.title()}: booting Linux")
        with machines.linux(machine, self.work) as vm:
            for engine in engines:
                for count in pages:
                    main = engine == "copy" and count == aims.PAGES
                    seconds = self.settings.seconds
                    self.add(points.linux_point(
                        vm, machine, engine, count,
                        *((seconds / 2, ROUNDS) if main else (seconds, 1))))
            if machine == aims.MAIN:
                self.on_main_machine(vm)

    def pair(self, name, one, other):
        """Measure two machines in turns: the speed of a host that others use,
        too, may have changed within minutes.
        """
        self.say(f"{name}: booting Linux twice")
        with contextlib.ExitStack() as stack:
            vms = [stack.enter_context(machines.linux(
                machine, stack.enter_context(tempfile.TemporaryDirectory(
                    dir=self.work)))) for machine in (one, other)]
            for vm in vms:
                machines.set_property(vm, "engine", "copy")
            rates = [[points.once(vm, aims.PAGES, self.settings.seconds / 2)
                      ["restores_per_s"] for vm in vms]
                     for _ in range(ROUNDS)]
        self.result["pairs"][name] = rates
        for each in rates:
            self.say("    {:9,.0f}/s, {:9,.0f}/s".format(*each))

    def on_main_machine(self, vm):
        """Baselines that need the machine that most aims are about."""
        self.say("(a) loading every section, mapping all RAM anew")
        machines.set_property(vm, "x-reference", True)
        machines.set_property(vm, "engine", "remap")
        point = points.once(vm, aims.PAGES, self.settings.seconds)
        machines.set_property(vm, "x-reference", False)
        self.add_baseline("reference",
                          {"per_s": point["restores_per_s"], **point})
        self.say("memory of engine=copy")
        self.add_baseline("copy_memory", baselines.copy_overhead(
            vm, aims.MAIN, self.work))

    def payload(self, accel):
        """Points of the bare-metal payload, which KVM runs where it does not
        run Linux."""
        machine = Machine("pc", ram_mib=KVM_RAM_MIB, accel=accel)
        self.say(f"{machine.title()}: bare-metal payload")
        for engine in ENGINES:
            for count in self.settings.pages:
                self.add(points.payload_point(self.work, machine, engine, count,
                                              self.settings.seconds))

    def other_baselines(self):
        """Baselines that start what they need themselves."""
        self.say("(b) loadvm")
        self.add_baseline("loadvm", baselines.loadvm(
            aims.MAIN, self.work, self.settings.repeat))
        self.say("(c) a new process")
        self.add_baseline("new_process", baselines.new_process(
            aims.MAIN, self.work, self.settings.repeat))
        self.say("(d) fork()")
        self.add_baseline("fork", baselines.fork(self.floor, aims.PAGES))
        self.say("(e) copying")
        self.add_baseline("floor", {
            str(pages): baselines.floor(
                self.floor, aims.find(self.result, aims.MAIN,
                                      pages)["pages_per_restore"])
            for pages in (aims.PAGES, *aims.MANY_PAGES)})

    def run(self):
        """Measure everything.  Returns the result."""
        for machine in self.settings.curve:
            self.linux(machine, ENGINES, self.settings.pages)
        for name, one, other, _ in aims.PAIRS:
            self.pair(name, one, other)
        self.other_baselines()
        problem = kvm_problem(self.work)
        if problem:
            self.say(f"KVM is left out: {problem}")
        for accel in ("tcg",) if problem else ("tcg", "kvm"):
            self.payload(accel)
        self.result["host"]["kvm"] = problem or "used"
        self.result["host"]["load_after"] = os.getloadavg()[0]
        return self.result


def kvm_problem(work):
    """Why KVM cannot be measured here; None if it can."""
    problem = test_payload.kvm_problem(["-accel", "kvm"])
    if problem:
        return problem
    try:
        points.payload_run(Machine("pc", ram_mib=KVM_RAM_MIB, accel="kvm"),
                           work, "copy", aims.PAGES, 10)
    except (guest.VMError, guest.QMPError) as error:
        return str(error).splitlines()[0]
    return None


def host_facts():
    """Where and when this is measured."""
    model = "an unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    version = subprocess.run([guest.QEMU, "--version"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    return {"date": time.strftime("%Y-%m-%d"), "cpu": model,
            "cpus": len(os.sched_getaffinity(0)),
            "kernel": os.uname().release, "qemu": version.split()[3],
            "load_before": os.getloadavg()[0]}


def missing_parts(floor):
    """Files that have to be built first and are not there."""
    parts = (guest.QEMU, guest.X86_64.kernel, guest.X86_64.initrd,
             machines.PAYLOAD, floor)
    return [part for part in parts if not os.path.exists(part)]


def write(result, directory):
    """Write all files to @directory, and show the aims."""
    os.makedirs(directory, exist_ok=True)
    text = report.full_report(result)
    for name, content in (("restore.json", json.dumps(result, indent=1)),
                          ("restore.txt", text)):
        with open(os.path.join(directory, name), "w",
                  encoding="utf-8") as file:
            file.write(content + "\n")
    plot.draw(result, os.path.join(directory, "restore"))
    print(f"\n{report.aim_table(aims.evaluate(result))}\n"
          f"all figures: {directory}/restore.json, .txt, .svg, .png")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="fewer points, for less time each")
    parser.add_argument("--output", metavar="DIR",
                        default=os.path.join(guest.BUILD, "bench"))
    args = parser.parse_args()
    floor = os.path.join(guest.BUILD, "bench", "floor")
    missing = missing_parts(floor)
    if missing:
        print(f"bench.py: error: {', '.join(missing)} missing: run "
              "'make bench', which builds it", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="snapshot-bench-") as work:
            write(Bench(Settings(args.quick), work, floor).run(), args.output)
    except (guest.VMError, guest.QMPError, baselines.BaselineError,
            subprocess.CalledProcessError, OSError) as error:
        print(f"bench.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
