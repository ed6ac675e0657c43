"""cluster: the nodes of a cluster under test, as their operator sees them: started, killed, paused, drained, moved.

A world says where nodes live. Loopback, here, is the fast one: each cluster has a net of 127/8 of its own, each node an
address in it, so that all ports are the usual ones and none is ever taken. lib.netns has the other: a network
namespace per node. A Cluster owns its nodes, their directory and its world; `close` ends all, and fails the test if a
node had died by itself, left a sanitizer report or would not end.
"""

import collections
import contextlib
import itertools
import pathlib
import random
import shutil
import signal
import socket
import tempfile

from . import scrape
from .broker import STOP_DEADLINE_S, Broker, FanfareProgram
from .resp import Client, Closed, RespError, open_socket
from .wait import SCALE, DeadlineError, wait_until

CLIENT_PORT, HTTP_PORT, PEER_PORT, RAFT_PORT = 6379, 9121, 16379, 16380
SLOTS = 16384
PARTITIONS = 16
REPLICAS = 3
NODE_TIMEOUT_MS = int(1000 * min(SCALE, 1.5))
"""A sanitizer build on a busy machine is not to be taken for a dead one."""

FORM_DEADLINE_S = 60 * SCALE
SETTLE_DEADLINE_S = 120 * SCALE


class Loopback:
    """A net of 127/8: nodes are called by their addresses."""

    def __init__(self):
        self.net = self._free_net()
        self.gate = f"{self.net}.1"  # where something that is no node may listen
        self.last = 1
        self.addresses = {}

    @staticmethod
    def _free_net():
        for _ in range(1000):
            net = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}"
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind((f"{net}.2", RAFT_PORT))  # the first node's
                return net
        raise RuntimeError("no free net found")

    def add(self, name):
        """Give a node a place."""
        self.move(name)

    def move(self, name):
        """Give it another address, for its next start."""
        self.last += 1
        self.addresses[name] = f"{self.net}.{self.last}"

    def address(self, name):
        """Where it is reached from here."""
        return self.addresses[name]

    def host(self, name):
        """What the others call it."""
        return self.addresses[name]

    def prefix(self, _name):
        """What its command line begins with."""
        return []

    def close(self):
        """Nothing is left of it."""


class NodeProgram(FanfareProgram):
    """How a node is started: not to outlive the tests, whatever becomes of them."""

    def argv(self, broker):
        """The command line of a Node."""
        argv = [*broker.cluster.world.prefix(broker.name), "setpriv", "--pdeathsig", "KILL", self.path,
                "--enable-debug-command", "local"]
        for name, value in broker.all_options().items():
            argv += [f"--{name}", str(value)]
        return argv


class Node(Broker):
    """A member, or one to be."""

    def __init__(self, cluster, name, options):
        self.cluster, self.name = cluster, name
        super().__init__(options, directory=cluster.directory / name)
        self.program = NodeProgram()
        self.directory.mkdir()
        self.data = self.directory / "data"
        self.is_paused = self.is_ending = False

    def _choose_ports(self):
        self.port, self.http_port = CLIENT_PORT, HTTP_PORT
        self.listen = [f"{self.cluster.world.address(self.name)}:{CLIENT_PORT}"]

    @property
    def bind_host(self):
        """The address that it binds now."""
        return self.cluster.world.address(self.name)

    def all_options(self):
        """The options of this node, its own last."""
        host = self.bind_host
        return {"name": self.name, "listen": f"{host}:{CLIENT_PORT}", "http-listen": f"{host}:{HTTP_PORT}",
                "dir": self.data, "protected-mode": "no", **self.cluster.options_of(self), **self.options}

    @property
    def is_running(self):
        """Is there a process?"""
        return self.process is not None and self.process.poll() is None

    def begin(self):
        """Start the process, and wait for nothing."""
        self._choose_ports()
        return self.start(wait=False)

    def pause(self):
        """SIGSTOP."""
        self.signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self):
        """SIGCONT."""
        self.signal(signal.SIGCONT)
        self.is_paused = False

    def kill(self):
        """kill -9, and wait until it is gone."""
        super().kill()
        self.is_paused = False

    def wipe(self):
        """Lose the disk. The process has ended."""
        shutil.rmtree(self.data, ignore_errors=True)

    def page(self, path, timeout_s=1):
        """GET a page of its own server; None if there is no answer in time."""
        try:
            with open_socket((self.bind_host, HTTP_PORT), timeout_s) as sock:
                sock.sendall(f"GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
                return scrape.parse_response(scrape.read_all(sock))
        except OSError:
            return None

    def is_ready(self):
        """Does it say so?"""
        response = self.page("/readyz")
        return response is not None and response.status == 200

    def ask(self, *command):
        """One command on a connection of its own; an error is a RespError, no answer is None."""
        try:
            with Client(self.address, timeout_s=2) as client:
                return client.call(*command)
        except (OSError, Closed):
            return None

    def slots(self):
        """CLUSTER SLOTS as {(first, last): name of the node}; None if it has none to give."""
        rows = self.ask("CLUSTER", "SLOTS")
        if rows is None or isinstance(rows, RespError):
            return None
        by_host = {self.cluster.world.host(n).encode(): n for n in self.cluster.nodes}
        by_host |= {self.cluster.world.address(n).encode(): n for n in self.cluster.nodes}
        return {(row[0], row[1]): by_host.get(row[2][0], row[2][0]) for row in rows}

    def begin_end(self):
        """SIGTERM, if it runs."""
        self.check_alive()
        if self.is_running:
            self.is_ending = self.expects_death = True
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)

    def finish_end(self):
        """Wait for the end that has begun; fail on a bad one or a sanitizer report."""
        try:
            if self.is_ending:
                status = self.wait_exit(STOP_DEADLINE_S)
                assert status == 0, f"exit status {status} after SIGTERM\n{self.log()[-8000:]}"
        finally:
            if self.is_running:
                self.kill()
        if self.process is not None:
            self._end()


