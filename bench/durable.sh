#!/bin/bash
# durable.sh: fanfare's durable data beside redis-server and NATS JetStream, on this machine: what an element costs to
# append, read, push, pop, schedule, set, get, take and acknowledge. Prints each figure and its ratio.
# Leaves no process behind; touches nothing but its result folder. --help lists the options.
set -euo pipefail
cd "$(dirname "$0")/.."
ulimit -n 40000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec python3 bench/durable/main.py "$@"
