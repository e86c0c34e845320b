#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Join our files to a QEMU source tree, and take them out again.

The description (graft/qemu.graft, format in graft/README) says which lines
of ours go where in QEMU's files, and which files of ours are linked into the
tree.  Everything is checked before anything is written; applying twice gives
the same tree, and removing gives back QEMU's files byte for byte.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path

from graft_description import GraftError, parse, version_matches

ROOT = Path(__file__).resolve().parent.parent
STATE = '.graft.json'
HASH_NAMES = ('meson.build', 'meson_options.txt', 'meson.options', 'Kconfig',
              'Makefile', 'trace-events', 'MAINTAINERS')
COMMENTS = {'.c': ('/* ', ' */'), '.h': ('/* ', ' */'), '.inc': ('/* ', ' */'),
            '.hx': ('HXCOMM ', ''), '.rst': ('.. ', ''),
            '.json': ('# ', ''), '.py': ('# ', ''), '.sh': ('# ', ''),
            '.mak': ('# ', ''), '.yml': ('# ', ''), '.toml': ('# ', '')}
MARK = re.compile(r'\bgraft (begin|end): ([\w.-]+)')


# --- One file's text -------------------------------------------------------

def markers(entry, file):
    """Return the begin and end comment lines of @entry in @file."""
    name = Path(file).name
    if name in HASH_NAMES or name.startswith('Kconfig'):
        left, right = '# ', ''
    elif Path(file).suffix in COMMENTS:
        left, right = COMMENTS[Path(file).suffix]
    else:
        raise GraftError(f"{entry.where}: the comment syntax of {file} is not "
                         "known; use 'marks: no'")
    indent = re.match(r'\s*', entry.lines[0])[0] if left != 'HXCOMM ' else ''
    return [f'{indent}{left}graft {edge}: {entry.name}{right}'
            for edge in ('begin', 'end')]


def block(entry):
    """Return the lines that @entry puts into its file."""
    if entry.marks == 'no':
        return list(entry.lines)
    begin, end = markers(entry, entry.file)
    return [begin, *entry.lines, end]


def strip_blocks(lines, file):
    """Return @lines without the marked blocks of ours."""
    kept, inside = [], None
    for line in lines:
        match = MARK.search(line)
        if match and match[1] == 'begin' and inside is None:
            inside = match[2]
        elif match and match[1] == 'end' and inside == match[2]:
            inside = None
        elif match:
            raise GraftError(f"{file}: the marker 'graft {match[1]}: "
                             f"{match[2]}' has no partner; take these lines "
                             "out by hand")
        elif inside is None:
            kept.append(line)
    if inside is not None:
        raise GraftError(f"{file}: the marker 'graft begin: {inside}' has no "
                         "partner; take these lines out by hand")
    return kept


def strip_plain(lines, plain, file):
    """Return @lines without the one occurrence of the unmarked @plain."""
    at = [i for i in range(len(lines)) if lines[i:i + len(plain)] == plain]
    if len(at) > 1:
        raise GraftError(f"{file}: '{plain[0]}' stands there {len(at)} times; "
                         "cannot tell which one is the graft's")
    return lines[:at[0]] + lines[at[0] + len(plain):] if at else lines


def matching(lines, pattern, first=0):
    """Return the indices from @first of the lines that @pattern matches."""
    return [i for i in range(first, len(lines)) if re.search(pattern, lines[i])]


def find_place(lines, entry, version):
    """Return the index in @lines before which @entry's lines go."""
    if entry.at:
        return len(lines)

    def one(pattern, first, nearest):
        hits = matching(lines, pattern, first)
        if len(hits) == 1 or (hits and nearest):
            return hits[0]
        found = f'found {len(hits)} times' if hits else 'not found'
        raise GraftError(f"anchor '{pattern}' {found} in {entry.file}: this "
                         f"QEMU ({version}) is not one the graft knows; see "
                         f"graft/README ({entry.where})")

    first = one(entry.start, 0, False) + 1 if entry.start else 0
    hit = one(entry.after or entry.before, first, bool(entry.start))
    return hit + 1 if entry.after else hit


def insert_all(lines, entries, version):
    """Return @lines, which are QEMU's own, with all @entries put in."""
    places = {}
    for entry in entries:
        places.setdefault(find_place(lines, entry, version), []).append(entry)
    result = []
    for index in range(len(lines) + 1):
        for entry in places.get(index, ()):
            result += block(entry)
        result += lines[index:index + 1]
    return result


# --- The tree --------------------------------------------------------------

