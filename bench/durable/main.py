#!/usr/bin/env python3
"""main: measures durable data on this machine and prints a table with ratios; called by bench/durable.sh."""

import argparse
import fnmatch
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import backups
import calm
import grow
import kills
import stores
from systems import SystemFailed

RUN_MAX_S = 120

ROWS = {  # name: (row of the generator, bytes of an element, is in --quick, NATS has something alike)
    "append-100": ("append", 100, True, True),
    "append-1k": ("append", 1024, True, True),
    "read-100": ("read", 100, True, True),
    "read-1k": ("read", 1024, False, True),
    "group-100": ("group", 100, True, True),
    "queue-100": ("queue", 100, True, False),
    "schedule": ("schedule", 100, True, False),
    "set-100": ("set", 100, True, False),
    "get-100": ("get", 100, True, False),
    "lrange-100": ("lrange", 100, False, False),
    "zrange-100": ("zrange", 100, False, False),
}

IN_FLIGHT = {1: (1, 1), 16: (16, 1), 256: (16, 16)}
"""Requests under way: (connections, each with so many)."""

SYSTEMS = {
    "fanfare-1": lambda directory: stores.FanfareStore(directory, 1),
    "fanfare-3": lambda directory: stores.FanfareStore(directory, 3),
    "redis-always": lambda directory: stores.RedisStore(directory, "always"),
    "redis-everysec": lambda directory: stores.RedisStore(directory, "everysec"),
    "jetstream-always-3": lambda directory: stores.JetStream(directory, 3, "always"),
    "jetstream-default-3": lambda directory: stores.JetStream(directory, 3),
}

GOALS = (
    # metric, in flight, rows, subject, against, "most" or "least", limit
    ("operations_per_s", 256, "append-*,read-*,group-*", "fanfare-3", "jetstream-always-3", "least", 5),
    ("operations_per_s", 256, "append-*,group-*,queue-*,schedule,set-*", "fanfare-3", "redis-always", "least", 1 / 3),
    ("operations_per_s", 256, "append-*,group-*,queue-*,schedule,set-*", "fanfare-1", "redis-always", "least", 1),
    ("operations_per_s", 1, "append-*,group-*,queue-*,schedule,set-*", "fanfare-1", "redis-always", "least", 1),
    ("cpu_us_per_operation", 256, "append-*,group-*,queue-*,schedule,set-*", "fanfare-1", "redis-everysec", "most", 1.5),
    ("cpu_us_per_operation", 256, "read-*,get-*,lrange-*,zrange-*", "fanfare-1", "redis-everysec", "most", 1),
    ("p99_us", 256, "append-*,group-*,queue-*,schedule,set-*", "fanfare-3", "redis-always", "most", 1),
)


class Parser(argparse.ArgumentParser):
    """A bad option ends with 64, as everywhere in bench."""

    def error(self, message):
        self.exit(64, f"{self.prog}: {message}; see --help\n")


def parse_options():
    """The command line."""
    parser = Parser(prog="bench/durable.sh", description=__doc__.partition(": ")[2].split(";")[0])
    parser.add_argument("--systems", metavar="LIST", default=",".join(SYSTEMS), help="default %(default)s")
    parser.add_argument("--rows", metavar="GLOB", default="*", help=f"of {','.join(ROWS)}")
    parser.add_argument("--in-flight", metavar="LIST", default="1,16,256", help="default %(default)s")
    parser.add_argument("--databases", type=int, default=16, help="that connections are spread over (default %(default)s)")
    parser.add_argument("--rounds", type=int, help="repetitions, of which the median counts (default 3)")
    parser.add_argument("--measure-ms", type=int, help="of one run (default 1000)")
    parser.add_argument("--kills", type=int, metavar="N", help="instead: kill the leader of three nodes so often under load")
    parser.add_argument("--calm", type=int, metavar="N", help="instead: what N elements, and lists of 10 N, do to other clients")
    parser.add_argument("--parts", metavar="LIST", default=",".join(calm.PARTS), help="of --calm (default %(default)s)")
    parser.add_argument("--grow", type=int, metavar="MIB", help="instead: so much data, in nodes with a quarter of that as memory")
    parser.add_argument("--backup", type=int, metavar="MIB", help="instead: read and write back so much, beside writers")
    parser.add_argument("--quick", action="store_true", help="fewer rows, one round of 400 ms: about two minutes")
    parser.add_argument("--fanfare", default="build/fanfare", metavar="PATH", help="the broker (default %(default)s)")
    parser.add_argument("--load", default="build/bench/data_load", metavar="PATH", help="default %(default)s")
    parser.add_argument("--out", default="build/bench/durable", metavar="DIR", help="for results (default %(default)s)")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.measure_ms = options.measure_ms or (400 if options.quick else 1000)
    options.chosen = options.systems.split(",")
    options.rows = [name for name, row in ROWS.items() if fnmatch.fnmatch(name, options.rows) and
                    (row[2] or not options.quick or options.rows != "*")]
    try:
        options.in_flight = [int(word) for word in options.in_flight.split(",")]
        assert set(options.in_flight) <= set(IN_FLIGHT) and set(options.chosen) <= set(SYSTEMS) and options.rows
        assert set(options.parts.split(",")) <= set(calm.PARTS)
        assert 1 <= options.databases <= stores.DATABASES
    except (ValueError, AssertionError):
        parser.error(f"known systems: {' '.join(SYSTEMS)}; rows: {' '.join(ROWS)}; in flight: {list(IN_FLIGHT)}")
    for program in (options.fanfare, options.load):
        if not os.access(program, os.X_OK):
            parser.error(f"{program}: no such program")
    stores.Fanfare.program = options.fanfare
    return options


