"""How a cluster comes to be: in any order of starts there is one cluster, never two, and
who lost its disk comes back."""

import pytest

from lib.cluster_scene import cluster_id, members, one_cluster, publish
from lib.broker import run_cli
from lib.cluster import FORM_DEADLINE_S, RAFT_PORT
from lib.resp import RespError
from lib.wait import wait_until

EX_CONFIG = 78

LINES_MAX = 12
"""Of one kind, in the first quarter of a minute of a trouble that lasts."""

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


@pytest.mark.parametrize("option, value", [("partitions", 8), ("sharded-databases", "1 5")])
def test_a_node_that_would_divide_channels_or_keys_otherwise_stops_and_says_so(make_cluster, option, value):
    cluster = make_cluster(2, options={"sharded-databases": "1"})
    cluster.start()
    cluster.wait_settled()
    before = one_cluster(cluster)
    other = cluster.add(**{option: value})
    other.expects_death = True
    other.begin()
    assert other.wait_exit() == EX_CONFIG
    assert f"the option {option} is not the cluster's" in other.log()
    assert cluster_id(cluster[0]) == cluster_id(cluster[1]) == before


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


def test_nodes_that_could_found_two_clusters_found_none_and_say_why(make_cluster):
    """Three of the six that join names would be enough for one, and the other three for another."""
    cluster = make_cluster(6, expect=3)
    cluster.options["join"] = " ".join(f"{cluster.world.host(n)}:{RAFT_PORT}" for n in cluster.nodes)
    for node in list(cluster)[:3]:
        node.begin()
    for node in list(cluster)[:3]:
        wait_for_word(node, "expect is not more than half of join")
    assert not any(node.is_ready() for node in list(cluster)[:3])
    cluster.options["expect"] = 4
    for node in list(cluster)[:3]:
        node.kill()
    for node in list(cluster)[:4]:
        node.begin()
    cluster.wait_formed()
    one_cluster(cluster)


def recover(node):
    """Its operator gives the majority up: (exit status, what was said)."""
    result = run_cli("recover", "--force-new-cluster", str(node.data))
    return result.returncode, result.stdout + result.stderr


def test_the_last_disk_of_three_goes_on_as_a_new_cluster_that_the_others_join(start_cluster):
    cluster = start_cluster()
    before = one_cluster(cluster)
    last, *lost = cluster
    status, said = recover(last)
    assert status != 0, f"it runs: {said}"
    for node in cluster:
        node.kill()
    for node in lost:
        node.wipe()
    status, said = recover(last)
    assert status == 0 and "alone" in said, said
    assert recover(last)[0] == 1, "once is enough"
    last.begin()
    wait_until(last.is_ready, FORM_DEADLINE_S, "it is ready alone")
    for node in lost:
        node.begin()
    cluster.wait_settled()
    assert one_cluster(cluster) != before
    assert set(members(cluster[0])) == set(cluster.nodes)
    assert publish(cluster[1], "c") == 0


def test_what_goes_on_is_told_now_and_then_only(start_cluster):
    """Two of three lost their disks, which nobody can mend but an operator."""
    cluster = start_cluster()
    for node in list(cluster)[1:]:
        node.kill()
        node.wipe()
        node.begin()
    for node in list(cluster)[1:]:
        wait_for_word(node, "this node still has no cluster")
    for node in cluster:
        for line in ("raft link up", "a raft peer was refused", "carried garbage"):
            assert node.log().count(line) <= LINES_MAX, f"{node.name}: {line}"
