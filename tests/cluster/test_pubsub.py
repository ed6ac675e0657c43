"""One endpoint: whatever is asked on whichever node is answered as by one Redis."""

import threading

import pytest
import redis

from lib.cluster import CLIENT_PORT, Cluster
from lib.cluster_scene import channels_of_all, heard, listen, publish
from lib.prometheus import parse
from lib.resp import encode
from lib.wait import DEADLINE_S, wait_until

ROUNDS = 40


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


@pytest.fixture(autouse=True)
def _clean(cluster):
    """Nobody is subscribed before a test: clients that are gone are gone on all nodes."""
    for node in cluster:
        wait_until(lambda n=node: n.ask("PUBSUB", "CHANNELS") == [] and n.ask("PUBSUB", "NUMPAT") == 0
                   and n.ask("PUBSUB", "SHARDCHANNELS") == [], what=f"{node.name} has no subscribers left")


@pytest.fixture(name="channels")
def _channels(cluster, request):
    """A channel of each node, of names that no other test uses."""
    return channels_of_all(cluster, request.node.name.removeprefix("test_")[:40])


def test_a_message_gets_from_each_node_to_each_whoever_owns_the_channel(cluster, channels):
    listeners = [listen(node, *channels) for node in cluster]
    for node in cluster:
        for channel in channels:
            assert publish(node, channel, f"{node.name} {channel}") == 3
            for listener in listeners:
                assert heard(listener, 1) == [f"{node.name} {channel}".encode()]
    assert all(listener.is_silent() for listener in listeners)


def test_a_client_counts_once_for_each_of_its_subscriptions_that_match(cluster, channels):
    for node, channel in zip(cluster, channels[1:] + channels[:1]):
        with listen(node, channel) as listener:
            for pattern in (channel[:-1] + "*", channel[:-1] + "?"):
                listener.send("PSUBSCRIBE", pattern)
                assert listener.recv()[0] == b"psubscribe"
            with listen(cluster[0], channel):
                for publisher in cluster:
                    assert publish(publisher, channel, "m") == 4
                    assert heard(listener, 3) == [b"m"] * 3
        wait_until(lambda c=channel: publish(cluster[0], c) == 0, what="the closed connections count no more")


def test_all_subscribers_see_one_order_that_extends_each_publishers(cluster, channels):
    """Three publishers on three nodes, as fast as they can, on each channel in turn."""
    count = 200
    for channel in channels:
        listeners = [listen(node, channel) for node in cluster for _ in range(2)]
        publishers = [node.client() for node in cluster]
        for number, publisher in enumerate(publishers):
            threading.Thread(target=publisher.calls, args=(
                [("PUBLISH", channel, f"{number}:{n}") for n in range(count)],)).start()
        orders = [heard(listener, 3 * count) for listener in listeners]
        assert all(order == orders[0] for order in orders)
        for number in range(3):
            mine = [m for m in orders[0] if m.startswith(b"%d:" % number)]
            assert mine == [b"%d:%d" % (number, n) for n in range(count)]


