"""Keys in a cluster: one truth on every node, and each command executed once, whatever becomes of the node that serves it."""

import threading

import pytest

from lib.cluster_scene import BOUND_S
from lib.resp import RespError
from lib.wait import wait_until

PARTITIONS = 4
PATIENCE_S = 6 * BOUND_S


def leader_of(cluster, partition=0):
    """The node that serves the keys of database `partition`: soon after the cluster has come to rest, its owner."""
    lines = cluster.running()[0].ask("CLUSTER", "PARTITIONS").decode().splitlines()
    row = next(line for line in lines if line.startswith(f"partition {partition} "))
    return cluster.nodes[row.split("owner=", 1)[1].split()[0]]


@pytest.fixture
def start_data(start_cluster):
    """A cluster of a few partitions."""
    return lambda count=3, **kwargs: start_cluster(count, partitions=PARTITIONS, **kwargs)


class Pump(threading.Thread):
    """A client that sends pipelines of commands until it is told to stop; `make` gives the n-th command."""

    def __init__(self, node, make, batch=20):
        super().__init__(daemon=True)
        self.node, self.make, self.batch = node, make, batch
        self.answers, self.error = [], None
        self.stopping = threading.Event()

    def run(self):
        try:
            with self.node.client(timeout_s=PATIENCE_S) as client:
                while not self.stopping.is_set():
                    first = len(self.answers)
                    commands = [self.make(n) for n in range(first, first + self.batch)]
                    self.answers += client.calls(commands)
        except Exception as exc:  # pylint: disable=broad-exception-caught
            self.error = exc

    def wait_for_more(self, count=200):
        """So many more answers."""
        due = len(self.answers) + count
        wait_until(lambda: self.error or len(self.answers) >= due, PATIENCE_S, f"{count} more answers")

    def finish(self):
        """Stop; all answers, none of which is an error."""
        self.stopping.set()
        self.join(PATIENCE_S)
        assert self.error is None and not self.is_alive()
        errors = [answer for answer in self.answers if isinstance(answer, RespError)]
        assert not errors, f"{len(errors)} of {len(self.answers)}: {errors[:3]}"
        return self.answers


def test_what_one_node_is_told_every_node_knows(start_data):
    cluster = start_data()
    for number, node in enumerate(cluster):
        with node.client() as client:
            for database in range(PARTITIONS):
                assert client.call("SELECT", database) == "OK"
                assert client.call("SET", f"k{number}", f"{number}.{database}") == "OK"
                assert client.call("RPUSH", "list", number) == number + 1
    for node in cluster:
        with node.client() as client:
            for database in range(PARTITIONS):
                client.call("SELECT", database)
                for number in range(3):
                    assert client.call("GET", f"k{number}") == f"{number}.{database}".encode()
                assert client.call("LRANGE", "list", 0, -1) == [b"0", b"1", b"2"]


def test_a_pipeline_reads_its_own_writes_from_every_node(start_data):
    cluster = start_data()
    for number, node in enumerate(cluster):
        key = f"own{number}"
        with node.client() as client:
            answers = client.calls([c for n in range(300) for c in (("SET", key, n), ("GET", key))])
            assert answers[1::2] == [b"%d" % n for n in range(300)]


def test_values_of_every_size_go_through_every_node(start_data):
    cluster = start_data()
    for number, size in enumerate((0, 1, 1000, 1020, 1024, 1100, 70_000, 3_000_000)):
        value = bytes([65 + number]) * size
        for node in cluster:
            with node.client() as client:
                assert client.call("SET", f"sized{number}", value) == "OK"
        for node in cluster:
            with node.client() as client:
                assert client.call("GET", f"sized{number}") == value
                assert client.call("STRLEN", f"sized{number}") == size


def test_a_transaction_is_one_on_every_node(start_data):
    cluster = start_data()
    for node in cluster:
        with node.client() as client, cluster[0].client() as other:
            client.call("SET", "watched", 0)
            client.call("WATCH", "watched")
            client.call("MULTI")
            client.call("INCRBY", "watched", 5)
            client.call("GET", "watched")
            assert client.call("EXEC") == [5, b"5"]
            client.call("WATCH", "watched")
            assert other.call("INCR", "watched") == 6
            client.call("MULTI")
            client.call("SET", "watched", "lost")
            assert client.call("EXEC") is None
            assert client.call("GET", "watched") == b"6"


