"""MONITOR: every command that a client of the node gives, as it is given; no secrets; and no harm from who does not read."""

import re

import pytest

from lib.resp import Closed, RespError, Status
from lib.scrape import metrics
from lib.wait import wait_until

LINE = re.compile(r'^\d+\.\d{6} \[(\d+) (\S+)\] (.*)$')


def shown(monitor):
    """The next line: database, address, words."""
    line = monitor.recv()
    assert isinstance(line, Status)
    return LINE.match(str(line)).groups()


def words(monitor, address):
    """The next line that this address caused."""
    while True:
        _, who, text = shown(monitor)
        if who == address:
            return text


@pytest.fixture(name="watched")
def _watched(start_broker):
    """A broker of two workers, with a monitor on each."""
    broker = start_broker({"threads": 2})
    monitors = [broker.client() for _ in range(4)]
    for monitor in monitors:
        assert monitor.call("MONITOR") == "OK"
    return broker, monitors


def address_of(client):
    host, port = client.sock.getsockname()[:2]
    return f"{host}:{port}"


def test_all_monitors_see_the_commands_of_all_clients_in_each_ones_order(watched):
    broker, monitors = watched
    for _ in range(3):
        with broker.client() as client:
            me = address_of(client)
            client.calls([("SET", "k", 'a "quoted" \\ word'), ("SELECT", 3), ("get", b"\x00\xff\r\n\t"), ("PING",)])
            for monitor in monitors:
                assert words(monitor, me) == r'"SET" "k" "a \"quoted\" \\ word"'
                assert words(monitor, me) == '"SELECT" "3"'
                database, who, text = shown(monitor)
                assert (database, who, text) == ("3", me, r'"get" "\x00\xff\r\n\t"')
                assert words(monitor, me) == '"PING"'


def test_a_transaction_is_shown_when_it_is_executed_and_what_is_refused_is_not(watched):
    broker, monitors = watched
    with broker.client() as client:
        me = address_of(client)
        client.calls([("MULTI",), ("SET", "k", 1), ("PUBLISH", "c", "m"), ("DISCARD",), ("NOSUCH",), ("GET",), ("MULTI",),
                      ("SET", "k", 2), ("INCR", "k"), ("EXEC",)])
        expected = ['"MULTI"', '"DISCARD"', '"MULTI"', '"SET" "k" "2"', '"INCR" "k"', '"EXEC"']
        for monitor in monitors:
            assert [words(monitor, me) for _ in expected] == expected


def test_secrets_and_administration_are_not_shown(start_broker):
    broker = start_broker({"requirepass": "hush"})
    monitor = broker.client()
    monitor.call("AUTH", "hush")
    assert isinstance(broker.client().call("MONITOR"), RespError)
    assert monitor.call("MONITOR") == "OK"
    with broker.client() as client:
        me = address_of(client)
        client.call("HELLO", 3, "AUTH", "default", "hush")
        client.call("AUTH", "default", "hush")
        client.call("CONFIG", "SET", "requirepass", "hush")
        client.call("ECHO", "end")
        assert [words(monitor, me) for _ in range(3)] == [
            '"HELLO" "3" "AUTH" "(redacted)" "(redacted)"', '"AUTH" "(redacted)" "(redacted)"', '"ECHO" "end"']


def test_a_monitor_may_give_commands_and_ends_with_reset(watched):
    broker, monitors = watched
    monitor = monitors[0]
    assert b"flags=O" in broker.client().call("CLIENT", "LIST", "ID", monitor_id(monitor))
    monitor.send("RESET")
    while monitor.recv() != "RESET":
        pass
    with broker.client() as client:
        client.call("SET", "after", 1)
    assert monitor.call("PING") == "PONG"


def monitor_id(monitor):
    """Its own id: the answer comes among the lines."""
    monitor.send("CLIENT", "ID")
    while True:
        reply = monitor.recv()
        if isinstance(reply, int):
            return reply


def test_a_monitor_that_does_not_read_is_closed_at_its_limit(start_broker):
    broker = start_broker({"output-buffer-limit": "normal 0 0 0 pubsub 2mb 0 0", "threads": 2})
    monitors = [broker.client(recv_buffer_bytes=64 << 10) for _ in range(4)]
    for monitor in monitors:
        assert monitor.call("MONITOR") == "OK"
    with broker.client() as client:
        def dropped():
            client.calls([("ECHO", "x" * 60000)] * 20)
            return metrics(broker).value("fanfare_subscribers_dropped_total") == 4

        wait_until(dropped, what="all four are closed")
        assert client.call("PING") == "PONG"
    for monitor in monitors:
        with pytest.raises(Closed):
            while True:
                monitor.recv()
