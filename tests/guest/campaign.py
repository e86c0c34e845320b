# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of campaigns have in common: machines, monitors, afl-fuzz."""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import image
from afl_client import libc
from tap import Skip, Tap, argument_parser, becomes, equal
from vm import LONG_TIMEOUT, TIMEOUT, X86_64, Channel, children

# For targets/records: a name that is nearly too long, and a sum
NEAR = b"RCn\x1e" + b"A" * 30 + b"s\x01a"


class Bench:
    """What the checks need: a directory, and how to start a machine."""
    arch = X86_64
    options = ()        # of QEMU, for the kind of machine

    def __init__(self, work, smp):
        self.work = work
        self.smp = smp
        self.initrd = self.path("initrd")
        self.make_initrd()

    def make_initrd(self):
        """Write the guest's initramfs to self.initrd."""
        image.make_initrd(self.initrd)

    def path(self, name):
        """A file of this test."""
        return os.path.join(self.work, name)

    def command(self, program, options, *more, initrd=None):
        """The command line of a machine that runs @program."""
        kernel_line = (f"console={self.arch.console} quiet "
                       f'snapshot.run="{program}"')
        return [self.arch.qemu, *self.options, "-display", "none",
                "-nodefaults", "-m", "256", "-smp", self.smp,
                "-serial", "file:" + self.path("console"),
                "-kernel", self.arch.kernel, "-initrd", initrd or self.initrd,
                "-append", kernel_line, "-device", "pvpanic-pci",
                "-device", f"snapshot,{options}", *more]

    def run(self, command, **more):
        """Run a command to its end; returns what subprocess.run() does."""
        return subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False,
                              timeout=LONG_TIMEOUT, **more)

    def write(self, name, data):
        """A file with this in it; returns its path."""
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def read(self, name):
        """What is in a file."""
        with open(self.path(name), "rb") as file:
            return file.read()

    def inputs(self, name, inputs):
        """A directory with these inputs, by name; returns its path."""
        path = self.path(name)
        os.mkdir(path)
        for file, data in inputs.items():
            with open(os.path.join(path, file), "wb") as stream:
                stream.write(data)
        return path


class Monitor:
    """The monitor of a QEMU that something else starts, such as afl-fuzz.

    @options are for its command line, and it has to inherit @fd.
    """

    def __init__(self):
        self._channel = Channel()
        self.fd = self._channel.peer.fileno()
        self.options = ["-chardev", f"socket,id=monitor,fd={self.fd}",
                        "-mon", "chardev=monitor,mode=control"]
        self._ready = False

    def ask(self, command, timeout=TIMEOUT, **arguments):
        """Run a command.  Returns its result, or the error."""
        if not self._ready:
            self._ready = True
            self.ask("qmp_capabilities")
        self.send(command, **arguments)
        deadline = time.monotonic() + timeout
        while line := self._channel.take(rb"[^\n]*\n", deadline):
            reply = json.loads(line[1])
            if "return" in reply or "error" in reply:
                return reply.get("return", reply)
        raise AssertionError(f"{command}: no answer from the monitor")

    def send(self, command, **arguments):
        """Give a command, and do not wait for the answer."""
        self._channel.send(json.dumps(
            {"execute": command, "arguments": arguments}).encode())


def results(output):
    """What became of each file, by its name."""
    return {os.path.basename(name): words for name, words in re.findall(
        r"^(\S+): ([^,]*), \d+ us", output, re.MULTILINE)}


def need(program):
    """Skip without this program of AFL++."""
    if not shutil.which(program):
        raise Skip(f"{program} is not installed")
    return program


def afl_environment():
    """The environment for afl-fuzz in a test.

    Without the options of sanitizers that "meson test" sets: they are not to
    afl-fuzz's liking, and it ends.
    """
    inherited = {name: value for name, value in os.environ.items()
                 if not name.endswith("SAN_OPTIONS")}
    return {**inherited, "AFL_NO_UI": "1", "AFL_NO_AFFINITY": "1",
            "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
            "AFL_SKIP_CPUFREQ": "1",
            # Guests boot slowly on a busy host, and with sanitizers.
            "AFL_FORKSRV_INIT_TMOUT": "600000"}


def figures(out):
    """The figures of a fuzzer's directory, by name; empty if it has none yet."""
    try:
        with open(os.path.join(out, "fuzzer_stats"), encoding="ascii") as file:
            return dict(re.findall(r"(\w+)\s+: (\S+)", file.read()))
    except FileNotFoundError:
        return {}


