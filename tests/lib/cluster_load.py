"""cluster_load: many clients on all nodes of a cluster, which write down what they do and see, for lib.checker.

Publishers send single publishes, pipelines and transactions on plain and shard channels. Anchors, one per node,
subscribe to everything for as long as their connection lives. Visitors come and go on any node. Whoever loses his
connection notes it and comes back, perhaps elsewhere. Everything random comes from one seed; what the faults of a
storm do to it is not repeatable to the letter, the choices of each client are.

All clients live on one thread with an event loop of its own; `start` and `stop` are for another thread.
"""

import asyncio
import collections
import dataclasses
import itertools
import random
import threading
import time

from .broker import now_ns
from .checker_history import (CLUSTERDOWN, END_OF, INDOUBT, SUBSCRIBES, UNKNOWN, WAY_OF, Asked, Confirmed, Delivered,
                              History, Publish, Refused, Stream)
from .resp import Parser, RespError, encode
from .wait import SCALE, wait_until

CHANNELS = [b"storm:%d" % n for n in range(24)]
SHARD_CHANNELS = [b"storm:%d" % n for n in range(6)] + [b"{storm}:s"]
PATTERNS = [b"storm:*", b"storm:1*", b"*5", b"*", b"storm:7"]
SIZES = [0, 0, 0, 0, 30, 200, 1500, 20000]
PATIENCE_S = 25 * SCALE
"""After so long without an answer a client complains and leaves."""


@dataclasses.dataclass
class Plan:
    """How much load. All counts are connections; `pause_s`: a publisher's between batches, on average."""

    publishers: int = 8
    anchors_per_node: int = 1
    visitors: int = 12
    pause_s: float = 0.03 * SCALE
    batch_max: int = 12


class Link(asyncio.Protocol):
    """One connection. Replies go to `on_reply(reply, at_ns)`, the end to `on_lost(at_ns)`."""

    def __init__(self):
        self.parser = Parser()
        self.transport = None
        self.on_reply = self.on_lost = lambda *_: None
        self.is_over = False

    @classmethod
    async def open(cls, address):
        """Connect. Raises OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        _, link = await asyncio.wait_for(loop.create_connection(cls, *address), 2 * SCALE)
        return link

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        at_ns = now_ns()
        self.parser.feed(data)
        found, reply = self.parser.next_reply()
        while found:
            self.on_reply(reply, at_ns)
            found, reply = self.parser.next_reply()

    def connection_lost(self, exc):
        if not self.is_over:
            self.is_over = True
            self.on_lost(now_ns())

    def send(self, data):
        """Queue bytes."""
        self.transport.write(data)

    def close(self):
        """Close without a further word."""
        self.is_over = True
        self.transport.abort()


class Load:
    """The clients of a cluster. `endpoints()` gives {node: (host, port)} of those that may be connected to now; a
    single endpoint may stand for all of them (then the node of a connection is not known)."""

    def __init__(self, endpoints, seed, plan=None):
        self.endpoints = endpoints
        self.seed = seed
        self.plan = plan or Plan()
        self.history = History()
        self.ids = itertools.count()
        self.complaints = []
        self.is_over = False
        self._anchored = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._error = None

    def start(self):
        """Start; returns when every node has its anchors, and something has been published."""
        self._thread.start()
        wait_until(lambda: self._error or (self._anchored >= set(self.endpoints()) and self.history.publishes),
                   what="every node has a subscriber")
        return self

    def stop(self):
        """Let every client end properly; returns the history. Fails on an error of the load itself."""
        self.is_over = True
        self._thread.join(4 * PATIENCE_S)
        assert not self._thread.is_alive(), "the load does not end"
        if self._error:
            raise self._error
        return self.history

    async def _main(self):
        try:
            clients = [Publisher(self, f"p{n}") for n in range(self.plan.publishers)]
            clients += [Visitor(self, f"v{n}") for n in range(self.plan.visitors)]
            await asyncio.gather(self._anchors(), *(client.run() for client in clients))
        except Exception as exc:  # pylint: disable=broad-except # told by stop
            self._error = exc

    async def _anchors(self):
        """Anchors for every node that there is, also for those that come later."""
        tasks = {}
        while not self.is_over:
            for node in self.endpoints():
                for number in range(self.plan.anchors_per_node):
                    name = f"a{number}.{node}"
                    if name not in tasks:
                        tasks[name] = asyncio.create_task(Anchor(self, name, node).run())
            done = [t for t in tasks.values() if t.done() and t.exception()]
            for task in done:
                raise task.exception()
            await asyncio.sleep(0.05)
        await asyncio.gather(*tasks.values())

    def anchored(self, node):
        """A node's anchor has subscribed to everything."""
        self._anchored.add(node)

    def complain(self, text):
        """Something that no client should have to bear."""
        self.complaints.append((now_ns(), text))


