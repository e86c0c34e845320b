# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of the front end: the parts of a campaign, without machines."""

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

from snapfuzz_case import ROOT, Directory
from snapfuzz import afl, doctor, figures, libfuzzer, qmp
from snapfuzz.campaign import Plan, crashes_of
from snapfuzz.machine import Machine


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
        one = figures.Figures(execs=3, inputs=4, crashes=1, edges=7, boot=1.0,
                              runs={"ended": 3, "guest": 10})
        two = figures.Figures(execs=4, inputs=3, edges=8, stability=99.0,
                              runs={"ended": 2, "guest": 5, "fuzzer": 1})
        self.assertEqual(figures.total([one, two]), figures.Figures(
            execs=7, inputs=4, crashes=1, edges=8, stability=99.0, boot=1.0,
            runs={"ended": 5, "guest": 15, "fuzzer": 1}))
        self.assertEqual(figures.total([]), figures.Figures())

    def test_watch(self):
        one, two = ({"armed": True, "restores": n, "pages-total": 2 * n,
                     "runs": {"ended": n}}
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

    def test_time_of_a_run(self):
        self.assertEqual(figures.describe_run(
            {"guest": 42000, "wake-up": 0, "ended": 4, "restore": 40400,
             "fuzzer": 1000}),
            "a run takes 20.9 us: fuzzer 0.2, wake-up 0.0, guest 10.5, "
            "restore 10.1")

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
        self.assertTrue(self.monitors.is_silent())
        # Half of an answer, then the rest of it
        one.sendall(b'{"return": {}, "id": "qmp_capabilities"}\n'
                    b'{"event": "STOP"}\n{"return": {"n"')
        self.assertEqual(self.monitors.query("ask"), [])
        one.sendall(b': 1}, "id": "ask"}\n')
        self.assertEqual(self.monitors.query("ask"), [{"n": 1}])
        self.assertFalse(self.monitors.is_silent())
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
