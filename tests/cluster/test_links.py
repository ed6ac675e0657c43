"""What goes between two live nodes: more than a link may queue, a lane that nobody reads, a loop that is slow once.
Whoever has nothing to do with it notices nothing."""

import threading

from lib.cluster_scene import BOUND_S, channels_of_all, heard, is_open, listen, publish
from lib.prometheus import parse
from lib.resp import encode
from lib.wait import wait_until

LINK_BYTES = 1 << 20
ROOMY = {"link-bytes": LINK_BYTES, "output-buffer-limit": "normal 0 0 0 pubsub 0 0 0"}
PATIENT = {**ROOMY, "cluster-node-timeout": 30000, "cluster-timeout": 60000}


def interrupted(cluster):
    """Subscribers that all nodes have closed because they may have missed something."""
    return sum(parse(n.page("/metrics").text).value("fanfare_subscribers_interrupted_total") for n in cluster)


def queued_bytes(node):
    """Waiting to leave for other nodes."""
    return sum(parse(node.page("/metrics").text).series("fanfare_peer_queued_bytes").values())


def cpu_ticks(node):
    """Processor time of a node so far."""
    fields = open(f"/proc/{node.process.pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def send_all(node, requests):
    """Send a pipeline from a thread of its own; returns its client, whose answers are to be read."""
    client = node.client(timeout_s=BOUND_S * 12)
    threading.Thread(target=client.send_raw, daemon=True, args=(b"".join(encode(*r) for r in requests),)).start()
    return client


def test_a_message_larger_than_a_link_may_queue_is_delivered_and_closes_nobody(start_cluster):
    cluster = start_cluster(options=ROOMY)
    channels = channels_of_all(cluster, "large")
    listeners = [listen(node, *channels) for node in cluster]
    bystanders = [listen(node, *channels_of_all(cluster, "other"), "*:other") for node in cluster]
    payload = b"." * (24 * LINK_BYTES)
    for publisher in cluster:
        assert publish(publisher, channels[0], payload) == 3
        for listener in listeners:
            assert heard(listener, 1) == [payload]
    assert all(is_open(client) for client in listeners + bystanders)
    assert interrupted(cluster) == 0


def test_many_publishers_of_large_messages_fill_the_links_and_close_nobody(start_cluster):
    cluster = start_cluster(options=ROOMY)
    channels = channels_of_all(cluster, "many")
    listeners = [listen(node, *channels) for node in cluster]
    bystander = listen(cluster[1], *channels_of_all(cluster, "other"))
    payload = b"." * (LINK_BYTES // 4)
    publishers = [send_all(node, [("PUBLISH", channel, b"%d %d|" % (number, n) + payload) for n in range(3)])
                  for node in cluster for channel in channels for number in range(6)]
    count = 3 * len(publishers)
    for listener in listeners:
        orders = {}
        for message in heard(listener, count):
            number, n = message[:message.index(b"|")].split()
            orders.setdefault(number, []).append(n)
        assert sum(map(len, orders.values())) == count
    for publisher in publishers:
        assert [publisher.recv() for _ in range(3)] == [3, 3, 3]
    assert is_open(bystander)
    assert interrupted(cluster) == 0


def test_a_lane_that_nobody_reads_holds_only_the_channels_that_need_it(start_cluster):
    """One source of the full channel goes on to another channel of the same owner on another connection, at once; and
    what waits for the lane costs those that do not wait next to nothing."""
    cluster = start_cluster(options=PATIENT)
    owner, elsewhere, stuck = cluster
    full = [cluster.channel_of(owner, prefix) for prefix in ("a", "b")]
    free = cluster.channel_of(owner, "free")
    listener, bystander = listen(stuck, *full), listen(elsewhere, free)

    def cost(count=4000):
        begin = cpu_ticks(elsewhere) + cpu_ticks(owner)
        for n in range(count):
            assert client.call("PUBLISH", free, n) == 1
        assert heard(bystander, count) == [b"%d" % n for n in range(count)]
        return cpu_ticks(elsewhere) + cpu_ticks(owner) - begin

    with elsewhere.client(timeout_s=BOUND_S * 4) as client:
        cost()
        before = cost()
        stuck.pause()
        fills = [send_all(owner, [("PUBLISH", full[0], b"." * 100000) for _ in range(100)]) for _ in range(4)]
        wait_until(lambda: queued_bytes(owner) > LINK_BYTES, what="the lane is full")
        flood = send_all(elsewhere, [("PUBLISH", full[n % 2], n) for n in range(16000)])
        wait_until(lambda: parse(owner.page("/metrics").text).value("fanfare_cluster_waiting_publishes") > 10000,
                   what="the flood waits at the owner")
        with_it = cost()
        assert with_it < 3 * before + 20, f"{before} ticks before, {with_it} beside what waits"
        assert queued_bytes(owner) < 4 * LINK_BYTES
    stuck.resume()
    assert [flood.recv() for _ in range(16000)] == [1] * 16000
    for fill in fills:
        assert fill.recv_many(100) == [1] * 100
    by_channel = {channel.encode(): [] for channel in full}
    for message in listener.recv_many(16400):
        by_channel[message[1]].append(message[2])
    for n, channel in enumerate(full):
        small = [m for m in by_channel[channel.encode()] if len(m) < 100]
        assert small == [b"%d" % i for i in range(n, 16000, 2)]
    assert interrupted(cluster) == 0


def test_clients_that_want_no_answers_are_bounded_as_well(start_cluster):
    cluster = start_cluster(options=PATIENT)
    owner, elsewhere, stuck = cluster
    channel, free = cluster.channel_of(owner, "silent"), cluster.channel_of(owner, "free")
    listener = listen(stuck, channel)
    stuck.pause()
    size, count = 50000, 200
    floods = [send_all(node, [("CLIENT", "REPLY", "OFF"),
                              *(("PUBLISH", channel, b"%d %d|" % (number, n) + b"." * size) for n in range(count)),
                              ("CLIENT", "REPLY", "ON")]) for number in range(4) for node in (owner, elsewhere)]
    wait_until(lambda: queued_bytes(owner) > LINK_BYTES, what="the lane is full")
    for _ in range(300):
        assert publish(elsewhere, free) == 0
    waiting = parse(owner.page("/metrics").text).value("fanfare_cluster_waiting_publishes")
    assert queued_bytes(owner) + waiting * size < len(floods) * 2 * LINK_BYTES, "each client may have 1 MiB on its way"
    stuck.resume()
    assert len(set(heard(listener, len(floods) * count))) == 4 * count
    for flood in floods:
        assert flood.recv() == "OK"


def test_a_loop_that_is_slow_once_loses_no_link_and_puts_nothing_in_doubt(start_cluster):
    cluster = start_cluster(options={"threads": 1})
    sleeper, one, other = cluster
    channels = channels_of_all(cluster, "slow")
    listeners = [listen(node, *channels) for node in cluster]
    sleeping = sleeper.client(timeout_s=BOUND_S * 4)
    sleeping.send("DEBUG", "SLEEP", 2 * BOUND_S / 5)
    publishers = [send_all(node, [("PUBLISH", channel, n) for n in range(20) for channel in channels])
                  for node in (one, other)]
    for publisher in publishers:
        assert publisher.recv_many(60) == [3] * 60
    assert sleeping.recv() == "OK"
    for listener in listeners:
        assert len(heard(listener, 120)) == 120
    assert interrupted(cluster) == 0
