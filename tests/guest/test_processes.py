#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of a campaign end, are killed, or hang: what is to go on goes on,
and nothing else is left.
"""

import array
import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import termios
import time

import afl_client
from campaign import (NAMES, Campaign, Monitor, descendants, remove_segments)
from tap import Tap, becomes, equal
from vm import LONG_TIMEOUT, TIMEOUT, children, gone, payload

# Seconds: what is to go does so in one; the rest is for a busy machine.
SOON = 5


def check_qemu_crashes(smp):
    """QEMU is killed, in a run and between two: the runs go on."""
    machine = payload(",verify=on", "-smp", smp)
    with afl_client.Client(machine) as client:
        client.greet()
        equal("a run", client.run(b"x")[0], 0)
        # Sanitizers make an exit code of other signals.
        for number in (signal.SIGABRT, signal.SIGKILL):
            client.begin(b"hang")
            client.get()
            os.kill(children(client.process.pid)[0], number)
            equal("killed in a run", client.get(), number)
            equal("the counter of a QEMU that has crashed",
                  client.map.read(1), b"\xff")
            equal("the next run", client.run(b"crash")[0], signal.SIGSEGV)
            used = client.used_map()
            os.kill(children(client.process.pid)[0], number)
            equal("killed between two runs", client.run(b"crash")[0],
                  signal.SIGSEGV)
            equal("coverage", client.used_map(), used)
            equal("that counter", client.map.read(1), b"\0")


def check_helper_killed():
    """Somebody else than afl-fuzz kills the helper, in a run whose pid has not
    been said: it is said all the same, as afl-fuzz ends at a 0.
    """
    with afl_client.Client(payload()) as client:
        client.greet()
        equal("a run", client.run(b"x")[0], 0)
        qemu = children(client.process.pid)[0]
        for _ in range(10):
            helper = children(qemu)[0]
            client.begin(b"hang")
            while unread(client.control):
                time.sleep(0)           # the pid is said in 10 ms or 20
            os.kill(helper, signal.SIGKILL)
            if not client.get():
                raise AssertionError("a pid of 0")
            equal("end of the run", client.get(), signal.SIGKILL)
            equal("the next run", client.run(b"x")[0], 0)


def check_cannot_boot():
    """What cannot boot once is not tried again."""
    end = subprocess.run(
        [sys.executable, afl_client.__file__, "--inputs", "d", "--",
         *payload("", "-serial", "file:/nowhere/file")],
        stderr=subprocess.PIPE, text=True, check=False, timeout=LONG_TIMEOUT)
    if "/nowhere/file" not in end.stderr or "another" in end.stderr:
        raise AssertionError(end.stderr)


def next_qemu(client, last):
    """Wait for another QEMU than @last.  Returns its pid, or 0 if the keeper
    has ended.
    """
    found = []

    def replaced():
        if client.process.poll() is not None:
            return True
        found[:] = [pid for pid in children(client.process.pid) if pid != last]
        return bool(found)

    becomes("another QEMU", replaced, True, TIMEOUT)
    return found[0] if found else 0


def check_killed_while_booting():
    """QEMU is killed as it boots, not for the first time: there is another.
    If that happens again and again it is given up.
    """
    with afl_client.Client(payload()) as client:
        client.greet()
        equal("a run", client.run(b"x")[0], 0)
        qemu = children(client.process.pid)[0]
        for _ in range(3):
            os.kill(qemu, signal.SIGKILL)
            qemu = next_qemu(client, qemu)
        equal("the next run", client.run(b"crash")[0], signal.SIGSEGV)
        kills = 0
        while qemu:
            os.kill(qemu, signal.SIGKILL)
            qemu = next_qemu(client, qemu)
            kills += 1
        if kills < 5:
            raise AssertionError(f"given up after {kills} times")


def check_qemu_hangs():
    """QEMU's main loop hangs, in a run and between two: another goes on."""
    for busy, smp in ((True, "2"), (False, "1")):
        monitor = Monitor()
        machine = payload("", "-smp", smp, *monitor.options)
        with afl_client.Client(machine, keep=[monitor.fd],
                               env={"SNAPSHOT_HANG_LIMIT": "3"}) as client:
            client.greet()
            equal("a run", client.run(b"x")[0], 0)
            if busy:
                client.begin(b"hang")
                client.get()
            qemu = children(client.process.pid)[0]
            monitor.ask("query-status")
            # It waits for a connection, and does nothing else meanwhile.
            monitor.send("chardev-add", id="hang", backend={
                "type": "socket", "data": {"server": True, "wait": True,
                                           "addr": {"type": "inet", "data": {
                                               "host": "127.0.0.1",
                                               "port": "0"}}}})
            if busy:
                equal("run of a QEMU that hangs", client.get(),
                      signal.SIGKILL)
            if not gone(qemu, TIMEOUT):
                raise AssertionError("QEMU hangs for ever")
            equal("the next run", client.run(b"crash")[0], signal.SIGSEGV)


