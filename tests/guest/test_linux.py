#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One Linux guest, both engines, every restore verified by QEMU: whatever a
program, the shell, a serial line or the monitor does to save and restore.
"""

import argparse
import os
import re
import sys
import tempfile

import image
from tap import Skip, Tap, equal
from vm import LONG_TIMEOUT, QMPError, VMError, boot_linux

DEVICE = "/machine/peripheral/snap"
MANY = 2000
PHASES = {"stop", "ram", "devices", "disks", "clocks", "resume"}
TROUBLE = r"BUG:|WARNING:|Oops|lockup|stall|unstable|hung task|I/O error"


def fields(text):
    """Turn the lines "name: value" of snapctl into a dictionary."""
    return dict(line.split(": ", 1) for line in text.splitlines())


def check_pciutils(vm):
    """snapctl info says the same as lspci and setpci."""
    if not image.find_pciutils():
        raise Skip("pciutils is not installed on the host")
    info = fields(vm.must("snapctl info"))
    address = info["address"]
    text = vm.must(f"lspci -D -n -vv -s {address} 2>/dev/null")
    equal("first line of lspci", text.splitlines()[0],
          f"{address} {info['class']}: {info['vendor']}:{info['device']} "
          f"(rev {info['revision']})")
    region = (rf"Region 0: Memory at {info['bar0-address']} \(32-bit, "
              r"non-prefetchable\) \[size=1M\]")
    if not re.search(region, text):
        raise AssertionError(f"no {region} in {text}")
    equal("size", info["bar0-size"], str(1 << 20))
    registers = vm.must(
        f"setpci -s {address} VENDOR_ID.w DEVICE_ID.w REVISION.b "
        "CLASS_DEVICE.w COMMAND.w BASE_ADDRESS_0.l").split()
    equal("setpci", registers, [info[name] for name in (
        "vendor", "device", "revision", "class", "command", "bar0-address")])
    equal("ids", registers[:4], ["1234", "f987", "10", "00ff"])


def check_exit_codes(vm):
    """snapctl tells by its exit code what happened."""
    for command, expected, text in (
            ("snapctl --help", 0, "usage: snapctl"),
            ("snapctl", 2, "usage: snapctl"),
            ("snapctl rewind", 2, "unknown command 'rewind'"),
            ("snapctl -d 0000:ff:1f.7 status", 3, "no snapshot device"),
            ("snapctl restore", 1, "error 3: there is no snapshot")):
        code, output = vm.run(command)
        equal(f"exit code of {command}", code, expected)
        if text not in output:
            raise AssertionError(f"{command}: {output}")
    equal("armed", fields(vm.must("snapctl status"))["armed"], "no")


def check_shell(vm, engine):
    """save, change something, restore, and so again, from the shell."""
    save = vm.submit("snapctl save; code=$?; [ -e /tmp/later ] && "
                     "echo later; exit_code() { return $1; }; exit_code $code")
    equal("save", vm.result(save), (0, "saved\n"))
    for count in (1, 2):
        vm.must("echo 1 >/tmp/later")
        vm.submit("snapctl restore")
        equal("save after a restore", vm.result(save),
              (10, f"restored {count}\n"))
    status = fields(vm.must("snapctl status"))
    equal("status", [status[name] for name in (
        "armed", "pending", "verify", "engine", "last-result", "restores",
        "verify-failures")],
        ["yes", "no", "yes", engine, "0 (done)", "2", "0"])
    vm.must("snapctl discard")
    status = fields(vm.must("snapctl status"))
    equal("after a discard", (status["armed"], status["engine"]),
          ("no", "none"))
    equal("exit code of a restore", vm.run("snapctl restore")[0], 1)


def check_rewind(vm):
    """The program of the RFC: before, middle, before, middle, ..."""
    lines = []
    for count in range(4):
        lines += [f"before: value 0, restores {count}", "middle: value 1"]
    # Not through the pipe of run(), which would be rewound.
    equal("output", vm.must("rewind 3 >/dev/console").splitlines(),
          lines + ["done: 3 restores"])


def check_levels(vm):
    """Two states on top of the first, three inputs from each."""
    lines = []
    for state in range(2):
        lines.append(f"A: state {state}")
        lines += [f"  B: value {state}, input {i}" for i in range(3)]
    equal("output", vm.must("levels 2 3 >/dev/console").splitlines(),
          lines + ["A: state 2", "done: levels 1"])


def check_keep(vm):
    """A log in memory that is excluded has an entry for each run."""
    equal("output", vm.must("keep 20").splitlines(),
          ["21 entries: " + " ".join(str(i) for i in range(21)),
           "without the log: 1"])


def check_push(vm):
    """save, push, restore, pop, exclude and include from the shell."""
    save = vm.submit("snapctl save")
    equal("save", vm.result(save), (0, "saved\n"))
    vm.must("echo 1 >/tmp/state")
    push = vm.submit("snapctl push; code=$?; cat /tmp/state; "
                     "[ -e /tmp/later ] && echo later; "
                     "exit_code() { return $1; }; exit_code $code")
    equal("push", vm.result(push), (0, "saved\n1\n"))
    vm.must("echo 2 >/tmp/later")
    vm.submit("snapctl restore")
    equal("push after a restore", vm.result(push), (10, "restored 1\n1\n"))
    equal("levels", fields(vm.must("snapctl status"))["levels"], "2")
    vm.submit("snapctl pop")
    equal("save after a pop", vm.result(save), (10, "restored 1\n"))
    equal("files", vm.run("ls /tmp/state")[0], 1)
    for command, expected, text in (
            ("snapctl pop", 1, "no level below"),
            ("snapctl exclude 0x100000 0x2000", 0, ""),
            ("snapctl exclude 0x100000 0x2001", 1, "not whole pages"),
            ("snapctl exclude 0xfee00000 4096", 1, "not whole pages of RAM"),
            ("snapctl exclude 0x100000", 2, "usage"),
            ("snapctl exclude 1x 4096", 2, "usage"),
            ("snapctl include", 0, ""), ("snapctl discard", 0, "")):
        code, output = vm.run(command)
        equal(f"exit code of {command}", code, expected)
        if text not in output:
            raise AssertionError(f"{command}: {output}")


def check_dirty(vm, rounds):
    """Memory of all kinds, DMA, a kernel module, the time, registers."""
    output = vm.must(f"dirty {rounds}", timeout=LONG_TIMEOUT)
    if "not in this machine" in output or "dirty: ok" not in output:
        raise AssertionError(output)


def check_nonroot(vm):
    """What the udev rule does lets its group, and no one else, in."""
    info = fields(vm.must("snapctl info"))
    rule = vm.must("cat /etc/udev/70-snapshot-device.rules")
    actions = re.findall(r'RUN\+="([^"]*)"', rule)
    equal("number of actions", len(actions), 2)
    vm.must("echo root:x:0:0::/:/bin/sh >/etc/passwd; "
            "echo user:x:1000:1000::/:/bin/sh >>/etc/passwd; "
            "echo other:x:1001:1001::/:/bin/sh >>/etc/passwd; "
            "echo snapshot:x:500:user >/etc/group; "
            "echo user:x:1000: >>/etc/group; echo other:x:1001: >>/etc/group")
    code, output = vm.run("su user -c 'snapctl status'")
    equal("exit code without the rule", code, 3)
    if "no permission" not in output:
        raise AssertionError(output)
    path = os.path.realpath(f"/devices/pci0000:00/{info['address']}")
    for action in actions:
        vm.must(action.replace("%S", "/sys").replace("%p", path))
    vm.must("su user -c 'snapctl status'")
    equal("exit code of another user",
          vm.run("su other -c 'snapctl status'")[0], 3)


def check_serial(vm, line):
    """The trigger on a serial line, with nothing but stty, echo and read."""
    vm.must(f"exec 3<>{line}; stty -echo igncr <&3")
    save = vm.submit("echo save >&3; read -t 20 answer <&3; "
                     "echo \"$answer\"; ls /tmp/later 2>/dev/null")
    equal("answer to save", vm.result(save), (1, "ok 0\n"))
    for count in (1, 2):
        vm.must("echo 1 >/tmp/later")
        restore = vm.submit(f"echo restore >{line}")
        code, output = vm.result(save)
        before = output.removesuffix(f"ok {count}\n")
        # The terminal sends the line after echo has ended, so that the next
        # output may have begun.
        if (code != 1 or before == output or
                not f"@@{restore} 0\n".startswith(before)):
            raise AssertionError(f"restore {count}: {code}, {output!r}")
    answers = vm.must("for command in discard restore nonsense; do "
                      "echo $command >&3; read -t 20 answer <&3; "
                      "echo \"$answer\"; done; exec 3>&-")
    equal("answers", answers.splitlines(), ["ok 0", "error 3", "error 2"])


def check_qmp(vm, engine, memory):
    """Save, query, restore and discard by the monitor."""
    vm.qmp("x-snapshot-device-save")
    for count in (1, 2, 3):
        vm.must("echo 1 >/tmp/later")
        vm.qmp("x-snapshot-device-restore")
        equal("exit code of ls", vm.run("ls /tmp/later")[0], 1)
        query = vm.qmp("x-snapshot-device-query")
        equal("query", [query[name] for name in (
            "armed", "engine", "restores", "verify", "verify-failures")],
            [True, engine, count, True, 0])
    phases = {phase["phase"]: phase for phase in query["phases"]}
    equal("phases", set(phases), PHASES)
    if not all(0 < p["last"] <= p["max"] <= p["total"]
               for p in phases.values()):
        raise AssertionError(f"implausible times: {phases}")
    if not 0 < query["pages-last"] <= query["pages-total"]:
        raise AssertionError(f"implausible pages: {query}")
    if query["ram-bytes"] < memory:
        raise AssertionError(f"only {query['ram-bytes']} bytes of RAM")
    if not query["loads"]:
        raise AssertionError("no section was loaded")
    text = vm.qmp("human-monitor-command",
                  **{"command-line": "info snapshot-device"})
    if engine not in text:
        raise AssertionError(f"info snapshot-device: {text}")
    vm.qmp("x-snapshot-device-discard")
    equal("armed", vm.qmp("x-snapshot-device-query")["armed"], False)
    try:
        vm.qmp("x-snapshot-device-restore")
    except QMPError:
        return
    raise AssertionError("a restore without a snapshot succeeded")


def check_busy(vm, rounds):
    """The monitor saves and restores while every CPU is busy."""
    vm.must("pids=; for i in 1 2 3; do (while :; do find /sys /proc "
            ">/tmp/busy 2>&1; done) & pids=\"$pids $!\"; done; sleep 1")
    vm.qmp("x-snapshot-device-save")
    for _ in range(rounds):
        vm.must("cat /tmp/busy | wc -c")
        vm.qmp("x-snapshot-device-restore")
    equal("verify failures",
          vm.qmp("x-snapshot-device-query")["verify-failures"], 0)
    vm.qmp("x-snapshot-device-discard")
    vm.must("kill -9 $pids; wait")


def check_many(vm, engine):
    """Restores by the thousand, and all is well after them."""
    output = vm.must(f"rate {MANY} >/dev/console", timeout=LONG_TIMEOUT)
    if f"rate: begin {MANY}\nrate: end {MANY}\n" not in output:
        raise AssertionError(output)
    query = vm.qmp("x-snapshot-device-query")
    equal("query", (query["restores"], query["engine"]), (MANY, engine))
    check_dirty(vm, 5)


def check_kernel_log(vm):
    """The kernel has noticed nothing strange."""
    log = vm.must("dmesg")
    trouble = [line for line in log.splitlines() if re.search(TROUBLE, line)]
    equal("trouble in the kernel's log", trouble, [])


def run_checks(tap, vm, args):
    """All checks, with both engines; of a machine with much RAM, some."""
    large = args.memory > 1024

    def check(name, function, *more):
        tap.check(name, function, vm, *more, fatal=VMError)

    vm.must("dmesg -c")             # what the boot had to say
    check("snapctl info agrees with lspci and setpci", check_pciutils)
    check("exit codes of snapctl", check_exit_codes)
    check("udev rule for users that are not root", check_nonroot)
    for engine in ("copy", "remap"):
        vm.qmp("qom-set", path=DEVICE, property="engine", value=engine)
        check(f"{engine}: levels example", check_levels)
        check(f"{engine}: log that is kept", check_keep)
        check(f"{engine}: state of all kinds", check_dirty, 3 if large else 10)
        check(f"{engine}: QMP", check_qmp, engine, args.memory << 20)
        if large:
            continue        # the others have nothing to do with how much it is
        check(f"{engine}: snapctl in the shell", check_shell, engine)
        check(f"{engine}: rewind example", check_rewind)
        check(f"{engine}: levels from the shell", check_push)
        check(f"{engine}: serial trigger", check_serial, "/dev/ttyS1")
        check(f"{engine}: busy guest", check_busy, 5)
    check("kernel log", check_kernel_log)


def run_many_checks(tap, vm, _):
    """Those for which there is no time if each restore is verified."""
    vm.must("dmesg -c")
    for engine in ("copy", "remap"):
        vm.qmp("qom-set", path=DEVICE, property="engine", value=engine)
        tap.check(f"{engine}: {MANY} restores", check_many, vm, engine,
                  fatal=VMError)
        tap.check(f"{engine}: trigger on a virtio console", check_serial, vm,
                  "/dev/hvc0", fatal=VMError)
    tap.check("kernel log", check_kernel_log, vm)


def boot(args, work, *more):
    """Boot the machine that @args ask for; returns the VM."""
    initrd = os.path.join(work, "initrd")
    disk = os.path.join(work, "disk")
    image.make_initrd(initrd)
    with open(disk, "wb") as file:
        file.write(b"a disk to read from" * 100000)
    return boot_linux(
        "-machine", args.machine, "-smp", args.smp, "-m", str(args.memory),
        "-vga", "std", "-device", "virtio-rng-pci",
        "-drive", f"file={disk},format=raw,readonly=on,if=none,id=disk",
        "-device", "virtio-blk-pci,drive=disk",
        "-chardev", "snapshot,id=trigger", *more, initrd=initrd)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", default="pc")
    parser.add_argument("--smp", default="1")
    parser.add_argument("--memory", default=256, type=int, metavar="MIB")
    parser.add_argument("--many", action="store_true",
                        help="thousands of restores, not verified")
    args = parser.parse_args()
    if args.many:
        run = run_many_checks
        devices = ("-device", "snapshot,id=snap", "-device", "virtio-serial",
                   "-device", "virtconsole,chardev=trigger")
    else:
        run = run_checks
        devices = ("-device", "snapshot,id=snap,verify=on",
                   "-device", "isa-serial,chardev=trigger")
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="snapshot-guest-") as work:
        try:
            with boot(args, work, *devices) as vm:
                run(tap, vm, args)
        except VMError as error:
            return tap.bail_out(error)
        except FileNotFoundError as error:
            return tap.bail_out(f"{error.filename} is missing: run 'make'")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
