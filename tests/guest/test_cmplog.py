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
from campaign import afl_environment, find_crash, fuzz, need, run_checks
from tap import equal
from test_fuzz import ARCHIVE
from vm import ROOT, payload

SOURCE = os.path.join(ROOT, "tests", "guest", "programs", "compare.c")
SEED = b"abcdefghijklmnopqrstuvwxyz"

# More than it takes with CmpLog, about 3,000; a few bytes of the eight that
# have to be right are more than it takes without.
EXECUTIONS = "12000"

# Bytes of a header and of two integers
PLACES, SLOTS = 65536, 32
SIZES = {"8_32": (8, 32), "2_42": (2, 42), "2_72": (2, 72)}

# What the second of the two fork servers has in its environment
MARK = "___AFL_EINS_ZWEI_POLIZEI___"

# What the program wants, in this order
MAGIC = b"\x7e\x3a\x91\xc4\x5f\xd2\x08\xb6"
KIND = 0x5ca1ab1e
WORD = b"Wegweiser\0"


class Comparisons:
    """A fuzzer's segment for comparisons, in the layout "2_72": headers of two
    bytes, with the number of comparisons in the first six bits and their kind,
    0 for integers and 1 for arrays, in the twelfth.
    """
    header, operands = SIZES["2_72"]

    def __init__(self):
        self.segment = afl_client.Segment(
            PLACES * (self.header + SLOTS * self.operands))

    def environment(self):
        """What tells QEMU of it."""
        return {"__AFL_CMPLOG_SHM_ID": str(self.segment.id), MARK: "1"}

    def clear(self):
        """Forget all of them, as afl-fuzz does before a run."""
        self.segment.write(bytes(PLACES * self.header))

    def slots(self, kind):
        """The operands of all comparisons of a kind."""
        headers = self.segment.read(PLACES * self.header)
        for place, (header,) in enumerate(struct.iter_unpack("=H", headers)):
            if header >> 11 & 1 != kind:
                continue
            for slot in range(min(header & 63, SLOTS)):
                yield self.segment.read_at(
                    PLACES * self.header +
                    (place * SLOTS + slot) * self.operands, self.operands)

    def pairs(self):
        """The integers that have been compared."""
        return {(struct.unpack_from("=Q", data)[0],
                 struct.unpack_from("=Q", data, 32)[0])
                for data in self.slots(0)}


def check_sizes(_):
    """The size of the segment tells the layout; another one is refused."""
    sizes = {layout: PLACES * (header + SLOTS * integers) for
             layout, (header, integers) in SIZES.items()}
    for name, size in {**sizes, "other": 1 << 20}.items():
        segment = afl_client.Segment(size)
        env = {"__AFL_CMPLOG_SHM_ID": str(segment.id), MARK: "1"}
        with tempfile.TemporaryFile() as log, \
                afl_client.Client(payload(), env=env, stderr=log) as client:
            if name in SIZES:
                client.greet()
                equal("a run", client.run(b"x")[0], 0)
                continue
            equal("exit code", client.process.wait(60), 1)
            log.seek(0)
            message = log.read().decode()
            for words in ("a CmpLog map of 1048576 bytes",
                          *map(str, sizes.values())):
                if words not in message:
                    raise AssertionError(message)
        segment.remove()


def compile_text(bench):
    """The program as afl-clang-fast has it report; returns an initramfs."""
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
    return initrd


def check_hooks(bench):
    """What was compared is there after each run, with a restore between."""
    log = Comparisons()
    command = bench.command("text", "afl=on,verify=on",
                            initrd=compile_text(bench))

    def compared(client, data):
        log.clear()
        equal("a run", client.run(data)[0], 0)
        return list(log.slots(1)), log.pairs()

    def need_slot(slots, wanted, found):
        if not any(wanted in slot and found in slot for slot in slots):
            raise AssertionError(f"compared: {slots}")

    with afl_client.Client(command, env=log.environment()) as client:
        client.greet()
        arrays, pairs = compared(client, SEED)
        need_slot(arrays, MAGIC, SEED[:8])
        equal("the same again", compared(client, SEED), (arrays, pairs))
        found = int.from_bytes(SEED[:4], "little")
        _, pairs = compared(client, MAGIC + SEED)
        if not {(found, KIND), (KIND, found)} & pairs:
            raise AssertionError(f"compared: {pairs}")
        arrays, _ = compared(client, MAGIC + struct.pack("<I", KIND) + SEED)
        need_slot(arrays, WORD, SEED[:9])
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


def checks(tap, bench):
    """Run all checks."""
    tap.check("sizes of the segment", check_sizes, bench)
    tap.check("what was compared", check_hooks, bench)
    tap.check("afl-fuzz -c", check_campaign, bench)


def main():
    """Run the test."""
    return run_checks("cmplog", checks)


if __name__ == "__main__":
    sys.exit(main())
