"""Publish and subscribe as one client after the other sees it: every message form, count and confirmation.

Order, counts and completeness under load are in test_order.py.
"""

import random

import pytest

from lib.resp import Push, RespError
from lib.wait import wait_until

KINDS = {
    "subscribe": ("SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", b"message"),
    "ssubscribe": ("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH", b"smessage"),
}
ALL_KINDS = pytest.mark.parametrize("kind", KINDS)
BOTH_PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3], ids=["RESP2", "RESP3"])

RESP2_REFUSAL = ("ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed "
                 "in this context")


@pytest.fixture
def fresh(start_broker):
    """A broker with nobody else on it: for counts over all channels."""
    return start_broker()


@BOTH_PROTOCOLS
@ALL_KINDS
def test_a_subscriber_receives_what_is_published_and_the_publisher_learns_the_count(kind, protocol, connect):
    subscribe, _, publish, message = KINDS[kind]
    subscriber, other, publisher = connect(protocol), connect(protocol), connect()
    subscriber.send(subscribe, "one", "two")
    assert subscriber.recv_many(2) == [[kind.encode(), b"one", 1], [kind.encode(), b"two", 2]]
    assert publisher.call(publish, "one", "hello") == 1
    other.send(subscribe, "one")
    assert other.recv() == [kind.encode(), b"one", 1]
    assert publisher.call(publish, "one", "again") == 2
    assert publisher.call(publish, "two", "world") == 1
    assert subscriber.recv_many(3) == [[message, b"one", b"hello"], [message, b"one", b"again"],
                                       [message, b"two", b"world"]]
    assert other.recv() == [message, b"one", b"again"]


@BOTH_PROTOCOLS
def test_messages_and_confirmations_are_pushes_in_resp3_and_arrays_in_resp2(protocol, connect):
    subscriber, publisher = connect(protocol), connect()
    subscriber.send("SUBSCRIBE", "form")
    confirmation = subscriber.recv()
    publisher_count = publisher.call("PUBLISH", "form", "x")
    subscriber.send("UNSUBSCRIBE", "form")
    forms = [confirmation, subscriber.recv(), subscriber.recv()]
    assert publisher_count == 1
    assert [isinstance(form, Push) for form in forms] == [protocol == 3] * 3


@ALL_KINDS
def test_the_bytes_of_a_message_are_exactly_those_of_redis(kind, connect):
    subscribe, unsubscribe, publish, message = KINDS[kind]
    for protocol, lead in ((2, b"*"), (3, b">")):
        subscriber, publisher = connect(protocol), connect()
        subscriber.send(subscribe, "bytes")
        name = kind.encode()
        subscriber.recv_exactly(lead + b"3\r\n$%d\r\n%b\r\n$5\r\nbytes\r\n:1\r\n" % (len(name), name))
        assert publisher.call(publish, "bytes", "p") == 1
        subscriber.recv_exactly(lead + b"3\r\n$%d\r\n%b\r\n$5\r\nbytes\r\n$1\r\np\r\n" % (len(message), message))
        subscriber.send(unsubscribe)
        name = unsubscribe.lower().encode()
        subscriber.recv_exactly(lead + b"3\r\n$%d\r\n%b\r\n$5\r\nbytes\r\n:0\r\n" % (len(name), name))


@ALL_KINDS
def test_after_an_unsubscribe_nothing_more_arrives(kind, connect):
    subscribe, unsubscribe, publish, message = KINDS[kind]
    subscriber, publisher = connect(), connect()
    subscriber.send(subscribe, "off:1", "off:2")
    subscriber.recv_many(2)
    subscriber.send(unsubscribe, "off:1")
    assert subscriber.recv() == [unsubscribe.lower().encode(), b"off:1", 1]
    assert publisher.call(publish, "off:1", "lost") == 0
    assert publisher.call(publish, "off:2", "kept") == 1
    assert subscriber.recv() == [message, b"off:2", b"kept"]
    subscriber.send(unsubscribe, "off:2")
    assert subscriber.recv() == [unsubscribe.lower().encode(), b"off:2", 0]
    assert publisher.call(publish, "off:2", "lost") == 0
    assert subscriber.is_silent()


