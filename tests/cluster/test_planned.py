"""What an operator does on purpose, under load: nobody notices but the clients of a node that leaves."""

from lib.cluster_scene import (heard, is_open, listen, members, one_cluster, publish, under_load)
from lib.resp import RespError
from lib.wait import wait_until


def drain(node):
    """SIGTERM, and a good end."""
    assert node.terminate() == 0, f"{node.name} did not end well:\n{node.log()[-3000:]}"


def test_a_rolling_restart_under_load_is_not_noticed(start_cluster):
    cluster = start_cluster()
    with under_load(cluster) as scene:
        for node in cluster:
            with scene.fault("drain", node, planned=True):
                drain(node)
                scene.wait_for_publishes()
                node.begin()


def test_a_drained_node_hands_everything_over_before_it_ends(start_cluster):
    cluster = start_cluster()
    leaving, here, there = cluster
    channel = cluster.channel_of(leaving, "drain")
    listener = listen(there, channel)
    own = listen(leaving, channel)
    with here.client() as publisher:
        leaving.begin_end()
        count = 0
        while leaving.is_running or count < 1000:
            assert publisher.call("PUBLISH", channel, count) in (1, 2)
            count += 1
    assert heard(listener, count) == [b"%d" % n for n in range(count)]
    assert is_open(listener) and not is_open(own)
    assert leaving.wait_exit() == 0


def test_nodes_join_under_load_take_their_share_and_leave_again(start_cluster):
    cluster = start_cluster()
    before = one_cluster(cluster)
    with under_load(cluster) as scene:
        newcomers = [cluster.add("added-1"), cluster.add("added-2")]
        for node in newcomers:
            with scene.fault("join", node, planned=True):
                node.begin()
        assert len(members(cluster[0])) == 5
        assert all(int(row["partitions"]) >= 3 for row in members(cluster[0]).values())
        for node in newcomers:
            with scene.fault("leave", node, planned=True):
                drain(node)
                cluster.forget(node)
    assert one_cluster(cluster) == before
    assert set(members(cluster[0])) == {"fanfare-0", "fanfare-1", "fanfare-2"}


def test_a_node_that_is_up_or_unknown_is_not_forgotten(start_cluster):
    cluster = start_cluster()
    for asked in cluster:
        for node in cluster:
            answer = asked.ask("CLUSTER", "FORGET", node.name)
            word = "myself" if node is asked else node.name
            assert isinstance(answer, RespError) and word in str(answer), answer
        answer = asked.ask("CLUSTER", "FORGET", "nobody")
        assert isinstance(answer, RespError) and "nknown node" in str(answer), answer
    assert set(members(cluster[0])) == set(cluster.nodes)
    assert publish(cluster[1], "c") == 0


def test_a_dead_node_is_forgotten_and_comes_back_as_a_new_member(start_cluster):
    cluster = start_cluster(4)
    dead = cluster[3]
    dead.kill()
    wait_until(lambda: members(cluster[0])["fanfare-3"]["state"] != "up", what="it is declared down")
    assert cluster[1].ask("CLUSTER", "FORGET", "fanfare-3") == "OK"
    wait_until(lambda: all("fanfare-3" not in members(n) for n in cluster.running()), what="all have forgotten it")
    dead.begin()
    cluster.wait_settled()
    assert len(members(cluster[0])) == 4


def test_a_cluster_that_shrinks_to_one_node_and_grows_again_stays_itself(start_cluster):
    cluster = start_cluster()
    before = one_cluster(cluster)
    removed = [cluster[2], cluster[1]]
    for node in removed:
        drain(node)
        assert publish(cluster[0], "c") == 0
        cluster.forget(node)
        cluster.wait_settled()
        assert publish(cluster[0], "c") == 0
    assert set(members(cluster[0])) == {"fanfare-0"}
    for _ in removed:
        cluster.add().begin()
        cluster.wait_settled()
    assert one_cluster(cluster) == before


def test_two_of_three_leave_at_once_and_the_third_goes_on_with_the_keys(start_cluster):
    cluster = start_cluster()
    stays, *leaving = cluster
    keys = [f"key-{n}" for n in range(64)]
    for key in keys:
        assert stays.ask("SET", key, key) == "OK"
    for node in leaving:
        node.begin_end()
    for node in leaving:
        assert node.wait_exit() == 0
        assert "left without a quorum" not in node.log()
    for node in leaving:
        cluster.forget(node)
    assert set(members(stays)) == {stays.name}
    for key in keys:
        assert stays.ask("GET", key) == key.encode()
        assert stays.ask("SET", key, "again") == "OK"


def test_a_node_whose_end_leaves_keys_without_a_quorum_says_so(start_cluster):
    cluster = start_cluster()
    stays, leaving, lost = cluster
    lost.kill()
    wait_until(lambda: members(stays)[lost.name]["state"] != "up", what="it is declared down")
    drain(leaving)
    assert "partitions are left without a quorum" in leaving.log()
