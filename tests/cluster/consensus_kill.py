#!/usr/bin/env python3
"""Three real consensus processes under load are killed with SIGKILL and paused, over and over; in the end all must hold
the same state, and every acknowledged command must be in it.

usage: consensus_kill.py NODE_PROGRAM [--seconds N] [--seed N] [--groups N]"""
import argparse
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

NODES = 3


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Node:
    def __init__(self, args, work, number, peers):
        self.args, self.work, self.number, self.peers = args, work, number, peers
        self.process = None
        self.life = 0
        self.is_created = False

    def start(self, outstanding):
        self.life += 1
        self.out_path = f"{self.work}/n{self.number}.{self.life}.out"
        command = [self.args.program, "-n", f"n{self.number}", "-d", f"{self.work}/d{self.number}", "-p", self.peers,
                   "-g", str(self.args.groups), "-k", str(outstanding), "-r", "100", "-e", "500", "-h", "50",
                   "-l", str(256 << 10), "-s", "300000"]
        if not self.is_created:
            command.append("-c")
        with open(self.out_path, "w") as out, open(f"{self.work}/n{self.number}.{self.life}.err", "w") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    def kill(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, f"n{self.number} did not stop cleanly: {self.tail()}"
        self.process = None

    def tail(self):
        with open(self.out_path.replace(".out", ".err")) as f:
            return f.read()[-2000:]

    def output(self):
        with open(self.out_path) as f:
            return f.read()


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def acked(nodes, work):
    """Origin -> commands that were acknowledged to it, as far as it could still say so."""
    result = {}
    for node in nodes:
        for life in range(1, node.life + 1):
            with open(f"{work}/n{node.number}.{life}.out") as f:
                text = f.read()
            origin = re.search(r"origin=([0-9a-f]+)", text)
            totals = re.findall(r"acked_total=(\d+)", text)
            if origin and totals:
                result[origin.group(1)] = int(totals[-1])
    return result


def states(node):
    found = {}
    for group, applied, count, state_hash, origins in re.findall(
            r"state group=(\d+) applied=(\d+) count=(\d+) hash=([0-9a-f]+) origins=(\S*)", node.output()):
        found[int(group)] = (int(count), state_hash, dict(o.split(":") for o in origins.split(",") if o))
    return found


def last_applied(node):
    found = re.findall(r"applied=(\d+) acked", node.output())
    return found[-1] if found else None


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
            node.start(args.outstanding)
        else:
            node.process.send_signal(signal.SIGSTOP)
            pauses += 1
            time.sleep(rng.uniform(0, 1.5))
            node.process.send_signal(signal.SIGCONT)
        for other in nodes:
            assert other.process.poll() is None, f"n{other.number} died by itself: {other.tail()}"
    return kills, pauses


def run(args, work, nodes):
    rng = random.Random(args.seed)
    ports = free_ports(NODES)
    peers = ",".join(f"n{i + 1}=127.0.0.1:{ports[i]}" for i in range(NODES))
    nodes += [Node(args, work, i + 1, peers) for i in range(NODES)]
    for node in nodes:
        node.start(args.outstanding)
    for node in nodes:
        wait_until(lambda n=node: "ready" in n.output(), 20, f"n{node.number} is not ready: {node.tail()}")
        node.is_created = True
    wait_until(lambda: sum(acked(nodes, work).values()) > 1000, 30, "no command is acknowledged")
    kills, pauses = storm(nodes, args, rng)
    before = sum(acked(nodes, work).values())
    wait_until(lambda: sum(acked(nodes, work).values()) > before + 1000, 30, "no progress after the storm")
    for node in nodes:
        node.kill()
    for node in nodes: # without load, so that all catch up with all
        node.start(0)
    wait_until(lambda: len(set(re.findall(r"group=(\d+) leads=1", "".join(n.output() for n in nodes)))) == args.groups,
               30, "a group has no leader")
    wait_until(lambda: len({last_applied(n) for n in nodes}) == 1 and last_applied(nodes[0]) is not None, 30,
               "the nodes do not catch up with each other")
    for node in nodes:
        node.stop()
    return check(nodes, work, args, kills, pauses)


def check(nodes, work, args, kills, pauses):
    held = [states(node) for node in nodes]
    for group in range(1, args.groups + 1):
        seen = {(h[group][0], h[group][1]) for h in held}
        assert len(seen) == 1, f"group {group} differs: {[h[group][:2] for h in held]}"
    applied = {}
    for group in held[0].values():
        for origin, count in group[2].items():
            applied[origin] = applied.get(origin, 0) + int(count)
    answered = acked(nodes, work)
    for origin, count in answered.items():
        assert applied.get(origin, 0) >= count, f"{origin}: {count} acknowledged, {applied.get(origin, 0)} applied"
    print(f"seed {args.seed}: {kills} kills, {pauses} pauses, {sum(answered.values())} acknowledged, "
          f"{sum(applied.values())} applied, the same on all")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--outstanding", type=int, default=32)
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
