"""main: measures applications on this machine and prints a table with ratios; called by bench/apps.sh."""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "durable"), str(HERE.parent / "cluster")]

# pylint: disable=wrong-import-position
import stores  # noqa: E402
from systems import SystemFailed  # noqa: E402

RUN_MAX_S = 180
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

APPS = {  # name: (command, jobs)
    "bullmq": (["node", HERE / "bullmq.js"], 4000),
    "sidekiq": (["ruby", HERE / "sidekiq.rb"], 4000),
    "celery": (["/usr/bin/python3", HERE / "celery_load.py"], 2000),
}

SYSTEMS = {
    "redis-always": lambda directory: stores.RedisStore(directory, "always"),
    "fanfare-1": lambda directory: stores.FanfareStore(directory, 1),
    "fanfare-3": lambda directory: stores.FanfareStore(directory, 3),
}


def parse_options():
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench/apps.sh", description="Jobs per second and CPU per job of applications.")
    parser.add_argument("--apps", metavar="LIST", default=",".join(APPS), help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (default %(default)s)")
    parser.add_argument("--fanfare", default="build/fanfare", metavar="PATH", help="the broker (default %(default)s)")
    parser.add_argument("--modules", default="build/compat-node", metavar="DIR", help="of install.sh (default %(default)s)")
    parser.add_argument("--out", default="build/bench/apps", metavar="DIR", help="for nodes' files (default %(default)s)")
    options = parser.parse_args()
    stores.Fanfare.program = options.fanfare
    return options


def cpu_s(pids):
    """User and system time of processes, all together."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


def run(options, system, app):
    """(jobs per second, us of the servers' CPU per job). The program prints the seconds that its jobs took: it warms up
    before. What it costs the servers is taken over all of it."""
    command, jobs = APPS[app]
    env = {**os.environ, "BROKER_PORT": str(system.ports[0]), "JOBS": str(jobs), "PYTHONDONTWRITEBYTECODE": "1",
           "NODE_PATH": str(pathlib.Path(options.modules).resolve() / "node_modules")}
    system.empty()
    before_s = cpu_s(system.pids)
    done = subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True, timeout=RUN_MAX_S,
                          check=False)
    if done.returncode != 0:
        raise SystemFailed(f"{app} on {system.name}: {done.stderr[-800:]}")
    return jobs / float(done.stdout.split()[-1]), (cpu_s(system.pids) - before_s) / jobs * 1e6


def main():
    """Measure and print."""
    options = parse_options()
    out = pathlib.Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for app in options.apps.split(","):
        for _ in range(options.rounds):
            for name, make in SYSTEMS.items():
                system = make(out)
                try:
                    system.start()
                    found.setdefault((app, name), []).append(run(options, system, app))
                finally:
                    system.close()
    print(f"{'':10}{'':14}{'jobs/s':>9}{'ratio':>8}{'us CPU/job':>12}{'ratio':>8}")
    for (app, name), runs in found.items():
        rate, cost = (statistics.median(column) for column in zip(*runs))
        base_rate, base_cost = (statistics.median(column) for column in zip(*found[app, "redis-always"]))
        print(f"{app:10}{name:14}{rate:9.0f}{rate / base_rate:8.2f}{cost:12.0f}{cost / base_cost:8.2f}")


if __name__ == "__main__":
    main()
