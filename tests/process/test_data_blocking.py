"""Commands that wait for a key: in order of arrival, with a timeout, and nothing is taken for a client that has gone."""

import time

import pytest

from lib.resp import RespError
from lib.wait import wait_until

pytestmark = pytest.mark.fanfare_only


@pytest.fixture(autouse=True)
def _empty(connect):
    assert connect().call("FLUSHALL") == "OK"


@pytest.fixture(name="blocked")
def _blocked(broker):
    """Wait until so many clients are blocked."""
    def wait(count):
        wait_until(lambda: broker.info("clients")["blocked_clients"] == str(count), what=f"{count} blocked clients")
    return wait


@pytest.mark.parametrize("command,push,reply", [
    (("BLPOP", "k", 0), ("RPUSH", "k", "a"), [b"k", b"a"]),
    (("BRPOP", "j", "k", 0), ("RPUSH", "k", "a", "b"), [b"k", b"b"]),
    (("BLMOVE", "k", "d", "LEFT", "RIGHT", 0), ("RPUSH", "k", "a"), b"a"),
    (("BRPOPLPUSH", "k", "d", 0), ("RPUSH", "k", "a"), b"a"),
    (("BLMPOP", 0, 2, "j", "k", "LEFT", "COUNT", 2), ("RPUSH", "k", "a", "b", "c"), [b"k", [b"a", b"b"]]),
    (("BZPOPMIN", "k", 0), ("ZADD", "k", 1.5, "a"), [b"k", b"a", b"1.5"]),
    (("BZPOPMAX", "k", 0), ("ZADD", "k", 1, "a", 2, "b"), [b"k", b"b", b"2"]),
    (("BZMPOP", 0, 1, "k", "MIN"), ("ZADD", "k", 1, "a"), [b"k", [[b"a", b"1"]]]),
    (("XREAD", "BLOCK", 0, "STREAMS", "k", "$"), ("XADD", "k", "1-1", "f", "v"), [[b"k", [[b"1-1", [b"f", b"v"]]]]]),
], ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_who_waits_is_served(command, push, reply, connect, blocked):
    waiter, other = connect(), connect()
    waiter.send(*command)
    blocked(1)
    other.call(*push)
    assert waiter.recv() == reply
    blocked(0)


def test_the_first_to_wait_is_the_first_to_be_served(connect, blocked):
    waiters, other = [connect() for _ in range(10)], connect()
    for number, waiter in enumerate(waiters):
        waiter.send("BLPOP", "k", 0)
        blocked(number + 1)
    other.call("RPUSH", "k", *range(10))
    assert [waiter.recv() for waiter in waiters] == [[b"k", b"%d" % number] for number in range(10)]
    assert other.call("EXISTS", "k") == 0


def test_a_group_gives_each_entry_to_one(connect, blocked):
    waiters, other = [connect() for _ in range(3)], connect()
    other.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    for number, waiter in enumerate(waiters):
        waiter.send("XREADGROUP", "GROUP", "g", f"c{number}", "COUNT", 1, "BLOCK", 0, "STREAMS", "s", ">")
        blocked(number + 1)
    for number in range(1, 4):
        other.call("XADD", "s", f"{number}-1", "n", number)
    assert sorted(waiter.recv()[0][1][0][0] for waiter in waiters) == [b"1-1", b"2-1", b"3-1"]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("command", [
    ("BLPOP", "k", 0.05), ("BLMOVE", "k", "d", "LEFT", "LEFT", 0.05), ("BLMPOP", 0.05, 1, "k", "LEFT"),
    ("BZPOPMIN", "k", 0.05), ("BZMPOP", 0.05, 1, "k", "MAX"), ("XREAD", "BLOCK", 50, "STREAMS", "k", "$"),
], ids=lambda value: value[0])
def test_the_time_ends(command, protocol, connect):
    client = connect(protocol)
    began = time.monotonic()
    assert client.call(*command) is None
    assert time.monotonic() - began >= 0.05
    assert client.call("PING") == "PONG"


@pytest.mark.parametrize("command,error", [
    (("BLPOP", "k", -1), "ERR timeout is negative"),
    (("BLPOP", "k", "x"), "ERR timeout is not a float or out of range"),
    (("BZMPOP", -1, 1, "k", "MIN"), "ERR timeout is negative"),
    (("BLMPOP", 0, 0, "k", "LEFT"), "ERR numkeys should be greater than 0"),
    (("XREAD", "BLOCK", -1, "STREAMS", "k", 0), "ERR timeout is negative"),
    (("XREAD", "BLOCK", "x", "STREAMS", "k", 0), "ERR timeout is not an integer or out of range"),
], ids=lambda value: value if isinstance(value, str) else value[0])
def test_a_timeout_that_makes_no_sense_is_refused(command, error, client):
    assert client.call(*command) == RespError(error)


@pytest.mark.parametrize("reason,reply", [((), None), (("TIMEOUT",), None),
                                          (("ERROR",), RespError("UNBLOCKED client unblocked via CLIENT UNBLOCK"))])
def test_client_unblock_ends_the_wait(reason, reply, connect, blocked):
    waiter, other = connect(), connect()
    number = waiter.call("CLIENT", "ID")
    assert other.call("CLIENT", "UNBLOCK", number, *reason) == 0
    waiter.send("BLPOP", "k", 0)
    blocked(1)
    assert b" flags=b " in other.call("CLIENT", "LIST", "ID", number)
    assert other.call("CLIENT", "UNBLOCK", number, *reason) == 1
    assert waiter.recv() == reply
    assert other.calls([("RPUSH", "k", "a"), ("LLEN", "k")]) == [1, 1]


@pytest.mark.parametrize("command,push,left", [
    (("BLPOP", "k", 0), ("RPUSH", "k", "a", "b"), ("LRANGE", "k", 0, -1)),
    (("BZPOPMAX", "k", 0), ("ZADD", "k", 1, "a", 2.5, "b"), ("ZRANGE", "k", 0, -1, "WITHSCORES")),
], ids=["list", "sorted set"])
def test_who_has_gone_takes_nothing(command, push, left, broker, connect, blocked):
    """The client's end and the push race; whoever wins, nothing is lost and nothing changes places."""
    other = connect()
    for _ in range(30):
        waiter = broker.client()
        waiter.send(*command)
        blocked(1)
        waiter.close()
        other.call(*push)
        other.send(*left)
        expected = [b"a", b"b"] if push[0] == "RPUSH" else [b"a", b"1", b"b", b"2.5"]
        first = other.recv()
        if first != expected:
            wait_until(lambda: other.call(*left) == expected, what="the element is back")
        blocked(0)
        other.call("DEL", "k")


def test_a_client_that_is_killed_while_it_waits_is_gone(connect, blocked):
    waiter, other = connect(), connect()
    number = waiter.call("CLIENT", "ID")
    waiter.send("BLPOP", "k", 0)
    blocked(1)
    assert other.call("CLIENT", "KILL", "ID", number) == 1
    blocked(0)
    assert other.calls([("RPUSH", "k", "a"), ("LRANGE", "k", 0, -1)]) == [1, [b"a"]]


def test_commands_behind_one_that_waits_run_after_it(connect, blocked):
    waiter, other = connect(), connect()
    waiter.send_raw(b"SET a 1\r\nBLPOP k 0\r\nINCR a\r\nGET a\r\n")
    blocked(1)
    assert other.call("GET", "a") == b"1"
    other.call("RPUSH", "k", "x")
    assert waiter.recv_many(4) == ["OK", [b"k", b"x"], 2, b"2"]


def test_a_broker_with_clients_that_wait_stops_at_once(start_broker):
    broker = start_broker()
    clients = [broker.client() for _ in range(3)]
    for client in clients:
        client.send("BLPOP", "k", 0)
    wait_until(lambda: broker.info("clients")["blocked_clients"] == "3")
    began = time.monotonic()
    assert broker.terminate() == 0
    assert time.monotonic() - began < 5
