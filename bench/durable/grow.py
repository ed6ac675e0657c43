"""grow: what data larger than memory costs: nodes that may use little of it (control groups), a node that has lost its disk and
gets its replicas anew, the time of a restart, and what a stream of small entries takes on disk and in memory."""

import os
import pathlib
import random
import shutil
import signal
import time

from calm import ACT_MAX_S, Calm, Client, encode, is_whole, print_rows, wait
from systems import SystemFailed, ask

VALUE_BYTES = 1024
ENTRIES = 1_000_000
ENTRY_BYTES = 100
READ_S = 20
MEBI = 1 << 20


class Fence:
    """A control group (v1 or v2) with a limit of memory; without the right to make one there is none."""

    def __init__(self, name, limit_bytes):
        self.path = None
        for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            path = pathlib.Path(root) / name
            try:
                path.mkdir(exist_ok=True)
                (path / limit).write_text(str(limit_bytes), encoding="ascii")
            except OSError:
                continue
            self.path = path
            return

    def put(self, pid):
        """What the process allocates from now on counts."""
        if self.path:
            (self.path / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def remove(self):
        """Once it is empty."""
        if self.path:
            self.path.rmdir()


def rss(node):
    """Anonymous memory of a process, in MiB: the mapped stores are the page cache's."""
    for line in pathlib.Path(f"/proc/{node.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def disk(path):
    """Bytes that a folder takes."""
    return sum(512 * entry.stat().st_blocks for entry in pathlib.Path(path).rglob("*") if entry.is_file())


def values(some):
    """Keys with large values."""
    return encode("MSET", *(word for i in some for word in (b"value-%08d" % i, random.randbytes(VALUE_BYTES))))


def read_at_random(calm, count):
    """For a while: a bit of each of them, of which nobody knows where it is."""
    until = time.monotonic() + READ_S
    done = 0
    while time.monotonic() < until:
        calm.heavy.socket.sendall(b"".join(encode("GETBIT", b"value-%08d" % random.randrange(count), 4000) for _ in range(16)))
        for _ in range(16):
            calm.heavy.take_line()
        done += 16
    calm.notes.append(f"{done / READ_S:,.0f} reads at random a second")


def lose_disk(calm, victim):
    """A node ends, its folder goes, and it comes back."""
    system = calm.system
    node = system.nodes[victim]
    node.end(signal.SIGKILL)
    shutil.rmtree(system.directory / f"n{victim}")
    node.start()
    began_s = time.monotonic()
    time.sleep(2)
    wait(lambda: is_whole(system), "the node has its replicas again", ACT_MAX_S)
    calm.notes.append(f"a node that lost its disk had its replicas again after {time.monotonic() - began_s:.1f} s")


def cluster(system, mebi, memory_mebi, say):
    """Three nodes with so much data. Returns whether no group had an election while all lived."""
    wait(lambda: is_whole(system), "the cluster is at rest")
    fences = [Fence(f"fanfare-bench-{os.getpid()}-{i}", memory_mebi * MEBI) for i in range(system.count)]
    if not fences[0].path:
        print("no control group can be made here: memory is not limited")
    for fence, node in zip(fences, system.nodes):
        fence.put(node.pid)
    calm = Calm(system, 0, say, [0, 1])
    count = mebi * MEBI // VALUE_BYTES
    try:
        with calm.act(f"{mebi} MiB are written, {memory_mebi} MiB of memory a node"):
            calm.fill(count, values)
        with calm.act("they are read at random"):
            read_at_random(calm, count)
        victim = calm.spare
        with calm.act("a node loses its disk and gets all replicas anew"):
            lose_disk(calm, victim)
    finally:
        say("")
        print_rows(calm)
        system.close()
        for fence in fences:
            fence.remove()
    return all(row["campaigns"] == 0 for row in calm.rows[:2])


def restarts(system, mebi, say):
    """A node alone."""
    node = system.nodes[0]
    say("grow: a node alone is filled")
    client = Client(node.port)
    for first in range(0, mebi * MEBI // VALUE_BYTES, 500):
        client.socket.sendall(values(range(first, first + 500)))
        client.take_line()
    client.close()
    for number in (signal.SIGKILL, signal.SIGTERM):
        node.end(number)
        began_s = time.monotonic()
        node.start()
        while ask(node.port, "strlen", "value-00000001") != f"{VALUE_BYTES}\n":
            time.sleep(0.01)
            if time.monotonic() > began_s + ACT_MAX_S:
                raise SystemFailed("the node did not come back")
        print(f"restart of a node alone with {mebi} MiB after {number.name}: {time.monotonic() - began_s:.2f} s to its first answer")


def stream(system, say):
    """What a stream of small entries takes."""
    say("grow: a stream is made")
    node = system.nodes[0]
    before, client, most = node.metrics()["fanfare_store_used_bytes"], Client(node.port, 1), rss(node)
    first_rss = most
    for first in range(0, ENTRIES, 500):
        client.socket.sendall(b"".join(encode("XADD", "stream", "*", "f", b"%0*d" % (ENTRY_BYTES - 1, i))
                                       for i in range(first, first + 500)))
        for _ in range(2 * 500):
            client.take_line()
        if first % 50000 == 0:
            most = max(most, rss(node))
    took = node.metrics()["fanfare_store_used_bytes"] - before
    print(f"a stream of {ENTRIES:,} entries of {ENTRY_BYTES} B takes {took / MEBI:.0f} MiB in its store, "
          f"{took / (ENTRIES * ENTRY_BYTES):.2f} times the payload; memory of the process {first_rss:.0f} MiB before, "
          f"{most:.0f} MiB at most")
    print(f"folder of the node, log included: {disk(system.directory) / MEBI:.0f} MiB")
