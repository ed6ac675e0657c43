"""One client of a cluster: the order of its answers, transactions, its end."""

import socket

import pytest

from lib.cluster import Cluster
from lib.cluster_scene import channels_of_all, heard, listen
from lib.resp import encode
from lib.wait import wait_until

MANY = 20000
"""More publishes than may be unanswered outside of a transaction."""


@pytest.fixture(scope="module", name="cluster")
def _cluster():
    """One for the whole file: nothing here breaks it."""
    cluster = Cluster(3)
    try:
        cluster.start()
        cluster.wait_settled()
        yield cluster
        print(cluster.logs())
    finally:
        cluster.close()


def transaction(channel, count, size):
    """MULTI, publishes to the channel, EXEC: as one read, or nearly."""
    publishes = encode("PUBLISH", channel, b"x" * size) * count
    return encode("MULTI") + publishes + encode("EXEC")


@pytest.mark.parametrize("count,size", [(MANY, 4), (1500, 1000)], ids=["many", "large"])
def test_a_transaction_of_publishes_for_another_node_ends_and_its_connection_goes_on(cluster, count, size):
    for channel in channels_of_all(cluster, f"exec{size}"):
        for node in cluster:
            with node.client() as client:
                client.send_raw(transaction(channel, count, size) + encode("PING"))
                answers = client.recv_many(count + 3)
                assert answers[:2] == ["OK", "QUEUED"]
                assert answers[-2:] == [[0] * count, "PONG"]
                assert client.call("PING") == "PONG"


def test_what_was_sent_before_the_end_of_the_stream_is_answered_on_every_node(cluster):
    for count in (1, 1000):
        for channel in channels_of_all(cluster, f"half{count}"):
            listener = listen(cluster[0], channel)
            for node in cluster:
                with node.client() as client:
                    client.send_raw(encode("PUBLISH", channel, "m") * count)
                    client.sock.shutdown(socket.SHUT_WR)
                    assert client.recv_many(count) == [1] * count, node.name
                    assert client.read_to_end() == b""
                assert heard(listener, count) == [b"m"] * count
            listener.close()


def test_patterns_are_not_counted_by_a_node_that_may_have_missed_some(start_cluster):
    cluster = start_cluster(options={"cluster-node-timeout": 500, "cluster-timeout": 1000})
    with listen(cluster[2], "a*", kind="PSUBSCRIBE"):
        assert [node.ask("PUBSUB", "NUMPAT") for node in cluster] == [1, 1, 1]
        cluster[0].kill()
        cluster[1].kill()
        with cluster[2].client() as client:
            wait_until(lambda: str(client.call("PUBSUB", "NUMPAT")).startswith("CLUSTERDOWN"),
                       what="it knows that it may not know")


def test_a_subscription_that_other_nodes_count_is_confirmed_to_a_client_that_sends_no_more(cluster):
    for kind in ("SUBSCRIBE", "PSUBSCRIBE"):
        for channel in channels_of_all(cluster, "last"):
            with cluster[1].client() as client:
                client.send(kind, channel)
                client.sock.shutdown(socket.SHUT_WR)
                assert client.recv() == [kind.lower().encode(), channel.encode(), 1]
                assert client.read_to_end() == b""
