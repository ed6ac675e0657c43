"""systems: clusters of fanfare, redis-server and nats-server on loopback, one thread per node, to be measured.

A System owns its processes and its directory. They die with this process, whatever becomes of it; `close` ends them by
their ids. Whoever uses a System finds in `nodes` the port and the process of each node, in `owner` the index of the
node that a channel belongs to, and in `peer_messages` how many messages the nodes have sent each other so far.
"""

import binascii
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

SLOTS = 16384
PARTITIONS = 16
START_MAX_S = 30
STOP_MAX_S = 15


class SystemFailed(Exception):
    """A cluster did not come up, or a node of it ended by itself."""


def free_ports(count):
    """A run of free ports, below those that the kernel gives out."""
    for _ in range(200):
        first = random.randint(20000, 32000 - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return list(range(first, first + count))
    raise SystemFailed(f"no {count} free ports in a row")


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def channel_name(number):
    """What load calls a channel."""
    return b"ch.%06d" % number


def slot_of(number):
    """The hash slot of the channel of that number."""
    return binascii.crc_hqx(channel_name(number), 0) % SLOTS


def fetch(port, path, timeout_s=2):
    """The text of a page, also of an answer that is an error; None: nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout_s) as page:
            return page.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return None


def ask(port, *command):
    """What redis-cli prints for one command; empty if it fails."""
    argv = ["redis-cli", "-h", "127.0.0.1", "-p", str(port), *command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=STOP_MAX_S, check=False).stdout


class Node:
    """One process; `start` may be called again after its end."""

    def __init__(self, argv, port, http_port, log, env=None):
        self.argv, self.port, self.http_port, self.log, self.env = argv, port, http_port, log, env
        self.process = None

    def start(self, cpus=None):
        """Start it, and wait for nothing."""
        pinning = ["taskset", "-c", cpus] if cpus else []
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                ["setpriv", "--pdeathsig", "KILL", *pinning, *self.argv], stdout=log, stderr=log,
                env={**os.environ, **(self.env or {})})

    @property
    def pid(self):
        """Of the process, which setpriv and taskset have become."""
        return self.process.pid

    @property
    def is_running(self):
        """Has it not ended?"""
        return self.process is not None and self.process.poll() is None

    def end(self, number=signal.SIGKILL):
        """Signal it and wait for its end, as wait_end."""
        if self.is_running:
            self.process.send_signal(number)
        return self.wait_end()

    def wait_end(self):
        """Wait until it has ended, and end it if it will not. Returns the exit code."""
        try:
            return self.process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def metrics(self):
        """{name with labels: value} of /metrics; empty: it does not answer."""
        rows = (line.rsplit(" ", 1) for line in (fetch(self.http_port, "/metrics") or "").splitlines()
                if line and not line.startswith("#"))
        return {name: float(value) for name, value in rows}


class System:
    """What the three have in common."""

    name = ""
    proto = "resp2"
    has_shards = True
    is_loose = False
    settle_ms = 0
    """How long a subscription takes to be known everywhere after it was confirmed."""

    def __init__(self, directory, count, cpus=None):
        self.directory = pathlib.Path(directory) / f"{self.name}-{count}"
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.cpus = cpus
        self.count = count
        self.nodes = []

    def start(self):
        """Start all nodes; returns when they are one cluster at rest."""
        for node in self.nodes:
            node.start(self.cpus)
        self.form()
        self.wait(self.is_settled, "is at rest")
        return self

    def form(self):
        """What makes a cluster of the nodes; nothing where they find each other."""

    def is_settled(self):
        """Does everybody know everybody, and is nothing under way?"""
        raise NotImplementedError

    def wait(self, condition, what):
        """Until the condition holds. Raises SystemFailed if a node ends, or it takes too long."""
        deadline = time.monotonic() + START_MAX_S
        while not condition():
            ended = [node.log for node in self.nodes if not node.is_running]
            if ended or time.monotonic() > deadline:
                raise SystemFailed(f"{self.name}: not so within {START_MAX_S} s: the cluster {what}; see "
                                   f"{(ended or [self.nodes[0].log])[0]}")
            time.sleep(0.05)

    def close(self):
        """End every process."""
        for node in self.nodes:
            if node.process is not None:
                node.end()

    @property
    def ports(self):
        """Of all nodes, for clients."""
        return [node.port for node in self.nodes]

    @property
    def pids(self):
        """Of all nodes."""
        return [node.pid for node in self.nodes]

    def owner_map(self):
        """A function from the number of a channel to the index of the node that it belongs to."""
        return lambda number: number % self.count

    def peer_messages(self):
        """Sent by one node to another so far, all together."""
        raise NotImplementedError

    def numbers(self, count):
        """Numbers for `count` channels, of which the i-th belongs to the node i modulo the count of nodes."""
        owner = self.owner_map()
        pools = [[] for _ in self.nodes]
        for number in range(SLOTS):
            pools[owner(number)].append(number)
        return [pools[i % self.count][i // self.count] for i in range(count)]


class Fanfare(System):
    """The broker itself."""

    name = "fanfare"
    program = "build/fanfare"

    def __init__(self, directory, count, cpus=None):
        super().__init__(directory, count, cpus)
        ports = free_ports(4 * count)
        joins = " ".join(f"127.0.0.1:{port}" for port in ports[3::4])
        for i in range(count):
            client, http, peer, raft = ports[4 * i:4 * i + 4]
            argv = [self.program, "--listen", f"127.0.0.1:{client}", "--http-listen", f"127.0.0.1:{http}",
                    "--dir", str(self.directory / f"n{i}"), "--threads", "1", "--max-clients", "20000",
                    "--output-buffer-limit", "pubsub 0 0 0"]
            if count > 1:
                argv += ["--name", f"n{i}", "--advertise", "127.0.0.1", "--join", joins, "--expect", str(count),
                         "--peer-listen", f"127.0.0.1:{peer}", "--raft-listen", f"127.0.0.1:{raft}",
                         "--partitions", str(PARTITIONS)]
            self.nodes.append(Node(argv, client, http, self.directory / f"n{i}.log"))

    def owned(self):
        """{partition: index of the node that is ready to order its messages}."""
        found = {}
        for i, node in enumerate(self.nodes):
            for name in node.metrics():
                row = re.fullmatch(r'fanfare_cluster_partition_epoch\{partition="(\d+)"\}', name)
                if row:
                    found[int(row[1])] = i
        return found

    def is_settled(self):
        if any(fetch(node.http_port, "/readyz") != "ok\n" for node in self.nodes):
            return False
        if self.count == 1:
            return True
        pages = [node.metrics() for node in self.nodes]
        if any(not page for page in pages):
            return False
        owned = [page["fanfare_cluster_partitions_owned"] for page in pages]
        is_connected = all(value == 1 for page in pages for name, value in page.items()
                           if name.startswith("fanfare_peer_up"))
        return (is_connected and sum(owned) == PARTITIONS and max(owned) - min(owned) <= 1 and
                all(page["fanfare_cluster_partitions_warming"] == 0 and
                    page["fanfare_cluster_members_up"] == self.count for page in pages))

    def owner_map(self):
        if self.count == 1:
            return lambda number: 0
        owned = self.owned()
        return lambda number: owned[slot_of(number) * PARTITIONS // SLOTS]

    def peer_messages(self):
        return sum(value for node in self.nodes for name, value in node.metrics().items()
                   if re.match(r"fanfare_peer_sent_(publishes|deliveries)_total", name))


class FanfareTls(Fanfare):
    """The same, with mutual TLS between the nodes."""

    name = "fanfare-tls"

    def __init__(self, directory, count, cpus=None):
        super().__init__(directory, count, cpus)
        authority = self._sign("authority", ["-x509", "-subj", "/CN=authority"])
        for i, node in enumerate(self.nodes if count > 1 else []):
            own = self._sign(f"node{i}", ["-x509", "-subj", f"/CN=n{i}", "-addext", f"subjectAltName=DNS:n{i}", "-addext",
                                          "basicConstraints=critical,CA:FALSE", "-CA", f"{authority}.crt", "-CAkey",
                                          f"{authority}.key"])
            node.argv += ["--cluster-tls", "yes", "--cluster-ca-file", f"{authority}.crt", "--cluster-cert-file",
                          f"{own}.crt", "--cluster-key-file", f"{own}.key"]

    def _sign(self, name, how):
        path = self.directory / name
        argv = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-keyout", f"{path}.key", "-out", f"{path}.crt", *how]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise SystemFailed(f"openssl: {done.stderr.strip()[-300:]}")
        return path


class Redis(System):
    """Redis Cluster, all masters."""

    name = "redis"
    is_loose = True  # PUBLISH counts the receivers of its own node, and each node has an order of its own

    def __init__(self, directory, count, cpus=None):
        super().__init__(directory, count, cpus)
        ports = free_ports(2 * count)
        for i in range(count):
            client, bus = ports[2 * i:2 * i + 2]
            home = self.directory / f"n{i}"
            home.mkdir()
            argv = ["redis-server", "--port", str(client), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                    "--dir", str(home), "--loglevel", "warning", "--maxclients", "20000",
                    "--client-output-buffer-limit", "pubsub 0 0 0"]
            if count > 1:
                argv += ["--cluster-enabled", "yes", "--cluster-port", str(bus)]
            self.nodes.append(Node(argv, client, None, self.directory / f"n{i}.log"))

    def form(self):
        self.wait(lambda: all(ask(port, "ping") == "PONG\n" for port in self.ports), "answers")
        if self.count == 1:
            return
        addresses = [f"127.0.0.1:{port}" for port in self.ports]
        argv = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        made = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        if made.returncode != 0:
            raise SystemFailed(f"redis-cli --cluster create: {made.stdout[-300:]} {made.stderr[-300:]}")

    def is_settled(self):
        if self.count == 1:
            return True
        infos = [ask(port, "cluster", "info") for port in self.ports]
        views = [ask(port, "cluster", "nodes") for port in self.ports]
        return (all("cluster_state:ok" in info and f"cluster_known_nodes:{self.count}" in info for info in infos) and
                all(view.count(" connected ") == self.count and "handshake" not in view for view in views))

    def owner_map(self):
        if self.count == 1:
            return lambda number: 0
        slots = {}
        for line in ask(self.ports[0], "cluster", "nodes").splitlines():
            words = line.split()
            index = self.ports.index(int(re.match(r"[^:]*:(\d+)", words[1])[1]))
            for word in words[8:]:
                first, _, last = word.partition("-")
                slots.update(dict.fromkeys(range(int(first), int(last or first) + 1), index))
        return lambda number: slots[slot_of(number)]

    def peer_messages(self):
        if self.count == 1:
            return 0
        return sum(int(count) for port in self.ports
                   for count in re.findall(r"_publish(?:shard)?_sent:(\d+)", ask(port, "cluster", "info")))


class Nats(System):
    """nats-server, a full mesh of routes."""

    name = "nats"
    proto = "nats"
    has_shards = False
    settle_ms = 300

    CONF = 'max_payload: 8MB\nmax_pending: 4GB\nwrite_deadline: "60s"\nmax_connections: 20000\n'

    def __init__(self, directory, count, cpus=None):
        super().__init__(directory, count, cpus)
        conf = self.directory / "nats.conf"
        conf.write_text(self.CONF, encoding="ascii")
        ports = free_ports(3 * count)
        routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports[2::3])
        for i in range(count):
            client, http, route = ports[3 * i:3 * i + 3]
            argv = ["nats-server", "-c", str(conf), "-a", "127.0.0.1", "-p", str(client), "-m", str(http)]
            if count > 1:
                argv += ["--cluster_name", "bench", "--cluster", f"nats://127.0.0.1:{route}", "--routes", routes]
            self.nodes.append(Node(argv, client, http, self.directory / f"n{i}.log", {"GOMAXPROCS": "1"}))

    def _routes(self):
        pages = [fetch(node.http_port, "/routez") for node in self.nodes]
        return [json.loads(page) if page else {} for page in pages]

    def is_settled(self):
        return all(page.get("num_routes", -1) == self.count - 1 for page in self._routes())

    def peer_messages(self):
        return sum(route["out_msgs"] for page in self._routes() for route in page.get("routes") or [])


SYSTEMS = {system.name: system for system in (Fanfare, FanfareTls, Redis, Nats)}
