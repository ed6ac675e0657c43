"""backups: how fast a cluster is read by `fanfare backup` and written by `fanfare restore`, and what its writers notice: their
times beside a backup that goes on all the while, and without one, by turns."""

import json
import os
import re
import statistics
import subprocess
import threading

from calm import Calm, Client, is_whole, print_rows, wait
from grow import VALUE_BYTES, MEBI, values
from systems import SystemFailed

ROUNDS = 3
CONNECTIONS = 8
FIGURES = (("operations_per_s", "operations/s"), ("p50_us", "p50 us"), ("p99_us", "p99 us"))


class Backups(threading.Thread):
    """One backup after the other, of which nothing is kept, until it is told to stop."""

    def __init__(self, program, port):
        super().__init__(daemon=True)
        self.argv = [program, "backup", "--from", f"127.0.0.1:{port}"]
        self.is_ending, self.rates, self.failure = False, [], None
        self.process = None
        self.start()

    def run(self):
        while not self.is_ending:
            self.process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            said = self.process.communicate()[1]
            rate = re.search(r"([\d.]+) MB/s\n$", said)
            if self.process.returncode == 0 and rate:
                self.rates.append(float(rate[1]))
            elif not self.is_ending:
                self.failure = said
                return

    def stop(self):
        """In the middle of one."""
        self.is_ending = True
        if self.process:
            self.process.terminate()
        self.join()
        if self.failure:
            raise SystemFailed(f"backup: {self.failure}")


def load(program, system, measure_ms):
    """What writers of small values notice, in databases of all nodes; the generator's figures."""
    argv = [program, "--row", "set", "--label", "set", "--port", ",".join(map(str, system.ports)), "--pid",
            ",".join(map(str, system.pids)), "--connections", str(CONNECTIONS), "--depth", "1", "--databases", str(CONNECTIONS),
            "--payload", "100", "--fill", "1000", "--replicas", str(system.count), "--warmup-ms", "500", "--measure-ms", str(measure_ms)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemFailed(f"load: {done.stderr.strip()[:200]}")
    return json.loads(done.stdout)


def print_pairs(pairs):
    """Medians of the rounds, and their ratios."""
    for metric, title in FIGURES:
        alone, beside = (statistics.median(pair[i][metric] for pair in pairs) for i in (0, 1))
        print(f"{title:14} without {alone:10,.0f}   with a backup {beside:10,.0f}   ratio {beside / alone:.2f}")


def once(argv, what, say):
    """Run it, and give the seconds that it took."""
    say(f"backup: {what}")
    began_s = os.times().elapsed
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemFailed(f"{what}: {done.stderr.strip()[-300:]}")
    return os.times().elapsed - began_s


def measure(system, mebi, options, say):
    """Fill, read under load, write back; print what was seen."""
    wait(lambda: is_whole(system), "the cluster is at rest")
    path = options.scratch / "backup"
    calm = Calm(system, 0, say)
    near = system.ports[calm.entry]
    try:
        with calm.act(f"{mebi} MiB are written"):
            calm.fill(mebi * MEBI // VALUE_BYTES, values)
        pairs, rates = [], []
        for number in range(ROUNDS):
            say(f"backup: round {number + 1}, without")
            alone = load(options.load, system, options.measure_ms)
            say(f"backup: round {number + 1}, with")
            backups = Backups(options.fanfare, near)
            try:
                pairs.append((alone, load(options.load, system, options.measure_ms)))
            finally:
                backups.stop()
            rates += backups.rates
        with calm.act("a backup goes into a file"):
            took_s = once([options.fanfare, "backup", "--from", f"127.0.0.1:{near}", "--to", str(path)], "backup", say)
        size = path.stat().st_size
        client = Client(near)
        with calm.act("the cluster is emptied"):
            client.line("FLUSHALL")
            calm.wait_removed(8 << 20)
        with calm.act("the file is restored"):
            back_s = once([options.fanfare, "restore", str(path), "--to", f"127.0.0.1:{near}", "--replace"], "restore", say)
    finally:
        say("")
        print_rows(calm)
    path.unlink()
    print(f"backup under load {statistics.median(rates):.0f} MB/s ({len(rates)} whole ones)" if rates else
          "no backup under load was whole in the time")
    print(f"backup {size / 1e6:,.0f} MB in {took_s:.1f} s, {size / 1e6 / took_s:.0f} MB/s; "
          f"restore in {back_s:.1f} s, {size / 1e6 / back_s:.0f} MB/s")
    print_pairs(pairs)
