# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that restores itself again and again, watched from outside."""

import os
import sys
import tempfile
import time
from dataclasses import replace

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
for name in ("guest", "matrix"):
    sys.path.insert(0, os.path.join(ROOT, "tests", name))
# Their directories are added above.
import run                      # noqa: E402
from host import Host           # noqa: E402
from machines import PC, Q35    # noqa: E402
from tap import equal           # noqa: E402
from vm import ARCHS, VMError   # noqa: E402

MACHINES = {machine.name: machine for machine in (PC, Q35)}
DEVICES = ("time", "virtio-blk", "virtio-net")
# A guest that does not restore itself for so long hangs.
PATIENCE_S = 120


class Session:
    """One machine whose guest uses its devices and restores itself.

    Use it in a "with" statement.  @snapshot are more properties of the
    snapshot device.  All of the guest's RAM is resident from the
    start, so that what grows is QEMU itself.
    """

    def __init__(self, machine="pc", devices=DEVICES, snapshot="engine=auto"):
        self._directory = tempfile.TemporaryDirectory(prefix="soak-")
        self._host = Host(self._directory.name)
        arch = ARCHS[MACHINES[machine].arch]
        run.make_initrd(os.path.join(self._directory.name, arch.name), arch)
        self._host.__enter__()
        try:
            row = replace(MACHINES[machine], options=(
                *MACHINES[machine].options, "-mem-prealloc"))
            self.vm, self._words = run.boot(row, 1, devices, self._host,
                                            snapshot)
        except Exception:
            self._close()
            raise
        self.verify(False)
        self._number = 0
        self._last = (0, time.monotonic())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.vm.kill()
        self._close()

    def _close(self):
        self._host.__exit__()
        self._directory.cleanup()

    def verify(self, on):
        """Have QEMU verify each restore from now on, or none."""
        self.vm.qmp("qom-set", path=run.DEVICE, property="verify", value=on)

    def query(self):
        """The engine's statistics; fails if a verification failed."""
        now = run.query(self.vm)
        equal("verify failures", now["verify-failures"], 0)
        return now

    def start(self, restores):
        """Have the guest use its devices and restore itself so often."""
        self._number = self.vm.submit(
            f"exercise {restores} {' '.join(self._words)} >/dev/console")
        self.vm.expect("exercise: begin\n")
        self._last = (-1, time.monotonic())

    def ended(self, seconds):
        """What the guest said in the end, or None if it goes on."""
        found = self.vm.console.take(rb"exercise: [^\n]*\n",
                                     time.monotonic() + seconds)
        if found:
            self.vm.result(self._number)
            return found[1].strip()
        restores, since = self._last
        now = self.query()["restores"]
        if now != restores:
            self._last = (now, time.monotonic())
        elif time.monotonic() - since > PATIENCE_S:
            raise VMError(f"no restore for {PATIENCE_S} s, after {now}")
        return None

    def verify_some(self):
        """Have the next restores verified; returns how many were."""
        self.verify(True)
        first = self.query()["restores"]
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            now = self.query()
            if not now["armed"] or now["restores"] > first + 1:
                break
            time.sleep(0.005)
        last = self.query()["restores"]
        self.verify(False)
        return max(0, last - first)

    def power_off(self):
        """The guest shuts down, and QEMU ends by itself."""
        self.vm.submit("exit")
        equal("exit code of QEMU", self.vm.wait(120), 0)