def test_whoever_waits_is_served_whichever_node_is_written_to(start_data):
    cluster = start_data()
    one, other, third = cluster
    for number, (waiter, writer) in enumerate(((one, other), (other, one), (third, other), (other, third))):
        with waiter.client(timeout_s=PATIENCE_S) as client:
            client.send("BLPOP", f"queue{number}", 0)
            with writer.client() as pushing:
                pushing.call("RPUSH", f"queue{number}", "x")
            assert client.recv() == [f"queue{number}".encode(), b"x"]
            assert client.call("BLPOP", f"queue{number}", 0.05) is None


def count_over_kills(cluster, make):
    """Two leaders are killed under clients that count: `make(key)` is the command that adds one. Each number is answered once."""
    for round_number in range(2):
        victim = leader_of(cluster)
        others = [n for n in cluster if n is not victim]
        key = f"counter{round_number}"
        pumps = [Pump(node, lambda n, k=key: make(k)) for node in others for _ in range(2)]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.wait_for_more()
        victim.kill()
        for pump in pumps:
            pump.wait_for_more()
        answers = [pump.finish() for pump in pumps]
        victim.begin()
        total = sum(map(len, answers))
        assert all(one == sorted(one) for one in answers), "each client's in its order"
        assert sorted(n for one in answers for n in one) == list(range(1, total + 1)), "each once"
        cluster.wait_settled()
        assert {int(n.ask("GET", key)) for n in cluster} == {total}


def test_a_kill_of_the_leader_costs_other_nodes_clients_a_pause(start_data):
    count_over_kills(start_data(), lambda key: ("INCR", key))


def test_pipelined_writes_stay_in_order_over_a_kill(start_data):
    cluster = start_data()
    victim = leader_of(cluster)
    others = [n for n in cluster if n is not victim]
    pumps = [Pump(node, lambda n, i=i: ("RPUSH", f"order{i}", n), batch=100) for i, node in enumerate(others)]
    for pump in pumps:
        pump.start()
    for pump in pumps:
        pump.wait_for_more(500)
    victim.kill()
    for pump in pumps:
        pump.wait_for_more(500)
    for i, pump in enumerate(pumps):
        count = len(pump.finish())
        with others[0].client(timeout_s=PATIENCE_S) as client:
            assert client.call("LRANGE", f"order{i}", 0, -1) == [b"%d" % n for n in range(count)]


def test_a_blocked_client_is_served_by_the_next_leader(start_data):
    cluster = start_data()
    victim = leader_of(cluster)
    one, other = (n for n in cluster if n is not victim)
    with one.client(timeout_s=PATIENCE_S) as waiting, other.client(timeout_s=PATIENCE_S) as pushing:
        waiting.send("BLPOP", "after", 0)
        assert pushing.call("RPUSH", "there", "x") == 1
        victim.kill()
        with one.client(timeout_s=PATIENCE_S) as hurried:
            assert hurried.call("BLPOP", "there", 0.01) == [b"there", b"x"], "that there is nothing is said by who leads"
        assert pushing.call("RPUSH", "after", "a", "b") == 2
        assert waiting.recv() == [b"after", b"a"]
        assert pushing.call("LRANGE", "after", 0, -1) == [b"b"]


def test_a_node_that_ends_in_order_hands_its_keys_over(start_data):
    cluster = start_data()
    victim = leader_of(cluster)
    others = [n for n in cluster if n is not victim]
    pumps = [Pump(node, lambda n: ("INCR", "drained")) for node in others]
    for pump in pumps:
        pump.start()
    for pump in pumps:
        pump.wait_for_more()
    victim.begin_end()
    victim.finish_end()
    for pump in pumps:
        pump.wait_for_more()
    total = sum(len(pump.finish()) for pump in pumps)
    assert int(others[0].ask("GET", "drained")) == total


def test_all_killed_at_once_know_what_they_acknowledged(start_data):
    cluster = start_data()
    pumps = [Pump(node, lambda n, i=i: ("SET", f"kept{i}", n)) for i, node in enumerate(cluster)]
    for pump in pumps:
        pump.start()
    for pump in pumps:
        pump.wait_for_more(100)
    for node in cluster:
        node.kill()
    for pump in pumps:
        pump.join(PATIENCE_S)
    for node in cluster:
        node.begin()
    cluster.wait_settled()
    for i, pump in enumerate(pumps):
        known = [n for n, answer in enumerate(pump.answers) if answer == "OK"]
        with cluster[i].client(timeout_s=PATIENCE_S) as client:
            assert int(client.call("GET", f"kept{i}")) >= known[-1]


