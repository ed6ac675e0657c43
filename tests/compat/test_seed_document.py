"""Every class, function and program of the document that the product is made from, as written there but for the
address: Python here, Node.js as a program of its own."""

import json
import os
import pathlib
import subprocess
import threading
import time

import pytest
import redis

from lib import seed_document, targets
from lib.cluster_endpoint import Unavailable
from lib.seed_document import blocks
from lib.wait import DEADLINE_S, SCALE, wait_until

# Threads of examples listen for ever; that their broker is gone in the end is no news.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

PYTHON = blocks("python")
MESSAGING = "How to implement a basic messaging system using Redis"
CHAT = "IoT and Monitoring"
SUBSCRIBING = "How to subscribe to a channel in Redis"
PUBLISHING = "How to publish a message to a channel in Redis"
RELIABILITY = "Handling subscriber disconnection and message loss"
SCHEDULE = "Handling time-based message consumption"
CONSISTENCY = "Ensuring data consistency and reliability"


@pytest.fixture(scope="module", params=targets.kinds())
def target(request):
    """A broker alone, and three behind a load balancer."""
    try:
        with targets.running(request.param) as found:
            yield found
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture
def client(target):
    """A client of the endpoint, with an empty database before it."""
    found = redis.Redis(host=target.host, port=target.port, decode_responses=True)
    found.flushdb()
    yield found
    found.close()


@pytest.fixture
def printed():
    """What the examples have printed."""
    return []


@pytest.fixture
def examples(target, printed):
    """run(heading, ...) executes the first block under each, and gives their names."""
    def execute(*headings, names=None, only=lambda text: text):
        names = names or seed_document.namespace(printed)
        for heading in headings:
            text = next(text for title, texts in PYTHON.items() if title.startswith(heading) for text in texts)
            seed_document.run(only(text), names, target.nodes)
        return names

    return execute


def heard(pubsub, count):
    """The next messages of a subscription."""
    return [wait_until(lambda: pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)) for _ in range(count)]


def listen(client, *channels):
    """A subscription that is confirmed."""
    pubsub = client.pubsub()
    pubsub.subscribe(*channels)
    for _ in channels:
        assert pubsub.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
    return pubsub


def test_every_block_is_known():
    assert sum(map(len, PYTHON.values())) == 11 and sum(map(len, blocks("javascript").values())) == 1


def test_1_the_basic_concept(examples):
    names = examples("Explain the Pub/Sub model in Redis")
    assert names["pubsub"].get_message(timeout=DEADLINE_S)["channel"] == b"news"


def test_2_the_messaging_system(examples, printed):
    names = examples(MESSAGING)
    client = names["messaging"].redis
    wait_until(lambda: client.pubsub_numsub("chat")[0][1] >= 1)
    names["messaging"].publish_message("chat", "Are you there?")
    wait_until(lambda: any(line.startswith("Received: Are you there? at ") for line in printed))


def test_3_the_chat_application(examples, printed):
    names = examples(MESSAGING, CHAT)
    chat = names["ChatApplication"]()
    chat.join_room("ann", "red")
    wait_until(lambda: chat.messaging.redis.pubsub_numsub("room:red")[0][1] == 1)
    chat.send_message("bob", "red", "hello")
    wait_until(lambda: "[ann] bob: hello" in printed)
    assert chat.user_sessions == {"ann": "red"}


def test_4_subscribing_by_channel(examples, printed, client):
    """The first method listens for ever."""
    threading.Thread(target=examples, args=(SUBSCRIBING,), daemon=True).start()
    wait_until(lambda: client.pubsub_numsub("weather")[0][1] >= 1)
    assert client.publish("weather", "sunny") >= 1
    wait_until(lambda: "Channel: b'weather', Data: b'sunny'" in printed)


