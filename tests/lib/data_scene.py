"""data_scene: a load on durable data with its judge, around whatever is done to a cluster; and what is done to one only
where data is at stake."""

import collections
import contextlib
import pathlib
import random
import tempfile

from . import starved
from .broker import now_ns
from .checker_history import Fault
from .cluster_nemesis import ACTS, Act
from .cluster_service import wait_served
from .data_checker import violations
from .data_load import DataLoad, DataPlan
from .data_service import wait_data_served
from .data_work import works_of
from .wait import SCALE, wait_until

SHOWN = 10
PAGE = 4096
DAMAGE_DEADLINE_S = 60 * SCALE


def endpoints_of(cluster):
    """Of those that run."""
    return lambda: {node.name: node.address for node in cluster.running()}


def wait_all_served(cluster):
    """Pub/sub and data."""
    wait_data_served(cluster)
    wait_served(cluster)


class DataScene:
    """A cluster under a load."""

    def __init__(self, cluster, load):
        self.cluster, self.load = cluster, load

    @contextlib.contextmanager
    def fault(self, kind, node="", *, planned=False, spares=False):
        """Around something that is done to a node, or to all; over when the cluster serves data again."""
        fault = Fault(kind, getattr(node, "name", node), now_ns(), planned=planned, spares=spares)
        self.load.history.faults.append(fault)
        yield fault
        self.cluster.wait_settled()
        wait_data_served(self.cluster)
        fault.end_ns = now_ns()

    def wait_for_ops(self, count=300):
        """So many more."""
        self.load.wait_for_ops(count)


@contextlib.contextmanager
def under_data_load(cluster, plan=None, endpoints=None):
    """A DataScene. When the test is done with it, the load ends and no promise must have been broken; what a failed one
    had is kept in a file that the message names."""
    seed = random.randrange(1 << 32)
    plan = plan or DataPlan()
    load = DataLoad(endpoints or endpoints_of(cluster), seed, plan, works_of(plan))
    scene = DataScene(cluster, load.start())
    try:
        with starved.watch(cluster, load.history.faults):
            scene.wait_for_ops()
            yield scene
            scene.wait_for_ops()
    finally:
        history = load.stop()
    found = [str(v) for v in violations(history)] + [text for _, text in load.complaints]
    if found:
        kept = pathlib.Path(tempfile.mkdtemp(prefix="data-history-")) / "history"
        history.save(kept)
        raise AssertionError(f"seed {seed}, {len(found)} found, history: {kept}\n" + "\n".join(found[:SHOWN]))


# ---- acts ----

def _kill_all(nemesis, _node, fault):
    """Every node, as near to at once as can be."""
    fault.node = "all"
    for node in nemesis.cluster:
        node.process.kill()
    for node in nemesis.cluster:
        node.kill()
    for node in nemesis.cluster:
        node.begin()


def _kill_twice(nemesis, node, fault):
    """One after the other, the second as soon as the first runs again: what the first had missed is hardly there."""
    second = nemesis.other(node)
    fault.node = f"{node.name},{second.name}"
    node.kill()
    nemesis.hold(0, 2)
    node.begin()
    nemesis.hold(0, 0.5)
    second.kill()
    second.begin()


def _cut_all(nemesis, _node, fault):
    """The power of all."""
    fault.node = "all"
    for node in nemesis.cluster:
        node.process.kill()
    for node in nemesis.cluster:
        node.kill()
        lost = node.watch.cut(nemesis.rng)
        nemesis.say(f"{node.name} lost of {collections.Counter(lost.values())}")
    for node in nemesis.cluster:
        node.begin()


def _cut_one(nemesis, node, _fault):
    node.kill()
    node.watch.cut(nemesis.rng)
    nemesis.hold(0, 2)
    node.begin()


def _damage(nemesis, node, _fault):
    """Some bits of what a node has on its disk are not what they were. It says so, and goes on without them or ends; then
    its operator gives it an empty disk."""
    node.kill()
    paths = sorted(p for p in node.data.rglob("*") if p.is_file() and any(p.read_bytes()[:PAGE]))
    if nemesis.rng.random() < 0.5:
        paths = [path for path in paths if path.parent.name == "raft"] or paths
    path = nemesis.rng.choice(paths)
    data = bytearray(path.read_bytes())
    places = [at for at in range(0, len(data), PAGE) if any(data[at:at + PAGE])]
    for _ in range(nemesis.rng.randint(1, 3)):
        at = nemesis.rng.choice(places) + nemesis.rng.randrange(PAGE)
        data[min(at, len(data) - 1)] ^= 1 << nemesis.rng.randrange(8)
    path.write_bytes(data)
    nemesis.say(f"{path.relative_to(node.data)} is damaged")
    node.begin()
    wait_until(lambda: node.process.poll() is not None or node.is_ready(), DAMAGE_DEADLINE_S, f"{node.name} is ready or has ended")
    if node.process.poll() is not None:
        assert "damaged" in node.log() or str(path) in node.log(), f"{node.name} does not say why it ended:\n{node.log()[-3000:]}"
        node.expects_death = True
        node.wipe()
        node.begin()


def _has_power(nemesis):
    return all(hasattr(node, "watch") for node in nemesis.cluster)


DATA_ACTS = {
    **ACTS,
    "cut all": Act(_cut_all, 4, fits=_has_power),
    "cut one": Act(_cut_one, 3, spares=True, fits=_has_power),
    "damage": Act(_damage, 2, spares=True, fits=lambda nemesis: len(nemesis.cluster) >= 3),
    "kill all": Act(_kill_all, 3),
    "kill twice": Act(_kill_twice, 3, fits=lambda nemesis: len(nemesis.cluster) >= 3),
}