def test_what_is_published_after_a_confirmation_arrives_and_nothing_after_that_of_the_end(cluster, channels):
    for number in range(ROUNDS):
        channel = channels[number % 3] + f"{{{channels[number % 3]}}}{number}"
        here, there = cluster[number % 3], cluster[(number // 3) % 3]
        with listen(here, channel) as listener:
            assert publish(there, channel, "m") == 1
            assert heard(listener, 1) == [b"m"]
            listener.send("UNSUBSCRIBE", channel)
            assert listener.recv()[0] == b"unsubscribe"
            assert publish(there, channel, "late") == 0
            assert listener.is_silent()


def test_patterns_are_heard_wherever_they_were_subscribed(cluster, channels):
    for number in range(ROUNDS):
        pattern, channel = f"*{channels[0]}-{number}?", f"any{channels[0]}-{number}x"
        here, there = cluster[number % 3], cluster[(number // 3) % 3]
        with listen(here, pattern, kind="PSUBSCRIBE") as listener:
            assert publish(there, channel, "m") == 1
            assert listener.recv() == [b"pmessage", pattern.encode(), channel.encode(), b"m"]
            listener.send("PUNSUBSCRIBE", pattern)
            assert listener.recv()[0] == b"punsubscribe"
            assert publish(there, channel, "late") == 0
            assert listener.is_silent()


@pytest.mark.parametrize("kind", ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"])
def test_counts_are_those_of_the_copies_while_subscriptions_come_and_go(cluster, channels, kind):
    """Subscribers never leave without a word here, so each copy that was counted is to be seen, and no other."""
    verb = "SPUBLISH" if kind == "SSUBSCRIBE" else "PUBLISH"
    is_over, copies = threading.Event(), []

    def come_and_go(node):
        with node.client(3) as client:
            while not is_over.is_set():
                for request in (kind, kind.replace("SUB", "UNSUB")):
                    client.send(request, *channels)
                    confirmations = 0
                    while confirmations < len(channels):
                        reply = client.recv()
                        confirmations += reply[0].endswith(b"subscribe")
                        copies.append(reply[0].endswith(b"message"))

    comers = [threading.Thread(target=come_and_go, args=(node,)) for node in cluster]
    for comer in comers:
        comer.start()
    counted = 0
    for _ in range(ROUNDS):
        for node in cluster:
            with node.client() as publisher:
                counted += sum(publisher.calls((verb, c, "m") for c in channels * 4))
    is_over.set()
    for comer in comers:
        comer.join()
    assert counted == sum(copies) > 0


def test_shard_channels_are_a_world_of_their_own_on_all_nodes(cluster, channels):
    sharded = [listen(node, *channels[:1], kind="SSUBSCRIBE") for node in cluster]
    plain = listen(cluster[1], channels[0])
    for node in cluster:
        with node.client() as publisher:
            assert publisher.call("SPUBLISH", channels[0], "s") == 3
        for listener in sharded:
            assert listener.recv() == [b"smessage", channels[0].encode(), b"s"]
        assert publish(node, channels[0], "p") == 1
        assert heard(plain, 1) == [b"p"]
    assert plain.is_silent() and all(listener.is_silent() for listener in sharded)
    for listener, channel in zip(sharded, channels):
        if channel != channels[0]:  # a client may have shard channels of several owners
            listener.send("SSUBSCRIBE", channel)
            assert listener.recv() == [b"ssubscribe", channel.encode(), 2]


def test_pubsub_answers_for_the_whole_cluster_on_every_node(cluster, channels):
    one, two, three = channels
    with listen(cluster[0], one, two), listen(cluster[1], two), listen(cluster[2], two, three), \
            listen(cluster[0], "p*", "q*", kind="PSUBSCRIBE"), listen(cluster[1], "p*", kind="PSUBSCRIBE"), \
            listen(cluster[1], one, three, kind="SSUBSCRIBE"), listen(cluster[2], one, kind="SSUBSCRIBE"):
        for node in cluster:
            assert sorted(node.ask("PUBSUB", "CHANNELS")) == sorted(c.encode() for c in channels)
            assert node.ask("PUBSUB", "CHANNELS", two[:-1] + "[" + two[-1] + "]") == [two.encode()]
            assert node.ask("PUBSUB", "NUMSUB", *channels, "none") == [
                one.encode(), 1, two.encode(), 3, three.encode(), 1, b"none", 0]
            assert node.ask("PUBSUB", "NUMPAT") == 2
            assert sorted(node.ask("PUBSUB", "SHARDCHANNELS")) == sorted([one.encode(), three.encode()])
            assert node.ask("PUBSUB", "SHARDNUMSUB", *channels) == [
                one.encode(), 2, two.encode(), 0, three.encode(), 1]


def test_a_transaction_over_channels_of_different_owners_is_answered_and_ordered_as_one(cluster, channels):
    with listen(cluster[1], *channels) as listener:
        for node in cluster:
            with node.client() as client:
                requests = [("MULTI",), *(("PUBLISH", c, n) for n in range(10) for c in channels), ("EXEC",)]
                *queued, answers = client.calls(requests)
                assert queued == ["OK"] + ["QUEUED"] * 30 and answers == [1] * 30
            messages = listener.recv_many(30)
            for channel in channels:
                assert [m[2] for m in messages if m[1] == channel.encode()] == [b"%d" % n for n in range(10)]


def test_a_pipeline_over_channels_of_different_owners_is_answered_in_order(cluster, channels):
    with listen(cluster[2], channels[1]) as listener, cluster[0].client() as client:
        requests = []
        for number in range(100):
            requests += [("PUBLISH", channels[0], number), ("ECHO", number), ("PUBLISH", channels[1], number),
                         ("PUBLISH", channels[2], number)]
        answers = client.calls(requests)
        assert answers == [a for n in range(100) for a in (0, b"%d" % n, 1, 0)]
        assert heard(listener, 100) == [b"%d" % n for n in range(100)]


def test_subscribing_in_a_pipeline_counts_from_its_place_on(cluster, channels):
    for node in cluster:
        for channel in channels:
            with node.client(3) as client:
                requests = ("PUBLISH", "a"), ("SUBSCRIBE",), ("PUBLISH", "b"), ("UNSUBSCRIBE",), ("PUBLISH", "c")
                client.send_raw(b"".join(encode(verb, channel, *rest) for verb, *rest in requests))
                got = client.recv_many(6)
                assert [r for r in got if isinstance(r, int)] == [0, 1, 0], got
                assert [r[-1] for r in got if isinstance(r, list) and r[0] == b"message"] == [b"b"], got


def test_large_and_binary_things_get_through(cluster, channels):
    channel = channels[2].encode() + b"\r\n\0\xff {}"
    payload = bytes(range(256)) * 16384  # 4 MiB
    listeners = [listen(node, channel) for node in cluster]
    for node in cluster:
        assert publish(node, channel, payload) == 3
        assert publish(node, channel, b"") == 3
        for listener in listeners:
            assert heard(listener, 2) == [payload, b""]


def test_a_thousand_channels_in_one_subscribe_are_confirmed_in_order(cluster, channels):
    names = [f"{channels[0]}-{n}".encode() for n in range(1000)]
    with cluster[1].client(3) as client:
        client.send("SUBSCRIBE", *names)
        assert client.recv_many(1000) == [[b"subscribe", n, i + 1] for i, n in enumerate(names)]
        with cluster[2].client() as publisher:
            assert publisher.calls(("PUBLISH", n, n) for n in names) == [1] * 1000
        assert sorted(heard(client, 1000)) == sorted(names)
        client.send("UNSUBSCRIBE")
        assert sorted(r[1] for r in client.recv_many(1000)) == sorted(names)
    assert cluster[0].ask("PUBSUB", "NUMSUB", names[0], names[999]) == [names[0], 0, names[999], 0]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_connection_that_ends_or_is_reset_is_counted_no_more(cluster, channels, protocol):
    closing, resetting = cluster[0].client(protocol), cluster[0].client(protocol)
    for client in (closing, resetting):
        client.send("SUBSCRIBE", *channels)
        client.recv_many(3)
    for node, channel in zip(cluster, channels):
        assert publish(node, channel) == 2
    closing.close()
    resetting.recv_many(3)
    resetting.send("RESET")
    assert resetting.recv() == "RESET"
    for node, channel in zip(cluster, channels):
        wait_until(lambda n=node, c=channel: publish(n, c) == 0, what="nobody is counted")


def deliveries(node):
    """Messages that this node has sent to others: {name: count}."""
    series = parse(node.page("/metrics").text).series("fanfare_peer_sent_deliveries_total")
    return {dict(labels)["peer"]: value for labels, value in series.items()}


def test_a_message_crosses_once_to_each_node_that_wants_it_and_not_to_others(cluster, channels):
    owner, wanting, other = cluster
    with listen(wanting, channels[0]), listen(wanting, channels[0]), listen(owner, channels[0]):
        before = deliveries(owner)
        with other.client() as publisher:
            assert publisher.calls([("PUBLISH", channels[0], "m")] * 50) == [3] * 50
        wait_until(lambda: deliveries(owner)[wanting.name] >= before[wanting.name] + 50, what="the metric follows")
        after = deliveries(owner)
    assert after[wanting.name] == before[wanting.name] + 50
    assert after[other.name] == before[other.name]


def test_a_cluster_client_works_through_every_node(cluster, channels):
    for node in cluster:
        client = redis.cluster.RedisCluster(host=node.bind_host, port=CLIENT_PORT)
        assert {n.name for n in client.get_nodes()} == {f"{n.bind_host}:{CLIENT_PORT}" for n in cluster}
        for channel in channels:
            pubsub = client.pubsub()
            pubsub.subscribe(channel)
            assert pubsub.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
            assert client.publish(channel, "m") == 1
            assert publish(node, channel, "n") == 1
            assert [pubsub.get_message(timeout=DEADLINE_S)["data"] for _ in range(2)] == [b"m", b"n"]
            pubsub.close()
        client.close()


@pytest.mark.parametrize("command", [("READONLY",), ("READWRITE",), ("ASKING",)])
def test_what_cluster_clients_say_first_is_accepted(cluster, command):
    for node in cluster:
        assert node.ask(*command) == "OK"


