"""One address for all clients: haproxy, with the configuration that is shipped."""

import pytest

from lib.cluster_endpoint import Endpoint, Unavailable
from lib.resp import Client
from lib.wait import wait_until


@pytest.fixture
def start_endpoint():
    """start_endpoint(cluster) puts a load balancer before it."""
    started = []

    def start(cluster):
        try:
            started.append(Endpoint(cluster))
        except Unavailable as exc:
            pytest.skip(str(exc))
        return started[-1].start()

    yield start
    for endpoint in started:
        endpoint.close()


def test_new_clients_get_to_a_node_that_lives(make_cluster, start_endpoint):
    cluster = make_cluster(2, plain=True).start()
    endpoint = start_endpoint(cluster)
    for node in cluster:
        node.kill()
        wait_until(endpoint.answers, what="the other node answers")
        node.begin()
        wait_until(node.is_ready)
    with Client(endpoint.address) as client:
        assert client.call("PING") == "PONG"
