"""key_content: all that clients can learn of a key, in a form that is equal where two servers hold the same."""

_LOOSE = {b"radix-tree-keys", b"radix-tree-nodes", b"seen-time", b"active-time"}
# Redis 7.0 does not tell its replicas how many entries a group has read.
_LOOSE_OF_REPLICAS = {b"entries-read", b"lag"}


def content(client, key):
    """[type, deadline, value ...] of a key, over RESP2."""
    kind = str(client.call("TYPE", key))
    value = {"string": _string, "list": _list, "set": _set, "hash": _hash, "zset": _zset, "stream": _stream,
             "none": lambda _client, _key: None}[kind](client, key)
    return [kind, client.call("PEXPIRETIME", key), value]


def _string(client, key):
    return client.call("GET", key)


def _list(client, key):
    return client.call("LRANGE", key, 0, -1)


def _set(client, key):
    return sorted(client.call("SMEMBERS", key))


def _hash(client, key):
    flat = client.call("HGETALL", key)
    return sorted(zip(flat[::2], flat[1::2]))


def _zset(client, key):
    return client.call("ZRANGE", key, 0, -1, "WITHSCORES")


def _stream(client, key):
    full = _without_loose(client.call("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    return [client.call("XRANGE", key, "-", "+"), full]


def _without_loose(value):
    """Maps come flat: a list whose even places are names."""
    if not isinstance(value, list):
        return value
    is_map = len(value) % 2 == 0 and value and all(isinstance(name, bytes) for name in value[::2]) and \
        any(name in (b"length", b"name") for name in value[::2])
    if is_map:
        return [(name, _without_loose(v)) for name, v in zip(value[::2], value[1::2]) if name not in _LOOSE]
    return [_without_loose(v) for v in value]


def all_keys(client):
    """Every key of the database that the client is in."""
    cursor, keys = b"0", set()
    while True:
        cursor, found = client.call("SCAN", cursor, "COUNT", 1000)
        keys.update(found)
        if cursor == b"0":
            return keys


def databases(client):
    """{(database, key): content} of the whole server."""
    found = {}
    for db in range(16):
        assert client.call("SELECT", db) == "OK"
        for key in all_keys(client):
            found[db, key] = content(client, key)
    assert client.call("SELECT", 0) == "OK"
    return {where: value for where, value in found.items() if value[0] != "none"}


def _as_replica(value):
    if isinstance(value, list):
        return [_as_replica(v) for v in value if not (isinstance(v, tuple) and v[0] in _LOOSE_OF_REPLICAS)]
    return (value[0], _as_replica(value[1])) if isinstance(value, tuple) else value


def assert_same(source, target, is_replica=False):
    """Two servers hold the same; is_replica: as far as the source tells its replicas."""
    expected, got = databases(source), databases(target)
    if is_replica:
        expected, got = [{where: _as_replica(value) for where, value in found.items()} for found in (expected, got)]
    missing = sorted(set(expected) - set(got))
    more = sorted(set(got) - set(expected))
    assert not missing and not more, f"missing: {missing[:10]} of {len(missing)}, more: {more[:10]} of {len(more)}"
    for where, value in expected.items():
        assert got[where] == value, f"{where}, source and target: {_difference(value, got[where])}"


def _difference(a, b):
    """The first place where two values differ."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        for x, y in zip(a, b):
            if x != y:
                return _difference(x, y)
    return f"{str(a)[:500]}\n{str(b)[:500]}"
