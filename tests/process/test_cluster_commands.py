"""CLUSTER as a cluster of one that owns all slots, for clients in cluster mode."""

import re

import pytest

from lib.broker import HOST
from lib.resp import RespError

KEYS = {"": 0, "foo": 12182, "bar": 5061, "hello": 866, "123456789": 12739, "{user1}.a": 8106, "{user1}.b": 8106,
        "foo{}{bar}": 8363, "foo{{bar}}zap": 4015, "foo{bar}{zap}": 5061, "{": 4092}


@pytest.fixture
def node(cluster_broker):
    """The node that owns all slots."""
    return cluster_broker


@pytest.fixture
def asker(node):
    """A client of that node."""
    with node.client() as client:
        yield client


def test_info_says_that_all_is_well_and_all_slots_are_served(asker):
    info = dict(line.split(":") for line in asker.call("CLUSTER", "INFO").decode().split("\r\n") if line)
    expected = {"cluster_state": "ok", "cluster_slots_assigned": "16384", "cluster_slots_ok": "16384",
                "cluster_slots_pfail": "0", "cluster_slots_fail": "0", "cluster_known_nodes": "1", "cluster_size": "1"}
    assert {k: info.get(k) for k in expected} == expected
    assert "cluster_current_epoch" in info and "cluster_my_epoch" in info


def test_the_id_of_the_node_is_forty_hex_digits_and_stays(node, asker):
    name = asker.call("CLUSTER", "MYID")
    assert re.fullmatch(rb"[0-9a-f]{40}", name)
    with node.client() as other:
        assert other.call("CLUSTER", "MYID") == name


def test_slots_name_one_range_and_an_address_that_can_be_reached(node, asker):
    ranges = asker.call("CLUSTER", "SLOTS")
    assert len(ranges) == 1 and ranges[0][:2] == [0, 16383]
    host, port, name = ranges[0][2][:3]
    assert port == node.port and name == asker.call("CLUSTER", "MYID")
    assert host.decode() == HOST, "the address by which the client came; ioredis does not take an empty one"


def test_shards_describe_one_shard(node, asker):
    shard, = asker.call("CLUSTER", "SHARDS")
    shard = dict(zip(shard[::2], shard[1::2]))
    assert shard[b"slots"] == [0, 16383]
    only, = shard[b"nodes"]
    only = dict(zip(only[::2], only[1::2]))
    assert only[b"port"] == node.port and only[b"id"] == asker.call("CLUSTER", "MYID")
    assert only[b"role"] == b"master" and only[b"health"] == b"online"


def test_nodes_is_one_line_about_myself(node, asker):
    lines = asker.call("CLUSTER", "NODES").decode().splitlines()
    assert len(lines) == 1
    name, address, flags, master, ping, pong, epoch, state, slots = lines[0].split(" ")
    assert name.encode() == asker.call("CLUSTER", "MYID")
    assert re.fullmatch(rf"{HOST}:{node.port}@\d+(,.*)?", address)
    assert (flags, master, state, slots) == ("myself,master", "-", "connected", "0-16383")
    assert ping.isdigit() and pong.isdigit() and epoch.isdigit()


@pytest.mark.fanfare_only  # the map for people is ours
def test_partitions_shows_one_node_and_what_it_owns(asker):
    cluster, node, partition = asker.call("CLUSTER", "PARTITIONS").decode().splitlines()
    assert cluster.endswith("partitions=1")
    assert node.startswith("node ") and node.endswith(" myself") and " state=up " in node
    assert partition.startswith("partition 0 slots=0-16383 owner=")


