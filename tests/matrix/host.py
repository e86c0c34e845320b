# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guests' devices are connected to on the host: servers, disks."""

import array
import os
import socketserver
import subprocess
import tempfile
import threading

PATTERN_WORDS = 1 << 17         # of 32 bits: what a disk holds


class Datagrams(socketserver.BaseRequestHandler):
    """Answers each datagram with the complement of its bytes."""

    def handle(self):
        data, sock = self.request
        sock.sendto(bytes(byte ^ 0xff for byte in data), self.client_address)


class Lines(socketserver.StreamRequestHandler):
    """Answers "WORD" with "re-WORD"."""

    def handle(self):
        try:
            for line in self.rfile:
                self.wfile.write(b"re-" + line)
        except OSError:
            pass                # QEMU has ended


class Tpm(socketserver.BaseRequestHandler):
    """A new TPM for each machine, controlled by what it sends."""

    def handle(self):
        control = self.request.fileno()
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run(
                ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}",
                 "--ctrl", f"type=unixio,clientfd={control}"],
                pass_fds=[control], check=False, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)


class StreamServer(socketserver.ThreadingUnixStreamServer):
    """One thread for each serial line, or TPM."""
    daemon_threads = True


class Host:
    """The servers and the disk image.  Use it in a "with" statement."""

    def __init__(self, directory):
        self.directory = directory
        self.line_path = os.path.join(directory, "lines")
        self.tpm_path = os.path.join(directory, "tpms")
        self.disk_path = os.path.join(directory, "disk")
        write_disk(self.disk_path)
        self._servers = [
            socketserver.UDPServer(("127.0.0.1", 0), Datagrams),
            StreamServer(self.line_path, Lines),
            StreamServer(self.tpm_path, Tpm)]
        self.port = self._servers[0].server_address[1]

    def __enter__(self):
        for server in self._servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        for server in self._servers:
            server.shutdown()
            server.server_close()


def write_disk(path):
    """Fill a disk image as guest/disk.c expects it."""
    words = array.array("I", ((i * 2654435761 + 12345) & 0xffffffff
                              for i in range(PATTERN_WORDS)))
    with open(path, "wb") as file:
        words.tofile(file)
