"""data_work: what the clients of lib.data_load do: a class for each workload that lib.data_checker judges.

A workload owns its database, its keys and what clients must agree upon, such as the next value, which is unique. `step`
is one thing that one client does; `setup` comes before all, `drain` after, `read_all` reads everything from one node.
"""

import asyncio
import itertools

from .data_load import Lost, Request, plain, settle
from .data_history import Op
from .resp import RespError

GENERATION_OPS = 60
"""Keys whose histories are searched get new ones after so many operations."""


class Work:
    """What workloads have in common."""

    name = ""

    def __init__(self, db):
        self.db = db
        self.values = itertools.count()
        self.steps = itertools.count()

    def value(self):
        """One that nobody has had."""
        return f"{self.name}{self.db}.{next(self.values)}"

    def key(self, name):
        """How the history calls a key."""
        return f"{self.db}:{name}"

    def generation(self):
        """Of keys, by the steps so far."""
        return next(self.steps) // GENERATION_OPS

    async def setup(self, client):
        """Before the first step."""

    async def step(self, client):
        """What one client does once."""
        raise NotImplementedError

    async def drain(self, client):
        """After the last one."""

    async def read_all(self, client):
        """The last reads, from one node."""

    async def final(self, client, kind, key, words, convert=plain, value=None):
        """One last read; refused ones are tried again by whoever insists."""
        op = Op(self.name, kind, key, client.life, client.node, value, client.load.now_ns())
        reply, = await client.session.calls([words])
        if isinstance(reply, RespError):
            client.load.refused = f"{words} on {client.node}: {reply}"
            raise Lost
        settle(op, reply, convert, client.load.now_ns())
        client.load.history.finals.append(op)


class Append(Work):
    """RPUSH and XADD, in pipelines."""

    name = "append"
    lists = ("list0", "list1")
    streams = ("stream0", "stream1")

    async def step(self, client):
        rng = client.rng
        name = rng.choice(self.lists + self.streams)
        requests = []
        for _ in range(rng.randint(1, rng.choice([1, 4, 12]))):
            value = self.value()
            words = ("XADD", name, "*", "v", value) if name in self.streams else ("RPUSH", name, value)
            requests.append(Request(words[0].lower(), self.key(name), value, words))
        await client.many(requests)

    async def read_all(self, client):
        for name in self.lists:
            await self.final(client, "list", self.key(name), ("LRANGE", name, 0, -1))
        for name in self.streams:
            await self.final(client, "stream", self.key(name), ("XRANGE", name, "-", "+"), entries)


def entries(reply):
    """Of XRANGE and its like: [[id, value], ...]; removed ones are left out."""
    return [[row[0].decode(), row[1][1].decode()] for row in reply if row[1]]