class _Client:
    """What the kinds of clients have in common."""

    def __init__(self, load, name):
        self.load = load
        self.name = name
        self.rng = random.Random(f"{load.seed}/{name}")
        self.lives = itertools.count()

    async def _connect(self, node=None):
        """(node, link) of a new connection, to that node or any; None if it cannot be had now."""
        endpoints = self.load.endpoints()
        node = node or self.rng.choice(sorted(endpoints) or [None])
        if node not in endpoints:
            await asyncio.sleep(0.05)
            return None
        try:
            return node, await Link.open(endpoints[node])
        except (OSError, TimeoutError):
            await asyncio.sleep(self.rng.uniform(0.01, 0.1))
            return None


class Publisher(_Client):
    """Publishes in batches, on one node after another."""

    async def run(self):
        """Until the load is over."""
        while not self.load.is_over:
            connected = await self._connect()
            if connected:
                session = _PublisherSession(self, *connected, f"{self.name}.{next(self.lives)}")
                await session.run(self.rng.randint(5, 300))


class _PublisherSession:
    """One connection of a publisher."""

    def __init__(self, client, node, link, name):
        self.load, self.rng = client.load, client.rng
        self.node, self.link, self.name = node, link, name
        self.expected = []  # what the next replies answer: a list of publishes, or None for anything else
        self.idle = asyncio.Event()
        link.on_reply, link.on_lost = self._on_reply, self._on_lost

    async def run(self, batches):
        """So many batches, each answered before the next; fewer if the connection or the load ends."""
        for _ in range(batches):
            if self.link.is_over or self.load.is_over:
                break
            self._send_batch()
            try:
                await asyncio.wait_for(self.idle.wait(), PATIENCE_S)
            except TimeoutError:
                self.load.complain(f"{self.name}@{self.node} has no answer for {PATIENCE_S:g} s")
                self._on_lost(now_ns())
            await asyncio.sleep(self.rng.expovariate(1 / self.load.plan.pause_s))
        self.link.close()

    def _send_batch(self):
        self.idle.clear()
        data = b""
        start_ns = now_ns()
        for _ in range(self.rng.randint(1, self.rng.choice([1, 4, self.load.plan.batch_max]))):
            what = self.rng.random()
            if what < 0.1:
                publishes = [self._publish(start_ns) for _ in range(self.rng.randint(1, 4))]
                self.expected += [None] * (len(publishes) + 1) + [publishes]
                data += encode("MULTI") + b"".join(map(self._request, publishes)) + encode("EXEC")
            elif what < 0.15:
                self.expected.append(None)
                data += encode("PING")
            else:
                publish = self._publish(start_ns)
                self.expected.append([publish])
                data += self._request(publish)
        self.link.send(data)

    def _publish(self, start_ns):
        shard = self.rng.random() < 0.2
        channel = self.rng.choice(SHARD_CHANNELS if shard else CHANNELS)
        publish = Publish(next(self.load.ids), self.name, self.node, channel, shard, start_ns)
        self.load.history.publishes.append(publish)
        return publish

    def _request(self, publish):
        payload = b"%d|" % publish.id + b"." * self.rng.choice(SIZES)
        return encode("SPUBLISH" if publish.shard else "PUBLISH", publish.channel, payload)

    def _on_reply(self, reply, at_ns):
        publishes = self.expected.pop(0)
        if publishes:
            replies = reply if isinstance(reply, list) else [reply] * len(publishes)
            for publish, one in zip(publishes, replies, strict=True):
                publish.end_ns, publish.outcome = at_ns, outcome_of(one)
        if not self.expected:
            self.idle.set()

    def _on_lost(self, at_ns):
        for publishes in self.expected:
            for publish in publishes or ():
                publish.end_ns, publish.outcome = at_ns, UNKNOWN
        self.expected = []
        self.link.close()
        self.idle.set()


def outcome_of(reply):
    """The answer of a publish as the history has it."""
    if isinstance(reply, int):
        return reply
    text = str(reply)
    code = text.split(" ", 1)[0]
    return code if isinstance(reply, RespError) and code in (INDOUBT, CLUSTERDOWN) else f"unexpected: {reply!r}"


