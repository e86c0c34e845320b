# SPDX-License-Identifier: GPL-2.0-or-later
"""Start QEMU, talk to its monitor and to its guest, and end it."""

import json
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("SNAPSHOT_BUILD", os.path.join(ROOT, "build"))
QEMU = os.environ.get("SNAPSHOT_QEMU",
                      os.path.join(BUILD, "bin", "qemu-system-x86_64"))

# The console is read by a shell that is not interactive, since its output is
# a pipe: it prints no prompt, and all that arrives is what commands print.
SHELL = ('console={console} quiet '
         'snapshot.run="stty -echo -onlcr; echo @@0 0; sh 2>&1 | cat"')


@dataclass(frozen=True)
class Arch:
    """A kind of guest: the QEMU that runs it, and what is booted."""
    name: str
    console: str
    guest: str          # directory with its kernel, below BUILD

    @property
    def qemu(self):
        """The path of QEMU: next to that for x86-64."""
        if self.name == "x86_64":
            return QEMU
        return os.path.join(os.path.dirname(QEMU), f"qemu-system-{self.name}")

    @property
    def kernel(self):
        """The kernel of the default guest."""
        return os.path.join(BUILD, self.guest, "vmlinuz")

    @property
    def initrd(self):
        """The initramfs of the default guest."""
        return os.path.join(BUILD, self.guest, "initramfs.cpio.gz")

    @property
    def modules(self):
        """The directory with all modules of the kernel."""
        directory = os.path.join(BUILD, self.guest, "modules")
        return os.path.join(directory, os.listdir(directory)[0])


X86_64 = Arch("x86_64", "ttyS0", "guest")
AARCH64 = Arch("aarch64", "ttyAMA0", "guest-arm64")
ARCHS = {arch.name: arch for arch in (X86_64, AARCH64)}


# Seconds that a step may take: long enough for a slow build of QEMU on a busy
# machine, since what waits this long has failed anyway.
TIMEOUT = 180
LONG_TIMEOUT = 600


def payload(device="", *more):
    """The command line of a machine that boots at once, and runs the inputs of
    a fuzzer (guest/payload/fuzz.c).
    """
    return [QEMU, "-display", "none", "-nodefaults", "-m", "128", "-kernel",
            os.path.join(BUILD, "guest", "payload", "payload.elf"),
            "-append", "fuzz", "-device", "snapshot,afl=on" + device, *more]


def children(pid):
    """The pids of a process's children, whichever thread has made them."""
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children",
                  encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return found


def gone(pid, seconds=20):
    """Is the process gone within so many seconds?"""
    for _ in range(seconds * 10):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


class VMError(Exception):
    """QEMU or the guest did not do what was asked in time."""


class QMPError(Exception):
    """QEMU answered a command with an error."""


class Channel:
    """One end of a socket pair, the other end of which QEMU has."""

    def __init__(self):
        self.socket, self.peer = socket.socketpair()
        self.buffer = b""

    def receive(self, deadline):
        """Append what arrives to the buffer.  False: end, or too late."""
        left = max(0, deadline - time.monotonic())
        if not select.select([self.socket], [], [], left)[0]:
            return False
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def send(self, data):
        """Send @data, unless there is no one to receive it any more."""
        try:
            self.socket.sendall(data)
        except BrokenPipeError:
            pass            # the answer will not come: that tells it better

    def take(self, pattern, deadline):
        """Wait for @pattern and remove everything up to its end.

        Returns what was before it and what it matched, or None if it did not
        come.
        """
        while True:
            match = re.search(pattern, self.buffer)
            if match:
                before = self.buffer[:match.start()]
                self.buffer = self.buffer[match.end():]
                return before.decode(errors="replace"), match.group().decode()
            if not self.receive(deadline):
                return None


