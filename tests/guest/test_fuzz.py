#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Campaigns: the real afl-fuzz on a whole machine, and each way that a run
can end.
"""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import afl_client
import image
from tap import Skip, Tap, becomes, equal
from vm import (BUILD, LONG_TIMEOUT, QEMU, ROOT, TIMEOUT, X86_64, children,
                gone, payload)

sys.path.insert(0, os.path.join(ROOT, "harness"))
from snapfuzz.symbols import symbolise    # noqa: E402  (added above)

ARCHIVE = os.path.join(BUILD, "guest", "fuzz", "libsnapshot-fuzz.a")
RECORDS = os.path.join(ROOT, "targets", "records", "records.c")
SEEDS = os.path.join(ROOT, "targets", "records", "seeds")

# A record 'n' that is too long, and a record 's'
CRASH = b"RCn\xc8" + b"A" * 200 + b"s\x01a"

# What each input of the program "ends" does, as afl-fuzz hears of it; its
# first run after a restore always is its first.
ENDS = {
    "d": "exit 0", "c": "exit 1", "x": "exit 3", "a": "signal 6",
    "s": "signal 11", "v": "signal 11", "p": "signal 6", "r": "signal 1",
    "o": "signal 15", "h": "signal 14", "f": "signal 9",
}

# And in the words of a run without afl-fuzz
WORDS = {
    "d": "done 0", "c": "done 1", "x": "done 3", "a": "crash 6",
    "s": "crash 11", "v": "crash 11", "p": "panic of the guest's kernel",
    "r": "reset by the guest", "o": "shutdown by the guest",
    "h": "halted for good", "f": "timeout",
}


# For one input afl-showmap needs no fork server: this is for the boot, too.
SHOWMAP_MS = "300000"


class Bench:
    """What the checks need: a directory, and how to start a machine."""

    def __init__(self, work, smp):
        self.work = work
        self.smp = smp
        self.initrd = self.path("initrd")
        image.make_initrd(self.initrd)

    def path(self, name):
        """A file of this test."""
        return os.path.join(self.work, name)

    def command(self, program, options, *more, initrd=None):
        """The command line of a machine that runs @program."""
        return [QEMU, "-display", "none", "-nodefaults", "-m", "256",
                "-smp", self.smp, "-serial", "file:" + self.path("console"),
                "-kernel", X86_64.kernel, "-initrd", initrd or self.initrd,
                "-append", f'console=ttyS0 quiet snapshot.run="{program}"',
                "-device", "pvpanic-pci", "-device", f"snapshot,{options}",
                *more]

    def run(self, command, **more):
        """Run a command to its end; returns what subprocess.run() does."""
        return subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False,
                              timeout=LONG_TIMEOUT, **more)

    def inputs(self, name, inputs):
        """A directory with these inputs, by name; returns its path."""
        path = self.path(name)
        os.mkdir(path)
        for file, data in inputs.items():
            with open(os.path.join(path, file), "wb") as stream:
                stream.write(data)
        return path


def check_files(bench):
    """Each way to end, with files as inputs."""
    seeds = bench.inputs("ends", {letter: letter.encode() for letter in WORDS})
    end = bench.run(bench.command(
        "ends", f"seeds={seeds},timeout=3000,verify=on"))
    equal("ends", results(end.stdout), WORDS)
    equal("exit code", end.returncode, 1)
    if "restore is not exact" in end.stderr:
        raise AssertionError(end.stderr)
    if "signal 11 (SEGV), code 1, address 0x8" not in end.stdout:
        raise AssertionError(end.stdout)
    check_calls(end.stdout)


def check_calls(output):
    """abort() is in the C library; the report says who has called it."""
    report = re.search(r"^    signal 6 \(ABRT\).*\n(?:      from 0x.*\n)+",
                       output, re.MULTILINE)
    lines = symbolise(report[0] if report else "",
                      [os.path.join(image.test_programs(), "ends")])
    if not any("LLVMFuzzerTestOneInput" in line for line in lines):
        raise AssertionError(f"{lines}: {output}")


def check_protocol(bench, kind, *options):
    """The fork server protocol, with each way to end, twice."""
    python = sys.executable
    if kind == "new":
        # What QEMU looks for in the program that has started it
        python = bench.path("python")
        shutil.copy(os.path.realpath(sys.executable), python)
        with open(python, "ab") as file:
            file.write(afl_client.NEW_TEXT)
    letters = "".join(ENDS) * 2
    end = bench.run([
        python, afl_client.__file__, "--inputs", letters, *options, "--",
        *bench.command("ends", "afl=on,verify=on")])
    lines = end.stdout.splitlines()
    if not lines or not lines[0].startswith(f"handshake {kind} "):
        raise AssertionError(end.stdout + end.stderr)
    equal("results", [line.rsplit(" ", 1)[0] for line in lines[1:-1]],
          [f"{letter} {ENDS[letter]}" for letter in letters])
    coverage = [line.rsplit(" ", 1)[1] for line in lines[1:-1]]
    if "0" in coverage:
        raise AssertionError(f"no coverage: {lines}")
    equal("coverage of the second time", coverage[len(ENDS):],
          coverage[:len(ENDS)])
    equal("last line", lines[-1], "end 0")


def check_persistent(bench):
    """persistent=3: the machine goes back before each third run only."""
    end = bench.run([
        sys.executable, afl_client.__file__, "--inputs", "ddcddcdsddc", "--",
        *bench.command("ends", "afl=on,persistent=3")])
    codes = [line.split()[1:3] for line in end.stdout.splitlines()[1:-1]]
    # exit() is no normal end: what has called it cannot go on.
    equal("results", [" ".join(code) for code in codes],
          ["exit 0", "exit 0", "exit 3", "exit 0", "exit 0", "exit 3",
           "exit 0", "signal 11", "exit 0", "exit 0", "exit 3"])


def results(output):
    """What became of each file, by its name."""
    return {os.path.basename(name): words for name, words in re.findall(
        r"^(\S+): ([^,]*), \d+ us", output, re.MULTILINE)}


def check_loop(bench):
    """A source for AFL++'s persistent mode."""
    seeds = bench.inputs("loop", {"1": b"", "2": b"ab", "3": b"xa",
                                  "4": b"xyz", "5": b"abcde", "6": b"a"})
    for count in ("1", "4"):
        end = bench.run(bench.command(
            "loop", f"seeds={seeds},verify=on,persistent={count}"))
        equal("ends", results(end.stdout), {
            "1": "done 0", "2": "done 0", "3": "crash 6", "4": "done 0",
            "5": "done 5", "6": "crash 6"})


