"""checker: decides from what all clients wrote down whether a cluster kept its promises.

Words: a *window* is one subscription of one connection (to a channel, pattern or shard channel), from its confirmation
to the confirmation of its end. A publish *took place* if it was answered with a count or somebody received it whose
connection the server did not close: an owner that dies may have shown its last, unanswered messages to its own clients.

Rules:
  confirm    confirmations answer the requests in order, with the right kind, name and count
  unknown    every message was published, there, after the publish had begun, and matches the subscription
  stray      no message outside a window (P4); `early`: nor before its confirmation
  duplicate  no message twice in a window (P5)
  executed   what was answered CLUSTERDOWN is never delivered (P5)
  answer     a publish is answered with a count, INDOUBT or CLUSTERDOWN, nothing else
  order      per channel, all windows fit into one order, and it extends each publisher's order (P3)
  realtime   that order also extends time: an answered publish comes before one that began later; a window shows
             nothing of what was over before it was asked for (P3, P4)
  lost       a window of an open connection shows all that certainly took place between its begin and end (P4, P5);
             so a publish in doubt reaches all or nobody, or connections end
  gap        so does a window of a closed connection, up to the last message that it shows
  count      a count is that of the copies that arrived, and at most of those more that closed connections may
             have lost; without faults, also at least the subscriptions that were certain (P2)
  planned    in joins, drains and moves no publish fails and no connection of another node's client ends (P8); after
             a crash that spares them no connection of another node's client ends
"""

import bisect
import collections
import dataclasses

from .checker_history import (CLUSTERDOWN, END_OF, FOREVER, INDOUBT, SUBSCRIBES, UNKNOWN, WAY_OF, Asked, Confirmed,
                              Delivered, Refused)
from .checker_order import Order
from .history import Violation, glob_matches

SHOWN_PER_CHANNEL = 5
"""So many violations of one rule are told of one channel; the rest would say the same."""


class Window:
    """One subscription of one connection."""

    def __init__(self, stream, kind, name, asked_ns):
        self.stream, self.kind, self.name, self.asked_ns = stream, kind, name, asked_ns
        self.confirmed_ns = self.end_asked_ns = self.end_confirmed_ns = FOREVER
        self.is_refused = False
        self.received = collections.defaultdict(dict)  # channel -> ids, in the order of arrival

    def wants(self, channel, shard):
        """Does this subscription want what is published there?"""
        if shard != (self.kind == "ssubscribe"):
            return False
        return glob_matches(self.name, channel) if self.kind == "psubscribe" else self.name == channel

    def __str__(self):
        return f"{self.stream.name}@{self.stream.node} {self.kind} {self.name.decode('latin-1')}"


class View:
    """A window as one channel sees it: what lib.checker_order asks for."""

    def __init__(self, window, channel):
        self.window = window
        self.seen = list(window.received.get(channel, ()))
        self.asked_ns, self.confirmed_ns = window.asked_ns, window.confirmed_ns
        self.end_asked_ns, self.end_confirmed_ns = window.end_asked_ns, window.end_confirmed_ns
        self.is_confirmed = self.confirmed_ns < FOREVER
        self.has_end = self.end_confirmed_ns < FOREVER
        self.is_closed = window.stream.closed_by is not None
        self.is_hidden = self.is_closed or window.is_refused  # may have been counted without showing it
        # A server may have closed the connection long before its client saw it.
        self.until_ns = 0 if window.stream.closed_by == "server" else min(window.end_asked_ns, window.stream.closed_ns)

    def is_in_force(self, publish):
        """Certainly, and all the time of the publish?"""
        return self.confirmed_ns <= publish.start_ns and publish.end_ns <= self.until_ns


@dataclasses.dataclass
class Channel:
    """What concerns one channel (or one shard channel)."""

    name: bytes
    shard: bool
    publishes: list
    views: list

    def __str__(self):
        return ("shard channel " if self.shard else "channel ") + self.name.decode("latin-1")


