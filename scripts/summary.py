#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Count the test cases of a 'meson test' run.

Reads meson's log of results (testlog.json, one JSON object a line), in which
a test's output is TAP with a line for each case.  Lists what was skipped and
what failed; the last line is 'N passed, N failed, N skipped'.  The exit code
is 1 when anything failed or nothing was run.
"""

import argparse
import json
import re
import sys
from pathlib import Path

LINE = re.compile(r'^(not )?ok\b\s*\d*\s*(?:- )?\s*(.*)$')
SKIP = re.compile(r'\s*#\s*SKIP\S*\s*(.*)$', re.I)
PLAN_SKIP = re.compile(r'^1\.\.0\s*#\s*SKIP\S*\s*(.*)$', re.I | re.M)
GOOD = ('OK', 'EXPECTEDFAIL', 'SKIP')


def cases(record):
    """Return [(name, 'passed' | 'failed' | 'skipped', reason)] of one test.

    @record is what meson noted of it.  A test that ended badly although all
    of the cases that it told of passed counts as one failed case more.
    """
    name = record['name'].rsplit(' / ', 1)[-1]      # without the suites
    result = record['result']
    output = record.get('stdout', '')
    rows = []
    for line in output.splitlines():
        match = LINE.match(line)
        if match:
            skip = SKIP.search(match[2])
            case = f'{name}: {SKIP.sub("", match[2])}'
            if match[1]:
                rows.append((case, 'failed', ''))
            elif skip:
                rows.append((case, 'skipped', skip[1]))
            else:
                rows.append((case, 'passed', ''))
    if result not in GOOD and not any(row[1] == 'failed' for row in rows):
        rows.append((name, 'failed', result.lower()))
    if not rows:
        plan = PLAN_SKIP.search(output)
        rows.append((name, 'skipped' if result == 'SKIP' else 'passed',
                     plan[1] if plan else ''))
    return rows


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
        print('\n'.join(name for name, what, _ in rows if what == 'passed'))
        return 0
    for word in ('skipped', 'failed'):
        for name, what, reason in rows:
            if what == word:
                print(f'{word}: {name}' + (f' ({reason})' if reason else ''))
    count = {word: sum(what == word for _, what, _ in rows)
             for word in ('passed', 'failed', 'skipped')}
    print(', '.join(f'{number} {word}' for word, number in count.items()))
    return 1 if count['failed'] or not rows else 0


if __name__ == '__main__':
    sys.exit(main())