def check_device_loops():
    """A device's loop has no end: when afl-fuzz has cut the run off, another
    QEMU goes on.
    """
    # In the main loop; and with icount in the thread of the vCPU, which then
    # keeps the main loop from running.
    for options in ((), ("-icount", "shift=0")):
        machine = payload("", "-append", "fuzz stuck", *options)
        # Without that no time would be too long.
        with afl_client.Client(machine, env={
                "SNAPSHOT_HANG_LIMIT": "1000000"}) as client:
            client.greet()
            equal("a run", client.run(b"x")[0], 0)
            used = client.used_map()
            qemu = children(client.process.pid)[0]
            equal("run with the loop", client.run(b"stuck", limit=1)[0],
                  signal.SIGKILL)
            if not gone(qemu, SOON):
                raise AssertionError("QEMU is still there")
            equal("the next run", client.run(b"x", was_killed=1)[0], 0)
            equal("coverage", client.used_map(), used)


def check_killed_in_loop():
    """kill -9 of the helper and of the keeper, as AFL++ 4.04 does at its end,
    while QEMU hangs: that is gone, too.
    """
    with afl_client.Client(payload("", "-append", "fuzz stuck")) as client:
        client.greet()
        client.begin(b"stuck")
        pids = [client.get(), *children(client.process.pid)]
        time.sleep(0.5)
        os.kill(pids[0], signal.SIGKILL)
        client.process.kill()
        for pid in pids:
            if not gone(pid, SOON):
                raise AssertionError(f"{pid} of {pids} is left")


def check_not_hanging():
    """QEMU is stopped, as by a debugger: it is not killed for that."""
    env = {"SNAPSHOT_HANG_LIMIT": "1"}
    with afl_client.Client(payload(), env=env) as client:
        client.greet()
        equal("a run", client.run(b"x")[0], 0)
        qemu = children(client.process.pid)
        os.kill(qemu[0], signal.SIGSTOP)
        time.sleep(4)
        os.kill(qemu[0], signal.SIGCONT)
        equal("the next run", client.run(b"x")[0], 0)
        equal("QEMU", children(client.process.pid), qemu)


