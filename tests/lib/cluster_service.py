"""cluster_service: can every node publish to, and receive from, every partition? What nodes say of themselves does not
count: clients try it. They use shard channels, so that no pattern of another client has a part in it."""

import binascii
import itertools
import time

from .cluster import SLOTS
from .resp import Closed, Push, RespError
from .wait import SCALE

SERVED_DEADLINE_S = 30 * SCALE
"""A cluster that has come to rest serves everything everywhere so long after, at the latest."""

TRY_S = 3 * SCALE


class NotServed(AssertionError):
    """Some node cannot do something with some partition, though nothing is wrong any more."""


def channels_of_partitions(count):
    """One channel of each partition, in their order."""
    found = {}
    for number in itertools.count():
        name = b"served:%d" % number
        slot = binascii.crc_hqx(name, 0) % SLOTS
        found.setdefault(slot * count // SLOTS, name)
        if len(found) == count:
            return [found[partition] for partition in range(count)]


def wait_served(cluster, deadline_s=SERVED_DEADLINE_S):
    """Try until all of it works. Raises NotServed with what the last try met."""
    channels = channels_of_partitions(cluster.partitions)
    end_s = time.monotonic() + deadline_s
    while True:
        begin_s = time.monotonic()
        wrong = _try(cluster.running(), channels)
        if not wrong:
            return
        if begin_s >= end_s:
            raise NotServed(f"after {deadline_s:g} s of rest:\n" + "\n".join(wrong) + "\n" + cluster.describe())
        time.sleep(0.05)


def _try(nodes, channels):
    """What does not work at the first try, told line by line."""
    clients = {}
    try:
        wrong = [line for node in nodes for line in _subscribe(clients, node, channels)]
        if not wrong:
            wrong = [line for node in nodes for line in _publish(clients[node.name], node, channels, len(nodes))]
        if not wrong:
            wrong = [line for node in nodes for line in _receive(clients[node.name], node, channels, nodes)]
        return wrong
    finally:
        for client in clients.values():
            client.close()


def _subscribe(clients, node, channels):
    try:
        client = clients[node.name] = node.client(3, timeout_s=TRY_S)
        for channel in channels:
            client.send("SSUBSCRIBE", channel)
        for partition in range(len(channels)):
            answer = client.recv()
            if isinstance(answer, RespError):
                yield f"{node.name} cannot subscribe in partition {partition}: {answer}"
    except (OSError, Closed, TimeoutError) as exc:
        yield f"{node.name} does not answer subscribers: {exc!r}"


def _publish(client, node, channels, count):
    try:
        for partition, channel in enumerate(channels):
            client.send("SPUBLISH", channel, f"{node.name} {partition}")
        for partition in range(len(channels)):
            answer = client.reply()
            if answer != count:
                yield f"{node.name} publishes to partition {partition}: {answer}, not {count}"
    except (OSError, Closed, TimeoutError) as exc:
        yield f"{node.name} does not answer publishers: {exc!r}"


def _receive(client, node, channels, nodes):
    expected = {(partition, other.name) for partition in range(len(channels)) for other in nodes}
    try:
        while expected:
            message = client.pushes.pop(0) if client.pushes else client.recv()
            if isinstance(message, Push) and message[0] == b"smessage":
                name, partition = message[2].decode().split(" ")
                expected.discard((int(partition), name))
    except (OSError, Closed, TimeoutError) as exc:
        yield f"{node.name} does not receive {sorted(expected)[:8]}: {exc!r}"
