#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the guest's initramfs from guest/initramfs.list and modules.list."""

import argparse
import gzip
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cpio import Archive

ROOT = Path(__file__).resolve().parent.parent
INDEXES = ('modules.builtin', 'modules.builtin.modinfo', 'modules.order')


class ListError(Exception):
    """Anything the user has to know about; its text is the message."""


def list_lines(path):
    """Yield (place for messages, words) of each line of a list file."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split('#', 1)[0].split()
        if words:
            yield f'{path.name}:{number}', words


# --- Files -----------------------------------------------------------------

def add_listed(archive, path, places):
    """Put everything in @archive that the list @path names.

    @places says what the words between @ signs stand for.  Returns the files
    of the host that were used.
    """
    used = []
    for where, (kind, *args) in list_lines(path):
        try:
            if kind == 'dir':
                archive.add_dir(args[0], int(args[1], 8))
            elif kind == 'nod':
                archive.add_node(args[0], args[2], int(args[3]), int(args[4]),
                                 int(args[1], 8))
            elif kind == 'slink':
                archive.add_symlink(args[0], args[1])
            elif kind == 'file':
                used.append(locate(args[1], places))
                archive.add_file(args[0], used[-1], int(args[2], 8))
            else:
                raise ListError(f"{where}: unknown kind '{kind}'")
        except (IndexError, ValueError, KeyError) as error:
            raise ListError(f"{where}: cannot read this line; the top of "
                            f"{path.name} says how ({error})") from error
        except OSError as error:
            raise ListError(f'{where}: {error.filename}: '
                            f'{error.strerror}') from error
    return used


def locate(text, places):
    """Return the path of the host that @text of the list means."""
    word, _, rest = text.removeprefix('@').partition('@')
    return str(places[word]) + rest


def add_tree(archive, top):
    """Put all that is below the directory @top in, where it is below it."""
    for path in sorted(top.rglob('*')):
        name = '/' + str(path.relative_to(top))
        if path.is_symlink():
            archive.add_symlink(name, str(path.readlink()))
        elif path.is_dir():
            archive.add_dir(name)
        else:
            archive.add_file(name, path, path.stat().st_mode & 0o777)


# --- Kernel modules --------------------------------------------------------

def base_name(path):
    """Return the module's name as the kernel writes it."""
    return re.sub(r'\.ko(\.\w+)?$', '', Path(path).name).replace('-', '_')


def needed_modules(tree, names):
    """Return the paths in @tree of the modules @names and what they need."""
    depends = {}
    for line in (tree / 'modules.dep').read_text().splitlines():
        path, rest = line.split(':')
        depends[path] = rest.split()
    by_name = {base_name(path): path for path in depends}
    paths = set()
    for name in names:
        path = by_name.get(name.replace('-', '_'))
        if path:
            paths.update([path, *depends[path]])
    return sorted(paths)


def unpacked(path):
    """Return the content of a module, which may be compressed."""
    data = path.read_bytes()
    if path.suffix == '.xz':
        return lzma.decompress(data)
    if path.suffix == '.gz':
        return gzip.decompress(data)
    if path.suffix == '.zst':
        return subprocess.run(['zstd', '-dcq', path], check=True,
                              stdout=subprocess.PIPE).stdout
    return data


def add_modules(archive, tree, names):
    """Put the modules @names from @tree in, with indexes of just these."""
    release = tree.name
    with tempfile.TemporaryDirectory() as work:
        # depmod looks below /lib or below /usr/lib: make it one place.
        top = Path(work, 'usr/lib/modules', release)
        top.mkdir(parents=True)
        Path(work, 'lib').symlink_to('usr/lib')
        for path in needed_modules(tree, names):
            target = top / re.sub(r'\.(xz|gz|zst)$', '', path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(unpacked(tree / path))
        for name in INDEXES:
            if (tree / name).exists():
                shutil.copy(tree / name, top)
        environ = {**os.environ, 'PATH': os.environ['PATH'] + ':/usr/sbin:/sbin'}
        subprocess.run(['depmod', '-b', work, release], check=True,
                       env=environ)
        for path in sorted(top.rglob('*')):
            if path.is_file():
                name = Path('lib/modules', release, path.relative_to(top))
                archive.add_file(str(name), path, 0o644)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--guest', type=Path, required=True, metavar='DIR',
                        help='with busybox and modules/ in it, as made by '
                        'scripts/fetch-guest')
    parser.add_argument('--programs', type=Path, required=True, metavar='DIR',
                        help='what @programs@ in the list stands for')
    parser.add_argument('--add', action='append', default=[], metavar='FILE',
                        help='a program that goes to /bin in addition')
    parser.add_argument('--root', type=Path, metavar='DIR',
                        help='whose files go to the same places in the guest')
    parser.add_argument('--output', type=Path, required=True, metavar='FILE')
    parser.add_argument('--stamp', type=Path, metavar='FILE',
                        help='make this file as well')
    parser.add_argument('--depfile', type=Path, metavar='FILE',
                        help='write there what the stamp depends on')
    args = parser.parse_args(argv)
    lists = [ROOT / 'guest/initramfs.list', ROOT / 'guest/modules.list']
    archive = Archive()
    try:
        used = add_listed(archive, lists[0], {
            'source': ROOT, 'programs': args.programs,
            'busybox': args.guest / 'busybox'})
        for program in args.add:
            archive.add_file('/bin/' + Path(program).name, program)
        used += args.add
        if args.root:
            add_tree(archive, args.root)
        trees = sorted((args.guest / 'modules').iterdir())
        names = [words[0] for _, words in list_lines(lists[1])]
        add_modules(archive, trees[0], names)
    except FileNotFoundError as error:
        print(f'mkinitramfs.py: error: {error.filename} is missing: run '
              "'make packages' and scripts/fetch-guest first", file=sys.stderr)
        return 1
    except ListError as error:
        print(f'mkinitramfs.py: error: {error}', file=sys.stderr)
        return 1
    data = gzip.compress(archive.to_bytes(), 6, mtime=0)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_bytes(data)
    if args.stamp:
        args.stamp.touch()
    if args.depfile:
        inputs = ' '.join(map(str, [*lists, *used]))
        args.depfile.write_text(f'{args.stamp.name}: {inputs}\n')
    print(f'mkinitramfs.py: {args.output.name}, {len(data) >> 10} KiB')
    return 0


if __name__ == '__main__':
    sys.exit(main())
