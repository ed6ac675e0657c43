"""Very many subscriptions: what they cost grows with their number and not with its square, and nobody else waits."""

import os
import time

import pytest

from lib.cluster_scene import publish
from lib.prometheus import parse
from lib.resp import encode
from lib.wait import SCALE, wait_until

SANITIZED = os.environ.get("TEST_SANITIZED") == "1"
FEW = 2000 if SANITIZED else 5000
TURN_S = 2 * SCALE
"""On a machine of two cores with much else to do a turn of some milliseconds may take this long by the clock; those
that grew with the number of things took many times as long."""

PATIENT = {"cluster-node-timeout": 6000, "cluster-timeout": 60000}
"""Of nodes that are not to take a busy machine for a dead one."""


def cpu_s(cluster):
    """Processor time of all nodes so far."""
    total = 0
    for node in cluster:
        with open(f"/proc/{node.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def long_turns(node):
    """Turns of the workers' loops that took longer than TURN_S."""
    metrics = parse(node.page("/metrics", timeout_s=20).text)
    buckets = metrics.series("fanfare_loop_turn_seconds_bucket")
    within = max(v for labels, v in buckets.items() if float(dict(labels)["le"]) <= 2 * TURN_S)
    return max(buckets.values()) - within


def subscribe_in_one_command(node, kind, names):
    """A client that has been confirmed all of them, in their order."""
    client = node.client(3, timeout_s=60 * SCALE)
    client.send(kind, *names)
    for number, name in enumerate(names):
        assert client.recv() == [kind.lower().encode(), name.encode(), number + 1]
    return client


@pytest.mark.parametrize("kind", ["PSUBSCRIBE", "SUBSCRIBE"])
def test_four_times_as_many_in_one_command_cost_about_four_times_as_much(start_cluster, kind):
    cluster = start_cluster(options=PATIENT)
    cost, clients = [], []
    for count in (FEW, 4 * FEW):
        began_s = cpu_s(cluster)
        clients.append(subscribe_in_one_command(cluster[1], kind, [f"{count}:{n}:*" for n in range(count)]))
        cost.append(cpu_s(cluster) - began_s)
    assert publish(cluster[2], f"{FEW}:7:*") == 1
    began_s = cpu_s(cluster)
    for client in clients:
        client.close()
    wait_until(lambda: publish(cluster[2], f"{FEW}:{FEW - 1}:*") + publish(cluster[0], f"{4 * FEW}:0:*") == 0,
               what="they have left")
    wait_until(lambda: all(node.ask("PUBSUB", "NUMPAT") == 0 for node in cluster), what="all have")
    print(f"{kind} {FEW} and {4 * FEW}: {cost[0]:.2f} s and {cost[1]:.2f} s, to leave {cpu_s(cluster) - began_s:.2f} s")
    assert cost[1] < 8 * cost[0] + 0.5
    assert cpu_s(cluster) - began_s < 8 * cost[0] + 0.5
    assert [long_turns(node) for node in cluster] == [0, 0, 0]


CROWD, EACH = (150, 20) if SANITIZED else (1000, 100)


def arrive(cluster):
    """A crowd of clients, each with channels and patterns of its own, all at once; none is refused."""
    clients = [cluster[number % 3].client(3, timeout_s=60 * SCALE) for number in range(CROWD)]
    for number, client in enumerate(clients):
        client.send("SUBSCRIBE", *[f"crowd:{number}:{n}" for n in range(EACH)])
        client.send("PSUBSCRIBE", *[f"crowd:{number}:{n}*" for n in range(EACH)])
    for client in clients:
        assert all(isinstance(reply, list) for reply in client.recv_many(2 * EACH))
    return clients


def test_a_crowd_that_leaves_and_returns_at_once_is_served_and_counted_right(start_cluster):
    cluster = start_cluster(options=PATIENT)
    clients = arrive(cluster)
    for _ in range(2):
        for client in clients:
            client.close()
        clients = arrive(cluster)
    last = EACH - 1  # of the names, the only one whose digits begin no other pattern's
    for number in range(0, CROWD, 7):
        channel, publisher = f"crowd:{number}:{last}", cluster[(number + 1) % 3]
        patterns = sum(str(last).startswith(str(n)) for n in range(EACH))
        wait_until(lambda c=channel, p=publisher, n=patterns: publish(p, c) == 1 + n, what="those who left are gone")
        heard = clients[number].recv_many(1 + patterns)
        assert heard[0][:2] == [b"message", channel.encode()] and all(m[0] == b"pmessage" for m in heard[1:])
    assert [node.ask("PUBSUB", "NUMPAT") for node in cluster] == [CROWD * EACH] * 3
    for client in clients:
        client.close()
    wait_until(lambda: all(node.ask("PUBSUB", "NUMPAT") == 0 for node in cluster), 60 * SCALE, what="all are gone")
    wait_until(lambda: publish(cluster[0], f"crowd:0:{last}") == 0, what="of the channels, too")
    assert [long_turns(node) for node in cluster] == [0, 0, 0]
