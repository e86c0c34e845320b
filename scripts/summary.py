#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Count the test cases of a 'meson test' run.

Reads meson's log of results (testlog.json, one JSON object a line), in which
a test's output is TAP with a line for each case.  Lists what was skipped, by
reason, and what failed, with what the test had to say of it; the last line is
'N passed, N failed, N skipped'.  The exit code is 1 when anything failed or
nothing was run.
"""

import argparse
import json
import re
import sys
from collections import namedtuple
from pathlib import Path

LINE = re.compile(r'^(not )?ok\b\s*\d*\s*(?:- )?\s*(.*)$')
SKIP = re.compile(r'\s*#\s*SKIP\S*\s*(.*)$', re.I)
PLAN_SKIP = re.compile(r'^1\.\.0\s*#\s*SKIP\S*\s*(.*)$', re.I | re.M)
GOOD = ('OK', 'EXPECTEDFAIL', 'SKIP')

# What is shown of a failure: the last lines of its output, which are the ones
# that tell the most.
DETAILS = 12

# @kind is 'passed', 'failed' or 'skipped', @details a list of lines.
Case = namedtuple('Case', 'name kind reason details')


def tap_cases(name, output):
    """Return the cases of the test @name that its @output tells of."""
    rows = []
    for line in output.splitlines():
        match = LINE.match(line)
        if not match:
            if rows:
                rows[-1].details.append(line)
            continue
        skip = SKIP.search(match[2])
        case = f'{name}: {SKIP.sub("", match[2])}'
        if match[1]:
            rows.append(Case(case, 'failed', '', []))
        elif skip:
            rows.append(Case(case, 'skipped', skip[1], []))
        else:
            rows.append(Case(case, 'passed', '', []))
    return rows


def cases(record):
    """Return the cases of one test.

    @record is what meson noted of it.  A test that ended badly although all
    of the cases that it told of passed counts as one failed case more.
    """
    name = record['name'].rsplit(' / ', 1)[-1]      # without the suites
    result = record['result']
    output = record.get('stdout', '')
    rows = tap_cases(name, output)
    if result not in GOOD and not any(row.kind == 'failed' for row in rows):
        rows.append(Case(name, 'failed', result.lower(),
                         (output + record.get('stderr', '')).splitlines()))
    if not rows:
        plan = PLAN_SKIP.search(output)
        rows.append(Case(name, 'skipped' if result == 'SKIP' else 'passed',
                         plan[1] if plan else '', []))
    return rows


def print_skipped(rows):
    """Print one line for each reason, with the cases that have it."""
    reasons = {}
    for row in rows:
        if row.kind == 'skipped':
            reasons.setdefault(row.reason, []).append(row.name)
    for reason, names in reasons.items():
        print(f'skipped: {reason or "no reason given"} ({", ".join(names)})')


def print_failed(rows):
    """Print each failed case and the end of its output."""
    for row in rows:
        if row.kind == 'failed':
            print(f'failed: {row.name}'
                  + (f' ({row.reason})' if row.reason else ''))
            for line in row.details[-DETAILS:]:
                print(f'    {line}')


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n', maxsplit=1)[0])
    parser.add_argument('log', type=Path, metavar='FILE',
                        help="meson's testlog.json")
    parser.add_argument('--passed', action='store_true',
                        help='only list the cases that passed')
    args = parser.parse_args(argv)
    try:
        rows = [row for line in args.log.read_text().splitlines()
                for row in cases(json.loads(line))]
    except (OSError, ValueError, KeyError) as error:
        print(f'summary.py: error: cannot read {args.log}: {error}; did the '
              'tests run?', file=sys.stderr)
        return 1
    if args.passed:
        print('\n'.join(row.name for row in rows if row.kind == 'passed'))
        return 0
    print_skipped(rows)
    print_failed(rows)
    count = {kind: sum(row.kind == kind for row in rows)
             for kind in ('passed', 'failed', 'skipped')}
    print(', '.join(f'{number} {kind}' for kind, number in count.items()))
    return 1 if count['failed'] or not rows else 0


if __name__ == '__main__':
    sys.exit(main())
