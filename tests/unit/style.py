#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the style of every source file: licence line, and for C QEMU's own
checkpatch.pl without a single error or warning.  Prints TAP."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('SNAPSHOT_BUILD') or ROOT / 'build')
QEMU = Path(os.environ.get('QEMU_SRC') or BUILD / 'qemu-src')
NO_LICENCE_LINE = ('LICENSE', 'README', 'README.md', '.gitignore')
NOT_OURS = ('.git', 'build', 'out', '__pycache__')


def sources():
    """Return the project's files, without what is made or hidden."""
    for top, dirs, names in os.walk(ROOT):
        dirs[:] = sorted(d for d in dirs if d not in NOT_OURS and
                         not Path(top, d, 'build.ninja').exists())
        for name in sorted(names):
            path = Path(top, name)
            if not path.is_symlink() and not re.search(r'(~|\.swp)$', name):
                yield path


def licence(path):
    """Return what is wrong with the licence line, or ''."""
    head = path.read_text(errors='replace').splitlines()[:40]
    if any('SPDX-License-Identifier: GPL-2.0-or-later' in s for s in head):
        return ''
    return 'no "SPDX-License-Identifier: GPL-2.0-or-later" at the top'


def checkpatch(path):
    """Return the complaints of checkpatch.pl, or ''."""
    result = subprocess.run(
        ['perl', QEMU / 'scripts/checkpatch.pl', '--no-tree', '--no-summary',
         '--terse', '-f', path.relative_to(ROOT)], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return result.stdout.strip() or (result.returncode and 'failed') or ''


def main():
    argparse.ArgumentParser(
        description=__doc__.split('\n\n', 1)[0]).parse_args()
    count = failed = 0
    for path in sources():
        name = path.relative_to(ROOT)
        checks = []
        # A fuzzer's inputs are data, every byte of them.
        if (path.name not in NO_LICENCE_LINE and
                path.parent.name != 'seeds'):
            checks.append(('licence', licence))
        if re.search(r'\.(c|h|c\.inc)$', path.name):
            checks.append(('checkpatch', checkpatch))
        for what, check in checks:
            count += 1
            problem = check(path)
            failed += bool(problem)
            print(f"{'not ok' if problem else 'ok'} {count} - {what} {name}")
            for line in problem.splitlines():
                print(f'# {line}')
    print(f'1..{count}')
    return 1 if failed or not count else 0


if __name__ == '__main__':
    sys.exit(main())