# Ways to compile a harness, and to link it where the README says how.
OWN_RUNTIME = "-fno-sanitize-link-runtime"
COMPILERS = {
    "guards": ["clang", "-fsanitize-coverage=trace-pc-guard"],
    "counters": ["clang", "-fsanitize=fuzzer-no-link"],
    "afl": ["afl-clang-fast"],
    "pairs": ["gcc", "-fsanitize-coverage=trace-pc,trace-cmp"],
}


def check_compilers(bench):
    """Each compiler's coverage reaches the map, and only that of the run."""
    seeds = bench.inputs("compilers", {"1": b"", "2": b"RCs\3abc",
                                       "3": CRASH, "4": b""})
    for name, (compiler, *options) in COMPILERS.items():
        if not shutil.which(compiler):
            Tap.comment(f"{compiler} is not installed")
            continue
        link = {"gcc": ["gcc"], "afl-clang-fast": ["clang"],
                "clang": ["clang", *options, OWN_RUNTIME]}[compiler]
        made = [bench.path(name + ".o"), bench.path(name)]
        for command in (
                [compiler, *options, "-O1", "-c", RECORDS, "-o", made[0]],
                [*link, "-static", made[0], ARCHIVE, "-o", made[1]]):
            end = bench.run(command, env=afl_environment())
            if end.returncode:
                raise AssertionError(f"{command}: {end.stderr}")
        initrd = bench.path("initrd-" + name)
        image.make_initrd(initrd, {"/bin/target": made[1]})
        end = bench.run(bench.command("target", f"seeds={seeds}",
                                      initrd=initrd))
        equal(name, results(end.stdout), {
            "1": "done 0", "2": "done 0", "3": "crash 11", "4": "done 0"})
        counts = [int(count) for count in re.findall(
            r"us, (\d+) bytes of the map", end.stdout)]
        if not 0 < counts[0] < min(counts[1:3]):
            raise AssertionError(f"{name}: coverage {counts}")
        equal(f"{name}: coverage again", counts[3], counts[0])


