"""history: decides from what clients saw whether a broker kept its promises.

Clients record what they did and saw, with times of one monotonic clock; afterwards `violations` looks for anything
that no correct broker could have done. Nothing here talks to a broker.

Words: a *stream* is one subscriber connection. A *window* is one subscription of it (a way: channel, pattern or shard
channel), from confirmation to confirmation. A publish is named by (publisher, seq): seq counts the publishes of one
publisher connection, over all channels.

Rules:
  confirm    confirmations answer the requests in order, with the right kind, name and count
  unknown    every message was published, there, after the publish had begun, and matches the subscription
  stray      no message outside a window
  duplicate  no message twice in a window
  order      one order per channel over all windows, extending each publisher's order
  realtime   a publish that was answered before another began comes before it
  arrival    messages of one publisher reach a subscriber in the order of publishing, over all channels and patterns
  hole       a window shows an unbroken run of its channel
  lost       a window shows every publish that began after its confirmation and was answered before its end was asked
  count      the answer of PUBLISH is possible: certain windows <= count <= possible windows
  exact      that answer is the number of copies that arrived (connections that died may hide some)
"""

import collections
import dataclasses
import math

FOREVER = math.inf

_ENDS = {"unsubscribe": "subscribe", "punsubscribe": "psubscribe", "sunsubscribe": "ssubscribe"}
_WAYS = {"message": "subscribe", "pmessage": "psubscribe", "smessage": "ssubscribe"}


@dataclasses.dataclass
class Publish:
    """One publish. `count` is None when the answer never came."""

    publisher: str
    seq: int
    channel: bytes
    start_ns: int
    end_ns: float = FOREVER
    count: int | None = None
    shard: bool = False

    @property
    def name(self):
        """What the payload says."""
        return self.publisher, self.seq


@dataclasses.dataclass
class Request:
    """A subscribe or unsubscribe for one name, as sent."""

    kind: str
    name: bytes
    sent_ns: int


@dataclasses.dataclass
class Confirmation:
    """A confirmation, as received."""

    kind: str
    name: bytes
    count: int
    at_ns: int


@dataclasses.dataclass
class Message:
    """A message, as received; `way` is message, pmessage or smessage, `name` the channel or pattern subscribed."""

    way: str
    name: bytes
    channel: bytes
    publish: tuple
    at_ns: int


@dataclasses.dataclass
class Stream:
    """What one subscriber connection asked and saw. `closed_ns` when it ended other than by unsubscribing."""

    name: str
    requests: list = dataclasses.field(default_factory=list)
    events: list = dataclasses.field(default_factory=list)
    closed_ns: float = FOREVER


@dataclasses.dataclass
class History:
    """All that was recorded."""

    publishes: list = dataclasses.field(default_factory=list)
    streams: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Window:
    """One subscription of one stream."""

    stream: Stream
    kind: str
    name: bytes
    asked_ns: int
    confirmed_ns: float = FOREVER
    end_asked_ns: float = FOREVER
    end_confirmed_ns: float = FOREVER
    received: list = dataclasses.field(default_factory=list)

    def matches(self, publish):
        """Does this subscription want that publish?"""
        if publish.shard != (self.kind == "ssubscribe"):
            return False
        return glob_matches(self.name, publish.channel) if self.kind == "psubscribe" else self.name == publish.channel

    def __str__(self):
        return f"{self.stream.name} {self.kind} {self.name!r}"


@dataclasses.dataclass(frozen=True)
class Violation:
    """One thing that must not happen."""

    rule: str
    text: str

    def __str__(self):
        return f"{self.rule}: {self.text}"


def glob_matches(pattern, channel):
    """The part of Redis' patterns that the load uses: `*` alone is special."""
    head, star, tail = pattern.partition(b"*")
    if not star:
        return pattern == channel
    return channel.startswith(head) and channel.endswith(tail) and len(channel) >= len(head) + len(tail)


def violations(history):
    """All violations found, in the order of the rules."""
    found, windows = _replay(history)
    published = {p.name: p for p in history.publishes}
    found += _unknown(history, published)
    if any(v.rule in ("confirm", "unknown", "stray") for v in found):
        return found  # the rules below rely on those
    found += _duplicate(windows)
    found += _order(history, windows)
    found += _realtime(windows, published)
    found += _arrival(history)
    found += _hole(history, windows)
    found += _lost(history, windows)
    found += _count(history, windows)
    return found


