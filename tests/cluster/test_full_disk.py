"""A node whose disk is full leads nothing, says so, and goes on with pub/sub; the cluster loses nothing by it."""

import contextlib
import time

import pytest

from lib.cluster_scene import BOUND_S, heard, listen, publish, wait_published
from lib.small_disk import MIB, SmallDisk, Unavailable
from lib.wait import SCALE, wait_until

DISK_BYTES = 96 * MIB  # ballast, two segments of the log, and room
DEADLINE_S = 30 * SCALE
LINES_PER_S_MAX = 5


@pytest.fixture(name="disks")
def make_disks(make_cluster):
    """A cluster of three, at rest, whose nodes have a small disk each: (cluster, {node: disk})."""
    cluster = make_cluster(options={"disk-reserve": "8mb"})
    found = {}
    with contextlib.ExitStack() as mounted:
        for node in cluster:
            try:
                found[node] = SmallDisk(node.data, DISK_BYTES)
            except Unavailable as exc:
                pytest.skip(str(exc))
            mounted.callback(found[node].close)
        cluster.start()
        cluster.wait_settled()
        yield cluster, found
        for node in cluster:
            if node.is_running:
                node.kill()


def fill_of_leader(cluster, disks):
    """Fill the control leader's disk to the last byte, until another one leads: (the old leader, the new one)."""
    full = cluster.leader()

    def is_led_by_another():
        disks[full].fill()
        return cluster.leader() is not full
    wait_until(is_led_by_another, DEADLINE_S, "another node leads")
    return full, cluster.leader()


@pytest.mark.parametrize("kills_leader", [True, False], ids=["the new leader", "the third node"])
def test_failover_takes_the_usual_time_beside_a_full_disk(disks, kills_leader):
    cluster, disk_of = disks
    full, leader = fill_of_leader(cluster, disk_of)
    third = next(n for n in cluster if n not in (full, leader))
    victim, other = (leader, third) if kills_leader else (third, leader)
    channel = cluster.channel_of(victim, "full")
    victim.kill()
    wait_published(other, channel)
    wait_published(full, channel)
    with listen(full, channel) as client:
        assert publish(other, channel, "once more") == 1
        assert heard(client, 1) == [b"once more"]


def test_a_node_with_a_full_disk_says_so_and_serves_until_it_has_space_again(disks):
    cluster, disk_of = disks
    full, leader = fill_of_leader(cluster, disk_of)
    channel = cluster.channel_of(full, "here")
    wait_until(lambda: full.page("/readyz").status == 503, DEADLINE_S, "it is not ready")
    assert "the disk is full" in full.page("/readyz").text
    assert "fanfare_raft_disk_full 1" in full.page("/metrics").text
    with listen(leader, channel) as there, listen(full, channel) as here:
        assert publish(full, channel, "both") == 2
        assert heard(there, 1) == heard(here, 1) == [b"both"]
    lines, begin_s = full.log().count("\n"), time.monotonic()
    wait_until(lambda: time.monotonic() > begin_s + 3, DEADLINE_S, "three seconds are over")
    written = full.log().count("\n") - lines
    assert written < LINES_PER_S_MAX * (time.monotonic() - begin_s), full.log()[-3000:]
    disk_of[full].give_back()
    wait_until(full.is_ready, DEADLINE_S, "it is ready again")
    wait_published(full, channel, BOUND_S)
