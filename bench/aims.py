# SPDX-License-Identifier: GPL-2.0-or-later
"""What restores are meant to reach, and whether they did."""

import statistics
from dataclasses import dataclass

from machines import VIRTIO, Machine

# What most aims are about
MAIN = Machine("pc", VIRTIO)
PAGES = 16
MANY_PAGES = (1024, 8192)

# Machines that are measured in turns: name, one, the other, least ratio
PAIRS = (
    ("q35 / pc", Machine("q35"), Machine("pc"), 0.75),
    ("pc -smp 2 / -smp 1", Machine("pc", vcpus=2), Machine("pc"), 0.75),
    ("4 GiB / 512 MiB", Machine("pc", VIRTIO, ram_mib=4096), MAIN, 0.95),
)


@dataclass(frozen=True)
class Aim:
    """A number that was measured, and the limit that it is meant to keep."""

    text: str
    value: float
    limit: float
    at_least: bool = True       # or at most
    unit: str = "x"

    def reached(self):
        """Whether the limit is kept."""
        return (self.value >= self.limit if self.at_least
                else self.value <= self.limit)

    def row(self):
        """The cells of a line in a table."""
        sign = ">=" if self.at_least else "<="
        return (self.text, f"{self.value:,.2f}{self.unit}",
                f"{sign} {self.limit:,g}{self.unit}",
                "yes" if self.reached() else "NO")


def find(result, machine, pages=PAGES, engine="copy"):
    """The point of a Linux guest, or None if it was not measured."""
    for point in result["points"]:
        if ({**vars(machine), "guest": "linux", "dirty_pages": pages,
             "engine": engine}.items() <= point.items()):
            return point
    return None


def ratios(result, point):
    """Aims that compare the main point with the baselines."""
    base = result["baselines"]
    speed = point["restores_per_s"]
    yield Aim("restores a second", speed, 30000, unit="/s")
    for name, text, limit in (
            ("reference", "(a) loading all, mapping all RAM anew", 40),
            ("loadvm", "(b) loadvm", 2000),
            ("new_process", "(c) a new process, -incoming", 1),
            ("fork", "(d) fork() and waitpid()", 1)):
        if name in base:
            yield Aim(f"times as fast as {text}",
                      speed / base[name]["per_s"], limit)


def near_floor(result):
    """Aims that compare with a mere copy of the same pages."""
    for pages, limit in zip(MANY_PAGES, (3, 2)):
        point = find(result, MAIN, pages)
        floor = result["baselines"].get("floor", {}).get(str(pages))
        if point and floor:
            yield Aim(f"time of a restore of {pages} pages: times the floor "
                      "(e), medians", point["p50_us"] / floor["p50_us"], limit,
                      at_least=False)


def machines_alike(result):
    """Aims that compare machines with each other."""
    for name, _, _, limit in PAIRS:
        rates = result["pairs"].get(name)
        if rates:
            yield Aim(f"rate of {name}, in turns",
                      statistics.median(one / other for one, other in rates),
                      limit)


def evaluate(result):
    """All aims for which @result has the figures."""
    point = find(result, MAIN)
    aims = [*ratios(result, point)] if point else []
    aims += [*near_floor(result), *machines_alike(result)]
    memory = result["baselines"].get("copy_memory")
    if memory:
        aims.append(Aim(
            "memory of engine=copy, times the RAM in use that is not zero",
            memory["overhead_mib"] / memory["nonzero_mib"], 1.1,
            at_least=False))
    return aims


def campaigns(results):
    """Aims of what bench/fuzz.py has measured."""
    rates = {each["mode"]: each["execs_per_s"] for each in results}
    restore = rates["vm-restore"]
    yield Aim("a restore each run / native fork server",
                   restore / rates["native-forkserver"], 4)
    yield Aim("a restore each run / native persistent mode",
                   restore / rates["native-persistent"], 0.6)
    yield Aim("cost of coverage=tcg, a long input",
                   rates["vm-long-input"] / rates["vm-long-input-coverage"],
                   2.5, at_least=False)
    for mode in ("vm-restore", "native-persistent"):
        both = rates.get(mode + "-2")
        if both:
            yield Aim(f"{mode}: what a second worker adds, with a "
                           "processor for each", both / rates[mode] - 1, 0.8)
    yield Aim("least stability", min(
        each["stability"] for each in results
        if each["stability"] is not None), 99, unit=" %")
