#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the page docs/matrix.rst of the results in build/matrix.json."""

import argparse
import json

HEAD = """:orphan:

.. SPDX-License-Identifier: GPL-2.0-or-later
.. Made by tests/matrix/table.py of a run of "make matrix": do not edit.

===============================
Machines and devices, as tested
===============================

Each machine was started with several of its devices at a time.  A program in
the guest used all of them, saved the machine while a read, a datagram, a word
on a serial line and a timer were under way, and had it restored again and
again; after each restore it used all of them anew, and after the last one as
well, when the host also looked at the screen, pressed keys, and so on.  After
every restore QEMU compared all of RAM and of the device state with the
snapshot.  "make matrix" repeats it.

A number is how many restores there were with each number of CPUs, without one
difference.  "refused": the machine cannot be saved with this device, and the
error names it.
"""
WORDS = {"refused": "refused", "failed": "**failed**", "skipped": "skipped"}


def cell(results):
    """The text of one cell: all results of a device on a kind of machine."""
    if not results:
        return ""
    if all(result["result"] == "passed" for result in results):
        return str(min(result["restores"] for result in results))
    worst = next(word for word in ("failed", "skipped", "refused", "passed")
                 if any(r["result"] == word for r in results))
    return WORDS.get(worst, worst)


def table(title, results):
    """One table: devices down, machines across."""
    machines = list(dict.fromkeys(r["machine"] for r in results))
    devices = list(dict.fromkeys(r["device"] for r in results))
    rows = [["device", *machines]]
    smp = {m: sorted({r["smp"] for r in results if r["machine"] == m})
           for m in machines}
    rows.append(["number of CPUs",
                 *(", ".join(map(str, smp[m])) for m in machines)])
    rows += [[device, *(cell([r for r in results if r["device"] == device and
                              r["machine"] == machine])
                        for machine in machines)] for device in devices]
    lines = ["", title, "-" * len(title), "", ".. list-table::",
             "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'*' if i == 0 else ' '} - {text}".rstrip()
                  for i, text in enumerate(row)]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", help="build/matrix.json")
    parser.add_argument("page", help="docs/matrix.rst")
    args = parser.parse_args()
    with open(args.results, encoding="utf-8") as file:
        results = json.load(file)
    lines = HEAD.rstrip().splitlines()
    payload = [r for r in results if r["device"] == "payload"]
    plain = [r for r in results if r["device"] != "payload" and
             "," not in r["machine"]]
    special = [r for r in results if r not in payload and r not in plain]
    for title, part in (
            ("Linux, multi-threaded TCG", plain),
            ("Linux, other ways to run vCPUs", special),
            ("The bare-metal payload, KVM", payload)):
        if part:
            lines += table(title, part)
    skipped = {r["detail"] for r in results if r["result"] == "skipped"}
    for reason in sorted(skipped):
        lines += ["", f"Skipped: {reason}."]
    with open(args.page, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
