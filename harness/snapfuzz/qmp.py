# SPDX-License-Identifier: GPL-2.0-or-later
"""Ask running QEMUs how they are getting on, by their monitors."""

import json
import select
import socket
import time

# Seconds for an answer: from a monitor that is busy it is taken the next time.
PATIENCE = 0.5


class Monitor:
    """The connection to one QEMU, which may end at any time."""

    def __init__(self, connection):
        self._socket = connection
        self._buffer = b""
        self._is_asked = False
        self.last = None            # the latest answer
        self._send("qmp_capabilities")

    def _send(self, command):
        request = json.dumps({"execute": command, "id": command}) + "\n"
        try:
            self._socket.sendall(request.encode())
        except OSError:
            self.close()

    def close(self):
        """Hang up; the latest answer stays."""
        if self._socket:
            self._socket.close()
            self._socket = None

    @property
    def is_silent(self):
        """Has it been asked, and is there no answer yet?"""
        return bool(self._socket) and self._is_asked

    def _receive(self, seconds):
        """Wait for more; False if nothing came."""
        if not self._socket or not select.select([self._socket], [], [],
                                                 max(0, seconds))[0]:
            return False
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.close()
        self._buffer += data
        return bool(data)

    def _take(self, command):
        """Take whole lines; is the answer to the command there?"""
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            reply = json.loads(line)
            if reply.get("id") == command:
                self.last = reply.get("return", self.last)
                return True
        return False

    def query(self, command):
        """The latest answer to a command without arguments, or None."""
        if self._socket and not self._is_asked:
            self._send(command)
            self._is_asked = True
        deadline = time.monotonic() + PATIENCE
        while self._is_asked and self._receive(deadline - time.monotonic()):
            self._is_asked = not self._take(command)
        return self.last


class Monitors:
    """Where the QEMUs of a worker call: one after the other, when they crash,
    or several, as a fuzzer starts them.
    """

    def __init__(self, path):
        """Listen at a path, which must not be there."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._monitors = []

    def query(self, command):
        """The latest answer of each QEMU that ever was, to a command without
        arguments; those that have not answered are left out.
        """
        while select.select([self._listener], [], [], 0)[0]:
            self._monitors.append(Monitor(self._listener.accept()[0]))
        answers = [monitor.query(command) for monitor in self._monitors]
        return [answer for answer in answers if answer is not None]

    def is_silent(self):
        """Is there a QEMU that has been asked, and has not answered yet?"""
        return any(monitor.is_silent for monitor in self._monitors)

    def close(self):
        """Hang up on all."""
        for monitor in self._monitors:
            monitor.close()
        self._listener.close()
