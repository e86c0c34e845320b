# SPDX-License-Identifier: GPL-2.0-or-later
"""One point of the curve: how many restores a second, and how long each."""

import statistics

import machines
import rate


def how_many(run, wanted):
    """How many restores take @wanted seconds.

    @run(count) makes some, which warm the host up, and returns how long that
    took.  A time is believed from 50 ms on: of less, much is the console's.
    """
    count = 20
    while (seconds := run(count)) < 0.05:
        count *= 4
    return max(10, int(count / seconds * wanted))


def percentile(latency, percent):
    """How long @percent of the restores took at most, in nanoseconds.

    @latency is a SnapshotDeviceLatency of QEMU's monitor.
    """
    buckets = latency["buckets"]
    wanted = sum(bucket["count"] for bucket in buckets) * percent / 100
    below = 0
    for bucket in buckets:
        below += bucket["count"]
        if below >= wanted:
            return min(bucket["last"], latency["max"])
    raise ValueError("there were no restores")


def describe(query, seconds):
    """What was measured of the restores that QEMU's @query tells of."""
    restores = query["restores"]
    latency = query["latency"]
    return {
        "engine": query["engine"],
        "restores": restores,
        "restores_per_s": round(restores / seconds, 1),
        "p50_us": percentile(latency, 50) / 1000,
        "p99_us": percentile(latency, 99) / 1000,
        "max_us": latency["max"] / 1000,
        "pages_per_restore": round(query["pages-total"] / restores, 1),
        "serialised_per_restore": round(sum(
            load["serialised"] for load in query["loads"]) / restores, 3),
        "phases": {phase["phase"]: round(phase["total"] / restores / 1000, 3)
                   for phase in query["phases"]},
    }


def once(vm, pages, seconds):
    """Measure the guest's loop for about so many seconds."""
    count = how_many(lambda n: rate.measure(vm, n, pages)[0], seconds)
    took, _ = rate.measure(vm, count, pages)
    return describe(vm.qmp("x-snapshot-device-query"), took)


def median(runs):
    """The run with the median rate: other work on the host hits some runs."""
    middle = statistics.median_low(run["restores_per_s"] for run in runs)
    return next(run for run in runs if run["restores_per_s"] == middle)


def linux_point(vm, machine, engine, pages, seconds, rounds=1):
    """A point of a Linux guest that has been booted on @machine.

    It is the median of some rounds.  What else the guest had in hand at the
    save comes back with each restore, so one save is not like another.
    """
    machines.set_property(vm, "engine", engine)
    best = median([once(vm, pages, seconds) for _ in range(rounds)])
    return {**vars(machine), "guest": "linux", "dirty_pages": pages, **best,
            "engine": engine}


def payload_run(machine, work, engine, pages, count):
    """Start the bare-metal payload; returns seconds, what was measured."""
    with machines.bare_metal(machine, work, engine,
                             f"restores={count} dirty={pages}") as vm:
        took = rate.time_loop(vm, "rate: begin\n", f"rate: end {count}\n")
        return took, describe(vm.qmp("x-snapshot-device-query"), took)


def payload_point(work, machine, engine, pages, seconds):
    """A point of the bare-metal payload."""
    count = how_many(lambda n: payload_run(machine, work, engine, pages, n)[0],
                     seconds)
    _, measured = payload_run(machine, work, engine, pages, count)
    return {**vars(machine), "guest": "payload", "dirty_pages": pages,
            **measured, "engine": engine}
