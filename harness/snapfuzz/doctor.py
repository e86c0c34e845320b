# SPDX-License-Identifier: GPL-2.0-or-later
"""What is missing or bad on this host, and what to do about it."""

import fcntl
import glob
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .once import MAP_MAX

OK, NOTE, BAD = "ok", "note", "bad"

# Of <linux/kvm.h>
KVM_GET_API_VERSION, KVM_API_VERSION = 0xae00, 12

# Seconds in which the guest boots under KVM, or never
KVM_BOOT = 30

# AFL++ before this speaks no protocol that the device knows.
AFL_MIN = (4, 0)

# Of a worker: the guest's memory, the copy of it, QEMU and the fuzzer; MiB
WORKER_MEMORY = 2 * 256 + 128

# Shared memory of a worker: the largest map, and an input; bytes
WORKER_SHARED = MAP_MAX + (2 << 20)

# What a tmpfs for shared memory should have; bytes
SHM_FREE_MIN = 64 << 20


@dataclass
class Finding:
    """What was looked at and how it is."""
    what: str
    level: str          # OK; NOTE: campaigns suffer; BAD: there can be none
    text: str
    remedy: str = ""


class Host:
    """What this host is asked.  A test has answers of its own."""

    page_size = os.sysconf("SC_PAGE_SIZE")

    @staticmethod
    def read(path):
        """The text of a file, or None."""
        try:
            return Path(path).read_text(encoding="ascii",
                                        errors="replace").strip()
        except OSError:
            return None

    @staticmethod
    def glob(pattern):
        """Paths that match."""
        return glob.glob(pattern)

    @staticmethod
    def which(program):
        """The path of a program, or None."""
        return shutil.which(program)

    @staticmethod
    def exists(path):
        """Is there such a file?"""
        return os.path.exists(path)

    @staticmethod
    def output(*command):
        """What a program prints, or None if it fails to start."""
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace",
                check=False, timeout=60).stdout
        except (OSError, subprocess.TimeoutExpired):
            return None

    @staticmethod
    def free(path):
        """Free bytes of a file system, or None if there is none."""
        try:
            return shutil.disk_usage(path).free
        except OSError:
            return None

    @staticmethod
    def cpus():
        """How many processors we may use."""
        return len(os.sched_getaffinity(0))

    @staticmethod
    def kvm_error():
        """Why /dev/kvm cannot be used, or None if it can."""
        try:
            with open("/dev/kvm", "rb+", buffering=0) as file:
                version = fcntl.ioctl(file, KVM_GET_API_VERSION, 0)
        except OSError as error:
            return error.strerror
        return None if version == KVM_API_VERSION else f"version {version}"

    @staticmethod
    def boots_with_kvm(places):
        """Does the default guest come to its first process under KVM?"""
        with tempfile.TemporaryDirectory(prefix="snapfuzz-") as work:
            console = Path(work, "console")
            process = processes.start(
                [places.qemu, "-accel", "kvm", "-m", "256", "-display", "none",
                 "-nodefaults", "-no-reboot", "-serial", f"file:{console}",
                 "-kernel", places.kernel,
                 "-initrd", places.guest / "initramfs.cpio.gz",
                 "-append", "console=ttyS0 quiet snapshot.run=true"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(KVM_BOOT)
            except subprocess.TimeoutExpired:
                pass
            finally:
                processes.end(process)
            return console.exists() and "snapshot.run: exit 0" in (
                console.read_text(errors="replace"))


def check_qemu(host, places):
    """QEMU with the device."""
    said = host.output(str(places.qemu), "-device", "snapshot,help") or ""
    if "coverage=" not in said:
        return Finding("QEMU", BAD, f"{places.qemu} is missing, or has no "
                       "device 'snapshot'", f"run 'make' in {places.source}")
    version = host.output(str(places.qemu), "--version") or ""
    found = re.search(r"version (\S+)", version)
    return Finding("QEMU", OK, f"{places.qemu}" +
                   (f", version {found[1]}" if found else ""))


def check_guest(host, places):
    """The default guest."""
    for path in (places.kernel, places.guest / "busybox"):
        if not host.exists(path):
            return Finding("guest", BAD, f"{path} is missing",
                           f"run 'make' in {places.source}")
    return Finding("guest", OK, str(places.guest))


def afl_version(text):
    """The version in afl-fuzz's help, as two numbers, or None."""
    found = re.search(r"afl-fuzz\+\+(\d+)\.(\d+)", text or "")
    return found and (int(found[1]), int(found[2]))


def check_fuzzers(host, places):
    """afl-fuzz and libFuzzer; one of them is enough."""
    version = afl_version(host.output("afl-fuzz", "-h"))
    has_libfuzzer = host.exists(places.libfuzzer)
    if version and version >= AFL_MIN:
        yield Finding("afl-fuzz", OK, f"AFL++ {version[0]}.{version[1]:02}")
    else:
        text = ("not installed" if not host.which("afl-fuzz") else
                "this version is not known to work: 4.00 or later is needed")
        yield Finding("afl-fuzz", NOTE if has_libfuzzer else BAD, text,
                      "install the package afl++")
    if has_libfuzzer:
        yield Finding("libFuzzer", OK, str(places.libfuzzer))
    else:
        yield Finding("libFuzzer", NOTE, f"{places.libfuzzer} is missing: no "
                      "--libfuzzer", "install the packages clang and "
                      "libclang-rt-dev, and run 'make'")


def check_tools(host, _):
    """What harnesses are compiled with, and reports are read with."""
    for program, package, use in (
            ("clang", "clang", "harnesses are compiled with gcc only"),
            ("addr2line", "binutils", "reports have no lines of source")):
        path = host.which(program)
        if path:
            yield Finding(program, OK, path)
        else:
            yield Finding(program, NOTE, f"not installed: {use}",
                          f"install the package {package}")


def check_kvm(host, places):
    """KVM, which is for speed where all code is instrumented."""
    use = "TCG works without"
    if not host.exists("/dev/kvm"):
        return Finding("KVM", NOTE, f"there is no /dev/kvm; {use}",
                       "load kvm_intel or kvm_amd, or allow nested "
                       "virtualisation")
    error = host.kvm_error()
    if error:
        return Finding("KVM", NOTE, f"/dev/kvm: {error}; {use}",
                       "join the group kvm")
    if not host.boots_with_kvm(places):
        return Finding("KVM", NOTE, "/dev/kvm works, but Linux does not boot "
                       f"under it; {use}", "do not use --accel kvm")
    return Finding("KVM", OK, "Linux boots under it: --accel kvm")


def check_core_pattern(host, _):
    """Where cores go."""
    pattern = host.read("/proc/sys/kernel/core_pattern") or ""
    if pattern.startswith("|"):
        return Finding(
            "core_pattern", NOTE, f"cores go to a program ({pattern.split()[0]}"
            "): afl-fuzz, when it is started by hand, will not have that, and "
            "a crash of QEMU takes longer",
            "echo core >/proc/sys/kernel/core_pattern")
    return Finding("core_pattern", OK, pattern or "none")


def check_shared_memory(host, jobs):
    """Limits of System V shared memory, which maps and inputs are in."""
    largest = int(host.read("/proc/sys/kernel/shmmax") or 0)
    pages = int(host.read("/proc/sys/kernel/shmall") or 0)
    if largest < MAP_MAX:
        yield Finding("shmmax", BAD, f"segments of shared memory have at most "
                      f"{largest} bytes", f"sysctl kernel.shmmax={MAP_MAX}")
    else:
        yield Finding("shmmax", OK, f"{largest} bytes a segment")
    wanted = -(-WORKER_SHARED * jobs // host.page_size)
    if pages < wanted:
        yield Finding("shmall", BAD, f"{pages} pages of shared memory in all, "
                      f"{jobs} workers take up to {wanted}",
                      f"sysctl kernel.shmall={wanted}")
    else:
        yield Finding("shmall", OK, f"{pages} pages in all")
    free = host.free("/dev/shm")
    if free is None or free < SHM_FREE_MIN:
        yield Finding("/dev/shm", NOTE, "not there" if free is None else
                      f"{free >> 20} MiB free",
                      "mount -t tmpfs tmpfs /dev/shm, or remove what is in it")
    else:
        yield Finding("/dev/shm", OK, f"{free >> 20} MiB free")


def check_governor(host, _):
    """Whether processors run at full speed."""
    files = host.glob("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
    slow = sorted({host.read(path) or "?" for path in files} - {"performance"})
    if slow:
        return Finding("CPU governor", NOTE, ", ".join(slow),
                       "cpupower frequency-set -g performance")
    return Finding("CPU governor", OK,
                   "performance" if files else "not set by this host")


def check_size(host, jobs):
    """Processors and memory for so many workers."""
    cpus = host.cpus()
    if cpus < 2 * jobs:
        yield Finding("processors", NOTE, f"{cpus}, and each worker takes two: "
                      "the fuzzer's and QEMU's",
                      f"-j {max(1, cpus // 2)}, or more processors")
    else:
        yield Finding("processors", OK, str(cpus))
    found = re.search(r"^MemAvailable:\s+(\d+) kB", host.read("/proc/meminfo")
                      or "", re.MULTILINE)
    free = int(found[1]) >> 10 if found else 0
    if free < WORKER_MEMORY * jobs:
        yield Finding("memory", NOTE, f"{free} MiB free, {jobs} workers with "
                      f"256 MiB take up to {WORKER_MEMORY * jobs}",
                      "fewer workers, less 'memory' in target.toml, or "
                      "engine = \"remap\" in its [snapshot]")
    else:
        yield Finding("memory", OK, f"{free} MiB free")


def examine(host, places, jobs):
    """Yield a Finding for each thing that matters."""
    yield check_qemu(host, places)
    yield check_guest(host, places)
    yield from check_fuzzers(host, places)
    yield from check_tools(host, places)
    yield check_kvm(host, places)
    yield check_core_pattern(host, places)
    yield from check_shared_memory(host, jobs)
    yield check_governor(host, places)
    yield from check_size(host, jobs)


def run(places, args):
    """Print all findings.  Returns 1 if one of them rules campaigns out."""
    worst = OK
    for finding in examine(Host(), places, args.jobs):
        print(f"{finding.level:5} {finding.what:14} {finding.text}", flush=True)
        if finding.remedy:
            print(f"{'':20} -> {finding.remedy}", flush=True)
        if BAD in (finding.level, worst):
            worst = BAD
    print("\nCampaigns are impossible until what is bad is mended."
          if worst == BAD else "\nCampaigns are possible.")
    return 1 if worst == BAD else 0