def test_4_subscribing_by_pattern_and_with_a_handler(examples, printed, client):
    """What the document has after the loop that does not end."""
    names = examples(SUBSCRIBING, only=lambda text: text.partition("# Listen for messages")[0])
    examples(SUBSCRIBING, names=names, only=lambda text: "# Method 2" + text.partition("# Method 2")[2])
    pubsub = names["pubsub"]
    wait_until(lambda: (pubsub.get_message(timeout=0.05), client.pubsub_numpat() >= 1)[1])
    assert client.publish("user:7", "hi") == 1
    assert heard(pubsub, 1)[0]["pattern"] == b"user:*"
    client.publish("news", "handled")
    wait_until(lambda: (pubsub.get_message(timeout=0.05), "Received: b'handled'" in printed)[1])
    pubsub.close()


def test_4_the_program_for_node(target, tmp_path):
    modules = pathlib.Path(os.environ.get("COMPAT_NODE_DIR", "")) / "node_modules"
    assert (modules / "redis-v3").is_dir(), "no clients: run tests/compat/install.sh DIR and set COMPAT_NODE_DIR=DIR"
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "redis").symlink_to((modules / "redis-v3").resolve())
    text, = blocks("javascript")["Node.js Example"]
    program = tmp_path / "example.js"
    program.write_text(seed_document.addressed(text, target.nodes))
    with subprocess.Popen(["node", program], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "NODE_PATH": str(modules)}) as process:
        timer = threading.Timer(30 * SCALE, process.kill)
        timer.start()
        try:  # this client's second argument is the channel
            assert process.stdout.readline() == "Subscribed to news channels\n"
            with redis.Redis(host=target.host, port=target.port) as client:
                client.publish("news", "once more")
            lines = []
            while "Received message from news: once more\n" not in lines:
                lines.append(process.stdout.readline())
                assert lines[-1], lines
        finally:
            timer.cancel()
            process.kill()


def test_5_publishing(examples, client):
    channels = ["news", "notifications", "updates", "alerts", "user:1:notifications", "user:1:messages", "user:1:updates"]
    pubsub = listen(client, *channels)
    names = examples(PUBLISHING)
    names["publish_to_user_channels"](1, "hi")
    got = heard(pubsub, 8)
    assert [m["channel"] for m in got] == ["news", "notifications", "news", "updates", "alerts", *channels[4:]]
    assert json.loads(got[1]["data"])["content"] == "Your order has been shipped"
    pubsub.close()


def test_6_reliable_messaging_with_a_backup(examples, client):
    names = examples(RELIABILITY)
    reliable = names["ReliableMessagingSystem"]()
    pubsub = listen(client, "orders")
    assert reliable.publish_with_backup("orders", "first") == 1
    assert reliable.publish_with_backup("orders", "second") == 1
    assert reliable.publish_with_backup("others", "elsewhere") == 0
    assert 3590 <= client.ttl("message_backup") <= 3600
    assert [m["data"] for m in heard(pubsub, 2)] == ["first", "second"]
    assert client.llen("message_backup") == 3
    assert reliable.recover_messages("orders") == ["first", "second"]
    assert reliable.recover_messages("orders") == [] and client.exists("message_backup") == 0
    pubsub.close()


def test_6_publishing_with_streams(examples, client):
    """The document's function uses a `self` that it does not have: the system above it."""
    names = examples(RELIABILITY)
    names["self"] = names["ReliableMessagingSystem"]()
    before_s = time.time()
    for number in range(5):
        names["publish_with_streams"]("orders", f"m{number}")
    rows = client.xrange("stream:orders")
    assert [fields["message"] for _, fields in rows] == [f"m{number}" for number in range(5)]
    assert all(before_s <= float(fields["timestamp"]) <= time.time() for _, fields in rows)
    assert client.xread({"stream:orders": rows[1][0]}, count=2) == [["stream:orders", rows[2:4]]]


