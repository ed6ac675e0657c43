#!/usr/bin/env bash
# setup.sh [run|demo|build|package|test|bench ...]: installs the Debian packages for these purposes
# (default: run build). The one list of packages, for Debian 12 and 13.
#
# Installs only what is missing, and says nothing when nothing is. Safe to run again. Root or sudo is
# needed only when something is missing. No service that comes with a package is started or enabled.
#
# Exit: 0 all there, 64 wrong usage, 1 anything else, with the reason.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The list. `a|b`: the first that this release knows (13 renamed libraries to ...t64).
# `package=command`: another package may provide the command just as well.
packages_of() {
    case $1 in
    run) # what the broker itself loads; libraft is a part of it
        echo 'libevent-core-2.1-7t64|libevent-core-2.1-7 libevent-extra-2.1-7t64|libevent-extra-2.1-7'
        echo 'libevent-openssl-2.1-7t64|libevent-openssl-2.1-7 libssl3t64|libssl3'
        echo 'libuv1t64|libuv1 libprotobuf-c1 liblmdb0 liblzf1 libjemalloc2'
        ;;
    demo) # redis-cli, the load balancer
        echo 'redis-tools haproxy'
        ;;
    build)
        echo 'gcc libc6-dev cmake ninja-build pkgconf=pkg-config libevent-dev'
        echo 'libuv1-dev libprotobuf-c-dev protobuf-c-compiler liblmdb-dev liblzf-dev libjemalloc-dev libssl-dev libxxhash-dev'
        echo 'liblua5.1-0-dev lua-cjson-dev lua-bitop-dev'
        ;;
    package) # cpack -G DEB
        echo 'dpkg-dev file'
        ;;
    test)
        echo 'libcriterion-dev clang libclang-rt-dev llvm clang-format shellcheck' # unit, fuzz, lint
        echo 'python3 python3-pytest python3-redis libhiredis-dev openssl' # clients
        echo 'python3-celery python3-socketio python3-aiohttp python3-rq ruby-sidekiq' # applications
        echo 'python3-channels-redis python3-django-redis'
        echo 'nodejs=node npm=npm ca-certificates redis-server redis-tools iproute2 nftables'
        echo 'haproxy strace prometheus kubernetes-client=kubectl python3-kubernetes' # what deploy/ is checked with
        ;;
    bench)
        echo 'redis-server nats-server'
        ;;
    *) return 1 ;;
    esac
}

# Services of those packages: installed for their binaries, never run by this script.
services=(redis-server nats-server haproxy prometheus)

usage() {
    echo "usage: deploy/setup.sh [run|demo|build|package|test|bench ...]" >&2
    exit 64
}

die() {
    echo "setup: $*" >&2
    exit 1
}

installed() {
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# satisfied ENTRY: is this entry of the list there?
satisfied() {
    local package
    if [[ $1 == *=* ]]; then
        command -v "${1#*=}" >/dev/null || installed "${1%=*}"
        return
    fi
    for package in ${1//|/ }; do
        if installed "$package"; then return 0; fi
    done
    return 1
}

# plain ENTRY...: the entries as a person would name the packages.
plain() {
    local entries=("${@%=*}")
    echo "${entries[*]%%|*}"
}

# installable ENTRY: prints the package to install for it, by what the package lists know.
installable() {
    local package entry=${1%=*}
    for package in ${entry//|/ }; do
        if [[ -n $(apt-cache show --no-all-versions "$package" 2>/dev/null) ]]; then
            echo "$package"
            return
        fi
    done
    return 1
}

# as_root COMMAND...: by sudo unless we are root.
as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=1 -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1 </dev/null
}

fail_with_log() {
    grep '^[EW]:' "$log" | tail -n 3 >&2 || true
    die "$1; all that apt said: $log"
}

# update_lists: one source that cannot be reached is no matter yet; none that can, is the end.
update_lists() {
    apt_get update --error-on=any && return
    grep -qE '^(Hit|Get):' "$log" || fail_with_log "no package source can be reached: is the network up?"
}

# While packages install, policy-rc.d forbids them to start their services; the host's own policy,
# if it has one, is put back afterwards whatever happens.
policy=/usr/sbin/policy-rc.d
policy_saved=$policy.before-fanfare-setup
policy_mark='# of fanfare setup.sh, while it installs'

forbid_services() {
    trap allow_services EXIT
    trap 'exit 1' HUP INT TERM
    # Ours is still there if an earlier run was killed; the host's own is then saved already.
    if [[ -e $policy ]] && ! grep -qxF "$policy_mark" "$policy"; then
        as_root mv "$policy" "$policy_saved"
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

allow_services() {
    as_root rm -f "$policy"
    if [[ -e $policy_saved ]]; then as_root mv "$policy_saved" "$policy"; fi
    trap - EXIT
}

# disable_services NAME...: nor do the newly installed ones start with the machine.
disable_services() {
    local service
    for service in "$@"; do
        if command -v systemctl >/dev/null; then
            as_root systemctl disable "$service" >>"$log" 2>&1 || true # not every package has a unit
        fi
    done
}

# install_entries PURPOSES ENTRY...: install what the entries ask for.
install_entries() {
    local purposes=$1 entry package service packages=() fresh=()
    shift
    command -v apt-get >/dev/null || die "no apt-get here; install the equivalents of: $(plain "$@")"
    if ((EUID != 0)) && ! command -v sudo >/dev/null; then
        die "missing: $(plain "$@"); run this as root, or install sudo"
    fi
    log=$(mktemp -t fanfare-setup.XXXXXX.log)
    if ((EUID != 0)); then # asks for the password, if any, while the terminal is still ours
        sudo true || die "sudo was refused; missing: $(plain "$@")"
    fi
    update_lists
    for entry in "$@"; do
        package=$(installable "$entry") ||
            fail_with_log "no package $(plain "$entry") here; Debian 12 and 13 have it"
        packages+=("$package")
    done
    echo "setup: installing for $purposes: ${packages[*]}" >&2
    for service in "${services[@]}"; do
        if [[ " ${packages[*]} " == *" $service "* ]]; then fresh+=("$service"); fi
    done
    forbid_services
    apt_get install --no-install-recommends -y "${packages[@]}" ||
        fail_with_log "cannot install ${packages[*]}: is the network up?"
    disable_services "${fresh[@]}"
    allow_services
    rm -f "$log"
}

main() {
    local purpose list entry missing=()
    if (($# == 0)); then set -- run build; fi
    for purpose in "$@"; do
        list=$(packages_of "$purpose") || usage
        for entry in $list; do
            if [[ " ${missing[*]} " == *" $entry "* ]]; then continue; fi
            satisfied "$entry" || missing+=("$entry")
        done
    done
    if ((${#missing[@]} > 0)); then install_entries "$*" "${missing[@]}"; fi

    if [[ " $* " == *" build "* ]]; then "$root/deploy/libraft.sh"; fi
    if [[ " $* " == *" test "* ]]; then # for the simulator, which does without where it must
        "$root/deploy/libraft.sh" --asserts || echo "setup: libraft with assertions cannot be built" >&2
    fi
}

main "$@"
