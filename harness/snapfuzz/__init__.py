# SPDX-License-Identifier: GPL-2.0-or-later
"""A front end for campaigns: from a target's directory to its crashes.

The modules, from what knows least of the others to what knows most:

  target      reads target.toml
  machine     QEMU's command line and the guest's initramfs for a target
  qmp         asks a running QEMU how it is getting on
  symbols     finds lines of source for addresses in a report
  once        runs inputs without a fuzzer: sizes the map, reproduces a crash
  processes   processes that end when we do
  figures     what a campaign has reached, and how it is told
  afl         a worker that is afl-fuzz
  libfuzzer   a worker that is libFuzzer
  campaign    the workers, from start to end
  doctor      what is missing on this host
  cli         the commands
"""


class SnapfuzzError(Exception):
    """Something the user has to know; its text is the cause and a remedy."""
