# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks at devices from outside of the guest, before and after the restores.

Each function takes the VM and the path of a directory for files; it raises
AssertionError if the device does not work.
"""

import json
import os
import time

from tap import equal

COLOUR = bytes((0xc0, 0x80, 0x40))      # SCREEN_COLOUR of guest/misc.c
TRIES = 100
TRY_S = 0.2


def wait_until(what, function):
    """Call @function until it returns something true."""
    for _ in range(TRIES):
        if function():
            return
        time.sleep(TRY_S)
    raise AssertionError(f"{what} in {TRIES * TRY_S:.0f} s")


def balloon(vm, _directory):
    """The driver answers when it is asked for statistics."""
    path = "/machine/peripheral/virtio-balloon"
    vm.qmp("qom-set", path=path, property="guest-stats-polling-interval",
           value=1)

    def stats():
        return vm.qmp("qom-get", path=path, property="guest-stats")

    before = stats()["last-update"]
    wait_until("no new statistics", lambda: stats()["last-update"] > before)
    total = stats()["stats"]["stat-total-memory"]
    if not 0 < total < 1 << 30:
        raise AssertionError(f"the guest has {total} bytes of memory")
    vm.qmp("qom-set", path=path, property="guest-stats-polling-interval",
           value=0)


def screen(vm, directory):
    """The colour that the guest painted last is in the middle."""
    path = os.path.join(directory, "screen.ppm")

    def colour():
        vm.qmp("screendump", filename=path)
        with open(path, "rb") as file:
            data = file.read()
        fields = data.split(maxsplit=4)     # P6, width, height, maximum
        width, height = int(fields[1]), int(fields[2])
        middle = len(data) - 3 * width * (height - height // 2 - 1) - 3
        return data[middle:middle + 3]

    wait_until(f"the screen is {colour().hex()}", lambda: colour() == COLOUR)


def until(condition):
    """Shell commands that wait for what "[" is to find, for half a minute."""
    return (f"for i in $(seq 300); do [ {condition} ] && break; "
            "sleep .1; done; ")


def keys(vm, _directory):
    """A key that is pressed arrives."""
    waiting = vm.submit(
        # To find what is at a bus takes its time.
        until("-e /dev/input/event0") +
        "for event in /dev/input/event*; do "
        "dd if=$event of=/tmp/key bs=24 count=1 2>/dev/null & done; "
        + until("-s /tmp/key") +
        "wc -c </tmp/key; kill %1 %2 %3 %4 2>/dev/null; rm /tmp/key")
    answer = None
    for _ in range(TRIES):
        vm.qmp("send-key", keys=[{"type": "qcode", "data": "shift"}])
        answer = vm.result_soon(waiting, TRY_S)
        if answer:
            break
    equal("bytes from the keyboard", (answer or vm.result(waiting))[1].strip(),
          "24")


def crash(vm, _directory):
    """The host hears that the guest would like to be taken for crashed."""
    seen = len(vm.events)
    vm.must("for d in /sys/bus/pci/devices/*; do "
            "[ $(cat $d/device) = 0x0011 ] && read bar rest <$d/resource; "
            "done; devmem $bar 8 2")
    vm.qmp("query-status")
    names = [event["event"] for event in vm.events[seen:]]
    if "GUEST_CRASHLOADED" not in names:
        raise AssertionError(f"events: {json.dumps(names)}")
