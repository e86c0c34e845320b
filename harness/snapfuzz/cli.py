# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of snapfuzz."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from . import SnapfuzzError, campaign, doctor, once
from .machine import Machine, Places
from .target import DESCRIPTION, read_target


def positive(text):
    """A number of the command line, 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("has to be 1 or more")
    return number


def find_target(places, name):
    """Read a target: a directory, or one of the project's by its name."""
    if not os.path.exists(name) and (places.targets / name).is_dir():
        name = places.targets / name
    return read_target(name, places.build)


def run(places, args):
    """A campaign."""
    target = find_target(places, args.target)
    args.output = args.output or os.path.join("out", target.name)
    return campaign.make_campaign(places, target, args, args.program).run()


def repro(places, args):
    """One input, without a fuzzer; 0 if it does what it did."""
    target = find_target(places, args.target)
    if not os.path.isfile(args.crash):
        raise SnapfuzzError(f"{args.crash}: there is no such file")
    with tempfile.TemporaryDirectory(prefix="snapfuzz-") as work:
        machine = Machine(places, target, Path(work, "initramfs.cpio.gz"),
                          args.accel)
        machine.map_size = machine.map_size or once.MAP_MAX
        machine.make_initrd()
        result = once.run(machine, os.path.abspath(args.crash), args.timeout)
    once.must_have_run(result)
    once.report(result, target)
    expected = once.expected_signal(args.crash)
    if once.has_reproduced(result, expected):
        print("\nreproduced")
        return 0
    print("\nnot reproduced" +
          (f": a fuzzer has seen signal {expected}" if expected else ""))
    return 1


def targets(places, _):
    """The targets of the project, with the titles of their READMEs."""
    for path in sorted(places.targets.glob(f"*/{DESCRIPTION}")):
        readme = path.parent / "README.md"
        title = readme.read_text(encoding="utf-8").splitlines()[0] if (
            readme.is_file()) else ""
        print(f"{path.parent.name:12} {title.lstrip('# ')}")
    return 0


def add_target(parser):
    """Arguments that more than one command has."""
    parser.add_argument("target", metavar="TARGETDIR", help="directory with "
                        "target.toml, or the name of one of the project's")
    parser.add_argument("-t", "--timeout", type=positive, default=5000,
                        metavar="MS", help="limit of a run, in milliseconds "
                        "(default: 5000)")
    parser.add_argument("--accel", help="QEMU's accelerator (default: QEMU's "
                        "own choice, tcg)")


def make_parser():
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="snapfuzz", description="Fuzz a target in a virtual machine that "
        "goes back to the same instant after each input.")
    commands = parser.add_subparsers(dest="command", required=True,
                                     metavar="COMMAND")
    one = commands.add_parser(
        "run", help="fuzz a target until Ctrl-C", description="Fuzz a target "
        "until Ctrl-C.  Begun campaigns are gone on with.",
        epilog="What follows -- are more options for the fuzzer.")
    add_target(one)
    one.add_argument("-j", "--jobs", type=positive, default=1, metavar="N",
                     help="workers, each a fuzzer and a machine (default: 1)")
    kinds = one.add_mutually_exclusive_group()
    kinds.add_argument("--afl", action="store_true",
                       help="by afl-fuzz (the default)")
    kinds.add_argument("--libfuzzer", action="store_true", help="by libFuzzer")
    one.add_argument("-o", "--output", metavar="OUT", help="directory of the "
                     "campaign (default: out/ and the target's name)")
    one.add_argument("--seconds", type=positive, metavar="N",
                     help="end after so many seconds of fuzzing")
    one.add_argument("--until-crash", action="store_true",
                     help="end with the first crash")
    one.set_defaults(function=run)
    one = commands.add_parser(
        "repro", help="run one input and say how it ends",
        description="Run one input, without a fuzzer, and say how it ends.  "
        "The exit code is 0 if it crashes, as it did in the campaign.")
    add_target(one)
    one.add_argument("crash", metavar="CRASH", help="file with the input")
    one.set_defaults(function=repro)
    one = commands.add_parser(
        "doctor", help="say what is missing on this host",
        description="Say what is missing or bad on this host, and what to do "
        "about it.  The exit code is 1 if campaigns are impossible.")
    one.add_argument("-j", "--jobs", type=positive, default=1, metavar="N",
                     help="workers that there are to be (default: 1)")
    one.set_defaults(function=doctor.run)
    one = commands.add_parser("targets", help="list the project's targets",
                              description="List the project's targets.")
    one.set_defaults(function=targets)
    return parser


def main(source, build, argv=None, program=None):
    """Run a command of the project in @source, which is built in @build.

    @program is what the user calls to run another.  Returns the exit code.
    """
    argv = sys.argv[1:] if argv is None else argv
    options = []
    if "--" in argv:
        at = argv.index("--")
        argv, options = argv[:at], argv[at + 1:]
    parser = make_parser()
    args = parser.parse_args(argv)
    if options and args.command != "run":
        parser.error("options of a fuzzer are for 'run'")
    args.options = options
    args.program = program or sys.argv[0]
    # What is to be undone in the end is undone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return args.function(Places(Path(source), Path(build)), args)
    except SnapfuzzError as error:
        print(f"snapfuzz: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
