#!/usr/bin/env bash
# quickstart.sh [start|stop|status]: from a bare Debian 12 or 13 to a running broker with a message on
# screen. start is the default; it may be run again and again.
#
# The broker listens on 127.0.0.1:6379, or on the next free port. Its data, log and pid file live in
# ${XDG_STATE_HOME:-~/.local/state}/fanfare: one quickstart broker per user.
#
# Exit: 0 done (status: it runs), 3 status: it does not run, 64 wrong usage, 1 anything else.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
state=${XDG_STATE_HOME:-$HOME/.local/state}/fanfare
log=$state/fanfare.log
pid_file=$state/fanfare.pid

host=127.0.0.1
port_first=6379
http_port_first=9121
ready_seconds_max=20
stop_seconds_max=30

die() {
    echo "quickstart: $*" >&2
    exit 1
}

# wait_until SECONDS COMMAND...: polls until the command succeeds; fails at the deadline.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# broker_pid: prints the pid of our broker; fails when it does not run. The pid file alone proves
# nothing, since pids are reused: the process must have been started on our data directory.
broker_pid() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qFx -- "$state/data" || return 1
    echo "$pid"
}

broker_gone() {
    ! broker_pid >/dev/null
}

# option_of PID NAME: the value that the process was started with.
option_of() {
    tr '\0' '\n' <"/proc/$1/cmdline" | sed -n "/^--$2\$/{n;p;q}"
}

port_in_use() {
    (exec 3<>"/dev/tcp/$host/$1") 2>/dev/null
}

# free_port FIRST: prints the first port from there on that nobody listens on.
free_port() {
    local port
    for ((port = $1; port < $1 + 100; port++)); do
        if ! port_in_use "$port"; then
            echo "$port"
            return
        fi
    done
    die "no free port between $1 and $((port - 1))"
}

build_broker() {
    local options=(-DCMAKE_BUILD_TYPE=Release)
    if [[ ! -e $build/CMakeCache.txt ]]; then options+=(-G Ninja -DTESTS=OFF); fi
    if [[ ! -x $build/fanfare ]]; then echo "Building fanfare (under a minute) ..."; fi
    if ! { cmake -S "$root" -B "$build" "${options[@]}" &&
        cmake --build "$build" --target fanfare; } >"$state/build.log" 2>&1; then
        { grep -m 1 -A 20 -E '^FAILED:|CMake Error' "$state/build.log" ||
            tail -n 20 "$state/build.log"; } >&2
        die "the build failed; all of its output: $state/build.log"
    fi
}

# answers_or_ended PID PORT: there is nothing more to wait for.
answers_or_ended() {
    ! kill -0 "$1" 2>/dev/null || [[ $(redis-cli -h "$host" -p "$2" PING 2>/dev/null) == PONG ]]
}

launch_broker() {
    local port http_port pid
    port=$(free_port "$port_first")
    http_port=$(free_port "$http_port_first")
    if ((port != port_first)); then echo "Port $port_first is taken, so fanfare uses $port."; fi
    # A session of its own, so that it outlives this terminal; fd 9 is the lock of `start`.
    setsid "$build/fanfare" --dir "$state/data" --listen "$host:$port" \
        --http-listen "$host:$http_port" </dev/null >"$log" 2>&1 9>&- &
    pid=$!
    echo "$pid" >"$pid_file"
    wait_until "$ready_seconds_max" answers_or_ended "$pid" "$port" ||
        die "fanfare did not answer on port $port within $ready_seconds_max s; its log: $log"
    if ! kill -0 "$pid" 2>/dev/null; then
        rm -f "$pid_file"
        tail -n 10 "$log" >&2
        die "fanfare ended at once; its log: $log"
    fi
}

# show_message PORT: a subscriber and a publisher, both redis-cli, exchange a message.
show_message() {
    local port=$1 heard subscriber receivers
    heard=$(mktemp)
    redis-cli -h "$host" -p "$port" --no-raw SUBSCRIBE news >"$heard" 2>&1 9>&- &
    subscriber=$!
    # shellcheck disable=SC2064 # these two, as they are now
    trap "kill $subscriber 2>/dev/null; rm -f '$heard'" EXIT
    wait_until 10 grep -q '"subscribe"' "$heard" || die "no subscription: $(cat "$heard")"
    echo "  subscriber\$ redis-cli -p $port SUBSCRIBE news"
    receivers=$(redis-cli -h "$host" -p "$port" --no-raw PUBLISH news 'hello from fanfare')
    echo "  publisher\$  redis-cli -p $port PUBLISH news 'hello from fanfare'"
    echo "  publisher   $receivers"
    wait_until 10 grep -q '"hello from fanfare"' "$heard" || die "no message arrived: $(cat "$heard")"
    sed -n '/"message"/,$s/^/  subscriber  /p' "$heard"
    kill "$subscriber"
    wait "$subscriber" 2>/dev/null || true
    rm -f "$heard"
    trap - EXIT
}

show_how_to() {
    local port=$1 http=$2
    cat <<TEXT

Connect any Redis client to $host:$port:
  shell     redis-cli -p $port
  Python    redis.Redis(port=$port)
  Node.js   createClient({ url: 'redis://$host:$port' })   or, with ioredis, new Redis($port)
  metrics   http://$http/metrics
Log:  $log
Stop: $0 stop
TEXT
}

start() {
    local pid port
    "$root/deploy/setup.sh" run demo build
    mkdir -p "$state/data"
    exec 9>"$state/lock"
    flock 9
    if broker_gone; then
        build_broker
        launch_broker
    fi
    pid=$(broker_pid) || die "fanfare has just ended; its log: $log"
    port=$(option_of "$pid" listen)
    port=${port##*:}
    echo "fanfare is running on $host:$port (pid $pid)."
    if [[ $(readlink "/proc/$pid/exe") == *' (deleted)' ]]; then
        echo "It is older than $build/fanfare: stop and start it to run the new one."
    fi
    echo
    show_message "$port"
    show_how_to "$port" "$(option_of "$pid" http-listen)"
}

stop() {
    local pid
    if ! pid=$(broker_pid); then
        rm -f "$pid_file"
        echo "fanfare is not running."
        return
    fi
    kill -TERM "$pid"
    wait_until "$stop_seconds_max" broker_gone ||
        die "fanfare (pid $pid) has not ended $stop_seconds_max s after SIGTERM; its log: $log"
    rm -f "$pid_file"
    echo "fanfare has stopped (pid $pid)."
}

status() {
    local pid
    if ! pid=$(broker_pid); then
        echo "fanfare is not running."
        exit 3
    fi
    echo "fanfare is running: pid $pid, Redis protocol on $(option_of "$pid" listen)," \
        "metrics on $(option_of "$pid" http-listen), log $log"
}

case ${1:-start}:$# in
start:[01] | stop:1 | status:1) "${1:-start}" ;;
*)
    echo "usage: deploy/quickstart.sh [start|stop|status]" >&2
    exit 64
    ;;
esac
