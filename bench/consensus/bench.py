#!/usr/bin/env python3
"""Measures the consensus engine: three processes on this machine, a table of commands/s, latency, flushes and CPU.

usage: bench.py NODE_PROGRAM [--dir DIR]... [--seconds N] [--only load,idle,failover,snapshot]
Each --dir is a file system to measure on (default: a temporary directory). Figures are sums over the three processes
but for latency, which is that of the process with the most commands; see bench/README.md for when a difference counts."""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from lib.ports import free_ports  # noqa: E402

NODES = 3
GROUPS = (1, 16, 64, 256, 1024)


class Cluster:
    def __init__(self, args, base, groups, outstanding, extra=()):
        self.work = tempfile.mkdtemp(prefix="bench-consensus-", dir=base)
        self.logs = tempfile.mkdtemp(prefix="bench-consensus-log-")
        ports = free_ports(NODES)
        self.peers = ",".join(f"n{i + 1}=127.0.0.1:{ports[i]}" for i in range(NODES))
        self.args, self.groups, self.outstanding, self.extra = args, groups, outstanding, list(extra)
        self.processes = [None] * NODES
        for i in range(NODES):
            self.start(i, create=True)

    def start(self, i, create=False):
        command = [self.args.program, "-n", f"n{i + 1}", "-d", f"{self.work}/d{i + 1}", "-p", self.peers, "-g",
                   str(self.groups), "-k", str(self.outstanding), *([] if "-r" in self.extra else ["-r", "500"])] + self.extra + (["-c"] if create else [])
        with open(f"{self.logs}/{i + 1}.out", "a") as out, open(f"{self.logs}/{i + 1}.err", "a") as err:
            self.processes[i] = subprocess.Popen(command, stdout=out, stderr=err)

    def output(self, i):
        with open(f"{self.logs}/{i + 1}.out") as f:
            return f.read()

    def figures(self, i):
        return [dict((k, float(v)) for k, v in re.findall(r"(\w+)=([\d.]+)", line))
                for line in self.output(i).splitlines() if line.startswith("figures")]

    def leaders(self):
        return sum(f[-1]["leads"] for f in (self.figures(i) for i in range(NODES)) if f)

    def wait(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def close(self):
        for p in self.processes:
            if p is not None:
                p.kill()
                p.wait()
        shutil.rmtree(self.work)
        shutil.rmtree(self.logs)


def mean(rows, key):
    return sum(r[key] for r in rows) / len(rows) if rows else 0


def measure(cluster, seconds):
    cluster.wait(lambda: cluster.leaders() >= cluster.groups, 60, "not all groups have a leader")
    time.sleep(1.5)
    skip = [len(cluster.figures(i)) for i in range(NODES)]
    time.sleep(seconds)
    rows = [cluster.figures(i)[skip[i]:] for i in range(NODES)]
    rate = sum(mean(r, "acked_per_s") for r in rows)
    busiest = max(rows, key=lambda r: mean(r, "acked_per_s"))
    return {"rate": rate, "p50": mean(busiest, "p50_us"), "p99": mean(busiest, "p99_us"),
            "flushes": sum(mean(r, "flushes_per_s") for r in rows), "cpu": sum(mean(r, "cpu_percent") for r in rows),
            "rss": sum(mean(r, "rss_kib") for r in rows), "slow": sum(sum(x["slow_turns"] for x in r) for r in rows),
            "late": sum(sum(x["late_turns"] for x in r) for r in rows)}


def bench_load(args, base):
    print("| groups | outstanding | commands/s | p50 ms | p99 ms | flushes/s per node | flushes per command | CPU us per command | slow turns | late turns |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for outstanding in (1, 16, 256):
        for groups in GROUPS:
            cluster = Cluster(args, base, groups, outstanding)
            try:
                m = measure(cluster, args.seconds)
            finally:
                cluster.close()
            rate = max(m["rate"], 1)
            print(f"| {groups} | {outstanding} | {m['rate']:.0f} | {m['p50'] / 1000:.2f} | {m['p99'] / 1000:.2f} | "
                  f"{m['flushes'] / NODES:.0f} | {m['flushes'] / rate:.3f} | {m['cpu'] * 10000 / rate:.1f} | {m['slow']:.0f} | {m['late']:.0f} |",
                  flush=True)


def bench_idle(args, base):
    print("| idle groups | % of a core per node | flushes/s per node | resident KiB per node | KiB per group |")
    print("|---|---|---|---|---|")
    rss_of_one = None
    for groups in GROUPS:
        cluster = Cluster(args, base, groups, 0, ["-r", "2000"])
        try:
            m = measure(cluster, max(args.seconds * 2, 6))
        finally:
            cluster.close()
        rss = m["rss"] / NODES
        rss_of_one = rss_of_one or rss
        per_group = f"{(rss - rss_of_one) / (groups - 1):.1f}" if groups > 1 else ""
        print(f"| {groups} | {m['cpu'] / NODES:.2f} | {m['flushes'] / NODES:.1f} | {rss:.0f} | {per_group} |", flush=True)


def bench_failover(args, base):
    for election, heartbeat in ((1000, 100), (300, 50)):
        took = []
        for _ in range(5):
            cluster = Cluster(args, base, 1, 1, ["-e", str(election), "-h", str(heartbeat), "-r", "100"])
            try:
                cluster.wait(lambda: cluster.leaders() == 1, 30, "no leader")
                time.sleep(1)
                leader = next(i for i in range(NODES) if cluster.figures(i)[-1]["leads"] == 1)
                others = [i for i in range(NODES) if i != leader]
                cluster.processes[leader].kill()
                start = time.monotonic()
                cluster.wait(lambda: any("leads=1" in cluster.output(i).split("figures")[-1] or
                                         re.search(r"leader .*leads=1", cluster.output(i)) for i in others),
                             30, "no new leader")
                took.append(time.monotonic() - start)
            finally:
                cluster.close()
        took.sort()
        print(f"failover, election {election} ms, heartbeat {heartbeat} ms: median {took[len(took) // 2]:.2f} s, "
              f"longest {took[-1]:.2f} s (kill to a new leader, {len(took)} runs)")


def bench_snapshot(args, base):
    size = 1 << 30
    cluster = Cluster(args, base, 1, 64, ["-s", str(size), "-l", str(32 << 20)])
    try:
        cluster.wait(lambda: cluster.leaders() == 1, 30, "no leader")
        leader = next(i for i in range(NODES) if cluster.figures(i)[-1]["leads"] == 1)
        victim = (leader + 1) % NODES
        cluster.wait(lambda: mean(cluster.figures(leader)[-4:], "acked_per_s") > 0, 30, "no load")
        cluster.processes[victim].kill()
        cluster.processes[victim].wait()
        applied = cluster.figures(leader)[-1]["applied"]
        cluster.wait(lambda: cluster.figures(leader)[-1]["applied"] > applied + 40000, 120, "the log does not grow")
        elections = len(re.findall(r"leads=1", "".join(cluster.output(i) for i in range(NODES))))
        start = time.monotonic()
        have = len(cluster.figures(victim))
        cluster.start(victim)
        cluster.wait(lambda: len(cluster.figures(victim)) > have and cluster.figures(victim)[-1]["applied"] >
                     cluster.figures(leader)[-1]["applied"] - 20000, 300, "the follower does not catch up")
        took = time.monotonic() - start
        after = len(re.findall(r"leader .*leads=1", "".join(cluster.output(i) for i in range(NODES))))
        before = elections
        slow, late = (sum(f[key] for f in cluster.figures(leader)) for key in ("slow_turns", "late_turns"))
        with open(f"{cluster.logs}/{victim + 1}.err") as f:
            installed = "a snapshot is installed" in f.read()
        print(f"1 GiB snapshot under load: caught up in {took:.1f} s, installed {installed}, elections meanwhile "
              f"{max(0, after - before)}, commands/s {mean(cluster.figures(leader)[-8:], 'acked_per_s'):.0f}, "
              f"turns of the leader: slow {slow:.0f}, late {late:.0f}")
    finally:
        cluster.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--dir", action="append")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--only", default="load,idle,failover,snapshot")
    args = parser.parse_args()
    for base in args.dir or [None]:
        print(f"\n## on {base or tempfile.gettempdir()}")
        for name in args.only.split(","):
            globals()["bench_" + name](args, base)


if __name__ == "__main__":
    main()
