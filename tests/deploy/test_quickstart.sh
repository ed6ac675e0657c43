#!/usr/bin/env bash
# test_quickstart.sh: quickstart.sh as a newcomer uses it, in a state directory of its own: start shows
# a message, again as well; status tells; a taken port is avoided; stop ends it.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
quickstart=$root/deploy/quickstart.sh

fail() {
    echo "test_quickstart: $*" >&2
    exit 1
}

cleanup() {
    XDG_STATE_HOME=$scratch/second "$quickstart" stop >/dev/null || true
    XDG_STATE_HOME=$scratch/first "$quickstart" stop >/dev/null || true
    rm -rf "$scratch"
}
trap cleanup EXIT

# run EXPECTED_STATUS FIRST|SECOND COMMAND: runs it for that "user"; leaves what it printed in $output.
run() {
    local expected=$1 user=$2 status=0
    shift 2
    output=$(XDG_STATE_HOME=$scratch/$user "$quickstart" "$@" 2>&1) || status=$?
    ((status == expected)) || fail "$user: $*: status $status, expected $expected: $output"
}

expect() {
    [[ $output == *"$1"* ]] || fail "expected '$1' in: $output"
}

port_of_output() {
    sed -n 's/^fanfare is running on 127.0.0.1:\([0-9]*\) .*/\1/p' <<<"$output"
}

run 3 first status
expect 'not running'

run 0 first start
expect "PUBLISH news 'hello from fanfare'"
expect '(integer) 1'
expect 'subscriber  3) "hello from fanfare"'
port=$(port_of_output)
[[ $(redis-cli -p "$port" PING) == PONG ]] || fail "no answer on port $port"
pid=$(cat "$scratch/first/fanfare/fanfare.pid")

# Again: the same broker, the message again.
run 0 first
expect "(pid $pid)"
expect 'subscriber  3) "hello from fanfare"'
run 0 first status
expect "pid $pid"
expect "127.0.0.1:$port"

# Another user finds the port taken.
run 0 second start
expect 'Port 6379 is taken'
port_second=$(port_of_output)
((port_second > port)) || fail "ports $port and $port_second"

run 0 first stop
expect "has stopped (pid $pid)"
[[ ! -e /proc/$pid/exe ]] || fail "pid $pid still runs"
run 0 first stop
expect 'not running'
run 3 first status

# A pid file that points at another process is not believed.
echo $$ >"$scratch/first/fanfare/fanfare.pid"
run 0 first stop
expect 'not running'

[[ $(redis-cli -p "$port_second" PING) == PONG ]] || fail "the second broker was stopped too"
run 0 second stop
run 64 first nonsense
expect 'usage:'
