#!/usr/bin/env python3
"""Three real consensus processes under load are killed with SIGKILL and paused, over and over; in the end all must hold
the same state, and every acknowledged command must be in it.

usage: consensus_kill.py NODE_PROGRAM [--seconds N] [--seed N] [--groups N] [--host ADDRESS]"""
import argparse
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.consensus_node import Node, acknowledged, check_states, peers, settle  # noqa: E402
from lib.wait import SCALE, wait_until  # noqa: E402

NODES = 3
DEADLINE_S = 90 * SCALE


def storm(nodes, args, rng):
    end = time.monotonic() + args.seconds
    kills = pauses = 0
    while time.monotonic() < end:
        time.sleep(rng.uniform(0.2, 1.5))
        node = rng.choice(nodes)
        if rng.random() < 0.7:
            node.kill()
            kills += 1
            time.sleep(rng.uniform(0, 1.0))
            node.start("-k", str(args.outstanding))
        else:
            node.process.send_signal(signal.SIGSTOP)
            pauses += 1
            time.sleep(rng.uniform(0, 1.5))
            node.process.send_signal(signal.SIGCONT)
        for other in nodes:
            other.check_alive()
    return kills, pauses


def run(args, work, nodes):
    rng = random.Random(args.seed)
    options = ["-g", str(args.groups), "-r", "100", "-e", "500", "-h", "50", "-l", str(256 << 10), "-s", "300000"]
    peer_list = peers(NODES, args.host)
    nodes += [Node(args.program, work, i + 1, peer_list, options) for i in range(NODES)]
    for node in nodes:
        node.start("-k", str(args.outstanding))
    for node in nodes:
        wait_until(lambda n=node: "ready" in n.output(), DEADLINE_S, f"n{node.number} is ready")
        node.is_created = True
    wait_until(lambda: sum(acknowledged(nodes).values()) > 1000, DEADLINE_S, "commands are acknowledged")
    kills, pauses = storm(nodes, args, rng)
    before = sum(acknowledged(nodes).values())
    wait_until(lambda: sum(acknowledged(nodes).values()) > before + 1000, DEADLINE_S, "progress after the storm")
    settle(nodes, args.groups, DEADLINE_S)
    answered, applied = check_states(nodes)
    print(f"seed {args.seed}: {kills} kills, {pauses} pauses, {answered} acknowledged, {applied} applied, the same on all")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--outstanding", type=int, default=32)
    parser.add_argument("--host", default="127.0.0.1")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="consensus-kill-")
    nodes = []
    try:
        run(args, work, nodes)
        shutil.rmtree(work)
    except AssertionError:
        print(f"failed with seed {args.seed}; what is left is in {work}")
        raise
    finally:
        for node in nodes:
            if node.process is not None:
                node.kill()


if __name__ == "__main__":
    main()
