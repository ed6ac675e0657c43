"""Keys on a node alone: a little of every family, databases, pipelines, and what INFO, MEMORY and COMMAND say about them."""

import pytest

from lib.resp import RespError

pytestmark = pytest.mark.fanfare_only


@pytest.fixture(autouse=True)
def _empty(connect):
    assert connect().call("FLUSHALL") == "OK"


FAMILIES = [
    ("string", [("SET", "k", "1"), ("INCRBY", "k", 41), ("APPEND", "k", "!"), ("GET", "k"), ("GETRANGE", "k", 1, 2)],
     ["OK", 42, 3, b"42!", b"2!"]),
    ("bitmap", [("SETBIT", "k", 7, 1), ("GETBIT", "k", 7), ("BITCOUNT", "k"), ("BITFIELD", "k", "GET", "u8", 0)],
     [0, 1, 1, [1]]),
    ("list", [("RPUSH", "k", "a", "b", "c"), ("LRANGE", "k", 0, -1), ("LMOVE", "k", "l", "LEFT", "RIGHT"), ("LLEN", "k")],
     [3, [b"a", b"b", b"c"], b"a", 2]),
    ("hash", [("HSET", "k", "f", "v", "g", "w"), ("HGET", "k", "g"), ("HINCRBY", "k", "n", 3), ("HLEN", "k")],
     [2, b"w", 3, 3]),
    ("set", [("SADD", "k", "a", "b"), ("SADD", "l", "b", "c"), ("SINTER", "k", "l"), ("SCARD", "k")], [2, 2, [b"b"], 2]),
    ("sorted set", [("ZADD", "k", 2, "b", 1, "a"), ("ZRANGE", "k", 0, -1, "WITHSCORES"), ("ZRANK", "k", "b"),
                    ("ZPOPMIN", "k")], [2, [b"a", b"1", b"b", b"2"], 1, [b"a", b"1"]]),
    ("stream", [("XADD", "k", "1-1", "f", "v"), ("XLEN", "k"), ("XRANGE", "k", "-", "+"),
                ("XGROUP", "CREATE", "k", "g", "0"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">"),
                ("XACK", "k", "g", "1-1")],
     [b"1-1", 1, [[b"1-1", [b"f", b"v"]]], "OK", [[b"k", [[b"1-1", [b"f", b"v"]]]]], 1]),
    ("generic", [("SET", "k", "v"), ("EXPIRE", "k", 100), ("TTL", "k"), ("RENAME", "k", "l"), ("EXISTS", "k", "l"),
                 ("TYPE", "l"), ("DEL", "l"), ("DBSIZE",)], ["OK", 1, 100, "OK", 1, "string", 1, 0]),
]


@pytest.mark.parametrize("commands,replies", [row[1:] for row in FAMILIES], ids=[row[0] for row in FAMILIES])
def test_every_family_is_served(commands, replies, client):
    assert [client.call(*command) for command in commands] == replies


@pytest.mark.parametrize("commands,replies", [row[1:] for row in FAMILIES], ids=[row[0] for row in FAMILIES])
def test_a_pipeline_is_answered_as_its_commands_one_by_one(commands, replies, client):
    assert client.calls(commands) == replies


def test_a_long_pipeline_keeps_its_order(client):
    """More than a session may have in flight, reads and other commands in between."""
    commands, replies = [], []
    for number in range(1, 20001):
        commands.append(("INCR", "n"))
        replies.append(number)
        if number % 7 == 0:
            commands.append(("GET", "n"))
            replies.append(b"%d" % number)
        if number % 1000 == 0:
            commands += [("PING",), ("LRANGE", "none", 0, -1), ("PUBLISH", "nobody", "x")]
            replies += ["PONG", [], 0]
    assert client.calls(commands) == replies


def test_a_read_in_a_pipeline_sees_what_is_before_it_and_nothing_behind_it(client):
    commands, replies = [], []
    for number in range(300):
        commands += [("RPUSH", "l", number), ("LRANGE", "l", 0, -1), ("LLEN", "l"), ("DEL", "l")]
        replies += [1, [b"%d" % number], 1, 1]
    assert client.calls(commands) == replies


def test_databases_are_apart(client):
    for database in range(16):
        assert client.calls([("SELECT", database), ("SET", "k", database)]) == ["OK", "OK"]
    for database in range(16):
        assert client.calls([("SELECT", database), ("GET", "k"), ("DBSIZE",)]) == ["OK", b"%d" % database, 1]
    assert client.calls([("FLUSHDB",), ("DBSIZE",), ("SELECT", 3), ("DBSIZE",)]) == ["OK", 0, "OK", 1]
    assert client.calls([("FLUSHALL",), ("DBSIZE",)]) == ["OK", 0]
    assert client.call("SELECT", 16) == RespError("ERR DB index is out of range")


def test_what_concerns_two_partitions_is_refused_and_says_why(client):
    client.call("SET", "k", "v")
    for command in [("MOVE", "k", 1), ("SWAPDB", 0, 1), ("COPY", "k", "l", "DB", 1)]:
        reply = client.call(*command)
        assert isinstance(reply, RespError) and "same partition" in str(reply), command
    assert client.call("COPY", "k", "l", "DB", 0) == 1


