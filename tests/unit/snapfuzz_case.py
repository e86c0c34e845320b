# SPDX-License-Identifier: GPL-2.0-or-later
"""What unit tests of the front end (harness/snapfuzz) share."""

import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "harness"))
# Its directory is added above.
from snapfuzz.machine import Places    # noqa: E402
from snapfuzz.target import read_target    # noqa: E402


class Directory(unittest.TestCase):
    """Has a directory, with a target and a build directory in it."""

    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.work = Path(work.name).resolve()
        self.build = self.work / "build"
        self.target = self.work / "one"
        (self.target / "seeds").mkdir(parents=True)
        (self.target / "seeds" / "1").write_text("seed")
        (self.build / "made").mkdir(parents=True)
        (self.build / "made" / "prog").write_text("program")
        self.places = Places(self.work, self.build)

    def read(self, text):
        """Read the target with this description."""
        (self.target / "target.toml").write_text(text)
        return read_target(self.target, self.build)
