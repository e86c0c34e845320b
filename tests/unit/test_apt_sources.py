# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of scripts/apt_sources.py on sample configurations."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

import apt_sources

ONE_LINE = '''
# deb http://mirror.example/debian bookworm main
deb [arch=amd64,arm64 signed-by=/k/debian.gpg] http://mirror.example/debian bookworm main contrib # the mirror
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/security bookworm-security main
deb cdrom:[Debian 12]/ bookworm main
deb [trusted=yes] file:/srv/flat ./
deb http://third.example/apt bookworm stable
'''

DEB822 = '''# made by the installer
Types: deb deb-src
URIs: http://a.example/debian http://b.example/debian
# a comment among the fields
Suites: bookworm bookworm-updates
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://a.example/security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://third.example/apt
Suites: nodistro
Components: main
'''

EMBEDDED = '''Types: deb
URIs: http://a.example/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdA
 -----END PGP PUBLIC KEY BLOCK-----
'''


def find(entries, suite, kind='deb'):
    """Return the entries of @entries for a suite and a type."""
    return [e for e in entries if suite in e.suites and kind in e.types]


class OneLine(unittest.TestCase):

    def setUp(self):
        self.entries = apt_sources.parse_one_line(ONE_LINE)

    def test_comments_and_flat_repositories_are_left_out(self):
        self.assertNotIn('./', [s for e in self.entries for s in e.suites])
        self.assertEqual(len(find(self.entries, 'bookworm', 'deb-src')), 1)

    def test_options(self):
        self.assertEqual(self.entries[0].options,
                         {'Architectures': 'amd64 arm64',
                          'Signed-By': '/k/debian.gpg'})
        self.assertEqual(self.entries[0].components, ['main', 'contrib'])

    def test_only_main_of_the_release(self):
        found = apt_sources.release_entries(self.entries, 'bookworm')
        self.assertEqual([e.uris for e in found],
                         [['http://mirror.example/debian']])
        self.assertEqual(found[0].components, ['main'])

    def test_alias_of_the_release(self):
        entries = apt_sources.parse_one_line('deb http://m.example/d stable main')
        self.assertEqual(
            len(apt_sources.release_entries(entries, 'bookworm')), 1)

    def test_option_operators(self):
        entry, = apt_sources.parse_one_line(
            'deb [ lang-=de check-valid-until=no ] http://m.example/d s main')
        self.assertEqual(entry.options, {'Languages-Remove': 'de',
                                         'Check-Valid-Until': 'no'})


class Deb822(unittest.TestCase):

    def setUp(self):
        self.entries = apt_sources.parse_deb822(DEB822)

    def test_disabled_entries_are_left_out(self):
        self.assertEqual(len(self.entries), 3)
        self.assertNotIn('off.example', str(self.entries))

    def test_lists(self):
        entry = self.entries[0]
        self.assertEqual(entry.types, ['deb', 'deb-src'])
        self.assertEqual(entry.uris, ['http://a.example/debian',
                                      'http://b.example/debian'])
        self.assertEqual(entry.suites, ['bookworm', 'bookworm-updates'])
        self.assertEqual(entry.options,
                         {'Signed-By': '/usr/share/keyrings/debian.gpg'})

    def test_embedded_key_survives(self):
        entries = apt_sources.parse_deb822(EMBEDDED)
        derived = apt_sources.derive(entries, 'bookworm', 0, True)
        for entry in derived:
            again, = apt_sources.parse_deb822(entry.text())
            self.assertEqual(again.options, entries[0].options)
            self.assertIn('mDMEY865UxYJ', again.options['Signed-By'])
            self.assertIn('\n .\n', entry.text())


