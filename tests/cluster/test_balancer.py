"""A load balancer is the only address that clients know: nodes die, restart and join behind it."""

import pytest

from lib.cluster_endpoint import Endpoint, Unavailable
from lib.cluster_scene import under_load
from lib.resp import Client
from lib.wait import wait_until

BEHIND = "behind the balancer"


@pytest.fixture
def endpoint(start_cluster):
    """A cluster of three behind a load balancer."""
    cluster = start_cluster()
    try:
        balancer = Endpoint(cluster)
    except Unavailable as exc:
        pytest.skip(str(exc))
    yield balancer.start()
    balancer.close()


def test_a_subscriber_and_a_publisher_meet_wherever_they_got(endpoint):
    """Six clients each are on all three nodes."""
    subscribers = [Client(endpoint.address, 3) for _ in range(6)]
    for subscriber in subscribers:
        subscriber.send("SUBSCRIBE", "c")
        assert subscriber.recv() == [b"subscribe", b"c", 1]
    nodes = set()
    for number in range(6):
        with Client(endpoint.address) as publisher:
            nodes.add(publisher.call("CLUSTER", "MYID"))
            assert publisher.call("PUBLISH", "c", number) == 6
    assert len(nodes) == 3
    for subscriber in subscribers:
        assert [m[2] for m in subscriber.recv_many(6)] == [b"%d" % n for n in range(6)]
        subscriber.close()


def test_a_rolling_restart_and_a_kill_behind_it_keep_every_promise(endpoint):
    """The judge does not know who is on which node: any connection may have been on the one that leaves."""
    cluster = endpoint.cluster
    with under_load(cluster, endpoints=lambda: {BEHIND: endpoint.address}) as scene:
        for node in cluster:
            with scene.fault("drain", BEHIND, planned=True):
                assert node.terminate() == 0, node.log()[-3000:]
                scene.wait_for_publishes()
                node.begin()
        with scene.fault("kill", BEHIND, spares=True):
            cluster[0].kill()
            wait_until(endpoint.answers, what="a new client gets to a node that lives")
            scene.wait_for_publishes()
            cluster[0].begin()
