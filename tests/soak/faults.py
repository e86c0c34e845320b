#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disturb a machine that restores itself all the time, in many ways.

Each fault is made at random moments while the guest restores itself.  Then
the machine must be what it was: no verification fails, the guest's devices
work, and nothing takes longer than a bounded time.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time

from session import Session
from run import DEVICE
from tap import Skip, Tap, argument_parser, equal
from vm import TIMEOUT, QMPError

PAUSE_S = 0.02              # between two faults, on average
VERIFY_EVERY = 25           # faults


def until_end(session, restores, fault):
    """Call @fault at random moments until the guest has done @restores."""
    session.start(restores)
    times, end = 0, None
    while not end:
        end = session.ended(random.uniform(0, 2 * PAUSE_S))
        if not end:
            fault(session)
            times += 1
            if times % VERIFY_EVERY == 0:
                session.verify_some()
    equal("the end", end, f"exercise: ok {restores}")
    if not times:
        raise AssertionError("it was over before there was a fault")
    print(f"# {times} faults", flush=True)


def stop_process(session):
    """The host does not run QEMU for a while."""
    os.kill(session.vm.pid, signal.SIGSTOP)
    time.sleep(random.uniform(0, PAUSE_S))
    os.kill(session.vm.pid, signal.SIGCONT)


def stop_machine(session):
    """The monitor stops the machine, and lets it go on."""
    session.vm.qmp("stop")
    equal("running", session.vm.qmp("query-status")["running"], False)
    session.vm.qmp("cont")


QUERIES = (
    ("query-status", {}), ("query-cpus-fast", {}), ("query-block", {}),
    ("query-blockstats", {}), ("query-pci", {}), ("query-named-block-nodes",
                                                  {}),
    ("x-snapshot-device-query", {}), ("query-migrate", {}),
    ("qom-get", {"path": DEVICE, "property": "stats"}),
    ("human-monitor-command", {"command-line": "info registers -a"}),
    # Not "info mtree -f": with it QEMU never lets go of a device again.
    ("human-monitor-command", {"command-line": "info mtree"}),
    ("human-monitor-command", {"command-line": "info qtree"}),
    ("human-monitor-command", {"command-line": "info jit"}),
)


def ask_questions(session):
    """The monitor is asked for all there is to know."""
    for _ in range(10):
        command, arguments = random.choice(QUERIES)
        session.vm.qmp(command, **arguments)


def check_fault(restores, fault):
    """One machine, disturbed by @fault."""
    with Session() as session:
        until_end(session, restores, fault)
        session.power_off()


def check_quit(restores):
    """QEMU is told to quit in the middle of it, and does."""
    for _ in range(3):
        with Session() as session:
            session.start(restores)
            time.sleep(random.uniform(0, 1))
            session.query()
            session.vm.qmp("quit")
            equal("exit code", session.vm.wait(TIMEOUT), 0)


def unplug(session, device):
    """Unplug @device, for which a restored guest has to be asked again."""
    deadline = time.monotonic() + TIMEOUT
    session.vm.events.clear()
    while not any(event["event"] == "DEVICE_DELETED" and
                  event["data"].get("device") == device
                  for event in session.vm.events):
        if time.monotonic() > deadline:
            raise AssertionError(f"{device} is there after {TIMEOUT} s")
        try:
            session.vm.qmp("device_del", id=device)
        except QMPError:
            pass                # it has just been asked
        time.sleep(1)


def check_unplug(restores):
    """A device goes: restores are refused, a new save is not."""
    with Session(devices=("time", "virtio-net", "virtio-balloon")) as session:
        session.start(restores)
        time.sleep(0.5)
        session.vm.qmp("device_del", id="virtio-balloon")
        end = None
        while not end:
            end = session.ended(0.2)
        # Refused, unless the guest always went back to before it was asked.
        if (end != f"exercise: ok {restores}" and
                "cannot be restored" not in end):
            raise AssertionError(f"the guest says {end!r}")
        session.vm.run("snapctl discard")
        unplug(session, "virtio-balloon")
        until_end(session, restores, ask_questions)
        unplug(session, "snap")
        equal("armed", session.query()["armed"], False)
        session.power_off()


def set_limit(session, limit):
    """Limit the address space of QEMU, which is running."""
    resource.prlimit(session.vm.pid, resource.RLIMIT_AS,
                     (limit, resource.RLIM_INFINITY))


def address_space(session):
    """The size of QEMU's address space, in bytes."""
    with open(f"/proc/{session.vm.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def need_plain(session):
    """Skip with AddressSanitizer, which does not give back what is freed."""
    with open(f"/proc/{session.vm.pid}/maps", encoding="ascii",
              errors="replace") as file:
        if "libasan" in file.read():
            raise Skip("this QEMU is built with AddressSanitizer")


def save_fails(session, words):
    """A save fails and says why; the guest goes on."""
    code, text = session.vm.run("snapctl save")
    error = session.vm.qmp("x-snapshot-device-query").get("last-error", "")
    if code != 1 or not any(word in error for word in words):
        raise AssertionError(f"save: {code}, {text!r}; {error!r}")
    session.vm.must("cat /proc/uptime")


def check_address_space(restores):
    """There is no memory for a save; with a snapshot, none is needed."""
    with Session() as session:
        need_plain(session)
        set_limit(session, address_space(session) + (4 << 20))
        save_fails(session, ("memory", "allocate"))
        set_limit(session, resource.RLIM_INFINITY)
        session.start(restores)
        while not session.query()["restores"]:
            time.sleep(0.05)
        set_limit(session, address_space(session) + (16 << 20))
        end = None
        while not end:
            end = session.ended(0.2)
        equal("the end", end, f"exercise: ok {restores}")
        set_limit(session, resource.RLIM_INFINITY)
        session.power_off()


def mount_tmpfs(directory, size):
    """Mount or change a tmpfs of @size MiB."""
    again = "remount," if os.path.ismount(directory) else ""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"{again}size={size}m", "tmpfs",
         directory], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")


def check_full_tmpfs(restores):
    """The snapshot's file system is full, at the save and afterwards."""
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        mount_tmpfs(directory, 8)
        try:
            path = os.path.join(directory, "snapshot")
            with Session(snapshot=f"engine=remap,file={path}") as session:
                save_fails(session, ("space", "write"))
                mount_tmpfs(directory, 400)
                session.start(restores)
                while not session.query()["restores"]:
                    time.sleep(0.05)
                used = os.statvfs(directory)
                full = (used.f_blocks - used.f_bfree) * used.f_bsize
                mount_tmpfs(directory, -(-full >> 20))
                end = None
                while not end:
                    end = session.ended(0.2)
                    if not end:
                        session.verify_some()
                equal("the end", end, f"exercise: ok {restores}")
                session.power_off()
        finally:
            subprocess.run(["umount", directory], check=True)


CHECKS = {
    "SIGSTOP and SIGCONT": (check_fault, stop_process),
    "stop and cont": (check_fault, stop_machine),
    "monitor queries": (check_fault, ask_questions),
    "quit": (check_quit,),
    "unplug": (check_unplug,),
    "RLIMIT_AS": (check_address_space,),
    "full tmpfs": (check_full_tmpfs,),
}


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--restores", type=int, default=10000, metavar="N",
                        help="under each fault")
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().getrandbits(32),
                        help="repeat what was done with it, as far as can be")
    args = parser.parse_args()
    random.seed(args.seed)
    print(f"# --seed {args.seed}", flush=True)
    tap = Tap(args.only)
    for name, (function, *more) in CHECKS.items():
        tap.check(f"{name}, {args.restores} restores", function,
                  args.restores, *more)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
