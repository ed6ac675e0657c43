"""MULTI, EXEC, DISCARD, WATCH, UNWATCH with the commands of a message broker inside."""

import pytest

from lib.resp import RespError

ABORT = RespError("EXECABORT Transaction discarded because of previous errors.")


def test_commands_are_queued_and_answered_together(connect):
    subscriber, client = connect(), connect()
    subscriber.call("SUBSCRIBE", "multi")
    assert client.call("MULTI") == "OK"
    for number in range(5):
        assert client.call("PUBLISH", "multi", number) == "QUEUED"
    assert client.call("PING", "inside") == "QUEUED"
    with pytest.raises(TimeoutError):
        subscriber.recv(timeout_s=0.05)
    assert client.call("EXEC") == [1, 1, 1, 1, 1, b"inside"]
    assert [m[2] for m in subscriber.recv_many(5)] == [b"0", b"1", b"2", b"3", b"4"]


def test_an_empty_transaction_answers_an_empty_list(client):
    assert client.calls([("MULTI",), ("EXEC",)]) == ["OK", []]


def test_discard_forgets_everything(connect):
    subscriber, client = connect(), connect()
    subscriber.call("SUBSCRIBE", "discard")
    client.calls([("MULTI",), ("PUBLISH", "discard", "x")])
    assert client.call("DISCARD") == "OK"
    assert client.call("EXEC") == RespError("ERR EXEC without MULTI")
    assert client.call("PUBLISH", "discard", "y") == 1
    assert subscriber.recv() == [b"message", b"discard", b"y"]


@pytest.mark.parametrize("wrong,text", [
    (("nosuch", "x"), "ERR unknown command 'nosuch', with args beginning with: 'x' "),
    (("PUBLISH", "x"), "ERR wrong number of arguments for 'publish' command"),
    (("CLIENT", "nosuch"), "ERR unknown subcommand 'nosuch'. Try CLIENT HELP."),
], ids=["unknown", "arity", "subcommand"])
def test_a_wrong_command_while_queuing_aborts_the_transaction(wrong, text, connect):
    subscriber, client = connect(), connect()
    subscriber.call("SUBSCRIBE", "abort")
    client.calls([("MULTI",), ("PUBLISH", "abort", "never")])
    assert client.call(*wrong) == RespError(text)
    assert client.call("PUBLISH", "abort", "never") == "QUEUED"
    assert client.call("EXEC") == ABORT
    assert client.call("PUBLISH", "abort", "after") == 1
    assert subscriber.recv() == [b"message", b"abort", b"after"]


def test_an_error_while_executing_stops_nothing_else(client):
    client.call("MULTI")
    for command in (("PING",), ("SELECT", "abc"), ("CLIENT", "KILL", "1.2.3.4:5"), ("ECHO", "last")):
        assert client.call(*command) == "QUEUED"
    reply = client.call("EXEC")
    assert reply[0] == "PONG" and reply[3] == b"last"
    assert isinstance(reply[1], RespError) and isinstance(reply[2], RespError)


def test_multi_cannot_be_nested_and_that_does_not_abort(client):
    client.call("MULTI")
    assert client.call("MULTI") == RespError("ERR MULTI calls can not be nested")
    assert client.call("WATCH", "x") == RespError("ERR WATCH inside MULTI is not allowed")
    assert client.calls([("PING",), ("EXEC",)]) == ["QUEUED", ["PONG"]]


def test_watch_without_a_change_lets_the_transaction_run(client):
    assert client.call("WATCH", "a", "b") == "OK"
    assert client.calls([("MULTI",), ("PING",), ("EXEC",)]) == ["OK", "QUEUED", ["PONG"]]
    assert client.calls([("WATCH", "a"), ("UNWATCH",), ("MULTI",), ("EXEC",)]) == ["OK", "OK", "OK", []]


def test_unwatch_inside_a_transaction_is_queued(client):
    assert client.calls([("MULTI",), ("UNWATCH",), ("EXEC",)]) == ["OK", "QUEUED", ["OK"]]


def test_subscribing_inside_a_transaction_takes_effect(connect):
    client, publisher = connect(), connect()
    client.calls([("MULTI",), ("SUBSCRIBE", "in:multi"), ("PING",)])
    assert client.call("EXEC") == [[b"subscribe", b"in:multi", 1], [b"pong", b""]]
    assert publisher.call("PUBLISH", "in:multi", "x") == 1
    assert client.recv() == [b"message", b"in:multi", b"x"]


def test_quit_and_reset_work_inside_a_transaction(connect):
    client = connect()
    client.call("MULTI")
    assert client.call("RESET") == "RESET"
    assert client.call("EXEC") == RespError("ERR EXEC without MULTI")
    client.call("MULTI")
    client.send("QUIT")
    assert client.read_to_end() == b"+OK\r\n"


def test_some_commands_are_not_allowed_inside(client):
    client.call("MULTI")
    assert client.call("SHUTDOWN") == RespError("ERR Command not allowed inside a transaction")
    assert client.call("EXEC") == ABORT


def test_a_disconnect_in_the_middle_publishes_nothing(connect):
    subscriber, client, other = connect(), connect(), connect()
    subscriber.call("SUBSCRIBE", "half")
    client.calls([("MULTI",), ("PUBLISH", "half", "never")])
    client.close()
    assert other.call("PUBLISH", "half", "after") == 1
    assert subscriber.recv() == [b"message", b"half", b"after"]


def test_a_pipeline_as_redis_py_sends_it_is_answered_as_it_expects(client):
    requests = [("MULTI",)] + [("PUBLISH", "pipe", n) for n in range(1000)] + [("EXEC",)]
    replies = client.calls(requests)
    assert replies == ["OK"] + ["QUEUED"] * 1000 + [[0] * 1000]


def test_a_transaction_with_errors_in_resp3_answers_an_array_too(client3):
    assert client3.calls([("MULTI",), ("ECHO", "x"), ("CLIENT", "GETNAME"), ("EXEC",)]) == \
        ["OK", "QUEUED", "QUEUED", [b"x", None]]


@pytest.mark.parametrize("kind", ["SUBSCRIBE", "PSUBSCRIBE"])
def test_a_subscribe_of_very_many_names_in_a_transaction_ends_before_the_next_command(kind, client3):
    names = [f"many-{n}".encode() for n in range(3000)]
    assert client3.calls([("MULTI",), (kind, *names), ("ECHO", "after")]) == ["OK", "QUEUED", "QUEUED"]
    client3.send("EXEC")
    first, second = client3.recv()  # the confirmations take the places of the answers, as in Redis
    got = [first, second, *client3.recv_many(len(names) - 2)]
    assert got == [[kind.lower().encode(), name, n + 1] for n, name in enumerate(names)]
    assert client3.recv() == b"after"