def test_a_long_answer_comes_whole_through_every_node_and_in_its_place(start_data):
    cluster = start_data()
    elements = [b"%07d" % n for n in range(150_000)]
    with cluster[0].client(timeout_s=PATIENCE_S) as client:
        for first in range(0, len(elements), 5000):
            client.call("RPUSH", "long", *elements[first:first + 5000])
    for node in cluster:
        with node.client(timeout_s=PATIENCE_S) as client:
            first, whole, again, last = client.calls(
                [("LLEN", "long"), ("LRANGE", "long", 0, -1), ("LRANGE", "long", 50, -1), ("LINDEX", "long", -1)])
        assert first == len(elements) and last == elements[-1]
        assert whole == elements and again == elements[50:]


def test_who_leaves_in_the_middle_of_a_long_answer_takes_nothing_with_him(start_data):
    cluster = start_data()
    with cluster[0].client(timeout_s=PATIENCE_S) as client:
        client.calls([("RPUSH", "long", *([b"x" * 200] * 2000)) for _ in range(40)])
    for _ in range(5):
        for node in cluster:
            with node.client(timeout_s=PATIENCE_S) as client:
                client.send("LRANGE", "long", 0, -1)
    for node in cluster:
        with node.client(timeout_s=PATIENCE_S) as client:
            assert client.call("INCR", "counter") > 0
            assert len(client.call("LRANGE", "long", 0, -1)) == 80_000


def test_fields_end_at_their_deadline_on_whoever_leads_and_do_not_come_back(start_data):
    cluster = start_data()
    victim = leader_of(cluster)
    others = [n for n in cluster if n is not victim]
    with others[0].client(timeout_s=PATIENCE_S) as client, others[1].client(timeout_s=PATIENCE_S) as other:
        for i in range(20):
            fields = [word for n in range(50) for word in (f"f{n}", n)]
            assert client.call("HSET", f"hash{i}", *fields) == 50
            assert client.call("HPEXPIRE", f"hash{i}", 1500, "FIELDS", 25, *(f"f{n}" for n in range(25))) == [1] * 25
        assert client.call("HSETEX", "all", "PX", 1500, "FIELDS", 2, "a", 1, "b", 2) == 1
        assert client.call("HSETEX", "later", "EX", 1000, "FIELDS", 1, "a", 1) == 1
        victim.kill()
        seen = [int(client.call("HLEN", "hash19"))]
        while seen[-1] != 25:
            seen += [int(client.call("HLEN", "hash19")), int(other.call("HLEN", "hash19"))]
        assert seen == sorted(seen, reverse=True), "what has gone stays away"
        for i in range(20):
            assert len(other.call("HGETALL", f"hash{i}")) == 50
            assert client.call("HMGET", f"hash{i}", "f0", "f24", "f25") == [None, None, b"25"]
        wait_until(lambda: client.call("EXISTS", "all") == 0, PATIENCE_S, "the key goes with its last field")
        assert 0 < client.call("HTTL", "later", "FIELDS", 1, "a")[0] <= 1000
    victim.begin()
    cluster.wait_settled()
    for node in cluster:
        assert [int(node.ask("HLEN", f"hash{i}")) for i in range(20)] == [25] * 20
        assert int(node.ask("EXISTS", "all")) == 0


def test_who_waits_with_claim_gets_what_a_consumer_left_also_from_the_next_leader(start_data):
    cluster = start_data()
    victim = leader_of(cluster)
    one, other = (n for n in cluster if n is not victim)
    with one.client(timeout_s=PATIENCE_S) as waiting, other.client(timeout_s=PATIENCE_S) as client:
        client.call("XGROUP", "CREATE", "jobs", "g", "0", "MKSTREAM")
        entry = client.call("XADD", "jobs", "*", "job", 1)
        assert client.call("XREADGROUP", "GROUP", "g", "left", "STREAMS", "jobs", ">") == [
            [b"jobs", [[entry, [b"job", b"1"]]]]]
        waiting.send("XREADGROUP", "GROUP", "g", "heir", "BLOCK", 0, "CLAIM", 1500, "STREAMS", "jobs", ">")
        victim.kill()
        [[key, [[claimed, fields, idle, count]]]] = waiting.recv()
        assert (key, claimed, fields, int(count)) == (b"jobs", entry, [b"job", b"1"], 1)
        assert int(idle) >= 1500
        waiting.send("XREADGROUP", "GROUP", "g", "left", "BLOCK", 0, "CLAIM", 100000, "STREAMS", "jobs", ">")
        assert int(client.call("XNACK", "jobs", "g", "FAIL", "IDS", 1, entry)) == 1
        assert waiting.recv()[0][1][0][0] == entry
        assert client.call("XACKDEL", "jobs", "g", "ACKED", "IDS", 1, entry) == [1]
        assert int(client.call("XLEN", "jobs")) == 0
