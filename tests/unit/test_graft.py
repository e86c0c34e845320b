# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of scripts/graft.py on small trees of our own making."""

import contextlib
import io
import os
import re
import tempfile
import unittest
from pathlib import Path

import graft

# What a QEMU tree looks like to the tool; the contents are made up.
TREE = {
    'VERSION': '10.0.13\n',
    'migration/savevm.c': 'int one;\nint two;\n',
    'hw/misc/meson.build': "subdir('a')\n",
    'hw/misc/Kconfig': 'source a/Kconfig\n',
    'hmp-commands.hx': '#if 1\n    { .name = "x", },\nSRST\ntext\nERST\n#endif\n',
    'qapi/char.json': ("##\n# @Kind:\n#\n# @alpha: first\n#\n# @beta: second\n"
                       "##\n{ 'enum': 'Kind',\n  'data': [ 'alpha',\n"
                       "            'beta' ] }\n"
                       "{ 'union': 'Backend',\n  'data': { 'alpha': 'A',\n"
                       "            'beta': 'B' } }\n"),
    'docs/index.rst': 'Title\n=====\n',
    'scripts/tool.py': 'import os\n',
}

OVERLAY = {
    'hw/misc/snapshot/device.c': 'int device;\n',
    'hw/misc/snapshot/Kconfig': 'config X\n',
    'include/hw/misc/snapshot_regs.h': '#define X 1\n',
}

DESCRIPTION = r'''
[qemu]
version: >= 10.0
[files]
hw/misc/snapshot/**/*
include/hw/misc/snapshot*.h
[engine]
file: migration/savevm.c
at: end
|
| #include "engine.c.inc"
[build]
file: hw/misc/meson.build
after: subdir..a
| subdir('snapshot')
[kconfig]
file: hw/misc/Kconfig
at: end
| source snapshot/Kconfig
[command]
file: hmp-commands.hx
at: end
|     { .name = "y", },
| SRST
| ours
| ERST
[kind]
file: qapi/char.json
from: 'enum': 'Kind'
after: 'alpha'
|             'gamma',
[kind-doc]
file: qapi/char.json
after: ^# @alpha:
marks: no
| #
| # @gamma: third
[backend]
file: qapi/char.json
from: 'union': 'Backend'
after: 'alpha'
|             'gamma': 'C',
[doc]
file: docs/index.rst
before: ^=
| ours
[tool]
file: scripts/tool.py
before: import
| import sys
'''


