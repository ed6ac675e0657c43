"""cluster_scene: what the scenario tests of a cluster say again and again: who listens, what arrives, what a publish
answers, and a load with its judge around a fault."""

import contextlib
import pathlib
import random
import re
import tempfile
import time

from . import starved
from .broker import now_ns
from .checker import violations
from .checker_history import CLUSTERDOWN, INDOUBT, Fault, Publish
from .cluster import CLIENT_PORT, NODE_TIMEOUT_MS
from .cluster_load import Load, Plan, outcome_of
from .resp import Push, RespError
from .wait import SCALE, wait_until

BOUND_S = 5 * NODE_TIMEOUT_MS / 1000
"""Publishing works again so long after a crash, at the latest: 5 s where a node is down after 1 s of silence."""

LIGHT = Plan(publishers=5, visitors=5, pause_s=0.02 * SCALE)

REFUSALS = (INDOUBT, CLUSTERDOWN)


# ---- clients ----

def listen(node, *names, kind="SUBSCRIBE"):
    """A RESP3 client of this node that has these subscriptions confirmed."""
    client = node.client(3)
    client.send(kind, *names)
    for confirmation in client.recv_many(len(names)):
        assert isinstance(confirmation, Push), f"{kind} on {node.name}: {confirmation!r}"
        assert confirmation[0] == kind.lower().encode(), confirmation
    return client


def heard(client, count):
    """The payloads of the next `count` messages of a RESP3 client, which came as pushes."""
    messages = client.pushes[:count]
    del client.pushes[:count]
    messages += client.recv_many(count - len(messages))
    assert all(isinstance(m, Push) and m[0].endswith(b"message") for m in messages), messages
    return [m[-1] for m in messages]


def is_open(client):
    """Does a RESP3 client still have its connection?"""
    try:
        return client.call("PING") == "PONG"
    except OSError:
        return False


def publish(node, channel, payload=b"x"):
    """The answer of one PUBLISH on a connection of its own that nothing hurries."""
    with node.client(timeout_s=BOUND_S * 4) as client:
        return client.call("PUBLISH", channel, payload)


def wait_published(node, channel, deadline_s=BOUND_S, publish_one=publish):
    """Publish on this node until it is answered with a count, and return that. Another error fails, so does more time
    than `deadline_s` from now on."""
    begin_s = time.monotonic()
    while True:
        answer = publish_one(node, channel)
        took_s = time.monotonic() - begin_s
        if not isinstance(answer, RespError):
            assert took_s <= deadline_s, f"PUBLISH on {node.name} worked after {took_s:.1f} s only"
            return answer
        assert str(answer).startswith(REFUSALS), f"PUBLISH on {node.name}: {answer}"
        assert took_s <= deadline_s, f"PUBLISH on {node.name} fails after {took_s:.1f} s: {answer}"


# ---- what nodes say ----

def info(node):
    """INFO CLUSTER of a node as a dict; empty without an answer."""
    raw = node.ask("INFO", "cluster")
    if not isinstance(raw, bytes):
        return {}
    return dict(line.split(":", 1) for line in raw.decode().split("\r\n") if ":" in line)


def cluster_id(node):
    """The id of the cluster that a node belongs to; None without one."""
    found = info(node).get("fanfare_cluster_id")
    return found if found and int(found, 16) else None


def members(node):
    """CLUSTER PARTITIONS' members: {name: {word: value}}."""
    rows = {}
    for line in node.ask("CLUSTER", "PARTITIONS").decode().splitlines():
        if line.startswith("node "):
            _, name, *words = line.split()
            rows[name] = dict(word.split("=", 1) for word in words if "=" in word)
    return rows


def epochs(node):
    """CLUSTER PARTITIONS' partitions: {number: (owner, epoch)}."""
    text = node.ask("CLUSTER", "PARTITIONS").decode()
    rows = re.findall(r"^partition (\d+) .*owner=(\S+) epoch=(\d+)", text, re.M)
    return {int(number): (owner, int(epoch)) for number, owner, epoch in rows}


def one_cluster(cluster):
    """All nodes that run belong to one cluster, which is returned."""
    ids = {cluster_id(node) for node in cluster.running()}
    assert len(ids) == 1 and None not in ids, f"the nodes are of clusters {ids}"
    return ids.pop()


def channels_of_all(cluster, prefix="c"):
    """One channel of each node, in the order of the nodes."""
    return [cluster.channel_of(node, prefix) for node in cluster]


# ---- load and judgement ----

class Scene:
    """A cluster under a load whose history is judged in the end."""

    def __init__(self, cluster, load):
        self.cluster, self.load = cluster, load

    @contextlib.contextmanager
    def fault(self, kind, node, *, planned=False, spares=False):
        """Around something that is done to a node; over when the cluster has come to rest."""
        name = node if isinstance(node, str) else node.name
        fault = Fault(kind, name, now_ns(), planned=planned, spares=spares)
        self.load.history.faults.append(fault)
        yield fault
        self.cluster.wait_settled()
        fault.end_ns = now_ns()

    def publish(self, node, channel):
        """One PUBLISH that the judge knows of."""
        number = next(self.load.ids)
        record = Publish(number, f"probe{number}", node.name, channel.encode(), False, now_ns())
        self.load.history.publishes.append(record)
        answer = publish(node, channel, b"%d|" % number)
        record.end_ns, record.outcome = now_ns(), outcome_of(answer)
        return answer

    def wait_published(self, node, channel, deadline_s=BOUND_S):
        """wait_published, and the judge knows of it."""
        return wait_published(node, channel, deadline_s, self.publish)

    def wait_for_publishes(self, count=100):
        """So many more."""
        goal = len(self.load.history.publishes) + count
        wait_until(lambda: len(self.load.history.publishes) >= goal, what=f"{count} publishes")


@contextlib.contextmanager
def under_load(cluster, plan=LIGHT, endpoints=None):
    """A Scene. When the test is done with it, the load ends and no promise must have been broken; what a failed one
    had is kept in a file that the message names."""
    seed = random.randrange(1 << 32)
    load = Load(endpoints or (lambda: {n.name: (n.bind_host, CLIENT_PORT) for n in cluster.running()}), seed, plan)
    scene = Scene(cluster, load.start())
    try:
        with starved.watch(cluster, load.history.faults):
            scene.wait_for_publishes()
            yield scene
            scene.wait_for_publishes()
    finally:
        history = load.stop()
    found = [str(v) for v in violations(history)] + [text for _, text in load.complaints]
    if found:
        kept = pathlib.Path(tempfile.mkdtemp(prefix="cluster-history-")) / "history"
        history.save(kept)
        raise AssertionError(f"seed {seed}, {len(found)} found, history: {kept}\n" + "\n".join(found[:10]))
