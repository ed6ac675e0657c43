"""Scripts in a cluster: every replica runs them, so that any node knows what one was told, and each is run once."""

import hashlib
import random
import time

import pytest

from lib import prometheus
from lib.cluster_scene import BOUND_S, heard, listen
from lib.resp import RespError
from lib.wait import wait_until
from test_data import PARTITIONS, PATIENCE_S, Pump, count_over_kills, leader_of

COMPARED = "fanfare_partition_digests_total"
MISMATCHES = "fanfare_partition_digest_mismatches_total"

INCREMENT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"

WANDER = """
    local n = math.random(5)
    local seen = {}
    for i = 1, n do
        local field = 'f' .. math.random(50)
        seen[field] = (seen[field] or 0) + math.random()
        redis.call('HSET', KEYS[1], field, tostring(seen[field]))
        redis.call('ZADD', KEYS[1] .. ':z', seen[field], cjson.encode({field = field, n = i, t = redis.call('TIME')}))
    end
    for field, value in pairs(seen) do
        redis.call('RPUSH', KEYS[1] .. ':l', field, value)
    end
    redis.call('LTRIM', KEYS[1] .. ':l', -100, -1)
    redis.call('SET', KEYS[1] .. ':e', tostring(seen), 'PX', 50)
    redis.call('XADD', KEYS[1] .. ':x', 'MAXLEN', '50', '*', 'k', redis.call('RANDOMKEY') or '')
    if n == 1 then redis.call('NOSUCHCOMMAND') end
    return n
"""
"""Whatever two replicas could see differently."""


def counted(cluster, metric):
    """Of each node."""
    return [prometheus.parse(node.page("/metrics").text).value(metric) for node in cluster]


def differ(cluster):
    """How many times a node's store has differed from its leader's, once each has been compared anew."""
    before = counted(cluster, COMPARED)

    def are_compared():
        cluster[0].ask("SET", "last", 1)  # digests travel with entries, at most once a second
        return sum(now > then + 1 for now, then in zip(counted(cluster, COMPARED), before)) >= len(cluster) - 1

    wait_until(are_compared, PATIENCE_S, "all but the leader have compared their stores with its")
    return sum(counted(cluster, MISMATCHES))


@pytest.fixture
def start_data(start_cluster):
    """A cluster of a few partitions."""
    return lambda count=3, **kwargs: start_cluster(count, partitions=PARTITIONS, **kwargs)


def test_a_script_loaded_at_one_node_is_run_at_every_node_for_every_database(start_data):
    cluster = start_data()
    sha = cluster[0].ask("SCRIPT", "LOAD", INCREMENT).decode()
    assert sha == hashlib.sha1(INCREMENT.encode()).hexdigest()
    for number, node in enumerate(cluster):
        with node.client() as client:
            for database in range(PARTITIONS):
                client.call("SELECT", database)
                assert client.call("EVALSHA", sha, 1, "n", 5) == 5 * (number + 1)
                assert client.call("SCRIPT", "EXISTS", sha, "0" * 40) == [1, 0]
    assert cluster[1].ask("SCRIPT", "FLUSH") == "OK"
    for node in cluster:
        with node.client() as client:
            for database in range(PARTITIONS):
                client.call("SELECT", database)
                assert str(client.call("EVALSHA", sha, 1, "n", 5)).startswith("NOSCRIPT")


def test_a_script_that_came_with_its_call_is_known_to_every_node_and_bound_to_its_user_rights(start_data):
    cluster = start_data()
    cluster[0].ask("ACL", "SETUSER", "bob", "on", ">x", "+@scripting", "+get", "+set", "~mine:*")  # the others do not know bob
    cluster[0].ask("SET", "other", "secret")
    with cluster[0].client() as client:
        client.call("AUTH", "bob", "x")
        for database in range(PARTITIONS):
            client.call("SELECT", database)
            assert client.call("EVAL", "redis.call('SET', 'mine:' .. ARGV[1], 1) return redis.call('GET', 'mine:1')", 0, 1) == b"1"
            denied = client.call("EVAL", "redis.call('SET', 'mine:2', 2) return redis.call('GET', 'other')", 0)
            assert str(denied).startswith("NOPERM ACL failure in script: No permissions to access a key")
    assert cluster[1].ask("GET", "mine:2") == b"2"
    assert differ(cluster) == 0
    sha = hashlib.sha1(INCREMENT.encode()).hexdigest()
    assert str(cluster[0].ask("EVALSHA", sha, 1, "n", 1)).startswith("NOSCRIPT")
    assert cluster[0].ask("EVAL", INCREMENT, 1, "n", 1) == 1
    for number, node in enumerate(cluster):
        assert node.ask("EVALSHA", sha, 1, "n", 1) == 2 + number


def test_scripts_are_run_once_while_their_leader_is_killed_and_known_afterwards(start_data):
    cluster = start_data()
    sha = cluster[0].ask("SCRIPT", "LOAD", INCREMENT).decode()
    count_over_kills(cluster, lambda key: ("EVALSHA", sha, 1, key, 1))
    for node in cluster:
        node.kill()
    for node in cluster:
        node.begin()
    cluster.wait_settled()
    assert {node.ask("EVALSHA", sha, 1, "again", 1) for node in cluster} == {1, 2, 3}
    assert differ(cluster) == 0


