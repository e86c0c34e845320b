# SPDX-License-Identifier: GPL-2.0-or-later
# A private apt below build/: its own sources, lists and cache, so that the
# machine's apt configuration is read and never changed.  Needs lib.sh; works
# without root.  apt itself checks all signatures and checksums.
#
# With APT_ARCH set to another architecture than this machine's, such as arm64,
# binary packages of that one, in a directory of its own.  With APT_SUITE set to
# another release than the running one, such as trixie, likewise.

APT_ARCH=${APT_ARCH:-}
APT_SUITE=${APT_SUITE:-}
APT_DIR=$BUILD/apt${APT_ARCH:+-$APT_ARCH}${APT_SUITE:+-$APT_SUITE}

# write_apt_conf: write the configuration that keeps apt below build/.
write_apt_conf() {
    mkdir -p "$APT_DIR/state/lists/partial" "$APT_DIR/cache/archives/partial" \
        "$APT_DIR/empty"
    # Hooks of the machine's would clean up the machine's own cache.
    cat >"$APT_DIR/apt.conf" <<END
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Etc::sourcelist "$APT_DIR/debian.sources";
Dir::Etc::sourceparts "$APT_DIR/empty";
Dir::Etc::preferencesparts "$APT_DIR/empty";
Dir::Etc::preferences "$APT_DIR/no-preferences";
Dir::State "$APT_DIR/state";
Dir::Cache "$APT_DIR/cache";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
END
    [ -z "$APT_ARCH" ] || cat >>"$APT_DIR/apt.conf" <<END
APT::Architecture "$APT_ARCH";
#clear APT::Architectures;
APT::Architectures { "$APT_ARCH"; };
END
}

# apt_private TOOL ARGS...: run apt-get or apt-cache on the private lists.
apt_private() {
    local tool=$1
    shift
    "$tool" -c "$APT_DIR/apt.conf" "$@"
}

# from_debian: whether all suites in the private lists come from Debian.
from_debian() {
    ! apt_private apt-get indextargets --format '$(ORIGIN)' |
        grep -qvxE 'Debian( Backports)?'
}

# apt_update: derive the sources and fetch the lists.  The entry to use is
# told by what the archive says of itself (Origin: Debian), not by its name.
apt_update() {
    local candidate=0 status options=()
    on_debian || die "this is not Debian, so QEMU's source, meson and the" \
        "guest's kernel cannot be fetched with apt; see README.md," \
        "'Other systems'"
    if [ -n "$APT_SUITE" ]; then
        options+=(--suite "$APT_SUITE")
    elif [ -n "$APT_ARCH" ]; then
        options+=(--arch "$APT_ARCH")
    elif ! meson_is_new_enough; then
        options+=(--backports)
    fi
    write_apt_conf
    while :; do
        status=0
        "$PYTHON" "$ROOT/scripts/apt_sources.py" "${options[@]}" \
            --candidate "$candidate" --output "$APT_DIR/debian.sources" ||
            status=$?
        [ "$status" = 0 ] || break
        say "fetching package lists into ${APT_DIR#"$ROOT/"}"
        if apt_private apt-get -qq update >"$APT_DIR/update.log" 2>&1 &&
            from_debian; then
            touch "$APT_DIR/updated"
            return
        fi
        candidate=$((candidate + 1))
    done
    [ "$status" = 3 ] || exit "$status"
    [ -s "$APT_DIR/update.log" ] && cat "$APT_DIR/update.log" >&2
    die "no apt source of this machine offers Debian's main part with the" \
        "running release and" \
        "${APT_SUITE:-${APT_ARCH:-the newer one that QEMU comes from}};" \
        "check" \
        "'apt-get update' and the network, or give a tree: make QEMU_SRC=DIR"
}

# apt_lists: make sure that there are lists, fetched at most a day ago.
apt_lists() {
    if [ -z "$(find "$APT_DIR/updated" -mmin -1440 2>/dev/null)" ]; then
        apt_update
    fi
}

# meson_is_new_enough: whether the system's meson builds QEMU.
meson_is_new_enough() {
    "$PYTHON" -c 'import sys
from mesonbuild.coredata import version
sys.exit([int(n) for n in version.split(".")[:2]] < [1, 5])' 2>/dev/null
}

# fetch_deb PACKAGE DIR [SUITE]: download the newest PACKAGE (of SUITE) and
# unpack it below DIR.
fetch_deb() {
    local work=$APT_DIR/debs/$1
    rm -rf "$work"
    mkdir -p "$work" "$2"
    say "fetching package $1"
    (cd "$work" && apt_private apt-get -qq ${3:+-t "$3"} download "$1") ||
        die "cannot fetch the package $1; see the messages above"
    dpkg-deb -x "$work"/*.deb "$2"
    rm -rf "$work"
}

# source_versions PACKAGE PATTERN: the versions of a source package that can be
# had and that the regular expression PATTERN matches, the newest first.
source_versions() {
    apt_private apt-cache madison "$1" |
        awk -F'|' '/Sources/ { gsub(/ /, "", $2); print $2 }' |
        grep -E "$2" | sort -Vru
}

# fetch_source PACKAGE PATTERN TREE: download the newest version of a source
# package that PATTERN matches and unpack it to TREE, with Debian's patches.
# Prints the version.  A mirror may announce what it does not have yet: then the
# one before.  Fails, after a message, if there is none.
fetch_source() {
    local work=$APT_DIR/source/$1 version versions
    versions=$(source_versions "$1" "$2") || {
        say "the apt sources of this machine offer no source of $1" >&2
        return 1
    }
    for version in $versions; do
        rm -rf "$work" "$3.new"
        mkdir -p "$work"
        say "fetching the source of $1 $version" >&2
        (cd "$work" && apt_private apt-get -qq --download-only --only-source \
            source "$1=$version") >&2 || continue
        # apt has checked the signed checksums; dpkg-source needs no keyring
        # again.
        (cd "$work" && dpkg-source --no-check --no-copy --extract ./*.dsc \
            "$3.new") >/dev/null || return 1
        rm -rf "$3" "$work"
        mv "$3.new" "$3"
        echo "$version"
        return
    done
    say "cannot fetch the source of $1; see the messages above" >&2
    return 1
}