def violations(history, allow_early=False):
    """All violations found, in the order of the rules. `allow_early`: messages may come before the confirmation."""
    found, windows = [], []
    for stream in history.streams:
        replay = _Replay(stream, allow_early)
        windows += replay.run()
        found += replay.found
    published = {p.id: p for p in history.publishes}
    found += _unknown(history, published)
    if any(v.rule in ("confirm", "unknown", "stray") for v in found):
        return found  # the rules below rely on those
    first_seen = _first_seen(history)
    survived = set(_first_seen(history, lambda stream: stream.closed_by != "server"))
    found += _outcomes(history, first_seen)
    for channel in _channels(history, windows):
        found += _judge_channel(channel, first_seen, survived)
        found += _counts(channel, history)
    found += _planned(history)
    return found


# ---- the streams ----

class _Replay:
    """Follows one connection through its confirmations."""

    def __init__(self, stream, allow_early):
        self.stream = stream
        self.allow_early = allow_early
        self.waiting = collections.deque()
        self.coming = {}  # windows that show messages before their confirmation
        self.open = {}
        self.windows = []
        self.found = []

    def run(self):
        """Replay all; returns the windows."""
        for event in self.stream.events:
            if isinstance(event, Delivered):
                self._delivered(event)
            elif isinstance(event, Asked):
                self.waiting.append(event)
            elif isinstance(event, Confirmed):
                self._confirmed(event)
            else:
                self._refused(event)
        self._finish()
        return self.windows

    def _note(self, rule, text):
        self.found.append(Violation(rule, f"{self.stream.name}@{self.stream.node}: {text}"))

    def _delivered(self, event):
        key = WAY_OF[event.way], event.name
        window = self.open.get(key) or self._early(key, event)
        if window is None:
            self._note("stray", f"{event} without a subscription")
            return
        ids = window.received[event.channel]
        if event.id in ids:
            self._note("duplicate", f"{event} again, by {window}")
        ids[event.id] = event.at_ns

    def _early(self, key, event):
        if key not in self.coming:
            request = next((r for r in self.waiting if (r.kind, r.name) == key), None)
            if request is None:
                return None
            self.coming[key] = self._window(request)
            if not self.allow_early:
                self._note("early", f"{event} before the confirmation")
        return self.coming[key]

    def _window(self, request):
        window = Window(self.stream, request.kind, request.name, request.at_ns)
        self.windows.append(window)
        return window

    def _confirmed(self, event):
        request = self.waiting.popleft() if self.waiting else None
        if request is None or (request.kind, request.name) != (event.kind, event.name):
            self._note("confirm", f"{event} answers {request}")
            return
        key = event.kind, event.name
        if event.kind in SUBSCRIBES:
            window = self.coming.pop(key, None)
            if key not in self.open:
                self.open[key] = window or self._window(request)
                self.open[key].confirmed_ns = event.at_ns
        else:
            base = next(b for b, end in END_OF.items() if end == event.kind)
            window = self.open.pop((base, event.name), None)
            if window:
                window.end_asked_ns, window.end_confirmed_ns = request.at_ns, event.at_ns
        self._check_count(event)

    def _check_count(self, event):
        shard = event.kind in ("ssubscribe", "sunsubscribe")
        expected = sum((kind == "ssubscribe") == shard for kind, _ in self.open)
        if event.count != expected:
            self._note("confirm", f"{event} should count {expected}")

    def _refused(self, event):
        if not self.waiting:
            self._note("confirm", f"{event} answers nothing")
            return
        request = self.waiting.popleft()
        if not event.error.startswith(CLUSTERDOWN):
            self._note("confirm", f"{request} was answered {event.error!r}")
        key = request.kind, request.name
        if request.kind in SUBSCRIBES and key not in self.open:
            window = self.coming.pop(key, None) or self._window(request)
            window.is_refused = True
            window.end_asked_ns, window.end_confirmed_ns = request.at_ns, event.at_ns

    def _finish(self):
        for request in self.waiting:
            key = request.kind, request.name
            if request.kind not in SUBSCRIBES:
                base = next(b for b, end in END_OF.items() if end == request.kind)
                window = self.open.pop((base, request.name), None)
                if window:
                    window.end_asked_ns = request.at_ns
            elif key not in self.open and key not in self.coming:
                self._window(request)
        if self.waiting and self.stream.closed_by is None:
            self._note("confirm", f"never answered {self.waiting[0]}")


