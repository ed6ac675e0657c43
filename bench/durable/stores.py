"""stores: what is measured by bench/durable: each a System of bench/cluster/systems.py with durable data, one to three
nodes on loopback, their files beside each other."""

import json
import subprocess
import sys
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))

# pylint: disable=wrong-import-position
from systems import Fanfare, Node, System, ask, fetch, free_ports  # noqa: E402

DATABASES = 16


class Store(System):
    """What they have in common."""

    label = ""
    is_nats = False

    def flushes(self):
        """Of files to disk so far, all nodes together; None: it does not say."""
        return None

    def empty(self):
        """Remove all data."""
        for database in range(DATABASES):
            for _ in range(50):
                if ask(self.ports[0], "-n", str(database), "flushdb") == "OK\n":
                    break


class FanfareStore(Fanfare, Store):
    """The broker, alone or three of them."""

    def __init__(self, directory, count):
        Fanfare.__init__(self, directory, count)
        self.label = f"fanfare-{count}"

    def flushes(self):
        return sum(node.metrics().get("fanfare_raft_wal_flushes_total", 0) for node in self.nodes)

    def peer_messages(self):
        return 0


class RedisStore(Store):
    """One redis-server with an append-only file."""

    name = "redis"

    def __init__(self, directory, policy):
        self.name = f"redis-{policy}"
        super().__init__(directory, 1)
        self.label = self.name
        port, = free_ports(1)
        argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                "--appendfsync", policy, "--dir", str(self.directory), "--loglevel", "warning",
                "--auto-aof-rewrite-percentage", "0"]
        self.nodes.append(Node(argv, port, None, self.directory / "log"))

    def is_settled(self):
        return ask(self.ports[0], "ping") == "PONG\n"

    def peer_messages(self):
        return 0


class JetStream(Store):
    """nats-server, with streams in files."""

    name = "jetstream"
    is_nats = True

    def __init__(self, directory, count, sync=None):
        self.name = f"jetstream-{sync or 'default'}"
        super().__init__(directory, count)
        self.label = f"{self.name}-{count}"
        ports = free_ports(3 * count)
        routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports[2::3])
        for i in range(count):
            client, http, route = ports[3 * i:3 * i + 3]
            conf = self.directory / f"n{i}.conf"
            conf.write_text(self.conf(self.directory / f"n{i}", sync), encoding="ascii")
            argv = ["nats-server", "-c", str(conf), "-a", "127.0.0.1", "-p", str(client), "-m", str(http), "-n", f"n{i}"]
            if count > 1:
                argv += ["--cluster_name", "bench", "--cluster", f"nats://127.0.0.1:{route}", "--routes", routes]
            self.nodes.append(Node(argv, client, http, self.directory / f"n{i}.log"))

    @staticmethod
    def conf(directory, sync):
        """The configuration of one node."""
        interval = f", sync_interval: {sync}" if sync else ""
        return f'max_payload: 8MB\njetstream {{ store_dir: "{directory}", max_mem: 256MB, max_file: 8GB{interval} }}\n'

    @classmethod
    def knows_sync(cls, directory):
        """Can this nats-server sync always? The option came with 2.10."""
        path = pathlib.Path(directory) / "trial.conf"
        path.write_text(cls.conf(directory, "always"), encoding="ascii")
        try:
            return subprocess.run(["nats-server", "-t", "-c", str(path)], capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def is_settled(self):
        pages = [fetch(node.http_port, "/jsz") for node in self.nodes]
        if not all(pages):
            return False
        if self.count == 1:
            return True
        clusters = [json.loads(page).get("meta_cluster", {}) for page in pages]
        leaders = {cluster.get("leader") for cluster in clusters}
        return len(leaders) == 1 and None not in leaders and "" not in leaders and all(
            cluster.get("cluster_size") == self.count for cluster in clusters) and all(
                fetch(node.http_port, "/healthz") in ('{"status":"ok"}', '{\n  "status": "ok"\n}') or
                '"ok"' in (fetch(node.http_port, "/healthz") or "") for node in self.nodes)

    def empty(self):
        """Streams are made anew by the generator."""

    def peer_messages(self):
        return 0
