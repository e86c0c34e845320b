# SPDX-License-Identifier: GPL-2.0-or-later
"""The other end of afl-fuzz's fork server protocol, to try QEMU with.

Run as a program, it plays a scene: see main().
"""

import argparse
import ctypes
import os
import select
import signal
import struct
import subprocess
import sys
import time

CONTROL, STATUS = 198, 199
MAP_SIZE = 65536
INPUT_SIZE = (1 << 20) + 4

OLD_MASK = 0xff000001       # of options: all but the size of the map
OLD_OPTIONS = 0xc1000001    # enabled, map size, shared memory
OLD_CMPLOG = 0x02000000
OLD_ANSWER = 0x81000001
NEW_VERSION = 0x41464c01
NEW_OPTIONS = 3

# What afl-fuzz has in it, if it knows the handshake since 4.20
NEW_TEXT = b"All right - new fork server model v%u is up."

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]


class Segment:
    """System V shared memory, removed when all have let go of it."""

    def __init__(self, size):
        self.id = libc.shmget(0, ctypes.c_size_t(size), 0o1600)
        if self.id < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        self.address = libc.shmat(self.id, None, 0)

    def remove(self):
        """Have it removed."""
        libc.shmctl(self.id, 0, None)

    def write(self, data):
        """Put @data at its beginning."""
        ctypes.memmove(self.address, data, len(data))

    def read(self, size):
        """Return its first bytes."""
        return self.read_at(0, size)

    def read_at(self, offset, size):
        """Return bytes from @offset on."""
        return ctypes.string_at(self.address + offset, size)


class Client:
    """A fork server that is up.  Use it in a "with" statement."""

    def __init__(self, command, shared_input=True, keep=(), env=None,
                 stderr=None):
        """Start @command, which keeps the descriptors @keep, with @env in its
        environment, too.
        """
        self.map = Segment(MAP_SIZE)
        self.input = Segment(INPUT_SIZE)
        env = {**os.environ, "__AFL_SHM_ID": str(self.map.id), **(env or {})}
        if shared_input:
            env["__AFL_SHM_FUZZ_ID"] = str(self.input.id)
        self.shared_input = shared_input
        self.options = OLD_OPTIONS
        if "___AFL_EINS_ZWEI_POLIZEI___" in env:
            self.options |= OLD_CMPLOG
        self.file = os.memfd_create("input")
        control, self.control = os.pipe()
        self.status, status = os.pipe()
        self.pid = None
        self.stderr = stderr
        os.dup2(control, CONTROL)
        os.dup2(status, STATUS)
        self.process = subprocess.Popen(command, env=env, stdin=self.file,
                                        pass_fds=(CONTROL, STATUS, *keep),
                                        stderr=stderr)
        for fd in (control, status, CONTROL, STATUS):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.map.remove()
        self.input.remove()

    def get(self):
        """Read one word."""
        data = os.read(self.status, 4)
        if len(data) != 4:
            raise EOFError("QEMU has ended")
        return struct.unpack("=I", data)[0]

    def put(self, word):
        """Write one word."""
        os.write(self.control, struct.pack("=I", word))

    def greet(self):
        """Do the handshake that QEMU begins.  Returns "old" or "new", and the
        size of the map in bytes.
        """
        word = self.get()
        if word == NEW_VERSION:
            self.put(word ^ 0xffffffff)
            options, size = self.get(), self.get()
            assert options == NEW_OPTIONS, hex(options)
            assert self.get() == NEW_VERSION
            return "new", size
        if self.shared_input:
            assert word & OLD_MASK == self.options, hex(word)
            self.put(OLD_ANSWER)
        return "old", ((word & 0xfffffe) >> 1) + 1

    def begin(self, data, was_killed=0):
        """Have a run with an input; two words tell of it."""
        self.map.write(bytes(MAP_SIZE))
        self.input.write(struct.pack("=I", len(data)) + data)
        os.ftruncate(self.file, 0)
        os.pwrite(self.file, data, 0)
        self.put(was_killed)

    def run(self, data, limit=60.0, was_killed=0):
        """Run with an input; killed after @limit seconds.  Returns the status
        as of wait(), and the time that it took in seconds.
        """
        start = time.monotonic()
        self.begin(data, was_killed)
        self.pid = self.get()
        if not self.wait_readable(limit):
            os.kill(self.pid, signal.SIGKILL)
        return self.get(), time.monotonic() - start

    def wait_readable(self, limit):
        """Is there a status within @limit seconds?"""
        return select.select([self.status], [], [], limit)[0]

    def used_map(self):
        """Which bytes of the map are set."""
        return [i for i, n in enumerate(self.map.read(MAP_SIZE)) if n]


def exited(status):
    """What became of the run: "exit N" or "signal N"."""
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"


def main():
    """Run each of --inputs, between commas; print what became of it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--limit", type=float, default=2)
    parser.add_argument("--file", action="store_true",
                        help="inputs in a file, not in shared memory")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    with Client(args.command, shared_input=not args.file) as client:
        kind, size = client.greet()
        print(f"handshake {kind} {size}", flush=True)
        killed = 0
        for word in args.inputs.split(","):
            status, seconds = client.run(word.encode(), args.limit, killed)
            killed = int(seconds >= args.limit)
            print(word, exited(status), len(client.used_map()), flush=True)
        os.close(client.control)
        print("end", client.process.wait(60), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