def _replay(history):
    """Walk each stream; returns the violations of confirm and stray, and the windows."""
    found, windows = [], []
    for stream in history.streams:
        replay = _Replay(stream)
        for event in stream.events:
            replay.take(event)
        windows += replay.finish()
        found += replay.found
    return found, windows


class _Replay:
    """Follows one stream through its confirmations."""

    def __init__(self, stream):
        self.stream = stream
        self.waiting = collections.deque(stream.requests)
        self.open = {}
        self.windows = []
        self.found = []

    def take(self, event):
        """One event of the stream."""
        if isinstance(event, Confirmation):
            self._confirmation(event)
            return
        window = self.open.get((_WAYS[event.way], event.name))
        if window is None:
            self.found.append(Violation("stray", f"{self.stream.name}: {event} without a subscription"))
        else:
            window.received.append(event)

    def _confirmation(self, event):
        request = self.waiting.popleft() if self.waiting else None
        if request is None or (request.kind, request.name) != (event.kind, event.name):
            self.found.append(Violation("confirm", f"{self.stream.name}: {event} answers {request}"))
            return
        if event.kind in _ENDS:
            window = self.open.pop((_ENDS[event.kind], event.name), None)
            if window:
                window.end_asked_ns, window.end_confirmed_ns = request.sent_ns, event.at_ns
        elif (event.kind, event.name) not in self.open:
            window = Window(self.stream, event.kind, event.name, request.sent_ns, event.at_ns)
            self.open[event.kind, event.name] = window
            self.windows.append(window)
        self._check_count(event)

    def _check_count(self, event):
        shard = event.kind in ("ssubscribe", "sunsubscribe")
        expected = sum((kind == "ssubscribe") == shard for kind, _ in self.open)
        if event.count != expected:
            self.found.append(Violation("confirm", f"{self.stream.name}: {event} should count {expected}"))

    def finish(self):
        """The windows, with what was asked but never confirmed."""
        for request in self.waiting:
            if request.kind in _ENDS:
                window = self.open.pop((_ENDS[request.kind], request.name), None)  # what ends first, ended it
                if window:
                    window.end_asked_ns = request.sent_ns
            elif (request.kind, request.name) not in self.open:
                self.windows.append(Window(self.stream, request.kind, request.name, request.sent_ns))
        if self.waiting and self.stream.closed_ns == FOREVER:
            self.found.append(Violation("confirm", f"{self.stream.name}: never answered {self.waiting[0]}"))
        return self.windows


def _unknown(history, published):
    for stream in history.streams:
        for event in stream.events:
            if isinstance(event, Message):
                text = _why_unknown(event, published.get(event.publish))
                if text:
                    yield Violation("unknown", f"{stream.name}: {event} {text}")


def _why_unknown(event, publish):
    if publish is None:
        return "was never published"
    if publish.channel != event.channel or publish.shard != (event.way == "smessage"):
        return f"was published elsewhere: {publish}"
    if event.way != "pmessage" and event.name != event.channel:
        return "names another channel"
    if event.way == "pmessage" and not glob_matches(event.name, event.channel):
        return "does not match its pattern"
    if event.at_ns < publish.start_ns:
        return f"came before it was published: {publish}"
    return None


def _duplicate(windows):
    for window in windows:
        seen = set()
        for message in window.received:
            if message.publish in seen:
                yield Violation("duplicate", f"{window}: {message}")
            seen.add(message.publish)


def _runs(windows):
    """Per (shard, channel): the list of (window, publishes received of that channel, in order)."""
    runs = collections.defaultdict(list)
    for window in windows:
        per_channel = collections.defaultdict(list)
        for message in window.received:
            per_channel[message.channel].append(message.publish)
        for channel, names in per_channel.items():
            runs[window.kind == "ssubscribe", channel].append((window, names))
    return runs


def _publisher_runs(history):
    """Per (shard, channel): per publisher the publishes in their order."""
    runs = collections.defaultdict(lambda: collections.defaultdict(list))
    for publish in sorted(history.publishes, key=lambda p: p.seq):
        runs[publish.shard, publish.channel][publish.publisher].append(publish)
    return runs


