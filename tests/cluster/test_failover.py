"""kill -9: publishing works again soon, connections elsewhere live on, and nothing is lost, repeated or
told wrongly."""

import pytest

from lib.cluster_scene import (BOUND_S, REFUSALS, epochs, heard, is_open, listen, one_cluster, publish, under_load,
                               wait_published)
from lib.resp import RespError
from lib.wait import wait_until


@pytest.mark.parametrize("is_leader", [True, False], ids=["the control leader", "another owner"])
def test_after_a_kill_under_load_others_publish_and_hear_again_soon(start_cluster, is_leader):
    cluster = start_cluster()
    leader = cluster.leader()
    victim = leader if is_leader else next(n for n in cluster if n is not leader)
    one, other = (n for n in cluster if n is not victim)
    channel = cluster.channel_of(victim, "failover")
    with under_load(cluster) as scene, scene.fault("kill", victim, spares=True):
        victim.kill()
        scene.wait_published(other, channel)
        scene.wait_published(one, channel)
        scene.wait_for_publishes()
        victim.begin()


def test_publishes_in_flight_at_a_kill_are_answered_with_a_count_or_with_doubt(start_cluster):
    """A pipeline that never pauses, to the owner that dies; what was answered with a count has arrived, once."""
    cluster = start_cluster()
    victim, here, there = cluster
    channel = cluster.channel_of(victim, "flight")
    listener = listen(there, channel)
    with here.client(timeout_s=4 * BOUND_S) as publisher:
        answers, sent = [], 0
        while len(answers) < 20000:
            batch = range(sent, sent + 500)
            sent += 500
            publisher.send_raw(b"".join(b"PUBLISH %s %d\r\n" % (channel.encode(), n) for n in batch))
            if sent == 5000:
                victim.kill()
            answers += [publisher.recv() for _ in batch]
    counted = [n for n, answer in enumerate(answers) if answer == 1]
    refused = {str(answer).split(" ", 1)[0] for answer in answers if isinstance(answer, RespError)}
    assert refused <= set(REFUSALS) and all(isinstance(a, RespError) or a == 1 for a in answers)
    assert counted and counted[-1] == len(answers) - 1, "it works in the end"
    got = []
    while not got or got[-1] != len(answers) - 1:
        got += map(int, heard(listener, 1))
    assert got == sorted(set(got)), "in order, none twice"
    assert set(counted) <= set(got)
    down = {n for n, answer in enumerate(answers) if str(answer).startswith("CLUSTERDOWN")}
    assert not down & set(got)


@pytest.mark.parametrize("kind", ["SUBSCRIBE", "SSUBSCRIBE", "PSUBSCRIBE"])
def test_what_a_dead_owner_ordered_before_a_subscription_is_not_shown_to_it(start_cluster, kind):
    """The other node that heard it still has it, for those whom the owner may have owed it."""
    cluster = start_cluster()
    victim, here, there = cluster
    channel = cluster.channel_of(victim, "before")
    command = "SPUBLISH" if kind == "SSUBSCRIBE" else "PUBLISH"

    def publish_one(node, name, payload="new"):
        with node.client(timeout_s=4 * BOUND_S) as client:
            return client.call(command, name, payload)

    with listen(here, channel, kind=kind) as early:
        assert publish_one(here, channel, "old") == 1
        assert heard(early, 1) == [b"old"]
        with listen(there, channel, kind=kind) as late:
            victim.kill()
            assert wait_published(there, channel, publish_one=publish_one) == 2
            assert heard(early, 1) == [b"new"]
            assert heard(late, 1) == [b"new"]


def test_an_owner_that_is_back_before_it_is_missed_orders_again(start_cluster):
    cluster = start_cluster()
    victim, here, _ = cluster
    channel = cluster.channel_of(victim, "back")
    with under_load(cluster) as scene, scene.fault("kill at once", victim, spares=True):
        victim.kill()
        victim.begin()
        scene.wait_published(here, channel)


def test_a_node_that_lost_its_disk_under_load_comes_back(start_cluster):
    cluster = start_cluster()
    before = one_cluster(cluster)
    with under_load(cluster) as scene, scene.fault("lose disk", cluster[0], spares=True):
        cluster[0].kill()
        cluster[0].wipe()
        cluster[0].begin()
    assert one_cluster(cluster) == before


def test_two_of_five_die_and_the_rest_goes_on(start_cluster):
    cluster = start_cluster(5)
    first, second, *rest = cluster
    channels = [cluster.channel_of(node, "two") for node in (first, second)]
    with under_load(cluster) as scene, scene.fault("kill", first, spares=True), \
            scene.fault("kill", second, spares=True):
        first.kill()
        second.kill()
        for channel in channels:
            scene.wait_published(rest[1], channel, 2 * BOUND_S)
        first.begin()
        second.begin()


def test_every_move_of_a_partition_has_a_new_epoch(start_cluster):
    cluster = start_cluster()
    before = epochs(cluster[0])
    victim, one, other = cluster
    victim.kill()
    wait_until(lambda: "fanfare-0" not in {owner for owner, _ in epochs(one).values()}, BOUND_S, "others own all")
    cluster.wait_settled()
    after = epochs(one)
    assert after == epochs(other)
    for partition, (owner, epoch) in after.items():
        old_owner, old_epoch = before[partition]
        assert epoch > old_epoch if owner != old_owner else epoch >= old_epoch
    victim.begin()
    cluster.wait_settled()


def test_without_a_majority_publishes_are_refused_until_there_is_one_again(start_cluster):
    cluster = start_cluster(options={"cluster-node-timeout": 500, "cluster-timeout": 1000})
    left = cluster[2]
    listener = listen(left, "alone")
    cluster[0].kill()
    cluster[1].kill()
    with left.client(timeout_s=4 * BOUND_S) as client:
        def refuses_all():
            answers = client.calls(("PUBLISH", f"c{number}", "m") for number in range(64))
            assert all(a == 0 or str(a).startswith(REFUSALS) for a in answers), answers
            return all(isinstance(a, RespError) for a in answers)
        wait_until(refuses_all, what="it refuses what it cannot know to be the owner of")
    wait_until(lambda: not left.is_ready(), what="it is not ready")
    forget = left.ask("CLUSTER", "FORGET", "fanfare-0")
    assert isinstance(forget, RespError) or forget is None, f"FORGET without a majority: {forget!r}"
    assert left.ask("PING") == "PONG"
    cluster[0].begin()
    cluster.wait_settled()
    wait_published(left, "c", 4 * BOUND_S)
    assert not is_open(listener) or publish(cluster[0], "alone") == 1
    cluster[1].begin()
    cluster.wait_settled()
