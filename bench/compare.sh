#!/bin/bash
# compare: fanfare beside redis-server and nats-server, each started afresh for every run, interleaved
# and repeated. Prints one table of medians and ratios, draws it, and says where it was measured.
# Leaves no process behind; touches nothing but its result folder.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'END'
bench/compare.sh [option ...]
  --fanfare [LABEL=]PATH  the broker to measure (default build/fanfare); repeat it to compare builds
  --servers LIST          the others, default redis,nats (known: redis valkey nats)
  --rows GLOB             only the scenarios whose name matches, e.g. 'np*' (may be repeated)
  --rounds N              repetitions, of which the median counts (default 3)
  --tls                   all connections encrypted: the rows of scenarios-tls, beside redis alone
  --users                 each fanfare also as LABEL-users: beside 1,000 users the clients' has 20 rules
  --quick                 fewer rows, one round: about a minute
  --no-pin                let the kernel place server and load generator
  --load PATH             the load generator (default build/bench/load, built if missing)
  --out DIR               where the results go (default build/bench/compare)
Exit: 0 measured, 1 a message was lost, repeated or reordered, or a run failed, 64 bad option
END
}

fanfare_builds=()
other_servers=
scenarios=bench/scenarios
goals=bench/goals
tls=no
users=no
row_globs=()
rounds=3
set_wanted=full
pin=yes
load=build/bench/load
out=build/bench/compare

bad_option() {
    echo "compare.sh: $1" >&2
    exit 64
}

while [ $# -gt 0 ]; do
    option=$1
    case $option in
    --quick) set_wanted=quick rounds=1 ;;
    --no-pin) pin=no ;;
    --users) users=yes ;;
    --tls) tls=yes scenarios=bench/scenarios-tls goals=bench/goals-tls ;;
    --help) usage && exit 0 ;;
    --fanfare | --servers | --rows | --rounds | --load | --out)
        [ $# -ge 2 ] || bad_option "$option lacks its value"
        value=$2
        shift
        case $option in
        --fanfare) fanfare_builds+=("$value") ;;
        --servers) other_servers=$value ;;
        --rows) row_globs+=("$value") ;;
        --rounds) rounds=$value ;;
        --load) load=$value ;;
        --out) out=$value ;;
        esac
        ;;
    *) bad_option "$option: no such option, see --help" ;;
    esac
    shift
done
if [ "$tls" = yes ]; then
    [ -n "$other_servers" ] || other_servers=redis
    [[ ,$other_servers, != *,nats,* ]] || bad_option "--tls: nats begins its TLS otherwise, the generator does not speak it"
else
    [ -n "$other_servers" ] || other_servers=redis,nats
fi
[[ $rounds =~ ^[1-9][0-9]?$ ]] || bad_option "--rounds $rounds: a number from 1 to 99"

# --- the servers: one row each ------------------------------------------------------------------

# server_command NAME PORT THREADS: sets `command` and `proto`. A name that is not listed is fanfare.
server_command() {
    local name=$1 port=$2 threads=$3
    proto=resp2
    case $name in
    redis | valkey)
        command=("$name-server" --port "$port" --bind 127.0.0.1 --save '' --appendonly no
            --dir "$scratch" --loglevel warning --maxclients 20000
            --client-output-buffer-limit 'pubsub 0 0 0')
        if [ "$tls" = yes ]; then
            command+=(--port 0 --tls-port "$port" "${tls_options[@]}" --tls-ca-cert-file "$scratch/tls.crt")
        fi
        ;;
    nats)
        proto=nats
        command=(env "GOMAXPROCS=$threads" nats-server -c "$scratch/nats.conf" -a 127.0.0.1
            -p "$port")
        ;;
    *)
        command=("${fanfare_path[$name]}" --listen "127.0.0.1:$port" --http-listen off
            --threads "$threads" --dir "$scratch/$name" --log-level warn --max-clients 20000
            --output-buffer-limit 'pubsub 0 0 0')
        [[ $users = no || $name != *-users ]] || command+=(--aclfile "$scratch/users.acl")
        if [ "$tls" = yes ]; then
            command+=(--listen "tls://127.0.0.1:$port" "${tls_options[@]}")
        fi
        ;;
    esac
}

