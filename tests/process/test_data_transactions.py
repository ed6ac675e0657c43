"""MULTI, EXEC, WATCH with keys: all at once, in the order of the queue, or not at all."""

import pytest

from lib.resp import RespError
from lib.wait import wait_until

pytestmark = pytest.mark.fanfare_only


@pytest.fixture(autouse=True)
def _empty(connect):
    assert connect().call("FLUSHALL") == "OK"


def test_data_and_other_commands_are_answered_in_the_order_of_the_queue(connect):
    subscriber, client = connect(), connect()
    subscriber.call("SUBSCRIBE", "c")
    commands = [("SET", "a", 1), ("PING",), ("INCR", "a"), ("PUBLISH", "c", "x"), ("GET", "a"), ("ECHO", "e"),
                ("LPUSH", "a", "x"), ("RPUSH", "l", 1, 2)]
    client.call("MULTI")
    assert client.calls(commands) == ["QUEUED"] * len(commands)
    assert client.call("EXEC") == ["OK", "PONG", 2, 1, b"2", b"e",
                                   RespError("WRONGTYPE Operation against a key holding the wrong kind of value"), 2]
    assert subscriber.recv() == [b"message", b"c", b"x"]


def test_a_transaction_is_seen_whole_or_not_at_all(connect):
    writer, reader = connect(), connect()
    writer.calls([("MSET", "a", 0, "b", 0)])
    for number in range(1, 200):
        writer.send_raw(b"MULTI\r\nSET a %d\r\nSET b %d\r\nEXEC\r\n" % (number, number))
        a, b = reader.call("MGET", "a", "b")
        assert a == b
    assert [writer.recv_many(4)[3] for _ in range(199)] == [["OK", "OK"]] * 199


@pytest.mark.parametrize("touch,aborts", [
    ([("SET", "w", 2)], True), ([("DEL", "w")], True), ([("SET", "other", 2)], False), ([("GET", "w")], False),
    ([("FLUSHALL",)], True), ([("EXPIRE", "w", 100)], True), ([("RENAME", "w", "v")], True), ([], False),
], ids=["set", "del", "other", "read", "flushall", "expire", "rename", "nothing"])
def test_watch(touch, aborts, connect):
    client, other = connect(), connect()
    client.calls([("SET", "w", 1), ("WATCH", "w", "absent")])
    for command in touch:
        other.call(*command)
    client.calls([("MULTI",), ("SET", "done", 1)])
    assert client.call("EXEC") == (None if aborts else ["OK"])
    assert client.call("EXISTS", "done") == (0 if aborts else 1)
    client.calls([("MULTI",), ("SET", "again", 1)])
    assert client.call("EXEC") == ["OK"], "EXEC has ended the watch"


def test_a_watched_key_that_comes_aborts_and_unwatch_forgets(connect):
    client, other = connect(), connect()
    client.call("WATCH", "new")
    other.call("SET", "new", 1)
    assert client.calls([("MULTI",), ("PING",), ("EXEC",)]) == ["OK", "QUEUED", None]
    client.calls([("WATCH", "new"), ("UNWATCH",)])
    other.call("SET", "new", 2)
    assert client.calls([("MULTI",), ("PING",), ("EXEC",)]) == ["OK", "QUEUED", ["PONG"]]


def test_watch_makes_compare_and_set(connect):
    clients = [connect() for _ in range(8)]
    for _ in range(20):
        for client in clients:
            client.call("WATCH", "n")
        values = [int(client.call("GET", "n") or 0) for client in clients]
        done = [client.calls([("MULTI",), ("SET", "n", value + 1), ("EXEC",)])[2] for client, value in zip(clients, values)]
        assert sum(reply == ["OK"] for reply in done) == 1
    assert clients[0].call("GET", "n") == b"20"


def test_select_inside_counts_and_two_partitions_are_refused(client):
    client.calls([("MULTI",), ("SELECT", 3), ("SET", "k", 1)])
    assert client.call("EXEC") == ["OK", "OK"]
    assert client.call("GET", "k") == b"1", "database 3 is selected now"
    client.calls([("SELECT", 0), ("MULTI",), ("SET", "k", 1), ("SELECT", 3), ("SET", "k", 2)])
    reply = client.call("EXEC")
    assert isinstance(reply, RespError) and "one partition" in str(reply)
    assert client.calls([("GET", "k"), ("SELECT", 3), ("GET", "k")]) == [None, "OK", b"1"]


def test_flushall_inside_empties_all_databases(client):
    client.calls([("SELECT", 4), ("SET", "k", 1), ("SELECT", 0)])
    client.calls([("MULTI",), ("SET", "a", 1), ("FLUSHALL",), ("SET", "b", 1)])
    assert client.call("EXEC") == ["OK", "OK", "OK"]
    assert client.calls([("KEYS", "*"), ("SELECT", 4), ("DBSIZE",)]) == [[b"b"], "OK", 0]


def test_what_blocks_does_not_block_inside(client):
    commands = [("BLPOP", "none", 0), ("XREAD", "BLOCK", 0, "STREAMS", "none", "$"), ("RPUSH", "l", "x"), ("BLPOP", "l", 0)]
    client.call("MULTI")
    client.calls(commands)
    assert client.call("EXEC") == [None, None, 1, [b"l", b"x"]]


def test_a_client_that_goes_during_exec_leaves_no_trace(broker, connect):
    other = connect()
    for number in range(50):
        with broker.client() as client:
            client.send_raw(b"WATCH x\r\nMULTI\r\nINCR n\r\nINCR m\r\nPUBLISH c %d\r\nEXEC\r\n" % number)
    wait_until(lambda: other.call("CLIENT", "LIST").count(b"\n") <= 2)
    n, m = other.call("MGET", "n", "m")
    assert n == m
