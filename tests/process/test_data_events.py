"""notify-keyspace-events: changes of keys reach subscribers as messages, in the order of the changes."""

import pytest

from lib.resp import RespError
from lib.wait import wait_until

pytestmark = pytest.mark.fanfare_only


@pytest.fixture(name="notifying")
def _notifying(start_broker):
    return start_broker({"notify-keyspace-events": "KEA", "threads": 2})


def test_both_kinds_of_channel(notifying):
    with notifying.client() as subscriber, notifying.client() as client:
        subscriber.call("PSUBSCRIBE", "__key*__:*")
        client.calls([("SELECT", 3), ("SET", "k", 1), ("LPUSH", "l", "a"), ("DEL", "k")])
        assert [message[2:] for message in subscriber.recv_many(6)] == [
            [b"__keyspace@3__:k", b"set"], [b"__keyevent@3__:set", b"k"],
            [b"__keyspace@3__:l", b"lpush"], [b"__keyevent@3__:lpush", b"l"],
            [b"__keyspace@3__:k", b"del"], [b"__keyevent@3__:del", b"k"]]


def test_the_events_of_a_key_are_in_order(notifying):
    with notifying.client() as subscriber, notifying.client() as client:
        subscriber.call("SUBSCRIBE", "__keyspace@0__:n")
        commands = [("INCR", "n"), ("EXPIRE", "n", 100), ("PERSIST", "n"), ("DEL", "n")] * 200
        client.calls(commands)
        events = {"INCR": b"incrby", "EXPIRE": b"expire", "PERSIST": b"persist", "DEL": b"del"}
        assert [message[2] for message in subscriber.recv_many(800)] == [events[command[0]] for command in commands]


def test_a_key_that_expires_says_so(notifying):
    with notifying.client() as subscriber, notifying.client() as client:
        subscriber.call("SUBSCRIBE", "__keyevent@0__:expired")
        client.call("SET", "k", 1, "PX", 50)
        assert subscriber.recv() == [b"message", b"__keyevent@0__:expired", b"k"]


def test_the_option_is_read_and_written_as_redis_does(notifying):
    with notifying.client() as subscriber, notifying.client() as client:
        assert client.call("CONFIG", "GET", "notify-keyspace-events") == [b"notify-keyspace-events", b"AKE"]
        assert client.call("CONFIG", "SET", "notify-keyspace-events", "Kl") == "OK"
        assert client.call("CONFIG", "GET", "notify-keyspace-events")[1] == b"lK"
        assert isinstance(client.call("CONFIG", "SET", "notify-keyspace-events", "Q"), RespError)
        subscriber.call("PSUBSCRIBE", "__key*__:*")
        client.calls([("SET", "s", 1), ("RPUSH", "l", 1)])
        assert subscriber.recv() == [b"pmessage", b"__key*__:*", b"__keyspace@0__:l", b"rpush"]
        assert client.call("CONFIG", "SET", "notify-keyspace-events", "") == "OK"
        client.call("RPUSH", "l", 2)
        wait_until(lambda: client.call("PUBLISH", "__keyspace@0__:end", "x") == 1)
        assert subscriber.recv()[3] == b"x"
