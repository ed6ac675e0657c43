#!/bin/bash
# cluster.sh: fanfare beside Redis Cluster and a cluster of nats-server, on this machine: what a message
# costs all nodes together, the hop to the owner, failover and drain. Prints each goal and what was
# reached. Leaves no process behind; touches nothing but its result folder. --help lists the options.
set -euo pipefail
cd "$(dirname "$0")/.."
ulimit -n 40000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec python3 bench/cluster/main.py "$@"
