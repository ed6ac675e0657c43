"""calm: whether heavy data disturbs anybody: elections, PING, pub/sub and the keys of other partitions, while something
large is removed, read, computed, copied or flushed.

One client of each kind goes on all the time, one request at a time: PING on every node, a publish on one node that is
delivered on another, INCR in a database of another partition. Heavy commands go to database 0, through a node that does not lead
it, so that answers cross the link between the nodes which the publishes take, too.
"""

import contextlib
import re
import socket
import threading
import time

from stores import ask
from systems import SystemFailed
from turns import Watch

PAUSE_S = 0.003
"""Between two requests of a probe: it should not be the load itself."""

BASE_S = 5
ACT_MIN_S = 2
ACT_MAX_S = 240
REST_MAX_S = 120
PART = 500
"""Elements of a command that fills."""

USED = "fanfare_store_used_bytes"

COUNTERS = {"campaigns": "fanfare_raft_campaigns_total", "leaders": "fanfare_raft_leaders_won_total",
            "raft slow": "fanfare_raft_slow_turns_total"}


def encode(*words):
    """A command as it goes over the wire."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Client:
    """A connection that blocks."""

    def __init__(self, port, database=0, read_bytes=None):
        self.socket = socket.socket()
        if read_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_bytes)
        self.socket.settimeout(ACT_MAX_S)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        if database:
            self.line("SELECT", database)

    def send(self, *words):
        """Ask, and do not wait."""
        self.socket.sendall(encode(*words))

    def take_line(self):
        """The next line of an answer; an error is one."""
        while b"\r\n" not in self.rest:
            data = self.socket.recv(1 << 16)
            if not data:
                raise SystemFailed("a connection was closed")
            self.rest += data
        line, self.rest = self.rest.split(b"\r\n", 1)
        if line.startswith(b"-"):
            raise SystemFailed(f"answered with an error: {line.decode()}")
        return line

    def line(self, *words):
        """Ask, and wait for an answer of one line."""
        self.send(*words)
        return self.take_line()

    def skip(self, *words):
        """Ask, and throw the answer away, an array of strings. Returns its bytes."""
        self.send(*words)
        elements = int(self.take_line()[1:])
        taken, lines, room = len(self.rest), self.rest.count(b"\n"), bytearray(1 << 20)
        self.rest = b""
        view = memoryview(room)
        while lines < 2 * elements:
            count = self.socket.recv_into(room)
            if not count:
                raise SystemFailed("a connection was closed")
            taken += count
            lines += bytes(view[:count]).count(b"\n")
        return taken

    def close(self):
        """Without a word."""
        self.socket.close()


class Probe:
    """Somebody whom nothing should disturb: a thread that does one thing again and again, and notes how long it took."""

    def __init__(self, name, once):
        self.name, self.once = name, once
        self.times_ms = []
        self.failure = None
        self.is_ending = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.is_ending:
                began_s = time.perf_counter()
                self.once()
                self.times_ms.append((time.perf_counter() - began_s) * 1e3)
                time.sleep(PAUSE_S)
        except (OSError, SystemFailed) as failure:
            self.failure = failure

    def take(self):
        """(median, p99, longest) since the last time."""
        if self.failure:
            raise SystemFailed(f"{self.name}: {self.failure}")
        times = sorted(self.times_ms)
        self.times_ms = []
        if not times:
            return (float("nan"),) * 3
        return times[len(times) // 2], times[int(len(times) * 0.99)], times[-1]


def leader(system, partition=0):
    """The index of the node that leads a partition."""
    for line in ask(system.ports[0], "cluster", "partitions").splitlines():
        row = re.match(rf"partition {partition} .* leader=n(\d+) ", line)
        if row:
            return int(row[1])
    raise SystemFailed(f"nobody is known to lead partition {partition}")


def is_whole(system):
    """At rest, with all replicas."""
    rows = [line for line in ask(system.ports[0], "cluster", "partitions").splitlines() if line.startswith("partition ")]
    return system.is_settled() and rows and all(row.endswith("settled=yes") for row in rows)


def wait(condition, what, max_s=REST_MAX_S):
    """Until it holds."""
    deadline = time.monotonic() + max_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemFailed(f"not within {max_s} s: {what}")
        time.sleep(0.05)


class Calm:
    """A cluster, whom nothing should disturb, and what is done to it."""

    def __init__(self, system, elements, say, pinged=None):
        """`pinged`: which nodes, as places behind the leader; by default all."""
        self.system, self.elements, self.say = system, elements, say
        self.lead = leader(system)
        self.entry = (self.lead + 1) % system.count
        self.other = next(db for db in range(1, 16) if leader(system, db) == self.lead)
        self.heavy = Client(system.ports[self.entry])
        self.rows, self.notes = [], []
        self.spare = (self.lead + 2) % system.count
        nodes = [(self.lead + i) % system.count for i in pinged or range(system.count)]
        self.probes = [Probe(f"PING n{i}", lambda c=Client(system.ports[i]): c.line("PING")) for i in nodes]
        self.probes.append(Probe("publish", self._delivery()))
        counter = Client(system.ports[self.entry], self.other)
        self.probes.append(Probe(f"INCR db {self.other}", lambda: counter.line("INCR", "counter")))

    def _delivery(self):
        publisher, subscriber = Client(self.system.ports[self.lead]), Client(self.system.ports[self.entry])
        subscriber.send("SUBSCRIBE", "calm")
        for _ in range(6):
            subscriber.take_line()

        def once():
            try:
                is_taken = publisher.line("PUBLISH", "calm", "x") == b":1"
            except SystemFailed:
                return  # its owner has died: nobody gets it
            for _ in range(7 if is_taken else 0):
                subscriber.take_line()
        return once

    def counters(self):
        """Of all running nodes together."""
        pages = [node.metrics() for node in self.system.nodes]
        return {word: sum(page.get(name, 0) for page in pages) for word, name in COUNTERS.items()}

    @contextlib.contextmanager
    def act(self, name):
        """Something heavy; the probes' times meanwhile."""
        self.say(f"calm: {name}")
        for probe in self.probes:
            probe.take()
        watch, before, began_s = Watch(self.system), self.counters(), time.monotonic()
        yield
        took_s = time.monotonic() - began_s
        time.sleep(max(0, ACT_MIN_S - took_s))
        watch.note(name, began_s)
        after = self.counters()
        self.rows.append({
            "act": name, "seconds": took_s, "times": {probe.name: probe.take() for probe in self.probes},
            "loop_s": watch.acts[0]["longest_s"], "over_20_ms": watch.acts[0]["over_20_ms"],
            **{word: int(after[word] - before[word]) for word in COUNTERS}})

    def fill(self, count, command, database=0):
        """`command(i)` for every PART elements; a few under way at a time."""
        client, under_way = Client(self.system.ports[self.lead], database), 0
        for first in range(0, count, PART):
            client.socket.sendall(command(range(first, min(first + PART, count))))
            under_way += 1
            if under_way == 16:
                client.take_line()
                under_way -= 1
        for _ in range(under_way):
            client.take_line()
        client.close()

    def wait_removed(self, below):
        """What was unlinked goes bit by bit; until the leader's store has so few bytes in use."""
        node = self.system.nodes[self.lead]
        wait(lambda: node.metrics()[USED] <= below, "what was unlinked is gone", ACT_MAX_S)

    def used(self):
        """Bytes of partition 0 at its leader."""
        return self.system.nodes[self.lead].metrics()[USED]


