"""fanfare backup of a cluster that is written to and loses nodes, and its way back while nodes die."""

import pathlib
import random
import signal
import subprocess
import threading

from lib.broker import FanfareProgram
from lib.cluster_scene import BOUND_S
from lib.import_work import RUN_S, fill
from lib.key_content import all_keys, content
from lib.resp import RespError
from lib.wait import wait_until

PARTITIONS = 4
ACCOUNTS, EACH = 10, 1000
STILL, MONEY, COUNTS = 0, 2, 1
"""Databases, each in the partition of its number: what nobody writes to, what has a sum that stays, and counters."""


class Program:
    """fanfare backup or restore, under way."""

    def __init__(self, *args):
        self.process = subprocess.Popen([FanfareProgram().path, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)

    def end(self):
        """The exit code, what it said, what it complained of."""
        out, err = self.process.communicate(timeout=RUN_S)
        return self.process.returncode, out.decode(), err.decode()


class Writer(threading.Thread):
    """Moves money from one account to another, each time in one transaction, and counts its transactions."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.done, self.counted = node, threading.Event(), 0
        self.start()

    def run(self):
        chance = random.Random(1)
        with self.node.client(timeout_s=RUN_S) as client:
            while not self.done.is_set():
                giver, taker = chance.sample(range(ACCOUNTS), 2)
                amount = chance.randrange(50)
                client.calls([["SELECT", MONEY], ["MULTI"], ["DECRBY", f"account:{giver}", amount],
                              ["INCRBY", f"account:{taker}", amount], ["EXEC"]])
                reply = client.calls([["SELECT", COUNTS], ["INCR", "count"]])[1]
                self.counted = self.counted if isinstance(reply, RespError) else reply

    def stop(self):
        self.done.set()
        self.join()


def address(node):
    return "%s:%d" % node.address


def leader_of(cluster, partition):
    lines = cluster.running()[0].ask("CLUSTER", "PARTITIONS").decode().splitlines()
    row = next(line for line in lines if line.startswith(f"partition {partition} "))
    return cluster.nodes[row.split("owner=", 1)[1].split()[0]]


def still(client):
    """All of the database that nobody writes to."""
    client.call("SELECT", STILL)
    return {key: content(client, key) for key in all_keys(client)}


def check(client, expected, counted_before, counted_after):
    assert still(client) == expected
    client.call("SELECT", MONEY)
    assert sum(int(n) for n in client.call("MGET", *[f"account:{n}" for n in range(ACCOUNTS)])) == ACCOUNTS * EACH
    client.call("SELECT", COUNTS)
    assert counted_before <= int(client.call("GET", "count")) <= counted_after


def fill_cluster(client):
    client.call("SELECT", MONEY)
    client.calls([["SET", f"account:{n}", EACH] for n in range(ACCOUNTS)])
    client.call("SELECT", STILL)
    fill(client, random.Random(3), 20)
    client.calls([["SET", "text:%d" % n, random.Random(n).randbytes(8000)] for n in range(600)])


def take(cluster, near, path):
    """A backup, during which the leader of what it reads first is killed. Gives: whether that was in time."""
    part = pathlib.Path(f"{path}.part")
    going = Program("backup", "--from", address(near), "--to", str(path), "--rate", "2")
    victim = leader_of(cluster, STILL)
    wait_until(lambda: part.exists() and part.stat().st_size > 1 << 20, BOUND_S * 6, "the backup has begun")
    going.process.send_signal(signal.SIGSTOP)
    victim.kill()
    going.process.send_signal(signal.SIGCONT)
    code, _, complaint = going.end()
    assert code == 0, complaint
    assert not part.exists()
    victim.start()
    return f"partition {STILL} is begun anew" in complaint


def test_a_cluster_that_is_written_to_and_loses_a_leader_comes_back(start_cluster, tmp_path):
    """Into one node of another layout, and into the cluster itself while it loses a node again."""
    cluster = start_cluster(3, partitions=PARTITIONS)
    path = tmp_path / "backup"
    near = next(node for node in cluster if node is not leader_of(cluster, STILL))
    with near.client(timeout_s=RUN_S) as client:
        fill_cluster(client)
        expected = still(client)
        writer = Writer(near)
        try:
            wait_until(lambda: writer.counted > 20, BOUND_S * 6, "the writer writes")
            before = writer.counted
            assert any(take(cluster, near, path) for _ in range(3))
        finally:
            writer.stop()
        single = start_cluster(1, partitions=16)
        code, said, complaint = Program("restore", str(path), "--to", address(single[0])).end()
        assert code == 0, complaint
        assert "keys, 0 scripts and 0 users restored" in said
        with single[0].client(timeout_s=RUN_S) as target:
            check(target, expected, before, writer.counted)
        wait_until(lambda: client.call("FLUSHALL") == "OK", BOUND_S * 6, "the cluster is emptied")
        going = Program("restore", str(path), "--to", address(near))
        client.call("SELECT", STILL)
        victim = leader_of(cluster, STILL)
        victim = victim if victim is not near else next(node for node in cluster if node is not near)
        wait_until(lambda: client.call("DBSIZE") != 0, BOUND_S * 6, "the restore has begun")
        victim.kill()
        code, said, complaint = going.end()
        assert code == 0, complaint
        check(client, expected, before, writer.counted)


def test_without_a_majority_there_is_neither_a_backup_nor_a_save(start_cluster, tmp_path):
    cluster = start_cluster(3, partitions=PARTITIONS)
    with cluster[0].client(timeout_s=RUN_S) as client:
        assert client.call("SAVE") == "OK"
        for node in (cluster[1], cluster[2]):
            node.kill()
        wait_until(lambda: isinstance(client.call("SAVE"), RespError), BOUND_S * 6, "a save is refused")
        going = Program("backup", "--from", address(cluster[0]), "--to", str(tmp_path / "none"))
        for node in (cluster[1], cluster[2]):
            node.start()
        code, _, complaint = going.end()
        assert code == 0, complaint
        wait_until(lambda: client.call("SAVE") == "OK", BOUND_S * 6, "a save is answered")
