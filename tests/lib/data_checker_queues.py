"""data_checker_queues: consumer groups, queues and deadlines, for lib.data_checker.

  group     delivered   an acknowledged entry was handed to a consumer, and in the end nothing is pending
            twice       `>` hands an entry out once
            acked       nothing is handed out after its XACK was answered, and one XACK takes it
            count       what XPENDING says of deliveries never falls, is at least what consumers had got before and at most
                        what they may have got
            unknown     what is handed out was added, unchanged, under that id
            asleep      as below, for XREADGROUP
  pop       twice       an element goes to one client, or stays, or was moved, never two of these
            lost        it does so at least, but for as many as clients that had gone may have taken
            unknown     what is popped was pushed
            executed    and not refused
            asleep      nobody is told that there is nothing where there is something all the time, nor waits in vain when
                        something came long before its time was over (in a fault, who waits may)
  expiry    early       a key is there until its time is over
            late        and not a good while after that
            risen       once it has been seen to be gone it stays gone
            linear      before that it holds what was written
"""

import collections

from .data_history import FOREVER, INFO
from .history import Violation
from .wait import SCALE

EARLY_NS = 3_000_000
"""Deadlines are in whole milliseconds, of another clock than ours."""

ASLEEP_NS = int(600_000_000 * SCALE)
"""So long after something came, a client that waits for it has it, unless something is wrong."""

HELD_NS = int(20_000_000_000 * SCALE)
"""So long after the end of its node a client's place may still be served."""

LATE_NS = 150_000_000
"""So long after its end by our clock a key is certainly gone: no two clocks of a cluster under test differ by as much."""


# ---- group ----

def group_violations(key, ops, finals):
    """Of one stream with one group."""
    added = {op.result: op for op in ops if op.kind == "xadd" and op.is_ok}
    maybe_added = {op.value for op in ops if op.kind == "xadd" and op.outcome == INFO}
    handed = [(row[0], row[1], op) for op in ops if op.kind in ("read", "claim") and op.is_ok for row in op.result]
    yield from _handed(key, added, maybe_added, handed)
    yield from _acked(key, ops, handed)
    yield from _counts(key, ops, handed)
    got = {entry for entry, _, _ in handed}
    for entry, op in added.items():
        if entry not in got:
            yield Violation("delivered", f"{key}: never: {op}")
    for final in finals:
        if final.is_ok and final.kind == "pending" and final.result:
            yield Violation("delivered", f"{key} on {final.node}: in the end {final.result[:5]} are pending")


def _handed(key, added, maybe_added, handed):
    first = {}
    for entry, value, op in handed:
        if entry in added:
            if added[entry].value != value:
                yield Violation("unknown", f"{key}: {entry} is {value!r}, not {added[entry]}")
        elif value not in maybe_added:
            yield Violation("unknown", f"{key}: {entry} {value!r} in {op}")
        if op.kind == "read":
            if entry in first:
                yield Violation("twice", f"{key}: {entry} in {first[entry]} and {op}")
            first[entry] = op
    yield from _reads_in_order(key, {op.start_ns: op for op in first.values()}.values())


def _reads_in_order(key, reads):
    """A group's last id only rises: what is read later is newer."""
    latest, entry_of = None, lambda op: tuple(map(int, op.result[-1][0].split("-")))
    by_end = sorted(reads, key=lambda op: op.end_ns)
    place = 0
    for op in sorted(by_end, key=lambda op: op.start_ns):
        while place < len(by_end) and by_end[place].end_ns < op.start_ns:
            if latest is None or entry_of(by_end[place]) > entry_of(latest):
                latest = by_end[place]
            place += 1
        if latest is not None and entry_of(latest) >= tuple(map(int, op.result[0][0].split("-"))):
            yield Violation("twice", f"{key}: {op} goes back behind {latest}")


