# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of the benchmark's and the counts' own arithmetic."""

import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, name) for name in ("bench", "tests/guest")]
import aims    # noqa: E402  (its directory is added above)
import baselines    # noqa: E402
import plot    # noqa: E402
import points    # noqa: E402
import report    # noqa: E402
import test_counts as counts    # noqa: E402
from machines import Machine    # noqa: E402


def latency(**buckets):
    """A latency of QEMU's: how many restores took so many ns."""
    return {"max": max(int(name[1:]) for name in buckets) - 1,
            "buckets": [{"last": int(name[1:]), "count": count}
                        for name, count in buckets.items()]}


def point(machine, rate, pages=16, engine="copy", p50=10.0):
    """A point, as points.py makes it."""
    return {**vars(machine), "guest": "linux", "engine": engine,
            "dirty_pages": pages, "pages_per_restore": pages + 9.0,
            "restores_per_s": rate, "p50_us": p50, "p99_us": 2 * p50,
            "max_us": 3 * p50,
            "phases": dict.fromkeys(("stop", "ram", "devices", "resume"), 1.0)}


def result(*rows, pairs=None, **base):
    """A result of the benchmark."""
    return {"points": rows, "pairs": pairs or {}, "baselines": base}


class Percentiles(unittest.TestCase):
    """Percentiles of a histogram."""

    def test_middle_and_end(self):
        times = latency(n100=50, n200=49, n300=1)
        self.assertEqual(points.percentile(times, 50), 100)
        self.assertEqual(points.percentile(times, 51), 200)
        self.assertEqual(points.percentile(times, 99), 200)

    def test_not_beyond_the_maximum(self):
        times = latency(n100=1, n300=1)
        self.assertEqual(points.percentile(times, 100), 299)

    def test_nothing(self):
        with self.assertRaises(ValueError):
            points.percentile({"max": 0, "buckets": []}, 50)

    def test_description(self):
        query = {"engine": "copy", "restores": 4, "pages-total": 80,
                 "latency": latency(n1000=4), "loads": [{"serialised": 2}],
                 "phases": [{"phase": "ram", "total": 8000}]}
        got = points.describe(query, 0.5)
        self.assertEqual(got["restores_per_s"], 8)
        self.assertEqual(got["pages_per_restore"], 20)
        self.assertEqual(got["serialised_per_restore"], 0.5)
        self.assertEqual(got["phases"], {"ram": 2.0})

    def test_median_is_one_of_the_runs(self):
        runs = [{"restores_per_s": rate} for rate in (5, 1, 3)]
        self.assertEqual(points.median(runs), runs[2])


class Aims(unittest.TestCase):
    """Aims are reached or missed as the figures say."""

    def verdicts(self, found):
        return {aim.text: aim.reached() for aim in aims.evaluate(found)}

    def test_rate(self):
        for rate, expected in ((30000, True), (29999, False)):
            got = self.verdicts(result(point(aims.MAIN, rate)))
            self.assertEqual(got, {"restores a second": expected})

    def test_baselines(self):
        base = {name: {"per_s": per_s} for name, per_s in (
            ("reference", 1000), ("loadvm", 10), ("new_process", 10),
            ("fork", 50000))}
        got = self.verdicts(result(point(aims.MAIN, 40000), **base))
        self.assertEqual(list(got.values()), [True, True, True, True, False])

    def test_floor_is_an_upper_limit(self):
        floor = {"1024": {"p50_us": 100}, "8192": {"p50_us": 100}}
        got = self.verdicts(result(
            point(aims.MAIN, 1, pages=1024, p50=300),
            point(aims.MAIN, 1, pages=8192, p50=201), floor=floor))
        self.assertEqual(list(got.values()), [True, False])

    def test_machines(self):
        """Of ratios, not of rates, the median: the host was slow for some."""
        got = self.verdicts(result(pairs={
            "q35 / pc": [[75, 100], [30, 40], [60, 100]],
            "pc -smp 2 / -smp 1": [[74, 100], [40, 40], [30, 100]]}))
        self.assertEqual(list(got.values()), [True, False])

    def test_other_engine_is_no_answer(self):
        found = result(point(aims.MAIN, 1, engine="remap"))
        self.assertIsNone(aims.find(found, aims.MAIN))
        self.assertEqual(aims.evaluate(found), [])

    def test_memory(self):
        for overhead, expected in ((110, True), (111, False)):
            found = result(copy_memory={"nonzero_mib": 100,
                                        "overhead_mib": overhead})
            self.assertEqual(list(self.verdicts(found).values()), [expected])


