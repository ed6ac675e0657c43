"""DUMP and RESTORE beside redis-server 7: what one dumps the other restores, and both say the same of it; and the forms of
Redis 2.4 to 7.4 that redis-server 7.0 does not write."""

import os
import random
import struct
import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from commands import KEYS, World  # noqa: E402
from lib import rdb_forms as forms  # noqa: E402
from lib.resp import RespError  # noqa: E402
from test_differential import COMMANDS, SEEDS, _servers, comparable, story  # noqa: E402,F401

PACKING = [  # Redis's own limits of its forms
    {},
    {"list-max-listpack-size": "2", "hash-max-listpack-entries": "0", "set-max-intset-entries": "0",
     "zset-max-listpack-entries": "0", "stream-node-max-entries": "3"},
    {"rdbcompression": "no", "list-max-listpack-size": "-1", "list-compress-depth": "1", "hash-max-listpack-value": "9999",
     "zset-max-listpack-value": "9999"},
]


def content(client, key):
    """All that clients can learn of a key."""
    kind = str(client.call("TYPE", key))
    reads = {"string": [["GET", key]], "list": [["LRANGE", key, 0, -1]], "set": [["SMEMBERS", key]],
             "hash": [["HGETALL", key]], "zset": [["ZRANGE", key, 0, -1, "WITHSCORES"]],
             "stream": [["XRANGE", key, "-", "+"], ["XINFO", "STREAM", key, "FULL", "COUNT", 0]], "none": []}[kind]
    reads = [[word if isinstance(word, bytes) else str(word).encode() for word in read] for read in reads]
    return [kind] + [comparable(read, client.call(*read)) for read in reads] + [_pending(client, key, kind)]


def _pending(client, key, kind):
    """What is pending, without how long it is: with when it was delivered instead."""
    if kind != "stream":
        return None
    full = client.call("XINFO", "STREAM", key, "FULL", "COUNT", 0)
    full = full if isinstance(full, dict) else dict(zip(full[::2], full[1::2]))
    groups = [group if isinstance(group, dict) else dict(zip(group[::2], group[1::2])) for group in full[b"groups"]]
    return [(group[b"name"], group[b"pending"]) for group in groups]


def both_ways(ours, theirs, key, told):
    """Each one's payload in the other, and in itself, is the same value."""
    expected = content(theirs, key)
    got = content(ours, key)
    assert got == expected, told
    if expected[0] == "none":
        assert ours.call("DUMP", key) is None and theirs.call("DUMP", key) is None
        return
    for name, source in (("ours", ours), ("theirs", theirs)):
        dumped = source.call("DUMP", key)
        for other, target in (("ours", ours), ("theirs", theirs)):
            reply = target.call("RESTORE", b"copy", "0", dumped, "REPLACE")
            assert reply == "OK", f"{told}: {name}'s {key!r} ({expected[0]}) in {other}: {reply!r}\n{dumped[:400]!r}"
            assert content(target, b"copy") == expected, f"{told}: {name}'s {key!r} in {other}"
            target.call("DEL", b"copy")


