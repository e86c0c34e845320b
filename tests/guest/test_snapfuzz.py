#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The front end, as a user calls it, on the target "records"."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tap import Skip, Tap, equal
from test_libfuzzer import FUZZER
from vm import BUILD, LONG_TIMEOUT, TIMEOUT

SNAPFUZZ = os.path.join(BUILD, "bin", "snapfuzz")


class Campaign:
    """A campaign in the background; what it prints goes to a file."""

    def __init__(self, out, *options):
        self.out = out
        self.printed = out + ".text"
        with open(self.printed, "wb") as file:
            self.process = subprocess.Popen(
                [SNAPFUZZ, "run", "records", "-o", out, *options],
                stdout=file, stderr=subprocess.STDOUT, cwd="/")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def text(self):
        """What it has printed so far."""
        with open(self.printed, encoding="utf-8") as file:
            return file.read()

    def wait_for(self, what):
        """Wait until what() is true."""
        deadline = time.monotonic() + LONG_TIMEOUT
        while not what():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.text())
            time.sleep(0.1)

    def end(self, number=None):
        """Have it end by a signal, or wait for its end; returns the summary."""
        if number:
            self.process.send_signal(number)
        equal("exit code", self.process.wait(LONG_TIMEOUT), 0)
        equal("processes left", left_behind(self.out), [])
        equal("files not finished", unfinished(self.out), [])
        with open(os.path.join(self.out, "summary.json"),
                  encoding="ascii") as file:
            return json.load(file)


def left_behind(out):
    """The command lines of processes that have to do with a campaign."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if int(pid) != os.getpid() and any(out in word for word in words):
            found.append(words)
    return found


def unfinished(out):
    """Names of files that were to be renamed when they were whole."""
    return [name for _, _, names in os.walk(out) for name in names
            if re.match(r"\..*\.\d+$", name)]


def snapfuzz(*args, code=0):
    """Run a command to its end, which is to be @code; returns its output."""
    end = subprocess.run([SNAPFUZZ, *args], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, check=False,
                         errors="replace", timeout=TIMEOUT, cwd="/")
    if end.returncode != code:
        raise AssertionError(f"{args}: exit code {end.returncode}, expected "
                             f"{code}: {end.stdout}")
    return end.stdout


def need_afl():
    """Skip without afl-fuzz."""
    if not shutil.which("afl-fuzz"):
        raise Skip("afl-fuzz is not installed")


def check_run(out):
    """The bug is found; Ctrl-C ends it; the crash is reproduced as it says."""
    need_afl()
    with Campaign(out) as campaign:
        campaign.wait_for(lambda: "a crash: " in campaign.text())
        words = snapfuzz("run", "records", "-o", out, code=1)
        if "another campaign is running there" not in words:
            raise AssertionError(words)
        summary = campaign.end(signal.SIGINT)
        text = campaign.text()
    Tap.comment(text)
    equal("size of the map", summary["map_size"], 4096)
    if not (summary["crash_files"] and summary["edges"] > 10 and
            summary["stability"] > 99 and summary["restores"] > 0 and
            summary["execs"] > 100):
        raise AssertionError(summary)
    command = shlex.split(re.search(r"^  (.* repro .*)$", text, re.M)[1])
    equal("it says how it was called", command[0], SNAPFUZZ)
    equal("crash", command[-1], summary["crash_files"][0])
    said = snapfuzz(*command[1:])
    for words in ("crash 11, ", "signal 11 (SEGV)", "\nreproduced\n"):
        if words not in said:
            raise AssertionError(said)


def check_resumed(out):
    """It goes on where it was, and ends by itself."""
    need_afl()
    with open(os.path.join(out, "summary.json"), encoding="ascii") as file:
        before = json.load(file)
    with Campaign(out, "--seconds", "2", "-j", "2", "--", "-p",
                  "explore") as campaign:
        summary = campaign.end()
        text = campaign.text()
    if "running the seeds" in text or "2 workers" not in text:
        raise AssertionError(text)
    if summary["inputs"] < before["inputs"]:
        raise AssertionError(f"{summary}, before {before}")
    with open(os.path.join(out, "log", "worker2.log"),
              encoding="utf-8") as file:
        if " -p explore -- " not in file.readline():
            raise AssertionError("the fuzzer's options")


def check_libfuzzer(out):
    """libFuzzer finds it as well, perhaps before QEMU is asked anything."""
    if not os.path.exists(FUZZER):
        raise Skip("libFuzzer is not installed")
    with Campaign(out, "--libfuzzer", "--until-crash") as campaign:
        summary = campaign.end()
    if not summary["execs"] or not any("/crashes/crash-" in name for name in summary["crash_files"]):
        raise AssertionError(summary)


def check_no_crash(_):
    """What does not crash is not reproduced, and nothing is no input."""
    with tempfile.NamedTemporaryFile(prefix="id:000000,sig:11,") as file:
        file.write(b"no records")
        file.flush()
        said = snapfuzz("repro", "records", file.name, code=1)
    if "done 0" not in said or "not reproduced: a fuzzer has " not in said:
        raise AssertionError(said)
    said = snapfuzz("repro", "records", "/nowhere/file", code=1)
    if "error: /nowhere/file: there is no such file" not in said:
        raise AssertionError(said)


def check_hang(work):
    """An input by which QEMU itself hangs is reproduced."""
    seeds = os.path.join(work, "stuck", "seeds")
    os.makedirs(seeds)
    with open(os.path.join(work, "stuck", "target.toml"), "w",
              encoding="utf-8") as file:
        file.write('kernel = "@build@/guest/payload/payload.elf"\n'
                   'append = "fuzz stuck"\n')
    hang = os.path.join(seeds, "stuck")
    with open(hang, "w", encoding="ascii") as file:
        file.write("stuck")
    said = snapfuzz("repro", os.path.join(work, "stuck"), hang)
    if "QEMU itself hangs: " not in said or "\nreproduced\n" not in said:
        raise AssertionError(said)


def main():
    """Run the test."""
    tap = Tap.from_arguments(__doc__)
    if not os.path.exists(SNAPFUZZ):
        return Tap.bail_out(f"{SNAPFUZZ} is missing: run 'make'")
    with tempfile.TemporaryDirectory(prefix="snapfuzz-test-") as work:
        out = os.path.join(work, "out")
        tap.check("finds a bug, ends, reproduces it", check_run, out)
        tap.check("goes on", check_resumed, out)
        tap.check("libFuzzer", check_libfuzzer, out)
        tap.check("no crash", check_no_crash, out)
        tap.check("QEMU hangs", check_hang, work)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
