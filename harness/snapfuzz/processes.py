# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that end when we do, and with all that they have started."""

import ctypes
import os
import signal
import subprocess
import time

# Of prctl(2)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

LIBC = ctypes.CDLL(None, use_errno=True)


def adopt_orphans():
    """From now on, what our children leave behind becomes our child, so that
    nothing that a fuzzer has started gets lost (it makes sessions of its own).
    """
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(command, **options):
    """Start a process, with options of subprocess.Popen.

    A Ctrl-C at the terminal does not reach it, since it is for us to end it;
    if we are killed, it is told to end.
    """
    parent = os.getpid()

    def prepare():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen([str(word) for word in command],
                            stdin=subprocess.DEVNULL, start_new_session=True,
                            preexec_fn=prepare, **options)


def children(pid):
    """The pids of a process's children; none if it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def descendants(pid):
    """The pids of a process's children, and of theirs."""
    found = children(pid)
    for child in found:
        found += children(child)
    return found


def end(process, number=signal.SIGTERM, patience=10):
    """Have a process end by a signal, or after so many seconds by SIGKILL.

    Returns its exit code.
    """
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _reap():
    """Bury those of our children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _wait_for(pids, patience):
    """Wait so many seconds for processes to be gone; returns those left."""
    deadline = time.monotonic() + patience
    while True:
        _reap()
        left = {pid for pid in pids if os.path.exists(f"/proc/{pid}")}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def end_all(processes, number=signal.SIGTERM, patience=10):
    """End these processes, all at once, and whatever they have started.

    What is left @patience seconds after they have ended is killed.  Returns
    how many processes that were.
    """
    started = set()
    for process in processes:
        started.update(descendants(process.pid))
        if process.poll() is None:
            process.send_signal(number)
    for process in processes:
        end(process, number, patience)
    # Orphans are ours: see adopt_orphans().
    started.update(descendants(os.getpid()))
    left = _wait_for(started, patience)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    _wait_for(left, patience)
    return len(left)
