# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one machine of the matrix with some of its devices."""

import os
import shutil
import tempfile
import time
from dataclasses import dataclass

import checks
import image
from cpio import Archive
from devices import DEVICES
from tap import equal
from vm import ARCHS, BUILD, VMError, boot_linux

DEVICE = "/machine/peripheral/snap"
MEMORY = "192"
POLL_S = 2
# Without a restore for this long, the run has failed.
PATIENCE_S = 300
REFUSED = 5         # SNAPSHOT_RES_REFUSED

PASSED, FAILED, IS_REFUSED, SKIPPED = "passed", "failed", "refused", "skipped"


@dataclass
class Result:
    """What came of one device on one machine."""
    machine: str
    arch: str
    smp: int
    device: str
    result: str
    restores: int = 0
    detail: str = ""
    seconds: float = 0


def make_initrd(path, arch):
    """The default guest with all that the matrix needs."""
    archive = Archive()
    archive.add_file("/bin/exercise", os.path.join(
        BUILD, "tests", "matrix", f"exercise-{arch.name}"))
    image.add_more_modules(archive, arch, sorted(
        {name for device in DEVICES.values() for name in device.modules}))
    image.write_initrd(path, archive, arch)


def boot(machine, smp, devices, host, snapshot="verify=on"):
    """Start the machine; returns the VM and the words for "exercise".

    @snapshot are properties of the snapshot device.
    """
    options, words, modules = [], [], []
    for number, name in enumerate(devices):
        device = DEVICES[name]
        place = {"name": name, "net": 10 + number, "host": host}
        options += [text.format(**place) for text in device.options]
        words += [device.word.format(**place)] if device.word else []
        modules += device.modules
    arch = ARCHS[machine.arch]
    vm = boot_linux(*machine.options, "-smp", str(smp), "-m", MEMORY,
                    "-vga", "none", "-device", f"snapshot,id=snap,{snapshot}",
                    *options, arch=arch, append=machine.append,
                    initrd=os.path.join(host.directory, arch.name))
    vm.run("modprobe -a " + " ".join(dict.fromkeys(modules)) if modules
           else "true")
    return vm, words


def query(vm):
    """The engine's statistics."""
    return vm.qmp("x-snapshot-device-query")


def watch(vm, restores, progress):
    """Wait for the end of "exercise", as long as it gets on."""
    done, since = -1, time.monotonic()
    while True:
        found = vm.console.take(rb"exercise: [^\n]*\n",
                                time.monotonic() + POLL_S)
        if found and found[1] != "exercise: begin\n":
            equal("the end", found[1], f"exercise: ok {restores}\n")
            return
        now = query(vm)
        equal("verify failures", now["verify-failures"], 0)
        if now["restores"] != done:
            done, since = now["restores"], time.monotonic()
            progress(done)
        elif time.monotonic() - since > PATIENCE_S:
            raise VMError(f"no restore in {PATIENCE_S} s, after {done}")


def exercise(vm, restores, words, devices, progress):
    """Use the devices, save, restore so often, and use them again."""
    with tempfile.TemporaryDirectory() as directory:
        outside = [getattr(checks, DEVICES[name].check) for name in devices
                   if DEVICES[name].check]
        for check in outside:
            if check is not checks.screen:      # nothing is painted yet
                check(vm, directory)
        number = vm.submit(f"exercise {restores} {' '.join(words)} "
                           ">/dev/console")
        watch(vm, restores, progress)
        code, text = vm.result(number)
        equal("exit code of exercise", (code, text), (0, ""))
        for check in outside:
            check(vm, directory)


def try_refused(vm, name):
    """The machine says which device keeps it from being saved."""
    code, text = vm.run("snapctl save")
    now = query(vm)
    if code == 0 or now["armed"]:
        raise AssertionError(f"saved with {name}: {text}")
    if DEVICES[name].refused not in now.get("last-error", ""):
        raise AssertionError(f"{name} is not named: {now.get('last-error')}")
    return now["last-error"]


def try_devices(machine, smp, devices, restores, host):
    """Run @devices together.  Returns the Results, all alike."""
    start = time.monotonic()
    result, detail, done = PASSED, "", [0]
    arch = ARCHS[machine.arch]
    missing = [path for path in (arch.qemu, arch.initrd)
               if not os.path.exists(path)]
    missing += [need for need in (DEVICES[name].needs for name in devices)
                if need and not shutil.which(need)]
    if missing:
        return [Result(machine.name, machine.arch, smp, name, SKIPPED, 0,
                       f"{os.path.basename(missing[0])} is not there") for name in devices]
    try:
        vm, words = boot(machine, smp, devices, host)
        with vm:
            if DEVICES[devices[0]].refused:
                detail = try_refused(vm, devices[0])
                result = IS_REFUSED
            else:
                exercise(vm, restores, words, devices, done.append)
                done.append(restores)
                vm.must("sync")
                vm.submit("exit")
                equal("exit code of QEMU", vm.wait(120), 0)
    except (VMError, AssertionError, OSError) as error:
        result, detail = FAILED, str(error)
    seconds = round(time.monotonic() - start, 1)
    return [Result(machine.name, machine.arch, smp, name, result, done[-1],
                   detail, seconds) for name in devices]


def run_set(machine, smp, devices, restores, host, apart):
    """Run a set of devices.  If it fails, each by itself, if @apart.

    A machine that cannot be saved is started once for each such device.
    """
    if not DEVICES[devices[0]].refused:
        results = try_devices(machine, smp, devices, restores, host)
        if results[0].result != FAILED or not apart or len(devices) == 1:
            return results
    return [result for name in devices
            for result in try_devices(machine, smp, (name,), restores, host)]