def check_monitor(bench):
    """While the machine waits for an input the monitor works."""
    ours, theirs = socket.socketpair()
    command = bench.command("ends", "afl=on,verify=on", "-qmp", "stdio")
    command[-1:] = ["chardev:monitor", "-chardev",
                    f"socket,id=monitor,fd={theirs.fileno()}"]
    with afl_client.Client(command, keep=[theirs.fileno()]) as client:
        lines = ours.makefile("rw")

        def qmp(name):
            lines.write(json.dumps({"execute": name}))
            lines.flush()
            for line in lines:
                reply = json.loads(line)
                if "return" in reply or "error" in reply:
                    return reply.get("return", reply)
            raise AssertionError("no answer from the monitor")

        lines.readline()
        qmp("qmp_capabilities")
        client.greet()
        equal("first run", client.run(b"c")[0], 1 << 8)
        client.input.write(struct.pack("=I", 1) + b"d")
        for _ in range(3):
            # After a run the machine goes back, and stands meanwhile.
            becomes("running", lambda: qmp("query-status")["running"], True)
            qmp("stop")
            equal("running", qmp("query-status")["running"], False)
            client.put(0)
            equal("a run of a stopped machine", client.wait_readable(1), [])
            qmp("cont")
            client.get()
            equal("run after cont", client.get(), 0)
            qmp("x-snapshot-device-restore")
            equal("run after a restore", client.run(b"c")[0], 1 << 8)
            client.input.write(struct.pack("=I", 1) + b"d")
        equal("failed", qmp("x-snapshot-device-query")["verify-failures"], 0)
        qmp("quit")
        equal("exit code", client.process.wait(60), 0)


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
            "AFL_SKIP_CPUFREQ": "1"}


def fuzz(bench, seeds, command, *options, until_crash=False):
    """A campaign of afl-fuzz, with these options of its own, which is to be
    stable.  Returns its directory and its figures, by name.
    """
    out = tempfile.mkdtemp(prefix="out-", dir=bench.work)
    more = {"AFL_BENCH_UNTIL_CRASH": "1"} if until_crash else {}
    end = bench.run([need("afl-fuzz"), *options, "-t", "5000", "-i", seeds,
                     "-o", out, "--", *command],
                    env={**afl_environment(), **more})
    try:
        with open(os.path.join(out, "default", "fuzzer_stats"),
                  encoding="ascii") as file:
            stats = dict(re.findall(r"(\w+)\s+: (\S+)", file.read()))
    except FileNotFoundError:
        raise AssertionError(end.stdout + end.stderr) from None
    Tap.comment(f"{stats['execs_done']} runs, {stats['execs_per_sec']}/s, "
                f"{stats['corpus_count']} inputs, {stats['edges_found']} "
                f"edges, stability {stats['stability']}")
    if float(stats["stability"].rstrip("%")) < 99:
        raise AssertionError(f"stability {stats['stability']}")
    return os.path.join(out, "default"), stats


def find_crash(bench, out, number):
    """Copy the first crash of a campaign, which is to be by this signal.

    Returns the file.
    """
    crashes = os.path.join(out, "crashes")
    names = [name for name in os.listdir(crashes) if name.startswith("id:")]
    if not names or f"sig:{number:02}" not in names[0]:
        raise AssertionError(f"crashes: {names}")
    return shutil.copy(os.path.join(crashes, names[0]), bench.path("crash"))


def check_campaign(bench):
    """afl-fuzz finds the bug of the example, and it can be reproduced."""
    out, _ = fuzz(bench, SEEDS, bench.command("fuzz-records", "afl=on"),
                  "-V", "120", until_crash=True)
    crash = find_crash(bench, out, 11)
    end = bench.run(bench.command("fuzz-records", f"seeds={crash}"))
    if f"{crash}: crash 11" not in end.stdout:
        raise AssertionError(end.stdout + end.stderr)


def check_showmap(bench):
    """afl-showmap: one input, several inputs, an input that crashes."""
    maps = []
    command = bench.command("fuzz-records", "afl=on")
    env = {**afl_environment(), "AFL_QUIET": "1"}
    seed = os.path.join(SEEDS, "name")
    for _ in range(2):
        with open(seed, "rb") as file:
            end = bench.run([need("afl-showmap"), "-t", SHOWMAP_MS, "-o",
                             bench.path("map"), "--", *command],
                            stdin=file, env=env)
        equal("exit code", end.returncode, 0)
        with open(bench.path("map"), encoding="ascii") as file:
            maps.append(file.read())
    if len(maps[0].splitlines()) < 5:
        raise AssertionError(f"hardly a map: {maps[0]}")
    equal("second map", maps[1], maps[0])
    crash = bench.path("one-crash")
    with open(crash, "wb") as file:
        file.write(CRASH)
    with open(crash, "rb") as file:
        end = bench.run(["afl-showmap", "-t", SHOWMAP_MS, "-o", bench.path("map"),
                         "--", *command], stdin=file, env=env)
    equal("exit code of a crash", end.returncode, 2)
    end = bench.run(["afl-showmap", "-t", SHOWMAP_MS, "-i", SEEDS, "-o",
                     bench.path("maps"), "--", *command], env=env)
    equal("maps", sorted(os.listdir(bench.path("maps"))),
          sorted(os.listdir(SEEDS)))
    with open(os.path.join(bench.path("maps"), "name"),
              encoding="ascii") as file:
        equal("map of the fork server", file.read(), maps[0])


