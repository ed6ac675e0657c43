"""What clients of a node wait for when it leaves: they get it, or it is there for others."""

import contextlib
import threading

from lib.resp import Client, Closed
from lib.wait import SCALE

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