class Bench:
    """Runs the generator and keeps what it says."""

    def __init__(self, options):
        self.options = options
        self.runs = []
        self.failures = []

    def run(self, system, name, in_flight):
        """One row on a running system, emptied before."""
        row, payload_bytes, _, has_nats = ROWS[name]
        if system.is_nats and not has_nats:
            return
        connections, depth = IN_FLIGHT[in_flight]
        databases = min(self.options.databases, connections)
        label = f"{name}/{in_flight}/{system.label}"
        fill = max(100000 // databases, 5000) if system.is_nats or row == "group" else 10000
        argv = [self.options.load, "--row", row, "--label", label, "--port", ",".join(map(str, system.ports)), "--pid",
                ",".join(map(str, system.pids)), "--connections", str(connections), "--depth", str(depth), "--databases",
                str(databases), "--payload", str(payload_bytes), "--fill", str(fill), "--replicas", str(system.count),
                "--warmup-ms", "50" if system.is_nats else "100", "--measure-ms", str(self.options.measure_ms)]
        system.empty()
        before = system.flushes()
        try:
            done = subprocess.run(argv + (["--nats"] if system.is_nats else []), capture_output=True, text=True,
                                  timeout=RUN_MAX_S, check=False)
        except subprocess.TimeoutExpired:
            self.failures.append(f"{label}: no end within {RUN_MAX_S} s")
            return
        if done.returncode != 0:
            self.failures.append(f"{label}: exit {done.returncode}: {done.stderr.strip()[:200]}")
        if done.stdout:
            run = json.loads(done.stdout)
            after = system.flushes()
            all_requests = run["all_operations"]
            run["flushes_per_operation"] = (after - before) / all_requests if before is not None and all_requests else None
            self.runs.append(run)

    def median(self, name, in_flight, label, metric):
        """Of all rounds; None: not measured."""
        values = [run[metric] for run in self.runs if run["label"] == f"{name}/{in_flight}/{label}" and run["operations"]]
        values = [value for value in values if value is not None]
        return statistics.median(values) if values else None


def say(text):
    """Progress, for whoever watches."""
    if sys.stderr.isatty():
        print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)


def measure(options, bench):
    """Round after round, in each every system with all rows."""
    for number in range(options.rounds):
        for name in options.chosen:
            directory = options.scratch / f"{name}-{number}"
            system = SYSTEMS[name](directory)
            try:
                say(f"round {number + 1}: {name} starts")
                system.start()
                for row in options.rows:
                    for in_flight in options.in_flight:
                        say(f"round {number + 1}: {name} {row} {in_flight}")
                        bench.run(system, row, in_flight)
            except SystemFailed as failure:
                bench.failures.append(str(failure))
            finally:
                system.close()
                shutil.rmtree(directory, ignore_errors=True)


def figure(value):
    """Three significant digits, plain."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(rows):
    """Columns as wide as need be; the first two begin at the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(w) if i < 2 else cell.rjust(w)
                        for i, (cell, w) in enumerate(zip(row, widths))).rstrip())
    print()


METRICS = (("operations_per_s", "operations/s"), ("cpu_us_per_operation", "CPU us/operation"), ("p50_us", "p50 us"),
           ("p99_us", "p99 us"), ("flushes_per_operation", "flushes/operation"))


PAIRS = (("fanfare-1", "redis-always"), ("fanfare-1", "redis-everysec"), ("fanfare-3", "redis-always"),
         ("fanfare-3", "jetstream-always-3"), ("fanfare-3", "jetstream-default-3"))
"""Systems, and what each is set beside."""


def print_results(options, bench):
    """A table per metric: the figures of those that have it, then ratios."""
    for metric, title in METRICS:
        systems = [s for s in options.chosen if any(run["label"].endswith(f"/{s}") and run[metric] is not None
                                                    for run in bench.runs)]
        if not systems:
            continue
        pairs = [(n, o) for n, o in PAIRS if n in systems and o in systems]
        lines = [["row", "in flight", *systems, *(f"{n}/{o}" for n, o in pairs)]]
        for name in options.rows:
            for in_flight in options.in_flight:
                values = {s: bench.median(name, in_flight, s, metric) for s in systems}
                line = [name, str(in_flight), *(figure(values[s]) for s in systems)]
                line += [figure(values[n] / values[o] if values[n] is not None and values[o] else None)
                         for n, o in pairs]
                lines.append(line)
        print(title)
        print_table(lines)


