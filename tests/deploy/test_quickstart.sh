#!/usr/bin/env bash
# test_quickstart.sh: quickstart.sh as a newcomer uses it, in a state directory of its own: start shows a message and a
# job that cross nodes, and nodes that are killed; again, it starts what is missing and kills nothing; status tells;
# taken ports are avoided; stop ends it.
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

expect_not() {
    [[ $output != *"$1"* ]] || fail "did not expect '$1' in: $output"
}

# port_of NAME: its client port, from the output. Node or `load balancer`.
port_of() {
    sed -n "s/^  $1 .*127.0.0.1:\([0-9]*\) .*/\1/p" <<<"$output"
}

# pid_of FIRST|SECOND NAME
pid_of() {
    cat "$scratch/$1/fanfare/$2.pid"
}

# cluster_size PORT: how many members the node there knows.
cluster_size() {
    redis-cli -p "$1" CLUSTER NODES | grep -c .
}

run 3 first status
expect 'not running'

run 0 first start
expect "PUBLISH news 'hello from fanfare'"
expect 'subscriber  3) "hello from fanfare"'
expect 'worker      2) "first"'
expect 'kill -9'
expect 'subscriber  3) "after"'
expect 'counter     (integer) 1 ... (integer) 1000'
expect 'worker      "1000"'
expect 'worker      2) "third"'
balancer=$(port_of 'load balancer')
first=$(port_of fanfare-1)
for port in "$balancer" "$first" "$(port_of fanfare-2)" "$(port_of fanfare-3)"; do
    [[ $(redis-cli -p "$port" PING) == PONG ]] || fail "no answer on port $port"
    (($(cluster_size "$port") == 3)) || fail "not three members, says port $port"
done

run 0 first status
expect "127.0.0.1:$balancer"
pids=$(cat "$scratch"/first/fanfare/*.pid)

# Again: the same processes, the message again, and nothing is killed.
run 0 first
expect 'subscriber  3) "hello from fanfare"'
expect 'worker      2) "first"'
expect_not 'kill -9 '"$(pid_of first fanfare-1)"
[[ $(cat "$scratch"/first/fanfare/*.pid) == "$pids" ]] || fail "not the same processes: $pids"

# What is missing is started; the rest stays.
kill -KILL "$(pid_of first fanfare-2)"
run 3 first status
expect 'fanfare-2      does not run'
survivor=$(pid_of first fanfare-1)
run 0 first
[[ $(pid_of first fanfare-1) == "$survivor" ]] || fail "fanfare-1 was started anew"
run 0 first status

# Another user finds the ports taken.
run 0 second start
expect 'is taken'
((first != $(port_of fanfare-1))) || fail "the same port $first twice"
second=$(port_of 'load balancer')
((second != balancer)) || fail "the same port $balancer twice"
run 1 second start --port "$balancer"
expect 'stop it first'

run 0 first stop
for pid in $pids; do [[ ! -e /proc/$pid/exe ]] || fail "pid $pid still runs"; done
run 0 first stop
expect 'not running'
run 3 first status

# A stopped cluster starts again, on the port that is asked for; one that is taken is refused.
run 1 first start --port "$second"
expect "port $second is taken"
run 0 first start --port "$balancer"
(($(cluster_size "$balancer") == 3)) || fail "not the same cluster after stop and start"
run 0 first stop

# A pid file that points at another process is not believed.
echo $$ >"$scratch/first/fanfare/fanfare-1.pid"
run 0 first stop
expect 'not running'

[[ $(redis-cli -p "$second" PING) == PONG ]] || fail "the second cluster was stopped too"
run 0 second stop
run 64 first nonsense
expect 'usage:'
run 64 first start --port
