#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The bare-metal payload, on one kind of machine."""

import argparse
import os
import subprocess
import sys

from tap import Tap, equal
from vm import BUILD, LONG_TIMEOUT, QEMU, VM

EXIT_PASS = 33      # as isa-debug-exit makes it of what the payload writes

PAYLOAD = os.path.join(BUILD, "guest", "payload", "payload.elf")


def start(args, options, device="snapshot,verify=on", timeout=LONG_TIMEOUT):
    """Run the payload; returns QEMU's exit code, its output and its errors."""
    command = [QEMU, "-display", "none", "-nodefaults", "-no-reboot",
               "-vga", "std", "-m", "128", "-debugcon", "stdio",
               "-device", "isa-debug-exit,iobase=0xf4",
               "-device", device,
               "-kernel", PAYLOAD, "-append", options, *args]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(
            f"no end in {timeout} s; so far: {error.stdout}") from None
    return done.returncode, done.stdout, done.stderr


def kvm_problem(machine, options=""):
    """Why KVM cannot run the payload on this machine, with these options of
    its own; None if it can.
    """
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission for /dev/kvm"
    # Nothing is saved here: does KVM run a program like this at all?
    try:
        code, output, errors = start(machine, f"tests=none {options}",
                                     timeout=30)
    except AssertionError:
        return "KVM does not run 32-bit code to its end here"
    if code != EXIT_PASS:
        return (f"KVM does not run the payload here (exit code {code}): "
                + " ".join((errors or output).split())[:200])
    return None


def check_run(tap, machine, options, device):
    """Run the payload and pass its results on."""
    code, output, errors = start(machine, options, device)
    tap.copy(output)
    if code != EXIT_PASS:
        tap.comment(errors)
    equal("exit code of QEMU", code, EXIT_PASS)


def check_refused_clock():
    """A machine whose clock goes on by itself cannot have the device."""
    code, _, errors = start(["-rtc", "clock=host"], "")
    equal("exit code", code, 1)
    if "clock" not in errors:
        raise AssertionError(errors)


def check_missing_device():
    """Without the device, the payload says so."""
    code, output, _ = start([], "", device="VGA")
    equal("exit code", code, 35)
    if "no snapshot device" not in output:
        raise AssertionError(output)


def check_stop_and_cont():
    """The monitor carries out nothing in the middle of a restore."""
    with VM("-m", "128", "-device", "snapshot,verify=on", "-kernel", PAYLOAD,
            "-device", "isa-debugcon,iobase=0xe9,chardev=console",
            "-append", "tests=rate restores=10000000 dirty=4") as vm:
        vm.expect("rate: begin\n")
        for _ in range(500):
            vm.qmp("stop")
            equal("running", vm.qmp("query-status")["running"], False)
            vm.qmp("cont")
        query = vm.qmp("x-snapshot-device-query")
        equal("verify failures", query["verify-failures"], 0)
        if "last-error" in query or not query["restores"]:
            raise AssertionError(query)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Other options go to QEMU.",
        allow_abbrev=False)
    parser.add_argument("--accel", default="tcg")
    parser.add_argument("--machine", default="pc")
    parser.add_argument("--smp", nargs="+", default=["1"])
    parser.add_argument("--options", default="", help="for the payload")
    parser.add_argument("--verify", default="on")
    parser.add_argument("--reference", default="off",
                        help="on: restore the slow, plain way")
    parser.add_argument("--errors", action="store_true",
                        help="also what has to go wrong")
    args, more = parser.parse_known_args()
    tap = Tap()
    for smp in args.smp:
        machine = ["-machine", args.machine, "-accel", args.accel,
                   "-smp", smp, *more]
        name = f"{args.machine}, {args.accel}, {smp} CPUs"
        problem = args.accel.startswith("kvm") and kvm_problem(machine)
        if problem:
            tap.skip(name, problem)
            continue
        for engine in ("copy", "remap"):
            tap.check(f"{name}, {engine}", check_run, tap, machine,
                      args.options,
                      f"snapshot,verify={args.verify},engine={engine},"
                      f"x-reference={args.reference}")
    if args.errors:
        tap.check("-rtc clock=host is refused", check_refused_clock)
        tap.check("no device", check_missing_device)
        tap.check("stop and cont", check_stop_and_cont)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
