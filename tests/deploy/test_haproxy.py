"""haproxy.cfg: haproxy takes it, and what a node answers to the check decides over its clients.

The node here is a stand-in whose /readyz says what the test wants: the load balancer is what is tested.
"""

import contextlib
import http.server
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import urllib.request

import pytest
from lib.broker import HOST, free_port
from lib.wait import DEADLINE_S, wait_until

CONFIG = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="no haproxy here")


class Node:
    """Greets every client with its name; /readyz answers `status`, or nothing while that is None."""

    def __init__(self, name):
        self.name, self.status = name, 200
        self.awake = threading.Event()
        self.clients = []
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        node = self

        class Health(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if node.status is None:
                    node.awake.wait()
                with contextlib.suppress(OSError):
                    self.send_response(node.status if self.path == "/readyz" else 404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format, *args):
                pass

        self.http = http.server.ThreadingHTTPServer((HOST, 0), Health)
        self.http.daemon_threads = True
        self.http_port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.sendall(self.name.encode())
                self.clients.append(client)

    def refuse(self):
        """Nobody listens for clients any more; those who are there stay."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def close(self):
        """The end."""
        self.status = 503
        self.awake.set()
        self.http.shutdown()
        self.http.server_close()
        with contextlib.suppress(OSError):
            self.refuse()
        for client in self.clients:
            client.close()


class Balancer:
    """A running haproxy with the configuration of deploy/, but for the addresses."""

    def __init__(self, nodes, scratch):
        self.port, self.stats_port = free_port(), free_port()
        text = "".join(line for line in CONFIG.read_text().splitlines(True) if not line.startswith("    server "))
        text += "".join(f"    server {n.name} {HOST}:{n.port} port {n.http_port}\n" for n in nodes)
        path = scratch / "haproxy.cfg"
        path.write_text(text)
        env = {**os.environ, "FANFARE_BIND": f"{HOST}:{self.port}", "FANFARE_STATS_BIND": f"{HOST}:{self.stats_port}"}
        with open(scratch / "haproxy.log", "wb") as log:
            self.process = subprocess.Popen([HAPROXY, "-db", "-f", str(path)], env=env, stdout=log, stderr=log)

    def metrics(self):
        """The lines of its own metrics."""
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://{HOST}:{self.stats_port}/metrics", timeout=DEADLINE_S) as answer:
                return answer.read().decode().splitlines()
        return []

    def wait_for_state(self, node, state):
        """Until haproxy has that node's server in this state: UP, DOWN, NOLB (no new clients)."""
        line = f'haproxy_server_status{{proxy="fanfare",server="{node.name}",state="{state}"}} 1'
        wait_until(lambda: line in self.metrics(), 3 * DEADLINE_S, line)

    def connect(self):
        """A new client and the name of the node that it got; the name is empty if it got none."""
        client = socket.create_connection((HOST, self.port), DEADLINE_S)
        try:
            return client, client.recv(100).decode()
        except ConnectionResetError:
            return client, ""

    def close(self):
        """The end."""
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def nodes():
    """Two nodes, ready."""
    pair = [Node("one"), Node("two")]
    yield pair
    for node in pair:
        node.close()


@pytest.fixture
def balancer(nodes, tmp_path):
    """A load balancer that has seen both nodes ready."""
    balancer = Balancer(nodes, tmp_path)
    for node in nodes:
        balancer.wait_for_state(node, "UP")
        wait_until(lambda node=node: f'haproxy_server_check_status{{proxy="fanfare",server="{node.name}",state="L7OK"}} 1'
                   in balancer.metrics(), what="the first check")
    yield balancer
    balancer.close()


def is_closed(client):
    """Has the other side closed it?"""
    client.setblocking(False)
    try:
        return client.recv(100) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def names_of(balancer, count):
    """The nodes that so many new clients get; they stay connected."""
    clients, names = zip(*(balancer.connect() for _ in range(count)))
    return clients, sorted(names)


def test_haproxy_takes_the_configuration():
    run = subprocess.run([HAPROXY, "-c", "-f", str(CONFIG)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    warnings = [line for line in run.stderr.splitlines() if "WARNING" in line and "could not resolve address" not in line]
    assert not warnings


def test_clients_are_spread_over_the_ready_nodes(balancer):
    clients, names = names_of(balancer, 10)
    assert names == ["one"] * 5 + ["two"] * 5
    assert not any(is_closed(client) for client in clients)


def test_a_node_that_says_not_ready_keeps_its_clients_and_gets_no_new_ones(balancer, nodes):
    clients, _ = names_of(balancer, 4)
    nodes[0].status = 503
    balancer.wait_for_state(nodes[0], "NOLB")
    _, names = names_of(balancer, 4)
    assert names == ["two"] * 4
    assert not any(is_closed(client) for client in clients)
    nodes[0].status = 200
    balancer.wait_for_state(nodes[0], "UP")
    _, names = names_of(balancer, 4)
    assert names == ["one"] * 4  # it has the fewest


def test_clients_of_a_node_that_does_not_answer_are_closed(balancer, nodes):
    pairs = [balancer.connect() for _ in range(4)]
    nodes[0].status = None
    balancer.wait_for_state(nodes[0], "DOWN")
    lost = [client for client, name in pairs if name == "one"]
    wait_until(lambda: all(is_closed(client) for client in lost), what="the clients of the silent node are closed")
    assert not any(is_closed(client) for client, name in pairs if name == "two")


def test_a_client_that_one_node_refuses_gets_another(balancer, nodes):
    nodes[0].refuse()
    _, names = names_of(balancer, 6)
    assert names == ["two"] * 6
