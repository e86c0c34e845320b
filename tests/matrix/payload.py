# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of the matrix that are no Linux: the bare-metal payload, on KVM.

The payload uses what it finds on the machine by itself: timers, interrupt
controllers, the debug console, video memory, other CPUs.
"""

import time

from run import FAILED, PASSED, SKIPPED, Result
from test_payload import EXIT_PASS, kvm_problem, start

# Name, machine, accelerator
MACHINES = [(f"{machine}, KVM, {how}", machine, accel)
            for machine in ("pc", "q35")
            for how, accel in (("dirty log", "kvm"), (
                "dirty ring", "kvm,dirty-ring-size=4096"))]
SMP = (1, 2, 4)


def run_payload(name, machine, accel, restores, _host, _apart):
    """Run it with each number of CPUs; returns the Results."""
    results = []
    for smp in SMP:
        options = ["-machine", machine, "-accel", accel, "-smp", str(smp)]
        begin = time.monotonic()
        problem = kvm_problem(options)
        # Not every host lets such a guest have pages.
        words = f"restores={restores}" + (
            "" if problem or kvm_problem(options, "paging") else " paging")
        result, detail = SKIPPED, problem or ""
        if not problem:
            try:
                code, output, errors = start(options, words)
                result = PASSED if code == EXIT_PASS else FAILED
                detail = "" if result == PASSED else output + errors
            except AssertionError as error:
                result, detail = FAILED, str(error)
        results.append(Result(
            name, "x86_64", smp, "payload", result,
            restores if result == PASSED else 0, detail,
            round(time.monotonic() - begin, 1)))
    return results