class Cluster:
    """Nodes that belong together. Made, then started. Plain nodes know of no cluster, nor of each other."""

    node_class = Node

    def __init__(self, count=3, world=None, partitions=PARTITIONS, options=None, zones=None, expect=None, plain=False):
        self.world = world or Loopback()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cluster-test-"))
        self.secret = self.directory / "secret"
        self.secret.write_text("what the nodes of this test share\n")
        self.partitions = partitions
        self.expect = expect or count
        self.options = options or {}
        self.is_plain = plain
        self.zones = zones or {}
        self.nodes = {}
        for _ in range(count):
            self.add()

    def __getitem__(self, number):
        return list(self.nodes.values())[number]

    def __iter__(self):
        return iter(list(self.nodes.values()))

    def __len__(self):
        return len(self.nodes)

    def add(self, name=None, **options):
        """One more node, not started."""
        name = name or next(f"fanfare-{n}" for n in itertools.count() if not (self.directory / f"fanfare-{n}").exists())
        self.world.add(name)
        node = self.node_class(self, name, options)
        self.nodes[name] = node
        return node

    def options_of(self, node):
        """What the cluster says about the options of one of its nodes."""
        if self.is_plain:
            return self.options
        known = [n for n in self.nodes if n != node.name][:max(self.expect, 3)] or [node.name]
        options = {"advertise": self.world.host(node.name), "peer-listen": f"{node.bind_host}:{PEER_PORT}",
                   "raft-listen": f"{node.bind_host}:{RAFT_PORT}", "expect": self.expect, "partitions": self.partitions,
                   "join": " ".join(f"{self.world.host(n)}:{RAFT_PORT}" for n in known),
                   "cluster-secret-file": self.secret, "cluster-node-timeout": NODE_TIMEOUT_MS, "cluster-timeout": 5 * NODE_TIMEOUT_MS, **self.options}
        if node.name in self.zones:
            options["zone"] = self.zones[node.name]
        return options

    def start(self):
        """Start all, wait until all are ready and agree."""
        for node in self:
            node.begin()
        self.wait_formed()
        return self

    def running(self):
        """The nodes whose process runs and is not paused."""
        return [n for n in self if n.is_running and not n.is_paused]

    def wait_formed(self, deadline_s=FORM_DEADLINE_S):
        """Wait until all that run are ready."""
        self._wait(lambda: all(n.is_ready() for n in self.running()), deadline_s, "all nodes are ready")

    def wait_settled(self, deadline_s=SETTLE_DEADLINE_S):
        """Wait until all that run are ready, see the same owners, and no move is left to be made."""
        self._wait(self.is_settled, deadline_s, "the cluster has come to rest")

    def _wait(self, condition, deadline_s, what):
        def holds():
            for node in self:
                node.check_alive()
            return condition()
        try:
            wait_until(holds, deadline_s, what)
        except DeadlineError as exc:
            raise DeadlineError(f"{exc}\n{self.describe()}") from exc

    def is_settled(self):
        """Is the cluster at rest: ready, of one mind, all slots owned by those that run, evenly, all votes given, all
        replicas made?"""
        running = self.running()
        maps = [n.slots() for n in running]
        if not maps[0] or any(m != maps[0] for m in maps) or not all(n.is_ready() for n in running):
            return False
        if not self.is_plain and any(
                int(_info(n).get("fanfare_cluster_voters", 0)) < self.voters_due(len(running)) for n in running):
            return False
        if not self.is_plain and not self.has_replicas():
            return False
        owned = collections.Counter({n.name: 0 for n in running})
        for (first, last), name in maps[0].items():
            owned[name] += last - first + 1
        partition = SLOTS / self.partitions
        even = max(owned.values()) - min(owned.values()) < 1.5 * partition
        return even and sum(owned.values()) == SLOTS and set(owned) == {n.name for n in running}

    def has_replicas(self):
        """Does the map say that all partitions' keys are where they are to be kept? Between two changes a partition with too
        few replicas is settled, too: a disk that is lost then leaves no majority."""
        running = self.running()
        answer = running[0].ask("CLUSTER", "PARTITIONS")
        rows = [] if answer is None else [row for row in answer.decode().splitlines() if row.startswith("partition ")]
        due = min(int(self.options.get("replicas", REPLICAS)), len(running))
        return bool(rows) and all(row.endswith("settled=yes") and replicas_in(row) >= due for row in rows)

    @staticmethod
    def voters_due(count):
        """So many of this many nodes vote in the end: before, a single death may cost the majority."""
        return min(count, 5) - (min(count, 5) + 1) % 2

    def describe(self):
        """What each node says of itself: for the report of a failure."""
        lines = []
        for node in self:
            state = "paused" if node.is_paused else "running" if node.is_running else "not running"
            ready = node.page("/readyz") if state == "running" else None
            lines.append(f"{node.name} {node.bind_host} {state}, readyz: {ready.text.strip() if ready else None}, "
                         f"slots: {node.slots() if state == 'running' else None}, "
                         f"voters: {_info(node).get('fanfare_cluster_voters') if state == 'running' else None}")
        for node in self.running()[:1]:
            answer = node.ask("CLUSTER", "PARTITIONS")
            lines += answer.decode().splitlines() if isinstance(answer, bytes) else []
        return "\n".join(lines)

    def owner(self, channel):
        """The node that owns a channel, as a running node says."""
        asked = self.running()[0]
        slot = asked.ask("CLUSTER", "KEYSLOT", channel)
        return self.nodes[next(name for (first, last), name in asked.slots().items() if first <= slot <= last)]

    def channel_of(self, node, prefix="c"):
        """A channel that this node owns."""
        return next(c for c in (f"{prefix}:{n}" for n in range(10000)) if self.owner(c) is node)

    def leader(self):
        """The leader of the control group, as the running nodes agree; waits for it."""
        def agreed():
            names = {_info(n).get("fanfare_raft_leader") for n in self.running()}
            return len(names) == 1 and self.nodes.get(names.pop())
        return wait_until(agreed, FORM_DEADLINE_S, "all nodes name one leader")

    def forget(self, node):
        """CLUSTER FORGET, for a node that has ended; it is no part of this cluster afterwards."""
        answer = self.running()[0].ask("CLUSTER", "FORGET", node.name)
        assert answer == "OK", f"CLUSTER FORGET {node.name}: {answer!r}"
        del self.nodes[node.name]
        node.finish_end()

    def logs(self, tail_bytes=3000):
        """The end of every node's log, for the report of a failure."""
        parts = []
        for node in self:
            for path in sorted(node.directory.glob("log.*"), key=lambda p: int(p.suffix[1:]))[-2:]:
                parts.append(f"---- {node.name} {path.name}\n{path.read_text(errors='replace')[-tail_bytes:]}")
        return "\n".join(parts)

    def close(self, keep=False):
        """End all nodes at once; remove everything, or keep the directory."""
        errors = []
        for step in (Node.begin_end, Node.finish_end):
            for node in self:
                try:
                    step(node)
                except AssertionError as exc:
                    errors.append(f"{node.name}: {exc}")
        self.world.close()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        assert not errors, "\n".join(errors)


def replicas_in(row):
    """How many a row of CLUSTER PARTITIONS names."""
    return row.split(" replicas=", 1)[1].split()[0].count(":")


def _info(node):
    raw = node.ask("INFO", "cluster")
    if not isinstance(raw, bytes):
        return {}
    return dict(line.split(":", 1) for line in raw.decode().split("\r\n") if ":" in line)