class Txn(Work):
    """Transactions that append to lists and read them."""

    name = "txn"

    async def step(self, client):
        rng, generation = client.rng, self.generation()
        actions = []
        for _ in range(rng.choice([1, 1, 2, 3, 4])):
            key = f"t{generation}.{rng.randrange(3)}"
            actions.append(["append", key, self.value()] if rng.random() < 0.5 else ["read", key])
        await client.many([self.request(actions)])

    def request(self, actions):
        """One command, or a MULTI with several."""
        commands = [("RPUSH", a[1], a[2]) if a[0] == "append" else ("LRANGE", a[1], 0, -1) for a in actions]
        if len(actions) == 1:
            return Request("txn", f"{self.db}", actions, commands[0], lambda reply: [plain(reply)])
        return Request("txn", f"{self.db}", actions, (), plain, (("MULTI",), *commands, ("EXEC",)))

    async def read_all(self, client):
        for generation in range(next(self.steps) // GENERATION_OPS + 1):
            actions = [["read", f"t{generation}.{n}"] for n in range(3)]
            commands = [("LRANGE", key, 0, -1) for _, key in actions]
            op = Op(self.name, f"txn{generation}", f"{self.db}", client.life, client.node, actions, client.load.now_ns())
            replies = await client.session.calls(commands)
            if any(isinstance(reply, RespError) for reply in replies):
                raise Lost
            settle(op, replies, plain, client.load.now_ns())
            client.load.history.finals.append(op)


class Register(Work):
    """SET, GET, and compare-and-set by WATCH, GET, MULTI, SET, EXEC."""

    name = "register"
    count = 3

    async def step(self, client):
        rng = client.rng
        name = f"r{self.generation()}.{rng.randrange(self.count)}"
        what = rng.random()
        if what < 0.25:
            value = self.value()
            await client.one("set", self.key(name), value, "SET", name, value, convert=lambda _: True)
        elif what < 0.7:
            await client.one("get", self.key(name), None, "GET", name)
        else:
            await self._compare_and_set(client, name)

    async def _compare_and_set(self, client, name):
        watched_ns = client.load.now_ns()
        replies = await client.session.calls([("WATCH", name)])
        if isinstance(replies[0], RespError):
            return
        read = await client.one("get", self.key(name), None, "GET", name)
        if not read.is_ok:
            await client.session.calls([("UNWATCH",)])
            return
        value = self.value()
        await client.many([Request("cas", self.key(name), [read.result, value, watched_ns], (),
                                   lambda reply: reply is not None, (("MULTI",), ("SET", name, value), ("EXEC",)))])

    async def read_all(self, client):
        for generation in range(next(self.steps) // GENERATION_OPS + 1):
            for number in range(self.count):
                name = f"r{generation}.{number}"
                await self.final(client, "get", self.key(name), ("GET", name))


class Counter(Work):
    """INCR, HINCRBY, ZINCRBY by one, in pipelines."""

    name = "counter"
    commands = {"string": ("INCR", "string"), "hash": ("HINCRBY", "hash", "f", 1), "zset": ("ZINCRBY", "zset", 1, "m")}
    reads = {"string": ("GET", "string"), "hash": ("HGET", "hash", "f"), "zset": ("ZSCORE", "zset", "m")}

    async def step(self, client):
        names = client.rng.choices(list(self.commands), k=client.rng.randint(1, 6))
        await client.many([Request("incr", self.key(name), None, self.commands[name], number) for name in names])

    async def read_all(self, client):
        for name, words in self.reads.items():
            await self.final(client, "get", self.key(name), words, number)


def number(reply):
    """An integer, however it is said."""
    return int(reply or 0)


class Pair(Work):
    """Two keys that are always written together."""

    name = "pair"

    async def step(self, client):
        rng = client.rng
        name = f"p{self.generation()}"
        one, two = f"{name}.a", f"{name}.b"
        what = rng.random()
        if what < 0.2:
            value = self.value()
            await client.many([Request("set2", self.key(name), value, (), lambda _: True,
                                       (("MULTI",), ("SET", one, value), ("SET", two, value), ("EXEC",)))])
        elif what < 0.4:
            value = self.value()
            await client.one("set2", self.key(name), value, "MSET", one, value, two, value, convert=lambda _: True)
        elif what < 0.7:
            await client.one("get2", self.key(name), None, "MGET", one, two)
        else:
            await client.many([Request("get2", self.key(name), None, (), plain,
                                       (("MULTI",), ("GET", one), ("GET", two), ("EXEC",)))])

    async def read_all(self, client):
        for generation in range(next(self.steps) // GENERATION_OPS + 1):
            name = f"p{generation}"
            await self.final(client, "get2", self.key(name), ("MGET", f"{name}.a", f"{name}.b"))


class Group(Work):
    """One stream, one group: a quarter of the clients add, the others read, acknowledge, claim and look."""

    name = "group"
    stream, group = "stream", "group"

    async def setup(self, client):
        reply, = await client.session.calls([("XGROUP", "CREATE", self.stream, self.group, "0", "MKSTREAM")])
        if isinstance(reply, RespError) and not str(reply).startswith("BUSYGROUP"):
            raise Lost

    async def step(self, client):
        rng = client.rng
        if client.number % 4 == 0:
            values = [self.value() for _ in range(rng.randint(1, 4))]
            await client.many([Request("xadd", self.key(self.stream), v, ("XADD", self.stream, "*", "v", v))
                               for v in values])
            return
        what = rng.random()
        if what < 0.6:
            block = ("BLOCK", rng.choice([1, 50, 200, 2000])) if rng.random() < 0.5 else ()
            await self._take(client, "read", ("XREADGROUP", "GROUP", self.group, client.name, "COUNT", rng.randint(1, 5),
                                              *block, "STREAMS", self.stream, ">"), read_rows)
        elif what < 0.8:
            await self._take(client, "claim", ("XAUTOCLAIM", self.stream, self.group, client.name, rng.choice([50, 300]),
                                               "0", "COUNT", 5), claimed_rows)
        else:
            await client.one("pending", self.key(self.stream), None, "XPENDING", self.stream, self.group, "-", "+", 50,
                             convert=pending_rows)

    async def _take(self, client, kind, words, convert):
        value = f"{'B ' if 'BLOCK' in words else ''}{client.name}"
        op = await client.one(kind, self.key(self.stream), value, *words, convert=convert)
        got = [row[0] for row in op.result or ()]
        acked = [entry for entry in got if client.rng.random() < 0.7]
        if acked:
            await self._ack(client, acked)

    async def _ack(self, client, ids):
        return await client.many([Request("ack", self.key(self.stream), i, ("XACK", self.stream, self.group, i))
                                  for i in ids])

    async def drain(self, client):
        """Read and claim and acknowledge until nothing is left."""
        for kind, words, convert in (
                ("read", ("XREADGROUP", "GROUP", self.group, client.name, "COUNT", 100, "STREAMS", self.stream, ">"),
                 read_rows),
                ("claim", ("XAUTOCLAIM", self.stream, self.group, client.name, 0, "0", "COUNT", 100), claimed_rows)):
            while True:
                op = await client.one(kind, self.key(self.stream), client.name, *words, convert=convert)
                if not op.is_ok or not all(a.is_ok for a in await self._ack(client, [row[0] for row in op.result])):
                    raise Lost
                if not op.result:
                    break

    async def read_all(self, client):
        await self.final(client, "pending", self.key(self.stream), ("XPENDING", self.stream, self.group, "-", "+", 100),
                         lambda reply: [row[0].decode() for row in reply])
        await self.final(client, "stream", self.key(self.stream), ("XRANGE", self.stream, "-", "+"), entries)


def read_rows(reply):
    """Of XREADGROUP with one stream."""
    return entries(reply[0][1]) if reply else []


def claimed_rows(reply):
    """Of XAUTOCLAIM."""
    return entries(reply[1])


def pending_rows(reply):
    """[[id, deliveries], ...]"""
    return [[row[0].decode(), row[3]] for row in reply]


class Pop(Work):
    """Queues of three kinds: elements are pushed, popped, waited for and moved; some clients leave while they wait."""

    name = "pop"
    pushes = {"q": (("RPUSH", "q"), ("LPUSH", "q")), "z": (("ZADD", "z", 1),), "s": (("SADD", "s"),)}
    rest = {"q": ("LRANGE", "q", 0, -1), "z": ("ZRANGE", "z", 0, -1), "s": ("SMEMBERS", "s")}

    async def step(self, client):
        rng = client.rng
        name = rng.choice("qqqzs")
        if client.number % 4 == 0:
            values = [self.value() for _ in range(rng.randint(1, 3))]
            await client.many([Request("push", self.key(name), v, (*rng.choice(self.pushes[name]), v), number)
                               for v in values])
        elif name == "q" and rng.random() < 0.3:
            words = rng.choice([("BLMOVE", "q", "moved", "LEFT", "RIGHT", self._wait(rng)), ("RPOPLPUSH", "q", "moved"),
                                ("LMOVE", "q", "moved", "RIGHT", "LEFT")])
            await client.one("move", self.key(name), words[0], *words)
        else:
            await self._pop(client, name)

    @staticmethod
    def _wait(rng):
        return rng.choice([0.05, 0.3, 2])

    async def _pop(self, client, name):
        rng = client.rng
        wait = self._wait(rng)
        words, convert = rng.choice({
            "q": [(("BLPOP", "q", wait), popped), (("BRPOP", "q", wait), popped), (("LPOP", "q"), plain),
                  (("RPOP", "q"), plain), (("BLMPOP", wait, 1, "q", "LEFT"), popped_many)],
            "z": [(("BZPOPMIN", "z", wait), popped), (("ZPOPMIN", "z"), first), (("BZPOPMAX", "z", wait), popped)],
            "s": [(("SPOP", "s"), plain)]}[name])
        leaver = None
        if words[0].startswith("B") and rng.random() < 0.1:
            leaver = asyncio.get_running_loop().call_later(rng.uniform(0, wait), client.leave)
        try:
            await client.one("pop", self.key(name), words[0], *words, convert=convert)
        finally:
            if leaver:
                leaver.cancel()

    async def read_all(self, client):
        for name, words in self.rest.items():
            await self.final(client, "rest", self.key(name), words, lambda reply: sorted(plain(list(reply))))
        await self.final(client, "moved", self.key("q"), ("LRANGE", "moved", 0, -1))


def popped(reply):
    """Of BLPOP: [key, element], and of BZPOPMIN, where the score follows."""
    return reply[1].decode() if reply else None


def popped_many(reply):
    """Of BLMPOP: [key, [element]]."""
    return reply[1][0].decode() if reply else None


def first(reply):
    """Of ZPOPMIN: [member, score]."""
    return reply[0].decode() if reply else None


class Expiry(Work):
    """Keys that live once, for a while; their writer may give them more time, or all."""

    name = "expiry"

    def __init__(self, db):
        super().__init__(db)
        self.alive = []

    async def step(self, client):
        rng = client.rng
        if rng.random() < 0.15 or not self.alive:
            await self._write(client)
            return
        name = rng.choice(self.alive)
        await client.one("get", self.key(name), None, "GET", name)

    async def _write(self, client):
        rng = client.rng
        name, ttl_ms = self.value(), rng.choice([20, 100, 400, 1500])
        self.alive = self.alive[-5:] + [name]
        value = f"v{name}"
        op = await client.one("set", self.key(name), [value, ttl_ms], "SET", name, value, "PX", ttl_ms,
                              convert=lambda _: True)
        if not op.is_ok or rng.random() < 0.6:
            return
        await asyncio.sleep(rng.uniform(0, ttl_ms / 1000))
        if rng.random() < 0.25:
            await client.one("persist", self.key(name), None, "PERSIST", name)
        else:
            longer_ms = rng.choice([10, 300, 900])
            await client.one("expire", self.key(name), longer_ms, "PEXPIRE", name, longer_ms)


WORKS = {work.name: work for work in (Append, Txn, Register, Counter, Pair, Group, Pop, Expiry)}


def works_of(plan):
    """The workloads of a plan, each with its database: 0, 1, 2 ..."""
    names = plan.works or tuple(WORKS)
    return [WORKS[name](db % 16) for db, name in enumerate(list(names) * plan.instances)]