def test_a_poisonous_pattern_ends_on_every_replica_and_again_when_it_is_read_from_the_log(start_data):
    cluster = start_data(options={"script-instruction-limit": 5_000_000})
    poisons = ["return ('a'):rep(3000):find(('a-'):rep(30) .. 'b')", "local s = '' while true do s = s .. 'a few bytes more ' end"]
    away = next(n for n in cluster if n is not leader_of(cluster))
    away.kill()
    node = next(n for n in cluster if n is not away)
    for poison in poisons:
        answer = node.ask("EVAL", f"redis.call('INCR', KEYS[1]) {poison}", 1, "met")
        assert "limit of 5000000 instructions" in str(answer)
    away.begin()  # it has them still before it
    cluster.wait_settled()
    assert differ(cluster) == 0
    for node in cluster:
        node.kill()
    for node in cluster:
        node.begin()
    cluster.wait_settled()
    assert [node.ask("GET", "met") for node in cluster] == [b"2"] * 3
    assert differ(cluster) == 0


def test_replicas_come_to_the_same_whatever_they_have_run_before(start_data):
    cluster = start_data()
    follower = next(n for n in cluster if n is not leader_of(cluster))
    rng = random.Random(1)

    def make(number):
        if number % 10 == 9:  # new scripts, so that states differ in what they have compiled
            return ("EVAL", f"local a = '{rng.random()}' redis.call('APPEND', KEYS[1], a) return #a", 1, "appended")
        return ("EVAL", WANDER, 1, f"wander{number % 3}")

    pumps = [Pump(node, make) for node in cluster if node is not follower]
    for pump in pumps:
        pump.start()
    for pump in pumps:
        pump.wait_for_more(100)
    follower.kill()  # its states are new when it is back, in the middle
    for pump in pumps:
        pump.wait_for_more(100)
    follower.begin()
    cluster.wait_settled()
    for pump in pumps:
        pump.wait_for_more(300)
        pump.stopping.set()
    for pump in pumps:
        pump.join(PATIENCE_S)
        refused = [a for a in pump.answers if isinstance(a, RespError) and "Unknown Redis command" not in str(a)]
        assert pump.error is None and not refused
    assert differ(cluster) == 0
    image = [node.ask("LRANGE", "wander1:l", 0, -1) for node in cluster]
    assert image[0] and image[0] == image[1] == image[2]


def test_what_a_script_publishes_is_heard_on_every_node_behind_its_commit(start_data):
    cluster = start_data()
    hearing = [listen(node, "news") for node in cluster]
    for number, node in enumerate(cluster):
        script = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('PUBLISH', 'news', ARGV[1])"
        with node.client() as client:
            assert client.call("EVAL", script, 1, "k", number) == 0
            client.call("MULTI")
            client.call("EVAL", script, 1, "k", f"{number} in a transaction")
            assert client.call("EXEC") == [0]
    due = [text for number in range(3) for text in (b"%d" % number, b"%d in a transaction" % number)]
    for client in hearing:
        assert heard(client, len(due)) == due


def test_a_write_of_a_script_wakes_who_waits(start_data):
    cluster = start_data()
    with cluster[0].client(timeout_s=BOUND_S) as waiting:
        waiting.send("BLPOP", "woken", 0)
        wait_until(lambda: b"blocked_clients:1" in cluster[0].ask("INFO", "clients"), BOUND_S, "it waits")
        assert cluster[1].ask("EVAL", "return redis.call('RPUSH', 'wo' .. 'ken', 'x')", 0) == 1
        assert waiting.recv() == [b"woken", b"x"]


def test_a_long_script_holds_up_nobody_else(start_data):
    """All partitions of a node are on one store thread here: another one's writes, and publishes, go on."""
    cluster = start_data(options={"script-instruction-limit": 2_000_000_000})
    node = leader_of(cluster, 0)
    before = {n.name: n.slots() for n in cluster}
    with node.client(timeout_s=PATIENCE_S) as busy, node.client() as client, node.client() as reader:
        client.call("SELECT", 1)
        began = time.monotonic()
        busy.send("EVAL", "local t = 0 for i = 1, 2e8 do t = t + i end redis.call('SET', 'done', t) return 1", 0)
        waited = []
        while not reader.call("EXISTS", "done") if time.monotonic() - began > 30 else time.monotonic() - began < 1.0:
            at = time.monotonic()
            client.call("INCR", "other")
            client.call("PUBLISH", "c", "x")
            waited.append(time.monotonic() - at)
        assert busy.recv() == 1
        took = time.monotonic() - began
    assert took > 1, "it was to be a long one"
    waited.sort()
    assert waited[len(waited) // 2] < 0.2 and waited[-1] < 1.0, waited[-5:]
    assert {n.name: n.slots() for n in cluster} == before, "no partition has changed its owner"
    assert int(cluster[1].ask("EXISTS", "done")) == 1
