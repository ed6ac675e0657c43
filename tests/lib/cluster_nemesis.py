"""cluster_nemesis: does to a cluster what happens to clusters, one thing after another, chosen by a seed.

Each act is a row of ACTS: what it does, whether it is planned (P8: nobody may notice), whether the connections of other
nodes' clients survive it. An act holds for a random time, is undone, and is over when the cluster has come to rest.
"""

import dataclasses
import random
import time
from typing import Callable

from .broker import now_ns
from .checker_history import Fault
from .cluster_service import wait_served

NODES_MAX = 5


@dataclasses.dataclass(frozen=True)
class Act:
    """One kind of fault. `run(nemesis, node)` does and undoes it; `fits(nemesis)`: can it be done now?"""

    run: Callable
    weight: int
    planned: bool = False
    spares: bool = False
    fits: Callable = lambda nemesis: True


class Nemesis:
    """Acts on a cluster. Everything random comes from the seed: the acts, their victims and times can be had again."""

    def __init__(self, cluster, seed, faults, say=print, acts=None, is_served=wait_served):
        self.cluster, self.faults, self.say = cluster, faults, say
        self.acts = acts or ACTS
        self.is_served = is_served  # waits until the cluster does again what it is there for
        self.rng = random.Random(f"{seed}/nemesis")
        self.added = 0
        self.network = cluster.world if hasattr(cluster.world, "cut") else None

    def run(self, seconds, only=None):
        """Act after act until the time is over; `only`: names of the acts to choose from. Returns how many of each."""
        counts = {}
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            name = self._choose(only)
            node = self.rng.choice(list(self.cluster))
            self.act(name, node)
            counts[name] = counts.get(name, 0) + 1
            time.sleep(self.rng.uniform(0, 1))
        return counts

    def _choose(self, only):
        names = [n for n, act in self.acts.items() if (not only or n in only) and act.fits(self)]
        return self.rng.choices(names, [self.acts[n].weight for n in names])[0]

    def act(self, name, node):
        """One act, to its end."""
        kind = self.acts[name]
        fault = Fault(name, node.name, now_ns(), planned=kind.planned, spares=kind.spares)
        self.faults.append(fault)
        begin_s = time.monotonic()
        self.say(f"{name} {node.name}")
        kind.run(self, node, fault)
        self.cluster.wait_settled()
        self.is_served(self.cluster)
        fault.end_ns = now_ns()
        self.say(f"{name} {node.name}: at rest after {time.monotonic() - begin_s:.1f} s")

    def hold(self, least_s, most_s):
        """Let it last for a random time."""
        time.sleep(self.rng.uniform(least_s, most_s))

    def other(self, node):
        """Another node, chosen at random."""
        return self.rng.choice([n for n in self.cluster if n is not node])


def _kill(nemesis, node, _fault):
    node.kill()
    nemesis.hold(0, 3)
    node.begin()


def _kill_at_once(_nemesis, node, _fault):
    """It is back before anybody has declared it down."""
    node.kill()
    node.begin()


def _lose_disk(nemesis, node, _fault):
    node.kill()
    node.wipe()
    nemesis.hold(0, 3)
    node.begin()


def _pause(nemesis, node, _fault):
    node.pause()
    nemesis.hold(0.05, 5)
    node.resume()


def _drain(nemesis, node, _fault):
    assert node.terminate() == 0, f"{node.name} did not end well:\n{node.log()[-3000:]}"
    nemesis.hold(0, 2)
    node.begin()


def _move(nemesis, node, _fault):
    assert node.terminate() == 0, f"{node.name} did not end well:\n{node.log()[-3000:]}"
    nemesis.cluster.world.move(node.name)
    node.begin()


def _kill_and_move(nemesis, node, _fault):
    """A pod that was killed and comes back elsewhere."""
    node.kill()
    nemesis.cluster.world.move(node.name)
    nemesis.hold(0, 2)
    node.begin()


def _join(nemesis, _node, fault):
    nemesis.added += 1
    newcomer = nemesis.cluster.add(f"added-{nemesis.added}")
    fault.node = newcomer.name
    newcomer.begin()


def _leave(nemesis, _node, fault):
    """One that was added leaves for good."""
    leaver = next(n for n in nemesis.cluster if n.name.startswith("added-"))
    fault.node = leaver.name
    assert leaver.terminate() == 0, f"{leaver.name} did not end well:\n{leaver.log()[-3000:]}"
    nemesis.cluster.forget(leaver)