class Derive(unittest.TestCase):

    def derive(self, text, codename='bookworm', candidate=0, backports=True):
        entries = apt_sources.parse_deb822(text)
        return apt_sources.derive(entries, codename, candidate, backports)

    def test_what_is_derived(self):
        derived = self.derive(DEB822)
        self.assertEqual(find(derived, 'trixie', 'deb-src')[0].uris,
                         ['http://a.example/debian', 'http://b.example/debian'])
        self.assertEqual(find(derived, 'trixie-security', 'deb-src')[0].uris,
                         ['http://a.example/security'])
        self.assertEqual(find(derived, 'bookworm', 'deb-src'),
                         find(derived, 'trixie', 'deb-src'))
        for suite in ('bookworm', 'bookworm-updates', 'bookworm-security',
                      'bookworm-backports'):
            self.assertEqual(len(find(derived, suite)), 1, suite)
        self.assertTrue(all(e.components == ['main'] for e in derived))
        self.assertTrue(all(e.options['Signed-By'].endswith('debian.gpg')
                            for e in derived))
        self.assertNotIn('third.example', str(derived))

    def test_no_backports_unless_asked_for(self):
        derived = self.derive(DEB822, backports=False)
        self.assertFalse(find(derived, 'bookworm-backports'))

    def test_other_architecture(self):
        restricted = DEB822.replace('Suites:', 'Architectures: amd64\nSuites:')
        derived = apt_sources.derive(
            apt_sources.parse_deb822(restricted), 'bookworm', 0, False, 'arm64')
        self.assertTrue(find(derived, 'bookworm'))
        for entry in derived:
            self.assertEqual(entry.types, ['deb'])
            self.assertEqual(entry.options['Architectures'], 'arm64')

    def test_other_suite(self):
        derived = apt_sources.derive(apt_sources.parse_deb822(DEB822),
                                     'bookworm', 0, True, suite='trixie')
        self.assertEqual([(e.types, e.suites) for e in derived],
                         [(['deb'], ['trixie'])])
        self.assertEqual(derived[0].options,
                         {'Signed-By': '/usr/share/keyrings/debian.gpg'})

    def test_newer_release_of_the_machine(self):
        derived = self.derive(DEB822.replace('bookworm', 'trixie'), 'trixie',
                              backports=False)
        self.assertEqual(len(find(derived, 'trixie')), 1)
        self.assertEqual([e.suites for e in find(derived, 'trixie', 'deb-src')],
                         [['trixie']])

    def test_candidates_end(self):
        self.assertIsNone(self.derive(DEB822, candidate=1))
        self.assertIsNone(self.derive(DEB822, codename='forky'))

    def test_second_candidate(self):
        text = DEB822.replace('third.example/apt\nSuites: nodistro',
                              'third.example/apt\nSuites: bookworm')
        derived = self.derive(text, candidate=1)
        self.assertEqual(find(derived, 'trixie', 'deb-src')[0].uris,
                         ['http://third.example/apt'])


class Machine(unittest.TestCase):

    def test_both_formats_where_apt_keeps_them(self):
        with tempfile.TemporaryDirectory() as work:
            Path(work, 'sources.list').write_text(ONE_LINE)
            parts = Path(work, 'sources.list.d')
            parts.mkdir()
            (parts / 'debian.sources').write_text(DEB822)
            (parts / 'more.list').write_text(ONE_LINE)
            (parts / 'old.sources.disabled').write_text(DEB822)
            places = {'Dir::Etc::sourcelist/f': Path(work, 'sources.list'),
                      'Dir::Etc::sourceparts/d': parts}
            with mock.patch('apt_sources.apt_setting', places.get):
                entries = apt_sources.machine_entries()
        one, deb822 = (apt_sources.parse_one_line(ONE_LINE),
                       apt_sources.parse_deb822(DEB822))
        self.assertEqual(len(entries), 2 * len(one) + len(deb822))

    def test_code_name(self):
        with tempfile.NamedTemporaryFile('w') as file:
            file.write('ID=debian\nVERSION_CODENAME=trixie\n')
            file.flush()
            self.assertEqual(apt_sources.running_codename(file.name), 'trixie')
            file.seek(0)
            file.truncate()
            file.write('ID=other\n')
            file.flush()
            with self.assertRaises(apt_sources.SourcesError):
                apt_sources.running_codename(file.name)
