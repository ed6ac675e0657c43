#!/bin/bash
# apps.sh: jobs of BullMQ, Sidekiq and Celery on fanfare, alone and as three nodes, beside redis-server with an append-only
# file that is flushed always: jobs per second and the servers' CPU per job. Leaves no process behind; touches nothing
# but its result folder. --help lists the options. Needs what deploy/setup.sh test and tests/compat/install.sh install.
set -euo pipefail
cd "$(dirname "$0")/.."
exec /usr/bin/python3 bench/apps/main.py "$@"
