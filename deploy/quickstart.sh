#!/usr/bin/env bash
# quickstart.sh [start|stop|status] [--port PORT]: from a bare Debian 12 or 13 to a running cluster of three
# nodes and a load balancer on this machine, with a message and a queue on screen. start is the default; it may be run
# again and again: it starts what does not run.
#
# Clients connect to the load balancer, 127.0.0.1:6379, or to a node: 127.0.0.1:7001 to 7003. What is taken
# is replaced by the next that is free, and said. --port says which port the load balancer is to have; then
# none but that will do. A node's other ports are its client port + 10 (HTTP), + 20 (peers), + 30 (Raft).
# Data, logs and pid files live in ${XDG_STATE_HOME:-~/.local/state}/fanfare: one such cluster per user.
#
# Exit: 0 done (status: all of it runs), 3 status: not all of it runs, 64 wrong usage, 1 anything else.
set -euo pipefail
PATH=$PATH:/usr/sbin # haproxy's place

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
state=${XDG_STATE_HOME:-$HOME/.local/state}/fanfare
nodes=(fanfare-1 fanfare-2 fanfare-3)

host=127.0.0.1
lb_port_first=6379
lb_port_wanted=
stats_port_first=8404
node_port_first=7001
ready_seconds_max=60
stop_seconds_max=60

die() {
    echo "quickstart: $*" >&2
    exit 1
}

