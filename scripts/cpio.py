# SPDX-License-Identifier: GPL-2.0-or-later
"""Write initramfs archives: cpio in the "newc" format.

No root is needed, as device nodes are only described.  The same input gives
the same bytes: everything belongs to root and is dated 1970.
"""

import stat


class Archive:
    """An archive in memory.  Archives may be concatenated."""

    def __init__(self):
        self._data = bytearray()
        self._inode = 0
        self._dirs = set()

    def _entry(self, name, mode, content=b'', device=(0, 0)):
        self._inode += 1
        encoded = name.encode() + b'\0'
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device,
                  len(encoded), 0)
        self._data += b'070701' + b''.join(b'%08x' % f for f in fields)
        for part in (encoded, content):
            self._data += part
            self._data += bytes(-len(self._data) % 4)

    def _place(self, path):
        """Return @path as it is stored, after adding what is above it."""
        path = path.strip('/')
        if '/' in path:
            self.add_dir(path.rsplit('/', 1)[0])
        return path

    def add_dir(self, path, mode=0o755):
        """Add a directory and those above it, unless they are in already."""
        path = path.strip('/')
        if path and path not in self._dirs:
            self._dirs.add(path)
            self._entry(self._place(path), stat.S_IFDIR | mode)

    def add_bytes(self, path, content, mode=0o644):
        """Add a file with this content, and the directories above it."""
        self._entry(self._place(path), stat.S_IFREG | mode, content)

    def add_file(self, path, source, mode=0o755):
        """Add a copy of the file @source of the host."""
        with open(source, 'rb') as file:
            self.add_bytes(path, file.read(), mode)

    def add_symlink(self, path, target):
        """Add a symbolic link to @target."""
        self._entry(self._place(path), stat.S_IFLNK | 0o777, target.encode())

    def add_node(self, path, kind, major, minor, mode=0o600):
        """Add a device node; @kind is 'c' or 'b'."""
        bits = {'c': stat.S_IFCHR, 'b': stat.S_IFBLK}[kind]
        self._entry(self._place(path), bits | mode, b'', (major, minor))

    def to_bytes(self):
        """The whole archive, ended; nothing can be added after this."""
        self._inode = -1
        self._entry('TRAILER!!!', 0)
        self._data += bytes(-len(self._data) % 512)
        return bytes(self._data)
