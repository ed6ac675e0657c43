"""What clients of a node wait for when it leaves or is killed: they get it, or it is there for others."""

import contextlib
import threading

from lib import prometheus
from lib.resp import Client, Closed
from lib.wait import SCALE, wait_until

POPPERS = 12
ROUNDS = 4
PATIENCE_S = 20 * SCALE


class Popper(threading.Thread):
    """Pops from the queue until its node closes the connection."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.client = Client(node.address, timeout_s=PATIENCE_S)
        self.got = []
        self.start()

    def run(self):
        with self.client, contextlib.suppress(OSError, Closed):
            while True:
                element = self.client.call("BRPOP", "queue", 0)
                self.got.append(int(element[1]))


def test_nothing_that_is_popped_while_a_node_leaves_is_lost(start_cluster):
    cluster = start_cluster()
    number = 0
    for turn in range(ROUNDS):
        leaving, staying = cluster[turn % 3], cluster[(turn + 1) % 3]
        first, poppers = number, [Popper(leaving) for _ in range(POPPERS)]
        with staying.client(timeout_s=PATIENCE_S) as client:
            while number < first + 300:
                client.call("LPUSH", "queue", number)
                number += 1
            leaving.begin_end()
            while any(popper.is_alive() for popper in poppers):
                client.call("LPUSH", "queue", number)
                number += 1
            assert leaving.wait_exit() == 0
            found = [n for popper in poppers for n in popper.got]
            found += [int(element) for element in client.call("LRANGE", "queue", 0, -1)]
            assert client.call("DEL", "queue") in (0, 1)
        assert sorted(found) == list(range(first, number))
        leaving.begin()
        cluster.wait_settled()


def leader_of_queue(cluster):
    """The node that leads database 0."""
    lines = cluster.running()[0].ask("CLUSTER", "PARTITIONS").decode().splitlines()
    row = next(line for line in lines if line.startswith("partition 0 "))
    return cluster.nodes[row.split("owner=", 1)[1].split()[0]]


def parked_at(node):
    """How many calls are parked at the partitions that it leads."""
    page = node.page("/metrics")
    return page and prometheus.parse(page.text).value("fanfare_partition_parked")


def elements(client):
    """What is in the queue."""
    return sorted(int(element) for element in client.call("LRANGE", "queue", 0, -1))


def test_what_was_popped_for_clients_of_a_killed_node_comes_back(start_cluster):
    cluster = start_cluster(options={"return-lost-pops": "yes", "cluster-timeout": 3000})
    leader = leader_of_queue(cluster)
    victim, other = (node for node in cluster if node is not leader)
    with other.client(timeout_s=PATIENCE_S) as client:
        poppers = [Popper(victim) for _ in range(POPPERS)]
        for number in range(POPPERS):
            client.call("LPUSH", "queue", number)
        wait_until(lambda: sum(len(popper.got) for popper in poppers) == POPPERS, PATIENCE_S, "all are popped")
        wait_until(lambda: parked_at(leader) == POPPERS, PATIENCE_S, "all wait again, so they have been confirmed")
        victim.pause()
        pushed = [client.call("LPUSH", "queue", number) for number in range(POPPERS, 2 * POPPERS)]
        assert len(pushed) == POPPERS
        victim.kill()
        wait_until(lambda: elements(client) == list(range(POPPERS, 2 * POPPERS)), PATIENCE_S, "what they never got is back")
        for popper in poppers:
            popper.join()
        assert sorted(n for popper in poppers for n in popper.got) == list(range(POPPERS))
        client.call("DEL", "queue")
        victim.begin()
        cluster.wait_settled()
        nothing_is_lost_when_the_leader_is_killed(leader, client)


def nothing_is_lost_when_the_leader_is_killed(leader, client):
    """Its own clients are those who pop: with it goes what it had not handed to them, and what it knew of that."""
    poppers = [Popper(leader) for _ in range(POPPERS)]
    wait_until(lambda: parked_at(leader) == POPPERS, PATIENCE_S, "they wait")
    for number in range(200):
        client.send("LPUSH", "queue", number)
        if number == 100:
            leader.kill()
    for _ in range(200):
        client.recv()
    for popper in poppers:
        popper.join()
    got = {n for popper in poppers for n in popper.got}
    wait_until(lambda: got | set(elements(client)) == set(range(200)), PATIENCE_S, "each is with a client or in the queue")
