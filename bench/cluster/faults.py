"""faults: how long publishing stands still when a node of a fanfare cluster is killed, or drained.

A Crowd is one event loop of clients under load: on every node a subscriber of all channels (one channel per partition)
and one publisher per channel, which sends the next message `PAUSE_S` after the last was answered. It notes when each
publish was sent and answered, and what each subscriber received.
"""

import asyncio
import collections
import dataclasses
import gc
import re
import signal
import statistics
import time

from systems import PARTITIONS, SLOTS, channel_name, fetch, slot_of

PAUSE_S = 0.02
LEAD_S = 0.5
"""Load before a fault and after it."""

RECOVER_MAX_S = 20
STALE_S = 0.05
"""An answer so soon after a kill may still be the dead owner's."""

MESSAGE = re.compile(rb"\$7\r\nmessage\r\n\$\d+\r\n([^\r]*)\r\n\$\d+\r\n([^\r]*)\r\n")
CONFIRMATION = re.compile(rb"\$9\r\nsubscribe\r\n\$\d+\r\n[^\r]*\r\n:\d+\r\n")


@dataclasses.dataclass
class Publish:
    """One PUBLISH; `outcome` is taken, INDOUBT, CLUSTERDOWN, or cut-off (the connection ended before the answer)."""

    channel: int
    stamp: bytes
    sent_s: float
    done_s: float = 0.0
    outcome: str = ""


class Subscriber(asyncio.Protocol):
    """A subscriber of all channels on one node."""

    def __init__(self, crowd, node):
        self.crowd, self.node = crowd, node
        self.rest = b""
        self.received = collections.defaultdict(list)  # by channel
        self.confirmed = 0
        self.is_lost = False
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"SUBSCRIBE " + b" ".join(self.crowd.names) + b"\r\n")

    def data_received(self, data):
        data = self.rest + data
        end = 0
        for match in CONFIRMATION.finditer(data):
            self.confirmed += 1
            end = match.end()
        for match in MESSAGE.finditer(data):
            self.received[match[1]].append(match[2])
            end = max(end, match.end())
        self.rest = data[end:]

    def connection_lost(self, exc):
        self.is_lost = True


class Publisher(asyncio.Protocol):
    """Publishes to one channel on one node, one message at a time."""

    def __init__(self, crowd, node, channel):
        self.crowd, self.node, self.channel = crowd, node, channel
        self.rest = b""
        self.pending = None
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        self.crowd.loop.call_later(PAUSE_S * (self.channel % 8) / 8, self.publish)

    def publish(self):
        """Send the next message, unless it is time to end."""
        if self.crowd.is_ending or self.transport.is_closing():
            return
        stamp = b"%d.%d" % (self.node, next(self.crowd.stamps))
        self.pending = Publish(self.channel, stamp, time.monotonic())
        self.crowd.publishes.append(self.pending)
        self.transport.write(b"PUBLISH %b %b\r\n" % (self.crowd.names[self.channel], stamp))

    def data_received(self, data):
        self.rest += data
        if not self.rest.endswith(b"\r\n"):
            return
        word = self.rest.split()[0].decode()
        self.rest = b""
        self._settle("taken" if word.startswith(":") else word.lstrip("-"))
        self.crowd.loop.call_later(PAUSE_S, self.publish)

    def _settle(self, outcome):
        if self.pending is not None:
            self.pending.done_s, self.pending.outcome = time.monotonic(), outcome
            self.crowd.answered(self.node, self.pending)
            self.pending = None

    def connection_lost(self, exc):
        self._settle("cut-off")


async def until(condition, max_s):
    """Wait for a condition on this loop. Returns whether it came to hold."""
    deadline = time.monotonic() + max_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


