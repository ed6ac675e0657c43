"""checker_history: what every client of a cluster did and saw, for lib.checker; on disk as lines of JSON.

All times are of one monotonic clock, in nanoseconds. A time before an action is taken before its bytes leave, a time
after it when its answer has been read. Nothing here talks to a broker or judges.
"""

import dataclasses
import json
import math

FOREVER = math.inf

INDOUBT = "INDOUBT"
CLUSTERDOWN = "CLUSTERDOWN"
UNKNOWN = "UNKNOWN"
"""A publish without an answer: its connection was lost, or the history ends before."""

SUBSCRIBES = ("subscribe", "psubscribe", "ssubscribe")
END_OF = {"subscribe": "unsubscribe", "psubscribe": "punsubscribe", "ssubscribe": "sunsubscribe"}
WAY_OF = {"message": "subscribe", "pmessage": "psubscribe", "smessage": "ssubscribe"}


@dataclasses.dataclass(slots=True)
class Publish:
    """One publish. `id` is in the payload and unique in the history; a connection's publishes are recorded in the
    order in which it sent them. `outcome`: the count, INDOUBT, CLUSTERDOWN, UNKNOWN, or the text of another error."""

    id: int
    connection: str
    node: str
    channel: bytes
    shard: bool
    start_ns: int
    end_ns: float = FOREVER
    outcome: int | str = UNKNOWN

    @property
    def is_counted(self):
        """Was it answered with a count?"""
        return isinstance(self.outcome, int)


@dataclasses.dataclass(slots=True)
class Asked:
    """A subscribe or unsubscribe for one name, as sent."""

    kind: str
    name: bytes
    at_ns: int


@dataclasses.dataclass(slots=True)
class Confirmed:
    """The confirmation of what was asked, as received."""

    kind: str
    name: bytes
    count: int
    at_ns: int


@dataclasses.dataclass(slots=True)
class Refused:
    """An error in the place of a confirmation: what was asked is not in force."""

    error: str
    at_ns: int


@dataclasses.dataclass(slots=True)
class Delivered:
    """A message, as received. `way` is message, pmessage or smessage; `name` the channel or pattern subscribed to;
    `id` the publish it carries (-1: none of ours)."""

    way: str
    name: bytes
    channel: bytes
    id: int
    at_ns: int


@dataclasses.dataclass
class Stream:
    """One subscriber connection: what it asked and saw, in order. `closed_by`: "server" or "client", which is not
    said after all has been unsubscribed; None: open until the end."""

    name: str
    node: str
    events: list = dataclasses.field(default_factory=list)
    closed_ns: float = FOREVER
    closed_by: str | None = None

    def close(self, by, at_ns):
        """Note that the connection is no more; the first word counts."""
        if self.closed_by is None:
            self.closed_by, self.closed_ns = by, at_ns


@dataclasses.dataclass
class Fault:
    """Something that was done to the cluster, from before it began until all was well again.

    planned   a join, a drain, a move: nobody may notice, but clients of `node`
    spares    a crash that the connections of other nodes' clients survive: only publishes may fail
    """

    kind: str
    node: str
    start_ns: int
    end_ns: float = FOREVER
    planned: bool = False
    spares: bool = False


@dataclasses.dataclass
class History:
    """All that was recorded. `linger_ns`: a subscription of a closed connection may be counted for so long after."""

    publishes: list = dataclasses.field(default_factory=list)
    streams: list = dataclasses.field(default_factory=list)
    faults: list = dataclasses.field(default_factory=list)
    linger_ns: float = FOREVER

    def deliveries(self):
        """How many messages arrived in all."""
        return sum(isinstance(event, Delivered) for stream in self.streams for event in stream.events)

    def save(self, path):
        """Write it down, one record per line."""
        with open(path, "w", encoding="ascii") as out:
            for record in self._records():
                out.write(json.dumps([_plain(field) for field in record], separators=(",", ":")) + "\n")

    def _records(self):
        yield "history", self.linger_ns
        for fault in self.faults:
            yield "fault", *dataclasses.astuple(fault)
        for publish in self.publishes:
            yield "publish", *dataclasses.astuple(publish)
        for stream in self.streams:
            yield "stream", stream.name, stream.node, stream.closed_ns, stream.closed_by
            for event in stream.events:
                yield _EVENT_WORDS[type(event)], *dataclasses.astuple(event)

    @classmethod
    def load(cls, path):
        """Read what save has written."""
        history = cls()
        with open(path, encoding="ascii") as lines:
            for line in lines:
                word, *fields = [_rich(field) for field in json.loads(line)]
                history._take(word, fields)
        return history

    def _take(self, word, fields):
        if word == "history":
            self.linger_ns = fields[0]
        elif word == "fault":
            self.faults.append(Fault(*fields))
        elif word == "publish":
            self.publishes.append(Publish(*fields))
        elif word == "stream":
            name, node, closed_ns, closed_by = fields
            self.streams.append(Stream(name, node, [], closed_ns, closed_by))
        else:
            self.streams[-1].events.append(_EVENTS[word](*fields))


_EVENTS = {"asked": Asked, "confirmed": Confirmed, "refused": Refused, "delivered": Delivered}
_EVENT_WORDS = {kind: word for word, kind in _EVENTS.items()}


def _plain(field):
    """Bytes as a list of one string; JSON has the rest (infinity as Python spells it)."""
    return [field.decode("latin-1")] if isinstance(field, bytes) else field


def _rich(field):
    return field[0].encode("latin-1") if isinstance(field, list) else field
