"""The judge is judged: a clean history passes, and each planted fault is found under its own rule."""

import copy

import pytest

from lib.history import Confirmation, History, Message, Publish, Request, Stream, violations

CHANNELS = (b"c1", b"c2")


def clean_history():
    """Two publishers, two channels; one stream that sees all, one that comes and goes, one pattern, one shard channel.

    Time runs in steps: publish number n takes place from 100 n to 100 n + 50, and is delivered at 100 n + 60.
    """
    history = History()
    whole, part, pattern, shard = (Stream(name) for name in ("whole", "part", "pattern", "shard"))
    history.streams = [whole, part, pattern, shard]
    subscribe(whole, "subscribe", [b"c1", b"c2"], 10)
    subscribe(pattern, "psubscribe", [b"c*"], 10)
    subscribe(shard, "ssubscribe", [b"c1"], 10)
    seqs = {"p": 0, "q": 0}
    for step in range(1, 41):
        publisher, channel, is_shard = "pq"[step % 2], CHANNELS[step // 2 % 2], step % 5 == 0
        if is_shard:
            channel = b"c1"
        now = step * 100
        if step == 11:
            subscribe(part, "subscribe", [b"c1"], now - 40)
        if step == 31:
            unsubscribe(part, "unsubscribe", [b"c1"], now - 40)
        receivers = deliver(history, step, (publisher, seqs[publisher]), channel, is_shard, now + 60)
        history.publishes.append(Publish(publisher, seqs[publisher], channel, now, now + 50, receivers, is_shard))
        seqs[publisher] += 1
    unsubscribe(whole, "unsubscribe", [b"c1", b"c2"], 9000)
    unsubscribe(pattern, "punsubscribe", [b"c*"], 9000)
    unsubscribe(shard, "sunsubscribe", [b"c1"], 9000)
    return history


def subscribe(stream, kind, names, at_ns):
    """Ask at `at_ns`, hear the confirmation 5 later."""
    for number, name in enumerate(names, 1):
        stream.requests.append(Request(kind, name, at_ns))
        stream.events.append(Confirmation(kind, name, number, at_ns + 5))


def unsubscribe(stream, kind, names, at_ns):
    """The same for the end."""
    for number, name in enumerate(names, 1):
        stream.requests.append(Request(kind, name, at_ns))
        stream.events.append(Confirmation(kind, name, len(names) - number, at_ns + 5))


def deliver(history, step, publish, channel, is_shard, at_ns):
    """Hand a message to all who want it; returns how many."""
    whole, part, pattern, shard = history.streams
    if is_shard:
        shard.events.append(Message("smessage", channel, channel, publish, at_ns))
        return 1
    whole.events.append(Message("message", channel, channel, publish, at_ns))
    pattern.events.append(Message("pmessage", b"c*", channel, publish, at_ns))
    if channel == b"c1" and 11 <= step < 31:
        part.events.append(Message("message", channel, channel, publish, at_ns))
        return 3
    return 2


def messages(stream, channel=None):
    """Places of the messages (of a channel) in the events of a stream."""
    return [n for n, e in enumerate(stream.events) if isinstance(e, Message) and channel in (None, e.channel)]


def swap(stream, first, second):
    """Exchange two events; both get the later time."""
    events = stream.events
    events[first], events[second] = events[second], events[first]
    events[first].at_ns = events[second].at_ns = max(events[first].at_ns, events[second].at_ns)


def plant_swap_within_publisher(history):
    """The pattern stream shows two messages of one publisher and channel exchanged."""
    stream = history.streams[2]
    places = [n for n in messages(stream, b"c1") if stream.events[n].publish[0] == "p"]
    swap(stream, places[3], places[4])


def plant_two_orders(history):
    """Two streams disagree on two concurrent publishes of different publishers."""
    stream = history.streams[2]
    first, second = [n for n in messages(stream, b"c1")][4:6]
    assert stream.events[first].publish[0] != stream.events[second].publish[0]
    overlap(history, stream.events[first].publish, stream.events[second].publish)
    swap(stream, first, second)


def overlap(history, one, two):
    """Make two publishes concurrent, so that either order is right."""
    both = [p for p in history.publishes if p.name in (one, two)]
    start_ns, end_ns = min(p.start_ns for p in both), max(p.end_ns for p in both)
    for publish in both:
        publish.start_ns, publish.end_ns = start_ns, end_ns


def plant_backwards_in_time(history):
    """All streams agree on an order in which an answered publish follows a later one."""
    one, two = history.publishes[27], history.publishes[28]
    assert one.channel == two.channel and one.publisher != two.publisher
    for stream in history.streams[:3]:
        places = {stream.events[n].publish: n for n in messages(stream)}
        swap(stream, places[one.name], places[two.name])


def plant_arrival(history):
    """One stream sees two neighbours of one publisher, of different channels, exchanged."""
    stream = history.streams[0]
    first, second = next((a, b) for a, b in zip(messages(stream), messages(stream)[1:])
                         if stream.events[a].publish[0] == stream.events[b].publish[0])
    assert stream.events[first].channel != stream.events[second].channel
    swap(stream, first, second)


def plant_hole(history):
    """A window of a connection that died misses one message in its middle."""
    stream = history.streams[1]
    stream.closed_ns = 3070
    del stream.events[-1], stream.requests[-1]
    place = messages(stream)[3]
    del stream.events[place]


def plant_lost_first(history):
    """The first message after the confirmation is missing."""
    stream = history.streams[1]
    del stream.events[messages(stream)[0]]


def plant_lost_last(history):
    """The last message before the unsubscribe is missing."""
    stream = history.streams[1]
    del stream.events[messages(stream)[-1]]


def plant_duplicate(history):
    """A message comes twice."""
    stream = history.streams[0]
    place = messages(stream)[5]
    stream.events.insert(place, copy.copy(stream.events[place]))


def plant_stray_after_unsubscribe(history):
    """A message comes after the confirmation of the unsubscribe."""
    stream = history.streams[1]
    last = messages(stream)[-1]
    stream.events[last], stream.events[last + 1] = stream.events[last + 1], stream.events[last]


def plant_stray_before_confirmation(history):
    """A message overtakes the confirmation of its subscription."""
    stream = history.streams[1]
    stream.events[0], stream.events[1] = stream.events[1], stream.events[0]


def plant_unknown(history):
    """A message that nobody sent."""
    stream = history.streams[0]
    stream.events[messages(stream)[2]].publish = ("nobody", 1)


def plant_wrong_channel(history):
    """A message under the name of another channel."""
    stream = history.streams[0]
    message = stream.events[messages(stream, b"c1")[2]]
    message.channel = message.name = b"c2"


def plant_clairvoyance(history):
    """A message before its publish."""
    stream = history.streams[0]
    message = stream.events[messages(stream)[2]]
    message.at_ns = next(p for p in history.publishes if p.name == message.publish).start_ns - 1


def plant_low_count(history):
    """PUBLISH forgets a receiver."""
    next(p for p in history.publishes if p.count == 3).count = 2


def plant_high_count(history):
    """PUBLISH invents a receiver."""
    next(p for p in history.publishes if p.count == 2).count = 3


def plant_inexact_count(history):
    """A subscription is being made meanwhile: counted, yet not served."""
    publish = next(p for p in history.publishes if p.channel == b"c1" and not p.shard and p.count == 2)
    history.streams[1].requests[0].sent_ns = publish.start_ns
    publish.count = 3


def plant_confirm_count(history):
    """A confirmation counts wrong."""
    history.streams[0].events[1].count = 1


def plant_confirm_order(history):
    """Confirmations come in another order than the requests."""
    events = history.streams[0].events
    events[0].name, events[1].name = events[1].name, events[0].name


def plant_confirm_missing(history):
    """A confirmation never comes."""
    del history.streams[0].events[-1]


FAULTS = {
    plant_swap_within_publisher: {"order", "realtime", "arrival"},
    plant_two_orders: {"order"},
    plant_backwards_in_time: {"realtime"},
    plant_arrival: {"arrival"},
    plant_hole: {"hole"},
    plant_lost_first: {"lost", "exact"},
    plant_lost_last: {"lost", "exact"},
    plant_duplicate: {"duplicate", "exact", "order", "hole"},
    plant_stray_after_unsubscribe: {"stray"},
    plant_stray_before_confirmation: {"stray"},
    plant_unknown: {"unknown"},
    plant_wrong_channel: {"unknown"},
    plant_clairvoyance: {"unknown"},
    plant_low_count: {"count"},
    plant_high_count: {"count"},
    plant_inexact_count: {"exact"},
    plant_confirm_count: {"confirm"},
    plant_confirm_order: {"confirm", "stray"},
    plant_confirm_missing: {"confirm"},
}


def test_a_clean_history_has_no_violation():
    assert not violations(clean_history())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__[len("plant_"):].replace("_", " "))
def test_a_planted_fault_is_found_under_its_rule_and_no_other(fault):
    history = clean_history()
    fault(history)
    assert {v.rule for v in violations(history)} == FAULTS[fault], fault.__doc__


def test_a_subscriber_that_dies_may_miss_the_end_and_nothing_else():
    history = clean_history()
    stream = history.streams[1]
    stream.closed_ns = 3070
    del stream.events[-3:], stream.requests[-1]
    assert not violations(history)


def test_an_unanswered_publish_may_arrive_or_not():
    for arrives in (True, False):
        history = clean_history()
        publish = history.publishes[-1]
        assert not publish.shard or publish.channel == b"c1"
        publish.count, publish.end_ns = None, float("inf")
        if not arrives:
            for stream in history.streams:
                stream.events = [e for e in stream.events if getattr(e, "publish", None) != publish.name]
        assert not violations(history)