usage() {
    echo "usage: deploy/quickstart.sh [start|stop|status] [--port PORT]" >&2
    exit 64
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

# ---- processes: fanfare-1 to fanfare-3 and haproxy ----

# mark_of NAME: the argument that only our process of that name was started with.
mark_of() {
    if [[ $1 == haproxy ]]; then echo "$state/haproxy.cfg"; else echo "$state/$1"; fi
}

# pid_of NAME: prints its pid; fails when it does not run. The pid file alone proves nothing, since pids are
# reused.
pid_of() {
    local pid
    pid=$(cat "$state/$1.pid" 2>/dev/null) || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qFx -- "$(mark_of "$1")" || return 1
    echo "$pid"
}

runs() {
    pid_of "$1" >/dev/null
}

gone() {
    ! runs "$1"
}

# launch NAME COMMAND...: in a session of its own, so that it outlives this terminal; fd 9 is the lock of `start`.
launch() {
    local name=$1
    shift
    setsid "$@" </dev/null >"$state/$name.log" 2>&1 9>&- &
    echo $! >"$state/$name.pid"
    disown $! # its end is ours to tell
    wait_until 5 runs "$name" || true # until it has become the command
}

# ends_or NAME COMMAND...: there is nothing more to wait for.
ends_or() {
    gone "$1" || "${@:2}"
}

# started NAME COMMAND...: waits until the command succeeds; dies, with the log, if the process ends instead.
started() {
    local name=$1
    wait_until "$ready_seconds_max" ends_or "$@" ||
        die "$name is not ready after $ready_seconds_max s; its log: $state/$name.log"
    if gone "$name"; then
        tail -n 10 "$state/$name.log" >&2
        die "$name ended at once; its log: $state/$name.log"
    fi
}

# end NAME...: SIGTERM to all, then waits for each.
end() {
    local name pid
    for name in "$@"; do
        if pid=$(pid_of "$name"); then kill -TERM "$pid"; fi
    done
    for name in "$@"; do
        wait_until "$stop_seconds_max" gone "$name" ||
            die "$name has not ended $stop_seconds_max s after SIGTERM; its log: $state/$name.log"
        rm -f "$state/$name.pid"
    done
}

# ---- ports ----

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

# client_port NAME: of the node; + 10, 20, 30 are its others.
client_port() {
    echo $((node_port + ${1#fanfare-} - 1))
}

# taken_port NAME...: prints a port of these nodes that someone else listens on; fails if there is none.
taken_port() {
    local name offset port
    for name in "$@"; do
        for offset in 0 10 20 30; do
            port=$(($(client_port "$name") + offset))
            if port_in_use "$port"; then
                echo "$port"
                return
            fi
        done
    done
    return 1
}

# choose_node_port: sets node_port, the first node's. A cluster that was founded keeps its ports: its nodes
# know each other by them.
choose_node_port() {
    local name down=() port
    if [[ -s $state/node-port ]]; then
        node_port=$(cat "$state/node-port")
        for name in "${nodes[@]}"; do
            if gone "$name"; then down+=("$name"); fi
        done
        if port=$(taken_port "${down[@]}"); then
            die "port $port, which the cluster in $state uses, is taken by another program." \
                "End that, or remove $state to begin anew."
        fi
        return
    fi
    for ((node_port = node_port_first; node_port < node_port_first + 1000; node_port += 100)); do
        if ! port=$(taken_port "${nodes[@]}"); then
            echo "$node_port" >"$state/node-port"
            return
        fi
        echo "Port $port is taken, so the nodes use others."
    done
    die "no free ports for three nodes"
}

# choose_lb_port: sets lb_port. Nobody but the clients depends on it.
choose_lb_port() {
    local before
    before=$(cat "$state/lb-port" 2>/dev/null || echo "$lb_port_first")
    if runs haproxy; then
        lb_port=$before
        if [[ -n $lb_port_wanted && $lb_port_wanted != "$lb_port" ]]; then
            die "the load balancer runs on port $lb_port; stop it first"
        fi
        return
    fi
    lb_port=${lb_port_wanted:-$(free_port "$before")}
    if [[ -n $lb_port_wanted ]] && port_in_use "$lb_port"; then die "port $lb_port is taken"; fi
    if [[ -z $lb_port_wanted && $lb_port != "$before" ]]; then
        echo "Port $before is taken, so the load balancer uses $lb_port (--port chooses another one)."
    fi
    echo "$lb_port" >"$state/lb-port"
}

# ---- start ----

build_broker() {
    local options=(-DCMAKE_BUILD_TYPE=Release)
    if [[ ! -e $build/CMakeCache.txt ]]; then options+=(-G Ninja -DTESTS=OFF); fi
    if [[ ! -x $build/fanfare ]]; then echo "Building fanfare (about a minute) ..."; fi
    if ! { cmake -S "$root" -B "$build" "${options[@]}" &&
        cmake --build "$build" --target fanfare; } >"$state/build.log" 2>&1; then
        { grep -m 1 -A 20 -E '^FAILED:|CMake Error' "$state/build.log" ||
            tail -n 20 "$state/build.log"; } >&2
        die "the build failed; all of its output: $state/build.log"
    fi
}

# is_ready NAME: GET /readyz answers 200.
is_ready() {
    local answer port
    port=$(($(client_port "$1") + 10))
    exec 3<>"/dev/tcp/$host/$port" || return 1
    printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
    IFS= read -r -t 2 answer <&3 || answer=
    exec 3>&-
    [[ $answer == *' 200 '* ]]
} 2>/dev/null

answers() {
    [[ $(redis-cli -h "$host" -p "$1" PING 2>/dev/null) == PONG ]]
}

# The secret of a cluster that is founded; one that runs without it goes on so.
make_secret() {
    [[ ! -s $state/secret ]] || return 0
    [[ ! -d $state/${nodes[0]} ]] || return 0 # it is one that was founded without
    (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$state/secret")
}

launch_node() {
    local name=$1 port other join=() secret=()
    [[ ! -s $state/secret ]] || secret=(--cluster-secret-file "$state/secret")
    port=$(client_port "$name")
    for other in "${nodes[@]}"; do join+=("$host:$(($(client_port "$other") + 30))"); done
    launch "$name" "$build/fanfare" --name "$name" --dir "$state/$name" --threads 2 \
        --listen "$host:$port" --http-listen "$host:$((port + 10))" \
        --peer-listen "$host:$((port + 20))" --raft-listen "$host:$((port + 30))" \
        --advertise "$host" --join "${join[*]}" --expect "${#nodes[@]}" --partitions 16 \
        "${secret[@]}"
}

launch_balancer() {
    local name port stats_port
    stats_port=$(free_port "$stats_port_first")
    echo "$stats_port" >"$state/stats-port"
    {
        sed '/^    server /d' "$root/deploy/haproxy/haproxy.cfg"
        for name in "${nodes[@]}"; do
            port=$(client_port "$name")
            echo "    server $name $host:$port port $((port + 10))"
        done
    } >"$state/haproxy.cfg"
    FANFARE_BIND=$host:$lb_port FANFARE_STATS_BIND=$host:$stats_port \
        launch haproxy haproxy -db -f "$state/haproxy.cfg"
}

# launch_all: starts what does not run; sets launched, the number of nodes that it started.
launch_all() {
    local name
    launched=0
    for name in "${nodes[@]}"; do
        if gone "$name"; then
            launch_node "$name"
            launched=$((launched + 1))
        fi
    done
    for name in "${nodes[@]}"; do started "$name" is_ready "$name"; done
    if gone haproxy; then launch_balancer; fi
    started haproxy answers "$lb_port"
}

# ---- what is shown ----

# subscribe PORT: a subscriber of the channel news, what it hears in the file $heard; ends with this script.
subscribe() {
    heard=$(mktemp)
    redis-cli -h "$host" -p "$1" --no-raw SUBSCRIBE news >"$heard" 2>&1 9>&- &
    subscriber=$!
    trap 'kill "$subscriber" 2>/dev/null; rm -f "$heard"' EXIT
    wait_until 10 grep -q '"subscribe"' "$heard" || die "no subscription: $(cat "$heard")"
    echo "  subscriber\$ redis-cli -p $1 SUBSCRIBE news"
}

unsubscribe() {
    kill "$subscriber"
    wait "$subscriber" 2>/dev/null || true
    rm -f "$heard"
    trap - EXIT
}

# publish PORT MESSAGE: to the subscriber. Shown are errors, after which it tries again, and how long it took.
publish() {
    local port=$1 message=$2 answer begin took_ms deadline=$((SECONDS + 15))
    while :; do
        begin=${EPOCHREALTIME/[.,]/}
        answer=$(redis-cli -h "$host" -p "$port" --no-raw PUBLISH news "$message" 2>&1)
        took_ms=$(((${EPOCHREALTIME/[.,]/} - begin) / 1000))
        echo "  publisher\$  redis-cli -p $port PUBLISH news '$message'"
        echo "  publisher   $answer$( ((took_ms < 200)) || echo "   (after $took_ms ms)")"
        if [[ $answer == '(integer) 1' ]]; then break; fi
        if [[ $answer == '(integer)'* ]] || ((SECONDS >= deadline)); then die "the subscriber was not reached"; fi
        sleep 0.2
    done
    wait_until 10 grep -qF "\"$message\"" "$heard" || die "no message arrived: $(cat "$heard")"
    grep -m 1 -F "\"$message\"" "$heard" | sed 's/^/  subscriber  /'
}

# owner_of CHANNEL: prints the name of the node that orders its messages.
owner_of() {
    local slot port
    slot=$(redis-cli -h "$host" -p "$node_port" CLUSTER KEYSLOT "$1")
    port=$(redis-cli -h "$host" -p "$node_port" CLUSTER NODES | tr -d '\r' | awk -v slot="$slot" '
        { for (i = 9; i <= NF; i++) {
            last = split($i, range, "-")
            if (slot + 0 >= range[1] + 0 && slot + 0 <= range[last] + 0) { split($2, address, /[:@]/); print address[2] }
        } }')
    [[ $port =~ ^[0-9]+$ ]] || die "no node owns $1"
    echo "fanfare-$((port - node_port + 1))"
}

show_message() {
    echo "A message that is published on one node arrives at a client of another:"
    subscribe "$(client_port fanfare-1)"
    publish "$(client_port fanfare-2)" 'hello from fanfare'
    unsubscribe
}

# others_than NAME: sets others, the two other nodes.
others_than() {
    local name
    others=()
    for name in "${nodes[@]}"; do
        if [[ $name != "$1" ]]; then others+=("$name"); fi
    done
}

# kill_node NAME: and shows it.
kill_node() {
    echo "  operator\$   kill -9 $(pid_of "$1")      # $1"
    kill -KILL "$(pid_of "$1")"
    wait_until 10 gone "$1" || die "$1 outlived SIGKILL"
}

bring_back() {
    launch_node "$1"
    started "$1" is_ready "$1"
}

# show_kill: the owner of the channel dies; subscriber and publisher are on the two others.
show_kill() {
    local owner others
    owner=$(owner_of news)
    others_than "$owner"
    echo
    echo "$owner orders the messages of that channel. What if it is killed?"
    subscribe "$(client_port "${others[0]}")"
    publish "$(client_port "${others[1]}")" before
    kill_node "$owner"
    publish "$(client_port "${others[1]}")" after
    unsubscribe
    echo "Another node has taken over; the subscriber did not even notice. $owner comes back ..."
    bring_back "$owner"
}

# ask WHO PORT EXPECTED COMMAND...: runs the command, shows it and its answer, and dies if that is another one.
ask() {
    local who=$1 port=$2 expected=$3 answer line
    shift 3
    answer=$(redis-cli -h "$host" -p "$port" --no-raw "$@" 2>&1)
    printf '  %-12sredis-cli -p %s %s\n' "$who\$" "$port" "$*"
    while IFS= read -r line; do printf '  %-12s%s\n' "$who" "$line"; done <<<"$answer"
    [[ $answer == *"$expected" ]] || die "expected $expected"
}

show_queue() {
    echo
    echo "What is pushed on one node is popped on another, and is on the disks of two before it is answered:"
    redis-cli -h "$host" -p "$node_port" DEL quickstart:jobs quickstart:visits >/dev/null
    ask producer "$(client_port fanfare-2)" 1 LPUSH quickstart:jobs first
    ask worker "$(client_port fanfare-3)" '"first"' BRPOP quickstart:jobs 5
}

# key_leader: prints the name of the node that leads the keys, which are all in one partition.
key_leader() {
    redis-cli -h "$host" -p "$node_port" CLUSTER PARTITIONS | sed -n 's/^partition 0 .* leader=\([^ ]*\) .*/\1/p'
}

has_key_leader() {
    [[ $(key_leader) == fanfare-* ]]
}

has_counted() {
    (($(wc -l <"$counted") >= 100))
}

# show_kill_leader: the node that leads the keys dies while a client counts on another one.
show_kill_leader() {
    local leader others counted counter first second
    wait_until 10 has_key_leader || die "nobody leads the keys"
    leader=$(key_leader)
    others_than "$leader"
    first=$(client_port "${others[0]}") second=$(client_port "${others[1]}")
    echo
    echo "$leader leads these keys. What if it is killed while there are jobs and a client counts to 1000?"
    ask producer "$first" 2 LPUSH quickstart:jobs second third
    counted=$state/counted
    echo "  counter\$    redis-cli -p $first -r 1000 INCR quickstart:visits"
    redis-cli -h "$host" -p "$first" --no-raw -r 1000 -i 0.001 INCR quickstart:visits >"$counted" 2>&1 9>&- &
    counter=$!
    wait_until 10 has_counted || die "nothing is counted: $(head -n 1 "$counted")"
    kill_node "$leader"
    wait "$counter" || die "the counter failed: $(tail -n 1 "$counted")"
    cmp -s "$counted" <(seq -f '(integer) %.0f' 1000) ||
        die "not each number once: $(grep -v -m 1 '^(integer)' "$counted" || tail -n 1 "$counted")"
    rm -f "$counted"
    echo "  counter     (integer) 1 ... (integer) 1000, each once, no error"
    ask worker "$second" '"1000"' GET quickstart:visits
    ask worker "$second" 2 LLEN quickstart:jobs
    ask worker "$second" '"second"' BRPOP quickstart:jobs 5
    ask worker "$second" '"third"' BRPOP quickstart:jobs 5
    echo "Nothing is lost and nothing is done twice. $leader comes back ..."
    bring_back "$leader"
}

show_how_to() {
    cat <<TEXT

Connect any Redis client to $host:$lb_port, the load balancer in front of all nodes:
  shell     redis-cli -p $lb_port
  Python    redis.Redis(port=$lb_port)
  Node.js   createClient({ url: 'redis://$host:$lb_port' })   or, with ioredis, new Redis($lb_port)

To try next:
  redis-cli -p $node_port CLUSTER PARTITIONS   members, owners of channels, leaders of keys
  redis-cli -p $lb_port BRPOP mail 0         and elsewhere LPUSH mail x; SET, ZADD, XADD, MULTI, ... as in Redis
  kill -9 \$(cat $state/fanfare-2.pid)
                                         then go on, publish, push, count; $0 brings it back
  http://$host:$((node_port + 10))/metrics          a node's metrics; the load balancer's page: http://$host:$(cat "$state/stats-port")
  deploy/compose.yaml, deploy/k8s        the same in containers, on many machines
Logs: $state/*.log
Stop: $0 stop
TEXT
}

# ---- commands ----

show_running() {
    local name pid
    for name in "${nodes[@]}"; do
        if pid=$(pid_of "$name"); then
            echo "  $name      $host:$(client_port "$name")   pid $pid   http://$host:$(($(client_port "$name") + 10))"
            if [[ $(readlink "/proc/$pid/exe") == *' (deleted)' ]]; then
                echo "                 older than $build/fanfare: stop and start to run the new one"
            fi
        else
            echo "  $name      does not run"
        fi
    done
    if pid=$(pid_of haproxy); then
        echo "  load balancer  $host:$(cat "$state/lb-port")   pid $pid"
    else
        echo "  load balancer  does not run"
    fi
}

start() {
    "$root/deploy/setup.sh" run demo build
    mkdir -p "$state"
    exec 9>"$state/lock"
    flock 9
    choose_node_port
    choose_lb_port
    if gone fanfare-1 || gone fanfare-2 || gone fanfare-3; then build_broker; fi
    make_secret
    launch_all
    echo "fanfare is running: three nodes behind $host:$lb_port."
    show_running
    echo
    show_message
    show_queue
    # A cluster that someone may be using already is not hurt for show.
    if ((launched == ${#nodes[@]})); then
        show_kill
        show_kill_leader
    fi
    show_how_to
}

stop() {
    local name found=false
    for name in "${nodes[@]}" haproxy; do
        if runs "$name"; then found=true; else rm -f "$state/$name.pid"; fi
    done
    if ! $found; then
        echo "fanfare is not running."
        return
    fi
    end "${nodes[@]}"
    end haproxy
    echo "fanfare has stopped; its data is in $state."
}

status() {
    local name
    if [[ ! -s $state/node-port ]]; then
        echo "fanfare is not running."
        exit 3
    fi
    node_port=$(cat "$state/node-port")
    show_running
    for name in "${nodes[@]}" haproxy; do
        if gone "$name"; then exit 3; fi
    done
}

command=start
case ${1-} in
start | stop | status) command=$1 && shift ;;
esac
if [[ $command == start && ${1-} == --port ]]; then
    lb_port_wanted=${2-}
    [[ $lb_port_wanted =~ ^[0-9]+$ ]] || usage
    shift 2
fi
(($# == 0)) || usage
"$command"