class _Subscription:
    """One connection of a subscriber, and its stream."""

    def __init__(self, client, node, link, name):
        self.load, self.link = client.load, link
        self.stream = Stream(name, node)
        self.wanted = set()  # what is subscribed once all is answered
        self.waiting = collections.deque()  # (kind, name) not answered yet
        self.greeting = 0
        self.changed = asyncio.Event()
        link.on_reply, link.on_lost = self._on_reply, self._on_lost
        self.load.history.streams.append(self.stream)

    def greet(self, protocol):
        """Choose the RESP version; before anything else."""
        if protocol == 3:
            self.greeting = 1
            self.link.send(encode("HELLO", 3))

    def ask(self, kind, names):
        """Send one (un)subscribe for these names."""
        if not names or self.link.is_over:
            return
        at_ns = now_ns()
        self.stream.events += [Asked(kind, name, at_ns) for name in names]
        for name in names:
            self.waiting.append((kind, name))
            self._want(kind, name, kind in SUBSCRIBES)
        self.link.send(encode(kind.upper(), *names))

    def _want(self, kind, name, is_wanted):
        pair = kind.replace("unsubscribe", "subscribe"), name
        if is_wanted:
            self.wanted.add(pair)
        else:
            self.wanted.discard(pair)

    def _on_reply(self, reply, at_ns):
        if self.greeting:
            self.greeting -= 1
            return
        if isinstance(reply, RespError):
            self.stream.events.append(Refused(str(reply), at_ns))
            if self.waiting:
                kind, name = self._settle()
                self._want(kind, name, kind not in SUBSCRIBES)
            return
        kind = reply[0].decode()
        if kind in WAY_OF:
            head = reply[-1].partition(b"|")[0]
            number = int(head) if head.isdigit() else -1
            self.stream.events.append(Delivered(kind, reply[1], reply[-2], number, at_ns))
        else:
            self.stream.events.append(Confirmed(kind, reply[1], reply[2], at_ns))
            if self.waiting:
                self._settle()

    def _settle(self):
        self.changed.set()
        return self.waiting.popleft()

    def _on_lost(self, at_ns):
        self.stream.close("server", at_ns)
        self.changed.set()

    async def confirmed(self):
        """Wait until every request is answered, or the connection lost; False if neither comes in time."""
        end_s = time.monotonic() + PATIENCE_S
        while self.waiting and not self.link.is_over:
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), end_s - time.monotonic())
            except TimeoutError:
                self.load.complain(f"{self.stream.name}@{self.stream.node} has no confirmation for {PATIENCE_S:g} s")
                self.leave()
                return False
        return True

    async def end(self):
        """Unsubscribe from everything, read to the last confirmation, close."""
        for base, end in END_OF.items():
            self.ask(end, sorted(name for kind, name in self.wanted if kind == base))
        if await self.confirmed() and not self.link.is_over:
            if self.wanted:  # an end was refused
                self.leave()
            self.link.close()

    def leave(self):
        """Close without a word."""
        self.stream.close("client", now_ns())
        self.link.close()


class Anchor(_Client):
    """Subscribes to everything on one node; comes back whenever its connection is lost."""

    def __init__(self, load, name, node):
        super().__init__(load, name)
        self.node = node

    async def run(self):
        """Until the load is over."""
        while not self.load.is_over:
            connected = await self._connect(self.node)
            if connected:
                subscription = _Subscription(self, *connected, f"{self.name}.{next(self.lives)}")
                subscription.greet(self.rng.choice([2, 3]))
                subscription.ask("subscribe", CHANNELS)
                subscription.ask("ssubscribe", SHARD_CHANNELS)
                subscription.ask("psubscribe", PATTERNS[:1])
                if await subscription.confirmed() and not subscription.link.is_over:
                    self.load.anchored(self.node)
                while not self.load.is_over and not subscription.link.is_over:
                    await asyncio.sleep(0.05)
                await subscription.end()


class Visitor(_Client):
    """Subscribes and unsubscribes at random, leaves properly or not, comes back on another node."""

    async def run(self):
        """Until the load is over."""
        while not self.load.is_over:
            connected = await self._connect()
            if connected:
                await self._visit(_Subscription(self, *connected, f"{self.name}.{next(self.lives)}"))

    async def _visit(self, subscription):
        subscription.greet(self.rng.choice([2, 3]))
        for _ in range(self.rng.randint(1, 20)):
            self._change(subscription)
            if self.rng.random() < 0.7 and not await subscription.confirmed():
                return
            await asyncio.sleep(self.rng.expovariate(1 / 0.2))
            if self.load.is_over or subscription.link.is_over:
                break
        if self.rng.random() < 0.3 and not self.load.is_over:
            subscription.leave()
        else:
            await subscription.end()

    def _change(self, subscription):
        for base, names in (("subscribe", CHANNELS), ("psubscribe", PATTERNS), ("ssubscribe", SHARD_CHANNELS)):
            if self.rng.random() < 0.4:
                chosen = self.rng.sample(names, self.rng.randint(1, min(6, len(names))))
                have = [n for n in chosen if (base, n) in subscription.wanted]
                subscription.ask(END_OF[base], have)
                subscription.ask(base, [n for n in chosen if n not in have])