@pytest.mark.fanfare_only  # redis counts replicas of masters only, and forgets by id only
def test_a_node_that_is_alone_has_no_replicas_and_nobody_to_forget(asker):
    name = asker.call("CLUSTER", "MYID")
    assert asker.call("CLUSTER", "REPLICAS", name) == []
    assert asker.call("CLUSTER", "REPLICAS", "nosuch") == RespError("ERR Unknown node nosuch")
    assert asker.call("CLUSTER", "FORGET", "nosuch") == RespError("ERR Unknown node nosuch")
    assert asker.call("CLUSTER", "FORGET", name) == RespError("ERR I tried hard but I can't forget myself...")
    assert asker.call("CLUSTER", "LINKS") == []


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_keyslot_is_crc16_of_the_key_or_its_tag(key, asker):
    assert asker.call("CLUSTER", "KEYSLOT", key) == KEYS[key]


def test_keys_of_a_slot_are_counted_and_listed(start_broker):
    for sharded in ("", "0"):
        broker = start_broker({"sharded-databases": sharded} if sharded else {})
        client = broker.client()
        keys = [b"{tag}%d" % n for n in range(300)]
        client.calls([("SET", key, 1) for key in keys] + [("SET", b"other%d" % n, 1) for n in range(300)])
        slot = client.call("CLUSTER", "KEYSLOT", "{tag}")
        empty = next(s for s in range(16384) if s not in {client.call("CLUSTER", "KEYSLOT", f"other{n}") for n in range(300)} | {slot})
        assert client.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 300
        assert client.call("CLUSTER", "COUNTKEYSINSLOT", empty) == 0
        assert sorted(client.call("CLUSTER", "GETKEYSINSLOT", slot, 1000)) == sorted(keys)
        assert len(set(client.call("CLUSTER", "GETKEYSINSLOT", slot, 7)) & set(keys)) == 7
        assert client.call("CLUSTER", "GETKEYSINSLOT", slot, 0) == []
        assert client.calls([("MULTI",), ("CLUSTER", "COUNTKEYSINSLOT", slot), ("EXEC",)])[2] == [300]
        client.call("DEL", *keys[:100])
        assert client.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 200


def test_countkeysinslot_checks_its_argument(asker):
    assert asker.call("CLUSTER", "COUNTKEYSINSLOT", 0) == 0
    assert asker.call("CLUSTER", "COUNTKEYSINSLOT", 16384) == RespError("ERR Invalid slot")
    assert isinstance(asker.call("CLUSTER", "COUNTKEYSINSLOT", "x"), RespError)


def test_what_cluster_clients_send_at_connect_is_accepted(asker):
    assert asker.call("READONLY") == "OK"
    assert asker.call("READWRITE") == "OK"
    assert asker.call("ASKING") == "OK"


def test_the_configuration_is_always_saved_and_the_epoch_is_raised_by_the_nodes_alone(asker):
    assert asker.call("CLUSTER", "SAVECONFIG") == "OK"
    assert re.fullmatch(r"(STILL|BUMPED) \d+", asker.call("CLUSTER", "BUMPEPOCH"))


def test_shard_channels_of_any_slot_are_served_without_a_redirection(node, asker):
    with node.client() as subscriber:
        for number in range(50):
            name = b"shard:%d" % number
            assert subscriber.call("SSUBSCRIBE", name) == [b"ssubscribe", name, number + 1]
            assert asker.call("SPUBLISH", name, "x") == 1
            assert subscriber.recv() == [b"smessage", name, b"x"]


@pytest.mark.fanfare_only  # DESIGN P1: nothing is ever cross-slot for channels; redis answers CROSSSLOT
def test_shard_channels_of_different_slots_may_be_subscribed_together(asker):
    asker.send("SSUBSCRIBE", "foo", "bar", "hello")
    assert [r[2] for r in asker.recv_many(3)] == [1, 2, 3]


def test_an_unknown_subcommand_is_refused(asker):
    assert asker.call("CLUSTER", "nosuch") == RespError("ERR unknown subcommand 'nosuch'. Try CLUSTER HELP.")
    assert asker.call("CLUSTER") == RespError("ERR wrong number of arguments for 'cluster' command")