def print_goals(options, bench):
    """Each goal beside what was reached."""
    lines = [["goal", "row", "reached", "wanted", "verdict"]]
    for metric, in_flight, globs, subject, against, limit, wanted in GOALS:
        for name in options.rows:
            if not any(fnmatch.fnmatch(name, glob) for glob in globs.split(",")):
                continue
            value, base = (bench.median(name, in_flight, s, metric) for s in (subject, against))
            if value is None or not base:
                continue
            reached = value / base
            is_good = reached >= wanted if limit == "least" else reached <= wanted
            lines.append([f"{subject} {metric} at {in_flight} / {against}", name, figure(reached),
                          f"{'>=' if limit == 'least' else '<='} {figure(wanted)}", "good" if is_good else "MISS"])
    if len(lines) > 1:
        print_table(lines)


def output_of(*argv):
    """What a program prints first, or nothing."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split("\n")[0]
    except OSError:
        return ""


def flush_us(directory):
    """What one flush of a small append takes on this disk, in the middle."""
    times = []
    path = directory / "flush"
    with open(path, "wb", buffering=0) as out:
        for _ in range(200):
            out.write(b"x" * 512)
            begin_s = time.perf_counter()
            os.fdatasync(out.fileno())
            times.append((time.perf_counter() - begin_s) * 1e6)
    path.unlink()
    return statistics.median(times)


def measure_kills(options):
    """What a leader's death costs; the exit code."""
    directory = options.scratch / "kills"
    system = stores.FanfareStore(directory, 3)
    is_good = False
    try:
        system.start()
        is_good = kills.measure(system, options.kills, say)
    finally:
        system.close()
        if is_good:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if is_good else 1


def measure_calm(options):
    """Whom heavy data disturbs; the exit code."""
    system = stores.FanfareStore(options.scratch / "calm", 3)
    try:
        system.start()
        return 0 if calm.measure(system, options.calm, options.parts.split(","), say) else 1
    finally:
        system.close()


def measure_grow(options):
    """What data larger than memory costs; the exit code."""
    system = stores.FanfareStore(options.scratch / "grow", 3)
    try:
        system.start()
        is_good = grow.cluster(system, options.grow, options.grow // 4, say)
    finally:
        system.close()
    shutil.rmtree(options.scratch / "grow", ignore_errors=True)
    system = stores.FanfareStore(options.scratch / "grow", 1)
    try:
        system.start()
        grow.restarts(system, options.grow, say)
        grow.stream(system, say)
    finally:
        system.close()
    shutil.rmtree(options.scratch / "grow", ignore_errors=True)
    return 0 if is_good else 1


def measure_backup(options):
    """How fast backup and restore are, and what writers notice; the exit code."""
    system = stores.FanfareStore(options.scratch / "backup-nodes", 3)
    try:
        system.start()
        backups.measure(system, options.backup, options, say)
    finally:
        system.close()
        shutil.rmtree(options.scratch / "backup-nodes", ignore_errors=True)
    return 0


def main():
    """Measure, print, and tell by the exit code whether something did not run."""
    options = parse_options()
    out = pathlib.Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    options.scratch = out / "nodes"
    options.scratch.mkdir(exist_ok=True)
    if "jetstream-always-3" in options.chosen and not stores.JetStream.knows_sync(out):
        options.chosen.remove("jetstream-always-3")
        print("left out  jetstream-always: this nats-server has no sync_interval (it came with 2.10)")
    if options.kills:
        return measure_kills(options)
    if options.grow:
        return measure_grow(options)
    if options.backup:
        return measure_backup(options)
    if options.calm:
        return measure_calm(options)
    load_average = os.getloadavg()[0]
    bench = Bench(options)
    measure(options, bench)
    say("")
    model = output_of("sed", "-n", r"s/^model name[^:]*: //p", "/proc/cpuinfo")
    print(f"commit    {output_of('git', 'rev-parse', '--short', 'HEAD')}, {output_of('date', '-u', '+%F')}")
    print(f"machine   {os.cpu_count()} cores, {model}, Linux {os.uname().release}; a flush takes {flush_us(out):.0f} us")
    print(f"noise     load average {load_average:.1f} at the start; {options.rounds} rounds of {options.measure_ms} ms")
    print(f"servers   {output_of(options.fanfare, '--version')}; "
          f"{output_of('redis-server', '--version').partition(' sha')[0]}; {output_of('nats-server', '--version')}\n")
    print_results(options, bench)
    print_goals(options, bench)
    (out / "results.json").write_text(json.dumps(bench.runs, indent=1), encoding="ascii")
    for failure in bench.failures:
        print(f"FAILED    {failure}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
