# SPDX-License-Identifier: GPL-2.0-or-later
"""Ask a running QEMU how it is getting on, by its monitor."""

import contextlib
import json
import socket

# Seconds for an answer: a monitor that is busy for longer is asked again later.
PATIENCE = 0.5


class Monitor:
    """A monitor on a unix socket.

    QEMU may not be there yet, may crash, and another may follow: what cannot
    be asked now has no answer, and that is no error.
    """

    def __init__(self, path):
        self.path = str(path)
        self._socket = None
        self._lines = None

    def close(self):
        """Hang up."""
        if self._socket:
            # What closes the text flushes it, which may fail as well.
            with contextlib.suppress(OSError):
                self._lines.close()
            self._socket.close()
            self._socket = None

    def _connect(self):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._socket.connect(self.path)
        self._lines.readline()              # the greeting
        self._execute("qmp_capabilities")

    def _execute(self, command):
        self._lines.write(json.dumps({"execute": command}) + "\n")
        self._lines.flush()
        while True:
            line = self._lines.readline()
            if not line:
                raise ConnectionResetError(self.path)
            reply = json.loads(line)
            if "return" in reply or "error" in reply:
                return reply.get("return")

    def query(self, command):
        """The result of a command without arguments, or None."""
        try:
            if not self._socket:
                self._connect()
            return self._execute(command)
        except (OSError, ValueError):
            self.close()
            return None
