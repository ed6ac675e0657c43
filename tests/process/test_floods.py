"""Ten thousand connections that say nothing, too much or nonsense, at each door but the clients': what they cost is bounded, and those
who are served notice nothing."""

import contextlib
import os
import socket

import pytest

from lib.broker import HOST
from lib.ports import free_ports
from lib.resp import Client
from lib.scrape import get
from lib.wait import DEADLINE_S, wait_until

pytestmark = pytest.mark.fanfare_only

CONNECTIONS = 3400  # at each of three doors
AT_ONCE = 400
PEER_STRANGERS, RAFT_CONNECTIONS, VIEWERS = 256, 1024, 64  # the bounds
GROWN_BYTES_MAX = 32 << 20
LOG_BYTES_MAX = 1 << 20
SAID = (b"", b"\0", b"\xff" * 100, b"GET / HTTP/1.1\r\nX: " + b"y" * 9000, b"\x7f\xff\xff\xff" + b"z" * 5000,
        b"\0\0\0\x24" + b"\0" * 20, b"\x16\x03\x01\x02\x00\x01", b"*1\r\n$4\r\nPING\r\n")


@pytest.fixture
def broker_in_a_cluster(start_broker, tmp_path):
    """A cluster of one, with all of its doors; gives also their ports."""
    (tmp_path / "secret").write_text("what the nodes of this cluster share")
    peer, raft = free_ports(2)
    broker = start_broker({"expect": 1, "peer-listen": f"{HOST}:{peer}", "raft-listen": f"{HOST}:{raft}", "threads": 1,
                           "advertise": HOST, "cluster-secret-file": tmp_path / "secret"})
    wait_until(lambda: get(broker, "/readyz").status == 200, what="the node is ready")
    return broker, peer, raft


def used_bytes(client):
    """What the broker has allocated; 0 where the allocator is a sanitizer's, which keeps what is freed."""
    info = dict(line.split(":", 1) for line in client.call("INFO", "memory").decode().split("\r\n") if ":" in line)
    return int(info["used_memory"]) if info["mem_allocator"].startswith("jemalloc") else 0


def sockets(broker):
    """How many of its descriptors are connections."""
    links = []
    for entry in os.scandir(f"/proc/{broker.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(entry.path))
    return sum(link.startswith("socket:") for link in links)


def knock(port, said):
    """A connection that says this and no more, and is not waited for."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex((HOST, port))
    try:
        sock.send(said)
    except OSError:
        pass  # not accepted yet: a half-open one
    return sock


def test_ten_thousand_strangers_cost_little_and_nobody_waits_for_them(broker_in_a_cluster):
    broker, *doors = broker_in_a_cluster
    before, grown, grown_bytes, held = sockets(broker), 0, 0, []
    with Client(broker.address, timeout_s=DEADLINE_S) as member:
        bytes_before = used_bytes(member)
        for door in (*doors, broker.http_port):
            for i in range(CONNECTIONS):
                held.append(knock(door, SAID[i % len(SAID)]))
                if len(held) == AT_ONCE:
                    assert member.call("SET", "k", i) == "OK"  # a write goes through the raft thread, too
                    with Client(broker.address, timeout_s=DEADLINE_S) as newcomer:
                        assert newcomer.call("PING") == "PONG"
                    grown = max(grown, sockets(broker) - before)
                    grown_bytes = max(grown_bytes, used_bytes(member) - bytes_before)
                    while held:
                        held.pop().close()
        assert get(broker, "/readyz").status == 200
    assert grown <= AT_ONCE + PEER_STRANGERS + RAFT_CONNECTIONS + VIEWERS
    assert grown_bytes < GROWN_BYTES_MAX
    assert len(broker.log()) < LOG_BYTES_MAX
    while held:
        held.pop().close()
    wait_until(lambda: sockets(broker) <= before, what="the last of them are gone")


def test_who_stays_silent_is_closed_in_time_and_a_flood_closes_the_oldest_first(broker_in_a_cluster):
    broker, peer, raft = broker_in_a_cluster
    before = sockets(broker)
    held = [knock(door, b"") for door in (peer, raft) for _ in range(2 * RAFT_CONNECTIONS)]
    wait_until(lambda: sockets(broker) > before, what="some are accepted")
    wait_until(lambda: sockets(broker) <= before, what="two seconds are over")  # although all of them hold on
    with Client(broker.address) as client:
        assert client.call("SET", "k", "v") == "OK"
    while held:
        held.pop().close()
