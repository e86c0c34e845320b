# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of the front end (harness/snapfuzz), without machines."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "harness"))
# Their directory is added above.
from snapfuzz import (SnapfuzzError, afl, cli, doctor, figures,    # noqa: E402
                      libfuzzer, once, qmp, symbols)
from snapfuzz.machine import Machine, Places, write_whole    # noqa: E402
from snapfuzz.campaign import Plan, crashes_of    # noqa: E402
from snapfuzz.target import read_target    # noqa: E402


class Directory(unittest.TestCase):
    """Has a directory, with a target and a build directory in it."""

    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.work = Path(work.name).resolve()
        self.build = self.work / "build"
        self.target = self.work / "one"
        (self.target / "seeds").mkdir(parents=True)
        (self.target / "seeds" / "1").write_text("seed")
        (self.build / "made").mkdir(parents=True)
        (self.build / "made" / "prog").write_text("program")
        self.places = Places(self.work, self.build)

    def read(self, text):
        """Read the target with this description."""
        (self.target / "target.toml").write_text(text)
        return read_target(self.target, self.build)


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
        for result, expected, good in (
                (crash, 11, True), (crash, 6, False), (crash, None, True),
                (done, None, False), (done, 11, False), (qemu, 6, True),
                (qemu, 11, False), (sanitizer, 6, True)):
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

    def test_kernel(self):
        said = ("boots\n[    1.2] sysrq: Trigger a crash\n"
                "[    1.3] Kernel panic - not syncing: sysrq triggered crash\n"
                "[    1.3] Call Trace:\n[    1.3]  dump_stack+0x44/0x5c [one]\n"
                "[    1.4] RIP: 0033:0x44d1e7\n")
        self.assertEqual(symbols.kernel_lines(said), [
            "Kernel panic - not syncing: sysrq triggered crash", "Call Trace:",
            " dump_stack+0x44/0x5c [one]"])
        self.assertEqual(symbols.kernel_lines("dump_stack+0x1/0x2\n"), [])


STATS = """start_time        : 1795291917
execs_done        : 12117
stability         : 99.50%
edges_found       : 28
command_line      : afl-fuzz -i seeds : -o out
"""