# The version that a server reports, for the head of the table.
server_version() {
    case $1 in
    redis | valkey) "$1-server" --version | sed 's/ sha.*//; s/Redis server v=/redis-server /' ;;
    nats) nats-server --version | sed 's/: v/ /' ;;
    *) echo "$1 = ${fanfare_path[$1]}: $("${fanfare_path[$1]}" --version | head -n 1)" ;;
    esac
}

# A certificate that nobody looks at, with the usual kind of key.
write_certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$scratch/tls.key" -out "$scratch/tls.crt" -days 2 \
        -subj /CN=localhost 2>/dev/null
    tls_options=(--tls-cert-file "$scratch/tls.crt" --tls-key-file "$scratch/tls.key" --tls-auth-clients no)
    load_options=(--tls)
}

# 1,000 users of 20 rules; what clients do here is allowed by the last but one of the user `default`.
write_users() {
    local i rules
    rules='~cache:* ~session:* ~queue:* %R~config:* %R~shared:* &alerts &news.* &jobs:*:done &user-? &[a-f]-*'
    rules+=' &metrics.* &log.* -@all +@read +@write +@pubsub +@connection +@transaction'
    echo "user default on nopass $rules &*[0-9a-z] +@fast"
    for ((i = 1; i < 1000; i++)); do
        printf 'user user%d on #%064x %s &own:%d:* ~own:%d:*\n' "$i" "$i" "$rules" "$i" "$i"
    done
}

# As redis above: no limit on what may wait for a subscriber, no time limit on writing it.
write_nats_conf() {
    cat >"$scratch/nats.conf" <<'END'
max_payload: 8MB
max_pending: 4GB
write_deadline: "60s"
max_connections: 20000
END
}

# --- one run ------------------------------------------------------------------------------------

server_pid=

