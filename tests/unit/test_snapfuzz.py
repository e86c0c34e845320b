# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of the front end: its commands, single runs and reports."""

import contextlib
import dataclasses
import io
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from snapfuzz_case import ROOT
from snapfuzz import SnapfuzzError, cli, once, symbols


class MapSize(unittest.TestCase):
    """How large a map has to be."""

    def test_what_the_guest_says(self):
        for used, size in ((1, 4096), (4096, 4096), (4097, 8192),
                           (100000, 131072), (9 << 20, 8 << 20)):
            self.assertEqual(once.map_size(used, 1), size)

    def test_room_where_edges_are_hashed(self):
        for seen, size in ((0, 4096), (28, 4096), (1000, 32768),
                           (1 << 20, 8 << 20)):
            self.assertEqual(once.map_size(0, seen), size)


class Runs(unittest.TestCase):
    """What QEMU says of runs."""

    OUTPUT = ("seeds/a: b: crash 11, 12 us, 7 bytes of the map\n"
              "    x: done 0, 1 us, 2 bytes of the map\n"
              "seeds/c: done 3, 5 us, 2 bytes of the map\n"
              "seeds/d: panic of the guest's kernel, 9 us, 0 bytes of the map\n"
              "seeds/e: timeout, 5000 us, 1 bytes of the map\n"
              "4 runs, 3 of them not just done\n"
              "the target has 28 bytes of the map\n")

    def result(self, output, code=0, errors=""):
        """A Result with this output."""
        return once.Result(once.parse_ends(output),
                           once.parse_map_used(output), code, output, errors,
                           "")

    def test_ends(self):
        ends = once.parse_ends(self.OUTPUT.replace("    x: done", "    done"))
        self.assertEqual(
            [(end.name, end.words, end.signal, end.used) for end in ends],
            [("seeds/a: b", "crash 11", 11, 7), ("seeds/c", "done 3", 0, 2),
             ("seeds/d", "panic of the guest's kernel", 6, 0),
             ("seeds/e", "timeout", 9, 1)])
        self.assertEqual(once.parse_map_used(self.OUTPUT), 28)
        self.assertEqual(once.parse_map_used("nothing"), 0)

    def test_what_the_guest_says_is_no_end(self):
        self.assertEqual(len(once.parse_ends(self.OUTPUT)), 4)

    def test_reproduced(self):
        crash = self.result(self.OUTPUT.splitlines(True)[0])
        done = self.result("a: done 0, 1 us, 1 bytes of the map\n")
        qemu = self.result("", -6)
        sanitizer = self.result("", 1, "==1==ERROR: AddressSanitizer: heap")
        hangs = dataclasses.replace(self.result(""), hangs=True)
        for result, expected, good in (
                (crash, 11, True), (crash, 6, False), (crash, None, True),
                (done, None, False), (done, 11, False), (qemu, 6, True),
                (qemu, 11, False), (sanitizer, 6, True), (hangs, None, True),
                (hangs, 6, False)):
            self.assertEqual(once.has_reproduced(result, expected), good)

    def test_signal_in_a_name(self):
        for name, number in (("id:000001,sig:11,src:0", 11),
                             ("x/id:000001,sig:06,src:0", 6),
                             ("crash-0123", None), ("sig:11/1", None)):
            self.assertEqual(once.expected_signal(name), number)

    def test_no_run(self):
        with self.assertRaisesRegex(SnapfuzzError, "has not had a run: .*\n"
                                    ".*exit code 1.*: no such device"):
            once.must_have_run(self.result("", 1, "no such device"))
        once.must_have_run(self.result("", -11))


