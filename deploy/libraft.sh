#!/bin/sh
# libraft.sh: installs libraft 0.22.1, the Raft core that consensus/ drives.
#
# Where the distribution's archive has that version (Debian 13) it comes from apt. On Debian 12 it is built once from
# Debian 13's source package: the source entry is derived from this machine's own apt sources, apt's signed index
# verifies the download, and the resulting packages are kept in a cache, so that a second run takes a second.
# With --asserts also a build of the same source with assertions on goes to $RAFT_ASSERTS_PREFIX, for the simulator.
#
# usage: libraft.sh [--asserts]      as root or with sudo; safe to run again, says nothing where all is there
set -eu

VERSION=0.22.1
CACHE=${RAFT_CACHE:-/var/cache/fanfare/libraft-$VERSION}
ASSERTS_PREFIX=${RAFT_ASSERTS_PREFIX:-/usr/local/lib/libraft-asserts}
WITH_ASSERTS=no
WORK=

say() { echo "libraft.sh: $*"; }
die() { echo "libraft.sh: $*" >&2; exit 1; }
cleanup() { if [ -n "$WORK" ]; then rm -rf "$WORK"; fi; }

installed() { pkg-config --exact-version=$VERSION raft 2>/dev/null; }

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2; }

# The version that apt would install, without the Debian revision; empty if there is none.
apt_version() { apt-cache policy libraft-dev 2>/dev/null | sed -n 's/^  Candidate: *\([0-9.]*\).*/\1/p'; }

# This machine's own Debian archive entries, turned to the source packages of the release that has the version.
source_entries() {
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    for f in /etc/apt/sources.list.d/*.sources; do
        [ -f "$f" ] || continue
        awk -v RS= -v ORS='\n\n' -v c="$codename" '$0 ~ "(^|\n)Suites:[^\n]*" c' "$f" |
            sed -e "s/$codename/trixie/g" -e 's/^Types:.*/Types: deb-src/'
    done >"$1/trixie.sources"
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$f" ] || continue
        sed -n "/^deb .*[ /]$codename/{s/^deb /deb-src /;s/$codename/trixie/g;p}" "$f"
    done >"$1/trixie.list"
    [ -s "$1/trixie.sources" ] || [ -s "$1/trixie.list" ] || die "no apt source of $codename to derive from"
}

# Downloads and unpacks the source package into $CACHE/src (kept: both builds use it).
fetch_source() {
    [ -s "$CACHE/src/configure.ac" ] && return
    mkdir -p "$WORK/parts" "$WORK/lists/partial" "$WORK/cache/archives/partial" "$WORK/get"
    source_entries "$WORK/parts"
    set -- -oDir::Etc::sourcelist=/dev/null -oDir::Etc::sourceparts="$WORK/parts" \
        -oDir::State::Lists="$WORK/lists" -oDir::Cache="$WORK/cache" -oAPT::Sandbox::User=root
    say "fetching the source of $VERSION"
    apt-get "$@" -qq update
    (cd "$WORK/get" && apt-get "$@" -qq source --download-only "raft=$VERSION-1" && dpkg-source -x "raft_$VERSION-1.dsc" src >/dev/null)
    mkdir -p "$CACHE"
    rm -rf "$CACHE/src"
    mv "$WORK/get/src" "$CACHE/src"
}

build_packages() {
    apt_install dpkg-dev debhelper pkg-config autoconf automake libtool libuv1-dev liblz4-dev gcc make
    fetch_source
    say "building packages (about a minute)"
    cp -a "$CACHE/src" "$WORK/src"
    (
        cd "$WORK/src"
        sed -i /sphinx/d debian/rules # without the HTML documentation
        : >debian/libraft-dev.docs
        rm -f debian/libraft-dev.doc-base
        DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" dpkg-buildpackage -us -uc -b -d >"$CACHE/build.log" 2>&1
    ) || die "the build failed, see $CACHE/build.log"
    cp "$WORK"/libraft0_*.deb "$WORK"/libraft-dev_*.deb "$CACHE/"
}

install_release() {
    [ -n "$(apt_version)" ] || apt-get -qq update # a new machine has no lists
    if [ "$(apt_version)" = "$VERSION" ]; then
        apt_install libraft-dev pkg-config
        return
    fi
    ls "$CACHE"/libraft-dev_*.deb >/dev/null 2>&1 || build_packages
    apt_install "$CACHE"/libraft0_*.deb "$CACHE"/libraft-dev_*.deb
}

# A static library of the same source, with assertions and debug information, beside nothing else.
install_asserts() {
    apt_install dpkg-dev pkg-config autoconf automake libtool libuv1-dev liblz4-dev gcc make
    fetch_source
    say "building with assertions"
    cp -a "$CACHE/src" "$WORK/asserts"
    (
        cd "$WORK/asserts"
        autoreconf -fi
        ./configure --prefix="$ASSERTS_PREFIX" --enable-debug --disable-shared --enable-static CFLAGS='-O1 -g -fPIC'
        make -j"$(nproc)" libraft.la
        make install-libLTLIBRARIES install-data
    ) >"$CACHE/asserts.log" 2>&1 || die "the build failed, see $CACHE/asserts.log"
}

case ${1-} in
    '') ;;
    --asserts) WITH_ASSERTS=yes ;;
    *) die "usage: libraft.sh [--asserts]" ;;
esac
if installed && { [ $WITH_ASSERTS = no ] || [ -f "$ASSERTS_PREFIX/lib/libraft.a" ]; }; then
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "libraft $VERSION is missing; run this as root, or install sudo"
    exec sudo "$0" "$@"
fi
trap cleanup EXIT
WORK=$(mktemp -d)
chmod 755 "$WORK"
if ! installed; then
    install_release
    installed || die "libraft $VERSION is not visible to pkg-config after the installation"
fi
if [ $WITH_ASSERTS = yes ] && [ ! -f "$ASSERTS_PREFIX/lib/libraft.a" ]; then
    install_asserts
fi
say "libraft $VERSION is installed"