def _kill_two(nemesis, node, _fault):
    """A minority of five at the same time."""
    second = nemesis.other(node)
    nemesis.faults.append(Fault("kill two", second.name, now_ns(), spares=True))
    node.kill()
    nemesis.hold(0, 1)
    second.kill()
    nemesis.hold(0, 2)
    for victim in (node, second):
        victim.begin()
    nemesis.cluster.wait_settled()
    nemesis.faults[-1].end_ns = now_ns()


def _kill_leader(nemesis, _node, fault):
    leader = nemesis.cluster.leader()
    fault.node = leader.name
    _kill(nemesis, leader, fault)


def _kill_joiner(nemesis, node, _fault):
    """It dies again while it is being given its share back."""
    node.kill()
    node.begin()
    nemesis.hold(0, 1.5)
    node.kill()
    node.begin()


def _partition(nemesis, node, _fault):
    """Nobody hears the node, and it hears nobody."""
    nemesis.network.isolate(node.name)
    nemesis.hold(0.2, 6)
    nemesis.network.heal()


def _deafen(nemesis, node, _fault):
    """It hears nobody; the others hear it."""
    nemesis.network.deafen(node.name)
    nemesis.hold(0.2, 6)
    nemesis.network.heal()


def _cut_pair(nemesis, node, _fault):
    """Two nodes do not hear each other; all others do."""
    nemesis.network.cut(node.name, nemesis.other(node).name)
    nemesis.hold(0.2, 6)
    nemesis.network.heal()


def _cut_one_way(nemesis, node, _fault):
    """One does not hear another."""
    nemesis.network.cut(node.name, nemesis.other(node).name, both_ways=False)
    nemesis.hold(0.2, 6)
    nemesis.network.heal()


def _cut_groups(nemesis, _node, fault):
    """Groups of nodes do not hear each other for a moment; one such cut after another, each healed at once."""
    names = [n.name for n in nemesis.cluster]
    for _ in range(nemesis.rng.randint(1, 4)):
        group = nemesis.rng.sample(names, nemesis.rng.randint(1, len(names) - 1))
        fault.node = ",".join(sorted(group))
        nemesis.say(f"cut groups: {fault.node} from the others")
        nemesis.network.split(group)
        nemesis.hold(0.3, 3)
        nemesis.network.heal()
        nemesis.hold(0, 1.5)


def _lossy(nemesis, node, _fault):
    nemesis.network.degrade(node.name, delay_ms=nemesis.rng.uniform(0, 60), jitter_ms=nemesis.rng.uniform(0, 20),
                            loss=nemesis.rng.choice([0, 0.01, 0.1]))
    nemesis.hold(1, 6)
    nemesis.network.heal()


def _many(least):
    return lambda nemesis: len(nemesis.cluster) >= least


def _has_network(nemesis):
    return nemesis.network is not None and len(nemesis.cluster) >= 3


ACTS = {
    "kill": Act(_kill, 4, spares=True),
    "kill at once": Act(_kill_at_once, 2, spares=True),
    "kill leader": Act(_kill_leader, 3, spares=True, fits=_many(3)),
    "kill joiner": Act(_kill_joiner, 2, spares=True, fits=_many(3)),
    "kill two": Act(_kill_two, 2, spares=True, fits=_many(5)),
    "lose disk": Act(_lose_disk, 2, spares=True, fits=_many(3)),
    "pause": Act(_pause, 4, fits=_many(3)),
    "drain": Act(_drain, 4, planned=True),
    "move": Act(_move, 2, planned=True, fits=_many(3)),
    "kill and move": Act(_kill_and_move, 2, spares=True, fits=_many(3)),
    "join": Act(_join, 3, planned=True, fits=lambda n: 3 <= len(n.cluster) < NODES_MAX),
    "leave": Act(_leave, 3, planned=True, fits=lambda n: any(m.name.startswith("added-") for m in n.cluster)),
    "partition": Act(_partition, 4, fits=_has_network),
    "deafen": Act(_deafen, 2, fits=_has_network),
    "cut pair": Act(_cut_pair, 3, fits=_has_network),
    "cut one way": Act(_cut_one_way, 3, fits=_has_network),
    "cut groups": Act(_cut_groups, 6, fits=_has_network),
    "lossy": Act(_lossy, 3, fits=_has_network),
}