def _acked(key, ops, handed):
    taken = {}
    for op in ops:
        if op.kind == "ack" and op.is_ok and op.result:
            if op.value in taken:
                yield Violation("acked", f"{key}: twice: {taken[op.value]} and {op}")
            taken[op.value] = op
    for entry, _, op in handed:
        if entry in taken and taken[entry].end_ns < op.start_ns:
            yield Violation("acked", f"{key}: {entry} in {op} after {taken[entry]}")
    for op in ops:
        if op.kind == "pending" and op.is_ok:
            for entry, count in op.result:
                if entry in taken and taken[entry].end_ns < op.start_ns:
                    yield Violation("acked", f"{key}: {entry} ({count}) is pending in {op} after {taken[entry]}")


def _counts(key, ops, handed):
    deliveries = collections.defaultdict(list)
    for entry, _, op in handed:
        deliveries[entry].append(op)
    doubtful = [op for op in ops if op.kind in ("read", "claim") and op.outcome == INFO]
    told = collections.defaultdict(list)
    for op in ops:
        if op.kind == "pending" and op.is_ok:
            for entry, count in op.result:
                told[entry].append((op, count))
                least = sum(d.end_ns < op.start_ns for d in deliveries[entry])
                most = sum(d.start_ns < op.end_ns for d in deliveries[entry]) + \
                    sum(d.start_ns < op.end_ns for d in doubtful)
                if not max(least, 1) <= count <= most:
                    yield Violation("count", f"{key}: {entry} was delivered {count} times, {least} to {most} are right: {op}")
    for entry, rows in told.items():
        for (before, low), (after, high) in zip(rows, rows[1:]):
            if before.end_ns < after.start_ns and high < low:
                yield Violation("count", f"{key}: {entry} falls from {low} in {before} to {high} in {after}")


# ---- pop ----

def pop_violations(key, ops, finals):
    """Of one queue. Finals: `rest` is what is still in it, `moved` what BLMOVE and its like have put elsewhere."""
    pushed = {op.value: op for op in ops if op.kind == "push"}
    taken = collections.defaultdict(list)
    for op in ops:
        if op.kind == "pop" and op.is_ok and op.result is not None:
            taken[op.result].append(op)
    one = {}
    for final in (f for f in finals if f.is_ok):
        one.setdefault(final.kind, final)
    for final in one.values():
        for value in final.result:
            taken[value].append(final)
    for value, takers in taken.items():
        if len(takers) > 1:
            yield Violation("twice", f"{key}: {value!r} in " + " and ".join(map(str, takers[:3])))
        if value not in pushed:
            yield Violation("unknown", f"{key}: {value!r} in {takers[0]}")
        elif not pushed[value].is_possible:
            yield Violation("executed", f"{key}: {pushed[value]}, then {takers[0]}")
    yield from _moved(key, ops, one.get("moved"))
    if "rest" in one:
        yield from _lost(key, ops, pushed, taken)


def _moved(key, ops, moved):
    there = set(moved.result) if moved else set()
    for op in ops:
        if op.kind == "move" and op.is_ok and op.result is not None and op.result not in there:
            yield Violation("lost", f"{key}: not where it was moved: {op}")


def _lost(key, ops, pushed, taken):
    """A client that has gone, or got no answer, may have taken one: its connection's end does not tell."""
    doubtful = sum(op.kind == "pop" and op.outcome == INFO for op in ops)
    missing = [op for op in pushed.values() if op.is_ok and op.value not in taken]
    if len(missing) > doubtful:
        yield Violation("lost", f"{key}: {len(missing)} elements, {doubtful} clients may have taken one each: "
                                f"{missing[0]}")


# ---- who waits ----

def asleep_violations(history):
    """Of all queues and groups. A client that had gone, or whose node had, may have held an element for a while that
    was put back then: near those nothing is said."""
    for work, stays in (("pop", _stays_in_queue), ("group", _stays_in_group)):
        for key, ops in history.of(work).items():
            asking = [op for op in ops if op.kind in ("pop", "move", "read")]
            holders = [op for op in asking if op.outcome == INFO]
            there = sorted(stays(ops), key=lambda row: row[0])
            for op in asking:
                if op.is_ok and not op.result and _saw_something(op, there, holders, history.faults):
                    yield Violation("asleep", f"{key}: something was there: {op}")


