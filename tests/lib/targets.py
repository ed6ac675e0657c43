"""targets: what an application may run against: one broker, or three nodes behind the load balancer that is shipped.

A Target has `nodes`, where clients may go, as (host, port) each, the endpoint of all first. The reference is one broker.
"""

import contextlib

from . import broker as brokers
from .broker import HOST, Broker
from .cluster import CLIENT_PORT, Cluster
from .cluster_endpoint import Endpoint

KINDS = ("alone", "three")


def kinds():
    """Of targets that there are for the broker under test."""
    return KINDS if brokers.is_fanfare() else KINDS[:1]


class Target:
    """Where an application goes."""

    def __init__(self, nodes, cluster=None):
        self.nodes, self.cluster = nodes, cluster

    @property
    def host(self):
        """Of the one address."""
        return self.nodes[0][0]

    @property
    def port(self):
        """Of the one address."""
        return self.nodes[0][1]

    def url(self, db=0):
        """As clients take it."""
        return f"redis://{self.host}:{self.port}/{db}"


@contextlib.contextmanager
def running(kind):
    """A Target of that kind, as long as it is needed. Raises cluster_endpoint.Unavailable without a load balancer."""
    with contextlib.ExitStack() as closing:
        if kind == "alone":
            broker = Broker()
            closing.callback(broker.close)
            broker.start()
            yield Target([(HOST, broker.port)])
            return
        cluster = Cluster(3)
        closing.callback(cluster.close)
        cluster.start()
        cluster.wait_settled()
        endpoint = Endpoint(cluster)
        closing.callback(endpoint.close)
        endpoint.start()
        yield Target([endpoint.address] + [(node.bind_host, CLIENT_PORT) for node in cluster], cluster)
