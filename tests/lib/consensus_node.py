"""consensus_node: processes of bench/consensus/node.c, for tests that kill, pause or starve them."""

import re
import signal
import subprocess

from .ports import free_ports
from .wait import wait_until

STOP_DEADLINE_S = 60


def peers(count, host="127.0.0.1"):
    """The -p argument for nodes n1, n2 ... on free ports."""
    return ",".join(f"n{i + 1}={host}:{port}" for i, port in enumerate(free_ports(count)))


class Node:
    """One node over all its lives; each life has its own output."""

    def __init__(self, program, work, number, peer_list, options, data=None):
        """Its output goes to `work`, its data to a folder in `data`, by default in `work`."""
        self.program, self.work, self.number = program, work, number
        self.options = ["-p", peer_list, *options]
        self.directory = f"{data or work}/d{number}"
        self.process = None
        self.life = 0
        self.is_created = False

    def start(self, *options):
        """Start it; its groups are created as long as `is_created` is not set."""
        self.life += 1
        command = [self.program, "-n", f"n{self.number}", "-d", self.directory, *self.options, *options]
        if not self.is_created:
            command.append("-c")
        with open(self._path("out"), "w", encoding="ascii") as out, open(self._path("err"), "w", encoding="ascii") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def _path(self, kind, life=None):
        return f"{self.work}/n{self.number}.{life or self.life}.{kind}"

    def kill(self):
        """SIGKILL, paused or not."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        """SIGTERM; it must end well."""
        self.process.terminate()
        assert self.process.wait(timeout=STOP_DEADLINE_S) == 0, f"n{self.number} did not stop cleanly: {self.log()[-2000:]}"
        self.process = None

    def check_alive(self):
        """Fail if it has died by itself."""
        assert self.process.poll() is None, f"n{self.number} died by itself: {self.log()[-2000:]}"

    def log(self):
        """What this life has logged."""
        with open(self._path("err"), encoding="ascii") as file:
            return file.read()

    def output(self, life=None):
        """What this life, or an earlier one, has printed."""
        with open(self._path("out", life), encoding="ascii") as file:
            return file.read()

    def figure(self, name):
        """The newest value of a figure in this life; None before the first."""
        found = re.findall(rf"^figures .*\b{name}=(\d+)", self.output(), re.M)
        return int(found[-1]) if found else None

    def states(self):
        """Group -> (commands, hash of all of them, commands by origin), once it has stopped."""
        found = {}
        for group, count, state_hash, origins in re.findall(
                r"state group=(\d+) applied=\d+ count=(\d+) hash=([0-9a-f]+) origins=(\S*)", self.output()):
            found[int(group)] = (int(count), state_hash, dict(o.split(":") for o in origins.split(",") if o))
        return found


def settle(nodes, group_count, deadline_s):
    """Kill all, start them without load, wait until each group is led and all hold the same, stop them."""
    for node in nodes:
        node.kill()
    for node in nodes:
        node.start("-k", "0")

    def is_led():
        led = re.findall(r"group=(\d+) leads=1", "".join(n.output() for n in nodes))
        return len(set(led)) == group_count

    def is_same():
        return all(n.figure("behind") == 0 for n in nodes) and len({n.figure("position") for n in nodes}) == 1

    wait_until(is_led, deadline_s, "each group has a leader")
    wait_until(is_same, deadline_s, "the nodes have caught up with each other")
    for node in nodes:
        node.stop()


def acknowledged(nodes):
    """Origin, a life of a node -> commands that were acknowledged to it, as far as it could still say so."""
    result = {}
    for node in nodes:
        for life in range(1, node.life + 1):
            text = node.output(life)
            origin = re.search(r"origin=([0-9a-f]+)", text)
            totals = re.findall(r"acked_total=(\d+)", text)
            if origin and totals:
                result[origin.group(1)] = int(totals[-1])
    return result


def check_states(nodes):
    """All stopped nodes hold the same, and every acknowledged command; returns how many were acknowledged and applied."""
    held = [node.states() for node in nodes]
    for group in held[0]:
        assert len({(h[group][0], h[group][1]) for h in held}) == 1, f"group {group} differs: {[h[group][:2] for h in held]}"
    applied = {}
    for group in held[0].values():
        for origin, count in group[2].items():
            applied[origin] = applied.get(origin, 0) + int(count)
    answered = acknowledged(nodes)
    for origin, count in answered.items():
        assert applied.get(origin, 0) >= count, f"{origin}: {count} acknowledged, {applied.get(origin, 0)} applied"
    return sum(answered.values()), sum(applied.values())
