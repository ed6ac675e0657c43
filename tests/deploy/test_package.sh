#!/usr/bin/env bash
# test_package.sh: the Debian package of this build holds what it should, and its unit is valid.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "test_package: $*" >&2
    exit 1
}

cpack --config "$root/build/CPackConfig.cmake" -G DEB -B "$scratch" >"$scratch/log" 2>&1 ||
    fail "cpack failed: $(cat "$scratch/log")"
package=("$scratch"/fanfare_*.deb)
dpkg-deb -x "${package[0]}" "$scratch/files"
dpkg-deb -e "${package[0]}" "$scratch/control"

for file in usr/bin/fanfare etc/fanfare/fanfare.conf usr/lib/systemd/system/fanfare.service; do
    [[ -f $scratch/files/$file ]] || fail "no /$file in the package"
done
[[ $(cat "$scratch/control/conffiles") == /etc/fanfare/fanfare.conf ]] || fail "wrong conffiles"
for script in postinst prerm postrm; do
    [[ -x $scratch/control/$script ]] || fail "no $script in the package"
done
for library in libc6 libevent-core-2.1-7 libssl3 libuv1 liblmdb0 libjemalloc2 adduser; do
    grep -q "^Depends:.*$library" "$scratch/control/control" || fail "does not depend on $library"
done
# libraft is a part of the binary, which no archive's package then has to match; its licence wants to be named.
if grep -q '^Depends:.*raft' "$scratch/control/control"; then fail "depends on libraft"; fi
grep -q libraft "$scratch/files/usr/share/doc/fanfare/copyright" || fail "libraft is not named in the copyright file"

# The configuration that it installs is one that the broker accepts.
binary=$scratch/files/usr/bin/fanfare
"$binary" --print-config "$scratch/files/etc/fanfare/fanfare.conf" >"$scratch/config" ||
    fail "the broker refuses fanfare.conf"
grep -q '^dir .*/var/lib/fanfare' "$scratch/config" || fail "fanfare.conf does not set dir"

if command -v systemd-analyze >/dev/null; then
    unit=$scratch/fanfare.service
    sed "s|/usr/bin/fanfare|$binary|; s|/etc/fanfare|$scratch/files/etc/fanfare|" \
        "$scratch/files/usr/lib/systemd/system/fanfare.service" >"$unit"
    complaints=$(systemd-analyze verify "$unit" 2>&1 | grep -F fanfare.service || true)
    [[ -z $complaints ]] || fail "systemd-analyze verify: $complaints"
fi
