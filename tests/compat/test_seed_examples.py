"""The patterns of use that the product is made for, written with redis-py as an application would.

Publisher and subscriber objects, a messaging class with callbacks in threads, a chat room, handlers, structured
messages, fan-out to several channels, batches, channel partitions, several connections to one endpoint, a cluster
client. Only what publish and subscribe need.
"""

import json
import threading
import time

import pytest
import redis
from redis.cluster import RedisCluster
from redis.connection import ConnectionPool

from lib.broker import HOST
from lib.wait import DEADLINE_S, wait_until


@pytest.fixture
def address(broker):
    """Keyword arguments for redis.Redis."""
    return {"host": HOST, "port": broker.port}


def subscribers(address, channel):
    """How many are subscribed."""
    return redis.Redis(**address).pubsub_numsub(channel)[0][1]


def test_publish_needs_no_subscriber_and_subscribe_no_publisher(address):
    assert redis.Redis(**address).publish("seed:news", "Nobody listens yet") == 0
    pubsub = redis.Redis(**address).pubsub()
    pubsub.subscribe("seed:news")
    assert pubsub.get_message(timeout=DEADLINE_S) == {"type": "subscribe", "pattern": None, "channel": b"seed:news",
                                                      "data": 1}
    assert pubsub.get_message(timeout=0.01) is None, "what was published before is not kept"
    pubsub.close()


class Messaging:
    """Publishes dictionaries as JSON; hands what arrives to a callback in a thread of its own."""

    def __init__(self, address):
        self.redis = redis.Redis(**address, db=0)
        self.pubsub = self.redis.pubsub()

    def publish(self, channel, message):
        """Publish one message with time and id."""
        now = time.time()
        body = {"timestamp": now, "message": message, "id": f"msg_{int(now * 1000)}"}
        return self.redis.publish(channel, json.dumps(body))

    def subscribe(self, channel, callback):
        """Listen for ever in a daemon thread."""
        def listen():
            self.pubsub.subscribe(channel)
            try:
                for message in self.pubsub.listen():
                    if message["type"] == "message":
                        callback(json.loads(message["data"]))
            except redis.exceptions.ConnectionError:
                pass  # the broker ended with the test

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        return thread


def test_a_messaging_class_delivers_to_its_callback(address):
    got = []
    messaging = Messaging(address)
    messaging.subscribe("seed:chat", got.append)
    wait_until(lambda: subscribers(address, "seed:chat") == 1)
    assert messaging.publish("seed:chat", "Hello everyone!") == 1
    assert messaging.publish("seed:chat", "How are you?") == 1
    wait_until(lambda: len(got) == 2)
    assert [m["message"] for m in got] == ["Hello everyone!", "How are you?"]
    assert all(m["id"].startswith("msg_") and m["timestamp"] > 0 for m in got)


class Chat:
    """Rooms on top of Messaging; each member has a connection."""

    def __init__(self, address):
        self.address = address
        self.heard = {}

    def join(self, user, room):
        """A user enters."""
        self.heard[user] = []
        Messaging(self.address).subscribe(f"room:{room}", lambda data: self.heard[user].append(data["message"]))

    def say(self, user, room, text):
        """Everybody in the room hears it."""
        return Messaging(self.address).publish(f"room:{room}", f"{user}: {text}")


def test_a_chat_room_reaches_its_members_and_nobody_else(address):
    chat = Chat(address)
    for user, room in (("ann", "red"), ("bob", "red"), ("cid", "blue")):
        chat.join(user, room)
    wait_until(lambda: subscribers(address, "room:red") == 2 and subscribers(address, "room:blue") == 1)
    assert chat.say("ann", "red", "hi") == 2
    assert chat.say("cid", "blue", "alone") == 1
    wait_until(lambda: all(chat.heard.values()))
    assert chat.heard == {"ann": ["ann: hi"], "bob": ["ann: hi"], "cid": ["cid: alone"]}


