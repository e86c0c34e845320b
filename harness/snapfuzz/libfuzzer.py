# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker of a campaign: libFuzzer with a machine."""

import os
import re
import shlex
import shutil
import subprocess

from . import SnapfuzzError, figures

# Exit codes of libFuzzer for a crash and a timeout
CRASH, TIMED_OUT = 77, 70

# The map of the fuzzer that "make" has linked
MAP_SIZE = 64 << 10

LINE = re.compile(r"^#(\d+)\s+\w+\s.*?ft: (\d+) corp: (\d+)/", re.MULTILINE)

ARTIFACTS = ("crash-", "oom-", "leak-")


def check(places):
    """Raise unless libFuzzer is there."""
    if not places.libfuzzer.exists():
        raise SnapfuzzError(
            f"{places.libfuzzer} is missing: install the packages clang and "
            f"libclang-rt-dev, and run 'make' in {places.source}")


def make_fuzzer(places, map_size, work):
    """The path of a libFuzzer with a map that is large enough.

    One that is larger than what is there is linked in the directory @work.
    """
    if map_size <= MAP_SIZE:
        return places.libfuzzer
    source, fuzzer = work / "fuzzer-map.c", work / "fuzzer"
    source.write_text('#include "snapshot-fuzzer.h"\n'
                      f"SNAPSHOT_FUZZER_MAP({map_size});\n", encoding="ascii")
    command = ["clang", "-fsanitize=fuzzer",
               f"-I{places.source / 'harness' / 'libfuzzer'}", source,
               places.libfuzzer.parent / "libsnapshot-fuzzer.a", "-o", fuzzer]
    if not shutil.which(command[0]):
        raise SnapfuzzError(f"a map of {map_size} bytes needs a libFuzzer of "
                            "its own: install clang")
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode:
        raise SnapfuzzError(f"cannot link libFuzzer: {done.stderr.strip()}")
    return fuzzer


def parse_log(text):
    """The executions, features and inputs that each line of a log speaks of."""
    return [tuple(map(int, numbers)) for numbers in LINE.findall(text)]


class Worker:
    """What there is to know of one libFuzzer."""

    # It ends with the first crash; those that follow are found by another.
    again = (CRASH, TIMED_OUT)

    def __init__(self, plan, index):
        """@plan is the campaign's Plan, and this is worker @index of it."""
        self.plan = plan
        self.name = plan.name(index)
        self._is_first = index == 0
        self._read = 0              # bytes of the log
        self._execs = figures.Counter()
        self._last = figures.Figures()

    @property
    def _artifacts(self):
        return self.plan.out / "crashes"

    def command(self, qmp):
        """The command line; @qmp is the path of the machine's monitor."""
        plan, target = self.plan, self.plan.machine.target
        self._machine = shlex.join(plan.machine.command("afl=on", qmp=qmp))
        corpus = plan.out / "corpus"
        corpus.mkdir(exist_ok=True)
        self._artifacts.mkdir(exist_ok=True)
        command = [plan.fuzzer, "-len_control=0", "-rss_limit_mb=0",
                   f"-timeout={max(1, plan.timeout // 1000)}",
                   f"-artifact_prefix={self._artifacts}/"]
        if target.dictionary:
            command.append(f"-dict={target.dictionary}")
        if "input-size" in target.snapshot:
            command.append(f"-max_len={target.snapshot['input-size']}")
        return [*command, *plan.options, corpus, target.seeds]

    def environment(self):
        """The environment to start it in."""
        return {**os.environ, "SNAPSHOT_MACHINE": self._machine}

    def figures(self):
        """What it has reached."""
        try:
            with open(self.plan.log(self.name), "rb") as log:
                log.seek(self._read)
                data = log.read()
        except FileNotFoundError:
            data = b""
        # A line that is not yet whole is for the next time.
        whole = data[:data.rfind(b"\n") + 1]
        self._read += len(whole)
        for execs, features, inputs in parse_log(
                whole.decode(errors="replace")):
            self._last.execs = self._execs.update(execs)
            self._last.edges, self._last.inputs = features, inputs
        # The artifacts are all workers'; they are counted once.
        if self._is_first:
            self._last.crashes = len(self.crashes())
            self._last.hangs = sum(path.name.startswith("timeout-") for path in
                                   self._artifacts.glob("*"))
        return self._last

    def crashes(self):
        """The files with inputs that crash."""
        return sorted(path for path in self._artifacts.glob("*")
                      if path.name.startswith(ARTIFACTS))
