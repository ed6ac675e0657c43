"""Nodes that stop without dying: a process that does not run for a while, one that does not read. The others go on,
and it finds out what it has missed."""

import collections
import time

import pytest

from lib.cluster import NODE_TIMEOUT_MS
from lib.cluster_scene import (BOUND_S, epochs, heard, is_open, listen, members, publish, under_load)
from lib.prometheus import parse
from lib.resp import Closed, encode
from lib.wait import wait_until

PATIENT = {"cluster-node-timeout": 30000, "cluster-timeout": 60000}
"""Nobody is down in these tests, however long it is silent."""

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


class Flood:
    """A publisher that never waits for answers, until its own bytes are not taken any more."""

    def __init__(self, node, channel, size):
        self.client = node.client(timeout_s=60)
        self.client.sock.setblocking(False)
        self.request = lambda number: encode("PUBLISH", channel, b"%d|" % number + b"." * size)
        self.unsent, self.count = b"", 0

    def push(self, count_max):
        """Send what is taken at once; returns False when nothing was."""
        is_taken = False
        while self.unsent or self.count < count_max:
            if not self.unsent:
                self.unsent = self.request(self.count)
                self.count += 1
            try:
                self.unsent = self.unsent[self.client.sock.send(self.unsent):]
                is_taken = True
            except BlockingIOError:
                break
        return is_taken

    def is_blocked(self):
        """Is nothing taken for a second?"""
        end_s = time.monotonic() + 1
        while time.monotonic() < end_s:
            if self.push(1 << 30):
                return False
            time.sleep(0.02)
        return True

    def finish(self):
        """Send the rest of the last one, read all answers."""
        self.client.sock.settimeout(60)
        self.client.send_raw(self.unsent)
        return [self.client.recv() for _ in range(self.count)]


class Stuck:
    """A third node that does not read, and publishers on both others who fill its links to the brim."""

    def __init__(self, cluster):
        self.owner, self.elsewhere, self.node = cluster
        self.channel = cluster.channel_of(self.owner, "stuck")
        self.free, self.far = cluster.channel_of(self.owner, "free"), cluster.channel_of(self.elsewhere, "far")
        self.listener = listen(self.node, self.channel)
        self.bystander = listen(self.elsewhere, self.free, self.far)
        self.floods = [Flood(node, self.channel, 100000) for node in (self.owner, self.elsewhere)]
        self.node.pause()
        wait_until(lambda: all([flood.is_blocked() for flood in self.floods]),
                   what="the publishers are not read any more")

    def publish_elsewhere(self, node, channel):
        """Publishes to a channel that the stuck node has nothing to do with are quick."""
        begin_s = time.monotonic()
        for number in range(20):
            assert publish(node, channel, number) == 1
            assert heard(self.bystander, 1) == [b"%d" % number]
        assert time.monotonic() - begin_s < PATIENT["cluster-node-timeout"] / 1000 / 3, "it waited for the stuck one"


STUCK = {**PATIENT, "link-bytes": LINK_BYTES, "output-buffer-limit": "pubsub 0 0 0", "query-buffer-limit": 1 << 20}


def test_a_node_that_does_not_read_costs_bounded_memory_and_loses_nothing(start_cluster):
    stuck = Stuck(start_cluster(options=STUCK))
    for node in (stuck.owner, stuck.elsewhere):
        queued = queued_bytes(node)
        assert all(size < 8 * LINK_BYTES for size in queued.values()), f"{node.name}: {queued}"
    assert queued_bytes(stuck.owner)[stuck.node.name] > LINK_BYTES / 2, "it was the link that was full"
    for node, channel in ((stuck.owner, stuck.free), (stuck.owner, stuck.far), (stuck.elsewhere, stuck.far)):
        stuck.publish_elsewhere(node, channel)
    stuck.node.resume()
    for flood in stuck.floods:
        assert collections.Counter(map(str, flood.finish())) == {"1": flood.count}
    heard(stuck.listener, sum(flood.count for flood in stuck.floods))
    assert is_open(stuck.listener) and is_open(stuck.bystander)
    assert publish(stuck.owner, stuck.channel) == 1


def test_other_publishers_of_a_node_that_waits_for_a_stuck_one_go_on(start_cluster):
    stuck = Stuck(start_cluster(options=STUCK))
    stuck.publish_elsewhere(stuck.elsewhere, stuck.free)
    stuck.node.resume()
    for flood in stuck.floods:
        assert collections.Counter(map(str, flood.finish())) == {"1": flood.count}
