"""The network of the cluster tests does what it says: it drops, delays, loses, moves, and leaves nothing behind."""

import signal
import statistics
import time

from lib.netns import run
from lib.resp import Client
from lib.wait import DEADLINE_S, wait_until

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 6379), 1).close()"


def hears(network, one, other):
    """Can `one` open a connection to `other`, which it calls by name? Takes both directions."""
    command = ["/usr/bin/python3", "-c", CONNECT, other]
    try:
        run(*network.prefix(one), *command)
    except RuntimeError:
        return False
    return True


def plain_nodes(make_cluster, network):
    """Two nodes that know nothing of each other, in one network."""
    return list(make_cluster(2, world=network, plain=True).start())


def test_nodes_reach_each_other_by_name_until_they_are_cut_apart(make_cluster, network):
    plain_nodes(make_cluster, network)
    assert hears(network, "fanfare-0", "fanfare-1") and hears(network, "fanfare-1", "fanfare-0")
    network.cut("fanfare-0", "fanfare-1")
    assert not hears(network, "fanfare-0", "fanfare-1") and not hears(network, "fanfare-1", "fanfare-0")
    network.heal()
    assert hears(network, "fanfare-0", "fanfare-1") and hears(network, "fanfare-1", "fanfare-0")
    network.isolate("fanfare-1")
    assert not hears(network, "fanfare-0", "fanfare-1")
    network.heal()
    assert hears(network, "fanfare-0", "fanfare-1")


def test_one_direction_can_be_cut_alone(make_cluster, network):
    one, two = plain_nodes(make_cluster, network)
    network.cut("fanfare-0", "fanfare-1", both_ways=False)
    for hearer, speaker, passes in ((one, two, False), (two, one, True)):
        rule = run(*network.prefix(hearer.name), "nft", "list", "chain", "inet", "fault", "input")
        assert ("drop" in rule) != passes, f"{hearer.name} hears {speaker.name}"


def test_a_client_may_be_cut_off_too_and_its_connection_survives(make_cluster, network):
    one, _ = plain_nodes(make_cluster, network)
    with Client(one.address, timeout_s=30) as client:
        network.isolate("fanfare-0", clients=True)
        client.send("PING")
        try:
            client.recv(0.5)
            raise AssertionError("it was answered")
        except TimeoutError:
            pass
        network.heal()
        assert client.recv() == "PONG"


def test_a_node_that_has_moved_is_found_under_its_name(make_cluster, network):
    _, two = plain_nodes(make_cluster, network)
    before = network.address("fanfare-1")
    two.terminate()
    network.move("fanfare-1")
    two.begin()
    wait_until(two.is_ready)
    assert network.address("fanfare-1") != before
    assert hears(network, "fanfare-0", "fanfare-1")


def test_a_delay_takes_that_long_in_each_direction_and_ends_with_the_healing(make_cluster, network):
    one, _ = plain_nodes(make_cluster, network)
    with Client(one.address, timeout_s=30) as client:
        def times():
            for _ in range(9):
                begin_s = time.monotonic()
                assert client.call("PING") == "PONG"
                yield time.monotonic() - begin_s
        quick_s = statistics.median(times())
        network.degrade("fanfare-0", delay_ms=40)
        assert statistics.median(times()) > 0.08, "both ways"
        assert client.call("ECHO", b"x" * 2000000) == b"x" * 2000000
        network.heal()
        assert statistics.median(times()) < 0.04, f"before: {quick_s}"


def test_a_lossy_wire_loses_frames_and_tcp_gets_through(make_cluster, network):
    one, _ = plain_nodes(make_cluster, network)
    network.degrade("fanfare-0", delay_ms=1, loss=0.05, seed=1)
    with Client(one.address, timeout_s=60) as client:
        for _ in range(10):
            assert client.call("ECHO", b"y" * 20000) == b"y" * 20000
    sent = run(*network.prefix("fanfare-0"), "cat", "/proc/net/snmp")
    tcp = [line.split() for line in sent.splitlines() if line.startswith("Tcp:")]
    assert int(dict(zip(*tcp))["RetransSegs"]) > 0


def test_nothing_is_left_behind(make_cluster, network):
    nodes = plain_nodes(make_cluster, network)
    network.degrade("fanfare-0", delay_ms=1)
    mark = network.mark
    assert mark in run("ip", "netns", "list")
    for node in nodes:
        node.expects_death = True
    network.close()
    assert all(node.process.wait(DEADLINE_S) == -signal.SIGKILL for node in nodes)
    assert mark not in run("ip", "netns", "list") and mark not in run("ip", "link", "show")
