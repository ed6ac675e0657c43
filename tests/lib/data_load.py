"""data_load: many clients on all nodes of a cluster, which change and read durable data and write down what they do and
see, for lib.data_checker. What they do is in lib.data_work.

Each workload has a database of its own, so that many partitions have work. A client serves one workload on one
connection, which it leaves now and then for another node. Everything random comes from one seed. All clients live on
one thread with an event loop of its own; `start` and `stop` are for another thread.

A *session* is a connection: `await calls([words, ...])` answers all replies in order or raises Lost. Here it is a Link of
lib.cluster_load; the judge's own tests have one that needs no broker.
"""

import asyncio
import dataclasses
import itertools
import random
import threading

from .broker import now_ns
from .cluster_load import PATIENCE_S, Link
from .data_history import DOUBTS, FAIL, INFO, OK, REFUSALS, DataHistory, Op
from .resp import RespError, encode
from .wait import SCALE, wait_until

FINAL_TRIES = 40


class Lost(Exception):
    """The connection ended, or was left, before all was answered."""


@dataclasses.dataclass
class DataPlan:
    """How much load. `clients`: of each workload; `pause_s`: between steps, on average; `works`: names, or all;
    `instances`: of each workload, in a database each."""

    clients: int = 4
    pause_s: float = 0.02 * SCALE
    works: tuple = ()
    instances: int = 1


class LinkSession:
    """A session on a real connection."""

    def __init__(self, link):
        self.link = link
        self.waiting = []
        link.on_reply, link.on_lost = self._on_reply, self._on_lost

    @classmethod
    async def open(cls, address):
        """Connect. Raises OSError or TimeoutError."""
        return cls(await Link.open(address))

    async def calls(self, requests):
        """All replies in order; requests leave in one write."""
        if self.link.is_over:
            raise Lost
        futures = [asyncio.get_running_loop().create_future() for _ in requests]
        self.waiting += futures
        self.link.send(b"".join(encode(*words) for words in requests))
        return [await future for future in futures]

    def close(self):
        """Leave without a further word; who waits is told."""
        self.link.close()
        self._on_lost(0)

    def _on_reply(self, reply, _at_ns):
        if self.waiting:
            future = self.waiting.pop(0)
            if not future.done():
                future.set_result(reply)

    def _on_lost(self, _at_ns):
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(Lost())
                future.exception()  # who waits for an earlier one never asks for this


@dataclasses.dataclass
class Request:
    """One command of an operation that is to be recorded. `convert` makes the result of an answer."""

    kind: str
    key: str
    value: object
    words: tuple
    convert: object = None
    commands: tuple = ()
    """In place of `words`: several, of which the last one's answer counts (MULTI ... EXEC)."""

    def all(self):
        """What is sent."""
        return list(self.commands) or [self.words]


class Client:
    """One client of one workload, over many connections."""

    def __init__(self, load, work, number):
        self.load, self.work, self.number = load, work, number
        self.name = f"{work.name}{work.db}.{number}"
        self.rng = random.Random(f"{load.seed}/{self.name}")
        self.lives = itertools.count()
        self.session = self.life = self.node = None
        self.has_left = False

    async def run(self):
        """Until the load is over."""
        while not self.load.is_over:
            try:
                if await self.connect():
                    for _ in range(self.rng.randint(5, 200)):
                        if self.load.is_over:
                            break
                        await self.work.step(self)
                        await asyncio.sleep(self.rng.expovariate(1 / self.load.plan.pause_s))
            except Lost:
                pass
            if self.session:
                self.session.close()
                self.session = None

    async def connect(self, node=None):
        """A new connection, to that node or any, in the workload's database. False: it cannot be had now."""
        endpoints = self.load.endpoints()
        self.node = node or self.rng.choice(sorted(endpoints) or [None])
        if self.node not in endpoints:
            await asyncio.sleep(0.05)
            return False
        try:
            self.session = await self.load.open_session(endpoints[self.node])
            self.life, self.has_left = f"{self.name}.{next(self.lives)}", False
            reply, = await self._calls([("SELECT", self.work.db)])
            return not isinstance(reply, RespError)
        except (OSError, TimeoutError, Lost):
            await asyncio.sleep(self.rng.uniform(0.01, 0.1))
            return False

    def leave(self):
        """Close the connection while something is under way."""
        self.has_left = True
        self.session.close()

    async def one(self, kind, key, value, *words, convert=None):
        """One command; the Op, answered."""
        ops = await self.many([Request(kind, key, value, words, convert)])
        return ops[0]

    async def many(self, requests):
        """Several in one pipeline; their Ops. Raises Lost, with what is known written down."""
        at_ns = self.load.now_ns()
        ops = [Op(self.work.name, r.kind, r.key, self.life, self.node, r.value, at_ns + place)  # in order
               for place, r in enumerate(requests)]
        self.load.history.ops += ops
        commands = [words for r in requests for words in r.all()]
        try:
            replies = await self._calls(commands)
        except Lost:
            for op in ops:
                if op.end_ns == float("inf"):
                    op.finish(INFO, None, self.load.now_ns())
                    op.left = self.has_left
            raise
        place = 0
        for op, request in zip(ops, requests):
            place += len(request.all())
            settle(op, replies[place - 1], request.convert, self.load.now_ns())
        return ops

    async def _calls(self, commands):
        try:
            return await asyncio.wait_for(self.session.calls(commands), PATIENCE_S)
        except asyncio.TimeoutError:
            self.load.complain(f"{self.life}@{self.node} has no answer for {PATIENCE_S:g} s: {commands[0]}")
            raise Lost from None


