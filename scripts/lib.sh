# SPDX-License-Identifier: GPL-2.0-or-later
# Shared by the set-up scripts; sourced, not run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything that is made goes below this directory.
BUILD=${BUILD:-$ROOT/build}
# Debian's own interpreter where there is one: another python3 that comes
# first in PATH may lack modules that Debian packages for its own.
PYTHON=/usr/bin/python3
[ -x "$PYTHON" ] || PYTHON=python3

# say TEXT: one line of progress.
say() {
    printf '%s: %s\n' "${0##*/}" "$*"
}

# die TEXT: say what is wrong, and how to go on, and stop.
die() {
    printf '%s: error: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# usage_if_asked ARGS...: with --help, print the comment block at the top of
# the script and stop.
usage_if_asked() {
    case ${1:-} in
    -h | --help)
        awk 'NR > 2 && !/^#/ { exit } NR > 2 { sub(/^# ?/, ""); print }' "$0"
        exit 0
        ;;
    esac
}

# on_debian: whether packages and sources can be had from Debian here.
on_debian() {
    [ -r /etc/os-release ] && [ "$(. /etc/os-release && echo "$ID")" = debian ]
}

# stamped FILE TEXT: whether FILE holds TEXT, that is, the step that wrote it
# with the same input need not be repeated.
stamped() {
    [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]
}