class GraftTest(unittest.TestCase):
    """A tree and an overlay in a temporary directory."""

    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.tree = Path(work.name, 'tree')
        self.root = Path(work.name, 'root')
        self.fill(self.tree, TREE)
        self.fill(self.root, OVERLAY)
        self.describe(DESCRIPTION)

    def fill(self, top, files):
        for name, text in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def describe(self, text):
        self.description = self.root / 'test.graft'
        self.description.write_text(text)

    def run_graft(self, command):
        """Return (exit code, what was printed)."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = graft.main([command, '--tree', str(self.tree), '--root',
                               str(self.root), '--graft',
                               str(self.description)])
        return code, out.getvalue()

    def snapshot(self):
        """Return {name: (content or link target)} of the tree."""
        result = {}
        for path in sorted(self.tree.rglob('*')):
            name = str(path.relative_to(self.tree))
            if path.is_symlink():
                result[name] = 'link to ' + os.readlink(path)
            elif path.is_file():
                result[name] = path.read_bytes()
            else:
                result[name] = 'directory'
        return result

    def read(self, name):
        return (self.tree / name).read_text()

    def assert_refused(self, *words):
        """Applying fails, says each of @words, and changes nothing."""
        before = self.snapshot()
        code, text = self.run_graft('apply')
        self.assertEqual(code, 2, text)
        for word in words:
            self.assertIn(word, text)
        self.assertEqual(self.snapshot(), before)


class ApplyAndRemove(GraftTest):

    def test_apply_twice_is_the_same(self):
        self.assertEqual(self.run_graft('apply')[0], 0)
        once = self.snapshot()
        times = {p: p.lstat().st_mtime_ns for p in self.tree.rglob('*')}
        code, text = self.run_graft('apply')
        self.assertEqual(code, 0)
        self.assertIn('up to date', text)
        self.assertEqual(self.snapshot(), once)
        self.assertEqual({p: p.lstat().st_mtime_ns
                          for p in self.tree.rglob('*')}, times)

    def test_remove_gives_back_every_byte(self):
        before = self.snapshot()
        self.run_graft('apply')
        self.assertNotEqual(self.snapshot(), before)
        self.assertEqual(self.run_graft('remove')[0], 0)
        self.assertEqual(self.snapshot(), before)
        self.assertIn('nothing', self.run_graft('remove')[1])

    def test_permissions_stay(self):
        (self.tree / 'scripts/tool.py').chmod(0o755)
        self.run_graft('apply')
        mode = (self.tree / 'scripts/tool.py').stat().st_mode
        self.assertEqual(mode & 0o777, 0o755)

    def test_links(self):
        self.run_graft('apply')
        path = self.tree / 'hw/misc/snapshot/device.c'
        self.assertTrue(path.is_symlink())
        self.assertEqual(path.read_text(), 'int device;\n')
        (self.root / 'hw/misc/snapshot/device.c').unlink()
        self.fill(self.root, {'hw/misc/snapshot/new.c': 'int new;\n'})
        self.run_graft('apply')
        self.assertFalse(path.is_symlink())
        self.assertTrue((self.tree / 'hw/misc/snapshot/new.c').is_symlink())

    def test_moved_overlay_is_linked_again(self):
        self.run_graft('apply')
        moved = self.root.with_name('moved')
        self.root.rename(moved)
        self.root, self.description = moved, moved / 'test.graft'
        self.assertEqual(self.run_graft('apply')[0], 0)
        self.assertEqual(self.read('hw/misc/snapshot/device.c'),
                         'int device;\n')

    def test_state_is_shown(self):
        self.assertEqual(self.run_graft('check')[0], 1)
        self.run_graft('apply')
        self.assertEqual(self.run_graft('check')[0], 0)
        (self.tree / 'docs/index.rst').write_text(TREE['docs/index.rst'])
        code, text = self.run_graft('check')
        self.assertEqual(code, 2)
        self.assertIn('[doc] docs/index.rst: not grafted', text)
        self.assertIn('[tool] scripts/tool.py: grafted',
                      self.run_graft('list')[1])


class Text(GraftTest):

    def test_markers_in_every_syntax(self):
        self.run_graft('apply')
        for name, text in {
                'migration/savevm.c': '/* graft begin: engine */\n'
                '\n#include "engine.c.inc"\n/* graft end: engine */\n',
                'hw/misc/meson.build': '# graft begin: build\n',
                'hw/misc/Kconfig': '# graft begin: kconfig\n',
                'hmp-commands.hx': 'HXCOMM graft begin: command\n    { .name',
                'qapi/char.json': "            # graft end: kind\n",
                'docs/index.rst': '.. graft begin: doc\n',
                'scripts/tool.py': '# graft begin: tool\nimport sys\n'}.items():
            self.assertIn(text, self.read(name))

    def test_places(self):
        self.run_graft('apply')
        text = self.read('qapi/char.json')
        self.assertIn('# @alpha: first\n#\n# @gamma: third\n#\n# @beta', text)
        self.assertLess(text.index("'gamma',"), text.index("'union'"))
        self.assertGreater(text.index("'gamma': 'C'"), text.index("'union'"))
        self.assertTrue(self.read('docs/index.rst').endswith('=====\n'))
        self.assertTrue(self.read('scripts/tool.py').endswith('import os\n'))

    def test_changed_description_replaces(self):
        self.run_graft('apply')
        self.describe(DESCRIPTION.replace('import sys', 'import json')
                      .replace('@gamma: third', '@gamma: another'))
        self.assertEqual(self.run_graft('check')[0], 2)
        self.assertEqual(self.run_graft('apply')[0], 0)
        self.assertNotIn('import sys', self.read('scripts/tool.py'))
        self.assertIn('import json', self.read('scripts/tool.py'))
        self.assertNotIn('third', self.read('qapi/char.json'))
        self.assertEqual(self.read('qapi/char.json').count('another'), 1)

    def test_dropped_entry_leaves_no_trace(self):
        self.run_graft('apply')
        self.describe(DESCRIPTION[:DESCRIPTION.index('[doc]')])
        self.run_graft('apply')
        self.assertEqual(self.read('docs/index.rst'), TREE['docs/index.rst'])
        self.assertEqual(self.read('scripts/tool.py'), TREE['scripts/tool.py'])

    def test_edits_of_the_user_stay(self):
        self.run_graft('apply')
        path = self.tree / 'migration/savevm.c'
        path.write_text('int zero;\n' + path.read_text())
        self.run_graft('apply')
        self.run_graft('remove')
        self.assertEqual(path.read_text(),
                         'int zero;\n' + TREE['migration/savevm.c'])


class Conditions(GraftTest):

    def test_version_ranges(self):
        old, new = '[old]\nfile: scripts/tool.py\nat: end\n', '[new]\n'
        new += 'file: scripts/tool.py\nat: end\n'
        self.describe(f'{old}when: < 10.2\n| old\n{new}when: >= 10.2\n| new\n')
        self.run_graft('apply')
        self.assertIn('old', self.read('scripts/tool.py'))
        self.assertNotIn('new', self.read('scripts/tool.py'))
        (self.tree / 'VERSION').write_text('10.2.50\n')
        self.run_graft('apply')
        self.assertNotIn('old', self.read('scripts/tool.py'))
        self.assertIn('new', self.read('scripts/tool.py'))

    def test_version_conditions(self):
        for version, condition, expected in (
                ('10.0.13', '>= 10.0', True), ('10.0', '>= 10.0.1', False),
                ('9.2.1', '>= 10.0', False), ('10.1.50', '< 10.2', True),
                ('10.2.0', '< 10.2', False), ('10.0', '== 10.0.0', True),
                ('10.3', '>= 10.0, < 10.3', False), ('10.3', '', True)):
            with self.subTest(version=version, condition=condition):
                self.assertEqual(
                    graft.version_matches(version, condition, ''), expected)

    def test_other_qemu_is_refused(self):
        (self.tree / 'VERSION').write_text('9.2.0\n')
        self.assert_refused('9.2.0', '>= 10.0')

    def test_needs(self):
        self.describe(DESCRIPTION + 'needs: hw/misc/none.c\n')
        code, text = self.run_graft('apply')
        self.assertEqual(code, 0)
        self.assertIn('left out [tool]: no hw/misc/none.c', text)
        self.assertEqual(self.read('scripts/tool.py'), TREE['scripts/tool.py'])


class Errors(GraftTest):

    def test_missing_anchor(self):
        path = self.tree / 'scripts/tool.py'
        path.write_text('nothing\n')
        self.assert_refused("anchor 'import' not found in scripts/tool.py",
                            '10.0.13', 'graft/README')

    def test_ambiguous_anchor(self):
        (self.tree / 'scripts/tool.py').write_text('import a\nimport b\n')
        self.assert_refused("anchor 'import' found 2 times")

    def test_missing_file(self):
        (self.tree / 'hw/misc/Kconfig').unlink()
        self.assert_refused('hw/misc/Kconfig', 'not one the graft knows')

    def test_foreign_file_in_the_way(self):
        self.fill(self.tree, {'hw/misc/snapshot/device.c': 'theirs\n'})
        self.assert_refused('hw/misc/snapshot/device.c', 'in the way')

    def test_foreign_link_in_the_way(self):
        path = self.tree / 'hw/misc/snapshot/device.c'
        path.parent.mkdir()
        path.symlink_to('/nowhere')
        self.assert_refused('hw/misc/snapshot/device.c', 'in the way')

    def test_damaged_block(self):
        self.run_graft('apply')
        path = self.tree / 'scripts/tool.py'
        path.write_text(path.read_text().replace('# graft end: tool\n', ''))
        self.assert_refused('scripts/tool.py', 'graft begin: tool',
                            'has no partner')

    def test_not_a_qemu_tree(self):
        (self.tree / 'VERSION').unlink()
        self.assert_refused('not a QEMU source tree')

    def test_bad_descriptions(self):
        entry = '[a]\nfile: scripts/tool.py\n'
        for text, word in (
                (entry + 'at: start\n| x\n', 'needs one of'),
                (entry + 'at: end\nafter: x\n| x\n', 'needs one of'),
                (entry + 'at: end\n', 'at least one'),
                (entry + 'after: (\n| x\n', 'bad regular expression'),
                (entry + 'colour: red\n', "unknown key 'colour'"),
                (entry + 'nonsense\n', "'key: value'"),
                (entry + 'at: end\nwhen: newish\n| x\n', "'newish'"),
                (f'{entry}at: end\n| x\n{entry}at: end\n| y\n', 'twice'),
                ('| x\n', 'outside an entry')):
            with self.subTest(text=text):
                self.describe(text)
                self.assert_refused('test.graft', word)

    def test_unknown_comment_syntax(self):
        self.fill(self.tree, {'a.xyz': 'a\n'})
        self.describe('[a]\nfile: a.xyz\nat: end\n| x\n')
        self.assert_refused('comment syntax', "'marks: no'")


class RealDescription(unittest.TestCase):
    """The project's own description."""

    def test_it_can_be_read(self):
        text = (graft.ROOT / 'graft/qemu.graft').read_text()
        self.assertGreater(len(graft.parse(text, 'qemu.graft').entries), 5)

    def test_no_qtest_is_forgotten(self):
        files = {p.stem for p in (graft.ROOT / 'tests/qtest').glob(
            'snapshot*-test.c')}
        for name in ('graft/qemu.graft', 'tests/meson.build'):
            text = (graft.ROOT / name).read_text()
            listed = set(re.findall(r"'(snapshot[\w-]*-test)'", text))
            self.assertEqual(listed, files, name)