def test_one_subscriber_uses_channels_patterns_and_handlers_together(address):
    handled = []
    pubsub = redis.Redis(**address).pubsub()
    pubsub.subscribe("seed:s:news", "seed:s:sports", "seed:s:weather")
    pubsub.psubscribe("seed:user:*")
    pubsub.subscribe(**{"seed:s:handled": handled.append})
    publisher = redis.Redis(**address)
    wait_until(lambda: subscribers(address, "seed:s:handled") == 1)
    for channel in ("seed:s:sports", "seed:user:7", "seed:s:handled"):
        assert publisher.publish(channel, channel) == 1
    got = []
    for message in pubsub.listen():
        if message["type"] in ("message", "pmessage"):
            got.append((message["type"], message["channel"]))
        if handled and len(got) == 2:
            break
        if len(got) == 2:
            pubsub.get_message(timeout=DEADLINE_S)
            break
    assert got == [("message", b"seed:s:sports"), ("pmessage", b"seed:user:7")]
    assert [m["data"] for m in handled] == [b"seed:s:handled"]
    pubsub.close()


def test_structured_messages_and_several_channels(address):
    publisher, pubsub = redis.Redis(**address), redis.Redis(**address).pubsub(ignore_subscribe_messages=True)
    channels = ["seed:m:news", "seed:m:updates", "seed:m:alerts"]
    personal = [f"seed:u:42:{kind}" for kind in ("notifications", "messages", "updates")]
    pubsub.subscribe(*channels)
    pubsub.psubscribe("seed:u:42:*")
    wait_until(lambda: (pubsub.get_message(timeout=0.05), publisher.pubsub_numpat() >= 1)[1])
    body = {"type": "notification", "user_id": 123, "content": "Your order has been shipped", "timestamp": time.time()}
    assert [publisher.publish(c, json.dumps(body)) for c in channels + personal] == [1] * 6
    got = [wait_until(lambda: pubsub.get_message(timeout=0.1)) for _ in range(6)]
    assert [m["channel"].decode() for m in got] == channels + personal
    assert all(json.loads(m["data"]) == body for m in got)
    pubsub.close()


def test_clients_spread_over_several_connections_to_one_endpoint_are_one_audience(address):
    nodes = [redis.Redis(**address) for _ in range(3)]
    audience = []
    for node in nodes:
        pubsub = node.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe("seed:spread")
        audience.append(pubsub)
    wait_until(lambda: subscribers(address, "seed:spread") == 3)
    for turn in range(9):
        assert nodes[turn % 3].publish("seed:spread", turn) == 3
    for pubsub in audience:
        got = []
        while len(got) < 9:
            message = wait_until(lambda: pubsub.get_message(timeout=0.1))
            got.append(int(message["data"]))
        assert got == list(range(9))
        pubsub.close()


def test_a_connection_pool_and_a_batch_over_channel_partitions(address):
    client = redis.Redis(connection_pool=ConnectionPool(**address, max_connections=20))
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("seed:events:partition:*")
    wait_until(lambda: (pubsub.get_message(timeout=0.05), client.pubsub_numpat() >= 1)[1])
    pipe = client.pipeline()
    for number in range(100):
        pipe.publish(f"seed:events:partition:{number % 10}", number)
    assert pipe.execute() == [1] * 100
    got = [wait_until(lambda: pubsub.get_message(timeout=0.1)) for _ in range(100)]
    assert [int(m["data"]) for m in got] == list(range(100))
    pubsub.close()


def test_a_cluster_client_publishes_and_subscribes_through_any_start_node(cluster_broker):
    cluster = RedisCluster(host=HOST, port=cluster_broker.port)
    pubsub = cluster.pubsub()
    pubsub.subscribe("seed:cluster")
    assert pubsub.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
    assert cluster.publish("seed:cluster", "x") == 1
    assert wait_until(lambda: pubsub.get_message(timeout=0.1))["data"] == b"x"
    pubsub.close()
    cluster.close()