class Crowd:
    """The clients of one fault."""

    def __init__(self, system, names):
        self.system, self.names = system, names
        self.loop = asyncio.get_running_loop()
        self.stamps = iter(range(1, 1 << 40))
        self.publishes = []
        self.subscribers = []
        self.publishers = []
        self.is_ending = False
        self.stalls = []  # (when, how long): this process itself was late
        self.first_s = {}  # after the fault: {(node, channel): time of the first publish taken}
        self.fault_s = None
        self._ticker = asyncio.create_task(self._tick())

    async def _tick(self):
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            self.stalls.append((before, time.monotonic() - before - 0.005))

    def answered(self, node, publish):
        """A publish has come to its end."""
        is_fresh = self.fault_s is not None and publish.done_s > self.fault_s + STALE_S
        if is_fresh and publish.outcome == "taken":
            self.first_s.setdefault((node, publish.channel), publish.done_s)

    async def subscribe(self, node):
        """A subscriber on one node; returns when all its channels are confirmed."""
        address = ("127.0.0.1", self.system.ports[node])
        _, subscriber = await self.loop.create_connection(lambda: Subscriber(self, node), *address)
        self.subscribers.append(subscriber)
        await until(lambda: subscriber.confirmed == len(self.names) or subscriber.is_lost, RECOVER_MAX_S)

    async def publish(self, node):
        """The publishers of one node."""
        address = ("127.0.0.1", self.system.ports[node])
        for channel in range(len(self.names)):
            _, publisher = await self.loop.create_connection(lambda c=channel: Publisher(self, node, c), *address)
            self.publishers.append(publisher)

    async def end(self):
        """Publish no more; returns when everything is answered and has had time to arrive."""
        self.is_ending = True
        deadline = time.monotonic() + RECOVER_MAX_S
        while any(publisher.pending for publisher in self.publishers) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        wanted = {publish.stamp for publish in self.publishes if publish.outcome == "taken"}
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and any(
                wanted - set(stamp for row in subscriber.received.values() for stamp in row)
                for subscriber in self.subscribers if not subscriber.is_lost):
            await asyncio.sleep(0.1)
        self._ticker.cancel()
        for client in self.publishers + self.subscribers:
            client.transport.abort()

    def stall(self, since_s, until_s):
        """How long this process itself stood still at most in that time."""
        return max((late for at, late in self.stalls if since_s <= at <= until_s), default=0)

    def judge(self, subscribers):
        """Counts of what should not be, among those subscribers, who were there all the time."""
        taken = {publish.stamp for publish in self.publishes if publish.outcome == "taken"}
        never = {publish.stamp for publish in self.publishes if publish.outcome == "CLUSTERDOWN"}
        found = collections.Counter()
        for subscriber in subscribers:
            rows = [stamp for row in subscriber.received.values() for stamp in row]
            got = set(rows)
            found["lost"] += len(taken - got)
            found["repeated"] += len(rows) - len(got)
            found["refused but delivered"] += len(got & never)
        for name in self.names:
            found["reordered"] += self._disorder([subscriber.received[name] for subscriber in subscribers])
        return found

    def _disorder(self, rows):
        """Is there an order of a channel's messages that is the same for all, and each publisher's own?"""
        common = set.intersection(*map(set, rows)) if rows else set()
        orders = {tuple(stamp for stamp in row if stamp in common) for row in rows}
        count = len(orders) - 1 if orders else 0
        for row in rows:
            last = {}
            for stamp in row:
                node, number = map(int, stamp.split(b"."))
                count += number < last.get(node, 0)
                last[node] = number
        return count