def test_with_one_partition_all_databases_work_together(start_broker):
    with start_broker({"partitions": 1}).client() as client:
        assert client.calls([("SET", "k", "v"), ("MOVE", "k", 5), ("EXISTS", "k"), ("SELECT", 5), ("GET", "k"),
                             ("SWAPDB", 5, 6), ("DBSIZE",)]) == ["OK", 1, 0, "OK", b"v", "OK", 0]


def test_scan_visits_every_key(client):
    client.calls([("SET", f"key:{number}", number) for number in range(500)])
    seen, cursor = set(), b"0"
    while True:
        cursor, names = client.call("SCAN", cursor, "COUNT", 50)
        seen.update(names)
        if cursor == b"0":
            break
    assert seen == {b"key:%d" % number for number in range(500)}


def test_a_client_that_wants_no_answers_gets_none(client):
    client.send_raw(b"".join([b"CLIENT REPLY OFF\r\nSET a 1\r\nINCR a\r\nGET a\r\nCLIENT REPLY ON\r\n"]))
    assert client.recv() == "OK"
    client.send_raw(b"CLIENT REPLY SKIP\r\nINCR a\r\nINCR a\r\n")
    assert client.recv() == 4


def test_what_was_sent_before_the_end_is_executed_and_answered(connect):
    client, other = connect(), connect()
    client.send_raw(b"INCR a\r\nINCR a\r\nQUIT\r\n")
    assert client.recv_many(3) == [1, 2, "OK"]
    assert other.call("GET", "a") == b"2"


def test_info_tells_keys_and_counts_commands(client, broker):
    client.calls([("SET", "a", 1), ("SET", "b", 1, "EX", 100), ("GET", "a"), ("INCR", "a"), ("HGET", "a", "f")])
    info = broker.info("everything")
    assert info["db0"].startswith("keys=2,expires=1")
    assert "calls=" in info["cmdstat_set"]
    assert int(info["cmdstat_hget"].split("failed_calls=")[1]) >= 1
    assert client.call("LATENCY", "HISTOGRAM", "set")[0] == b"set"


def test_object_and_wait_answer_plausibly(client):
    client.calls([("SET", "n", 12), ("RPUSH", "l", "a")])
    assert client.call("OBJECT", "ENCODING", "n") == b"int"
    assert client.call("OBJECT", "ENCODING", "l") == b"listpack"
    assert client.call("OBJECT", "REFCOUNT", "n") == 1
    assert client.call("OBJECT", "FOO", "n") == RespError("ERR unknown subcommand 'FOO'. Try OBJECT HELP.")
    assert client.call("WAIT", 0, 100) == 0
    assert client.call("WAITAOF", 1, 0, 100) == [1, 0]
    assert client.calls([("SAVE",), ("BGSAVE",)]) == ["OK", "Background saving started"]


@pytest.mark.parametrize("command,keys", [
    (("SORT", "k", "BY", "w_*", "STORE", "d"), [b"k", b"d"]),
    (("XREAD", "COUNT", 1, "STREAMS", "a", "b", 0, 0), [b"a", b"b"]),
    (("XREADGROUP", "GROUP", "streams", "c", "STREAMS", "k", ">"), [b"k"]),
    (("ZUNIONSTORE", "d", 2, "a", "b"), [b"d", b"a", b"b"]),
    (("BLMPOP", 0, 2, "a", "b", "LEFT"), [b"a", b"b"]),
    (("MSET", "a", 1, "b", 2), [b"a", b"b"]),
    (("OBJECT", "ENCODING", "k"), [b"k"]),
], ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_getkeys_finds_the_keys(command, keys, client):
    assert client.call("COMMAND", "GETKEYS", *command) == keys


LIMITS = [
    (("HSET", "e", "a", 1, "b", 2, "c", 3), "hash-max-listpack-entries", 2, b"listpack", b"hashtable"),
    (("HSET", "e", "a", "long value"), "hash-max-ziplist-value", 5, b"listpack", b"hashtable"),
    (("RPUSH", "e", 1, 2, 3), "list-max-listpack-size", 2, b"listpack", b"quicklist"),
    (("RPUSH", "e", "x" * 200, *["x" * 200] * 25), "list-max-ziplist-size", -1, b"listpack", b"quicklist"),
    (("SADD", "e", 1, 2, 3), "set-max-intset-entries", 2, b"intset", b"listpack"),
    (("SADD", "e", "a", "b"), "set-max-listpack-entries", 1, b"listpack", b"hashtable"),
    (("SADD", "e", "abcdef"), "set-max-listpack-value", 5, b"listpack", b"hashtable"),
    (("ZADD", "e", 1, "a", 2, "b"), "zset-max-listpack-entries", 1, b"listpack", b"skiplist"),
    (("ZADD", "e", 1, "abcdef"), "zset-max-ziplist-value", 5, b"listpack", b"skiplist"),
]


@pytest.mark.parametrize("command, option, value, before, after", LIMITS, ids=[limit[1] for limit in LIMITS])
def test_what_object_encoding_says_goes_by_options(client, command, option, value, before, after):
    client.call("DEL", "e")
    client.call(*command)
    was = client.call("CONFIG", "GET", option)[1]
    assert client.call("OBJECT", "ENCODING", "e") == before
    assert client.call("CONFIG", "SET", option, value) == "OK"
    assert client.call("OBJECT", "ENCODING", "e") == after
    assert client.call("CONFIG", "SET", option, was) == "OK"
    assert client.call("OBJECT", "ENCODING", "e") == before
    client.call("DEL", "e")
