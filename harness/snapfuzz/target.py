# SPDX-License-Identifier: GPL-2.0-or-later
"""A target's directory and its description, target.toml.

targets/README.md lists the keys.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from . import SnapfuzzError

DESCRIPTION = "target.toml"

# The kernel's command line on x86 has no room for more.
RUN_MAX = 1500

# Key: type, and what that is called in a message
STRING, NUMBER = (str, "a string"), (int, "a whole number")
STRINGS, TABLE = (list, "a list of strings"), (dict, "a table")
KEYS = {
    "run": STRING, "programs": STRINGS, "memory": NUMBER, "smp": NUMBER,
    "machine": STRING, "kernel": STRING, "append": STRING, "qemu": STRINGS,
    "emulator": STRING, "snapshot": TABLE, "crash": STRING,
}

# Properties of the device that are set by what is done with the target
NOT_OURS = ("afl", "seeds")


@dataclass
class Target:
    """What is fuzzed; paths are absolute."""
    directory: Path
    run: str                    # command line for the guest's shell; None:
                                # the kernel is the target, without initramfs
    programs: list              # files for the guest's /bin
    memory: int = 256           # MiB
    smp: int = 1
    machine: str = "pc"
    kernel: Path = None         # None: the default guest's
    emulator: Path = None       # None: the ordinary QEMU
    append: str = ""            # more for the kernel's command line
    qemu: list = field(default_factory=list)        # more options
    snapshot: dict = field(default_factory=dict)    # the device's properties
    crash: str = None           # the end of a run that is expected

    @property
    def name(self):
        """What it is called."""
        return self.directory.name

    @property
    def seeds(self):
        """The directory with inputs to begin with."""
        return self.directory / "seeds"

    @property
    def dictionary(self):
        """The file with words for the fuzzer, or None."""
        path = self.directory / "dict"
        return path if path.is_file() else None

    @property
    def root(self):
        """The directory with files for the guest, or None."""
        path = self.directory / "root"
        return path if path.is_dir() else None

    def properties(self):
        """The device's properties as QEMU takes them, a list of words."""
        words = []
        for name, value in self.snapshot.items():
            if isinstance(value, bool):
                value = "on" if value else "off"
            words.append(f"{name}={value}")
        return words


class Reader:
    """Checks the entries of one description; each mistake is told by itself."""

    def __init__(self, directory, build):
        self.directory = directory
        self.build = build
        self.path = directory / DESCRIPTION

    def error(self, text):
        """The exception for a mistake in the file."""
        return SnapfuzzError(f"{self.path}: {text}")

    def load(self):
        """The entries, each of the right type."""
        try:
            with open(self.path, "rb") as file:
                entries = tomllib.load(file)
        except FileNotFoundError:
            raise SnapfuzzError(
                f"{self.path} is missing: name a target's directory; "
                "'snapfuzz targets' lists those of the project") from None
        except (OSError, UnicodeDecodeError) as error:
            raise self.error(f"cannot be read: {error}") from error
        except tomllib.TOMLDecodeError as error:
            raise self.error(f"is no TOML: {error}") from error
        for key, value in entries.items():
            self.check_type(key, value)
        return entries

    def check_type(self, key, value):
        """Raise unless the key is known and has a value of its type."""
        if key not in KEYS:
            raise self.error(f"unknown key '{key}'; there are "
                             f"{', '.join(KEYS)}")
        kind, words = KEYS[key]
        good = isinstance(value, kind) and not isinstance(value, bool)
        if good and kind is list:
            good = all(isinstance(item, str) for item in value)
        if not good:
            raise self.error(f"'{key}' has to be {words}, not {value!r}")
        if kind is int and value < 1:
            raise self.error(f"'{key}' has to be 1 or more, not {value}")

    def check_run(self, entries):
        """Raise unless it can be passed on the kernel's command line, or is
        left out where the kernel is the target.
        """
        run = entries.get("run", "")
        if not run and "kernel" in entries:
            for path in ("programs", "root"):
                if path in entries or (self.directory / path).exists():
                    raise self.error(f"'{path}' is for a guest with 'run'")
            return
        if not run:
            raise self.error("'run' is missing: the command line that runs "
                             "the target in the guest")
        for bad in ('"', "\n"):
            if bad in run:
                raise self.error(f"'run' cannot have {bad!r} in it: put such "
                                 "a command into a script below root/")
        if len(run) > RUN_MAX:
            raise self.error(f"'run' is longer than {RUN_MAX} characters: put "
                             "it into a script below root/")

    def check_snapshot(self, properties):
        """Raise unless these can be properties of the device."""
        for name, value in properties.items():
            if name in NOT_OURS:
                raise self.error(f"'snapshot.{name}' is set by snapfuzz: "
                                 "remove it")
            if not isinstance(value, (str, int, bool)):
                raise self.error(f"'snapshot.{name}' has to be a string, a "
                                 f"number or a truth value, not {value!r}")

    def locate(self, key, text):
        """The path of a file that is to be there."""
        if text.startswith("@build@/"):
            path = self.build / text.removeprefix("@build@/")
            remedy = "run 'make'"
        else:
            path = self.directory / text
            remedy = (f"'{key}' is below {self.directory}, or below the build "
                      "directory with @build@/ in front")
        reason = path.with_name(path.name + ".skipped")
        if reason.is_file():
            raise self.error(f"'{key}': {path} could not be built: "
                             f"{reason.read_text().strip()}; see to that, and "
                             + remedy)
        if not path.is_file():
            raise self.error(f"'{key}': {path} is missing: {remedy}")
        return path

    def check_seeds(self):
        """Raise unless there is something to begin with."""
        seeds = self.directory / "seeds"
        if not seeds.is_dir() or not any(p.is_file() for p in seeds.iterdir()):
            raise SnapfuzzError(f"{seeds}: there is no file to begin with: put "
                                "an input or two there")


def read_target(directory, build):
    """Read the description of the target in @directory.

    @build is the build directory, which @build@ stands for.  Returns a Target,
    or raises SnapfuzzError with what is wrong and a remedy.
    """
    directory = Path(directory).resolve()
    reader = Reader(directory, Path(build))
    entries = reader.load()
    reader.check_run(entries)
    reader.check_snapshot(entries.get("snapshot", {}))
    entries["programs"] = [reader.locate("programs", text)
                           for text in entries.get("programs", [])]
    names = [path.name for path in entries["programs"]]
    for name in names:
        if names.count(name) > 1:
            raise reader.error(f"'programs' has two files {name}, and both "
                               "would be the guest's /bin/" + name)
    for key in ("emulator", "kernel"):
        if key in entries:
            entries[key] = reader.locate(key, entries[key])
    reader.check_seeds()
    return Target(directory, **{"run": None, **entries})
