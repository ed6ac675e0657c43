"""How a cluster comes to be: in any order of starts there is one cluster, never two, and
who lost its disk comes back."""

import pytest

from lib.cluster_scene import cluster_id, members, one_cluster, publish
from lib.cluster import RAFT_PORT
from lib.resp import RespError
from lib.wait import wait_until

IMPATIENT = {"cluster-node-timeout": 500, "cluster-timeout": 1000}


def wait_for_word(node, text):
    """Until the node's log says so."""
    wait_until(lambda: text in node.log(), what=f"{node.name} logs {text!r}")


def has_started(node):
    """Does it answer on its own page, ready or not?"""
    return node.page("/livez") is not None


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2)])
def test_nodes_started_one_after_another_in_any_order_form_one_cluster(make_cluster, order):
    cluster = make_cluster(3)
    for number in order:
        assert not any(node.is_ready() for node in cluster), "ready before all were there"
        cluster[number].begin()
        wait_until(lambda n=number: has_started(cluster[n]))
    cluster.wait_settled()
    one_cluster(cluster)
    assert set(members(cluster[0])) == set(cluster.nodes)


def test_five_started_at_once_where_three_are_expected_form_one_cluster(make_cluster):
    cluster = make_cluster(5, expect=3)
    cluster.start()
    cluster.wait_settled()
    one_cluster(cluster)
    assert len(members(cluster[4])) == 5


def test_a_node_that_waits_for_others_says_so_and_refuses_commands_that_need_them(make_cluster):
    cluster = make_cluster(3, options=IMPATIENT)
    for node in (cluster[0], cluster[1]):
        node.begin()
    for node in (cluster[0], cluster[1]):
        wait_until(lambda n=node: has_started(n))
        assert str(publish(node, "c")).startswith("CLUSTERDOWN"), "after cluster-timeout"
        response = node.page("/readyz")
        assert response.status == 503 and "cluster" in response.text, response
        assert isinstance(node.ask("SUBSCRIBE", "c"), RespError)
        assert node.ask("PING") == "PONG"
    cluster[2].begin()
    cluster.wait_settled()
    assert publish(cluster[0], "c") == 0
    one_cluster(cluster)


def test_a_node_that_comes_later_joins_and_gets_its_share(make_cluster):
    cluster = make_cluster(3, expect=2)
    for node in (cluster[0], cluster[1]):
        node.begin()
    cluster.wait_settled()
    before = one_cluster(cluster)
    cluster[2].begin()
    cluster.wait_settled()
    assert one_cluster(cluster) == before
    assert int(members(cluster[0])["fanfare-2"]["partitions"]) >= 5


def test_the_first_node_with_an_empty_disk_comes_back_to_the_running_cluster(start_cluster):
    cluster = start_cluster()
    before = one_cluster(cluster)
    first = cluster[0]
    first.kill()
    first.wipe()
    first.begin()
    cluster.wait_settled()
    assert one_cluster(cluster) == before
    assert set(members(cluster[1])) == set(cluster.nodes), "it replaced itself"


def test_the_first_node_with_an_empty_disk_founds_nothing_although_it_is_the_first_to_start(start_cluster):
    cluster = start_cluster(options=IMPATIENT)
    before = one_cluster(cluster)
    for node in cluster:
        node.kill()
    cluster[0].wipe()
    cluster[0].begin()
    wait_until(lambda: has_started(cluster[0]))
    assert str(publish(cluster[0], "c")).startswith("CLUSTERDOWN"), "after cluster-timeout"
    for node in (cluster[1], cluster[2]):
        node.begin()
    cluster.wait_settled()
    assert one_cluster(cluster) == before


def test_a_cluster_that_was_killed_as_a_whole_comes_back_as_itself(start_cluster):
    cluster = start_cluster()
    before = one_cluster(cluster)
    for node in cluster:
        node.kill()
    for node in cluster:
        node.begin()
    cluster.wait_settled()
    assert one_cluster(cluster) == before
    assert publish(cluster[2], "c") == 0


def test_a_second_node_of_the_same_name_is_kept_out_until_the_first_is_gone(start_cluster):
    cluster = start_cluster()
    original = cluster[1]
    twin = cluster.add("twin")
    twin.options["name"] = original.name
    twin.begin()
    wait_for_word(twin, "does not let this node join")
    assert not twin.is_ready() and original.is_ready()
    assert publish(cluster[0], "c") == 0
    original.kill()
    wait_until(twin.is_ready, what="the twin takes the dead one's place")
    assert len(members(cluster[0])) == 3
    original.begin()
    wait_for_word(original, "does not let this node join")
    assert not original.is_ready() and twin.is_ready()


def test_a_node_of_another_cluster_stays_out(start_cluster, make_cluster):
    one = start_cluster(1)
    other = make_cluster(1)
    stranger = other[0]
    other.start()
    theirs = cluster_id(stranger)
    assert stranger.terminate() == 0
    stranger.options |= {"name": "stranger", "join": f"{one[0].bind_host}:{RAFT_PORT}"}
    stranger.begin()
    wait_for_word(stranger, "a node of another cluster answers")
    wait_until(stranger.is_ready)
    assert cluster_id(stranger) == theirs != one_cluster(one)
    assert set(members(one[0])) == {"fanfare-0"}
