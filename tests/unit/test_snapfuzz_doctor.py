# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of "snapfuzz doctor", with hosts that are made up."""

import argparse
import contextlib
import io
import os
import unittest
from pathlib import Path

from snapfuzz_case import Places
from snapfuzz import doctor


class FakeHost(doctor.Host):
    """A host where all is well, but for what a test has changed."""

    page_size = 4096

    def __init__(self, **answers):
        self.answers = {
            "files": {"/proc/sys/kernel/core_pattern": "core",
                      "/proc/sys/kernel/shmmax": "100000000",
                      "/proc/sys/kernel/shmall": "100000000",
                      "/proc/meminfo": "MemTotal: 1 kB\nMemAvailable: "
                      "16000000 kB"},
            "outputs": {"qemu-system-x86_64": "  coverage=<str>\nQEMU emulator "
                        "version 10.0.13 (Debian)",
                        "afl-fuzz": "afl-fuzz++4.04c based on afl"},
            "missing": (), "free": 1 << 30, "cpus": 8, "kvm": None,
            "boots": True, **answers}

    def read(self, path):
        return self.answers["files"].get(path)

    def glob(self, _):
        return [path for path in self.answers["files"] if "governor" in path]

    def which(self, program):
        return (None if program in self.answers["missing"]
                else "/usr/bin/" + program)

    def exists(self, path):
        return os.path.basename(path) not in self.answers["missing"]

    def output(self, *command):
        return self.answers["outputs"].get(os.path.basename(command[0]))

    def free(self, _):
        return self.answers["free"]

    def cpus(self):
        return self.answers["cpus"]

    def kvm_error(self):
        return self.answers["kvm"]

    def boots_with_kvm(self, _):
        return self.answers["boots"]


class Doctor(unittest.TestCase):
    """What is said of hosts."""

    PLACES = Places(Path("/source"), Path("/build"))

    def examine(self, jobs=1, **answers):
        """What is not well: (level, text and remedy) by what it is."""
        found = doctor.examine(FakeHost(**answers), self.PLACES, jobs)
        return {each.what: (each.level, each.text + " -> " + each.remedy)
                for each in found if each.level != doctor.OK}

    def files(self, **contents):
        """The files of a good host with others in their places."""
        return {**FakeHost().answers["files"], **contents}

    def test_all_well(self):
        self.assertEqual(self.examine(), {})

    def check(self, what, level, words, **answers):
        """One thing is not well, and nothing else."""
        found = self.examine(**answers)
        self.assertEqual(list(found), [what])
        self.assertEqual(found[what][0], level)
        self.assertRegex(found[what][1], words)

    def test_programs(self):
        good = FakeHost().answers["outputs"]
        self.check("QEMU", "bad", "no device 'snapshot' -> run 'make'",
                   outputs={**good, "qemu-system-x86_64": "QEMU 7.2"})
        self.check("guest", "bad", "vmlinuz is missing -> run 'make'",
                   missing=("vmlinuz",))
        self.check("clang", "note", "install the package clang",
                   missing=("clang",))
        self.check("addr2line", "note", "install the package binutils",
                   missing=("addr2line",))

    def test_fuzzers(self):
        old = {**FakeHost().answers["outputs"],
               "afl-fuzz": "afl-fuzz++3.14c based on afl"}
        self.check("afl-fuzz", "note", "4.00 or later", outputs=old)
        self.check("libFuzzer", "note", "libclang-rt-dev",
                   missing=("snapshot-fuzzer",))
        found = self.examine(outputs=old, missing=("snapshot-fuzzer",))
        self.assertEqual(found["afl-fuzz"][0], "bad")
        del old["afl-fuzz"]
        self.check("afl-fuzz", "note", "not installed -> install the package",
                   outputs=old, missing=("afl-fuzz",))

    def test_kvm(self):
        self.check("KVM", "note", "no /dev/kvm", missing=("kvm",))
        self.check("KVM", "note", "Permission denied.*group kvm",
                   kvm="Permission denied")
        self.check("KVM", "note", "Linux does not boot", boots=False)

    def test_limits(self):
        for path, text, what, level, words in (
                ("kernel/core_pattern", "|/bin/x %p", "core_pattern", "note",
                 r"to a program \(\|/bin/x\).* -> echo core"),
                ("kernel/shmmax", "4096", "shmmax", "bad",
                 "at most 4096 bytes -> sysctl kernel.shmmax=8388608"),
                ("kernel/shmall", "100", "shmall", "bad",
                 "sysctl kernel.shmall=2560")):
            self.check(what, level, words,
                       files=self.files(**{"/proc/sys/" + path: text}))
        self.check("/dev/shm", "note", "1 MiB free", free=1 << 20)
        self.check("/dev/shm", "note", "not there", free=None)
        path = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
        self.check("CPU governor", "note", "powersave -> cpupower",
                   files=self.files(**{path: "powersave"}))
        self.assertEqual(self.examine(
            files=self.files(**{path: "performance"})), {})

    def test_size(self):
        self.check("processors", "note", "each worker takes two.*-j 1",
                   cpus=3, jobs=2)
        self.check("memory", "note", "976 MiB free, 2 workers.* 1280 ->",
                   jobs=2, files=self.files(
                       **{"/proc/meminfo": "MemAvailable: 1000000 kB"}))

    def test_exit_code(self):
        for answers, code, words in (({}, 0, "are possible"), (
                {"missing": ("vmlinuz",)}, 1, "impossible")):
            output = io.StringIO()
            host = FakeHost(**answers)
            self.addCleanup(setattr, doctor, "Host", doctor.Host)
            doctor.Host = lambda host=host: host
            with contextlib.redirect_stdout(output):
                self.assertEqual(doctor.run(
                    self.PLACES, argparse.Namespace(jobs=1)), code)
            self.assertIn(words, output.getvalue())
