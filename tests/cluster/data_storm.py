#!/usr/bin/env python3
"""Clients on all nodes of a cluster change and read durable data, and a nemesis does to it what happens to clusters;
afterwards lib.data_checker decides from what all clients wrote down whether a promise was broken.

The seed chooses the acts, their victims and times, and what each client does. After a failure the nodes' logs and the
history stay; `--judge HISTORY` looks at a history again. --nodes 1 is a single node without a cluster; --reference is
one redis-server with `appendfsync always`, which shows that the judge asks for nothing impossible.

usage: data_storm.py [--seed N] [--seconds N] [--nodes N] [--threads N] [--net loopback|netns] [--only ACT,...]
                     [--works WORK,...] [--clients N] [--power] [--reference] [--judge HISTORY]
Exit: 0 nothing found, 1 a promise was broken, 77 no rights or tools for --net netns."""

import argparse
import collections
import pathlib
import random
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from lib import netns, starved  # noqa: E402
from lib.cluster import Cluster, Loopback  # noqa: E402
from lib.cluster_nemesis import Nemesis  # noqa: E402
from lib.data_checker import violations  # noqa: E402
from lib.data_history import DataHistory  # noqa: E402
from lib.data_load import DataLoad, DataPlan  # noqa: E402
from lib.data_reference import Reference  # noqa: E402
from lib.data_scene import DATA_ACTS, endpoints_of, wait_all_served  # noqa: E402
from lib.data_service import wait_data_served  # noqa: E402
from lib.data_work import WORKS, works_of  # noqa: E402
from lib.power_cut import PowerCluster  # noqa: E402
from lib.storm_report import report, say  # noqa: E402

SKIPPED = 77


def words_of(text):
    """A list by comma."""
    return tuple(text.split(","))


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of each node; else as many as a node takes by itself")
    parser.add_argument("--net", choices=("loopback", "netns"), default="loopback")
    parser.add_argument("--only", type=words_of, help="of these acts: " + ", ".join(DATA_ACTS))
    parser.add_argument("--works", type=words_of, default=(), help="of these workloads: " + ", ".join(WORKS))
    parser.add_argument("--clients", type=int, default=4, help="of each workload")
    parser.add_argument("--power", action="store_true", help="with power cuts; POWER_CUT_SHIM is the library for them")
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--judge", metavar="HISTORY")
    return parser.parse_args()


def main():
    """Storm or judge; the exit status."""
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if args.judge:
        return report("data_storm", violations(DataHistory.load(args.judge)), [])
    print(f"data_storm: seed {args.seed}, {args.seconds:g} s, {args.nodes} nodes, {args.net}", flush=True)
    try:
        return storm(args, make_cluster(args))
    except netns.Unavailable as exc:
        print(f"data_storm: skipped: {exc}")
        return SKIPPED


def make_cluster(args):
    """Not started."""
    if args.reference:
        return Reference()
    world = netns.Network() if args.net == "netns" else Loopback()
    kind = PowerCluster if args.power else Cluster
    return kind(args.nodes, world, plain=args.nodes == 1, partitions=1 if args.nodes == 1 else 16,
                options={"threads": args.threads} if args.threads else {})


def storm(args, cluster):
    """One storm; the exit status."""
    history = DataHistory()
    load = None
    is_good = False
    is_served = wait_data_served if len(cluster) == 1 else wait_all_served
    try:
        cluster.start()
        cluster.wait_settled()  # before, a disk that is lost may be one of a partition's two
        is_served(cluster)
        plan = DataPlan(clients=args.clients, works=args.works)
        load = DataLoad(endpoints_of(cluster), args.seed, plan, works_of(plan))
        history = load.history
        load.start()
        with starved.watch(cluster, history.faults):
            counts = Nemesis(cluster, args.seed, history.faults, say, DATA_ACTS, is_served).run(args.seconds, args.only)
            load.stop()
        outcomes = collections.Counter(op.outcome for op in history.ops)
        print(f"data_storm: {len(history.ops)} operations {dict(outcomes)}, {counts}, {starved.count(history.faults)}")
        is_good = report("data_storm", violations(history), load.complaints) == 0
    finally:
        if not is_good:
            history.save(cluster.directory / "history")
            print(f"data_storm: FAILED; again with: {' '.join(again(args))}; logs and history: {cluster.directory}",
                  flush=True)
        cluster.close(keep=not is_good)
    return 0 if is_good else 1


def again(args):
    """The options that make the same storm."""
    yield f"--seed {args.seed} --seconds {args.seconds:g} --nodes {args.nodes} --net {args.net} --clients {args.clients}"
    for name in ("threads", "only", "works"):
        value = getattr(args, name)
        if value:
            yield f"--{name} '{','.join(value) if isinstance(value, tuple) else value}'"
    for name in ("power", "reference"):
        if getattr(args, name):
            yield f"--{name}"


if __name__ == "__main__":
    sys.exit(main())