def add(key, step=1):
    """Members of a set."""
    return lambda some: encode("SADD", key, *(b"member-%08d" % (step * i) for i in some))


def push(key):
    """Elements of a list."""
    return lambda some: encode("RPUSH", key, *(b"element-%08d" % i for i in some))


def remove(calm, many):
    """A list of ten times as many elements goes."""
    long_list = 10 * many
    for verb in ("UNLINK", "DEL"):
        empty = calm.used()
        calm.say("calm: a long list is made")
        calm.fill(long_list, push("long"))
        with calm.act(f"{verb} of a list of {long_list:,}"):
            began_s = time.monotonic()
            calm.heavy.line(verb, "long")
            calm.notes.append(f"{verb} of a list of {long_list:,} was answered after {(time.monotonic() - began_s) * 1e3:.0f} ms")
            calm.wait_removed(empty + (8 << 20))


def read(calm, many):
    """Long answers."""
    with calm.act("a list is filled"):
        calm.fill(many, push("list"))
    with calm.act(f"LRANGE of {many:,}"):
        calm.heavy.skip("LRANGE", "list", 0, -1)
    with calm.act(f"LRANGE of {many:,} by who does not read"):
        lazy = Client(calm.system.ports[calm.entry], read_bytes=4096)
        lazy.send("LRANGE", "list", 0, -1)
        time.sleep(BASE_S)
        lazy.close()
    calm.say("calm: a set is made")
    calm.fill(many, add("set"))
    with calm.act(f"SMEMBERS of {many:,}"):
        calm.heavy.skip("SMEMBERS", "set")
    with calm.act(f"SMEMBERS of {many:,} by who does not read"):
        lazy = Client(calm.system.ports[calm.entry], read_bytes=4096)
        lazy.send("SMEMBERS", "set")
        time.sleep(BASE_S)
        lazy.close()
    calm.say("calm: a stream is made")
    client, under_way = Client(calm.system.ports[calm.lead]), 0
    for first in range(0, many, PART):
        client.socket.sendall(b"".join(encode("XADD", "stream", "*", "f", b"%0100d" % i) for i in range(first, first + PART)))
        under_way += PART
        while under_way > 4 * PART:
            client.take_line()
            client.take_line()
            under_way -= 1
    client.close()
    with calm.act(f"XRANGE of {many:,} by who does not read"):
        lazy = Client(calm.system.ports[calm.entry], read_bytes=4096)
        lazy.send("XRANGE", "stream", "-", "+")
        time.sleep(2 * BASE_S)
        lazy.close()


