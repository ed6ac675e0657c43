"""The promises of publish and subscribe under load, judged by lib.history from what all clients wrote down.

P2 exact counts, P3 one order per channel, P4 subscribe then publish, P5 at most once and never silently.
"""

import random

import pytest

from lib.broker import Broker
from lib.history import violations
from lib.load import CHANNELS, Plan, run_load
from lib.wait import wait_until


@pytest.fixture(scope="module")
def threaded_broker(threads):
    """A broker with this many worker threads, for all tests of the file."""
    broker = Broker({"threads": threads, "output-buffer-limit": "pubsub 0 0 0"}).start()
    yield broker
    broker.close()


PLANS = {
    "a few publishers and many visitors": Plan(publishers=3, batches=120, visitors=12),
    "many publishers and a few visitors": Plan(publishers=10, batches=40, visitors=4),
    "one at a time": Plan(publishers=4, batches=500, batch_max=1, visitors=6),
    "deep pipelines": Plan(publishers=3, batches=12, batch_max=300, visitors=6),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_no_promise_is_broken_while_subscribers_come_and_go(plan, threaded_broker):
    seed = random.randrange(1 << 32)
    history = run_load(threaded_broker.address, plan, seed)
    assert_nothing_broken(history, seed)


def assert_nothing_broken(history, seed):
    """Judge; and be sure that there was something to judge."""
    found = violations(history)
    shown = "\n".join(str(v) for v in found[:20])
    assert not found, f"seed {seed}: {len(found)} violations\n{shown}"
    messages = sum(len(s.events) for s in history.streams)
    assert messages > len(history.publishes), "too little was received to prove anything"
    assert any(s.closed_ns < float("inf") for s in history.streams) or len(history.streams) < 20


def test_the_count_is_exact_when_nothing_moves(threaded_broker):
    clients = [threaded_broker.client(2 + n % 2) for n in range(30)]
    for number, client in enumerate(clients):
        names = [b"still:%d" % (number % 5), b"still:all"]
        client.send("SUBSCRIBE", *names)
        client.send("PSUBSCRIBE", "still:*", b"*:%d" % (number % 3))
        client.recv_many(4)
    with threaded_broker.client() as publisher:
        for n in range(5):
            tails = sum(1 for number in range(30) if number % 3 == n)
            assert publisher.call("PUBLISH", b"still:%d" % n, "x") == 6 + 30 + tails
        assert publisher.call("PUBLISH", "still:all", "x") == 60
        assert publisher.calls([("PUBLISH", "still:all", "x")] * 100) == [60] * 100
        for client in clients:
            client.close()
        # Their patterns match names of the tests that follow.
        wait_until(lambda: publisher.call("PUBSUB", "NUMPAT") == 0, what="the closed clients' patterns are gone")


def test_a_confirmed_subscriber_hears_a_publish_that_another_connection_sends_next(threaded_broker):
    """Back to back, on connections that different workers serve."""
    publishers = [threaded_broker.client() for _ in range(8)]
    for round_number in range(300):
        with threaded_broker.client() as subscriber:
            name = b"next:%d" % (round_number % 3)
            subscriber.call("SUBSCRIBE", name)
            payload = b"%d" % round_number
            assert publishers[round_number % 8].call("PUBLISH", name, payload) == 1
            assert subscriber.recv() == [b"message", name, payload]
            assert subscriber.call("UNSUBSCRIBE", name) == [b"unsubscribe", name, 0]
            assert publishers[(round_number + 3) % 8].call("PUBLISH", name, payload) == 0
    for publisher in publishers:
        publisher.close()


def test_what_was_published_before_an_unsubscribe_was_sent_is_delivered_before_its_confirmation(threaded_broker):
    publishers = [threaded_broker.client() for _ in range(8)]
    subscribers = [threaded_broker.client() for _ in range(8)]
    for round_number in range(200):
        name = b"before:%d" % round_number
        for subscriber in subscribers:
            subscriber.call("SUBSCRIBE", name)
        assert publishers[round_number % 8].call("PUBLISH", name, "x") == 8
        for subscriber in subscribers:
            subscriber.send("UNSUBSCRIBE", name)
        for subscriber in subscribers:
            assert subscriber.recv() == [b"message", name, b"x"], f"round {round_number}"
            assert subscriber.recv() == [b"unsubscribe", name, 0]
    for client in publishers + subscribers:
        client.close()


def test_messages_of_one_pipeline_over_many_channels_arrive_in_the_order_of_sending(threaded_broker):
    subscribers = [threaded_broker.client(2 + n % 2) for n in range(8)]
    names = [b"cross:%d" % n for n in range(50)]
    for subscriber in subscribers:
        subscriber.send("SUBSCRIBE", *names)
        subscriber.recv_many(len(names))
    rng = random.Random(5)
    sent = [(rng.choice(names), b"%d" % n) for n in range(5000)]
    with threaded_broker.client() as publisher:
        assert set(publisher.calls(("PUBLISH", name, payload) for name, payload in sent)) == {8}
    for subscriber in subscribers:
        got = [(m[1], m[2]) for m in subscriber.recv_many(len(sent))]
        first = next((n for n in range(len(sent)) if got[n] != sent[n]), None)
        assert first is None, f"message {first}: sent {sent[first]}, got {got[first]}"
        subscriber.close()


def test_a_transaction_of_publishes_is_delivered_in_order_and_unbroken_per_channel(threaded_broker):
    subscriber = threaded_broker.client()
    subscriber.call("SUBSCRIBE", "tx")
    senders = [threaded_broker.client() for _ in range(4)]
    for sender in senders:
        sender.calls([("MULTI",)] + [("PUBLISH", "tx", f"{senders.index(sender)}:{n}") for n in range(100)])
    for sender in senders:
        sender.send("EXEC")
    assert [sender.reply() for sender in senders] == [[1] * 100] * 4
    got = [m[2].decode().split(":") for m in subscriber.recv_many(400)]
    for start in range(0, 400, 100):
        assert len({sender for sender, _ in got[start:start + 100]}) == 1, "transactions do not mix"
        assert [int(n) for _, n in got[start:start + 100]] == list(range(100))
    for client in [subscriber, *senders]:
        client.close()


def test_after_the_load_nothing_is_left_behind(threaded_broker):
    run_load(threaded_broker.address, Plan(publishers=2, batches=20, visitors=8), random.randrange(1 << 32))
    with threaded_broker.client() as client:
        wait_until(lambda: client.call("PUBSUB", "CHANNELS") == [])
        wait_until(lambda: client.call("PUBSUB", "NUMPAT") == 0)
        assert client.call("PUBSUB", "SHARDCHANNELS") == []
        assert client.call("PUBSUB", "NUMSUB", *CHANNELS)[1::2] == [0] * len(CHANNELS)
        wait_until(lambda: int(threaded_broker.info("clients")["connected_clients"]) <= 2)