def _stays_in_queue(ops):
    """[(from when, to when an element certainly was there), ...]"""
    taken = {op.result: op.start_ns for op in ops if op.kind in ("pop", "move") and op.is_ok and op.result}
    return [(op.known_ns, taken.get(op.value, FOREVER)) for op in ops if op.kind == "push" and op.is_ok]


def _stays_in_group(ops):
    """The same for entries that no XREADGROUP has handed out."""
    taken = {}
    for op in ops:
        if op.kind == "read" and op.is_ok:
            for entry, _ in op.result:
                taken[entry] = min(op.start_ns, taken.get(entry, FOREVER))
    return [(op.known_ns, taken.get(op.result, FOREVER)) for op in ops if op.kind == "xadd" and op.is_ok]


def _saw_something(op, there, holders, faults):
    """Was something there before it began, or, if it waits, long before its end; until after it? Who waits may be told in a
    fault that there is nothing: it is the entry node that says so, where nobody leads."""
    is_patient = str(op.value).startswith("B")
    if is_patient and any(f.start_ns < op.end_ns and f.end_ns > op.start_ns for f in faults):
        return False
    by_ns = max(op.start_ns, op.end_ns - ASLEEP_NS) if is_patient else op.start_ns
    since_ns = next((begin for begin, end in there if begin < by_ns and end > op.end_ns), None)
    return since_ns is not None and not any(
        h.start_ns < op.end_ns and h.end_ns + (ASLEEP_NS if h.left else HELD_NS) > since_ns for h in holders)


# ---- expiry ----

def expiry_violations(key, ops, finals):
    """Of one key, which lives once: one SET with a deadline by one client, who may then change the deadline; readers."""
    changes = [op for op in ops if op.kind in ("set", "expire", "persist") and op.is_possible]
    gone = None
    for op in sorted((o for o in ops + finals if o.kind == "get" and o.is_ok), key=lambda o: o.start_ns):
        if op.result is None:
            text = _too_early(changes, op)
            if text:
                yield Violation("early", f"{key}: {text}: {op}")
            if changes and changes[0].known_ns < op.start_ns and (gone is None or op.end_ns < gone.end_ns):
                gone = op
            continue
        if not changes or op.result != changes[0].value[0] or op.end_ns < changes[0].start_ns:
            yield Violation("linear", f"{key}: {op}")
        if gone is not None and gone.end_ns < op.start_ns:
            yield Violation("risen", f"{key}: gone in {gone}, there in {op}")
        deadline_ns = _latest(changes, op)
        if deadline_ns + LATE_NS < op.start_ns:
            yield Violation("late", f"{key}: over since {deadline_ns}: {op}")


def _ttl_ns(op):
    """None: for ever."""
    if op.kind == "persist":
        return FOREVER
    return (op.value[1] if op.kind == "set" else op.value) * 1_000_000


def _in_force(changes, read):
    """Those that may hold when a read is made: the last that certainly was, and all that may have come after it."""
    certain = [c for c in changes if c.known_ns < read.start_ns and c.result not in (0,)]
    last = max(certain, key=lambda c: c.start_ns, default=None)
    after = [c for c in changes if c.start_ns < read.end_ns and (last is None or c.start_ns > last.start_ns)
             and not (c.is_ok and c.result == 0)]
    return ([last] if last else []), after


def _too_early(changes, read):
    """Why the key must still be there; None: it need not."""
    certain, after = _in_force(changes, read)
    if not certain:
        return None
    earliest_ns = min(c.start_ns + _ttl_ns(c) for c in certain + after)
    if read.end_ns < earliest_ns - EARLY_NS:
        return f"there until {earliest_ns}"
    return None


def _latest(changes, read):
    """By when the key is gone at the latest."""
    certain, after = _in_force(changes, read)
    if not certain and not after:
        return FOREVER
    return max(min(c.known_ns, c.end_ns if c.is_ok else FOREVER) + _ttl_ns(c) for c in certain + after)