def check_killed(bench):
    """Nothing is left when QEMU, or what has started it, is killed."""
    command = bench.command("ends", "afl=on")
    with afl_client.Client(command) as client:
        client.greet()
        client.run(b"d")
        helper = client.pid
        client.process.kill()
        if not gone(helper):
            raise AssertionError("the helper outlives QEMU")
    parent = subprocess.Popen(
        [sys.executable, afl_client.__file__, "--inputs", "df", "--limit",
         "100", "--", *command], stdout=subprocess.PIPE, text=True)
    for line in parent.stdout:
        if line.startswith("d "):
            break
    keepers = children(parent.pid)
    equal("number of children", len(keepers), 1)
    qemus = children(keepers[0])
    equal("number of QEMUs", len(qemus), 1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for pid in keepers + qemus:
        if not gone(pid):
            raise AssertionError("QEMU outlives what has started it")


def check_qemu_crashes(bench):
    """QEMU is killed, in a run and between two: the runs go on."""
    with afl_client.Client(payload(",verify=on")) as client:
        client.greet()
        equal("a run", client.run(b"x")[0], 0)
        # Sanitizers make an exit code of other signals.
        for number in (signal.SIGABRT, signal.SIGKILL):
            client.begin(b"hang")
            client.get()
            os.kill(children(client.process.pid)[0], number)
            equal("killed in a run", client.get(), number)
            equal("the next run", client.run(b"crash")[0], signal.SIGSEGV)
            used = client.used_map()
            os.kill(children(client.process.pid)[0], number)
            equal("killed between two runs", client.run(b"crash")[0],
                  signal.SIGSEGV)
            equal("coverage", client.used_map(), used)
    # What cannot boot once is not tried again.
    end = bench.run([sys.executable, afl_client.__file__, "--inputs", "d",
                     "--", *payload("", "-serial", "file:/nowhere/file")])
    if "/nowhere/file" not in end.stderr or "another" in end.stderr:
        raise AssertionError(end.stderr)


def check_campaign_goes_on(bench):
    """afl-fuzz does not mind that QEMU is killed."""
    out = bench.path("goes-on")
    process = subprocess.Popen(
        [need("afl-fuzz"), "-E", "20000", "-t", "5000", "-i",
         bench.inputs("one", {"x": b"x"}), "-o", out, "--", *payload()],
        stdout=subprocess.DEVNULL, env=afl_environment())
    stats = os.path.join(out, "default", "fuzzer_stats")
    for _ in range(TIMEOUT * 20):
        if os.path.exists(stats) or process.poll() is not None:
            break
        time.sleep(0.05)
    keeper = children(process.pid)[0]
    os.kill(children(keeper)[0], signal.SIGKILL)
    equal("exit code of afl-fuzz", process.wait(LONG_TIMEOUT), 0)
    with open(stats, encoding="ascii") as file:
        execs = int(re.search(r"execs_done\s+: (\d+)", file.read()).group(1))
    if execs < 20000:
        raise AssertionError(f"{execs} runs")
    if not gone(keeper):
        raise AssertionError("the keeper outlives afl-fuzz")


def main():
    """Run all checks; the number of vCPUs may be given."""
    tap = Tap()
    smp = sys.argv[1] if len(sys.argv) > 1 else "1"
    with tempfile.TemporaryDirectory(prefix="snapshot-fuzz-") as work:
        try:
            bench = Bench(work, smp)
        except FileNotFoundError as error:
            return tap.bail_out(f"{error.filename} is missing: run 'make'")
        tap.check("files: every end", check_files, bench)
        tap.check("protocol, old", check_protocol, bench, "old")
        tap.check("protocol, new", check_protocol, bench, "new")
        tap.check("protocol, input in a file", check_protocol, bench, "old",
                  "--file")
        tap.check("persistent", check_persistent, bench)
        tap.check("persistent mode of AFL++", check_loop, bench)
        tap.check("compilers", check_compilers, bench)
        tap.check("monitor", check_monitor, bench)
        tap.check("processes are killed", check_killed, bench)
        tap.check("QEMU crashes", check_qemu_crashes, bench)
        tap.check("afl-fuzz goes on", check_campaign_goes_on, bench)
        tap.check("afl-showmap", check_showmap, bench)
        tap.check("afl-fuzz finds a bug", check_campaign, bench)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
