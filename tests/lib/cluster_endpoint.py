"""cluster_endpoint: haproxy before the nodes of a cluster, with the configuration that is shipped: the one address that
clients know. Unavailable says that there is no haproxy."""

import os
import shutil
import subprocess

from .broker import ROOT, STOP_DEADLINE_S
from .cluster import CLIENT_PORT
from .resp import Client, Closed
from .wait import wait_until

CONFIG = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
STATS_PORT = 8404


class Unavailable(Exception):
    """No load balancer here."""


class Endpoint:
    """A running haproxy. Owns its process."""

    def __init__(self, cluster):
        if not shutil.which("haproxy"):
            raise Unavailable("not installed: haproxy")
        self.cluster = cluster
        self.address = cluster.world.gate, CLIENT_PORT
        self.process = None

    def start(self):
        """Start it, wait until a client gets through to a node."""
        config = self.cluster.directory / "haproxy.cfg"
        lines = CONFIG.read_text().splitlines()
        servers = [f"    server {n.name} {n.bind_host}:{CLIENT_PORT}" for n in self.cluster]
        config.write_text("\n".join([line for line in lines if not line.startswith("    server ")] + servers) + "\n")
        host = self.address[0]
        env = {**os.environ, "FANFARE_BIND": f"{host}:{CLIENT_PORT}", "FANFARE_STATS_BIND": f"{host}:{STATS_PORT}"}
        with open(self.cluster.directory / "haproxy.log", "wb") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "haproxy", "-db", "-f", str(config)],
                                            env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        wait_until(self.answers, what="a client gets through the load balancer")
        return self

    def answers(self):
        """Does a node answer through it?"""
        assert self.process.poll() is None, (self.cluster.directory / "haproxy.log").read_text()
        try:
            with Client(self.address, timeout_s=2) as client:
                return client.call("PING") == "PONG"
        except (OSError, Closed):
            return False

    def close(self):
        """End it."""
        if self.process:
            self.process.kill()
            self.process.wait(STOP_DEADLINE_S)
