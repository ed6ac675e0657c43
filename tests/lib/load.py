"""load: publishers and subscribers that keep a broker busy and write down what they see, for lib.history.

Everything random comes from one seed. Publishers pipeline batches over plain and shard channels. Some subscribers
(the anchors) see everything from beginning to end; the others come and go: they subscribe, read a while, unsubscribe,
leave without a word, come back.
"""

import dataclasses
import itertools
import random
import selectors
import threading

from .broker import now_ns
from .history import Confirmation, History, Message, Publish, Request, Stream
from .resp import Client, Closed, encode
from .wait import DEADLINE_S

CHANNELS = [b"load:a1", b"load:a2", b"load:b1", b"load:b2", b"load:lonely"]
PATTERNS = [b"load:a*", b"load:*", b"*1", b"load:b2*"]
SHARD_CHANNELS = [b"load:a1", b"load:s"]
SIZES = [0, 0, 0, 30, 200, 1500, 5000, 40000]
MESSAGE_KINDS = (b"message", b"pmessage", b"smessage")


@dataclasses.dataclass
class Plan:
    """How much load. All counts are connections."""

    publishers: int = 4
    batches: int = 120
    batch_max: int = 24
    anchors: int = 2
    visitors: int = 8


class Publisher(threading.Thread):
    """One publishing connection: sends batches, waits for the answers of each."""

    def __init__(self, address, name, plan, seed):
        super().__init__(name=name, daemon=True)
        self.address = address
        self.plan = plan
        self.rng = random.Random(seed)
        self.seqs = itertools.count()
        self.publishes = []
        self.error = None

    def run(self):
        try:
            with Client(self.address, timeout_s=6 * DEADLINE_S) as client:
                for _ in range(self.plan.batches):
                    self._batch(client)
        except (OSError, Closed) as exc:
            self.error = exc

    def _batch(self, client):
        batch = [self._next() for _ in range(self.rng.randint(1, self.plan.batch_max))]
        data = b"".join(self._request(p) for p in batch)
        self.publishes += batch
        start_ns = now_ns()
        for publish in batch:
            publish.start_ns = start_ns
        client.send_raw(data)
        for publish in batch:
            count = client.recv()
            publish.end_ns = now_ns()
            assert isinstance(count, int), f"PUBLISH answered {count!r}"
            publish.count = count

    def _next(self):
        is_shard = self.rng.random() < 0.2
        channel = self.rng.choice(SHARD_CHANNELS if is_shard else CHANNELS)
        return Publish(self.name, next(self.seqs), channel, 0, shard=is_shard)

    def _request(self, publish):
        payload = f"{publish.publisher}:{publish.seq}|".encode() + b"." * self.rng.choice(SIZES)
        return encode("SPUBLISH" if publish.shard else "PUBLISH", publish.channel, payload)


class Subscriber:
    """One subscribing connection and its stream. Not a thread."""

    def __init__(self, address, name, protocol):
        self.client = Client(address, protocol)
        self.stream = Stream(name)
        self.wanted = set()
        self.waiting = 0

    def ask(self, kind, names):
        """Send one (un)subscribe for these names."""
        if not names:
            return
        sent_ns = now_ns()
        self.stream.requests += [Request(kind, name, sent_ns) for name in names]
        self.waiting += len(names)
        base = kind.replace("unsubscribe", "subscribe")
        pairs = {(base, name) for name in names}
        self.wanted = self.wanted - pairs if base != kind else self.wanted | pairs
        self.client.send(kind.upper(), *names)

    def ask_end(self):
        """Unsubscribe from everything that is still wanted."""
        for base, end in (("subscribe", "unsubscribe"), ("psubscribe", "punsubscribe"), ("ssubscribe", "sunsubscribe")):
            self.ask(end, sorted(name for kind, name in self.wanted if kind == base))

    def read(self, timeout_s):
        """Take what comes within this time; False if nothing did. Raises Closed."""
        try:
            self.take(self.client.recv(timeout_s))
            return True
        except TimeoutError:
            return False

    def read_until_confirmed(self):
        """Read until every request is confirmed."""
        while self.waiting:
            self.take(self.client.recv(6 * DEADLINE_S))

    def take(self, reply):
        """Write one reply down."""
        at_ns = now_ns()
        assert isinstance(reply, list), f"{self.stream.name} was told {reply!r}"
        if reply[0] not in MESSAGE_KINDS:
            self.waiting -= 1
            self.stream.events.append(Confirmation(reply[0].decode(), reply[1], reply[2], at_ns))
            return
        publisher, _, seq = reply[-1].partition(b"|")[0].decode().rpartition(":")
        self.stream.events.append(Message(reply[0].decode(), reply[1], reply[-2], (publisher, int(seq)), at_ns))

    def leave(self):
        """Close without a word."""
        self.stream.closed_ns = now_ns()
        self.client.close()


