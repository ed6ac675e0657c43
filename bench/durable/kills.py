"""kills: how long writes stand still when the node that leads their partition is killed, and whether each was executed once.

On every node some connections write to database 0, one request at a time: each counts (`INCR`) and appends what it was
told (`RPUSH`). The leader of that database is killed with -9 and started again, as often as wanted. What is counted are
connections to nodes that live; at the end the counter must be what was acknowledged, and the lists must have
every number once, in order. A connection to the killed node may have had one write under way that nobody heard of.
"""

import asyncio
import re
import statistics
import time

from stores import ask
from systems import SystemFailed

WRITERS = 4  # a node
LEAD_S = 0.5
"""Load before a kill and after it."""

RECOVER_MAX_S = 30


class Writer:
    """One connection; again a new one when its node has come back."""

    def __init__(self, port, name):
        self.port, self.name = port, name
        self.counted = 0
        self.appended = []
        self.unknown = 0   # increments that nobody heard of
        self.unheard = 0   # and appends
        self.errors = []
        self.longest_s = 0.0
        self.is_ending = False
        self.task = asyncio.create_task(self.write())

    async def _ask(self, reader, writer, *words):
        began_s = time.monotonic()
        writer.write(b" ".join(words) + b"\r\n")
        answer = await reader.readline()
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)
        if not answer:
            raise ConnectionError
        if not answer.startswith(b":"):
            self.errors.append(answer.decode().strip())
            return None
        return int(answer[1:])

    async def _session(self, reader, writer):
        while not self.is_ending:
            self.unknown += 1
            number = await self._ask(reader, writer, b"INCR", b"counter")
            self.unknown -= 1
            if number is None:
                continue
            self.counted += 1
            tag = b"%d" % self.counted
            self.unheard += 1
            if await self._ask(reader, writer, b"RPUSH", self.name, tag) is not None:
                self.appended.append(tag)
            self.unheard -= 1

    async def write(self):
        """Write until told to end."""
        while not self.is_ending:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    await self._session(reader, writer)
                finally:
                    writer.close()
            except OSError:
                await asyncio.sleep(0.05)  # its node is not back


def _leader(system):
    """The index of the node that leads database 0."""
    for line in ask(system.ports[0], "cluster", "partitions").splitlines():
        row = re.match(r"partition 0 .* leader=n(\d+) ", line)
        if row:
            return int(row[1])
    raise SystemFailed("nobody is known to lead partition 0")


def _is_whole(system):
    """At rest, with all replicas."""
    rows = [line for line in ask(system.ports[0], "cluster", "partitions").splitlines() if line.startswith("partition ")]
    return system.is_settled() and rows and all(row.endswith("settled=yes") for row in rows)


async def _wait_whole(system):
    deadline = time.monotonic() + RECOVER_MAX_S
    while not await asyncio.to_thread(_is_whole, system):
        if time.monotonic() > deadline:
            raise SystemFailed(f"the cluster is not at rest {RECOVER_MAX_S} s after a kill")
        await asyncio.sleep(0.05)


async def _one(system, writers):
    victim = await asyncio.to_thread(_leader, system)
    others = [w for node, group in enumerate(writers) for w in group if node != victim]
    await asyncio.sleep(LEAD_S)
    for writer in others:
        writer.longest_s = 0.0
    before = [w.counted for w in others]
    system.nodes[victim].process.kill()
    await asyncio.to_thread(system.nodes[victim].wait_end)
    deadline = time.monotonic() + RECOVER_MAX_S
    while any(w.counted < n + 2 for w, n in zip(others, before)) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    await asyncio.sleep(LEAD_S)
    pause_s = max(w.longest_s for w in others)
    system.nodes[victim].start()
    await _wait_whole(system)
    return pause_s


def _judge(system, writers):
    """What is wrong with what is there; nothing: []."""
    port = system.ports[0]
    wrong = []
    counted = sum(w.counted for w in writers)
    unknown = sum(w.unknown for w in writers)
    there = int(ask(port, "get", "counter") or 0)
    if not counted <= there <= counted + unknown:
        wrong.append(f"counter is {there}: {counted} were acknowledged, of {unknown} nobody heard")
    for writer in writers:
        found = ask(port, "lrange", writer.name.decode(), "0", "-1").split()
        expected = [tag.decode() for tag in writer.appended]
        extra = [tag for tag in found if tag not in set(expected)]
        if [tag for tag in found if tag in set(expected)] != expected or len(set(found)) != len(found):
            wrong.append(f"{writer.name.decode()}: not what was acknowledged, once and in order")
        if len(extra) > writer.unheard:
            wrong.append(f"{writer.name.decode()}: {len(extra)} that were never acknowledged")
    return wrong


async def _many(system, count, say):
    await _wait_whole(system)
    writers = [[Writer(port, b"list.%d.%d" % (node, n)) for n in range(WRITERS)] for node, port in enumerate(system.ports)]
    pauses_s = []
    for nth in range(count):
        say(f"kill {nth + 1} of {count}")
        pauses_s.append(await _one(system, writers))
    every = [w for group in writers for w in group]
    for writer in every:
        writer.is_ending = True
    await asyncio.wait_for(asyncio.gather(*(w.task for w in every)), RECOVER_MAX_S)
    wrong = await asyncio.to_thread(_judge, system, every)
    errors = [error for w in every for error in w.errors]
    return pauses_s, sum(w.counted for w in every), errors, wrong


def measure(system, count, say):
    """Kill the leader so often, print what was seen. Returns whether nothing was wrong."""
    pauses_s, counted, errors, wrong = asyncio.run(_many(system, count, say))
    say("")
    print(f"kill -9 of the leader under load, {count} times: the longest write of a client elsewhere took "
          f"{statistics.median(pauses_s):.2f} s (median), {max(pauses_s):.2f} s (worst); {counted:,} counted once, "
          f"{len(errors)} errors {sorted(set(errors))[:3]}")
    for line in wrong:
        print(f"FAILED    {line}")
    return not wrong