class Symbols(unittest.TestCase):
    """Addresses in reports."""

    def test_program(self):
        with tempfile.TemporaryDirectory() as work:
            source, program = Path(work, "a.c"), Path(work, "prog")
            source.write_text("int here(void)\n{\n    return 7;\n}\n"
                              "int main(void)\n{\n    return here();\n}\n")
            subprocess.run(["gcc", "-g", "-O0", "-static", "-o", program,
                            source], check=True)
            address = next(line.split()[0] for line in subprocess.run(
                ["nm", program], stdout=subprocess.PIPE, text=True,
                check=True).stdout.splitlines() if line.endswith(" here"))
            address = hex(int(address, 16))
            for text in (f"signal 11, at {address}\n", f"from {address}\n" * 2,
                         f"[ 2.7] RIP: 0033:{address}\n",
                         f"#0 0x7f in f (/bin/prog+{address}) (BuildId: 0)"):
                lines = symbols.symbolise(text, [program])
                self.assertEqual(len(lines), 1)
                self.assertRegex(lines[0], rf"^prog {address}: here at .*a.c:2")
            self.assertEqual(symbols.symbolise("at 0x10", [program]), [])
            # A script is no program with symbols.
            self.assertEqual(symbols.symbolise(f"at {address}", [source]), [])

    def test_module(self):
        """A module is not linked: what the kernel says is by function."""
        with tempfile.TemporaryDirectory() as work:
            source, module = Path(work, "a.c"), Path(work, "a-mod.ko")
            source.write_text("int first(void)\n{\n    return 7;\n}\n"
                              "int here(void)\n{\n    return 8;\n}\n")
            subprocess.run(["gcc", "-g", "-O0", "-c", "-o", module, source],
                           check=True)
            lines = symbols.symbolise(
                "[    1.3]  here+0x0/0x20 [a_mod]\n  here+0x0/0x20 [other]\n"
                "  there+0x0/0x20 [a_mod]\n", [module])
            self.assertEqual(len(lines), 1)
            self.assertRegex(lines[0], r"^a-mod.ko 0x\w+: here at .*a.c:6")

    def test_kernel(self):
        said = ("boots\n[    1.2] sysrq: Trigger a crash\n"
                "[    1.3] Kernel panic - not syncing: sysrq triggered crash\n"
                "[    1.3] Call Trace:\n[    1.3]  dump_stack+0x44/0x5c [one]\n"
                "[    1.4] RIP: 0033:0x44d1e7\n")
        self.assertEqual(symbols.kernel_lines(said), [
            "Kernel panic - not syncing: sysrq triggered crash", "Call Trace:",
            " dump_stack+0x44/0x5c [one]"])
        self.assertEqual(symbols.kernel_lines("dump_stack+0x1/0x2\n"), [])


class CommandLine(unittest.TestCase):
    """The commands."""

    def call(self, *argv):
        """Exit code, standard output and standard error of a command."""
        output, errors = io.StringIO(), io.StringIO()
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        with contextlib.redirect_stdout(output), \
                contextlib.redirect_stderr(errors):
            try:
                code = cli.main(ROOT, "/nowhere", list(argv))
            except SystemExit as end:
                code = end.code
        return code, output.getvalue(), errors.getvalue()

    def test_help(self):
        for command in ([], ["run"], ["repro"], ["doctor"], ["targets"]):
            code, output, _ = self.call(*command, "--help")
            self.assertEqual(code, 0)
            self.assertIn("usage: snapfuzz", output)

    def test_targets(self):
        code, output, _ = self.call("targets")
        self.assertEqual(code, 0)
        self.assertRegex(output, r"(?m)^records +A small parser with a bug$")

    def test_errors(self):
        for argv, code, words in (
                (["run", "/nowhere/target"], 1, "error: /nowhere/target/"
                 "target.toml is missing: name a target"),
                (["run", "records"], 1, "is missing: run 'make'"),
                (["run", "records", "-j", "0"], 2, "has to be 1 or more"),
                (["run", "records", "--afl", "--libfuzzer"], 2, "not allowed"),
                (["doctor", "--", "-x"], 2, "are for 'run'"),
                ([], 2, "COMMAND")):
            got, _, errors = self.call(*argv)
            self.assertEqual(got, code)
            self.assertIn(words, errors)
