#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Derive apt sources of our own from those of this machine.

Reads the machine's apt configuration and never writes it.  The output is a
deb822 file with the entries that offer Debian's own releases, changed to the
suites and types that we need; options such as the keyring stay as they are.
"""

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

# The release whose QEMU is built; it compiles on older ones.
QEMU_SUITE = 'trixie'
ALIASES = ('oldstable', 'stable', 'testing')
OPTION_NAMES = {'arch': 'Architectures', 'lang': 'Languages',
                'target': 'Targets', 'pdiffs': 'PDiffs'}


class SourcesError(Exception):
    """Anything the user has to know about; its text is the message."""


@dataclass
class Entry:
    """One apt source: the product of its types, URIs and suites."""
    types: list
    uris: list
    suites: list
    components: list
    options: dict = field(default_factory=dict)     # deb822 field: value

    def text(self):
        """Return the entry as a deb822 stanza."""
        rows = {'Types': ' '.join(self.types), 'URIs': ' '.join(self.uris),
                'Suites': ' '.join(self.suites),
                'Components': ' '.join(self.components), **self.options}
        return ''.join(f'{key}: {value}\n' for key, value in rows.items())


# --- Reading ---------------------------------------------------------------

def parse_one_line(text):
    """Return the entries of a file in one-line format (*.list)."""
    entries = []
    for line in text.splitlines():
        line = line.split('#', 1)[0].strip()
        match = re.match(r'(deb|deb-src)\s+(?:\[([^]]*)\]\s*)?(.+)$', line)
        if not match:
            continue
        words = match[3].split()
        if len(words) < 3:              # a flat repository: not a release
            continue
        entries.append(Entry([match[1]], [words[0]], [words[1]], words[2:],
                             one_line_options(match[2] or '')))
    return entries


def one_line_options(text):
    """Return the options between the brackets as deb822 fields."""
    options = {}
    for key, sign, value in re.findall(r'(\S+?)\s*([-+]?=)\s*(\S+)', text):
        name = OPTION_NAMES.get(key.lower(), '-'.join(
            part.capitalize() for part in key.split('-')))
        name += {'+=': '-Add', '-=': '-Remove', '=': ''}[sign]
        options[name] = value.replace(',', ' ')
    return options


def parse_deb822(text):
    """Return the enabled entries of a file in deb822 format (*.sources)."""
    entries = []
    text = re.sub(r'(?m)^#.*\n?', '', text)
    for stanza in re.split(r'\n[ \t]*\n', text):
        fields = {}
        for line in stanza.splitlines():
            if line[:1] in (' ', '\t') and fields:      # continuation
                fields[list(fields)[-1]] += '\n' + line
            elif ':' in line:
                key, value = line.split(':', 1)
                fields[key.strip()] = value.strip()
        lower = {key.lower(): key for key in fields}

        def take(name, fields=fields, lower=lower):
            return fields.pop(lower.get(name, ''), '')

        enabled = take('enabled').strip().lower()
        lists = [take(name).split()
                 for name in ('types', 'uris', 'suites', 'components')]
        if enabled in ('no', 'false', 'without', 'off', 'disable'):
            continue
        if all(lists):
            entries.append(Entry(*lists, fields))
    return entries


def apt_setting(name):
    """Return what apt's own configuration says about the path @name."""
    out = subprocess.run(['apt-config', 'shell', 'value', f'{name}'],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    match = re.match(r"value='(.*)'", out)
    return Path(match[1]) if match else None


def machine_entries():
    """Return all entries of this machine's apt configuration."""
    main = apt_setting('Dir::Etc::sourcelist/f')
    parts = apt_setting('Dir::Etc::sourceparts/d')
    files = [main] if main and main.is_file() else []
    if parts and parts.is_dir():
        files += sorted(parts.glob('*.list')) + sorted(parts.glob('*.sources'))
    entries = []
    for path in files:
        parse = parse_deb822 if path.suffix == '.sources' else parse_one_line
        entries += parse(path.read_text(encoding='utf-8', errors='replace'))
    return entries


# --- Deriving --------------------------------------------------------------

def release_entries(entries, codename, pocket=''):
    """Return the binary entries of release @codename with its main part.

    @pocket is what follows in the suite's name, such as '-security'.
    """
    names = {name + pocket for name in (codename, *ALIASES)}
    found = []
    for entry in entries:
        suites = [s for s in entry.suites if s in names]
        if 'deb' in entry.types and 'main' in entry.components and suites:
            found.append(replace(entry, types=['deb'], suites=suites,
                                 components=['main']))
    return found


def for_arch(entry, arch):
    """Return @entry for the architecture @arch alone."""
    options = {key: value for key, value in entry.options.items()
               if not key.startswith('Architectures')}
    return replace(entry, options={'Architectures': arch, **options})


def derive(entries, codename, candidate, backports, arch=None, suite=None):
    """Return the entries that we need, made from the machine's @entries.

    @candidate is which of the entries of the release is taken for Debian's;
    None is returned when there are not that many.  The result offers the
    running release (kernel and busybox for the guest), the source of QEMU
    with its later fixes, sources of the running release for what a mirror does
    not have of the newer one, and with @backports the newer build tools.  With
    @arch, only the running release, for that architecture; with @suite, only
    the packages of that one.
    """
    releases = release_entries(entries, codename)
    if candidate >= len(releases):
        return None
    debian = releases[candidate]
    if suite:
        return [replace(debian, suites=[suite])]
    result = [debian]
    sources = list(dict.fromkeys([QEMU_SUITE, codename]))
    for pocket in ('-updates', '-security'):
        for entry in release_entries(entries, codename, pocket):
            same = entry.options.get('Signed-By') == debian.options.get(
                'Signed-By')
            if same and entry not in result:
                result.append(entry)
                result.append(replace(entry, types=['deb-src'],
                                      suites=[name + pocket
                                              for name in sources]))
    result.append(replace(debian, types=['deb-src'], suites=sources))
    if backports:
        result.append(replace(debian, suites=[codename + '-backports']))
    if arch:
        return [for_arch(entry, arch) for entry in result
                if entry.types == ['deb']]
    return result


def running_codename(path='/etc/os-release'):
    """Return the code name of the running Debian release."""
    text = Path(path).read_text(encoding='utf-8')
    match = re.search(r'^VERSION_CODENAME="?([\w-]+)', text, re.M)
    if not match:
        raise SourcesError(f'{path} names no release (VERSION_CODENAME)')
    return match[1]


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n', maxsplit=1)[0])
    parser.add_argument('--candidate', type=int, default=0, metavar='N',
                        help='take the Nth entry of the running release '
                        '(from 0); exit 3 when there are not that many')
    parser.add_argument('--backports', action='store_true',
                        help='with the backports of the running release')
    parser.add_argument('--arch', metavar='ARCH',
                        help='only packages of the running release, for this '
                        'architecture (default: what the machine has, and '
                        'sources)')
    parser.add_argument('--suite', metavar='NAME',
                        help='only packages of this suite, such as trixie')
    parser.add_argument('--output', type=Path, metavar='FILE',
                        help='write here (default: standard output)')
    args = parser.parse_args(argv)
    try:
        result = derive(machine_entries(), running_codename(), args.candidate,
                        args.backports, args.arch, args.suite)
        if result is None:
            return 3
        text = '\n'.join(entry.text() for entry in result)
        if args.output:
            args.output.write_text(text, encoding='utf-8')
        else:
            print(text, end='')
        return 0
    except (SourcesError, OSError, subprocess.CalledProcessError) as error:
        print(f'apt_sources.py: error: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