class Tree:
    """A QEMU source tree and what was grafted on it."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            text = (self.path / 'VERSION').read_text(encoding='ascii')
            self.version = re.match(r'\d+(\.\d+)*', text)[0]
            (self.path / 'migration/savevm.c').stat()
        except (OSError, TypeError, UnicodeError):
            raise GraftError(f'{self.path} is not a QEMU source tree: no '
                             'VERSION and migration/savevm.c in it') from None
        try:
            self.state = json.loads((self.path / STATE).read_text())
        except FileNotFoundError:
            self.state = {'plain': {}, 'files': [], 'links': []}
        except ValueError as error:
            raise GraftError(f'{self.path / STATE} is damaged ({error}); unpack'
                             ' the QEMU source again') from error

    def read(self, name):
        """Return the lines of one file, without their line ends."""
        try:
            data = (self.path / name).read_bytes()
        except OSError as error:
            raise GraftError(f'{name}: {error.strerror}: this QEMU '
                             f'({self.version}) is not one the graft knows; '
                             'see graft/README') from error
        if not data.endswith(b'\n'):
            raise GraftError(f'{name} does not end with a newline')
        return data.decode('utf-8', 'surrogateescape').split('\n')[:-1]

    def write(self, name, lines):
        """Replace one file at one stroke, keeping its permissions."""
        text = ''.join(line + '\n' for line in lines)
        replace(self.path / name, text.encode('utf-8', 'surrogateescape'))

    def own(self, name, entries):
        """Return QEMU's own lines of a file: all of ours taken out."""
        lines = strip_blocks(self.read(name), name)
        plain = [e.lines for e in entries if e.marks == 'no']
        for ours in plain + self.state['plain'].get(name, []):
            lines = strip_plain(lines, ours, name)
        return lines

    def save_state(self, state):
        """Note what is grafted; no note when nothing is."""
        path = self.path / STATE
        if any(state.values()):
            text = json.dumps(state, indent=1, sort_keys=True) + '\n'
            if not path.exists() or path.read_text() != text:
                replace(path, text.encode())
        else:
            path.unlink(missing_ok=True)
        self.state = state


def replace(path, data):
    """Write @data to @path through a temporary file and a rename."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix='.graft-')
    try:
        with os.fdopen(handle, 'wb') as out:
            out.write(data)
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise


class Graft:
    """A description, the overlay it speaks of, and a tree to join it to."""

    def __init__(self, desc, root, tree):
        self.desc, self.root, self.tree = desc, Path(root).resolve(), tree
        if not version_matches(tree.version, desc.version, 'version'):
            raise GraftError(f'this QEMU is version {tree.version}; the graft '
                             f'is for {desc.version}')
        self.entries = [e for e in desc.entries if not self.left_out(e)]
        self.files = sorted({str(p.relative_to(self.root))
                             for glob in desc.globs
                             for p in self.root.glob(glob)
                             if p.is_file() and not re.search(
                                 r'^[.#]|~$|\.(orig|rej|swp|pyc)$', p.name)})

    def left_out(self, entry):
        """Why @entry does not apply here, or None."""
        if not version_matches(self.tree.version, entry.when, entry.where):
            return f'QEMU {self.tree.version} is not {entry.when}'
        missing = [n for n in entry.needs.split()
                   if not (self.root / n).exists()]
        return f'no {missing[0]} yet' if missing else None

    def plan(self, apply=True):
        """Return {file: lines} of all files in question, after checking.

        With @apply the lines include ours, else they are QEMU's alone.
        """
        known = {e.file for e in self.desc.entries}
        known.update(self.tree.state['files'])
        names = {n for n in known if (self.tree.path / n).exists()}
        if apply:
            names.update(e.file for e in self.entries)
        result = {}
        for name in sorted(names):
            here = [e for e in self.desc.entries if e.file == name]
            lines = self.tree.own(name, here)
            if apply:
                lines = insert_all(lines, [e for e in self.entries
                                           if e.file == name],
                                   self.tree.version)
            result[name] = lines
        return result

    def foreign(self):
        """Return those places of our files that something else occupies."""
        known = set(self.tree.state['links'])
        return [n for n in self.files
                if os.path.lexists(self.tree.path / n) and not (
                    (self.tree.path / n).is_symlink() and
                    (n in known or self.linked(n)))]

    def linked(self, name):
        """Whether @name in the tree is a link to our file."""
        path = self.tree.path / name
        return (path.is_symlink() and
                os.readlink(path) == str(self.root / name))

    def apply(self):
        """Make the tree as described; return what was changed."""
        plan = self.plan()
        for name in self.foreign():
            raise GraftError(f'{self.tree.path / name} is in the way: it is '
                             'not a link to ours; move it or take another '
                             'tree')
        grafted = sorted({e.file for e in self.entries})
        plain = {}
        for entry in self.entries:
            if entry.marks == 'no':
                plain.setdefault(entry.file, []).append(entry.lines)
        return self.change(plan, self.files, {
            'plain': plain, 'files': grafted, 'links': self.files})

    def remove(self):
        """Give QEMU's tree back as it was; return what was changed."""
        return self.change(self.plan(apply=False), [], {
            'plain': {}, 'files': [], 'links': []})

    def change(self, plan, files, state):
        """Write the texts of @plan, link @files, note @state."""
        old = self.tree.state
        # First note everything that may be there, in case of a crash.
        self.tree.save_state({
            'plain': {**state['plain'], **old['plain']},
            'files': sorted({*old['files'], *state['files']}),
            'links': sorted({*old['links'], *state['links']})})
        changed = []
        for name in sorted(set(old['links']) - set(files)):
            if (self.tree.path / name).is_symlink():
                (self.tree.path / name).unlink()
                self.prune(name)
                changed.append(name)
        if not files:
            for name in filter(self.linked, self.files):
                (self.tree.path / name).unlink()
                self.prune(name)
                changed.append(name)
        for name in files:
            if not self.linked(name):
                path = self.tree.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.symlink_to(self.root / name)
                changed.append(name)
        for name, lines in plan.items():
            if self.tree.read(name) != lines:
                self.tree.write(name, lines)
                changed.append(name)
        self.tree.save_state(state)
        return changed

    def prune(self, name):
        """Drop the directories that held only links of ours."""
        for parent in Path(name).parents[:-1]:
            try:
                (self.tree.path / parent).rmdir()
            except OSError:
                return

    def status(self):
        """Return [(what, state)]: state is 'grafted', 'not grafted', ..."""
        rows = []
        for entry in self.desc.entries:
            why = self.left_out(entry)
            if why:
                rows.append((f'[{entry.name}]', f'left out: {why}'))
                continue
            lines, ours = self.tree.read(entry.file), block(entry)
            marks = [m for m in map(MARK.search, lines) if m]
            if any(lines[i:i + len(ours)] == ours for i in range(len(lines))):
                state = 'grafted'
            elif any(m[2] == entry.name for m in marks):
                state = 'changed'
            else:
                state = 'not grafted'
            rows.append((f'[{entry.name}] {entry.file}', state))
        for name in self.files:
            state = 'grafted' if self.linked(name) else 'not grafted'
            rows.append((name, state))
        return rows


