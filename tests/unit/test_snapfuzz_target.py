# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of the front end: targets, and how their machines are started."""

from snapfuzz_case import ROOT, Directory
from snapfuzz import SnapfuzzError
from snapfuzz.machine import Machine, write_whole
from snapfuzz.target import read_target


class Targets(Directory):
    """target.toml, right and wrong."""

    def test_all_keys(self):
        (self.target / "dict").write_text('"word"\n')
        (self.target / "root").mkdir()
        (self.target / "bzImage").write_text("kernel")
        target = self.read(
            'run = "prog -x"\nprograms = ["@build@/made/prog", "bzImage"]\n'
            'memory = 64\nsmp = 2\nmachine = "q35"\nkernel = "bzImage"\n'
            'append = "nosmap"\nqemu = ["-device", "pvpanic-pci"]\n'
            'crash = "crash 11"\n[snapshot]\ncoverage = "tcg"\n'
            'verify = true\npersistent = 10\n')
        self.assertEqual(target.name, "one")
        self.assertEqual(target.programs, [self.build / "made" / "prog",
                                           self.target / "bzImage"])
        self.assertEqual(target.kernel, self.target / "bzImage")
        self.assertEqual(target.dictionary, self.target / "dict")
        self.assertEqual(target.root, self.target / "root")
        self.assertEqual(target.properties(),
                         ["coverage=tcg", "verify=on", "persistent=10"])

    def test_defaults(self):
        target = self.read('run = "true"\n')
        self.assertEqual((target.memory, target.smp, target.machine),
                         (256, 1, "pc"))
        self.assertEqual((target.dictionary, target.root, target.kernel),
                         (None, None, None))

    def test_mistakes_are_told_with_file_and_remedy(self):
        for text, words in (
                ("run = \n", "target.toml: is no TOML: .*line 1"),
                ("", "target.toml: 'run' is missing"),
                ('run = "a \\"b\\""\n', "cannot have '\"'.*below root/"),
                (f'run = "{"x" * 1501}"\n', "longer than 1500"),
                ('run = 1\n', "'run' has to be a string, not 1"),
                ('run = "x"\nrnu = 1\n', "unknown key 'rnu'; there are run,"),
                ('run = "x"\nmemory = true\n', "'memory' has to be a whole"),
                ('run = "x"\nsmp = 0\n', "'smp' has to be 1 or more, not 0"),
                ('run = "x"\nqemu = "-s"\n', "'qemu' has to be a list of"),
                ('run = "x"\nqemu = [1]\n', "'qemu' has to be a list of"),
                ('run = "x"\nprograms = ["prog"]\n',
                 "'programs': .*one/prog is missing: .*@build@/ in front"),
                ('run = "x"\nprograms = ["@build@/prog"]\n',
                 "'programs': .*build/prog is missing: run 'make'"),
                ('run = "x"\nprograms = ["seeds/1", "seeds/1"]\n',
                 "two files 1,.*/bin/1"),
                ('run = "x"\nkernel = "vmlinuz"\n', "'kernel': .*missing"),
                ('run = "x"\nemulator = "@build@/qemu"\n',
                 "'emulator': .*build/qemu is missing: run 'make'"),
                ('kernel = "seeds/1"\nprograms = ["seeds/1"]\n',
                 "'programs' is for a guest with 'run'"),
                ('run = "x"\n[snapshot]\nafl = true\n',
                 "'snapshot.afl' is set by snapfuzz: remove it"),
                ('run = "x"\n[snapshot]\nfile = ["x"]\n',
                 "'snapshot.file' has to be a string, a number")):
            with self.subTest(text=text):
                with self.assertRaisesRegex(SnapfuzzError, words):
                    self.read(text)

    def test_program_that_could_not_be_built(self):
        (self.build / "prog.skipped").write_text("no source\n")
        with self.assertRaisesRegex(
                SnapfuzzError, "could not be built: no source; see to that"):
            self.read('run = "x"\nprograms = ["@build@/prog"]\n')

    def test_no_description(self):
        with self.assertRaisesRegex(SnapfuzzError, "missing: name a target's"):
            read_target(self.work, self.build)

    def test_no_seeds(self):
        (self.target / "seeds" / "1").unlink()
        with self.assertRaisesRegex(SnapfuzzError, "seeds: there is no file"):
            self.read('run = "x"\n')

    def test_those_of_the_project(self):
        """Each has what a target has to have, but for what is built."""
        found = sorted((ROOT / "targets").glob("*/target.toml"))
        self.assertGreaterEqual(len(found), 3)
        for path in found:
            with self.subTest(target=path.parent.name):
                try:
                    read_target(path.parent, ROOT / "build")
                except SnapfuzzError as error:
                    self.assertRegex(str(error), "run 'make'$")
                self.assertTrue((path.parent / "README.md").is_file())


class Machines(Directory):
    """QEMU's command line."""

    def machine(self, text):
        """The machine of a target with this description."""
        return Machine(self.places, self.read(text), self.work / "initrd")

    def test_program_without_an_initramfs(self):
        machine = self.machine('kernel = "seeds/1"\nappend = "x=1"\n'
                               'emulator = "@build@/made/prog"\n')
        machine.make_initrd()
        self.assertFalse(machine.initrd.exists())
        self.assertEqual(machine.command(console="/tmp/c")[:-2], [
            str(self.build / "made" / "prog"), "-machine", "pc", "-m", "256",
            "-smp", "1", "-display", "none", "-nodefaults",
            "-kernel", str(self.target / "seeds" / "1"),
            "-chardev", "file,id=console,path=/tmp/c",
            "-serial", "chardev:console", "-append", "x=1"])

    def test_command(self):
        machine = self.machine(
            'run = "a; b"\nappend = "x=1"\nqemu = ["-device", "edu"]\n'
            '[snapshot]\nmap-size = 8192\ncoverage = "tcg"\n')
        command = machine.command("afl=on", console="/tmp/a,b", qmp="/tmp/q")
        text = " ".join(command)
        self.assertEqual(command[-2:], [
            "-device", "snapshot,coverage=tcg,map-size=8192,afl=on"])
        self.assertIn('console=ttyS0 quiet x=1 snapshot.run="a; b"', command)
        self.assertIn("path=/tmp/a,,b", text)
        self.assertIn("-qmp unix:/tmp/q ", text)
        self.assertIn("-device edu", text)

    def test_size_is_that_of_the_map(self):
        machine = self.machine('run = "a"\n')
        machine.map_size = 4096
        self.assertEqual(machine.command()[-1], "snapshot,map-size=4096")

    def test_nothing_built(self):
        with self.assertRaisesRegex(SnapfuzzError, "missing: run 'make'"):
            self.machine('run = "a"\n').make_initrd()

    def test_files_are_whole(self):
        path = self.work / "file"
        write_whole(path, b"1")
        with self.assertRaises(TypeError):
            write_whole(path, "no bytes")
        self.assertEqual(path.read_bytes(), b"1")
        self.assertEqual(list(self.work.glob(".file*")), [])
