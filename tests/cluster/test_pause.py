"""Nodes that stop without dying: a process that does not run for a while, one that does not read. The others go on,
and it finds out what it has missed."""

import collections
import itertools
import threading
import time

import pytest

from lib.cluster import NODE_TIMEOUT_MS
from lib.cluster_scene import (BOUND_S, epochs, heard, is_open, listen, members, publish, under_load)
from lib.prometheus import parse
from lib.resp import Closed, encode
from lib.wait import wait_until

LINK_BYTES = 1 << 20


def is_declared_down(node, by):
    """Does another node's map say so?"""
    return members(by)[node.name]["state"] != "up"


def test_an_owner_that_is_paused_too_long_is_replaced_and_fits_in_again(start_cluster):
    cluster = start_cluster()
    leader = cluster.leader()
    for victim in (next(n for n in cluster if n is not leader), leader):
        one, other = (n for n in cluster if n is not victim)
        channel = cluster.channel_of(victim, "paused")
        with under_load(cluster) as scene, scene.fault("pause", victim):
            victim.pause()
            scene.wait_published(one, channel)
            scene.wait_published(other, channel)
            wait_until(lambda v=victim, o=one: is_declared_down(v, o), what="it is declared down")
            victim.resume()


def test_a_subscriber_on_a_paused_node_hears_all_or_is_closed(start_cluster):
    cluster = start_cluster()
    owner, publishing, paused = cluster
    channel, pattern = cluster.channel_of(owner, "heard"), "heard:*"
    listeners = [listen(paused, channel), listen(paused, pattern, kind="PSUBSCRIBE")]
    witness = listen(publishing, channel)
    assert publish(publishing, channel, 0) == 3
    paused.pause()
    with publishing.client(timeout_s=4 * BOUND_S) as client:
        assert all(client.call("PUBLISH", channel, n) == 3 for n in range(1, 10)), "it is not down yet"
        wait_until(lambda: is_declared_down(paused, owner), what="it is declared down")
        wait_until(lambda: client.call("PUBLISH", channel, "down") == 1, what="it is waited for no more")
    paused.resume()
    cluster.wait_settled()
    assert heard(witness, 11)[:10] == [b"%d" % n for n in range(10)]
    for listener in listeners:
        got = []
        with pytest.raises(Closed):  # it missed messages
            while True:
                got += heard(listener, 1)
        assert got == [b"%d" % n for n in range(len(got))]
    assert is_open(witness)
    assert publish(paused, channel) == 1


def test_a_pause_that_is_shorter_than_the_timeout_changes_nothing(start_cluster):
    cluster = start_cluster()
    before = epochs(cluster[0])
    rows = members(cluster[0])
    victim, one, other = cluster
    channels = [cluster.channel_of(node, "short") for node in cluster]
    listeners = [listen(node, *channels) for node in cluster]
    victim.pause()
    with one.client() as client:
        client.send_raw(b"".join(encode("PUBLISH", c, n) for n in range(50) for c in channels))
        time.sleep(NODE_TIMEOUT_MS / 1000 / 5)  # what is tested is this very time
        victim.resume()
        assert client.recv_many(150) == [3] * 150
    for listener in listeners:
        got = listener.recv_many(150)
        for channel in channels:
            assert [m[2] for m in got if m[1] == channel.encode()] == [b"%d" % n for n in range(50)]
    assert epochs(other) == before
    assert {n: r["incarnation"] for n, r in members(one).items()} == {n: r["incarnation"] for n, r in rows.items()}


def queued_bytes(node):
    """Waiting to leave for each other node: {name: bytes}."""
    series = parse(node.page("/metrics").text).series("fanfare_peer_queued_bytes")
    return {dict(labels)["peer"]: value for labels, value in series.items()}


def all_heard(client):
    """How many messages come before the connection has nothing more to say: it is closed, or answers a PING."""
    try:
        client.call("PING")
    except OSError:
        pass
    return sum(push[0] == b"message" for push in client.pushes)


def flood(node, channel, count, size):
    """A pipeline of large publishes; returns its answers, once the last is there."""
    with node.client(timeout_s=60) as client:
        sender = threading.Thread(target=client.send_raw, daemon=True, args=(
            b"".join(encode("PUBLISH", channel, b"%d|" % n + b"." * size) for n in range(count)),))
        sender.start()
        answers = [client.recv() for _ in range(count)]
        sender.join()
        return answers


def test_a_node_that_does_not_read_costs_bounded_memory_and_holds_nobody_up(start_cluster):
    """A subscriber on a stuck node wants far more than its links hold; the node is not down, however long it takes."""
    cluster = start_cluster(options={"cluster-node-timeout": 30000, "cluster-timeout": 60000, "link-bytes": LINK_BYTES})
    owner, elsewhere, stuck = cluster
    channel, free = cluster.channel_of(owner, "stuck"), cluster.channel_of(owner, "free")
    far = cluster.channel_of(elsewhere, "far")
    listener, bystander = listen(stuck, channel), listen(elsewhere, free, far)
    stuck.pause()
    answers = []
    floods = [threading.Thread(target=lambda n=node: answers.extend(flood(n, channel, 300, 100000)), daemon=True)
              for node in (owner, elsewhere)]
    for thread in floods:
        thread.start()
    begin_s = time.monotonic()
    for number in range(200):
        for node, other in itertools.product((owner, elsewhere), (free, far)):
            assert publish(node, other, number) == 1
            assert heard(bystander, 1) == [b"%d" % number]
        for node in (owner, elsewhere):
            queued = queued_bytes(node)
            assert all(size < 8 * LINK_BYTES for size in queued.values()), f"{node.name}: {queued}"
    assert time.monotonic() - begin_s < 20, "others waited for the stuck one"
    stuck.resume()
    for thread in floods:
        thread.join(60)
    assert len(answers) == 600 and set(answers) <= {0, 1}, collections.Counter(map(str, answers))
    received = all_heard(listener)
    assert received <= answers.count(1)
    assert received == answers.count(1) or not is_open(listener), "it missed some"
    assert is_open(bystander)
    cluster.wait_settled()
    again = listen(stuck, channel)
    assert publish(elsewhere, channel, "again") == 1 + is_open(listener)
    assert heard(again, 1) == [b"again"]
