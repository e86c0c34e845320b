# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of scripts/summary.py."""

import contextlib
import io
import json
import tempfile
import unittest

import summary


def record(result, stdout='', name='t'):
    return {'name': name, 'result': result, 'stdout': stdout}


class Cases(unittest.TestCase):

    def kinds(self, *args):
        return [case.kind for case in summary.cases(record(*args))]

    def test_tap(self):
        text = 'TAP version 13\n# note\n1..3\nok 1 /a/b\nok 2 - c # SKIP no KVM\n'
        self.assertEqual(summary.cases(record('OK', text)),
                         [('t: /a/b', 'passed', '', []),
                          ('t: c', 'skipped', 'no KVM', [])])
        self.assertEqual(self.kinds('FAIL', 'ok 1 a\nnot ok 2 b\n'),
                         ['passed', 'failed'])

    def test_whole_test_skipped(self):
        rows = summary.cases(record('SKIP', '1..0 # SKIP no /dev/kvm\n'))
        self.assertEqual(rows, [('t', 'skipped', 'no /dev/kvm', [])])

    def test_plain_test(self):
        self.assertEqual(self.kinds('OK', 'some text\n'), ['passed'])
        self.assertEqual(self.kinds('FAIL'), ['failed'])

    def test_bad_end_counts_although_all_cases_passed(self):
        for result in ('TIMEOUT', 'ERROR', 'FAIL', 'INTERRUPT'):
            self.assertEqual(self.kinds(result, 'ok 1 a\n'),
                             ['passed', 'failed'])


class Main(unittest.TestCase):

    def run_main(self, *records):
        with tempfile.NamedTemporaryFile('w') as log:
            log.write(''.join(json.dumps(r) + '\n' for r in records))
            log.flush()
            out = io.StringIO()
            with contextlib.redirect_stdout(out), \
                    contextlib.redirect_stderr(out):
                code = summary.main([log.name])
        return code, out.getvalue().splitlines()

    def test_counts(self):
        code, lines = self.run_main(
            record('OK', 'ok 1 a\nok 2 b # SKIP slow\n', 'x'),
            record('OK', name='y'))
        self.assertEqual(code, 0)
        self.assertEqual(lines, ['skipped: slow (x: b)',
                                 '2 passed, 0 failed, 1 skipped'])

    def test_failure_is_listed(self):
        code, lines = self.run_main(record('TIMEOUT', name='z'))
        self.assertEqual(code, 1)
        self.assertEqual(lines, ['failed: z (timeout)',
                                 '0 passed, 1 failed, 0 skipped'])

    def test_failure_comes_with_the_end_of_its_output(self):
        notes = [f'# note {i}' for i in range(20)]
        lines = self.run_main(record('FAIL', '\n'.join(
            ['ok 1 a', '# fine', 'not ok 2 b', *notes, 'ok 3 c', '# fine'])))[1]
        self.assertEqual(lines, [
            'failed: t: b', *(f'    {note}' for note in notes[-12:]),
            '2 passed, 1 failed, 0 skipped'])

    def test_bad_end_comes_with_the_end_of_all_output(self):
        lines = self.run_main(dict(record('ERROR', 'ok 1 a\n# last\n'),
                                   stderr='assertion failed\n'))[1]
        self.assertEqual(lines, [
            'failed: t (error)', '    ok 1 a', '    # last',
            '    assertion failed', '1 passed, 1 failed, 0 skipped'])

    def test_skips_are_listed_by_reason(self):
        lines = self.run_main(record(
            'OK', 'ok 1 a # SKIP slow\nok 2 b # SKIP no KVM\n'
                  'ok 3 c # SKIP slow\n'))[1]
        self.assertEqual(lines[:2], ['skipped: slow (t: a, t: c)',
                                     'skipped: no KVM (t: b)'])

    def test_nothing_run_is_a_failure(self):
        self.assertEqual(self.run_main()[0], 1)