def channels_of_all():
    """One channel's name per partition."""
    found = {}
    number = 0
    while len(found) < PARTITIONS:
        found.setdefault(slot_of(number) * PARTITIONS // SLOTS, channel_name(number))
        number += 1
    return [found[partition] for partition in range(PARTITIONS)]


async def _settled(system, max_s=45):
    """Wait for the cluster to be at rest, without standing in the clients' way."""
    deadline = time.monotonic() + max_s
    while not await asyncio.to_thread(system.is_settled):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True


def _longest(crowd, nodes, channels, since_s, until_s):
    """{channel: the longest publish of those nodes' clients that was under way in that time}"""
    longest = dict.fromkeys(channels, 0.0)
    prefixes = tuple(b"%d." % node for node in nodes)
    for publish in crowd.publishes:
        is_within = publish.sent_s <= until_s and publish.done_s >= since_s
        if publish.channel in longest and is_within and publish.stamp.startswith(prefixes):
            longest[publish.channel] = max(longest[publish.channel], publish.done_s - publish.sent_s)
    return longest


async def _bring_back(crowd, system, victim, result):
    """Start the victim again under load, and let the partitions come back to it."""
    began_s = time.monotonic()
    system.nodes[victim].start(system.cpus)
    http_port = system.nodes[victim].http_port
    while await asyncio.to_thread(fetch, http_port, "/readyz") != "ok\n":
        if time.monotonic() > began_s + RECOVER_MAX_S:
            break
        await asyncio.sleep(0.05)
    await crowd.subscribe(victim)
    await crowd.publish(victim)
    result["is_settled"] = await _settled(system)
    result["settle_s"] = time.monotonic() - began_s
    await asyncio.sleep(LEAD_S)
    result["back"] = list(_longest(crowd, result["others"], range(PARTITIONS), began_s, time.monotonic()).values())


async def _one_fault(system, names, victim, number):
    """One node killed or drained, and started again; all that was seen."""
    crowd = Crowd(system, names)
    for node in range(system.count):
        await crowd.subscribe(node)
    for node in range(system.count):
        await crowd.publish(node)
    await asyncio.sleep(LEAD_S)
    owned = await asyncio.to_thread(system.owned)
    affected = [partition for partition, node in owned.items() if node == victim]
    others = [node for node in range(system.count) if node != victim]
    pages = await asyncio.to_thread(system.nodes[victim].metrics)
    result = {"signal": number, "victim": victim, "others": others, "affected": len(affected),
              "was_leader": pages.get("fanfare_raft_is_leader") == 1}
    crowd.fault_s = fault_s = time.monotonic()
    system.nodes[victim].process.send_signal(number)  # once: the second would be taken for haste
    wanted = [(node, channel) for node in others for channel in affected]
    result["exit_code"] = await asyncio.to_thread(system.nodes[victim].wait_end)
    result["exit_s"] = time.monotonic() - fault_s
    result["works"] = await until(lambda: all(key in crowd.first_s for key in wanted), RECOVER_MAX_S)
    result["works_after_s"] = max((crowd.first_s.get(key, time.monotonic()) - fault_s for key in wanted), default=0)
    await asyncio.sleep(LEAD_S)
    until_s = time.monotonic()
    result["pauses"] = list(_longest(crowd, others, affected, fault_s, until_s).values())
    unaffected = [channel for channel in range(PARTITIONS) if channel not in affected]
    result["unaffected"] = list(_longest(crowd, others, unaffected, fault_s, until_s).values())
    result["stall_s"] = crowd.stall(fault_s, until_s)
    await _bring_back(crowd, system, victim, result)
    steady = [subscriber for subscriber in crowd.subscribers if subscriber.node != victim]
    result["disconnected"] = sum(subscriber.is_lost for subscriber in steady)
    result["disconnected"] += sum(publish.outcome == "cut-off" and int(publish.stamp.split(b".")[0]) != victim
                                  for publish in crowd.publishes)
    await crowd.end()
    result["publishes"] = len(crowd.publishes)
    result["outcomes"] = dict(collections.Counter(publish.outcome or "unanswered" for publish in crowd.publishes))
    result["wrong"] = dict(crowd.judge([subscriber for subscriber in steady if not subscriber.is_lost]))
    return result


async def _many(system, number, count, say):
    names = channels_of_all()
    results = []
    for nth in range(count):
        victim = nth % system.count
        say(f"{signal.Signals(number).name} {nth + 1} of {count}: node {victim}")
        results.append(await _one_fault(system, names, victim, number))
        if not results[-1]["is_settled"]:
            say(f"the cluster does not come to rest after {signal.Signals(number).name} {nth + 1}")
            break
    return results


def measure(system, number, count, say):
    """`count` faults by that signal, one node after the other. Returns a list of what was seen of each."""
    gc.collect()
    gc.disable()
    try:
        return asyncio.run(_many(system, number, count, say))
    finally:
        gc.enable()


def median(values):
    """0 of nothing."""
    values = list(values)
    return statistics.median(values) if values else 0.0