class Campaigns(unittest.TestCase):
    """Aims of campaigns."""

    RATES = {"native-forkserver": 1000, "native-persistent": 8000,
             "vm-restore": 4500, "vm-long-input": 200,
             "vm-long-input-coverage": 100}

    def verdicts(self, stability=100.0, **rates):
        """Which aims were reached, by their text."""
        rates = {**self.RATES,
                 **{name.replace("_", "-"): rate
                    for name, rate in rates.items()}}
        return {aim.text: aim.reached() for aim in aims.campaigns([
            {"mode": mode, "target": "t", "execs_per_s": rate,
             "stability": stability} for mode, rate in rates.items()])}

    def test_ratios(self):
        got = self.verdicts()
        self.assertEqual(list(got.values()), [True, False, True, True])
        got = self.verdicts(vm_restore=3900, vm_long_input=251, stability=98.9)
        self.assertEqual(list(got.values()), [False] * 4)

    def test_second_worker(self):
        found = {"vm_restore_2": 4500 * 1.81}
        got = [reached for text, reached in self.verdicts(**found).items()
               if "second worker" in text]
        self.assertEqual(got, [True])
        found["native_persistent_2"] = 8000 * 1.79
        got = [reached for text, reached in self.verdicts(**found).items()
               if "second worker" in text]
        self.assertEqual(got, [True, False])

    def test_table(self):
        rows = list(report.campaign_rows([
            {"mode": "m", "target": "t", "execs_per_s": 1234.5,
             "stability": None}]))
        self.assertEqual(rows, [("m", "1,234", "")])


class Output(unittest.TestCase):
    """Tables, drawings and files."""

    def test_table(self):
        text = report.table(("a", "b"), [("x", "1"), ("long", "23")])
        self.assertEqual(text.splitlines(), [
            "====  ==", "a      b", "====  ==", "x      1", "long  23",
            "====  =="])

    def test_missed_aim_says_so(self):
        text = report.aim_table(
            aims.evaluate(result(point(aims.MAIN, 100))))
        self.assertRegex(text, r"restores a second +100\.00/s .* NO\n")

    def test_rows(self):
        rows = list(report.point_rows(result(point(aims.MAIN, 1234.5))))
        self.assertEqual(len(rows[0]), len(report.POINT_HEADS))
        self.assertIn("1,234", rows[0][3])

    def test_curves(self):
        rows = [point(Machine("pc"), 5, pages) for pages in (16, 0)]
        text = plot.commands(result(*rows))
        self.assertIn("copy, 512 MiB", text)
        self.assertLess(text.index("\n9.0 5"), text.index("\n25.0 5"))
        # Three columns have no points.
        self.assertEqual(text.count("set multiplot next"), 6)

    def test_nonzero_pages(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(4096) + b"x" + bytes(4095) + bytes(8192))
            file.flush()
            self.assertEqual(baselines.count_nonzero(file.name), 4096)

    def test_single_times(self):
        self.assertEqual(baselines.rate_of([0.1, 0.3, 0.2]),
                         {"per_s": 5.0, "p50_us": 200000.0,
                          "max_us": 300000.0, "count": 3})


class Counts(unittest.TestCase):
    """The regression guard's arithmetic."""

    TEXT = "# why\nmachine  a  b\npc  1  20\n"

    def test_read_and_write(self):
        noted = counts.read_limits(self.TEXT)
        self.assertEqual(noted, {"pc": {"a": 1, "b": 20}})
        text = counts.format_limits(self.TEXT, {"pc": {"a": 3, "b": 4.25}})
        self.assertTrue(text.startswith("# why\n"))
        self.assertEqual(counts.read_limits(text),
                         {"pc": {"a": 3, "b": 4.2}})

    def test_limit(self):
        counts.check_limit("calls", 15.5, 10)
        with self.assertRaises(AssertionError):
            counts.check_limit("calls", 15.6, 10)

    def test_strace(self):
        text = ("% time     seconds  usecs/call     calls    errors syscall\n"
                "------ ----------- ----------- --------- --------- -------\n"
                " 90.00    0.000005           1         5         1 read\n"
                "100.00    0.000006           1         7         1 total\n")
        self.assertEqual(counts.parse_strace(text), 7)
        self.assertEqual(counts.parse_strace(text.replace("1 total", "total")),
                         7)
        with self.assertRaises(ValueError):
            counts.parse_strace("strace: detached\n")
