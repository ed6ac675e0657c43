"""What operators see of keys in a cluster: every replica and every key is counted, and whose leader is missed."""

import pytest

from lib import prometheus
from lib.cluster_scene import BOUND_S
from lib.wait import wait_until

PATIENCE_S = 6 * BOUND_S
KEYS = 50


@pytest.fixture
def cluster(start_cluster):
    """Three nodes that have replicas of all partitions, and some keys."""
    cluster = start_cluster(3, partitions=4)
    wait_until(lambda: all(value(node, "fanfare_replicas") == 4 for node in cluster), PATIENCE_S, "all replicas are there")
    with cluster[0].client() as client:
        client.calls([("SET", f"key:{i}", i) for i in range(KEYS)] + [("EXPIRE", "key:0", 1000)])
    return cluster


def value(node, name, **labels):
    """A metric of a node."""
    return prometheus.parse(node.page("/metrics", timeout_s=10).text).value(name, **labels)


def leaders(node):
    """CLUSTER PARTITIONS: who leads the keys of each partition, as far as the node knows."""
    rows = [line for line in node.ask("CLUSTER", "PARTITIONS").decode().splitlines() if line.startswith("partition ")]
    return [row.split(" leader=", 1)[1].split()[0] for row in rows]


def test_each_replica_is_counted_and_each_key_once(cluster):
    for node in cluster:
        wait_until(lambda: value(node, "redis_db_keys", db="db0") == KEYS, PATIENCE_S, "it has the keys")
        wait_until(lambda: value(node, "redis_db_keys_expiring", db="db0") == 1, PATIENCE_S, "it has the deadline")
        assert value(node, "fanfare_store_used_bytes") >= value(node, "fanfare_store_used_bytes_max") > 0
    wait_until(lambda: sum(value(node, "fanfare_keys_led") for node in cluster) == KEYS, PATIENCE_S, "one node leads them")
    assert sum(value(node, "fanfare_partition_leads") for node in cluster) == 4


def test_a_node_says_whose_leader_it_does_not_know(cluster):
    first, second, third = cluster
    wait_until(lambda: "-" not in leaders(third), PATIENCE_S, "all leaders are known")
    led = {name: leaders(third).count(name) for name in cluster.nodes}
    assert sum(led.values()) == 4 and value(third, "fanfare_partitions_unled") == 0
    first.kill()
    second.kill()  # nobody is left to be voted for
    wait_until(lambda: value(third, "fanfare_partitions_unled") >= led[first.name] + led[second.name], PATIENCE_S, "it misses them")
    first.begin()
    wait_until(lambda: value(third, "fanfare_partitions_unled") == 0, PATIENCE_S, "there are leaders again")
    assert set(leaders(third)) <= {first.name, third.name}


def test_keys_that_are_lost_with_their_last_disk_are_named(start_cluster):
    cluster = start_cluster(3, partitions=3, options={"replicas": 1, "cluster-timeout": 3000})
    victim, *others = cluster
    kept = [int(row.split()[1]) for row in victim.ask("CLUSTER", "PARTITIONS").decode().splitlines()
            if row.startswith("partition ") and f" replicas={victim.name}:" in row]
    assert kept and all(value(node, "fanfare_partitions_lost") == 0 for node in cluster)
    victim.kill()
    victim.wipe()
    victim.begin()
    for node in others:
        wait_until(lambda n=node: value(n, "fanfare_partitions_lost") == len(kept), PATIENCE_S, "it knows what is lost")
        wait_until(node.is_ready, PATIENCE_S, "clients are to come here")
        assert node.page("/readyz", timeout_s=10).text.startswith("ok, but keys of some partitions are lost")
        told = f"the_first={','.join(map(str, kept))}"
        wait_until(lambda n=node: any("keys are lost:" in line and told in line for line in n.log().splitlines()),
                   PATIENCE_S, "its log names them")
        with node.client(timeout_s=PATIENCE_S) as client:
            client.call("SELECT", kept[0])
            wait_until(lambda c=client: str(c.call("SET", "k", 1)).startswith("CLUSTERDOWN"), PATIENCE_S, "it is refused")
            client.call("SELECT", next(p for p in range(3) if p not in kept))
            wait_until(lambda c=client: c.call("SET", "k", 1) == "OK", PATIENCE_S, "the others are served")
