#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the unittest cases of a file and print the results as TAP."""

import argparse
import importlib.util
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class TapResult(unittest.TestResult):
    """Prints a line for each test case."""

    count = 0

    def report(self, passed, test, note='', details=''):
        self.count += 1
        word = 'ok' if passed else 'not ok'
        print(f'{word} {self.count} - {test.id().split(".", 1)[1]}{note}')
        for line in details.splitlines():
            print(f'# {line}')
        sys.stdout.flush()

    def addSuccess(self, test):
        self.report(True, test)

    def addSkip(self, test, reason):
        self.report(True, test, f' # SKIP {reason}')

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report(False, test, details=self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.report(False, test, details=self.errors[-1][1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('file', type=Path, help='tests/unit/test_....py')
    path = parser.parse_args().file
    sys.path.insert(0, str(ROOT / 'scripts'))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = TapResult()
    suite.run(result)
    print(f'1..{result.count}')
    return 0 if result.wasSuccessful() and result.count else 1


if __name__ == '__main__':
    sys.exit(main())
