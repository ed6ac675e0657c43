"""TLS between nodes: a cluster whose links are encrypted, who stays out of it, certificates and authorities that change under load, and
the way there from a secret without a pause."""

import shutil
import signal

import pytest

from lib import prometheus
from lib.certificates import Authority
from lib.cluster_scene import heard, listen, members, one_cluster, publish, under_load
from lib.wait import DEADLINE_S, wait_until

FILES = ("ca", "cert", "key")


class Pki:
    """An authority, the one that is to follow it, and each node's three files."""

    def __init__(self, cluster):
        self.directory = cluster.directory / "pki"
        self.directory.mkdir()
        self.authority = Authority(self.directory, "authority")
        self.next = Authority(self.directory, "next")

    def give(self, node, authority=None, trusts=None, **signing):
        """New files for a node; put in place one after the other, as a copy does."""
        authority = authority or self.authority
        pair = authority.sign(f"{node.name}-{authority.signed}", names=f"subjectAltName=DNS:{node.name}", **signing)
        texts = ["".join(a.cert.read_text() for a in trusts or [self.authority, self.next]), *(f.read_text() for f in pair.files())]
        for kind, text in zip(FILES, texts):
            path = node.directory / f"{kind}.pem"
            path.write_text(text)
            node.options[f"cluster-{kind}-file"] = path


def said(node, words, times=1):
    """Wait for these words in its log."""
    wait_until(lambda: node.log().count(words) >= times, what=f"{node.name} logs {words!r}")


@pytest.fixture
def cluster(make_cluster):
    """Three nodes with certificates and without a secret."""
    cluster = make_cluster(3)
    cluster.pki = Pki(cluster)
    for node in cluster:
        cluster.pki.give(node)
        node.options.update({"cluster-tls": "yes", "cluster-secret-file": ""})
    return cluster


def value(node, metric):
    """What its /metrics says."""
    return prometheus.parse(node.page("/metrics", DEADLINE_S).text).value(metric)


def handshakes(node):
    """Of TLS with other nodes, so far."""
    return value(node, "fanfare_cluster_tls_handshakes_total")


def restart(scene, node):
    """One node of a rolling restart."""
    cluster = scene.cluster
    with scene.fault("move", node, planned=True):
        node.terminate()
        scene.wait_for_publishes()
        node.begin()
        cluster.wait_settled()


def test_strangers_stay_out_and_are_named_and_certificates_change_under_load(cluster):
    cluster.start()
    cluster.wait_settled()
    before = one_cluster(cluster)
    listener = listen(cluster[0], "news")

    # Of another authority, which it shows; and one that knows nothing but a secret.
    foreign, plain = cluster.add(), cluster.add()
    other = Authority(cluster.pki.directory, "other")
    cluster.pki.give(foreign, authority=other, trusts=[cluster.pki.authority, other])
    foreign.options.update({"cluster-tls": "yes", "cluster-secret-file": ""})
    for stranger in (foreign, plain):
        stranger.begin()
    said(foreign, "no raft link: its TLS has failed")
    said(plain, "no raft link: the cluster's secret was not proved")
    wait_until(lambda: any(f"certificate_of={foreign.name}" in n.log() for n in list(cluster)[:3]), what="it is named")
    assert not foreign.is_ready() and not plain.is_ready() and len(members(cluster[0])) == 3
    for stranger in (foreign, plain):
        del cluster.nodes[stranger.name]
        stranger.begin_end()
        stranger.finish_end()

    # Both authorities are taken already. The new one signs, then it alone is taken.
    after = cluster.pki.next
    with under_load(cluster) as scene:
        for taken, trusts in enumerate((None, [after]), 1):
            shown = [handshakes(node) for node in cluster]
            for node in cluster:
                cluster.pki.give(node, authority=after, trusts=trusts)
                if taken == 1:
                    node.signal(signal.SIGHUP)
                said(node, "the node's certificate was taken", 1 + taken)
            # Each node shows each other one what it has now, once as who dials; so the links that stand go on.
            wait_until(lambda before=tuple(shown): all(handshakes(n) >= count + 4 for n, count in zip(cluster, before)),
                       what="all have met anew")
            scene.wait_for_publishes()
    for node in cluster:
        assert "trusted no longer" not in node.log()
    assert one_cluster(cluster) == before
    assert publish(cluster[1], "news", b"hello") == 1 and heard(listener, 1) == [b"hello"]

    # A pair that does not fit is refused and named, and the old one stays.
    shutil.copy(cluster[1].directory / "key.pem", cluster[0].directory / "key.pem")
    said(cluster[0], "the node's new certificate is refused, the old one stays")
    said(cluster[0], "cluster-key-file")
    cluster[1].kill()
    cluster[1].begin()
    cluster.wait_settled()
    assert 18 * 86400 < value(cluster[0], "fanfare_cluster_certificate_expiry_seconds") <= 20 * 86400


def test_a_cluster_goes_over_from_a_secret_to_tls_without_a_pause(cluster):
    for node in cluster:
        node.options.update({"cluster-tls": "no", "cluster-secret-file": cluster.secret})
    cluster.start()
    cluster.wait_settled()
    before = one_cluster(cluster)
    listener = listen(cluster[0], "news")
    with under_load(cluster) as scene:
        for options in ({"cluster-tls": "optional"}, {"cluster-tls": "yes"}):
            for node in cluster:
                if node is cluster[0]:
                    listener.close()
                node.options.update(options)
                restart(scene, node)
                listener = listen(cluster[0], "news")
    assert one_cluster(cluster) == before
    assert publish(cluster[1], "news", b"hello") == 1 and heard(listener, 1) == [b"hello"]
    for node in cluster:
        last = max(node.directory.glob("log.*"), key=lambda p: int(p.suffix[1:])).read_text()
        assert "tls=1" in last and "tls=0" not in last