@pytest.mark.parametrize("packing", range(len(PACKING)))
@pytest.mark.parametrize("seed", range(1, SEEDS // 2 + 1))
def test_each_restores_what_the_other_dumps(servers, seed, packing):
    ours, theirs = [server.client(2) for server in servers]
    for name, value in PACKING[packing].items():
        assert theirs.call("CONFIG", "SET", name, value) == "OK"
    world = World(random.Random(seed * 10 + packing))
    history = []
    for number in range(COMMANDS):
        command = world.command()
        if command[0] in (b"XADD", b"XREADGROUP", b"XCLAIM", b"XAUTOCLAIM"):
            command = [word for word in command if word != b"BLOCK"]
        history.append(command)
        got, expected = ours.call(*command), theirs.call(*command)
        # XCLAIM that claims nothing makes a consumer since Redis 7.2 only
        is_loose = command[0] == b"XINFO" or isinstance(got, RespError)
        assert is_loose or comparable(command, got) == comparable(command, expected), \
            f"{story(history)}\nours:  {str(got)[:600]}\nredis: {str(expected)[:600]}"
        if number % 50 == 49:
            _settle(ours, theirs)
            for key in KEYS:
                both_ways(ours, theirs, key, f"seed {seed}, packing {packing}, command {number}\n{story(history)}")


def _settle(ours, theirs):
    """What chance or a clock made different becomes the same."""
    for key in KEYS:
        if content(ours, key) != content(theirs, key):
            dumped = theirs.call("DUMP", key)
            for client in (ours, theirs):
                client.call("DEL", key)
                if dumped is not None:
                    assert client.call("RESTORE", key, "0", dumped) == "OK"


# ---- by hand ----

RAWS = [b"", b"0", b"12", b"13", b"-1", b"127", b"128", b"-129", b"4095", b"-4096", b"4096", b"40000", b"-9000000", b"70000",
        b"2147483648", b"-9223372036854775808", b"9223372036854775807", b"9223372036854775808", b"007", b"a" * 63,
        b"b" * 64, b"c" * 200, b"d" * 253, b"e" * 254, b"f" * 5000, b"g" * 20000, b"\x00\xff", b"-"]


def _names(chance, count=12):
    return chance.sample(RAWS, count)


def _scores(chance, count=12):
    return [chance.choice([0.0, 1.5, -3.25, 1e300, 17.0, -40000.0, float("inf"), float("-inf")]) for _ in range(count)]


def _pairs(chance):
    return list(zip(_names(chance), chance.sample(RAWS, 12)))


def _zset_items(chance):
    number = lambda score: b"%.17g" % score  # in their order, which Redis keeps as it finds it
    pairs = sorted(zip(_scores(chance), _names(chance)))
    return [raw for score, name in pairs for raw in (name, number(score))]


def _quicklist(chance):
    return forms.length(2) + b"".join(forms.text(forms.ziplist(_names(chance))) for _ in range(2))


def _old_stream(chance):
    entries = [((5, n), [b"f", b"%d" % n, b"g", chance.choice(RAWS)] if n % 4 else [b"other", b"x"], n % 5 == 3)
               for n in range(1, 20)]
    alive = [entry[0] for entry in entries if not entry[2]]
    pending = alive[:4] + [(5, 3)]
    pending.sort()
    body = forms.length(1) + forms.stream_node(entries) + forms.length(len(alive)) + forms.length(5) + forms.length(25)
    body += forms.length(1) + forms.text(b"group") + forms.length(5) + forms.length(9)
    body += forms.length(len(pending))
    for entry_id in pending:
        body += forms.raw_id(entry_id) + struct.pack("<Q", 1700000000000) + forms.length(3)
    body += forms.length(2)
    for name, ids in ((b"alice", pending[:2]), (b"bob", pending[2:])):
        body += forms.text(name) + struct.pack("<Q", 1700000000123) + forms.length(len(ids))
        body += b"".join(map(forms.raw_id, ids))
    return body


OLD = {
    "list": (1, lambda c: forms.length(12) + b"".join(map(forms.text, _names(c)))),
    "zset with text scores": (3, lambda c: forms.length(12) + b"".join(
        forms.text(n) + forms.old_score(s) for n, s in zip(_names(c), _scores(c)))),
    "zipmap": (9, lambda c: forms.text(forms.zipmap(_pairs(c)))),
    "ziplist": (10, lambda c: forms.text(forms.ziplist(_names(c)))),
    "intset": (11, lambda c: forms.text(forms.intset(c.sample([-5, 1, 300, -40000, 1 << 20, 1 << 40, -1 << 63], 5)))),
    "zset ziplist": (12, lambda c: forms.text(forms.ziplist(_zset_items(c)))),
    "hash ziplist": (13, lambda c: forms.text(forms.ziplist([raw for pair in _pairs(c) for raw in pair]))),
    "quicklist": (14, _quicklist),
    "stream": (15, _old_stream),
}


@pytest.mark.parametrize("form", OLD)
def test_what_older_versions_dumped_is_restored_as_redis_does(servers, form):
    ours, theirs = [server.client(2) for server in servers]
    kind, body = OLD[form]
    for seed in range(20):
        dumped = forms.payload(kind, body(random.Random(seed)))
        for client in (ours, theirs):
            reply = client.call("RESTORE", b"k", "0", dumped, "REPLACE")
            assert reply == "OK", f"{form}, seed {seed}: {reply!r}"
        both_ways(ours, theirs, b"k", f"{form}, seed {seed}")


def test_what_newer_versions_dump_is_restored(servers):
    ours = servers[0].client(2)
    pairs = _pairs(random.Random(1))
    members = _names(random.Random(2))
    entries = [((7, n), [b"f", b"%d" % n], False) for n in range(1, 5)]
    stream = forms.length(1) + forms.stream_node(entries) + b"".join(map(forms.length, (4, 7, 9, 7, 1, 7, 3, 12)))
    stream += forms.length(1) + forms.text(b"g") + b"".join(map(forms.length, (7, 2, 2, 1))) + forms.raw_id((7, 1))
    stream += struct.pack("<Q", 1700000000000) + forms.length(2) + forms.length(1) + forms.text(b"c")
    stream += struct.pack("<QQ", 1700000000001, 1700000000002) + forms.length(1) + forms.raw_id((7, 1))
    hash_body = forms.length(len(pairs)) + b"".join(b"\0" + forms.text(f) + forms.text(v) for f, v in pairs)
    no_deadline = struct.pack("<Q", 0)
    made = [(20, forms.text(forms.listpack(members)), 11), (21, stream, 11), (24, no_deadline + hash_body, 12),
            (25, no_deadline + forms.text(forms.listpack([x for f, v in pairs for x in (f, v, 0)])), 12),
            (22, hash_body, 12), (23, forms.text(forms.listpack([x for f, v in pairs for x in (f, v, 0)])), 12)]
    for kind, body, version in made:
        assert ours.call("RESTORE", b"k%d" % kind, "0", forms.payload(kind, body, version)) == "OK", kind
    assert sorted(ours.call("SMEMBERS", b"k20")) == sorted(members)
    assert ours.call("XLEN", b"k21") == 4
    assert ours.call("XPENDING", b"k21", "g") == [1, b"7-1", b"7-1", [[b"c", b"1"]]]
    for kind in (22, 23, 24, 25):
        flat = ours.call("HGETALL", b"k%d" % kind)
        assert sorted(zip(flat[::2], flat[1::2])) == sorted(pairs)


def test_deadlines_of_fields_are_kept(servers):
    """As Redis 7.4 has them; a field that is past its own is left out, and a hash of which nothing is left."""
    ours = servers[0].client(2)
    lowest = 4000000000000
    fields = forms.length(3) + b"".join([b"\x01" + forms.text(b"a") + forms.text(b"1"), forms.length(0) + forms.text(b"b") +
                                         forms.text(b"2"), forms.length(5001) + forms.text(b"c") + forms.text(b"3")])
    dumped = forms.payload(24, struct.pack("<Q", lowest) + fields, 12)
    packed = forms.payload(25, struct.pack("<Q", lowest) + forms.text(forms.listpack(
        [b"a", b"1", lowest, b"c", b"3", lowest + 5000, b"b", b"2", 0])), 12)
    for payload in (dumped, packed):
        assert ours.call("RESTORE", "k", "0", payload, "REPLACE") == "OK"
        for _ in range(2):
            assert ours.call("HPEXPIRETIME", "k", "FIELDS", 3, "a", "b", "c") == [lowest, -1, lowest + 5000]
            assert ours.call("HMGET", "k", "a", "b", "c") == [b"1", b"2", b"3"]
            assert ours.call("RESTORE", "k", "0", ours.call("DUMP", "k"), "REPLACE") == "OK"
    assert ours.call("HPERSIST", "k", "FIELDS", 2, "a", "c") == [1, 1]
    assert servers[1].client(2).call("RESTORE", "k", "0", ours.call("DUMP", "k")) == "OK"
    past = forms.payload(24, struct.pack("<Q", 1000) + fields, 12)
    assert ours.call("RESTORE", "k", "0", past, "REPLACE") == "OK"
    assert ours.call("HGETALL", "k") == [b"b", b"2"]
    gone = forms.payload(24, struct.pack("<Q", 1000) + forms.length(1) + b"\x01" + forms.text(b"a") + forms.text(b"1"), 12)
    assert ours.call("RESTORE", "k", "0", gone, "REPLACE") == "OK"
    assert ours.call("EXISTS", "k") == 0


def test_what_was_released_is_dumped_as_a_consumers(servers):
    ours, theirs = [server.client(2) for server in servers]
    for number in range(1, 5):
        ours.call("XADD", "s", f"1-{number}", "f", "v")
    ours.call("XGROUP", "CREATE", "s", "g", "0")
    ours.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    assert ours.call("XNACK", "s", "g", "FAIL", "IDS", 2, "1-2", "1-3") == 2
    for name in ("t", "u"):
        assert theirs.call("RESTORE", name, "0", ours.call("DUMP", "s")) == "OK"
        assert theirs.call("XPENDING", name, "g")[3] == [[b"c", b"2"], [b"fanfare:released", b"2"]]
        ours.call("RESTORE", "s", "0", theirs.call("DUMP", name), "REPLACE")
        assert ours.call("XNACK", "s", "g", "FAIL", "IDS", 1, "1-3") == 1


# ---- mistakes ----

def test_arguments_and_damage_are_answered_as_redis_does(servers):
    clients = [server.client(2) for server in servers]
    for client in clients:
        client.call("RPUSH", "l", "a", "b", "c")
    dumped = clients[1].call("DUMP", "l")
    tries = [["l", "0", dumped], ["l", "0", dumped, "REPLACE"], ["m", "-1", dumped], ["m", "x", dumped], ["m", "0", b""],
             ["m", "0", dumped[:-1]], ["m", "0", dumped[:-1] + b"!"], ["m", "0", dumped, "FOO"], ["m", "0", dumped, "IDLETIME"],
             ["m", "0", dumped, "IDLETIME", "-1"], ["m", "0", dumped, "IDLETIME", "5", "FREQ", "3"],
             ["m", "0", dumped, "FREQ", "256"], ["m", "0", dumped, "FREQ", "7"], ["m", "0", dumped],
             ["m", "100000", dumped, "REPLACE"], ["m", "4000000000000", dumped, "REPLACE", "ABSTTL"],
             ["m", "1000", dumped, "ABSTTL", "REPLACE"], ["m", "1000", dumped, "ABSTTL"],
             ["m", "0", forms.payload(1, forms.length(0))], ["m", "0", forms.payload(1, forms.length(5) + b"\1a")],
             ["m", "0", forms.payload(2, forms.length(2) + forms.text(b"a") * 2)],
             ["m", "0", forms.payload(5, forms.length(1) + forms.text(b"a") + struct.pack("<d", float("nan")))],
             ["m", "0", forms.payload(99, b"x")], ["m", "0", forms.payload(1, forms.length(1) + b"\1a", 99)],
             ["m", "0", forms.payload(10, forms.text(b"short"))], ["m", "0", forms.payload(0, b"\xff")],
             ["m", "0", forms.payload(0, b"\xc3\x05\x14aaaaa")]]
    for words in tries:
        replies = [str(client.call("RESTORE", *words)) for client in clients]
        assert replies[0] == replies[1], words
        left = [(client.call("EXISTS", "m"), str(client.call("TYPE", "m")), client.call("PTTL", "m") > 0)
                for client in clients]
        assert left[0] == left[1], words


def test_a_field_that_comes_twice_is_refused(servers):
    """Redis 7.0 makes a small hash of it that has the field twice."""
    ours = servers[0].client(2)
    reply = ours.call("RESTORE", "m", "0", forms.payload(4, forms.length(2) + forms.text(b"a") * 4))
    assert str(reply) == "ERR Bad data format"
    assert ours.call("DBSIZE") == 0


def test_damaged_payloads_change_nothing(servers):
    """Any bytes behind a right checksum: an error or a value, and nothing is left of what was refused."""
    ours, theirs = [server.client(2) for server in servers]
    chance = random.Random(int(os.environ.get("DIFFERENTIAL_SEED", "5")))
    theirs.call("CONFIG", "SET", "hash-max-listpack-entries", "4")
    theirs.call("HSET", "hash", *[b"%d" % n for n in range(12)])
    theirs.call("ZADD", "zset", *[b"%d" % n for n in range(12)])
    theirs.call("RPUSH", "list", *RAWS)
    theirs.call("XADD", "stream", "1-1", "a", "b")
    theirs.call("XGROUP", "CREATE", "stream", "g", "0")
    theirs.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "stream", ">")
    dumped = [theirs.call("DUMP", key) for key in ("hash", "zset", "list", "stream")]
    dumped += [forms.payload(kind, body(chance)) for kind, body in OLD.values()]
    for _ in range(3000):
        value = bytearray(chance.choice(dumped)[:-10])
        for _ in range(chance.randint(1, 3)):
            value[chance.randrange(len(value))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        reply = ours.call("RESTORE", "m", "0", forms.payload(value[0], bytes(value[1:])), "REPLACE")
        if reply == "OK":
            assert ours.call("DUMP", "m") is not None
            ours.call("DEL", "m")
        else:
            assert isinstance(reply, RespError), reply
        assert ours.call("DBSIZE") == 0