server_stop() {
    [ -n "$server_pid" ] || return 0
    kill -KILL "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# server_start NAME THREADS PIN: a fresh server on a free port; sets `server_pid`, `port`, `proto`.
server_start() {
    local step tries pinning=()
    [ "$3" = no ] || pinning=(taskset -c "$server_cpu")
    for ((tries = 5; tries > 0; tries--)); do
        port=$((20000 + RANDOM % 12000))
        ! answers "$port" || continue
        server_command "$1" "$port" "$2"
        "${pinning[@]}" "${command[@]}" >"$scratch/$1.log" 2>&1 &
        server_pid=$!
        for ((step = 0; step < 250; step++)); do
            kill -0 "$server_pid" 2>/dev/null || break
            ! answers "$port" || return 0
            sleep 0.02
        done
        server_stop
    done
    echo "compare.sh: $1 did not start, it says:" >&2
    tail -n 5 "$scratch/$1.log" >&2
    return 1
}

# measure LABEL SERVER THREADS PIN OPTIONS...: append one line to the results. The label is
# scenario/server/round.
measure() {
    local label=$1 server=$2 threads=$3 pin_run=$4 pinning=()
    shift 4
    [ "$pin_run" = no ] || pinning=(taskset -c "$load_cpus")
    if ! server_start "$server" "$threads" "$pin_run" ||
        ! timeout 90 "${pinning[@]}" "$load" --json --label "$label" \
            --proto "$proto" --port "$port" --pid "$server_pid" \
            --warmup-ms 150 --measure-ms 500 "${load_options[@]}" "$@" >"$scratch/line"; then
        echo "compare.sh: $label: failed" >&2
        failures=$((failures + 1))
        echo "{\"label\":\"$label\",\"failed\":1}" >"$scratch/line"
    fi
    cat "$scratch/line" >>"$out/results.jsonl"
    server_stop
}

# --- what to run --------------------------------------------------------------------------------

# wanted NAME SET: whether the scenario is to be run.
wanted() {
    local glob
    if [ ${#row_globs[@]} -gt 0 ]; then
        for glob in "${row_globs[@]}"; do
            # shellcheck disable=SC2053 # a glob is what it is
            [[ $1 != $glob ]] || return 0
        done
        return 1
    fi
    [ "$set_wanted" = full ] || [ "$2" = quick ]
}

declare -A fanfare_path=()
subjects=()
find_fanfare() {
    local build label path
    if [ ${#fanfare_builds[@]} -eq 0 ] && [ -x build/fanfare ]; then
        fanfare_builds=(fanfare=build/fanfare)
    fi
    for build in "${fanfare_builds[@]}"; do
        path=${build#*=}
        label=${build%%=*}
        [ "$label" != "$build" ] || label=fanfare
        [ -x "$path" ] || bad_option "--fanfare $build: no such program"
        [ -z "${fanfare_path[$label]:-}" ] || bad_option "--fanfare $build: give each its own label"
        [[ $label =~ ^[a-z0-9_.-]+$ ]] || bad_option "--fanfare $build: a label has letters a-z, digits"
        fanfare_path[$label]=$path
        subjects+=("$label")
        [ "$users" = no ] || { fanfare_path[$label-users]=$path && subjects+=("$label-users"); }
    done
    [ ${#subjects[@]} -gt 0 ] || echo "compare.sh: no fanfare at build/fanfare: the others alone" >&2
}

find_others() {
    local server
    others=()
    for server in ${other_servers//,/ }; do
        case $server in redis | valkey | nats) ;; *) bad_option "--servers: $server is unknown" ;; esac
        if ! command -v "$server-server" >/dev/null; then
            echo "compare.sh: $server-server is not installed, left out" >&2
            continue
        fi
        others+=("$server")
    done
}

by_comma() {
    local IFS=,
    echo "$*"
}

# With pinning the server has one core to itself, so that its CPU time does not depend on where the
# kernel happened to put the two.
choose_cpus() {
    local cpus
    cpus=$(taskset -cp $$ | sed 's/.*: //')
    mapfile -t cpus < <(
        tr , '\n' <<<"$cpus" | while IFS=- read -r first last; do seq "$first" "${last:-$first}"; done
    )
    [ ${#cpus[@]} -ge 2 ] || pin=no
    server_cpu=${cpus[0]}
    load_cpus=$(by_comma "${cpus[@]:1}")
}

write_head() {
    local server dirty=
    [ -z "$(git status --porcelain 2>/dev/null | head -n 1)" ] || dirty=" with local changes"
    echo "commit   $(git rev-parse --short HEAD 2>/dev/null || echo none)$dirty, $(date -u +%F)"
    echo "noise    load average $load_average at the start: above 0.5 the figures suffer"
    echo "machine  $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)," \
        "Linux $(uname -r), $([ "$pin" = yes ] && echo pinned || echo not pinned)"
    for server in "${subjects[@]}" "${others[@]}"; do
        echo "server   $(server_version "$server")"
    done
}

run_round() {
    local round=$1 scenario set servers threads rounds_max options server chosen pin_row
    while read -r scenario set servers threads rounds_max options; do
        if ! wanted "$scenario" "$set" || [ "$round" -gt "$rounds_max" ]; then continue; fi
        chosen=("${subjects[@]}")
        pin_row=no
        if [ "$servers" = all ]; then
            chosen+=("${others[@]}")
            pin_row=$pin
        fi
        for server in "${chosen[@]}"; do
            # shellcheck disable=SC2086 # options are words
            measure "$scenario/$server/$round" "$server" "$threads" "$pin_row" $options </dev/null
        done
        [ ! -t 2 ] || printf '\rround %d of %d: %-20s' "$round" "$rounds" "$scenario" >&2
    done < <(grep -v -e '^#' -e '^$' "$scenarios")
}

find_fanfare
find_others
if [ ! -x "$load" ]; then
    echo "compare.sh: building the load generator" >&2
    cmake -S bench -B build-bench -DCMAKE_BUILD_TYPE=Release >/dev/null
    cmake --build build-bench >/dev/null
    load="build-bench/bench/load"
fi
choose_cpus
scratch=$(mktemp -d)
trap 'server_stop; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$out"
: >"$out/results.jsonl"
ulimit -n 40000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
write_nats_conf
write_users >"$scratch/users.acl"
load_options=()
[ "$tls" = no ] || write_certificate
failures=0
read -r load_average _ </proc/loadavg

for ((round = 1; round <= rounds; round++)); do
    run_round "$round"
done
[ ! -t 2 ] || printf '\r%40s\r' '' >&2

{
    write_head
    echo
    bench/table --subjects "$(by_comma "${subjects[@]}")" --others "$(by_comma "${others[@]}")" \
        --summary "$out/summary.json" "$goals" "$out/results.jsonl"
} | tee "$out/table.txt"
bench/plot "$out/summary.json" "$out/plot.svg"
echo
echo "results in $out: table.txt, plot.svg, summary.json, results.jsonl"
[ "$failures" -eq 0 ]
