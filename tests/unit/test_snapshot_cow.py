# SPDX-License-Identifier: GPL-2.0-or-later
"""The block driver snapshot-cow, driven by qemu-io, against a bytearray."""

import os
import random
import re
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("SNAPSHOT_BUILD", os.path.join(ROOT, "build"))
QEMU = os.environ.get("SNAPSHOT_QEMU",
                      os.path.join(BUILD, "bin", "qemu-system-x86_64"))
QEMU_IO = os.path.join(os.path.dirname(os.path.realpath(QEMU)), "qemu-io")
CLUSTER = 4096


def without_asan(text):
    """@text without what AddressSanitizer says of every coroutine."""
    return re.sub(r"==\d+==WARNING: ASan doesn't fully support .*\n", "", text)


class Model:
    """What a disk shall read as, and the qemu-io commands that made it so."""

    def __init__(self, content, seed):
        self.now = bytearray(content)
        self.commands = []
        self._random = random.Random(seed)
        self._held = set()      # clusters with data in memory

    def _touch(self, offset, length):
        self._held.update(range(offset // CLUSTER,
                                (offset + length - 1) // CLUSTER + 1))

    def _whole(self, offset, length):
        end = offset + length
        last = end if end == len(self.now) else end // CLUSTER * CLUSTER
        return range(-(-offset // CLUSTER), -(-last // CLUSTER))

    def write(self, command, offset, length):
        """Write a pattern; the command is one of qemu-io's."""
        value = self._random.randrange(256)
        self.now[offset:offset + length] = bytes([value]) * length
        self.commands.append(f"{command} -q -P {value} {offset} {length}")
        self._touch(offset, length)

    def zero(self, offset, length):
        """Write zeros, as a request of its own kind."""
        self.now[offset:offset + length] = bytes(length)
        self.commands.append(f"write -q -z {offset} {length}")
        self._touch(offset, length)
        self._held.difference_update(self._whole(offset, length))

    def discard(self, offset, length):
        """Clusters with data in memory become zeros, no others."""
        self.commands.append(f"discard -q {offset} {length}")
        for cluster in range(-(-offset // CLUSTER),
                             (offset + length) // CLUSTER):
            if cluster in self._held:
                self.now[cluster * CLUSTER:(cluster + 1) * CLUSTER] = \
                    bytes(CLUSTER)
                self._held.remove(cluster)

    def read(self, offset, length):
        """Compare what is there."""
        end = offset + length
        while offset < end:
            value, start = self.now[offset], offset
            while offset < end and self.now[offset] == value:
                offset += 1
            self.commands.append(
                f"read -q -P {value} {start} {offset - start}")

    def overlap(self):
        """Writes to pieces of one cluster, all under way at once."""
        start = self._random.randrange(len(self.now) // CLUSTER) * CLUSTER
        for piece in self._random.sample(range(8), 6):
            self.write("aio_write", start + piece * 512, 512)
        self.commands.append("aio_flush")

    def step(self):
        """Do something at random."""
        size = len(self.now)
        offset = self._random.randrange(size)
        length = min(self._random.choice((1, 511, 512, 4096, 9000, 70000)),
                     size - offset)
        if self._random.random() < 0.5:
            offset -= offset % 512
            length = min(-(-length // 512) * 512, size - offset)
        self._random.choice((
            lambda: self.write("write", offset, length),
            lambda: self.write("writev", offset, length),
            lambda: self.zero(offset, length),
            lambda: self.discard(offset, length),
            lambda: self.read(offset, length),
            lambda: self.commands.append("flush"),
            self.overlap))()


class SnapshotCow(unittest.TestCase):

    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.image = os.path.join(work.name, "image")

    def qemu_io(self, commands, *more, status=0):
        """Run qemu-io on the image; returns what it printed."""
        options = ("driver=snapshot-cow,discard=unmap,image.driver=raw,"
                   "image.file.driver=file,"
                   f"image.file.filename={self.image}")
        done = subprocess.run(
            [QEMU_IO, "--image-opts", ",".join((options, *more))],
            input="\n".join(commands) + "\n", text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        self.assertEqual(done.returncode, status, done.stdout)
        return without_asan(done.stdout).replace("qemu-io> ", "").strip()

    def make_image(self, size):
        """Sectors that differ, and the file that nobody may write to."""
        content = b"".join(bytes([i % 251]) * 512 for i in range(-(-size // 512)))
        content = content[:size]
        with open(self.image, "wb") as file:
            file.write(content)
        os.chmod(self.image, 0o444)
        return content + bytes(-size % 512)

    def try_size(self, size):
        content = self.make_image(size)
        for seed in range(5):
            model = Model(content, seed)
            for _ in range(150):
                model.step()
            model.read(0, len(model.now))
            output = self.qemu_io(model.commands)
            self.assertEqual(output, "", f"size {size}, seed {seed}")
        with open(self.image, "rb") as file:
            self.assertEqual(file.read(), content[:size])

    def test_whole_clusters(self):
        self.try_size(80 * CLUSTER)

    def test_end_in_a_cluster(self):
        self.try_size(70 * CLUSTER + 512)

    def test_end_in_a_sector(self):
        self.try_size(3 * CLUSTER + 100)

    def test_oracle(self):
        """A wrong pattern is found."""
        self.make_image(CLUSTER)
        output = self.qemu_io(["write -q -P 5 0 1k", "read -q -P 5 0 2k"],
                              status=1)
        self.assertIn("Pattern verification failed", output)

    def test_map(self):
        """What is held in memory, what is zero, what is the image's."""
        self.make_image(16 * CLUSTER)
        output = self.qemu_io(["write -q 4k 4k", "write -q -z 12k 8k",
                               "write -q 60k 4k", "map"])
        self.assertEqual(
            [(line.split()[0], line.split("(")[1].split(")")[0])
             for line in output.splitlines() if "(" in line][0][0], "64")

    def test_limit(self):
        """What fails leaves all as it was, and the rest goes on."""
        content = self.make_image(64 * CLUSTER)
        model = Model(content, 1)
        model.write("write", 0, 8 * CLUSTER)
        commands = model.commands + ["write -q 128k 128k"]
        model.commands = []
        model.write("write", 3 * CLUSTER, 100)
        model.read(0, 32 * CLUSTER)
        output = self.qemu_io(commands + model.commands, "limit=64k", status=1)
        lines = output.splitlines()
        self.assertEqual(len(lines), 2, output)
        self.assertIn("raise the limit", output)
        self.assertIn("write failed: Disk quota exceeded", output)

    def test_resize_is_refused(self):
        self.make_image(CLUSTER)
        self.assertIn("held in memory",
                      self.qemu_io(["truncate 8k"], status=1))

    def test_bad_limit(self):
        self.make_image(CLUSTER)
        done = subprocess.run(
            [QEMU_IO, "--image-opts", "driver=snapshot-cow,limit=much,"
             f"image.driver=raw,image.file.filename={self.image}",
             "-c", "length"], text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("limit", done.stdout)


if __name__ == "__main__":
    unittest.main()
