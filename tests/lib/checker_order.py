"""checker_order: all that is known about the order of one channel, as a graph.

Nodes are numbers: the channel's messages, moments of time, and the begin and end of each window (a subscription of
one connection that wants the channel). An edge says "certainly before":

  windows      a connection saw one message next after another
  publishers   a connection sent one after the other
  time         what was answered, delivered or confirmed at a moment, before what was started after that moment
  bounds       a window's begin before all it saw, all it saw before its end

A right history has a total order, so no cycle. And since a window takes everything between its begin and its end, a
message that is certainly after the one and certainly before the other must be in it.
"""

import bisect
import collections
import heapq


class Order:
    """The graph of one channel. `messages` are its publishes that took place; `seen` of a window its ids in order."""

    def __init__(self, messages, windows):
        self.messages = sorted(messages, key=lambda p: p.start_ns)
        self.windows = windows
        self.number = {p.id: n for n, p in enumerate(self.messages)}
        self.out = [[] for _ in self.messages]
        self.when = [p.start_ns for p in self.messages]
        self.begin, self.end = {}, {}
        self.chained = set()
        self.place = None
        self.sequence = None
        self._chain_windows()
        self._chain_publishers()
        self.chain_count = len(self.out)

    def _node(self, at_ns):
        self.out.append([])
        self.when.append(at_ns)
        return len(self.out) - 1

    def _chain(self, numbers):
        for earlier, later in zip(numbers, numbers[1:]):
            if (earlier, later) not in self.chained:
                self.chained.add((earlier, later))
                self.out[earlier].append(later)

    def _chain_windows(self):
        for window in self.windows:
            self._chain([self.number[i] for i in window.seen])

    def _chain_publishers(self):
        publishers = collections.defaultdict(list)
        for number, publish in sorted(enumerate(self.messages), key=lambda pair: pair[1].id):
            publishers[publish.connection].append(number)
        for numbers in publishers.values():
            self._chain(numbers)

    def add_time(self, known_ns):
        """Add moments, begins and ends. `known_ns[id]`: when it was certain that the message had been ordered."""
        for window in self.windows:
            self.begin[window] = self._node(window.asked_ns)
            if window.has_end:
                self.end[window] = self._node(window.end_asked_ns)
        after = [(self.begin[w], w.confirmed_ns) for w in self.windows if w.is_confirmed]
        after += [(self.end[w], w.end_confirmed_ns) for w in self.end]
        after += [(self.number[p.id], known_ns[p.id]) for p in self.messages if p.id in known_ns]
        before = list(enumerate(self.when))
        self._add_moments(after, before)
        for window in self.windows:
            numbers = [self.number[i] for i in window.seen]
            if numbers:
                self.out[self.begin[window]].append(numbers[0])
            if window in self.end:
                self.out[numbers[-1] if numbers else self.begin[window]].append(self.end[window])

    def _add_moments(self, after, before):
        moments = sorted({at_ns for _, at_ns in after})
        first = len(self.out)
        for at_ns in moments:
            self._node(at_ns)
        for number in range(first, len(self.out) - 1):
            self.out[number].append(number + 1)
        for node, at_ns in after:
            self.out[node].append(first + bisect.bisect_left(moments, at_ns))
        for node, at_ns in before:
            place = bisect.bisect_left(moments, at_ns) - 1
            if place >= 0:
                self.out[first + place].append(node)

    def sort(self):
        """Find one order that fits. Returns a cycle as numbers if there is none, else None."""
        incoming = _incoming(self.out)
        ready = [(self.when[n], n) for n, count in enumerate(incoming) if not count]
        heapq.heapify(ready)
        self.sequence = []
        while ready:
            _, node = heapq.heappop(ready)
            self.sequence.append(node)
            for later in self.out[node]:
                incoming[later] -= 1
                if not incoming[later]:
                    heapq.heappush(ready, (self.when[later], later))
        if len(self.sequence) < len(self.out):
            return self._cycle({n for n, count in enumerate(incoming) if count})
        self.place = [0] * len(self.out)
        for place, node in enumerate(self.sequence):
            self.place[node] = place
        return None

    def cycle_of_chains(self):
        """A cycle among what connections saw and sent alone, time left out; or None."""
        incoming = _incoming(self.out[:self.chain_count], self.chain_count)
        ready = [n for n, count in enumerate(incoming) if not count]
        while ready:
            for later in self.out[ready.pop()]:
                if later < self.chain_count:
                    incoming[later] -= 1
                    if not incoming[later]:
                        ready.append(later)
        stuck = {n for n, count in enumerate(incoming) if count}
        return self._cycle(stuck) if stuck else None

    def _cycle(self, stuck):
        """Each stuck node has a stuck one before it: walk back until one comes again."""
        before = {}
        for node in stuck:
            for later in self.out[node]:
                if later in stuck:
                    before.setdefault(later, node)
        path, node = [], next(iter(before))
        met = {}
        while node not in met:
            met[node] = len(path)
            path.append(node)
            node = before[node]
        return path[met[node]:][::-1]

    def message_numbers(self, nodes):
        """Those of the nodes that are messages."""
        return [n for n in nodes if n < len(self.messages)]

    def missing(self, window):
        """The publishes that this window must have shown and has not. After sort."""
        seen = {self.number[i] for i in window.seen}
        low = self.begin[window]
        if window in self.end:
            high = self.end[window]
        elif window.seen:
            high = self.number[window.seen[-1]]
        else:
            return []
        between = self.sequence[self.place[low] + 1:self.place[high]]
        suspects = [n for n in between if n < len(self.messages) and n not in seen]
        if not suspects:
            return []
        after = self._reached(low, between)
        certain = after & self._reaching(high, between)
        return [self.messages[n] for n in suspects if n in certain]

    def _reached(self, start, between):
        """Those of `between`, which is in order, that certainly come after start."""
        reached = {start}
        known = set(self.out[start])
        for node in between:
            if node in known:
                reached.add(node)
                known.update(self.out[node])
        return reached

    def _reaching(self, end, between):
        """Those of `between` that certainly come before end."""
        reaching = {end}
        for node in reversed(between):
            if not reaching.isdisjoint(self.out[node]):
                reaching.add(node)
        return reaching


def _incoming(out, limit=None):
    incoming = [0] * len(out)
    for laters in out:
        for later in laters:
            if limit is None or later < limit:
                incoming[later] += 1
    return incoming