def fuzz(bench, seeds, command, *options, until_crash=False):
    """A campaign of afl-fuzz, with these options of its own, which is to be
    stable.  Returns its directory and its figures, by name.
    """
    out = tempfile.mkdtemp(prefix="out-", dir=bench.work)
    more = {"AFL_BENCH_UNTIL_CRASH": "1"} if until_crash else {}
    end = bench.run([need("afl-fuzz"), *options, "-t", "5000", "-i", seeds,
                     "-o", out, "--", *command],
                    env={**afl_environment(), **more})
    stats = figures(os.path.join(out, "default"))
    if not stats:
        raise AssertionError(end.stdout + end.stderr)
    Tap.comment(f"{stats['execs_done']} runs, {stats['execs_per_sec']}/s, "
                f"{stats['corpus_count']} inputs, {stats['edges_found']} "
                f"edges, stability {stats['stability']}")
    if float(stats["stability"].rstrip("%")) < 99:
        raise AssertionError(f"stability {stats['stability']}")
    return os.path.join(out, "default"), stats


def find_crash(bench, out, number=None):
    """Copy the first crash of a campaign, which is to be by this signal, if
    one is given.  Returns the file.
    """
    crashes = os.path.join(out, "crashes")
    names = [name for name in os.listdir(crashes) if name.startswith("id:")]
    if not names or (number and f"sig:{number:02}" not in names[0]):
        raise AssertionError(f"crashes: {names}")
    return shutil.copy(os.path.join(crashes, names[0]), bench.path("crash"))


# The processes of a campaign, each a child of the one before
NAMES = ("afl-fuzz", "keeper", "QEMU", "helper")


class Campaign:
    """afl-fuzz with a machine, in the background, in a "with" statement"""

    def __init__(self, out, seeds, machine, *options, limit="5000"):
        self.out = os.path.join(out, "default")
        self._output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [need("afl-fuzz"), *options, "-t", limit, "-i", seeds, "-o", out,
             "--", *machine], stdin=subprocess.DEVNULL,
            stdout=self._output, env=afl_environment())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._output.close()

    def last_words(self):
        """The end of what afl-fuzz has printed."""
        self._output.seek(0)
        return self._output.read()[-1000:].decode(errors="replace")

    def wait_for_runs(self):
        """Wait until it has begun, and written its figures.  Returns them."""
        def has_begun():
            if self.process.poll() is not None:
                raise AssertionError("afl-fuzz has ended: " +
                                     self.last_words())
            return figures(self.out).get("fuzzer_pid")

        becomes("pid in the figures", has_begun, str(self.process.pid),
                LONG_TIMEOUT)
        return figures(self.out)

    def runs(self):
        """How many there were, as far as it has written its figures."""
        return int(figures(self.out).get("execs_done", 0))

    def processes(self):
        """The pids of those in NAMES, each a child of the one before."""
        pids = [self.process.pid]
        for name in NAMES[1:]:
            found = children(pids[-1])
            equal(f"number of processes that are {name}", len(found), 1)
            pids += found
        return pids


def remove_segments(pid):
    """Remove the shared memory that an afl-fuzz is going to leave behind, whose
    QEMU or keeper has this pid.
    """
    with open(f"/proc/{pid}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name in (b"__AFL_SHM_ID", b"__AFL_SHM_FUZZ_ID"):
                libc.shmctl(int(value), 0, None)


def descendants(pid):
    """The pids of what a process has started, and so on."""
    try:
        found = children(pid)
    except FileNotFoundError:
        return []
    return found + [each for child in found for each in descendants(child)]


def run_for(name, function, seconds):
    """Have @function(seconds, seed, work) check what may take any time, with a
    directory to work in; @seconds unless the command line says otherwise.
    Returns the test's exit code.
    """
    parser = argparse.ArgumentParser(description=sys.modules[
        function.__module__].__doc__.split("\n\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=seconds, metavar="N",
                        help=f"how long it takes (default: {seconds})")
    parser.add_argument("--seed", type=int, metavar="N",
                        default=random.SystemRandom().randrange(1, 1 << 30),
                        help="repeat what was done with it, as far as can be")
    args = parser.parse_args()
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="snapshot-") as work:
        tap.check(f"{name}, {args.seconds:.0f} s, --seed {args.seed}",
                  function, args.seconds, args.seed, work)
    return tap.end()


def run_checks(name, checks, make=Bench):
    """Have @checks make the checks of a test, with a Tap and a Bench, as the
    command line says; @make is the kind of Bench.  Returns the test's exit
    code.
    """
    parser = argument_parser(sys.modules[checks.__module__].__doc__)
    parser.add_argument("smp", nargs="?", default="1", metavar="N",
                        help="vCPUs of each machine (default: 1)")
    args = parser.parse_args()
    tap = Tap(args.only)
    with tempfile.TemporaryDirectory(prefix=f"snapshot-{name}-") as work:
        try:
            bench = make(work, args.smp)
        except FileNotFoundError as error:
            return tap.bail_out(f"{error.filename} is missing: run 'make'")
        checks(tap, bench)
    return tap.end()
