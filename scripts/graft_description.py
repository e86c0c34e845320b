# SPDX-License-Identifier: GPL-2.0-or-later
"""Read a graft description, such as graft/qemu.graft; graft/README has the
format."""

import re
from dataclasses import dataclass, field

CONDITION = re.compile(r'^(>=|<=|==|>|<)\s*(\d+(?:\.\d+)*)$')


class GraftError(Exception):
    """Anything the user has to know about; its text is the message."""


@dataclass
class Entry:
    """Lines of ours that go to one place in one file of QEMU's."""
    name: str
    where: str                      # description file and line, for messages
    file: str = ''
    after: str = ''                 # regular expression of the anchor line
    before: str = ''
    at: str = ''                    # 'end': no anchor, the end of the file
    start: str = ''                 # 'from': look below the line matching this
    when: str = ''                  # QEMU versions, such as '>= 10.0, < 10.2'
    needs: str = ''                 # files of ours without which to leave out
    marks: str = 'yes'              # 'no': where a comment cannot stand
    lines: list = field(default_factory=list)


@dataclass
class Description:
    """What graft/qemu.graft says."""
    entries: list = field(default_factory=list)
    globs: list = field(default_factory=list)
    version: str = ''


def parse(text, source):
    """Return the Description in @text; @source names it in errors."""
    desc, entry, section = Description(), None, ''
    for number, line in enumerate(text.splitlines(), 1):
        where = f'{source}:{number}'
        if line.startswith('|'):
            if entry is None:
                raise GraftError(f'{where}: a line to insert outside an entry')
            entry.lines.append(line[2:] if line[1:2] == ' ' else line[1:])
        elif not line.strip() or line.startswith('#'):
            continue
        elif line.startswith('['):
            section = line.strip()[1:-1]
            entry = None
            if section not in ('files', 'qemu'):
                entry = Entry(section, where)
                desc.entries.append(entry)
        elif section == 'files':
            desc.globs.append(line.strip())
        else:
            key, colon, value = (part.strip() for part in line.partition(':'))
            if not colon:
                raise GraftError(f"{where}: expected 'key: value'")
            if section == 'qemu' and key == 'version':
                desc.version = value
            elif entry is None or not set_key(entry, key, value):
                raise GraftError(f"{where}: unknown key '{key}'")
    check_description(desc)
    return desc


def set_key(entry, key, value):
    """Store one 'key: value' of an entry; False if there is no such key."""
    key = {'from': 'start'}.get(key, key)
    if key in ('name', 'where', 'lines') or key not in vars(entry):
        return False
    setattr(entry, key, value)
    return True


def check_description(desc):
    """Refuse a description that cannot be meant."""
    names = set()
    for entry in desc.entries:
        if not re.fullmatch(r'[\w.-]+', entry.name) or entry.name in names:
            raise GraftError(f"{entry.where}: the name '[{entry.name}]' is "
                             "used twice or has other signs than a-z0-9_.-")
        names.add(entry.name)
        if not entry.file or not entry.lines:
            raise GraftError(f"{entry.where}: [{entry.name}] needs 'file:' "
                             "and at least one '| line'")
        places = [p for p in (entry.after, entry.before, entry.at) if p]
        if len(places) != 1 or entry.at not in ('', 'end'):
            raise GraftError(f"{entry.where}: [{entry.name}] needs one of "
                             "'after:', 'before:' and 'at: end'")
        for pattern in (entry.after, entry.before, entry.start):
            try:
                re.compile(pattern)
            except re.error as error:
                raise GraftError(f"{entry.where}: [{entry.name}] bad regular "
                                 f"expression '{pattern}': {error}") from error
        version_matches('0', entry.when, entry.where)
    version_matches('0', desc.version, 'version')


def version_matches(version, conditions, where):
    """Whether @version fulfils each of the comma-separated @conditions."""
    def numbers(text):
        return [int(n) for n in text.split('.')] + [0] * (4 - text.count('.'))

    for condition in filter(None, (c.strip() for c in conditions.split(','))):
        match = CONDITION.match(condition)
        if not match:
            raise GraftError(f"{where}: cannot read the version condition "
                             f"'{condition}', expected such as '>= 10.0'")
        have, want = numbers(version), numbers(match[2])
        if not {'>=': have >= want, '<=': have <= want, '==': have == want,
                '>': have > want, '<': have < want}[match[1]]:
            return False
    return True
