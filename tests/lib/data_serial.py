"""data_serial: are transactions that append to lists and read them strictly serializable?

Adya's and Elle's words. The last reads give each list's order of elements, which are unique; so every read says between which
appends it was made. Edges between transactions:

  ww   one appended next after another
  wr   one read, as the last, what another had appended
  rw   one did not yet see what another appended next
  time one was answered before another began

A cycle of ww alone is G0, of ww and wr G1c, of all three G2, and one that only time closes is `realtime`.
"""

import bisect
import collections

from .history import Violation


def cycle_violation(txns, orders):
    """A list of at most one Violation. `txns` took place; `orders` gives the elements of each list in order."""
    graph = _Graph(txns, orders)
    for rule, kinds in (("G0", ("ww",)), ("G1c", ("ww", "wr")), ("G2", ("ww", "wr", "rw")),
                        ("realtime", ("ww", "wr", "rw", "time"))):
        cycle = graph.cycle(kinds)
        if cycle:
            shown = " before ".join(str(txns[n]) for n in cycle[:6] if n < len(txns))
            return [Violation(rule, f"no one order has: {shown} before the first")]
    return []


class _Graph:
    def __init__(self, txns, orders):
        self.txns = txns
        self.edges = {kind: collections.defaultdict(set) for kind in ("ww", "wr", "rw", "time")}
        self.count = len(txns)
        self.writer = {value: number for number, txn in enumerate(txns)
                       for action, key, value in _appends(txn)}
        self.orders = orders
        for values in orders.values():
            self._chain([self.writer[v] for v in values if v in self.writer])
        for number, txn in enumerate(txns):
            self._reads(number, txn)
        self._add_time()

    def _edge(self, kind, earlier, later):
        if earlier != later:
            self.edges[kind][earlier].add(later)

    def _chain(self, numbers):
        for earlier, later in zip(numbers, numbers[1:]):
            self._edge("ww", earlier, later)

    def _reads(self, number, txn):
        """Only what others appended counts; a list that this transaction had appended to before is its own matter."""
        if not txn.is_ok:
            return
        touched = set()
        for (action, key, *_), got in zip(txn.value, txn.result):
            if action == "append":
                touched.add(key)
            elif key not in touched:
                order = self.orders.get(key, [])
                if got and got[-1] in self.writer:
                    self._edge("wr", self.writer[got[-1]], number)
                if len(got) < len(order) and order[len(got)] in self.writer:
                    self._edge("rw", number, self.writer[order[len(got)]])

    def _add_time(self):
        """By way of moments, a node each: what was known at one comes before what began after it."""
        moments = sorted({t.known_ns for t in self.txns if t.is_ok})
        first = self.count
        self.count += len(moments)
        for number in range(first, self.count - 1):
            self._edge("time", number, number + 1)
        for number, txn in enumerate(self.txns):
            if txn.is_ok:
                self._edge("time", number, first + bisect.bisect_left(moments, txn.known_ns))
            place = bisect.bisect_left(moments, txn.start_ns) - 1
            if place >= 0:
                self._edge("time", first + place, number)

    def cycle(self, kinds):
        """A cycle of edges of these kinds, as short as a walk finds it; or None."""
        incoming = collections.Counter()
        out = collections.defaultdict(set)
        for kind in kinds:
            for earlier, laters in self.edges[kind].items():
                out[earlier] |= laters
        for laters in out.values():
            incoming.update(laters)
        ready = [n for n in range(self.count) if not incoming[n]]
        while ready:
            for later in out.get(ready.pop(), ()):
                incoming[later] -= 1
                if not incoming[later]:
                    ready.append(later)
        stuck = {n for n, left in incoming.items() if left > 0}
        return _shortest(out, stuck) if stuck else None


def _shortest(out, stuck):
    """The shortest cycle through one of the first of those in or behind cycles."""
    best = None
    for start in sorted(stuck)[:200]:
        found = _back_to(out, stuck, start)
        if found and (best is None or len(found) < len(best)):
            best = found
    return best or _any_cycle(out, stuck)


def _back_to(out, stuck, start):
    before = {start: None}
    line = collections.deque([start])
    while line:
        node = line.popleft()
        for later in out.get(node, ()):
            if later == start:
                path = []
                while node is not None:
                    path.append(node)
                    node = before[node]
                return path[::-1]
            if later in stuck and later not in before:
                before[later] = node
                line.append(later)
    return None


def _any_cycle(out, stuck):
    before = {later: node for node in stuck for later in out.get(node, ()) if later in stuck}
    node, met, path = next(iter(before)), {}, []
    while node not in met:
        met[node] = len(path)
        path.append(node)
        node = before[node]
    return path[met[node]:][::-1]


def _appends(txn):
    return [action for action in txn.value if action[0] == "append"]