def check_killed(work):
    """kill -9 of afl-fuzz or of the keeper: the rest is gone in a second, and
    a restart resumes.  Of QEMU: it goes on.
    """
    out = os.path.join(work, "killed")
    seeds = os.path.join(work, "seeds")
    os.mkdir(seeds)
    for name in ("x", "cr", "ha"):
        with open(os.path.join(seeds, name), "w", encoding="ascii") as file:
            file.write(name)
    corpus = 0
    for victim in (0, 1, 1, 0):
        with Campaign(out, "-" if corpus else seeds, payload()) as campaign:
            now = int(campaign.wait_for_runs()["corpus_count"])
            if now < max(corpus, 3):
                raise AssertionError(f"{now} inputs after {corpus}")
            corpus = now
            kill_one(campaign, victim)
        # afl-fuzz renames old crashes by the time, in seconds.
        time.sleep(1)
    with Campaign(out, "-", payload()) as campaign:
        campaign.wait_for_runs()
        keeper = campaign.processes()[1]
        for victim in (2, 3, 2):
            kill_and_go_on(campaign, victim)
        equal("keeper", campaign.processes()[1], keeper)
        # Ctrl-C, with which people end theirs
        campaign.process.send_signal(signal.SIGINT)
        equal("exit code of afl-fuzz", campaign.process.wait(LONG_TIMEOUT), 0)
    if campaign.runs() < 2000:
        raise AssertionError(f"{campaign.runs()} runs")
    if not gone(keeper, SOON):
        raise AssertionError("the keeper outlives afl-fuzz")


def check_seed_that_hangs(work):
    """afl-fuzz leaves out a seed that QEMU hangs by, and goes on."""
    seeds = os.path.join(work, "hanging")
    os.mkdir(seeds)
    for name in ("stuck", "x"):
        with open(os.path.join(seeds, name), "w", encoding="ascii") as file:
            file.write(name)
    with Campaign(os.path.join(work, "left-out"), seeds,
                  payload("", "-append", "fuzz stuck"), "-E", "500",
                  limit="1000+") as campaign:
        campaign.wait_for_runs()
        equal("exit code of afl-fuzz", campaign.process.wait(LONG_TIMEOUT), 0)
    if campaign.runs() < 500:
        raise AssertionError(f"{campaign.runs()} runs")


def kill_one(campaign, victim):
    """Kill one of the processes of a campaign, and see the others go."""
    pids = campaign.processes()
    remove_segments(pids[2])
    os.kill(pids[victim], signal.SIGKILL)
    start = time.monotonic()
    campaign.process.wait(TIMEOUT)
    for pid in pids[1:]:
        if not gone(pid, SOON):
            raise AssertionError(f"{pid} of {pids} is left")
    Tap.comment(f"{NAMES[victim]} killed: the rest is gone in "
                f"{time.monotonic() - start:.2f} s")


def kill_and_go_on(campaign, victim):
    """Kill one of the processes of a campaign: there is another."""
    pids = campaign.processes()
    os.kill(pids[victim], signal.SIGKILL)

    def replaced():
        found = descendants(pids[1])
        return len(found) == 2 and pids[victim] not in found

    becomes(f"another {NAMES[victim]}", replaced, True, TIMEOUT)
    # It reads twice for each run.  Its own figures are written once a minute.
    enough = reads(pids[0]) + 2000
    becomes("afl-fuzz goes on", lambda: reads(pids[0]) > enough, True, TIMEOUT)


def unread(pipe):
    """How many bytes are in a pipe."""
    data = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, data)
    return data[0]


def reads(pid):
    """How many system calls of a process have read something."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return int(re.search(r"^syscr: (\d+)$", file.read(), re.MULTILINE)[1])


def main():
    """Run the test."""
    tap = Tap.from_arguments(__doc__)
    tap.check("QEMU crashes", check_qemu_crashes, "1")
    tap.check("QEMU crashes, two vCPUs", check_qemu_crashes, "2")
    tap.check("the helper is killed", check_helper_killed)
    tap.check("QEMU cannot boot", check_cannot_boot)
    tap.check("QEMU is killed while it boots", check_killed_while_booting)
    tap.check("QEMU hangs", check_qemu_hangs)
    tap.check("QEMU is stopped", check_not_hanging)
    tap.check("a device loops", check_device_loops)
    tap.check("a device loops, keeper killed", check_killed_in_loop)
    with tempfile.TemporaryDirectory(prefix="snapshot-processes-") as work:
        tap.check("a seed that QEMU hangs by", check_seed_that_hangs, work)
        tap.check("kill -9", check_killed, work)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
