"""data_checker: decides from what all clients wrote down whether durable data kept its promises.

Rules, by workload:
  append    lost        an acknowledged append is in the last read of every node (told by place: front, middle, end)
            duplicate   nothing is there twice
            executed    nothing is there that was refused
            unknown     nor what nobody appended
            order       appends are in the order in which they followed one another in time or on a connection
            answer      the length (the id) that an append was answered with is its place
  txn       the same, and G1a G1b incompatible internal G0 G1c G2 realtime: lib.data_serial
  register  linear      SET, GET and compare-and-set by WATCH have an order that explains all answers
            abort       an EXEC was aborted though nobody wrote the key
  counter   counted     each number is given once, in the order of time, and the last is that of the increments
  pair      torn        two keys that are always written together are always equal
            linear      and their common value is linearizable
  group     lib.data_checker_queues
  pop       likewise
  expiry    likewise
  all       diverge     all nodes give the same last read
            answer      nothing is answered with another error than one that says "not done" or "perhaps"
            doubt       without a fault, or with one that spares the clients of this node, nothing is refused, in doubt
                        or without an answer
"""

import collections

from .data_checker_queues import asleep_violations, expiry_violations, group_violations, pop_violations
from .data_history import FAIL, FOREVER, INFO, OK, short
from .data_linear import ANY, KEPT, Step, Undecided, find_stuck
from .data_serial import cycle_violation
from .history import Violation

SHOWN_PER_KEY = 5
"""So many violations of one rule are told of one key; the rest would say the same."""


def violations(history):
    """All violations found."""
    found = list(_answers(history)) + list(_doubts(history)) + list(_diverging(history)) + list(_aborts(history))
    found += _limited(asleep_violations(history))
    for work, judge in JUDGES.items():
        finals = history.finals_of(work)
        ops = history.of(work)
        for key in sorted(set(ops) | set(finals)):
            found += _limited(judge(key, ops.get(key, []), finals.get(key, [])))
    return found


def _limited(found):
    told = collections.Counter()
    for violation in found:
        told[violation.rule] += 1
        if told[violation.rule] <= SHOWN_PER_KEY:
            yield violation


# ---- all workloads ----

def _answers(history):
    for op in history.ops + history.finals:
        if op.outcome not in (OK, FAIL, INFO):
            yield Violation("answer", f"{op}")


def _doubts(history):
    answered_ns = {}  # of a connection: when it last worked
    for op in history.ops:
        if op.outcome not in (FAIL, INFO):
            answered_ns[op.client] = max(op.end_ns, answered_ns.get(op.client, 0))
    for op in history.ops:
        if op.outcome not in (FAIL, INFO) or op.left:
            continue
        since_ns = op.start_ns if op.error else min(op.start_ns, answered_ns.get(op.client, 0))
        faults = [f for f in history.faults if f.start_ns <= op.end_ns and f.end_ns >= since_ns]
        if not faults:
            yield Violation("doubt", f"nothing was wrong: {op}")
        elif all((f.spares or f.planned) and f.node != op.node for f in faults):
            yield Violation("doubt", f"{', '.join(f'{f.kind} {f.node}' for f in faults)} spares this node: {op}")


def _diverging(history):
    first = {}
    for op in history.finals:
        if not op.is_ok:
            yield Violation("diverge", f"no last read: {op}")
            continue
        one = first.setdefault((op.work, op.key, op.kind), op)
        if one.result != op.result:
            yield Violation("diverge", f"{op.key}: {one.node} has {short(one.result)}, {op.node} {short(op.result)}")


def _aborts(history):
    """redis-server aborts what was watched while it read its data: a fault of the client's own node excuses it."""
    for key, ops in history.of("register").items():
        aborted = [op for op in ops if op.kind == "cas" and op.is_ok and not op.result]
        writes = [op for op in ops if op.kind in ("set", "cas") and op.is_possible and op not in aborted]
        for op in aborted:
            watched_ns = op.value[2]
            if not any(w.start_ns <= op.end_ns and w.known_ns >= watched_ns for w in writes) and not any(
                    f.node in (op.node, "all") and f.start_ns <= op.end_ns and f.end_ns >= watched_ns
                    for f in history.faults):
                yield Violation("abort", f"{key}, watched at {watched_ns}: {op}")


# ---- append ----

def _append(key, ops, finals):
    """`finals`: list: [value, ...], stream: [[id, value], ...]."""
    for final in (f for f in finals if f.is_ok):
        is_stream = final.kind == "stream"
        values = [row[1] for row in final.result] if is_stream else final.result
        yield from _judge_values(f"{key} on {final.node}", ops, values)
        places = {value: place for place, value in enumerate(values)}
        for op in ops:
            if not op.is_ok or op.value not in places:
                continue
            right = final.result[places[op.value]][0] if is_stream else places[op.value] + 1
            if op.result != right:
                yield Violation("answer", f"{key} on {final.node} has it as {right}: {op}")


