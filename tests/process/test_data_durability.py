"""What was acknowledged is there after kill -9; the layout of keys is fixed by the first start."""

import threading

import pytest

from lib.resp import Closed, RespError
from lib.wait import wait_until

pytestmark = pytest.mark.fanfare_only


def ready(broker):
    """Wait until keys are served."""
    def answers():
        with broker.client() as client:
            return client.call("GET", "any") is None
    wait_until(answers, what="keys are served")
    return broker


class Writer(threading.Thread):
    """Pushes numbers, some in flight together, and remembers which were acknowledged."""

    def __init__(self, broker, number):
        super().__init__()
        self.client = broker.client()
        self.key = f"list:{number}"
        self.acknowledged = 0

    def run(self):
        try:
            while True:
                replies = self.client.calls([("RPUSH", self.key, self.acknowledged + i) for i in range(20)])
                assert replies == [self.acknowledged + i + 1 for i in range(20)]
                self.acknowledged += 20
        except (OSError, Closed):
            self.client.close()


def test_kill_9_loses_nothing_that_was_acknowledged(start_broker):
    broker = start_broker({"threads": 2})
    for round_ in range(3):
        writers = [Writer(broker, f"{round_}:{number}") for number in range(6)]
        for writer in writers:
            writer.start()
        wait_until(lambda: sum(writer.acknowledged for writer in writers) > 2000, what="2000 writes")
        broker.kill()
        for writer in writers:
            writer.join()
        ready(broker.start())
        with broker.client() as client:
            for writer in writers:
                values = client.call("LRANGE", writer.key, 0, -1)
                assert len(values) >= writer.acknowledged
                assert values == [b"%d" % number for number in range(len(values))]


def test_a_clean_stop_and_a_start_keep_every_kind_of_value(start_broker):
    broker = start_broker()
    with broker.client() as client:
        client.calls([("SET", "s", "v" * 5000), ("RPUSH", "l", 1, 2), ("HSET", "h", "f", "v"), ("SADD", "t", "a"),
                      ("ZADD", "z", 1.5, "m"), ("XADD", "x", "1-1", "f", "v"), ("XGROUP", "CREATE", "x", "g", "0"),
                      ("SET", "e", "v", "EX", 1000)])
    assert broker.terminate() == 0
    ready(broker.start())
    with broker.client() as client:
        assert client.calls([("STRLEN", "s"), ("LRANGE", "l", 0, -1), ("HGETALL", "h"), ("SMEMBERS", "t"),
                             ("ZSCORE", "z", "m"), ("XLEN", "x")]) == [5000, [b"1", b"2"], [b"f", b"v"], [b"a"], b"1.5", 1]
        assert 0 < client.call("TTL", "e") <= 1000
        assert client.call("XINFO", "GROUPS", "x")[0][1] == b"g"


def test_commands_that_come_before_keys_are_served_wait(start_broker):
    broker = start_broker()
    broker.kill()
    broker.start()
    with broker.client() as client:
        assert client.call("SET", "a", 1) == "OK"


def test_the_layout_of_keys_cannot_change(start_broker):
    broker = start_broker({"partitions": 4})
    broker.terminate()
    broker.options["partitions"] = 8
    broker.start(wait=False)
    assert broker.wait_exit() != 0
    assert "cannot be changed" in broker.log()


def test_a_directory_that_cannot_be_written_is_named(start_broker):
    broker = start_broker()
    broker.terminate()
    keys = broker.directory / "data" / "keys"
    for path in sorted(keys.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    keys.rmdir()
    keys.write_text("in the way")
    broker.start(wait=False)
    assert broker.wait_exit() != 0
    assert "keys" in broker.log() and "level=error" in broker.log()


@pytest.mark.parametrize("databases", ["0 2"])
def test_a_sharded_database_is_spread_by_slot(start_broker, databases):
    broker = start_broker({"sharded-databases": databases, "partitions": 8})
    with broker.client() as client:
        names = {b"key:%d" % number for number in range(200)}
        assert set(client.calls([("SET", name, name) for name in names])) == {"OK"}
        assert client.calls([("GET", name) for name in names]) == list(names)
        assert client.call("DBSIZE") == 200
        assert set(client.call("KEYS", "*")) == names
        assert client.call("RANDOMKEY") in names
        seen, cursor = [], b"0"
        while True:
            cursor, found = client.call("SCAN", cursor, "COUNT", 7)
            seen += found
            if cursor == b"0":
                break
        assert sorted(seen) == sorted(names)
        reply = client.call("MGET", "a", "b")
        assert isinstance(reply, RespError) and str(reply).startswith("CROSSSLOT") and "{tag}" in str(reply)
        assert client.calls([("MSET", "{t}a", 1, "{t}b", 2), ("MGET", "{t}a", "{t}b")]) == ["OK", [b"1", b"2"]]
        client.calls([("MULTI",), ("SET", "a", 1), ("SET", "b", 1)])
        assert str(client.call("EXEC")).startswith("CROSSSLOT")
        client.calls([("MULTI",), ("SET", "{t}a", 3), ("INCR", "{t}a")])
        assert client.call("EXEC") == ["OK", 4]
        assert client.calls([("FLUSHDB",), ("DBSIZE",), ("KEYS", "*"), ("RANDOMKEY",)]) == ["OK", 0, [], None]
        assert client.calls([("SELECT", 1), ("MSET", "a", 1, "b", 2)]) == ["OK", "OK"], "database 1 is whole"


def test_a_random_key_of_a_sharded_database_is_found_whatever_the_order_of_their_slots(start_broker):
    broker = ready(start_broker({"sharded-databases": "0", "partitions": 1}))
    with broker.client() as client:
        names = sorted((b"key:%d" % i for i in range(8)), key=lambda name: client.call("CLUSTER", "KEYSLOT", name))
        for later, earlier in zip(names[1::2], names[::2]):
            client.call("FLUSHALL")
            assert client.calls([("SET", later, 1), ("SET", earlier, 1)]) == ["OK", "OK"]
            assert {client.call("RANDOMKEY") for _ in range(100)} == {later, earlier}
