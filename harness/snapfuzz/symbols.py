# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of source for the addresses in what a guest reports of a crash."""

import re
import struct
import subprocess
from pathlib import Path

PT_LOAD, EXECUTABLE = 1, 1
ET_EXEC = 2

# "at 0x401234" and "from 0x401234" of our library, "RIP: 0033:0x401234" of the
# kernel for a program, and "(/bin/prog+0x1234)" of sanitizers
ABSOLUTE = re.compile(r"\b(?:at |from |RIP: 0033:)(0x[0-9a-f]+)\b")
RELATIVE = re.compile(r"\(?(\S*/)?([\w.+-]+)\+(0x[0-9a-f]+)\)?")
# "function+0x12/0x345 [module]" of the kernel for a module
IN_MODULE = re.compile(r"\b([\w.]+)\+(0x[0-9a-f]+)/0x[0-9a-f]+ \[(\w+)\]")


class Program:
    """A program of the target: where its code is, and its symbols."""

    def __init__(self, path):
        self.path = Path(path)
        self.name = self.path.name
        self.fixed = False          # loaded where it is linked to
        self.code = []              # ranges of addresses
        self._read()

    def _read(self):
        """Read the headers of an ELF file for 64 bits; others have no code."""
        data = self.path.read_bytes()
        if data[:6] != b"\x7fELF\x02\x01" or len(data) < 64:
            return
        self.fixed = struct.unpack_from("<H", data, 16)[0] == ET_EXEC
        start, = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        for at in (start + size * i for i in range(count)):
            if at + 56 > len(data):
                return
            kind, flags = struct.unpack_from("<II", data, at)
            address, _, _, length = struct.unpack_from("<QQQQ", data, at + 16)
            if kind == PT_LOAD and flags & EXECUTABLE:
                self.code.append(range(address, address + length))

    def has(self, address):
        """Is this the address of an instruction?"""
        return any(address in code for code in self.code)

    def lines(self, address):
        """Where in the source that is, a line for each function that was
        inlined; none if it is not known.
        """
        try:
            done = subprocess.run(
                ["addr2line", "-f", "-i", "-p", "-C", "-e", self.path,
                 hex(address)], stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, check=False)
        except FileNotFoundError:
            return []
        return [line.strip() for line in done.stdout.splitlines()
                if not line.startswith("??")]

    def function(self, name):
        """The address of a function, or None."""
        try:
            done = subprocess.run(["nm", self.path], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True,
                                  check=False)
        except FileNotFoundError:
            return None
        found = re.search(rf"^([0-9a-f]+) [Tt] {re.escape(name)}$",
                          done.stdout, re.MULTILINE)
        return found and int(found[1], 16)


def in_modules(line, programs):
    """The modules among @programs that a line of the kernel names, each with an
    address in it.
    """
    for name, offset, module in IN_MODULE.findall(line):
        for program in programs:
            if program.name.replace("-", "_") == module + ".ko":
                start = program.function(name)
                if start is not None:
                    yield program, hex(start + int(offset, 16))


def symbolise(text, programs):
    """Lines that say where the addresses in a report are.

    @programs are the paths of the target's programs.  Of an address that is in
    none of them nothing is said.
    """
    known = [Program(path) for path in programs]
    found = []
    for line in text.splitlines():
        for match in ABSOLUTE.finditer(line):
            for program in known:
                if program.fixed and program.has(int(match[1], 16)):
                    found.append((program, match[1]))
        for match in RELATIVE.finditer(line):
            for program in known:
                if program.name == match[2]:
                    found.append((program, match[3]))
        found += in_modules(line, known)
    said = []
    for program, address in dict.fromkeys(found):
        for i, words in enumerate(program.lines(int(address, 16))):
            place = f"{program.name} {address}" if i == 0 else ""
            said.append(f"{place}: {words}" if place else f"    {words}")
    return said


def kernel_lines(console):
    """What the guest's kernel says of its own crash: it has symbols itself."""
    wanted = re.compile(
        r"Kernel panic|BUG:|RIP: \d+:\S+\+0x|Oops|Modules linked|"
        r"^\s+\S+\+0x[0-9a-f]+/0x[0-9a-f]+|Call Trace")
    lines = [re.sub(r"^\[ *\d+\.\d+\] ?", "", line)
             for line in console.splitlines()]
    if not any("Kernel panic" in line or "Oops" in line or "BUG:" in line
               for line in lines):
        return []
    return [line.rstrip() for line in lines if wanted.search(line)]
