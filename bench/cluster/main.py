#!/usr/bin/env python3
"""main: measures clusters on this machine and prints each goal beside what was reached; called by bench/cluster.sh."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys

import faults
import report
import throughput
import turns
from systems import SYSTEMS, Fanfare, SystemFailed

PARTS = ("throughput", "hop", "failover", "drain", "turns")
NODES_MAX = 7


class Parser(argparse.ArgumentParser):
    """A bad option ends with 64, as everywhere in bench."""

    def error(self, message):
        self.exit(64, f"{self.prog}: {message}; see --help\n")


def parse_options():
    """The command line."""
    parser = Parser(prog="bench/cluster.sh", description=__doc__.partition(": ")[2].split(";")[0])
    parser.add_argument("--nodes", default="1,2,3,5,7", metavar="LIST", help="sizes of clusters (default %(default)s)")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="3 nodes, fewer rows, one round, three faults of a kind")
    parser.add_argument("--rounds", type=int, help="repetitions, of which the median counts (default 3)")
    parser.add_argument("--faults", type=int, help="how many kills and how many drains (default 10)")
    parser.add_argument("--channels", type=int, help="subscribed to in the part turns (default 1000000)")
    parser.add_argument("--patterns", type=int, help="likewise (default 100000)")
    parser.add_argument("--shapes", metavar="LIST", help=f"of {','.join(throughput.SHAPES)} (default all)")
    parser.add_argument("--systems", default="fanfare,redis,nats", metavar="LIST", help="default %(default)s")
    parser.add_argument("--fanfare", default="build/fanfare", metavar="PATH", help="the broker (default %(default)s)")
    parser.add_argument("--load", default="build/bench/load", metavar="PATH", help="default %(default)s")
    parser.add_argument("--no-pin", action="store_true", help="let the kernel place servers and load")
    parser.add_argument("--out", default="build/bench/cluster", metavar="DIR", help="for results (default %(default)s)")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.faults = options.faults or (3 if options.quick else 10)
    options.channels = options.channels or (100000 if options.quick else 1000000)
    options.patterns = options.patterns or (10000 if options.quick else 100000)
    options.only = options.only or list(PARTS)
    try:
        options.sizes = [3] if options.quick else [int(word) for word in options.nodes.split(",")]
        options.chosen = [SYSTEMS[name] for name in options.systems.split(",")]
        options.shapes = options.shapes.split(",") if options.shapes else [
            name for name, (*_, is_quick) in throughput.SHAPES.items() if is_quick or not options.quick]
        assert all(1 <= size <= NODES_MAX for size in options.sizes) and set(options.shapes) <= set(throughput.SHAPES)
    except (ValueError, KeyError, AssertionError):
        parser.error(f"--nodes are numbers from 1 to {NODES_MAX}; known systems: {' '.join(SYSTEMS)}; "
                     f"known shapes: {' '.join(throughput.SHAPES)}")
    for program in (options.fanfare, options.load):
        if not os.access(program, os.X_OK):
            parser.error(f"{program}: no such program")
    return options


def choose_cpus(options):
    """With pinning all servers have one core to themselves and the generator the others, as in compare.sh."""
    cpus = sorted(os.sched_getaffinity(0))
    options.server_cpus = options.load_cpus = None
    if len(cpus) > 1 and not options.no_pin:
        options.server_cpus, options.load_cpus = str(cpus[0]), ",".join(map(str, cpus[1:]))


def say(text):
    """Progress, for whoever watches."""
    if sys.stderr.isatty():
        print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)


def measure_throughput(options, bench):
    """Every size, all systems of that size at once: those that are not measured only idle."""
    for size in options.sizes:
        systems = []
        try:
            for kind in options.chosen:
                if kind.name == "redis" and size == 2:
                    continue  # no Redis Cluster has fewer than three masters
                say(f"{size} nodes of {kind.name}")
                systems.append(kind(options.scratch, size, options.server_cpus))
                systems[-1].start()
            throughput.measure_costs(bench, systems, options.shapes)
        finally:
            for system in systems:
                system.close()


def with_fanfare(options, size, cpus, use):
    """A fresh cluster, given to `use`."""
    system = Fanfare(options.scratch, size, cpus)
    try:
        return use(system.start())
    finally:
        system.close()


def measure(options, bench):
    """All parts that are wanted. Returns what the faults showed, by kind."""
    seen = {}
    size = max(3, min(options.sizes))
    if "throughput" in options.only:
        measure_throughput(options, bench)
    if "hop" in options.only:
        with_fanfare(options, size, options.server_cpus, lambda system: throughput.measure_hops(bench, system))
    for part, number in (("failover", signal.SIGKILL), ("drain", signal.SIGTERM)):
        if part in options.only:
            seen[part] = with_fanfare(options, size, None, lambda system, number=number: faults.measure(
                system, number, options.faults, say))
    if "turns" in options.only:
        seen["turns"] = with_fanfare(options, size, None, lambda system: turns.measure(
            system, options.channels, options.patterns, say))
    return seen


def output_of(*argv):
    """What a program prints first, or nothing."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split("\n")[0]
    except OSError:
        return ""


def print_head(options, load_average):
    """Where and what was measured."""
    changed = " with local changes" if output_of("git", "status", "--porcelain") else ""
    model = output_of("sed", "-n", r"s/^model name[^:]*: //p", "/proc/cpuinfo")
    pinned = f"servers on core {options.server_cpus}" if options.server_cpus else "not pinned"
    commit = output_of("git", "rev-parse", "--short", "HEAD") or "none"
    print(f"commit   {commit}{changed}, {output_of('date', '-u', '+%F')}")
    print(f"machine  {os.cpu_count()} cores, {model}, Linux {os.uname().release}, {pinned}")
    print(f"noise    load average {load_average:.1f} at the start, {os.getloadavg()[0]:.1f} at the end; "
          f"{options.rounds} rounds")
    built = output_of("date", "-u", "-r", options.fanfare, "+%F %H:%M")
    redis = output_of("redis-server", "--version").partition(" sha")[0]
    print(f"servers  {output_of(options.fanfare, '--version')} built {built}; {redis}; "
          f"{output_of('nats-server', '--version')}; one thread per node")


def main():
    """Measure, print, and tell by the exit code whether anything was lost or did not run."""
    options = parse_options()
    choose_cpus(options)
    Fanfare.program = os.path.abspath(options.fanfare)
    out = pathlib.Path(options.out)
    options.scratch = out / "nodes"
    options.scratch.mkdir(parents=True, exist_ok=True)
    load_average = os.getloadavg()[0]
    bench = throughput.Bench(options, say)
    seen = {}
    try:
        seen = measure(options, bench)
    except SystemFailed as failed:
        bench.failures.append(str(failed))
    say("")
    say("\r")
    (out / "results.json").write_text(json.dumps({"runs": bench.runs, "faults": seen}, indent=1), encoding="ascii")
    print_head(options, load_average)
    is_sound = report.print_all(options, bench, seen)
    print(f"\nresults in {out}: results.json; what the nodes logged last: nodes/")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