def _order(history, windows):
    by_publisher = _publisher_runs(history)
    for channel, runs in _runs(windows).items():
        edges = collections.defaultdict(set)
        for _, names in runs:
            _chain(edges, names)
        for publishes in by_publisher[channel].values():
            _chain(edges, [p.name for p in publishes])
        stuck = _cycle(edges)
        if stuck:
            yield Violation("order", f"{channel[1]!r}: no single order has all of {sorted(stuck)[:6]} ...")


def _chain(edges, names):
    for earlier, later in zip(names, names[1:]):
        edges[earlier].add(later)


def _cycle(edges):
    """The nodes that are part of, or behind, a cycle."""
    incoming = collections.Counter(later for laters in edges.values() for later in laters)
    nodes = set(edges) | set(incoming)
    ready = [n for n in nodes if not incoming[n]]
    while ready:
        node = ready.pop()
        nodes.discard(node)
        for later in edges.get(node, ()):
            incoming[later] -= 1
            if not incoming[later]:
                ready.append(later)
    return nodes


def _realtime(windows, published):
    for runs in _runs(windows).values():
        for window, names in runs:
            latest = None
            for publish in (published[name] for name in names):
                if latest and publish.end_ns < latest.start_ns:
                    yield Violation("realtime", f"{window}: {publish} was answered before {latest} began, "
                                                f"yet comes after it")
                if latest is None or publish.start_ns > latest.start_ns:
                    latest = publish


def _arrival(history):
    for stream in history.streams:
        latest = {}
        for event in stream.events:
            if isinstance(event, Message):
                publisher, seq = event.publish
                if seq < latest.get(publisher, -1):
                    yield Violation("arrival", f"{stream.name}: {event} after {publisher}:{latest[publisher]}")
                latest[publisher] = max(seq, latest.get(publisher, -1))


def _hole(history, windows):
    by_publisher = _publisher_runs(history)
    for channel, runs in _runs(windows).items():
        whole = max((names for _, names in runs), key=len)
        places = {name: place for place, name in enumerate(whole)}
        is_whole = all(name in places for _, names in runs for name in names)
        for window, names in runs:
            if is_whole and places[names[-1]] - places[names[0]] != len(names) - 1:
                yield Violation("hole", f"{window}: shows {len(names)} messages of {channel[1]!r} where another "
                                        f"subscriber saw {places[names[-1]] - places[names[0]] + 1}")
            yield from _publisher_holes(window, names, by_publisher[channel])


def _publisher_holes(window, names, publishers):
    got = collections.defaultdict(list)
    for publisher, seq in names:
        got[publisher].append(seq)
    for publisher, seqs in got.items():
        present = set(seqs)
        missing = [p for p in publishers[publisher]
                   if seqs[0] < p.seq < seqs[-1] and p.seq not in present and p.count is not None]
        if missing:
            yield Violation("hole", f"{window}: {missing[0]} is missing between {publisher}:{seqs[0]} and "
                                    f"{publisher}:{seqs[-1]}")


def _lost(history, windows):
    answered = [p for p in history.publishes if p.count is not None]
    for window in windows:
        if window.stream.closed_ns < FOREVER:
            continue
        got = {message.publish for message in window.received}
        for publish in answered:
            if (publish.start_ns > window.confirmed_ns and publish.end_ns < window.end_asked_ns
                    and publish.name not in got and window.matches(publish)):
                yield Violation("lost", f"{window}, confirmed and not ended: {publish}")


def _count(history, windows):
    copies = collections.Counter(message.publish for window in windows for message in window.received)
    interested = collections.defaultdict(list)
    for publish in history.publishes:
        if publish.count is None:
            continue
        channel = publish.shard, publish.channel
        if channel not in interested:
            interested[channel] = [w for w in windows if w.matches(publish)]
        yield from _check_publish_count(publish, interested[channel], copies[publish.name])


def _check_publish_count(publish, windows, copies):
    certain = possible = hidden = 0
    for window in windows:
        closed_ns = window.stream.closed_ns
        if window.asked_ns <= publish.end_ns and window.end_confirmed_ns >= publish.start_ns:
            possible += 1
            hidden += closed_ns < FOREVER
        if window.confirmed_ns <= publish.start_ns and min(window.end_asked_ns, closed_ns) >= publish.end_ns:
            certain += 1
    if not certain <= publish.count <= possible:
        yield Violation("count", f"{publish}: between {certain} and {possible} subscriptions were there")
    elif not copies <= publish.count <= copies + hidden:
        yield Violation("exact", f"{publish}: {copies} copies arrived, at most {hidden} more are unseen")