def compute(calm, many):
    """Commands whose cost is that of all elements, in one entry: of a quarter of them, since none may take longer than
    cluster-timeout."""
    many //= 4
    calm.say("calm: a list and two sets are made")
    calm.fill(many, push("list"))
    calm.fill(many, add("set1"))
    calm.fill(many, add("set2", 2))
    with calm.act(f"SORT of {many:,}"):
        calm.heavy.skip("SORT", "list", "ALPHA")
    with calm.act(f"SORT ... STORE of {many:,}"):
        calm.heavy.line("SORT", "list", "ALPHA", "STORE", "sorted")
    with calm.act(f"SUNIONSTORE of two sets of {many:,}"):
        calm.heavy.line("SUNIONSTORE", "union", "set1", "set2")
    with calm.act(f"ZUNIONSTORE of two sets of {many:,}"):
        calm.heavy.line("ZUNIONSTORE", "zunion", 2, "set1", "set2")


def keys(calm, many):
    """A keyspace."""
    calm.heavy.line("FLUSHDB")
    calm.wait_removed(8 << 20)
    calm.say("calm: keys are made")
    calm.fill(many, lambda some: encode("MSET", *(word for i in some for word in (b"key-%08d" % i, b"%d" % i))))
    with calm.act(f"KEYS * over {many:,}"):
        calm.heavy.skip("KEYS", "*")
    with calm.act(f"FLUSHALL with {many:,} keys"):
        calm.heavy.line("FLUSHALL")
        calm.wait_removed(8 << 20)


PARTS = {"remove": remove, "read": read, "compute": compute, "keys": keys}


def print_rows(calm):
    """The table; times in ms as median/p99/longest."""
    names = [probe.name for probe in calm.probes]
    head = ["what goes on", "s", *names, "loop ms", ">20", "raft>5", "campaigns", "leaders"]
    lines = [head]
    for row in calm.rows:
        lines.append([row["act"], f"{row['seconds']:.1f}", *("/".join(f"{v:.1f}" for v in row["times"][n]) for n in names),
                      f"{row['loop_s'] * 1e3:.0f}", str(row["over_20_ms"]), str(row["raft slow"]), str(row["campaigns"]),
                      str(row["leaders"])])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    print("ms: median/p99/longest; loop: longest turn of a worker at most so long; >20, raft>5: turns of workers over 20 ms, "
          "of the raft thread over 5 ms of processor time")
    for line in lines:
        print("  ".join(word.ljust(width) for word, width in zip(line, widths)).rstrip())
    for note in calm.notes:
        print(note)


def measure(system, elements, parts, say):
    """Do everything, print what was seen. Returns whether no group had an election."""
    wait(lambda: is_whole(system), "the cluster is at rest")
    calm = Calm(system, elements, say)
    try:
        with calm.act("nothing"):
            time.sleep(BASE_S)
        for part in parts:
            PARTS[part](calm, elements)
    finally:
        say("")
        print_rows(calm)
    return all(row["campaigns"] == 0 for row in calm.rows)