def _unknown(history, published):
    for stream in history.streams:
        for event in stream.events:
            if isinstance(event, Delivered):
                text = _why_unknown(event, published.get(event.id))
                if text:
                    yield Violation("unknown", f"{stream.name}@{stream.node}: {event} {text}")


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


# ---- the channels ----

def _first_seen(history, among=lambda stream: True):
    """Per publish when it first arrived anywhere, or on one of those connections."""
    first = {}
    for stream in filter(among, history.streams):
        for event in stream.events:
            if isinstance(event, Delivered) and event.at_ns < first.get(event.id, FOREVER):
                first[event.id] = event.at_ns
    return first


def _outcomes(history, first_seen):
    for publish in history.publishes:
        if publish.outcome == CLUSTERDOWN and publish.id in first_seen:
            yield Violation("executed", f"was answered CLUSTERDOWN and delivered: {publish}")
        if not publish.is_counted and publish.outcome not in (INDOUBT, CLUSTERDOWN, UNKNOWN):
            yield Violation("answer", f"{publish}")


def _channels(history, windows):
    publishes = collections.defaultdict(list)
    for publish in history.publishes:
        publishes[publish.shard, publish.channel].append(publish)
    plain = collections.defaultdict(list)
    patterns = []
    for window in windows:
        if window.kind == "psubscribe":
            patterns.append(window)
        else:
            plain[window.kind == "ssubscribe", window.name].append(window)
    for (shard, name), of_channel in sorted(publishes.items()):
        wanting = plain[shard, name] + [w for w in patterns if w.wants(name, shard)]
        yield Channel(name, shard, of_channel, [View(w, name) for w in wanting])


def _judge_channel(channel, first_seen, survived):
    took_place = [p for p in channel.publishes if p.is_counted or p.id in survived]
    judged = {p.id for p in took_place}
    for view in channel.views:
        view.seen = [i for i in view.seen if i in judged]
    known_ns = {}
    for publish in took_place:
        answered_ns = publish.end_ns if publish.is_counted else FOREVER
        known_ns[publish.id] = min(answered_ns, first_seen.get(publish.id, FOREVER))
    order = Order(took_place, channel.views)
    order.add_time(known_ns)
    cycle = order.sort()
    if cycle:
        yield _cycle_violation(channel, order, cycle)
        return
    told = collections.Counter()
    for view in channel.views:
        for publish in order.missing(view):
            rule = "gap" if view.is_closed else "lost"
            told[rule] += 1
            if told[rule] <= SHOWN_PER_CHANNEL:
                yield Violation(rule, f"{view.window}, from {view.confirmed_ns} to {view.end_asked_ns}, did not "
                                      f"show {publish}")


def _cycle_violation(channel, order, cycle):
    chains = order.cycle_of_chains()
    rule, cycle = ("order", chains) if chains else ("realtime", cycle)
    shown = [f"{p.id} (by {p.connection}@{p.node}, {p.start_ns} to {p.end_ns})"
             for p in (order.messages[n] for n in order.message_numbers(cycle)[:6])]
    return Violation(rule, f"{channel}: no one order has " + " before ".join(shown + shown[:1]))


# ---- the counts ----

