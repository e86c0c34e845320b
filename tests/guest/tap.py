# SPDX-License-Identifier: GPL-2.0-or-later
"""Results in the TAP format, which meson reads."""

import argparse
import time
import traceback


class Skip(Exception):
    """Raised by a check that cannot be made here; the text says why."""


class Tap:
    """Runs checks and prints one line for each."""

    def __init__(self, only=""):
        """With @only, checks without that in their names are left out."""
        self._count = 0
        self._failed = 0
        self._only = only

    @classmethod
    def from_arguments(cls, doc):
        """For a program that takes --only and --help; @doc is its docstring."""
        return cls(argument_parser(doc).parse_args().only)

    def result(self, passed, name, note=""):
        """Report one result; @note is for the reader of the TAP."""
        self._count += 1
        self._failed += not passed
        print(f"{'ok' if passed else 'not ok'} {self._count} - {name}{note}",
              flush=True)

    def check(self, name, function, *args, fatal=()):
        """Call a function that raises if something is wrong.

        A failure is reported and goes no further, so that the next check has
        its turn, unless the exception is of a class in @fatal.
        """
        if self._only not in name:
            return
        start = time.monotonic()
        try:
            function(*args)
        except Skip as reason:
            self.skip(name, reason)
        except Exception as error:
            self.result(False, name)
            self.comment(traceback.format_exc())
            if isinstance(error, fatal):
                raise
        else:
            self.result(True, name)
        self.comment(f"{time.monotonic() - start:.1f} s")

    def skip(self, name, reason):
        """Report a check that cannot be made here."""
        self.result(True, name, f" # SKIP {reason}")

    def copy(self, text):
        """Pass on the results in @text, which another program printed."""
        for line in text.splitlines():
            words = line.split(maxsplit=1)
            if words and words[0] == "ok":
                name, _, reason = line.partition(" - ")[2].partition(" # SKIP")
                if reason:
                    self.skip(name, reason.strip())
                else:
                    self.result(True, name)
            elif line.startswith("not ok"):
                self.result(False, line.partition(" - ")[2])
            else:
                self.comment(line)

    @staticmethod
    def comment(text):
        """Print @text where the reader of the log sees it."""
        for line in text.splitlines():
            print(f"# {line}", flush=True)

    @staticmethod
    def bail_out(reason):
        """Say that nothing more can be checked; returns the exit code."""
        print(f"Bail out! {str(reason).splitlines()[0]}", flush=True)
        return 1

    def end(self):
        """Print the plan; returns the exit code of the script."""
        print(f"1..{self._count}", flush=True)
        return 1 if self._failed or (self._only and not self._count) else 0


def argument_parser(doc):
    """A parser that knows --only, for a program with the docstring @doc."""
    parser = argparse.ArgumentParser(description=doc.split("\n\n", 1)[0])
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="make the checks that have this in their names")
    return parser


def equal(what, got, expected):
    """Raise unless the two are equal."""
    if got != expected:
        raise AssertionError(f"{what}: {got!r}, expected {expected!r}")


def becomes(what, function, expected, seconds=60):
    """Wait until @function returns what is expected; raises if it does not."""
    deadline = time.monotonic() + seconds
    while (got := function()) != expected:
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} is {got!r} for {seconds} s, "
                                 f"expected {expected!r}")
        time.sleep(0.05)
