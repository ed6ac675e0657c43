"""Nodes that do not hear each other. The majority goes on, the minority refuses, and when all hear each other again the
cluster is one and nobody was lied to."""

import pytest

from lib.cluster_scene import (BOUND_S, REFUSALS, is_open, listen, members, one_cluster, publish, under_load)
from lib.resp import RespError
from lib.wait import wait_until


QUICK = {"cluster-node-timeout": 1000, "cluster-timeout": 2500}
"""For tests that wait until both are over."""


@pytest.fixture
def cluster(start_cluster, network):
    """Three nodes in a network that can be cut."""
    return start_cluster(world=network, options=QUICK)


def refuses(node):
    """Does it answer a publish with CLUSTERDOWN or, while it may still be waiting, INDOUBT?"""
    answer = publish(node, "c")
    assert not isinstance(answer, RespError) or str(answer).startswith(REFUSALS), answer
    return isinstance(answer, RespError)


@pytest.mark.parametrize("how, is_leader", [("isolate", True), ("deafen", True), ("isolate", False)],
                         ids=["the control leader", "the control leader one way", "another"])
def test_a_node_that_is_cut_off_is_replaced_and_refuses_until_it_is_back(cluster, network, how, is_leader):
    leader = cluster.leader()
    victim = leader if is_leader else next(n for n in cluster if n is not leader)
    one, other = (n for n in cluster if n is not victim)
    channel = cluster.channel_of(victim, "cut")
    with under_load(cluster) as scene, scene.fault(how, victim):
        getattr(network, how)(victim.name)
        scene.wait_published(one, channel, 2 * BOUND_S)
        scene.wait_published(other, channel, 2 * BOUND_S)
        wait_until(lambda: not victim.is_ready(), what="the node that is cut off knows")
        wait_until(lambda: isinstance(scene.publish(victim, channel), RespError), what="it refuses")
        network.heal()
    assert publish(victim, channel) == 0


@pytest.mark.parametrize("both_ways", [True, False], ids=["each other", "one the other"])
def test_two_that_do_not_hear_each_other_while_the_third_hears_both(cluster, network, both_ways):
    one, other, third = cluster
    with under_load(cluster) as scene, scene.fault("cut", one):
        network.cut(one.name, other.name, both_ways=both_ways)
        scene.wait_published(third, cluster.channel_of(third, "third"), 2 * BOUND_S)
        for owner in ("one", "other"):
            scene.wait_published(third, owner, 4 * BOUND_S)
        network.heal()


def test_when_nobody_hears_anybody_all_refuse_and_when_all_do_again_it_works(cluster, network):
    before = one_cluster(cluster)
    listeners = [listen(node, "c") for node in cluster]
    network.split([cluster[0].name])
    network.cut(cluster[1].name, cluster[2].name)
    for node in cluster:
        wait_until(lambda n=node: refuses(n), what=f"{node.name} refuses")
        wait_until(lambda n=node: not n.is_ready(), what=f"{node.name} is not ready")
        assert node.ask("PING") == "PONG"
    network.heal()
    cluster.wait_settled()
    assert one_cluster(cluster) == before
    wait_until(lambda: [publish(node, "c") for node in cluster] == [sum(map(is_open, listeners))] * 3,
               what="who still has his connection is counted")


def test_a_majority_that_was_split_off_is_the_cluster(start_cluster, network):
    cluster = start_cluster(5, world=network, options=QUICK)
    few, many = list(cluster)[:2], list(cluster)[2:]
    channel = cluster.channel_of(few[0], "split")
    with under_load(cluster) as scene, scene.fault("split", few[0]), scene.fault("split", few[1]):
        network.split([node.name for node in few])
        for node in many:
            scene.wait_published(node, channel, 2 * BOUND_S)
        for node in few:
            wait_until(lambda n=node: isinstance(scene.publish(n, channel), RespError), what=f"{node.name} refuses")
        network.heal()


def test_a_lossy_slow_network_is_no_reason_to_lose_anything(cluster, network):
    with under_load(cluster) as scene, scene.fault("lossy", cluster[1]):
        network.degrade(cluster[1].name, delay_ms=20, jitter_ms=5, loss=0.01, seed=1)
        scene.wait_for_publishes(300)
        network.heal()
    assert all(row["state"] == "up" for row in members(cluster[0]).values())
