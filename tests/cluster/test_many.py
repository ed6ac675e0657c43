"""Very many subscriptions: what they cost grows with their number and not with its square, and nobody else waits."""

import os
import threading
import time

import pytest

from lib.cluster_scene import channels_of_all, publish
from lib.prometheus import parse
from lib.resp import encode
from lib.wait import SCALE, wait_until

SANITIZED = os.environ.get("TEST_SANITIZED") == "1"
FEW = 2000 if SANITIZED else 5000
TURN_S = 0.5 * SCALE
"""On a machine of two cores with much else to do a turn may take this long by the clock; those that grew with the
number of things took many seconds."""


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
    cluster = start_cluster()
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
