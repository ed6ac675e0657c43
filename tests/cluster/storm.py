#!/usr/bin/env python3
"""Clients on all nodes of a cluster, and a nemesis that does to it what happens to clusters; afterwards the checker
decides from what all clients wrote down whether a promise was broken.

The seed chooses the acts, their victims and times, and what each client does. After a failure the nodes' logs and the
history stay; `--judge HISTORY` looks at a history again. --nodes 1 is a single node without a cluster.

usage: storm.py [--seed N] [--seconds N] [--nodes N] [--threads N] [--net loopback|netns] [--only ACT,...] [--judge HISTORY]
Exit: 0 nothing found, 1 a promise was broken, 77 no rights or tools for --net netns."""

import argparse
import pathlib
import random
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from lib import netns, starved  # noqa: E402
from lib.checker import violations  # noqa: E402
from lib.checker_history import History  # noqa: E402
from lib.cluster import CLIENT_PORT, Cluster, Loopback  # noqa: E402
from lib.cluster_load import Load  # noqa: E402
from lib.cluster_nemesis import ACTS, Nemesis  # noqa: E402
from lib.storm_report import report, say  # noqa: E402

SKIPPED = 77


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of each node; else as many as a node takes by itself")
    parser.add_argument("--net", choices=("loopback", "netns"), default="loopback")
    parser.add_argument("--only", type=lambda text: text.split(","), help="of these acts: " + ", ".join(ACTS))
    parser.add_argument("--judge", metavar="HISTORY")
    return parser.parse_args()


def main():
    """Storm or judge; the exit status."""
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if args.judge:
        return report("storm", violations(History.load(args.judge)), [])
    print(f"storm: seed {args.seed}, {args.seconds:g} s, {args.nodes} nodes, {args.net}", flush=True)
    try:
        world = netns.Network() if args.net == "netns" else Loopback()
    except netns.Unavailable as exc:
        print(f"storm: skipped: {exc}")
        return SKIPPED
    return storm(args, world)


def storm(args, world):
    """One storm; the exit status."""
    options = {"output-buffer-limit": "pubsub 0 0 0"} | ({"threads": args.threads} if args.threads else {})
    cluster = Cluster(args.nodes, world, plain=args.nodes == 1, partitions=1 if args.nodes == 1 else 16,
                      options=options)
    history = History()
    load = None
    is_good = False
    try:
        cluster.start()
        cluster.wait_settled()  # before, a disk that is lost may be one of a partition's two
        load = Load(lambda: {n.name: (n.bind_host, CLIENT_PORT) for n in cluster.running()}, args.seed)
        history = load.history
        load.start()
        with starved.watch(cluster, history.faults):
            counts = Nemesis(cluster, args.seed, history.faults, say).run(args.seconds, args.only)
            load.stop()
        print(f"storm: {len(history.publishes)} publishes, {history.deliveries()} deliveries on {len(history.streams)} "
              f"connections, {counts}, {starved.count(history.faults)}")
        is_good = report("storm", violations(history), load.complaints) == 0
    finally:
        if not is_good:
            history.save(cluster.directory / "history")
            print(f"storm: FAILED; again with: --seed {args.seed} --seconds {args.seconds:g} --nodes {args.nodes} "
                  f"--net {args.net}{f' --threads {args.threads}' if args.threads else ''}; logs and history: {cluster.directory}", flush=True)
        cluster.close(keep=not is_good)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