class Figures(Directory):
    """What fuzzers say of themselves."""

    def plan(self):
        """The plan of a campaign with two workers."""
        machine = Machine(self.places, self.read('run = "a"\n'),
                          self.work / "initrd")
        return Plan(machine, self.work / "out", jobs=2)

    def test_stats(self):
        stats = figures.parse_stats(STATS)
        self.assertEqual(stats["execs_done"], "12117")
        self.assertEqual(stats["command_line"], "afl-fuzz -i seeds : -o out")

    def test_afl(self):
        worker = afl.Worker(self.plan(), 1)
        self.assertEqual(worker.figures(), figures.Figures())
        for name in ("queue", "crashes", "hangs"):
            (worker.directory / name).mkdir(parents=True)
            (worker.directory / name / "id:000000").write_text(name)
        (worker.directory / "crashes" / "README.txt").write_text("text")
        (worker.directory / "fuzzer_stats").write_text(STATS)
        self.assertEqual(worker.figures(), figures.Figures(
            execs=12117, inputs=1, crashes=1, hangs=1, edges=28,
            stability=99.5))
        (worker.directory / "fuzzer_stats").write_text("execs_done : ")
        self.assertEqual(worker.figures(), figures.Figures(
            inputs=1, crashes=1, hangs=1))

    def test_afl_goes_on(self):
        """It counts on, and puts crashes aside."""
        plan = self.plan()
        directory = plan.out / "main"
        (directory / "crashes.2026-11-21-20:47:01").mkdir(parents=True)
        (directory / "crashes.2026-11-21-20:47:01" / "id:0").write_text("x")
        (directory / "fuzzer_stats").write_text(STATS)
        worker = afl.Worker(plan, 0)
        self.assertEqual(worker.figures().execs, 0)
        (directory / "fuzzer_stats").write_text(
            STATS.replace("12117", "12120"))
        self.assertEqual(worker.figures().execs, 3)
        self.assertEqual(len(worker.crashes()), 1)

    def test_afl_command(self):
        plan = self.plan()
        command = list(map(str, afl.Worker(plan, 0).command("q")))
        self.assertEqual(command[1:7], [
            "-i", str(self.target / "seeds"), "-o", str(plan.out), "-M",
            "main"])
        second = afl.Worker(plan, 1)
        (second.directory / "queue").mkdir(parents=True)
        (second.directory / "queue" / "id:000000").write_text("x")
        command = list(map(str, second.command("q")))
        self.assertEqual(command[1:7], [
            "-i", "-", "-o", str(plan.out), "-S", "worker2"])

    def test_libfuzzer(self):
        plan = self.plan()
        (plan.out / "log").mkdir(parents=True)
        worker = libfuzzer.Worker(plan, 0)
        self.assertEqual(worker.figures(), figures.Figures())
        log = plan.log("main")
        log.write_text("#2\tINITED cov: 2 ft: 3 corp: 1/4b exec/s: 0\n#12\tNE")
        self.assertEqual(worker.figures(), figures.Figures(
            execs=2, inputs=1, edges=3))
        with open(log, "a", encoding="ascii") as file:
            file.write("W    cov: 2 ft: 9 corp: 5/4b lim: 4 exec/s: 0\n"
                       "#1\tINITED cov: 2 ft: 9 corp: 6/9b exec/s: 0\n")
        # Another process has begun: it counts from the beginning.
        self.assertEqual(worker.figures(), figures.Figures(
            execs=13, inputs=6, edges=9))
        with open(log, "a", encoding="ascii") as file:
            file.write("#7\tNEW cov: 2 ft: 9 corp: 6/9b exec/s: 0\n")
        self.assertEqual(worker.figures().execs, 19)

    def test_counter(self):
        counter = figures.Counter()
        self.assertEqual([counter.update(value) for value in (3, 5, 2, 2, 4)],
                         [3, 5, 7, 7, 9])

    def test_total(self):
        one = figures.Figures(execs=3, inputs=4, crashes=1, edges=7, boot=1.0)
        two = figures.Figures(execs=4, inputs=3, edges=8, stability=99.0)
        self.assertEqual(figures.total([one, two]), figures.Figures(
            execs=7, inputs=4, crashes=1, edges=8, stability=99.0, boot=1.0))
        self.assertEqual(figures.total([]), figures.Figures())

    def test_watch(self):
        one, two = ({"armed": True, "restores": n, "pages-total": 2 * n}
                    for n in (10, 4))
        answers = [[], [{"armed": False}], [one], [one, two]]

        class Fake:
            """Monitors of two machines, one after the other."""
            @staticmethod
            def query(_):
                """The next answers."""
                return answers.pop(0)

        watch = figures.Watch(Fake, persistent=3)
        seen = []
        while answers:
            found = figures.Figures()
            watch.add_to(found)
            seen.append((found.restores, found.pages, found.execs,
                         found.boot is None))
        self.assertEqual(seen, [(0, 0, 0, True), (0, 0, 0, True),
                                (10, 20, 30, False), (14, 28, 42, False)])

    def test_line(self):
        self.assertEqual(figures.describe(figures.Figures(), (0, 0), 61),
                         "0:01:01  the guests boot")
        line = figures.describe(
            figures.Figures(execs=1234, restores=100, pages=850, inputs=3,
                            crashes=1, edges=28, stability=100.0, boot=1.0),
            (56.7, 55.0), 3723)
        self.assertEqual(line, "1:02:03  1,234 execs (57/s)  crashes 1  hangs 0  "
                         "inputs 3  edges 28  stability 100 %  55 restores/s  "
                         "8.5 pages/run")

    def test_progress(self):
        stream = io.StringIO()
        progress = figures.Progress(stream, period=0)
        progress.show(figures.Figures(boot=1.0))
        progress.say("words")
        self.assertRegex(stream.getvalue(), r"^0:00:00  0 execs .*\nwords\n$")
        stream.isatty = lambda: True
        stream.truncate(0)
        progress = figures.Progress(stream)
        progress.show(figures.Figures())
        progress.say("words")
        self.assertRegex(stream.getvalue(), "\r\033\\[K0:00:00 .*boot"
                         "\r\033\\[Kwords\n$")

    def test_same_crash_once(self):
        plan = self.plan()
        workers = [afl.Worker(plan, index) for index in range(2)]
        for worker, texts in zip(workers, (("a", "b"), ("b", "c"))):
            (worker.directory / "crashes").mkdir(parents=True)
            for text in texts:
                (worker.directory / "crashes" / f"id:{text}").write_text(text)
        self.assertEqual([path.name for path in crashes_of(workers)],
                         ["id:a", "id:b", "id:c"])


