"""The judge is judged: right histories pass, and every kind of planted fault is found under its own rule.

The histories are made by a small model of a right cluster: every message and every begin and end of a subscription has
one moment in the order; what clients see of it comes later, in that order per connection.
"""

import copy
import os
import random
import time

import pytest

from lib.checker import violations
from lib.checker_history import (CLUSTERDOWN, END_OF, FOREVER, INDOUBT, UNKNOWN, Asked, Confirmed, Delivered, Fault,
                                 History, Publish, Refused, Stream)
from lib.starved import AFTER_NS, KIND, STARVED_NS, WINDOW_NS, Starvation, waits_of
from lib.wait import SCALE

CHANNELS = [b"a1", b"a2", b"b1"]
SHARD_CHANNELS = [b"a1", b"s"]
PATTERNS = [b"a*", b"*"]
NODES = ["n0", "n1", "n2"]
SEEDS = range(25)


class Model:
    """A right cluster, for one seed."""

    def __init__(self, seed, publishes=150, visitors=8, crash=False):
        self.rng = random.Random(seed)
        self.end_ns = publishes * 100
        self.is_crash = crash
        self.history = History()
        self.moments = {}  # publish id -> when it was ordered; absent: never
        self.last = {}  # connection -> when its last publish was ordered and answered
        self.windows = []  # (stream, base, name, begin, end)
        if crash:
            self.history.faults.append(Fault("pause", "n1", self.end_ns // 3, self.end_ns * 2 // 3))
        for number in range(publishes):
            self._publish(number)
        for number in range(visitors + 2):
            self._connection(number, is_anchor=number < 2)
        for publish in self.history.publishes:
            if publish.is_counted:
                publish.outcome = sum(self._wants(w, publish) for w in self.windows)

    def _publish(self, number):
        rng = self.rng
        connection = rng.randrange(4)
        start_ns = number * 100 + rng.randrange(50)
        shard = rng.random() < 0.2
        channel = rng.choice(SHARD_CHANNELS if shard else CHANNELS)
        publish = Publish(number, f"p{connection}", NODES[connection % 3], channel, shard, start_ns,
                          start_ns + rng.randrange(2, 400), 0)
        ordered_ns, answered_ns = self.last.get(connection, (0, 0))
        publish.end_ns = max(publish.end_ns, ordered_ns + 2, answered_ns)
        self.moments[number] = rng.randrange(max(start_ns, ordered_ns) + 1, publish.end_ns)
        self.last[connection] = self.moments[number], publish.end_ns
        if self.is_crash and self.end_ns // 3 < start_ns < self.end_ns * 2 // 3 and rng.random() < 0.3:
            publish.outcome = rng.choice([INDOUBT, CLUSTERDOWN, UNKNOWN])
            if publish.outcome == CLUSTERDOWN or rng.random() < 0.5:
                del self.moments[number]
        self.history.publishes.append(publish)

    def _wants(self, window, publish):
        _, base, name, begin, end = window
        if (base == "ssubscribe") != publish.shard or not begin < self.moments.get(publish.id, -1) < end:
            return False
        return publish.channel.startswith(name[:-1]) if base == "psubscribe" else name == publish.channel

    def _connection(self, number, is_anchor):
        rng = self.rng
        stream = Stream(f"s{number}", NODES[number % 3])
        self.history.streams.append(stream)
        close_ns = FOREVER
        if not is_anchor and rng.random() < 0.3:
            by = rng.choice(["server", "client"]) if self.is_crash and stream.node == "n1" else "client"
            middle = (self.end_ns // 3, self.end_ns * 2 // 3)
            close_ns = rng.randrange(*middle) if by == "server" else rng.randrange(self.end_ns)
            stream.close(by, close_ns)
        requests = self._anchor_requests() if is_anchor else self._visitor_requests()
        asked = sorted(r for r in requests if r[0] < close_ns)
        self._arrive(stream, self._serve(stream, asked), close_ns)

    def _anchor_requests(self):
        """(when, kind, name): everything, from beginning to end."""
        for base, names in (("subscribe", CHANNELS), ("ssubscribe", SHARD_CHANNELS)):
            for name in names:
                yield self.rng.randrange(20), base, name
                yield self.end_ns + 1000 + self.rng.randrange(20), END_OF[base], name

    def _visitor_requests(self):
        rng = self.rng
        for base, names in (("subscribe", CHANNELS), ("psubscribe", PATTERNS), ("ssubscribe", SHARD_CHANNELS)):
            for name in rng.sample(names, rng.randint(0, len(names))):
                clock = rng.randrange(self.end_ns // 2)
                for _ in range(rng.randint(1, 3)):
                    yield clock, base, name
                    clock += rng.randrange(500, self.end_ns // 3)
                    yield clock, END_OF[base], name
                    clock += rng.randrange(1, 1000)

    def _serve(self, stream, requests):
        """What the server does about them, and all deliveries: (moment, event without its time)."""
        rng = self.rng
        steps, begun, done_ns = [], {}, 0
        for asked_ns, kind, name in requests:
            steps.append((asked_ns, Asked(kind, name, 0)))
            done_ns = max(done_ns + 1, asked_ns + rng.randrange(1, 200))
            in_crash = self.is_crash and self.end_ns // 3 < asked_ns < self.end_ns // 2
            if in_crash and kind in END_OF and rng.random() < 0.2:
                steps.append((done_ns, Refused("CLUSTERDOWN no", 0)))
                continue
            steps.append((done_ns, Confirmed(kind, name, 0, 0)))
            if kind in END_OF:
                begun[kind, name] = done_ns
                continue
            base = next(b for b in END_OF if END_OF[b] == kind)
            if (base, name) in begun:
                self._deliver(steps, (stream, base, name, begun.pop((base, name)), done_ns))
        for (base, name), begin in begun.items():  # the connection ends first
            self._deliver(steps, (stream, base, name, begin, stream.closed_ns))
        return steps

    def _deliver(self, steps, window):
        self.windows.append(window)
        _, base, name, _, _ = window
        way = {"subscribe": "message", "psubscribe": "pmessage", "ssubscribe": "smessage"}[base]
        for publish in self.history.publishes:
            if self._wants(window, publish):
                steps.append((self.moments[publish.id], Delivered(way, name, publish.channel, publish.id, 0)))

    def _arrive(self, stream, steps, close_ns):
        """What the server does comes later to the client; what the client asks is where it is."""
        at_ns, subscribed = 0, set()
        steps.sort(key=lambda step: step[0])
        for moment, event in steps:
            if isinstance(event, Asked):
                event.at_ns = moment
            else:
                at_ns = event.at_ns = max(at_ns + 1, moment + self.rng.randrange(1, 60))
                if isinstance(event, Confirmed):
                    event.count = self._count(subscribed, event)
            stream.events.append(event)
        stream.events = [e for e in stream.events if e.at_ns <= close_ns]
        stream.events.sort(key=lambda event: event.at_ns)

    @staticmethod
    def _count(subscribed, event):
        if event.kind in END_OF:
            subscribed.add((event.kind, event.name))
        else:
            subscribed.discard((next(b for b in END_OF if END_OF[b] == event.kind), event.name))
        shard = event.kind in ("ssubscribe", "sunsubscribe")
        return sum((kind == "ssubscribe") == shard for kind, _ in subscribed)


@pytest.mark.parametrize("crash", [False, True], ids=["calm", "a crash"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_right_history_has_no_violation(seed, crash):
    found = violations(Model(seed, crash=crash).history)
    assert not found, "\n".join(map(str, found[:10]))


# ---- planted faults: each changes a right history, or says that it cannot (then another seed is taken) ----

class Unfit(Exception):
    """This history has no place for the fault."""


def pick(rng, items):
    """One of them, if there is any."""
    items = list(items)
    if not items:
        raise Unfit
    return rng.choice(items)


def spots(history, is_closed=False):
    """(stream, place) of all deliveries of connections that are, or are not, closed."""
    return [(s, n) for s in history.streams if (s.closed_by is not None) == is_closed
            for n, e in enumerate(s.events) if isinstance(e, Delivered)]


def by_id(history):
    """The publishes by their ids."""
    return {p.id: p for p in history.publishes}


def plain_publish(model, rng, least=1):
    """An answered publish that at least so many received."""
    return pick(rng, (p for p in model.history.publishes if p.is_counted and p.outcome >= least))


def plant_duplicate(model, rng):
    """The same message again."""
    stream, place = pick(rng, spots(model.history))
    stream.events.insert(place + 1, copy.copy(stream.events[place]))


def plant_lost(model, rng):
    """A message that a subscriber did not get, its connection open, the subscription certain."""
    published = by_id(model.history)
    certain = []
    for stream, place in spots(model.history):
        event = stream.events[place]
        publish = published[event.id]
        confirmed = [e for e in stream.events[:place] if isinstance(e, Confirmed) and e.name == event.name]
        ended = [e for e in stream.events[place:] if isinstance(e, Asked) and e.name == event.name]
        if confirmed and ended and publish.is_counted:
            if confirmed[-1].at_ns < publish.start_ns and publish.end_ns < ended[0].at_ns:
                certain.append((stream, place))
    stream, place = pick(rng, certain)
    model.lost = stream.events[place].id
    del stream.events[place]


def plant_lost_and_not_counted(model, rng):
    """Nor was it counted, so that the count does not tell."""
    plant_lost(model, rng)
    by_id(model.history)[model.lost].outcome -= 1


def runs(history, is_closed, least):
    """(stream, places of three or more deliveries by one subscription of one channel without a break)."""
    for stream in history.streams:
        if (stream.closed_by is not None) != is_closed:
            continue
        current = {}
        for place, event in enumerate(stream.events):
            if isinstance(event, Delivered):
                current.setdefault((event.way, event.name, event.channel), []).append(place)
            elif isinstance(event, Confirmed):
                yield from ((stream, places) for places in current.values() if len(places) >= least)
                current.clear()
        yield from ((stream, places) for places in current.values() if len(places) >= least)


def plant_hole(model, rng):
    """A subscriber misses one in the middle of what it saw; publishes were concurrent, only the order tells."""
    history = model.history
    for publish in history.publishes:
        publish.start_ns, publish.end_ns = 0, FOREVER if not publish.is_counted else model.end_ns * 2
    stream, places = pick(rng, runs(history, False, 3))
    if stream.name in ("s0", "s1"):
        raise Unfit
    middle = places[rng.randrange(1, len(places) - 1)]
    publish = by_id(history)[stream.events[middle].id]
    around = [stream.events[p].id for p in (places[places.index(middle) - 1], places[places.index(middle) + 1])]
    if not any(seen_between(other, publish.id, around) for other in history.streams if other is not stream):
        raise Unfit
    del stream.events[middle]
    if publish.is_counted:
        publish.outcome -= 1


def seen_between(stream, middle, around):
    """Did that connection see these three in order, by one subscription?"""
    ways = {(e.way, e.name) for e in stream.events if isinstance(e, Delivered)}
    for way in ways:
        ids = [e.id for e in stream.events if isinstance(e, Delivered) and (e.way, e.name) == way]
        if all(i in ids for i in [middle, *around]) and ids.index(around[0]) < ids.index(middle) < ids.index(around[1]):
            return True
    return False


def plant_gap(model, rng):
    """A connection that was closed later misses one in the middle."""
    published = by_id(model.history)
    stream, places = pick(rng, runs(model.history, True, 3))
    middle = places[1]
    before, publish, after = (published[stream.events[p].id] for p in places[:3])
    if not (publish.is_counted and after.start_ns > publish.end_ns and publish.start_ns > before.end_ns
            and before.is_counted):
        raise Unfit
    del stream.events[middle]


def plant_two_orders(model, rng):
    """Two subscribers see two concurrent messages in opposite orders."""
    history = model.history
    stream, places = pick(rng, runs(history, False, 2))
    published = by_id(history)
    spot = rng.randrange(len(places) - 1)
    one, two = (stream.events[p] for p in places[spot:spot + 2])
    if published[one.id].connection == published[two.id].connection:
        raise Unfit
    if not any(seen_between(other, two.id, [one.id, two.id]) or in_order(other, one.id, two.id)
               for other in history.streams if other is not stream):
        raise Unfit
    overlap(published[one.id], published[two.id])
    one.id, two.id = two.id, one.id
    one.at_ns = two.at_ns


def in_order(stream, one, two):
    """Did one subscription of that connection see both, in this order?"""
    for way in {(e.way, e.name) for e in stream.events if isinstance(e, Delivered)}:
        ids = [e.id for e in stream.events if isinstance(e, Delivered) and (e.way, e.name) == way]
        if one in ids and two in ids and ids.index(one) < ids.index(two):
            return True
    return False


def overlap(one, two):
    """Make two publishes concurrent."""
    start_ns, end_ns = min(one.start_ns, two.start_ns), max(one.end_ns, two.end_ns)
    one.start_ns = two.start_ns = start_ns
    one.end_ns = two.end_ns = end_ns


def plant_against_the_publisher(model, rng):
    """All subscribers see two of a publisher's messages in the wrong order."""
    one, two = pick(rng, ((a, b) for a in model.history.publishes for b in model.history.publishes
                          if a.connection == b.connection and a.id < b.id
                          and (a.channel, a.shard) == (b.channel, b.shard) and a.is_counted and b.is_counted
                          and a.outcome > 1 and a.outcome == b.outcome
                          and same_receivers(model.history, a.id, b.id)))
    overlap(one, two)
    exchange(model.history, one.id, two.id)


def plant_against_time(model, rng):
    """All subscribers see an answered publish after one that began later, of another publisher."""
    published = model.history.publishes
    one, two = pick(rng, ((a, b) for a in published for b in published
                          if a.connection != b.connection and (a.channel, a.shard) == (b.channel, b.shard)
                          and a.is_counted and b.is_counted and a.end_ns < b.start_ns < a.end_ns + 300
                          and a.outcome > 0 and same_receivers(model.history, a.id, b.id)))
    between = [p for p in published if (p.channel, p.shard) == (one.channel, one.shard)
               and model.moments.get(one.id, 0) < model.moments.get(p.id, -1) < model.moments[two.id]]
    if between:
        raise Unfit
    exchange(model.history, one.id, two.id)


def same_receivers(history, one, two):
    """Do the same subscriptions show both?"""
    shown = {one: [], two: []}
    for stream in history.streams:
        for event in stream.events:
            if isinstance(event, Delivered) and event.id in shown:
                shown[event.id].append((stream.name, event.way, event.name))
    return shown[one] == shown[two]


def exchange(history, one, two):
    """Every connection sees them the other way round, at the later time."""
    for stream in history.streams:
        events = [e for e in stream.events if isinstance(e, Delivered) and e.id in (one, two)]
        for event in events:
            event.at_ns = max(e.at_ns for e in events)
            event.id = two if event.id == one else one


def plant_stale(model, rng):
    """A new subscriber is shown what was answered before it asked, and everything after that."""
    history = model.history
    stream, place = pick(rng, ((s, n) for s in history.streams[2:] for n, e in enumerate(s.events)
                               if isinstance(e, Confirmed) and e.kind == "subscribe"))
    asked_ns = next(e.at_ns for e in reversed(stream.events[:place]) if isinstance(e, Asked)
                    and e.name == stream.events[place].name)
    name = stream.events[place].name
    earlier = [p for p in history.publishes if p.channel == name and not p.shard and p.end_ns < asked_ns]
    old = max(earlier, key=lambda p: model.moments[p.id], default=None)
    if old is None:
        raise Unfit
    old.connection = "alone"
    stream.events.insert(place + 1, Delivered("message", name, name, old.id, stream.events[place].at_ns))
    old.outcome += 1


def plant_stray(model, rng):
    """A message after the confirmation of the unsubscribe."""
    history = model.history
    stream, place = pick(rng, ((s, n) for s in history.streams for n, e in enumerate(s.events)
                               if isinstance(e, Confirmed) and e.kind == "unsubscribe"))
    end = stream.events[place]
    publish = pick(rng, (p for p in history.publishes if p.channel == end.name and not p.shard
                         and p.start_ns < end.at_ns and p.is_counted))
    stream.events.insert(place + 1, Delivered("message", end.name, end.name, publish.id, end.at_ns + 1))


def plant_early(model, rng):
    """A message before the confirmation of its subscription."""
    stream, place = pick(rng, ((s, n) for s in model.history.streams
                               for n, (e, f) in enumerate(zip(s.events, s.events[1:]))
                               if isinstance(e, Confirmed) and isinstance(f, Delivered) and e.name == f.name))
    events = stream.events
    events[place], events[place + 1] = events[place + 1], events[place]


def plant_executed(model, rng):
    """A message that was answered CLUSTERDOWN is delivered."""
    plain_publish(model, rng).outcome = CLUSTERDOWN


def plant_half_indoubt(model, rng):
    """A publish in doubt reaches some and not another, whose connection stays open."""
    plant_lost(model, rng)
    publish = by_id(model.history)[model.lost]
    seen = [e.at_ns for s in model.history.streams for e in s.events if isinstance(e, Delivered) and e.id == publish.id]
    if not seen or min(seen) > publish.end_ns:
        raise Unfit
    publish.outcome = INDOUBT
    model.history.faults.append(Fault("pause", "n1", 0))


def plant_answer(model, rng):
    """An answer that no publish has."""
    plain_publish(model, rng).outcome = "ERR no"


def plant_low_count(model, rng):
    """The count forgets one who received it."""
    plain_publish(model, rng).outcome -= 1


def plant_high_count(model, rng):
    """The count invents one."""
    model.history.streams = [s for s in model.history.streams if s.closed_by is None]
    publish = plain_publish(model, rng)
    publish.outcome = 40


def plant_high_count_long_after_a_close(model, rng):
    """A connection is counted that was closed long ago, by a bound that says how long that may be."""
    history = model.history
    history.linger_ns = 50
    publish = pick(rng, (p for p in history.publishes if p.is_counted and p.outcome
                         and all(p.start_ns > s.closed_ns + 50 for s in history.streams if s.closed_by)
                         and any(s.closed_by for s in history.streams)))
    publish.outcome += 1


def plant_uncounted_before_a_close(model, rng):
    """A subscriber that closed its connection later was neither counted nor served."""
    history = model.history
    published = by_id(history)
    stream, places = pick(rng, runs(history, True, 1))
    publish = published[stream.events[places[-1]].id]
    confirmed = [e.at_ns for e in stream.events[:places[-1]] if isinstance(e, Confirmed)]
    ended = [e for e in stream.events if isinstance(e, Asked) and e.kind in END_OF.values()]
    if ended or publish.end_ns > stream.closed_ns or confirmed[-1] > publish.start_ns or publish.outcome == 0:
        raise Unfit
    del stream.events[places[-1]]
    publish.outcome -= 1


def plant_unknown(model, rng):
    """A message that nobody sent."""
    stream, place = pick(rng, spots(model.history))
    stream.events[place].id = -1


def plant_wrong_channel(model, rng):
    """A message under the name of another channel."""
    stream, place = pick(rng, ((s, n) for s, n in spots(model.history) if s.events[n].way == "message"))
    event = stream.events[place]
    event.channel = event.name = b"a1" if event.channel != b"a1" else b"a2"


def plant_clairvoyance(model, rng):
    """A message before its publish."""
    stream, place = pick(rng, spots(model.history))
    by_id(model.history)[stream.events[place].id].start_ns = stream.events[place].at_ns + 1


def plant_confirm_count(model, rng):
    """A confirmation counts wrong."""
    pick(rng, (e for s in model.history.streams for e in s.events if isinstance(e, Confirmed))).count += 1


def plant_confirm_other(model, rng):
    """A confirmation of something else."""
    pick(rng, (e for s in model.history.streams for e in s.events if isinstance(e, Confirmed))).name = b"other"


def plant_confirm_missing(model, rng):
    """A confirmation that never comes on an open connection."""
    stream = pick(rng, (s for s in model.history.streams if s.closed_by is None and s.events))
    last = max(n for n, e in enumerate(stream.events) if isinstance(e, Confirmed))
    del stream.events[last]


def plant_failed_publish_in_a_drain(model, rng):
    """While a node is drained, a publish fails on another."""
    model.history.faults.append(Fault("drain", "n1", 0, planned=True))
    publish = pick(rng, (p for p in model.history.publishes if p.node != "n1" and p.outcome == 0))
    publish.outcome = pick(rng, [INDOUBT, CLUSTERDOWN])


def plant_lost_client_in_a_drain(model, rng):
    """While a node is drained, the connection of another node's client ends."""
    model.history.faults.append(Fault("drain", "n1", 0, planned=True))
    pick(rng, (s for s in model.history.streams if s.node != "n1" and s.closed_by)).closed_by = "server"


def plant_lost_client_in_a_kill(model, rng):
    """A node is killed, and the connection of another node's client ends."""
    model.history.faults.append(Fault("kill", "n1", 0, spares=True))
    pick(rng, (s for s in model.history.streams if s.node != "n1" and s.closed_by)).closed_by = "server"


def plant_failure_out_of_the_blue(model, rng):
    """Nothing was done to the cluster, and a publish is in doubt."""
    pick(rng, (p for p in model.history.publishes if p.outcome == 0)).outcome = INDOUBT


def plant_refusal_out_of_the_blue(model, rng):
    """Nothing was done to the cluster, and a subscription is refused."""
    stream = pick(rng, (s for s in model.history.streams if s.closed_by is None and s.events))
    at_ns = stream.events[-1].at_ns
    stream.events += [Asked("subscribe", b"x", at_ns), Refused("CLUSTERDOWN no", at_ns + 5)]


FAULTS = {
    plant_duplicate: "duplicate",
    plant_lost: "lost",
    plant_lost_and_not_counted: "lost",
    plant_hole: "lost",
    plant_gap: "gap",
    plant_two_orders: "order",
    plant_against_the_publisher: "order",
    plant_against_time: "realtime",
    plant_stale: "realtime",
    plant_stray: "stray",
    plant_early: "early",
    plant_executed: "executed",
    plant_half_indoubt: "lost",
    plant_answer: "answer",
    plant_low_count: "count",
    plant_high_count: "count",
    plant_high_count_long_after_a_close: "count",
    plant_uncounted_before_a_close: "count",
    plant_unknown: "unknown",
    plant_wrong_channel: "unknown",
    plant_clairvoyance: "unknown",
    plant_confirm_count: "confirm",
    plant_confirm_other: "confirm",
    plant_confirm_missing: "confirm",
    plant_failed_publish_in_a_drain: "planned",
    plant_lost_client_in_a_drain: "planned",
    plant_lost_client_in_a_kill: "planned",
    plant_failure_out_of_the_blue: "planned",
    plant_refusal_out_of_the_blue: "planned",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__[len("plant_"):].replace("_", " "))
def test_a_planted_fault_is_found(fault):
    planted = 0
    for seed in range(200):
        model = Model(seed)
        try:
            fault(model, random.Random(seed))
        except Unfit:
            continue
        planted += 1
        found = violations(model.history)
        assert FAULTS[fault] in {v.rule for v in found}, f"seed {seed}: {fault.__doc__} Found: {found[:5]}"
        if planted == 12:
            break
    assert planted >= 5, "too few histories had a place for this fault"


def test_a_message_before_the_confirmation_may_be_allowed():
    model = Model(3)
    plant_early(model, random.Random(3))
    assert not violations(model.history, allow_early=True)


def test_a_history_comes_back_from_the_disk_as_it_was(tmp_path):
    history = Model(5, crash=True).history
    history.save(tmp_path / "history")
    assert History.load(tmp_path / "history") == history


def test_some_hundred_thousand_deliveries_are_judged_in_seconds():
    model = Model(1, publishes=20000, visitors=12)
    assert model.history.deliveries() > 100000
    begin_s = time.process_time()
    assert not violations(model.history)
    assert time.process_time() - begin_s < 30 * SCALE


# ---- who was kept from running ----

def test_a_thread_that_waits_long_for_a_processor_starves_its_node_and_others_do_not():
    faults = []
    starvation = Starvation(faults)
    step_ns = WINDOW_NS // 20
    for step in range(100):
        waits = {"a": step * step_ns // 10, "b": STARVED_NS if step > 50 else 0}
        starvation.take("n1", step * step_ns, waits)
        starvation.take("n2", step * step_ns, {"a": step * step_ns // 10})
    assert [(f.kind, f.node, f.planned, f.spares) for f in faults] == [(KIND, "n1", False, False)]
    assert faults[0].start_ns <= 51 * step_ns - STARVED_NS and faults[0].end_ns <= 51 * step_ns + WINDOW_NS + step_ns + AFTER_NS


def test_the_kernel_says_how_long_threads_have_waited():
    assert str(os.getpid()) in waits_of(os.getpid())
    assert not waits_of(1 << 30)