def _counts(channel, history):
    published = {p.id: p for p in channel.publishes}
    copies = collections.Counter(i for view in channel.views for i in view.seen)
    hidden = [view for view in channel.views if view.is_hidden]
    shown = collections.Counter(i for view in hidden for i in view.seen)
    shown_surely = collections.Counter(i for view in hidden for i in view.seen if view.is_in_force(published[i]))
    spans = _Spans(hidden, history.linger_ns)
    unplanned = _Times([f for f in history.faults if not f.planned])
    told = 0
    for publish in channel.publishes:
        if not publish.is_counted or told >= SHOWN_PER_CHANNEL:
            continue
        low = copies[publish.id]
        high = low + spans.possible(publish) - shown[publish.id]
        if not unplanned.touch(publish.start_ns, publish.end_ns):
            low += spans.certain(publish) - shown_surely[publish.id]
        if not low <= publish.outcome <= high:
            told += 1
            yield Violation("count", f"{copies[publish.id]} copies arrived, between {low} and {high} are right: "
                                     f"{publish}")


class _Spans:
    """When windows were in force, to be counted quickly."""

    def __init__(self, views, linger_ns):
        self.asked = sorted(v.asked_ns for v in views)
        self.over = sorted(min(v.end_confirmed_ns, v.window.stream.closed_ns + linger_ns) for v in views)
        self.sure = sorted((v.confirmed_ns, max(v.until_ns, v.confirmed_ns)) for v in views if v.is_confirmed)
        self.confirmed = [confirmed_ns for confirmed_ns, _ in self.sure]
        self.until = sorted(until_ns for _, until_ns in self.sure)

    def possible(self, publish):
        """Windows that may have been in force at some time of the publish."""
        return bisect.bisect_right(self.asked, publish.end_ns) - bisect.bisect_left(self.over, publish.start_ns)

    def certain(self, publish):
        """Windows that were in force all the time of the publish."""
        begun = bisect.bisect_right(self.confirmed, publish.start_ns)
        meanwhile = self.sure[begun:bisect.bisect_left(self.confirmed, publish.end_ns)]
        came_and_went = sum(until_ns < publish.end_ns for _, until_ns in meanwhile)
        return begun - (bisect.bisect_left(self.until, publish.end_ns) - came_and_went)


# ---- the faults ----

class _Times:
    """Stretches of time of some faults."""

    def __init__(self, faults):
        self.stretches = [(f.start_ns, f.end_ns + (0 if f.planned or f.spares else AFTERMATH_NS)) for f in faults]

    def touch(self, start_ns, end_ns):
        """Does any of them have a moment in common with this one?"""
        return any(start <= end_ns and end >= start_ns for start, end in self.stretches)


AFTERMATH_NS = 3_000_000_000
"""A connection between nodes that a fault has broken may be noticed only by its silence, when all is well again."""


def _planned(history):
    any_crash = _Times([f for f in history.faults if not f.planned])
    rough = _Times([f for f in history.faults if not f.planned and not f.spares])
    own = collections.defaultdict(list)
    for fault in history.faults:
        own[fault.node].append(fault)
    own = {node: _Times(faults) for node, faults in own.items()}
    nothing = _Times([])
    for publish in history.publishes:
        if publish.is_counted or any_crash.touch(publish.start_ns, publish.end_ns):
            continue
        if publish.outcome == UNKNOWN and own.get(publish.node, nothing).touch(publish.start_ns, publish.end_ns):
            continue
        yield Violation("planned", f"no crash explains {publish}")
    for stream in history.streams:
        at_ns = stream.closed_ns
        if stream.closed_by == "server" and not (
                rough.touch(at_ns, at_ns) or own.get(stream.node, nothing).touch(at_ns, at_ns)):
            yield Violation("planned", f"{stream.name}@{stream.node}: its connection was closed at {at_ns}")
        for event in stream.events:
            if isinstance(event, Refused) and not any_crash.touch(event.at_ns, event.at_ns):
                yield Violation("planned", f"{stream.name}@{stream.node}: no crash explains {event}")