class VM:
    """A running QEMU.  Use it in a "with" statement."""

    def __init__(self, *args, qemu=QEMU):
        """Start QEMU with @args, a monitor and a console on a socket each."""
        self._dir = tempfile.mkdtemp(prefix="snapshot-guest-")
        self._log = open(os.path.join(self._dir, "stderr"), "w+b")
        self._qmp = Channel()
        self.console = Channel()
        self._commands = 0
        self.events = []        # of QEMU's monitor, as they came
        self.commandline = [
            qemu, "-display", "none", "-nodefaults", "-no-reboot",
            "-chardev", f"socket,id=qmp,fd={self._qmp.peer.fileno()}",
            "-mon", "chardev=qmp,mode=control",
            "-chardev", f"socket,id=console,fd={self.console.peer.fileno()}",
            *args]
        peers = (self._qmp.peer, self.console.peer)
        try:
            self._process = subprocess.Popen(
                self.commandline, stdin=subprocess.DEVNULL, stdout=self._log,
                stderr=self._log, pass_fds=[p.fileno() for p in peers])
        except OSError as error:
            self._clean()
            raise VMError(f"cannot start {qemu}: {error.strerror}; "
                          "build it, or set SNAPSHOT_QEMU") from error
        for peer in peers:
            peer.close()
        try:
            self._reply(TIMEOUT)             # the greeting
            self.qmp("qmp_capabilities")
        except Exception:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _clean(self):
        self._log.close()
        shutil.rmtree(self._dir, ignore_errors=True)

    def kill(self):
        """End QEMU, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._clean()

    @property
    def pid(self):
        """The process id of QEMU."""
        return self._process.pid

    def wait(self, timeout):
        """Wait for QEMU to end by itself.  Returns its exit code."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._error(f"QEMU did not end in {timeout} s") from None

    def messages(self):
        """What QEMU printed on its standard error so far."""
        self._log.flush()
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _error(self, text):
        code = self._process.poll()
        if code is not None:
            text += f"; QEMU ended with exit code {code}"
        tail = self.console.buffer.decode(errors="replace")[-2000:]
        return VMError(f"{text}\nconsole: {tail}\nQEMU: {self.messages()}"
                       f"\ncommand line: {' '.join(self.commandline)}")

    # Monitor

    def _reply(self, timeout):
        deadline = time.monotonic() + timeout
        line = self._qmp.take(rb"[^\n]*\n", deadline)
        if not line:
            raise self._error(f"no answer from QEMU's monitor in {timeout} s")
        return json.loads(line[1])

    def qmp(self, command, timeout=TIMEOUT, **arguments):
        """Run a monitor command.  Returns its result, or raises QMPError."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._qmp.send(json.dumps(request).encode())
        while True:
            reply = self._reply(timeout)
            if "error" in reply:
                raise QMPError(reply["error"]["desc"])
            if "return" in reply:
                return reply["return"]
            if "event" in reply:
                self.events.append(reply)

    # Guest with the shell of SHELL on the console; @@0 says that it is there.

    def expect(self, pattern, timeout=TIMEOUT):
        """Wait for @pattern on the console.  Returns what came before it and
        what it matched.
        """
        found = self.console.take(pattern.encode(), time.monotonic() + timeout)
        if not found:
            raise self._error(f"no {pattern!r} on the console in {timeout} s")
        return found

    def submit(self, command):
        """Give the guest's shell a command.  Returns a number for result()."""
        self._commands += 1
        number = self._commands
        text = f"{{ {command}\n}} </dev/null 2>&1; echo \"@@{number} $?\"\n"
        self.console.send(text.encode())
        return number

    def result(self, number, timeout=TIMEOUT):
        """Wait for the end of command @number: exit code and output.

        A command that is brought back by a restore ends more than once.
        """
        output, end = self.expect(rf"@@{number} \d+\n", timeout)
        return int(end.split()[1]), output

    def result_soon(self, number, seconds):
        """Like result(), but None if the command goes on for so long."""
        found = self.console.take(rf"@@{number} \d+\n".encode(),
                                  time.monotonic() + seconds)
        return found and (int(found[1].split()[1]), found[0])

    def run(self, command, timeout=TIMEOUT):
        """Run a command in the guest's shell: exit code and output."""
        return self.result(self.submit(command), timeout)

    def must(self, command, timeout=TIMEOUT):
        """Run a command that has to succeed.  Returns its output."""
        code, output = self.run(command, timeout)
        if code:
            raise AssertionError(f"{command}: exit code {code}: {output}")
        return output


def boot_linux(*args, initrd=None, arch=X86_64, append=""):
    """Boot the default guest into a shell on the console; returns the VM.

    @append is for the kernel's command line.
    """
    vm = VM("-serial", "chardev:console", "-kernel", arch.kernel,
            "-initrd", initrd or arch.initrd,
            "-append", f"{SHELL.format(console=arch.console)} {append}", *args,
            qemu=arch.qemu)
    try:
        vm.result(0, timeout=LONG_TIMEOUT)
    except Exception:
        vm.kill()
        raise
    return vm
