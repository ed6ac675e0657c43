"""Who is a node: who knows the cluster's secret, and nobody else; and how the secret is changed without a pause."""

import socket

import pytest

from lib.broker import HOST, Broker, run_cli
from lib.cluster import PEER_PORT, RAFT_PORT
from lib.cluster_scene import heard, listen, members, one_cluster, publish, under_load
from lib.ports import free_port
from lib.wait import wait_until

OLD = "the secret that all nodes had at first"
NEW = "the secret that they are to have from now on"


def said(node, words):
    """Wait for these words in its log."""
    wait_until(lambda: words in node.log(), what=f"{node.name} logs {words!r}")


@pytest.fixture
def cluster(make_cluster):
    """Three nodes, each with a file of its own."""
    cluster = make_cluster(3)
    for node in cluster:
        write(node, OLD)
    return cluster


def write(node, *secrets):
    """Give it these."""
    path = node.directory / "secret"
    path.write_text("\n".join(secrets))
    node.options["cluster-secret-file"] = path


def test_a_node_with_another_secret_stays_out_and_is_named(cluster):
    cluster.start()
    cluster.wait_settled()
    stranger = cluster.add()
    write(stranger, "what somebody else calls a secret")
    stranger.begin()
    for node in (stranger, *list(cluster)[:1]):
        said(node, "secret")
    assert not stranger.is_ready() and len(members(cluster[0])) == 3
    said(stranger, "no raft link: the cluster's secret was not proved")
    wait_until(lambda: any(f"peer={stranger.bind_host}" in line or "does not know the cluster's secret" in line
                           for node in list(cluster)[:3] for line in node.log().splitlines()), what="it is named")
    assert publish(cluster[0], "news", b"x") == 0


def test_a_node_without_a_secret_stays_out(cluster):
    cluster.start()
    cluster.wait_settled()
    stranger = cluster.add()
    stranger.options["cluster-secret-file"] = ""
    stranger.begin()
    said(stranger, "it asks for one, and this node has none")
    assert not stranger.is_ready() and len(members(cluster[0])) == 3


def test_the_secret_is_changed_under_load_and_nobody_notices(cluster):
    cluster.start()
    cluster.wait_settled()
    before = one_cluster(cluster)
    listener = listen(cluster[0], "news")
    with under_load(cluster) as scene:
        for secrets in ((NEW, OLD), (NEW,)):
            for count, node in enumerate(cluster, 1):
                write(node, *secrets)
                said(node, "secret was read again")
                if count == 2:  # some have it, some do not: a link is made anew between any two of them
                    with scene.fault("move", cluster[2], planned=True):
                        cluster[2].terminate()
                        scene.wait_for_publishes()
                        cluster[2].begin()
                        cluster.wait_settled()
    assert one_cluster(cluster) == before
    assert publish(cluster[1], "news", b"hello") == 1 and heard(listener, 1) == [b"hello"]
    for node in cluster:
        assert OLD not in node.log() and NEW not in node.log()


def test_a_file_that_cannot_be_used_is_named_and_the_old_secret_stays(cluster):
    cluster.start()
    cluster.wait_settled()
    write(cluster[0], "short")
    said(cluster[0], "a secret has 16 to 1024 bytes")
    cluster[1].kill()
    cluster[1].begin()
    cluster.wait_settled()


def test_strangers_on_both_ports_get_a_few_bytes_and_two_seconds(cluster):
    cluster.start()
    cluster.wait_settled()
    for port in (PEER_PORT, RAFT_PORT):
        for said_first in (b"", b"\0" * 95, b"\0" * 200, b"GET / HTTP/1.1\r\n\r\n" * 10):
            with socket.create_connection((cluster[0].bind_host, port), timeout=20) as sock:
                sock.sendall(said_first)
                got = b""
                try:
                    while data := sock.recv(1000):
                        got += data
                except ConnectionResetError:
                    pass
                assert len(got) in (0, 36), got
    assert cluster[0].is_ready()


@pytest.mark.parametrize("peer,raft,trusts,starts", [
    ("*", HOST, "no", False), (HOST, "*", "no", False), ("[::]", "[::1]", "no", False),
    ("*", "*", "yes", True), (HOST, "localhost", "no", True),
])
def test_links_that_others_can_reach_need_a_secret(peer, raft, trusts, starts, tmp_path):
    options = {"peer-listen": f"{peer}:{free_port()}", "raft-listen": f"{raft}:{free_port()}", "expect": "1",
               "cluster-trust-network": trusts}
    if starts:
        broker = Broker({**options, "advertise": HOST})
        try:
            assert broker.start().client().call("PING") == "PONG"
        finally:
            broker.close()
        return
    args = [word for name, value in options.items() for word in (f"--{name}", value)]
    result = run_cli("--listen", f"{HOST}:{free_port()}", "--http-listen", "off", "--dir", tmp_path / "d", *args)
    assert result.returncode == 1 and "give all nodes one secret (cluster-secret-file)" in result.stderr, result.stderr


@pytest.mark.parametrize("text,words", [("short", "16 to 1024 bytes"), ("", "holds no secret"), (None, "No such file")])
def test_a_start_with_a_secret_that_is_none_is_refused(text, words, tmp_path):
    if text is not None:
        (tmp_path / "secret").write_text(text)
    result = run_cli("--listen", f"{HOST}:{free_port()}", "--http-listen", "off", "--dir", tmp_path / "d",
                     "--expect", "1", "--cluster-secret-file", tmp_path / "secret")
    assert result.returncode == 1 and words in result.stderr
