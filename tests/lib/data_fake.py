"""data_fake: a broker in memory, with a clock of its own, that can be told to lie. It judges the judges of durable data.

Store knows as many commands as lib.data_work uses. FakeSession is a connection to it: between a call, its one moment, and
its answer pass random times. VirtualLoop is an event loop on which waiting takes no time, so that hours pass in a moment
and a seed decides everything.
"""

import asyncio
import copy
import selectors

from .data_load import Lost
from .resp import RespError

INDOUBT = RespError("INDOUBT perhaps")
CLUSTERDOWN = RespError("CLUSTERDOWN certainly not")


class _Jump(selectors.SelectSelector):
    """Nothing ever arrives: waiting is over at once, and the clock has gone on."""

    loop = None

    def select(self, timeout=None):
        if timeout:
            self.loop.clock_s += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock that jumps to the next thing to do."""

    def __init__(self):
        self.clock_s = 1.0
        selector = _Jump()
        super().__init__(selector)
        selector.loop = self

    def time(self):
        return self.clock_s

    def now_ns(self):
        """The same clock, for histories; never the same moment twice."""
        self.clock_s += 1e-9
        return int(self.clock_s * 1e9)


class Store:
    """What a broker holds, and what it does about a command. A `lie` is asked first: lie(store, session, words) gives
    an answer, or NotImplemented to let the truth be told."""

    def __init__(self, loop, lie=None):
        self.loop = loop
        self.data = {}
        self.versions = {}
        self.ids = 0
        self.deadlines = {}
        self.lie = lie

    def run(self, session, words):
        """The answer to a command; None for a blocking one may mean that it waits."""
        if self.lie and (not session.is_multi or words[0] == "EXEC"):
            answer = self.lie(self, session, words)
            if answer is not NotImplemented:
                return answer
        return self.truth(session, words)

    def truth(self, session, words):
        """What a right broker does."""
        command = words[0].lower()
        if command in ("multi", "exec", "watch", "unwatch", "select"):
            return getattr(self, f"_{command}")(session, words)
        if session.is_multi:
            session.queued.append(words)
            return "QUEUED"
        return self.apply(session.db, words)

    def apply(self, db, words):
        """One data command on a database."""
        return getattr(self, f"_{words[0].lower()}")(db, *words[1:])

    is_deaf = staticmethod(lambda words: False)
    """Does a waiting command never look again?"""

    def pretend(self, session, words):
        """The answer that it would have been, and nothing done."""
        kept = self.data, self.versions, self.deadlines
        self.data, self.versions, self.deadlines = copy.deepcopy(kept)
        answer = self.truth(session, words)
        self.data, self.versions, self.deadlines = kept
        return answer

    def _of(self, db, key, kind=None):
        if self.deadlines.get((db, key), float("inf")) <= self.loop.time():
            self.data.pop((db, key), None)
            self.deadlines.pop((db, key), None)
        if kind is not None and (db, key) not in self.data:
            self.data[db, key] = kind()
        return self.data.get((db, key))

    def _touch(self, db, key):
        self.versions[db, key] = self.versions.get((db, key), 0) + 1

    # transactions

    @staticmethod
    def _select(session, words):
        session.db = words[1]
        return "OK"

    @staticmethod
    def _multi(session, _words):
        session.is_multi, session.queued = True, []
        return "OK"

    def _watch(self, session, words):
        session.watched[session.db, words[1]] = self.versions.get((session.db, words[1]), 0)
        return "OK"

    @staticmethod
    def _unwatch(session, _words):
        session.watched.clear()
        return "OK"

    def _exec(self, session, _words):
        watched, session.watched, session.is_multi = session.watched, {}, False
        if any(self.versions.get(key, 0) != version for key, version in watched.items()):
            return None
        return [self.apply(session.db, words) for words in session.queued]

    # strings

    def _set(self, db, key, value, *options):
        self.data[db, key] = value
        self.deadlines.pop((db, key), None)
        if options:
            self.deadlines[db, key] = self.loop.time() + options[1] / 1000
        self._touch(db, key)
        return "OK"

    def _get(self, db, key):
        value = self._of(db, key)
        return None if value is None else str(value).encode()

    def _mset(self, db, *words):
        for key, value in zip(words[::2], words[1::2]):
            self._set(db, key, value)
        return "OK"

    def _mget(self, db, *keys):
        return [self._get(db, key) for key in keys]

    def _incr(self, db, key):
        self.data[db, key] = (self._of(db, key) or 0) + 1
        return self.data[db, key]

    def _hincrby(self, db, key, field, step):
        fields = self._of(db, key, dict)
        fields[field] = fields.get(field, 0) + step
        return fields[field]

    _zincrby = lambda self, db, key, step, member: self._hincrby(db, key, member, step)

    def _hget(self, db, key, field):
        return self._of(db, key, dict).get(field)

    _zscore = _hget

    def _pexpire(self, db, key, ttl_ms):
        if self._of(db, key) is None:
            return 0
        self.deadlines[db, key] = self.loop.time() + ttl_ms / 1000
        return 1

    def _persist(self, db, key):
        self._of(db, key)
        return int(self.deadlines.pop((db, key), None) is not None)

    # lists, sets, sorted sets

    def _rpush(self, db, key, value):
        values = self._of(db, key, list)
        values.append(value.encode())
        return len(values)

    def _lpush(self, db, key, value):
        values = self._of(db, key, list)
        values.insert(0, value.encode())
        return len(values)

    def _zadd(self, db, key, _score, value):
        return self._rpush(db, key, value) and 1

    def _sadd(self, db, key, value):
        return self._rpush(db, key, value) and 1

    def _lrange(self, db, key, *_range):
        return list(self._of(db, key) or [])

    _zrange = _smembers = _lrange

    def _pop(self, db, key, place):
        values = self._of(db, key)
        return values.pop(place) if values else None

    def _lpop(self, db, key):
        return self._pop(db, key, 0)

    _spop = _lpop

    def _rpop(self, db, key):
        return self._pop(db, key, -1)

    def _zpopmin(self, db, key):
        value = self._pop(db, key, 0)
        return [value, b"1"] if value else []

    def _blpop(self, db, key, _wait):
        value = self._pop(db, key, 0)
        return [key.encode(), value] if value else None

    def _brpop(self, db, key, _wait):
        value = self._pop(db, key, -1)
        return [key.encode(), value] if value else None

    def _bzpopmin(self, db, key, _wait):
        value = self._pop(db, key, 0)
        return [key.encode(), value, b"1"] if value else None

    _bzpopmax = _bzpopmin

    def _blmpop(self, db, _wait, _count, key, _end):
        value = self._pop(db, key, 0)
        return [key.encode(), [value]] if value else None

    def _lmove(self, db, source, target, *_ends):
        value = self._pop(db, source, 0)
        if value:
            self._of(db, target, list).append(value)
        return value

    _rpoplpush = _lmove

    def _blmove(self, db, source, target, *_ends):
        return self._lmove(db, source, target)

    # streams

    def _xadd(self, db, key, _star, _field, value):
        self.ids += 1
        entry = b"%d-0" % self.ids
        self._of(db, key, list).append([entry, [b"v", value.encode()]])
        return entry

    def _xrange(self, db, key, *_range):
        return copy.deepcopy(self._of(db, key) or [])

    def _xgroup(self, db, _create, key, group, *_rest):
        self._of(db, key, list)
        self.data[db, f"{key} {group}"] = {"read": 0, "pending": {}}
        return "OK"

    def _group(self, db, key, group):
        return self.data[db, f"{key} {group}"]

    def _xreadgroup(self, db, _group, group, consumer, _count, count, *rest):
        key = rest[-2]
        state, stream = self._group(db, key, group), self._of(db, key)
        rows = stream[state["read"]:state["read"] + count]
        state["read"] += len(rows)
        for entry, _ in rows:
            state["pending"][entry] = [consumer, self.loop.time(), 1]
        return [[key.encode(), rows]] if rows else None

    def _xack(self, db, key, group, entry):
        return int(self._group(db, key, group)["pending"].pop(entry.encode(), None) is not None)

    def _xautoclaim(self, db, key, group, consumer, idle_ms, _start, _count, count):
        stream = dict(map(tuple, ((entry, fields) for entry, fields in self._of(db, key))))
        rows = []
        for entry, row in self._group(db, key, group)["pending"].items():
            if self.loop.time() - row[1] >= idle_ms / 1000 and len(rows) < count:
                row[:] = [consumer, self.loop.time(), row[2] + 1]
                rows.append([entry, stream[entry]])
        return [b"0-0", rows, []]

    def _xpending(self, db, key, group, *_rest):
        return [[entry, row[0].encode(), 0, row[2]] for entry, row in self._group(db, key, group)["pending"].items()]


def _wait_s(words):
    """How long a command waits."""
    if "BLOCK" in words:
        return words[words.index("BLOCK") + 1] / 1000
    return words[1 if words[0] == "BLMPOP" else -1] if words[0].startswith("B") else 0


class FakeSession:
    """A connection to a Store. `trouble(rng)` may give "lost", "indoubt" or "clusterdown" for a call."""

    def __init__(self, store, rng, trouble=None):
        self.store, self.rng, self.trouble = store, rng, trouble or (lambda: None)
        self.db = 0
        self.is_multi = self.is_over = False
        self.queued, self.watched = [], {}
        self.waiting = None

    async def calls(self, requests):
        """As LinkSession's: each command has its moment, in order, and all answers come at the end."""
        replies = []
        for words in requests:
            await self._pass()
            if self.is_multi or len(requests) > 1 or words[0] in ("SELECT", "WATCH"):
                replies.append(self.store.run(self, words))
            else:
                replies.append(await self._troubled(words))
        await self._pass()
        return replies

    async def _troubled(self, words):
        trouble = self.trouble()
        if trouble == "clusterdown":
            return CLUSTERDOWN
        if trouble and self.rng.random() < 0.5:
            await self._run(words)
        if trouble == "indoubt":
            return INDOUBT
        if trouble == "lost":
            self.is_over = True
            raise Lost
        return await self._run(words)

    async def _run(self, words):
        """Blocking commands look again and again."""
        end_s = self.store.loop.time() + _wait_s(words)
        while True:
            answer = self.store.run(self, words)
            if answer is not None or self.store.loop.time() > end_s:
                return answer
            if self.store.is_deaf(words):
                await asyncio.sleep(_wait_s(words))
                return None
            await self._pass()

    async def _pass(self):
        self.waiting = asyncio.ensure_future(asyncio.sleep(self.rng.expovariate(1 / 0.002)))
        try:
            await self.waiting
        except asyncio.CancelledError:
            if self.is_over:
                raise Lost from None
            raise
        if self.is_over:
            raise Lost

    def close(self):
        """Leave."""
        self.is_over = True
        if self.waiting:
            self.waiting.cancel()