# --- Commands --------------------------------------------------------------

def command_apply(graft):
    changed = graft.apply()
    for entry in graft.desc.entries:
        if graft.left_out(entry):
            print(f'graft: left out [{entry.name}]: {graft.left_out(entry)}')
    print(f'graft: {graft.tree.path} (QEMU {graft.tree.version}): '
          f'{len(graft.entries)} insertions, {len(graft.files)} files; '
          + (f'{len(changed)} changed' if changed else 'up to date'))
    return 0


def command_remove(graft):
    changed = graft.remove()
    print(f'graft: {graft.tree.path}: '
          + (f'removed, {len(changed)} files changed' if changed
             else 'nothing to remove'))
    return 0


def command_check(graft):
    rows = [row for row in graft.status() if not row[1].startswith('left')]
    states = {state for _, state in rows}
    graft.plan()
    if states <= {'grafted'}:
        print(f'graft: {graft.tree.path} is grafted')
        return 0
    if states == {'not grafted'} and not graft.tree.state['files']:
        print(f'graft: {graft.tree.path} is not grafted; it can be')
        return 1
    for what, state in rows:
        if state != 'grafted':
            print(f'  {what}: {state}')
    print(f'graft: {graft.tree.path} is grafted in part; apply again')
    return 2


def command_list(graft):
    for what, state in graft.status():
        print(f'{what}: {state}')
    return 0


def main(argv=None):
    commands = {'apply': (command_apply, 'insert and link; any number of times'),
                'remove': (command_remove, 'give the tree back as it was'),
                'check': (command_check, 'exit 0: grafted, 1: not, 2: in part'),
                'list': (command_list, 'show each insertion and file')}
    parser = argparse.ArgumentParser(
        prog='graft.py', formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__.split('\n\n', maxsplit=1)[0],
        epilog='commands:\n' + '\n'.join(
            f'  {name:8}{text}' for name, (_, text) in commands.items()))
    parser.add_argument('command', choices=commands)
    parser.add_argument('--tree', required=True, metavar='DIR',
                        help='the QEMU source tree')
    parser.add_argument('--graft', default=ROOT / 'graft/qemu.graft',
                        metavar='FILE', type=Path, help='the description '
                        '(default: graft/qemu.graft of this project)')
    parser.add_argument('--root', default=ROOT, metavar='DIR', type=Path,
                        help='where our files are (default: this project)')
    args = parser.parse_args(argv)
    try:
        desc = parse(args.graft.read_text(encoding='utf-8'), args.graft.name)
        graft = Graft(desc, args.root, Tree(args.tree))
        return commands[args.command][0](graft)
    except GraftError as error:
        print(f'graft: {error}', file=sys.stderr)
    except OSError as error:
        print(f'graft: {error.filename}: {error.strerror}', file=sys.stderr)
    return 2


if __name__ == '__main__':
    sys.exit(main())
