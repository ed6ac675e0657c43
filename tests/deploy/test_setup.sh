#!/usr/bin/env bash
# test_setup.sh: where everything is installed, setup.sh needs no root and says nothing; and it says
# what is wrong with a wrong purpose.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)

fail() {
    echo "test_setup: $*" >&2
    exit 1
}

output=$("$root/deploy/setup.sh" run demo build package test 2>&1) || fail "not all installed: $output"
[[ -z $output ]] || fail "not quiet with nothing to do: $output"

status=0
output=$("$root/deploy/setup.sh" run nonsense 2>&1) || status=$?
((status == 64)) || fail "an unknown purpose: status $status, expected 64"
[[ $output == usage:* ]] || fail "an unknown purpose: expected the usage, got: $output"
