#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of what the benchmark measured, for a terminal or for the docs."""

import argparse
import json
import os
import shutil
import sys

import aims
from machines import ROOT, Machine

# What docs/performance.rst has after this line is written by --docs.
MARK = ".. The rest of this page is written by 'make bench-docs'.\n"

POINT_HEADS = ("machine", "engine", "pages written", "restores/s", "p50 us",
               "p99 us", "max us", "stop", "RAM", "devices", "resume")
AIM_HEADS = ("aim", "measured", "limit", "reached")
CAMPAIGN_HEADS = ("campaign", "runs/s", "stability")
BASELINES = {
    "reference": "(a) every section loaded, all RAM mapped anew",
    "loadvm": "(b) loadvm of an internal snapshot",
    "new_process": "(c) a new process, -incoming from a mapped-ram file",
    "fork": "(d) fork() and waitpid() of a small process",
}


def point_rows(result):
    """Cells of one line a point."""
    for point in result["points"]:
        machine = Machine(*(point[name] for name in (
            "machine", "devices", "vcpus", "ram_mib", "accel")))
        phases = point["phases"]
        yield (f"{machine.title()}, {point['guest']}", point["engine"],
               str(point["dirty_pages"]), f"{point['restores_per_s']:,.0f}",
               *(f"{point[name]:,.1f}" for name in (
                   "p50_us", "p99_us", "max_us")),
               *(f"{phases[name]:,.1f}" for name in (
                   "stop", "ram", "devices", "resume")))


def baseline_rows(result):
    """Cells of one line a baseline."""
    base = result["baselines"]
    for name, text in BASELINES.items():
        if name in base:
            yield (text, f"{base[name]['per_s']:,.1f}",
                   f"{base[name]['p50_us']:,.1f}")
    for pages, figures in base.get("floor", {}).items():
        yield (f"(e) copying {pages} pages and the CPU",
               f"{figures['per_s']:,.1f}", f"{figures['p50_us']:,.1f}")


def columns(rows):
    """How wide each column has to be."""
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]


def table(heads, rows):
    """A table in reStructuredText, which a terminal shows as well."""
    rows = list(rows)
    widths = columns([heads, *rows])
    rule = "  ".join("=" * width for width in widths)

    def line(cells):
        return "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                         for i, (cell, width) in enumerate(zip(cells, widths))
                         ).rstrip()
    return "\n".join([rule, line(heads), rule, *map(line, rows), rule, ""])


def describe_host(host):
    """One paragraph on where and when it was measured."""
    kvm = host.get("kvm", "used")
    left_out = "" if kvm == "used" else f"  KVM was left out: {kvm}."
    return (f"Measured on {host['date']} on {host['cpu']}, {host['cpus']} "
            f"processors, Linux {host['kernel']}, QEMU {host['qemu']}; load "
            f"{host['load_before']:.1f} before and {host['load_after']:.1f} "
            f"after.{left_out}")


def aim_table(those):
    """Aims and whether they were reached."""
    return table(AIM_HEADS, (aim.row() for aim in those))


def campaign_rows(results):
    """Cells of one line a campaign."""
    for each in results:
        stability = each["stability"]
        yield (each["mode"], f"{each['execs_per_s']:,.0f}",
               "" if stability is None else f"{stability:.2f} %")


def full_report(result, campaigns=None):
    """All tables, in reStructuredText; @campaigns are the results of fuzz.py,
    where they are wanted, too."""
    parts = [describe_host(result["host"]), ""]
    for title, text in (
            ("Aims", aim_table(aims.evaluate(result))),
            ("Baselines", table(("", "a second", "median us"),
                                baseline_rows(result))),
            *([("Campaigns", table(CAMPAIGN_HEADS, campaign_rows(campaigns))
                + "\n" + aim_table(aims.campaigns(campaigns)))]
              if campaigns else []),
            ("All points", table(POINT_HEADS, point_rows(result)))):
        parts += [title, "=" * len(title), "", text]
    return "\n".join(parts)


def write_docs(result, campaigns, drawing):
    """Renew the tables in docs/performance.rst, and the drawing beside it."""
    page = os.path.join(ROOT, "docs", "performance.rst")
    with open(page, encoding="utf-8") as file:
        text = file.read()
    head, mark, _ = text.partition(MARK)
    if not mark:
        raise ValueError(f"{page} has no line '{MARK.strip()}'")
    with open(page, "w", encoding="utf-8") as file:
        file.write(head + mark + "\n" + full_report(result, campaigns))
    shutil.copyfile(drawing, page.replace(".rst", ".svg"))


def read(name):
    """What is in a file that a benchmark has written; the error names it."""
    try:
        with open(name, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {name}: {error}") from None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true",
                        help="write them to docs/performance.rst")
    parser.add_argument("--campaigns", metavar="FILE",
                        help="fuzz.json of bench/fuzz.py, for a table of it")
    parser.add_argument("result", help="restore.json of the benchmark")
    args = parser.parse_args()
    try:
        result = read(args.result)
        campaigns = args.campaigns and read(args.campaigns)
        if args.docs:
            write_docs(result, campaigns, args.result.replace(".json", ".svg"))
        else:
            print(full_report(result, campaigns))
    except KeyError as error:
        print(f"report.py: error: cannot read {args.result}: no {error}",
              file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
