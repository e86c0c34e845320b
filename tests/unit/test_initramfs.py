# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of scripts/cpio.py and scripts/mkinitramfs.py."""

import lzma
import tempfile
import unittest
from pathlib import Path

import cpio
import mkinitramfs


def entries(data):
    """Return {name: (mode, device, content)} of an archive's bytes."""
    result, at = {}, 0
    while True:
        fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16)
                  for i in range(13)]
        assert data[at:at + 6] == b'070701'
        name_end = at + 110 + fields[11]
        name = data[at + 110:name_end - 1].decode()
        start = (name_end + 3) & ~3
        end = start + fields[6]
        if name == 'TRAILER!!!':
            return result
        result[name] = (fields[1], tuple(fields[9:11]), data[start:end])
        at = (end + 3) & ~3


class Cpio(unittest.TestCase):

    def test_every_kind(self):
        archive = cpio.Archive()
        archive.add_bytes('/bin/tool', b'12345', 0o755)
        archive.add_symlink('/bin/sh', 'tool')
        archive.add_node('/dev/console', 'c', 5, 1)
        archive.add_dir('/dev')
        found = entries(archive.to_bytes())
        self.assertEqual(found, {
            'bin': (0o40755, (0, 0), b''),
            'bin/tool': (0o100755, (0, 0), b'12345'),
            'bin/sh': (0o120777, (0, 0), b'tool'),
            'dev': (0o40755, (0, 0), b''),
            'dev/console': (0o20600, (5, 1), b'')})
        self.assertEqual(list(found)[0], 'bin')

    def test_same_bytes_again(self):
        def build():
            archive = cpio.Archive()
            archive.add_bytes('a/b', b'x')
            return archive.to_bytes()
        self.assertEqual(build(), build())
        self.assertEqual(len(build()) % 512, 0)


class Lists(unittest.TestCase):

    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.work = Path(work.name)

    def add(self, text):
        path = self.work / 'initramfs.list'
        path.write_text(text)
        archive = cpio.Archive()
        used = mkinitramfs.add_listed(archive, path, {'source': self.work})
        return entries(archive.to_bytes()), used

    def test_list(self):
        (self.work / 'init').write_text('#!/bin/sh\n')
        found, used = self.add(
            '# comment\ndir /dev 0700\nnod /dev/null 0666 c 1 3\n'
            'file /init @source@/init 0755 # first process\nslink /a b\n')
        self.assertEqual(found['init'], (0o100755, (0, 0), b'#!/bin/sh\n'))
        self.assertEqual(found['dev'][0], 0o40700)
        self.assertEqual(found['dev/null'], (0o20666, (1, 3), b''))
        self.assertEqual(used, [f'{self.work}/init'])

    def test_errors_name_the_line(self):
        for text, word in (('dir /a\n', 'cannot read'),
                           ('dir /a rwx\n', 'cannot read'),
                           ('file /a @nowhere@/a 0644\n', 'cannot read'),
                           ('file /a @source@/missing 0644\n', 'missing'),
                           ('pipe /a 0644\n', "unknown kind 'pipe'")):
            with self.subTest(text=text):
                with self.assertRaisesRegex(mkinitramfs.ListError,
                                            'initramfs.list:2:.*' + word):
                    self.add('# first\n' + text)

    def test_tree(self):
        (self.work / 'etc/deep').mkdir(parents=True)
        (self.work / 'etc/run').write_text('#!/bin/sh\n')
        (self.work / 'etc/run').chmod(0o755)
        (self.work / 'etc/deep/data').write_bytes(b'\0')
        (self.work / 'etc/deep/data').chmod(0o640)
        (self.work / 'etc/link').symlink_to('run')
        archive = cpio.Archive()
        mkinitramfs.add_tree(archive, self.work)
        self.assertEqual(entries(archive.to_bytes()), {
            'etc': (0o40755, (0, 0), b''),
            'etc/deep': (0o40755, (0, 0), b''),
            'etc/deep/data': (0o100640, (0, 0), b'\0'),
            'etc/link': (0o120777, (0, 0), b'run'),
            'etc/run': (0o100755, (0, 0), b'#!/bin/sh\n')})

    def test_modules_with_what_they_need(self):
        (self.work / 'modules.dep').write_text(
            'kernel/a/virtio-rng.ko.xz: kernel/b/virtio.ko.xz kernel/b/ring.ko\n'
            'kernel/b/virtio.ko.xz: kernel/b/ring.ko\n'
            'kernel/b/ring.ko:\nkernel/c/other.ko:\n')
        names = mkinitramfs.needed_modules(
            self.work, ['virtio_rng', 'built_into_the_kernel'])
        self.assertEqual(names, ['kernel/a/virtio-rng.ko.xz',
                                 'kernel/b/ring.ko', 'kernel/b/virtio.ko.xz'])

    def test_compressed_modules(self):
        plain, packed = self.work / 'a.ko', self.work / 'a.ko.xz'
        plain.write_bytes(b'module')
        packed.write_bytes(lzma.compress(b'module'))
        self.assertEqual(mkinitramfs.unpacked(plain), b'module')
        self.assertEqual(mkinitramfs.unpacked(packed), b'module')