def settle(op, reply, convert, at_ns):
    """Write down an answer."""
    if isinstance(reply, RespError):
        text = str(reply)
        word = text.split(" ", 1)[0]
        outcome = FAIL if word in REFUSALS or word == "EXECABORT" else INFO if word in DOUBTS else text
        op.finish(outcome, None, at_ns, text)
    else:
        op.finish(OK, convert(reply) if convert else plain(reply), at_ns)


def plain(reply):
    """A reply as JSON has it."""
    if isinstance(reply, (bytes, bytearray)):
        return bytes(reply).decode("latin-1")
    if isinstance(reply, list):
        return [plain(one) for one in reply]
    return reply if reply is None or isinstance(reply, (int, float)) else str(reply)


class DataLoad:
    """The clients of a cluster. `endpoints()` gives {node: address} of those that may be connected to now."""

    def __init__(self, endpoints, seed, plan, works, open_session=LinkSession.open, clock=now_ns):
        self.endpoints, self.seed, self.plan = endpoints, seed, plan
        self.open_session, self.now_ns = open_session, clock
        self.history = DataHistory()
        self.complaints = []
        self.refused = None  # the last of the last reads that was
        self.is_over = False
        self.works = works
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._error = None

    def start(self):
        """Start; returns when every workload has had an answer."""
        self._thread.start()

        def has_begun():
            answered = {op.work for op in list(self.history.ops) if op.is_ok}
            return self._error or answered >= {work.name for work in self.works}
        wait_until(has_begun, what="every workload has been answered")
        return self

    def wait_for_ops(self, count):
        """So many more."""
        goal = len(self.history.ops) + count
        wait_until(lambda: self._error or len(self.history.ops) >= goal, what=f"{count} operations")

    def stop(self):
        """End every client, then read everything from every node; returns the history. Fails on an error of the load."""
        self.is_over = True
        self._thread.join(6 * PATIENCE_S)
        assert not self._thread.is_alive(), f"the load does not end; refused last: {self.refused}"
        if self._error:
            raise self._error
        return self.history

    def complain(self, text):
        """Something that no client should have to bear."""
        self.complaints.append((self.now_ns(), text))

    async def _main(self):
        try:
            await self.main()
        except Exception as exc:  # pylint: disable=broad-except # told by stop
            self._error = exc

    async def main(self):
        """All of it."""
        for work in self.works:
            await self.insist(work, None, work.setup)
        clients = [Client(self, work, number) for work in self.works for number in range(self.plan.clients)]
        await asyncio.gather(*(client.run() for client in clients))
        for work in self.works:
            await self.insist(work, None, work.drain)
        for node in sorted(self.endpoints()):
            for work in self.works:
                await self.insist(work, node, work.read_all)

    async def insist(self, work, node, action):
        """Do it on a connection to that node or any; again if that ends. Nothing is wrong any more, so it must work."""
        client = Client(self, work, f"end.{node or 'any'}.{action.__name__}")
        for _ in range(FINAL_TRIES):
            try:
                if await client.connect(node):
                    return await action(client)
            except Lost:
                pass
            await asyncio.sleep(0.1)
        raise AssertionError(f"{work.name} {action.__name__} on {node} is not possible; refused last: {self.refused}")
