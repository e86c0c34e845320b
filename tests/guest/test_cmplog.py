#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""CmpLog: afl-fuzz -c gets past comparisons that it does not without, and
what the guest has compared is where each version of AFL++ looks for it.
"""

import os
import struct
import sys
import tempfile

import afl_client
import image
from tap import Tap, equal
from test_fuzz import (ARCHIVE, Bench, afl_environment, find_crash, fuzz, need)
from vm import ROOT, payload

SOURCE = os.path.join(ROOT, "tests", "guest", "programs", "compare.c")
SEED = b"abcdefghijklmnopqrstuvwxyz"

# More than it takes with CmpLog, about 3,000; a few bytes of the eight that
# have to be right are more than it takes without.
EXECUTIONS = "12000"

# Of each layout: bytes of a header, of two integers, where the second begins, of
# two arrays; of a header: the bits of the number of comparisons, where the kind
# is, which is 0 for integers and 1 for arrays.
PLACES, SLOTS = 65536, 32
LAYOUTS = {
    "2_42": (2, 42, 8, 66, 6, 11),
    "2_72": (2, 72, 32, 72, 6, 11),
}
MAGIC = 0x7e3a91c45fd208b6


class Comparisons:
    """A fuzzer's segment for comparisons, in one of the layouts."""

    def __init__(self, layout):
        (self.header, self.integers, self.second, self.arrays, self.hits_bits,
         self.kind_at) = LAYOUTS[layout]
        self.segment = afl_client.Segment(
            PLACES * (self.header + SLOTS * self.integers))

    def environment(self):
        """What tells QEMU of it."""
        return {"__AFL_CMPLOG_SHM_ID": str(self.segment.id),
                "___AFL_EINS_ZWEI_POLIZEI___": "1"}

    def clear(self):
        """Forget all of them, as afl-fuzz does before a run."""
        self.segment.write(bytes(PLACES * self.header))

    def slots(self, kind):
        """The bytes of all comparisons of a kind."""
        size = (self.integers, self.arrays)[kind]
        headers = self.segment.read(PLACES * self.header)
        for place in range(PLACES):
            header = int.from_bytes(
                headers[place * self.header:(place + 1) * self.header],
                "little")
            hits = header & ((1 << self.hits_bits) - 1)
            if header >> self.kind_at & 1 == kind:
                for slot in range(min(hits, SLOTS)):
                    yield self.segment.read_at(
                        PLACES * self.header +
                        place * SLOTS * self.integers + slot * size, size)

    def pairs(self):
        """The integers that have been compared."""
        return {(struct.unpack_from("=Q", data)[0],
                 struct.unpack_from("=Q", data, self.second)[0])
                for data in self.slots(0)}


def check_sizes(_):
    """A segment of another size is refused; without the mark, none is used."""
    segment = afl_client.Segment(1 << 20)
    for mark, expected in (({"___AFL_EINS_ZWEI_POLIZEI___": "1"}, 1), ({}, 0)):
        env = {"__AFL_CMPLOG_SHM_ID": str(segment.id), **mark}
        with afl_client.Client(payload(), env=env,
                               stderr=tempfile.TemporaryFile()) as client:
            if expected:
                equal("exit code", client.process.wait(60), expected)
                client.stderr.seek(0)
                message = client.stderr.read().decode()
                if "a CmpLog map of 1048576 bytes" not in message:
                    raise AssertionError(message)
            else:
                client.greet()
                equal("a run", client.run(b"x")[0], 0)
    segment.remove()


def check_integers(bench):
    """A run's comparisons, twice, with a restore and its check between."""
    log = Comparisons("2_72")
    command = bench.command("compare", "afl=on,verify=on")
    first = int.from_bytes(SEED[:8], "little")
    with afl_client.Client(command, env=log.environment()) as client:
        client.greet()
        for _ in range(2):
            log.clear()
            equal("a run", client.run(SEED)[0], 0)
            if not {(first, MAGIC), (MAGIC, first)} & log.pairs():
                raise AssertionError(f"compared: {log.pairs()}")
        log.clear()
        equal("next comparison", client.run(struct.pack("=Q", MAGIC) +
                                            SEED)[0], 0)
        second = int.from_bytes(SEED[:4], "little")
        cases = {value for pair in log.pairs() if second in pair
                 for value in pair}
        if not {0x5ca1ab1e, 0x0ddba115, 0xca55e77e} <= cases:
            raise AssertionError(f"cases of a switch: {log.pairs()}")
    log.segment.remove()


def check_arrays(bench):
    """Strings and memory, as afl-clang-fast has them compared."""
    made, program = bench.path("text.o"), bench.path("text")
    for command, env in (
            ([need("afl-clang-fast"), "-DTEXT", "-O1", "-fno-builtin", "-c",
              SOURCE, "-o", made], {"AFL_LLVM_CMPLOG": "1"}),
            (["clang", "-static", made, ARCHIVE, "-o", program], {})):
        end = bench.run(command, env={**afl_environment(), **env})
        if end.returncode:
            raise AssertionError(f"{command}: {end.stderr}")
    initrd = bench.path("initrd-text")
    image.make_initrd(initrd, {"/bin/text": program})
    command = bench.command("text", "afl=on,verify=on", initrd=initrd)
    log = Comparisons("2_42")
    magic = struct.pack(">Q", MAGIC)
    with afl_client.Client(command, env=log.environment()) as client:
        client.greet()
        for data, wanted in ((SEED, magic), (magic + SEED, b"Wegweiser\0")):
            log.clear()
            equal("a run", client.run(data)[0], 0)
            found = list(log.slots(1))
            if not any(wanted in slot and data[:4] in slot or
                       wanted in slot and data[12:20] in slot
                       for slot in found):
                raise AssertionError(f"compared: {found}")
    log.segment.remove()


def check_campaign(bench):
    """afl-fuzz -c 0 finds what is behind the comparisons; in as many
    executions afl-fuzz by itself does not.
    """
    need("afl-fuzz")
    seeds = bench.inputs("seeds", {"seed": SEED})
    command = bench.command("compare", "afl=on")
    out, _ = fuzz(bench, seeds, command, "-c", "0", "-E", EXECUTIONS,
                  until_crash=True)
    find_crash(bench, out, 6)
    _, stats = fuzz(bench, seeds, command, "-E", EXECUTIONS)
    equal("crashes without -c", stats["saved_crashes"], "0")


def main():
    """Run all checks."""
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="snapshot-cmplog-") as work:
        try:
            bench = Bench(work, "1")
        except FileNotFoundError as error:
            return tap.bail_out(f"{error.filename} is missing: run 'make'")
        tap.check("another size", check_sizes, bench)
        tap.check("integers", check_integers, bench)
        tap.check("strings and memory", check_arrays, bench)
        tap.check("afl-fuzz -c", check_campaign, bench)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