class Qmp(unittest.TestCase):
    """The monitors of QEMUs that come and go."""

    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.path = os.path.join(work.name, "qmp")
        self.monitors = qmp.Monitors(self.path)
        self.addCleanup(self.monitors.close)
        self.addCleanup(setattr, qmp, "PATIENCE", qmp.PATIENCE)
        qmp.PATIENCE = 0.05

    def connect(self):
        """A QEMU that calls."""
        end = socket.socket(socket.AF_UNIX)
        self.addCleanup(end.close)
        end.connect(self.path)
        end.sendall(b'{"QMP": {"version": {}}}\n')
        return end

    def test_answers(self):
        self.assertEqual(self.monitors.query("ask"), [])
        one = self.connect()
        # It is busy.
        self.assertEqual(self.monitors.query("ask"), [])
        self.assertEqual([json.loads(line)["execute"] for line in
                          one.recv(9999).splitlines()],
                         ["qmp_capabilities", "ask"])
        # Half of an answer, then the rest of it
        one.sendall(b'{"return": {}, "id": "qmp_capabilities"}\n'
                    b'{"event": "STOP"}\n{"return": {"n"')
        self.assertEqual(self.monitors.query("ask"), [])
        one.sendall(b': 1}, "id": "ask"}\n')
        self.assertEqual(self.monitors.query("ask"), [{"n": 1}])
        # It was not asked again before it had answered.
        with self.assertRaises(BlockingIOError):
            one.recv(9999, socket.MSG_DONTWAIT)
        two = self.connect()
        two.sendall(b'{"return": {"n": 2}, "id": "ask"}\n')
        self.assertEqual(self.monitors.query("ask"), [{"n": 1}, {"n": 2}])
        one.close()
        self.assertEqual(self.monitors.query("ask"), [{"n": 1}, {"n": 2}])


class Processes(unittest.TestCase):
    """Nothing is left of what was started."""

    def test_what_a_child_leaves_behind(self):
        # In a process of its own, for it adopts orphans.
        code = ("import subprocess, sys, time\n"
                f"sys.path.insert(0, {str(ROOT / 'harness')!r})\n"
                "from snapfuzz import processes\n"
                "processes.adopt_orphans()\n"
                "child = processes.start(['sh', '-c', \"trap '' TERM; setsid "
                "sleep 1000 & sleep 1001\"])\n"
                "while len(processes.descendants(child.pid)) < 2:\n"
                "    time.sleep(0.01)\n"
                "killed = processes.end_all([child], patience=0.3)\n"
                "print(killed, processes.children(__import__('os').getpid()))")
        done = subprocess.run([sys.executable, "-c", code], check=True,
                              stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.stdout, "2 []\n")

    def test_ends_with_its_parent(self):
        code = ("import os, signal, sys\n"
                f"sys.path.insert(0, {str(ROOT / 'harness')!r})\n"
                "from snapfuzz import processes\n"
                "print(processes.start(['sleep', '1000']).pid, flush=True)\n"
                "os.kill(os.getpid(), signal.SIGKILL)")
        done = subprocess.run([sys.executable, "-c", code], check=False,
                              stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, -signal.SIGKILL)
        for _ in range(200):
            state = doctor.Host.read(f"/proc/{done.stdout.strip()}/stat")
            if not state or state.rsplit(")", 1)[1].split()[0] == "Z":
                return
            time.sleep(0.05)
        self.fail("it lives on")


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