def test_8_scheduled_messages(examples, client):
    names = examples(SCHEDULE)
    scheduler = names["scheduler"]
    assert client.zcard("scheduled_messages") == 2, "what the usage scheduled"
    pubsub = listen(client, "due", "reminders")
    scheduler.schedule_message("due", "now", 0)
    scheduler.schedule_message("due", "soon", 1)
    scheduler.process_scheduled_messages()
    assert heard(pubsub, 1)[0]["data"] == "now"
    wait_until(lambda: (scheduler.process_scheduled_messages(), client.zcard("scheduled_messages") == 2)[1])
    assert heard(pubsub, 1)[0]["data"] == "soon"
    left = client.zrange("scheduled_messages", 0, -1, withscores=True)
    assert [key.split(":")[1] for key, _ in left] == ["reminders", "daily"]
    assert all(client.ttl(key) > 290 for key, _ in left)
    assert len(client.keys("scheduled:*")) == 2
    pubsub.close()


def test_9_retries_and_dead_letters(examples, client):
    names = examples(CONSISTENCY)
    reliable = names["ReliableRedisMessaging"]()
    pubsub = listen(client, "heard")
    assert reliable.publish_with_retry("heard", "yes") is True
    assert heard(pubsub, 1)[0]["data"] == "yes"
    begin_s = time.time()
    assert reliable.publish_with_retry("unheard", "no") is False
    (body, due_s), = client.zrange("retry_queue", 0, -1, withscores=True)
    assert json.loads(body)["retries"] == 1 and begin_s + 2 <= due_s <= time.time() + 2
    assert reliable.publish_with_retry("unheard", "never", max_retries=1) is False
    assert json.loads(client.lindex("dead_letter_queue", 0))["message"] == "never"
    assert [json.loads(m)["message"] for m in client.lrange("reliable:unheard", 0, -1)] == ["never", "no"]
    again = json.loads(client.zpopmin("retry_queue")[0][0])
    for _ in range(2):
        assert reliable._deliver_message(again) is False  # pylint: disable=protected-access
    assert json.loads(client.lindex("dead_letter_queue", 0))["retries"] == 3
    pubsub.close()


def test_10_the_cluster_client(target, request, printed):
    nodes = target.nodes[1:] if target.cluster else target.nodes
    if not target.cluster:
        nodes = [("127.0.0.1", request.getfixturevalue("cluster_broker").port)]
    seed_document.offer_rediscluster()
    names = seed_document.run(PYTHON["Horizontal Scaling with Redis Cluster"][0], seed_document.namespace(printed), nodes)
    pubsub = names["subscribe_from_cluster"]("clustered")
    assert wait_until(lambda: pubsub.get_message(timeout=0.1))["type"] == "subscribe"
    assert names["publish_to_cluster"]("clustered", "x") == 1
    assert wait_until(lambda: pubsub.get_message(timeout=0.1))["data"] == b"x"
    pubsub.close()
    names["cluster"].close()


def test_10_several_nodes_in_turn(target, printed):
    nodes = target.nodes[1:] if target.cluster else target.nodes
    names = seed_document.run(PYTHON["Load Balancing Strategies"][0], seed_document.namespace(printed), nodes)
    scalable = names["ScalableMessagingSystem"]()
    audience = [scalable.subscribe_scaled("scaled") for _ in range(3)]
    for pubsub in audience:
        assert pubsub.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
    assert [scalable.publish_scaled("scaled", number) for number in range(6)] == [3] * 6
    for pubsub in audience:
        assert [m["data"] for m in heard(pubsub, 6)] == [b"%d" % number for number in range(6)]
        pubsub.close()


def test_10_a_pool_batches_and_partitions_of_a_channel(examples, client):
    names = examples("Performance Optimization")
    channel = names["get_channel_partition"]("events")
    assert channel.startswith("events:partition:")
    pubsub = listen(client, channel)
    assert names["batch_publish"](channel, ["a", "b", "c"]) == [1, 1, 1]
    assert [m["data"] for m in heard(pubsub, 3)] == ["a", "b", "c"]
    pubsub.close()