def _judge_values(where, ops, values):
    """lost, duplicate, executed, unknown, order: for appends of single values to one list."""
    by_value = {op.value: op for op in ops}
    places = {}
    for place, value in enumerate(values):
        if value in places:
            yield Violation("duplicate", f"{where} at {places[value]} and {place}: {by_value.get(value, value)}")
        places.setdefault(value, place)
        if value not in by_value:
            yield Violation("unknown", f"{where}: {value!r}")
        elif not by_value[value].is_possible:
            yield Violation("executed", f"{where}: {by_value[value]}")
    yield from _lost(where, ops, places)
    yield from _order(where, [by_value[v] for v in values if v in by_value])


def _lost(where, ops, places):
    acknowledged = sorted((op for op in ops if op.is_ok), key=lambda op: op.end_ns)
    there = [number for number, op in enumerate(acknowledged) if op.value in places]
    for number, op in enumerate(acknowledged):
        if op.value not in places:
            place = "all" if not there else "front" if number < there[0] else "end" if number > there[-1] else "middle"
            yield Violation("lost", f"{where}, at the {place}: {op}")


def _order(where, ops):
    """`ops` as they are in the list: none may have ended before one to the left of it began, nor been sent before it on
    the same connection."""
    earliest = None
    later_of = {}
    for op in reversed(ops):
        if earliest is not None and earliest.known_ns < op.start_ns:
            yield Violation("order", f"{where}: {op} is before {earliest}")
        follower = later_of.get(op.client)
        if follower is not None and follower.start_ns < op.start_ns:
            yield Violation("order", f"{where}, one connection: {op} is before {follower}")
        if follower is None or op.start_ns < follower.start_ns:
            later_of[op.client] = op
        if earliest is None or op.known_ns < earliest.known_ns:
            earliest = op


# ---- txn ----

class _Part:
    """One append of a transaction, as an operation of its own."""

    def __init__(self, txn, value):
        self.txn, self.value = txn, value
        self.client, self.start_ns, self.known_ns, self.end_ns = txn.client, txn.start_ns, txn.known_ns, txn.end_ns
        self.is_ok, self.is_possible = txn.is_ok, txn.is_possible

    def __str__(self):
        return f"{self.value} of {self.txn}"


def _txn(_key, ops, finals):
    finals = [f for f in finals if f.is_ok]
    if not finals:
        return
    everything = ops + finals
    orders = {}
    for txn in everything:
        for (action, key, *_), got in zip(txn.value, txn.result or ()):
            if action == "read" and txn.is_ok and len(got) >= len(orders.get(key, ())):
                orders[key] = got
    found = list(_txn_lists(ops, orders)) + list(_txn_reads(everything, orders))
    yield from found
    if not found:
        seen = {value for order in orders.values() for value in order}
        took_place = [t for t in everything if t.is_ok or (t.is_possible and _shows(t, seen))]
        yield from cycle_violation(took_place, orders)


def _shows(txn, seen):
    return any(action[0] == "append" and action[2] in seen for action in txn.value)


def _txn_lists(ops, orders):
    parts = collections.defaultdict(list)
    for txn in ops:
        for action in txn.value:
            if action[0] == "append":
                parts[action[1]].append(_Part(txn, action[2]))
        if txn.is_ok:
            yield from _lengths(txn, orders)
        elif txn.is_possible:
            yield from _halves(txn, orders)
    for key, appended in parts.items():
        for violation in _judge_values(key, appended, orders.get(key, [])):
            yield Violation("G1a" if violation.rule == "executed" else violation.rule, violation.text)


def _lengths(txn, orders):
    for (action, key, *rest), got in zip(txn.value, txn.result):
        order = orders.get(key, [])
        if action == "append" and rest[0] in order and order.index(rest[0]) + 1 != got:
            yield Violation("answer", f"{rest[0]} is number {order.index(rest[0]) + 1} of {key}: {txn}")


def _halves(txn, orders):
    """All or nothing."""
    there = {action[2]: action[2] in orders.get(action[1], ()) for action in txn.value if action[0] == "append"}
    if len(set(there.values())) > 1:
        yield Violation("torn", f"of {there}: {txn}")