@ALL_KINDS
def test_an_unsubscribe_without_names_ends_all_of_its_kind(kind, connect):
    subscribe, unsubscribe, publish, _ = KINDS[kind]
    subscriber, publisher = connect(), connect()
    names = {b"all:1", b"all:2", b"all:3"}
    subscriber.send(subscribe, *sorted(names))
    subscriber.recv_many(3)
    subscriber.send(unsubscribe)
    ends = subscriber.recv_many(3)
    assert {end[1] for end in ends} == names
    assert [end[2] for end in ends] == [2, 1, 0]
    assert [publisher.call(publish, name, "x") for name in names] == [0, 0, 0]


@BOTH_PROTOCOLS
@pytest.mark.parametrize("command", ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"])
def test_an_unsubscribe_of_nothing_is_still_confirmed(command, protocol, connect):
    client = connect(protocol)
    name = command.lower().encode()
    client.send(command)
    assert client.recv() == [name, None, 0]
    client.send(command, "a", "b")
    assert client.recv_many(2) == [[name, b"a", 0], [name, b"b", 0]]
    assert client.is_silent()


@ALL_KINDS
def test_subscribing_twice_counts_and_delivers_once(kind, connect):
    subscribe, _, publish, message = KINDS[kind]
    subscriber, publisher = connect(3), connect()
    subscriber.send(subscribe, "twice", "twice", "twice")
    assert [reply[2] for reply in subscriber.recv_many(3)] == [1, 1, 1]
    assert publisher.call(publish, "twice", "x") == 1
    assert subscriber.recv() == [message, b"twice", b"x"]
    assert subscriber.is_silent()


def test_shard_channels_and_channels_of_the_same_name_do_not_mix(connect):
    sharded, plain, publisher = connect(), connect(), connect()
    sharded.call("SSUBSCRIBE", "same")
    plain.call("SUBSCRIBE", "same")
    assert publisher.call("SPUBLISH", "same", "s") == 1
    assert publisher.call("PUBLISH", "same", "p") == 1
    assert sharded.recv() == [b"smessage", b"same", b"s"]
    assert plain.recv() == [b"message", b"same", b"p"]


def test_patterns_do_not_match_shard_channels(connect):
    subscriber, publisher = connect(), connect()
    subscriber.call("PSUBSCRIBE", "shardonly*")
    assert publisher.call("SPUBLISH", "shardonly:1", "x") == 0


def test_confirmation_counts_cover_channels_and_patterns_together_and_shard_channels_apart(client):
    client.send("SUBSCRIBE", "c1")
    client.send("PSUBSCRIBE", "p*")
    client.send("SSUBSCRIBE", "s1")
    client.send("SUBSCRIBE", "c2")
    client.send("UNSUBSCRIBE")
    client.send("PUNSUBSCRIBE")
    client.send("SUNSUBSCRIBE")
    assert [reply[2] for reply in client.recv_many(8)] == [1, 2, 1, 3, 2, 1, 0, 0]


def test_a_pattern_receives_the_channel_and_the_pattern_it_matched(connect):
    subscriber, publisher = connect(), connect()
    subscriber.send("PSUBSCRIBE", "foo.*", "bar.*")
    assert subscriber.recv_many(2) == [[b"psubscribe", b"foo.*", 1], [b"psubscribe", b"bar.*", 2]]
    counts = [publisher.call("PUBLISH", name, "x") for name in ("foo.1", "bar.1", "foo1", "barfoo.1", "qux.1", "foo.")]
    assert counts == [1, 1, 0, 0, 0, 1]
    assert subscriber.recv_many(3) == [[b"pmessage", b"foo.*", b"foo.1", b"x"], [b"pmessage", b"bar.*", b"bar.1", b"x"],
                                       [b"pmessage", b"foo.*", b"foo.", b"x"]]
    subscriber.send("PUNSUBSCRIBE", "foo.*")
    assert subscriber.recv() == [b"punsubscribe", b"foo.*", 1]
    assert publisher.call("PUBLISH", "foo.1", "x") == 0
    assert publisher.call("PUBLISH", "bar.1", "x") == 1


@BOTH_PROTOCOLS
def test_a_client_is_counted_and_served_once_per_matching_subscription(protocol, connect):
    subscriber, publisher = connect(protocol), connect()
    subscriber.send("SUBSCRIBE", "multi.1")
    subscriber.send("PSUBSCRIBE", "multi.*", "m*1")
    subscriber.recv_many(3)
    assert publisher.call("PUBLISH", "multi.1", "x") == 3
    got = subscriber.recv_many(3)
    assert got[0] == [b"message", b"multi.1", b"x"], "the channel comes before the patterns"
    assert sorted(got[1:]) == [[b"pmessage", b"m*1", b"multi.1", b"x"], [b"pmessage", b"multi.*", b"multi.1", b"x"]]


GLOBS = [
    ("h?llo", ["hello", "hallo", "hxllo", "h?llo"], ["hllo", "heello", "Hello"]),
    ("h*llo", ["hllo", "heeeello", "h*llo"], ["hell", "ahello"]),
    ("h[ae]llo", ["hello", "hallo"], ["hillo", "hllo"]),
    ("h[^e]llo", ["hallo", "hbllo"], ["hello"]),
    ("h[a-b]llo", ["hallo", "hbllo"], ["hcllo"]),
    ("h[b-a]llo", ["hallo", "hbllo"], ["hcllo"]),
    ("h\\*llo", ["h*llo"], ["hxllo", "hllo"]),
    ("h\\[llo", ["h[llo"], ["hllo"]),
    ("h[\\]]llo", ["h]llo"], ["h\\llo"]),
    ("*", ["x", "any*thing"], []),
    ("**", ["x", "xy"], []),
    ("*a*b*c", ["abc", "xaxbxc", "aabbcc"], ["ab", "acb"]),
    ("", [""], ["x"]),
    ("[", [], ["[", "x"]),
    ("h[", [], ["h", "h[", "hx"]),
    ("h[a", ["ha"], ["hb", "h"]),
    ("h\\", ["h\\"], ["h"]),
    ("a\x00*", ["a\x00", "a\x00b"], ["a", "ab"]),
    ("*.\xff", ["x.\xff"], ["x."]),
]


@pytest.mark.parametrize("pattern,matching,others", GLOBS, ids=[repr(g[0]) for g in GLOBS])
def test_patterns_match_as_redis_globs_do(pattern, matching, others, connect):
    subscriber, publisher = connect(), connect()
    subscriber.send("PSUBSCRIBE", pattern.encode("latin-1"))
    subscriber.recv()
    for name in matching + others:
        expected = 1 if name in matching else 0
        assert publisher.call("PUBLISH", name.encode("latin-1"), "x") == expected, f"{pattern!r} and {name!r}"


def test_a_pattern_that_invites_backtracking_does_not_stop_the_broker(connect):
    subscriber, publisher = connect(), connect()
    subscriber.call("PSUBSCRIBE", "a*" * 30 + "b")
    assert publisher.call("PUBLISH", "a" * 200, "x") == 0
    assert publisher.call("PUBLISH", "a" * 200 + "b", "x") == 1


def test_thousands_of_patterns_each_get_their_channels_and_no_others(connect):
    """Random patterns and channels: the count must equal a plain walk over all patterns."""
    import fnmatch
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    subscriber, publisher = connect(), connect()
    patterns = sorted({"".join(rng.choices("ab*?.", k=rng.randint(1, 6))) for _ in range(3000)})
    subscriber.send("PSUBSCRIBE", *patterns)
    subscriber.recv_many(len(patterns))
    for gone in patterns[::3]:
        subscriber.send("PUNSUBSCRIBE", gone)
    subscriber.recv_many(len(patterns[::3]))
    left = sorted(set(patterns) - set(patterns[::3]))
    for _ in range(30):
        channel = "".join(rng.choices("ab.", k=rng.randint(1, 6)))
        expected = [p for p in left if fnmatch.fnmatchcase(channel, p)]
        assert publisher.call("PUBLISH", channel, "x") == len(expected), f"seed {seed}, channel {channel}"
        got = subscriber.recv_many(len(expected))
        assert sorted(m[1].decode() for m in got) == expected, f"seed {seed}, channel {channel}"


@pytest.mark.parametrize("command", [("TIME",), ("PUBLISH", "a", "b"), ("SPUBLISH", "a", "b"), ("MULTI",),
                                     ("HELLO", "3"), ("AUTH", "x"), ("ECHO", "x"), ("CLIENT", "ID"), ("SELECT", "0"),
                                     ("PUBSUB", "NUMPAT"), ("COMMAND", "COUNT")], ids=lambda c: " ".join(c))
@pytest.mark.parametrize("subscribe", ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"])
def test_a_resp2_subscriber_is_refused_other_commands_with_the_known_text(subscribe, command, client):
    client.call(subscribe, "restricted")
    names = {"CLIENT": "client|id", "PUBSUB": "pubsub|numpat", "COMMAND": "command|count"}
    name = names.get(command[0], command[0].lower())
    assert client.call(*command) == RespError(RESP2_REFUSAL.format(name))


@pytest.mark.fanfare_only  # Redis knows it, and says the same
def test_a_command_of_redis_that_is_unknown_here_is_told_the_same_by_a_resp2_subscriber(client):
    client.call("SUBSCRIBE", "refused")
    assert client.call("set", "a", "b") == RespError(RESP2_REFUSAL.format("set"))


@pytest.mark.fanfare_only  # Redis: by hash
@BOTH_PROTOCOLS
def test_everything_is_given_up_in_the_order_in_which_it_was_subscribed_to(protocol, connect):
    client = connect(protocol)
    names = [b"order:%d" % (n * 7919 % 101) for n in range(100)]
    for kind in ("", "P", "S"):
        client.send(f"{kind}SUBSCRIBE", *names)
        client.recv_many(len(names))
    for kind in ("P", "", "S"):
        client.send(f"{kind}UNSUBSCRIBE")
        assert [answer[1] for answer in client.recv_many(len(names))] == names


@pytest.mark.fanfare_only  # Redis: by hash
def test_a_message_comes_by_the_channel_first_then_by_the_patterns_that_begin_less_exactly(connect):
    client, publisher = connect(3), connect()
    patterns = [b"news:long*", b"n*", b"*", b"news:*"]
    client.send("PSUBSCRIBE", *patterns)
    client.send("SUBSCRIBE", "news:long")
    client.recv_many(5)
    assert publisher.call("PUBLISH", "news:long", "x") == 5
    assert [m[1] for m in client.recv_many(5)] == [b"news:long", b"*", b"n*", b"news:*", b"news:long*"]


def test_a_resp2_subscriber_may_ping_and_gets_an_array(client):
    client.call("SUBSCRIBE", "ping")
    assert client.call("PING") == [b"pong", b""]
    assert client.call("PING", "hello") == [b"pong", b"hello"]
    client.call("UNSUBSCRIBE", "ping")
    assert client.call("PING") == "PONG"


def test_a_resp2_subscriber_gets_arity_errors_as_usual(client):
    client.call("SUBSCRIBE", "unknown")
    assert client.call("PING", "a", "b") == RespError("ERR wrong number of arguments for 'ping' command")


def test_a_resp3_subscriber_may_run_any_command(client3):
    client3.send("SUBSCRIBE", "free")
    assert client3.recv() == [b"subscribe", b"free", 1]
    assert client3.call("PING") == "PONG"
    assert client3.call("ECHO", "x") == b"x"
    assert isinstance(client3.call("CLIENT", "ID"), int)
    assert client3.call("MULTI") == "OK"
    assert client3.call("PING") == "QUEUED"
    assert client3.call("EXEC") == ["PONG"]


def test_a_resp3_client_that_publishes_to_itself_gets_both_the_push_and_the_count(client3):
    client3.send("SUBSCRIBE", "self")
    client3.recv()
    client3.send("PUBLISH", "self", "x")
    assert sorted(client3.recv_many(2), key=str) == [1, [b"message", b"self", b"x"]]


@pytest.mark.fanfare_only  # redis 7.0 writes them into the middle of EXEC's answer; 7.2 corrected that
def test_messages_caused_inside_exec_stay_outside_its_answer(client3):
    client3.calls([("MULTI",), ("SUBSCRIBE", "exec:self"), ("PUBLISH", "exec:self", "x"), ("PING",)])
    client3.send("EXEC")
    got = client3.recv_many(2)
    assert [b"message", b"exec:self", b"x"] in got
    assert [[b"subscribe", b"exec:self", 1], 1, "PONG"] in got


def test_a_disconnected_subscriber_is_no_longer_counted(connect):
    subscriber, publisher = connect(), connect()
    subscriber.send("SUBSCRIBE", "gone")
    subscriber.send("PSUBSCRIBE", "gon*")
    subscriber.recv_many(2)
    assert publisher.call("PUBLISH", "gone", "x") == 2
    subscriber.close()
    wait_until(lambda: publisher.call("PUBLISH", "gone", "x") == 0)
    assert publisher.call("PUBSUB", "NUMSUB", "gone") == [b"gone", 0]


def test_quit_in_subscribe_mode_is_answered_and_closes(client):
    client.call("SUBSCRIBE", "quit")
    client.send("QUIT")
    assert client.read_to_end() == b"+OK\r\n"


@BOTH_PROTOCOLS
def test_reset_ends_all_subscriptions_and_goes_back_to_resp2(protocol, connect):
    client, publisher = connect(protocol), connect()
    client.send("SUBSCRIBE", "reset:1")
    client.send("PSUBSCRIBE", "reset:*")
    client.send("SSUBSCRIBE", "reset:1")
    client.recv_many(3)
    assert client.call("RESET") == "RESET"
    assert publisher.call("PUBLISH", "reset:1", "x") == 0
    assert publisher.call("SPUBLISH", "reset:1", "x") == 0
    assert client.call("HELLO")[4:6] == [b"proto", 2]


def test_a_reset_of_very_many_subscriptions_is_over_before_the_next_command(client3):
    names = [f"reset:many:{number}" for number in range(10000)]
    client3.send("SUBSCRIBE", *names)
    client3.recv_many(len(names))
    client3.send("RESET")
    client3.send("PUBLISH", names[0], "x")
    client3.send("PUBLISH", names[-1], "x")
    client3.send("PUBSUB", "CHANNELS", "reset:many:*")
    assert client3.recv_many(4) == ["RESET", 0, 0, []]


def test_a_client_that_switches_protocol_while_subscribed_gets_messages_in_the_new_form(connect):
    subscriber, publisher = connect(3), connect()
    subscriber.send("SUBSCRIBE", "switch")
    assert isinstance(subscriber.recv(), Push)
    subscriber.call("HELLO", 2)
    publisher.call("PUBLISH", "switch", "x")
    message = subscriber.recv()
    assert message == [b"message", b"switch", b"x"] and not isinstance(message, Push)
    assert subscriber.call("PING") == [b"pong", b""]


def test_pubsub_answers_for_all_clients(fresh):
    one, two, asker = fresh.client(), fresh.client(), fresh.client()
    one.send("SUBSCRIBE", "a:1", "a:2", "b:1")
    one.send("PSUBSCRIBE", "a:*", "b:*")
    one.send("SSUBSCRIBE", "s:1")
    two.send("SUBSCRIBE", "a:1")
    two.send("PSUBSCRIBE", "a:*")
    two.send("SSUBSCRIBE", "s:1", "s:2")
    one.recv_many(6)
    two.recv_many(4)
    assert sorted(asker.call("PUBSUB", "CHANNELS")) == [b"a:1", b"a:2", b"b:1"]
    assert sorted(asker.call("PUBSUB", "CHANNELS", "a:*")) == [b"a:1", b"a:2"]
    assert asker.call("PUBSUB", "CHANNELS", "nothing*") == []
    assert asker.call("PUBSUB", "NUMSUB", "a:1", "a:2", "none", "a:1") == [b"a:1", 2, b"a:2", 1, b"none", 0, b"a:1", 2]
    assert asker.call("PUBSUB", "NUMSUB") == []
    assert asker.call("PUBSUB", "NUMPAT") == 2, "distinct patterns, not subscriptions"
    assert sorted(asker.call("PUBSUB", "SHARDCHANNELS")) == [b"s:1", b"s:2"]
    assert asker.call("PUBSUB", "SHARDCHANNELS", "*2") == [b"s:2"]
    assert asker.call("PUBSUB", "SHARDNUMSUB", "s:1", "s:2", "none") == [b"s:1", 2, b"s:2", 1, b"none", 0]
    for client in (one, two):
        client.close()
    wait_until(lambda: asker.call("PUBSUB", "CHANNELS") == [] and asker.call("PUBSUB", "NUMPAT") == 0
               and asker.call("PUBSUB", "SHARDCHANNELS") == [])
    asker.close()


def test_many_channels_on_one_connection_each_deliver(connect):
    subscriber, publisher = connect(), connect()
    names = [b"wide:%d" % n for n in range(20000)]
    subscriber.send("SUBSCRIBE", *names)
    assert [r[2] for r in subscriber.recv_many(len(names))] == list(range(1, len(names) + 1))
    chosen = random.sample(names, 500)
    assert set(publisher.calls(("PUBLISH", name, name) for name in chosen)) == {1}
    assert [m[1] for m in subscriber.recv_many(len(chosen))] == chosen
    subscriber.send("UNSUBSCRIBE")
    assert subscriber.recv_many(len(names))[-1][2] == 0


@pytest.mark.parametrize("size", [0, 1, 100, 1023, 1024, 1025, 4095, 4096, 4097, 16383, 16384, 65536, 262144])
def test_a_payload_of_any_size_reaches_all_kinds_of_subscribers_in_order(size, connect):
    """Sizes around the places where an implementation may change from copying to referring."""
    plain, push, pattern, publisher = connect(), connect(3), connect(), connect()
    plain.call("SUBSCRIBE", "size")
    push.send("SUBSCRIBE", "size")
    push.recv()
    pattern.call("PSUBSCRIBE", "siz?")
    bodies = [bytes([65 + n % 26]) * size + b"|%d" % n for n in range(20)]
    assert publisher.calls(("PUBLISH", "size", body) for body in bodies) == [3] * len(bodies)
    assert [m[2] for m in plain.recv_many(len(bodies))] == bodies
    assert [m[2] for m in push.recv_many(len(bodies))] == bodies
    assert [m[3] for m in pattern.recv_many(len(bodies))] == bodies


@pytest.mark.fanfare_only  # redis sends them in an order of its own, which changes as patterns come and go
def test_a_client_hears_the_channel_and_then_its_patterns_in_the_order_of_their_bytes(connect):
    with connect() as subscriber, connect() as other, connect() as publisher:
        patterns = ["o[r]*", "or*", "*", "?rder", "order", "o*"]
        subscriber.send("PSUBSCRIBE", *patterns)
        subscriber.recv_many(len(patterns))
        subscriber.send("SUBSCRIBE", "order")
        subscriber.recv()
        for _ in range(3):
            assert publisher.call("PUBLISH", "order", "m") >= len(patterns) + 1
            assert subscriber.recv() == [b"message", b"order", b"m"]
            assert [m[1].decode() for m in subscriber.recv_many(len(patterns))] == sorted(patterns)
            subscriber.send("PUNSUBSCRIBE", "or*")
            subscriber.recv()
            other.send("PSUBSCRIBE", "or*")
            other.recv()
            subscriber.send("PSUBSCRIBE", "or*")
            subscriber.recv()
