# SPDX-License-Identifier: GPL-2.0-or-later
"""What restores are compared with, measured in the same run."""

import json
import os
import subprocess
import time

import machines
from machines import guest

PAGE = 4096
# Of the structure in which QEMU 10.0 has an x86 CPU (sizeof(X86CPU)), about.
CPU_BYTES = 28 << 10
FORKS = 2000
COPIED_MIB = 2000           # in all, by which the number of copies is chosen


class BaselineError(Exception):
    """A baseline could not be measured; the text says why."""


def monitor(vm, line):
    """Run a command of the human monitor, which says nothing if it worked."""
    said = vm.qmp("human-monitor-command", **{"command-line": line})
    if said:
        raise BaselineError(f"{line}: {said.strip()}")


def rate_of(times):
    """Describe single measurements, in seconds."""
    times = sorted(times)
    return {"per_s": round(len(times) / sum(times), 3),
            "p50_us": round(times[len(times) // 2] * 1e6, 1),
            "max_us": round(times[-1] * 1e6, 1), "count": len(times)}


def loadvm(machine, work, count):
    """QEMU's own internal snapshots, in a qcow2 disk of the machine."""
    disk = os.path.join(work, "disk.qcow2")
    subprocess.run([os.path.join(guest.BUILD, "bin", "qemu-img"), "create",
                    "-q", "-f", "qcow2", disk, f"{machines.DISK_MIB}M"],
                   check=True)
    options = machine.options(disk, "format=qcow2")
    times = []
    with guest.boot_linux("-rtc", "clock=vm", *options) as vm:
        monitor(vm, "savevm bench")
        for _ in range(count):
            start = time.monotonic()
            monitor(vm, "loadvm bench")
            times.append(time.monotonic() - start)
        vm.must("true")         # the guest is alive
    return rate_of(times)


def wait_for(vm, command, done, failed=()):
    """Ask QEMU until "status" is in @done; raises if it is in @failed."""
    deadline = time.monotonic() + guest.TIMEOUT
    while True:
        status = vm.qmp(command).get("status")
        if status in done:
            return
        if status in failed or time.monotonic() > deadline:
            raise BaselineError(f"{command}: {status}")
        time.sleep(0.001)


def new_process(machine, work, count):
    """A new QEMU that loads the machine from a mapped-ram file."""
    state = os.path.join(work, "state")
    options = ["-rtc", "clock=vm", *machine.options(
        machines.make_disk(work), "format=raw")]
    with guest.boot_linux(*options) as vm:
        vm.qmp("migrate-set-capabilities", capabilities=[
            {"capability": "mapped-ram", "state": True}])
        vm.qmp("migrate", uri=f"file:{state}")
        wait_for(vm, "query-migrate", ("completed",), ("failed",))
    times = []
    for _ in range(count):
        start = time.monotonic()
        with guest.VM("-serial", "chardev:console", *options,
                      "-global", "migration.mapped-ram=on",
                      "-incoming", f"file:{state}") as vm:
            wait_for(vm, "query-status", ("running",))
            times.append(time.monotonic() - start)
    os.unlink(state)
    return rate_of(times)


def host(program, *args):
    """Run bench/floor.c.  Returns its figures, in our units."""
    done = subprocess.run([program, *map(str, args)], check=True, text=True,
                          stdout=subprocess.PIPE)
    figures = json.loads(done.stdout)
    return {"per_s": figures["per_s"],
            **{f"{name}_us": figures[f"{name}_ns"] / 1000
               for name in ("p50", "p99", "max")}}


def fork(program, pages):
    """fork() a small process that writes @pages pages, and wait for it."""
    return host(program, "fork", FORKS, pages)


def floor(program, pages):
    """Copy @pages pages and a CPU's worth of bytes: no restore does less."""
    count = max(100, (COPIED_MIB << 20) // (pages * PAGE + CPU_BYTES))
    return host(program, "copy", min(count, 100000), round(pages), CPU_BYTES)


def rss(vm):
    """Bytes of memory that QEMU has."""
    with open(f"/proc/{vm.pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Rss:"):
                return int(line.split()[1]) << 10
    raise BaselineError("no Rss: in smaps_rollup")


def count_nonzero(path):
    """Bytes of the pages of the file @path that are not all zero."""
    zero = bytes(PAGE)
    used = 0
    with open(path, "rb") as file:
        while chunk := file.read(4 << 20):
            used += sum(chunk[i:i + PAGE] != zero
                        for i in range(0, len(chunk), PAGE))
    return used * PAGE


def copy_overhead(vm, machine, work):
    """What engine=copy costs in memory, compared with the RAM in use."""
    path = os.path.join(work, "ram")
    machines.set_property(vm, "engine", "copy")
    vm.qmp("x-snapshot-device-discard")
    vm.qmp("stop")
    vm.qmp("pmemsave", val=0, size=machine.ram_mib << 20, filename=path)
    used = count_nonzero(path)
    os.unlink(path)
    before = rss(vm)
    vm.qmp("x-snapshot-device-save")
    after = rss(vm)
    vm.qmp("x-snapshot-device-discard")
    vm.qmp("cont")
    return {"nonzero_mib": round(used / (1 << 20), 1),
            "overhead_mib": round((after - before) / (1 << 20), 1)}