def _txn_reads(txns, orders):
    together = {}
    for txn in txns:
        for action in txn.value:
            if action[0] == "append":
                together[action[2]] = txn
    for txn in (t for t in txns if t.is_ok):
        own = {}
        for (action, key, *rest), got in zip(txn.value, txn.result):
            if action == "append":
                own[key] = own[key] + rest if own.get(key) is not None else None
                continue
            order = orders.get(key, [])
            if got != order[:len(got)]:
                yield Violation("incompatible", f"{key} is {short(order)}, not the begin of it: {txn}")
            elif own.get(key) is not None and own[key] != got:
                yield Violation("internal", f"{key} should be {short(own[key])} in {txn}")
            elif got and len(got) < len(order) and together.get(got[-1]) is not txn and \
                    together.get(got[-1]) is together.get(order[len(got)], txn):
                yield Violation("G1b", f"{key} was read half way through {together[got[-1]]}: {txn}")
            own[key] = list(got)


# ---- register, pair ----

def _register(key, ops, finals):
    ops = ops + finals
    writes = {"set": lambda op: op.value, "cas": lambda op: op.value[1]}
    shown = _first_shown(ops)
    steps = []
    for op in ops:
        if op.kind in writes and not (op.kind == "cas" and op.is_ok and not op.result):
            step = _write_step(op, writes[op.kind](op), shown)
            if isinstance(step, Violation):
                yield step
            elif step:
                steps.append(step)
        elif op.kind == "get" and op.is_ok:
            steps.append(Step(op.start_ns, op.end_ns, op.result, KEPT, op))
    yield from _linear(key, steps)


def _first_shown(ops):
    """When a value had been seen by somebody: {value: end_ns}."""
    shown = {}
    for op in ops:
        seen = op.result if op.kind == "get" and op.is_ok else op.value[0] if op.kind == "cas" and op.is_ok and op.result \
            else None
        if seen is not None:
            shown[seen] = min(shown.get(seen, FOREVER), op.end_ns)
    return shown


def _write_step(op, written, shown):
    """A step, a Violation, or None for what explains nothing."""
    seen = op.value[0] if op.kind == "cas" else ANY
    if op.is_ok:
        return Step(op.start_ns, op.end_ns, seen, written, op)
    if written not in shown:
        return None
    if not op.is_possible:
        return Violation("executed", f"{op} was seen")
    return Step(op.start_ns, shown[written], seen, written, op)


def _linear(key, steps):
    try:
        stuck = find_stuck(steps)
    except Undecided as exc:
        yield Violation("undecided", f"{key}: {exc}")
        return
    if stuck:
        yield Violation("linear", f"{key}: no order explains " + "; ".join(map(str, stuck[:6])))


def _pair(key, ops, finals):
    ops = ops + finals
    shown = {}
    for op in ops:
        if op.kind == "get2" and op.is_ok:
            if op.result[0] != op.result[1]:
                yield Violation("torn", f"{key}: {op}")
            shown[op.result[0]] = min(shown.get(op.result[0], FOREVER), op.end_ns)
            shown[op.result[1]] = min(shown.get(op.result[1], FOREVER), op.end_ns)
    steps = []
    for op in ops:
        if op.kind == "get2" and op.is_ok:
            steps.append(Step(op.start_ns, op.end_ns, op.result[0], KEPT, op))
        elif op.kind == "set2":
            step = _write_step(op, op.value, shown)
            if isinstance(step, Violation):
                yield step
            elif step:
                steps.append(step)
    yield from _linear(key, steps)


# ---- counter ----

def _counter(key, ops, finals):
    answered = sorted((op for op in ops if op.is_ok), key=lambda op: op.start_ns)
    doubtful = sum(op.outcome == INFO for op in ops)
    by_number = {}
    for op in answered:
        if op.result in by_number:
            yield Violation("counted", f"{key}: the same number twice: {by_number[op.result]} and {op}")
        by_number[op.result] = op
    yield from _falling(key, answered)
    for final in (f for f in finals if f.is_ok):
        if not len(answered) <= final.result <= len(answered) + doubtful:
            yield Violation("counted", f"{key} on {final.node} is {final.result} after {len(answered)} increments and "
                                       f"{doubtful} in doubt")
        if any(not 1 <= number <= final.result for number in by_number):
            yield Violation("counted", f"{key} on {final.node} is {final.result}, {max(by_number)} was given")


def _falling(key, answered):
    """Sorted by begin; the greatest number known when one began must be below its own."""
    by_end = sorted(answered, key=lambda op: op.end_ns)
    place, greatest = 0, None
    for op in answered:
        while place < len(by_end) and by_end[place].end_ns < op.start_ns:
            if greatest is None or by_end[place].result > greatest.result:
                greatest = by_end[place]
            place += 1
        if greatest is not None and greatest.result >= op.result:
            yield Violation("counted", f"{key}: {op} comes after {greatest}")


JUDGES = {
    "append": _append,
    "txn": _txn,
    "register": _register,
    "counter": _counter,
    "pair": _pair,
    "group": group_violations,
    "pop": pop_violations,
    "expiry": expiry_violations,
}
