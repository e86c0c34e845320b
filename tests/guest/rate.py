# SPDX-License-Identifier: GPL-2.0-or-later
"""Restores in a tight loop, timed by the host's clock.

The guest's clocks are rewound with it, so the time is taken by the host's,
from the line with which the guest's loop begins to that with which it ends.
"""

import time

from vm import VMError


def time_loop(vm, begin, end, timeout=600):
    """Wait for the two lines on the console.  Returns seconds in between."""
    vm.expect(begin)
    start = time.monotonic()
    _, line = vm.expect(rf"{end}|rate: (?!begin|end)[^\n]*\n", timeout=timeout)
    if line != end:
        raise VMError(line.strip())
    return time.monotonic() - start


def measure(vm, count, pages):
    """Run guest/examples/rate.c.  Returns seconds and its last words.

    @count restores are made, with @pages pages written before each.
    """
    number = vm.submit(f"rate {count} {pages} >/dev/console")
    seconds = time_loop(vm, f"rate: begin {count}\n", f"rate: end {count}\n")
    code, output = vm.result(number)
    if code:
        raise VMError(f"rate: exit code {code}: {output}")
    return seconds, output