class Anchors(threading.Thread):
    """Subscribers that see everything, all read by one thread; `finish` ends them properly."""

    def __init__(self, address, count):
        super().__init__(daemon=True)
        self.subscribers = [Subscriber(address, f"anchor{n}", 2 + n % 2) for n in range(count)]
        self.is_over = False
        self.error = None
        for subscriber in self.subscribers:
            subscriber.ask("subscribe", CHANNELS)
            subscriber.ask("ssubscribe", SHARD_CHANNELS)
            if subscriber.stream.name == "anchor1":
                subscriber.ask("psubscribe", PATTERNS[:1])
            subscriber.read_until_confirmed()

    def run(self):
        try:
            with selectors.DefaultSelector() as selector:
                for subscriber in self.subscribers:
                    selector.register(subscriber.client, selectors.EVENT_READ, subscriber)
                while not self.is_over:
                    for key, _ in selector.select(0.02):
                        while key.data.read(0):
                            pass
        except (OSError, Closed) as exc:
            self.error = exc

    def finish(self):
        """Stop the thread, unsubscribe, read to the last confirmation."""
        self.is_over = True
        self.join()
        end(self.subscribers)


class Visitor(threading.Thread):
    """A subscriber that comes and goes until `is_over`."""

    def __init__(self, address, name, seed):
        super().__init__(name=name, daemon=True)
        self.address = address
        self.rng = random.Random(seed)
        self.streams = []
        self.is_over = False
        self.error = None

    def run(self):
        try:
            while not self.is_over:
                self._visit()
        except (OSError, Closed, AssertionError) as exc:
            self.error = exc

    def _visit(self):
        subscriber = Subscriber(self.address, f"{self.name}.{len(self.streams)}", self.rng.choice([2, 3]))
        self.streams.append(subscriber.stream)
        for _ in range(self.rng.randint(1, 12)):
            self._change(subscriber)
            self._read_a_while(subscriber)
            if self.is_over:
                break
        if self.rng.random() < 0.3 and not self.is_over:
            subscriber.leave()
        else:
            end([subscriber])

    def _change(self, subscriber):
        for base, end_kind, names in (("subscribe", "unsubscribe", CHANNELS), ("psubscribe", "punsubscribe", PATTERNS),
                                      ("ssubscribe", "sunsubscribe", SHARD_CHANNELS)):
            if self.rng.random() < 0.5:
                chosen = self.rng.sample(names, self.rng.randint(1, len(names)))
                have = [n for n in chosen if (base, n) in subscriber.wanted]
                subscriber.ask(end_kind, have)
                subscriber.ask(base, [n for n in chosen if n not in have])

    def _read_a_while(self, subscriber):
        if self.rng.random() < 0.5:
            subscriber.read_until_confirmed()
        for _ in range(self.rng.randint(0, 60)):
            if not subscriber.read(0.01):
                break


def end(subscribers):
    """Unsubscribe all, read the confirmations, close."""
    for subscriber in subscribers:
        subscriber.ask_end()
    for subscriber in subscribers:
        subscriber.read_until_confirmed()
        subscriber.client.close()


def run_load(address, plan, seed):
    """Run the whole plan; returns the History. Fails on any error of a connection."""
    anchors = Anchors(address, plan.anchors)
    publishers = [Publisher(address, f"p{n}", plan, f"{seed}/p{n}") for n in range(plan.publishers)]
    visitors = [Visitor(address, f"v{n}", f"{seed}/v{n}") for n in range(plan.visitors)]
    for thread in [anchors, *visitors, *publishers]:
        thread.start()
    for publisher in publishers:
        publisher.join()
    for visitor in visitors:
        visitor.is_over = True
    for visitor in visitors:
        visitor.join()
    anchors.finish()
    errors = [t.error for t in [anchors, *publishers, *visitors] if t.error]
    assert not errors, f"seed {seed}: {errors}"
    return History([p for publisher in publishers for p in publisher.publishes],
                   [a.stream for a in anchors.subscribers] + [s for v in visitors for s in v.streams])
