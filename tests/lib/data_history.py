"""data_history: what clients did with durable data and what they were told, for lib.data_checker; on disk as lines of JSON.

An operation is recorded before its bytes leave (`start_ns`) and once its answer has been read (`end_ns`), by one
monotonic clock. The operations of one client, which is one connection, are in the order in which it sent them; those of
a pipeline overlap. Values are unique in a history where the rules need it. Nothing here talks to a broker or judges.
"""

import dataclasses
import json
import math

from .checker_history import Fault

FOREVER = math.inf

OK, FAIL, INFO = "ok", "fail", "info"
"""Done, and `result` is the answer. Certainly not done. Perhaps done: in doubt, never answered, or the client left."""

REFUSALS = ("CLUSTERDOWN", "MISCONF", "OOM", "LOADING", "MASTERDOWN", "READONLY")
"""Errors of what was certainly not executed."""

DOUBTS = ("INDOUBT",)


@dataclasses.dataclass(slots=True)
class Op:
    """One operation. `work` names the workload, `kind` what it did there; `outcome`: OK, FAIL, INFO, or the text of an
    error that is none of these. `error` is the text of a refusal or doubt. `left`: the client itself closed the
    connection before the answer came."""

    work: str
    kind: str
    key: str
    client: str
    node: str
    value: object
    start_ns: int
    end_ns: float = FOREVER
    outcome: str = INFO
    result: object = None
    error: str = ""
    left: bool = False

    @property
    def is_ok(self):
        """Was it answered?"""
        return self.outcome == OK

    @property
    def is_possible(self):
        """Was it, or may it have been, executed?"""
        return self.outcome in (OK, INFO)

    @property
    def known_ns(self):
        """From when on is it certain that it was executed?"""
        return self.end_ns if self.outcome == OK else FOREVER

    def finish(self, outcome, result, at_ns, error=""):
        """The answer has come."""
        self.outcome, self.result, self.end_ns, self.error = outcome, result, at_ns, error

    def __str__(self):
        answer = {OK: self.result, INFO: f"in doubt {self.error}", FAIL: f"refused {self.error}"}.get(
            self.outcome, self.outcome)
        return (f"{self.kind} {self.key} {short(self.value)} by {self.client}@{self.node}, {self.start_ns} to "
                f"{self.end_ns}: {short(answer)}")


def short(value, limit=100):
    """A value as text, not too long."""
    text = str(value)
    return text if len(text) <= limit else text[:limit // 2] + " ... " + text[-limit // 2:]


@dataclasses.dataclass
class DataHistory:
    """All that was recorded. `finals` are reads of everything, from every node, after all clients have ended."""

    ops: list = dataclasses.field(default_factory=list)
    finals: list = dataclasses.field(default_factory=list)
    faults: list = dataclasses.field(default_factory=list)

    def of(self, work):
        """The operations of a workload, by key, in the order of their begin."""
        return self._by_key(self.ops, work)

    def finals_of(self, work):
        """Its final reads, by key."""
        return self._by_key(self.finals, work)

    @staticmethod
    def _by_key(ops, work):
        found = {}
        for op in sorted((op for op in ops if op.work == work), key=lambda op: op.start_ns):
            found.setdefault(op.key, []).append(op)
        return found

    def save(self, path):
        """Write it down, one record per line."""
        with open(path, "w", encoding="utf-8") as out:
            for word, records in (("fault", self.faults), ("op", self.ops), ("final", self.finals)):
                for record in records:
                    out.write(json.dumps([word, *dataclasses.astuple(record)], separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path):
        """Read what save has written."""
        history = cls()
        lists = {"fault": (Fault, history.faults), "op": (Op, history.ops), "final": (Op, history.finals)}
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                word, *fields = json.loads(line)
                kind, records = lists[word]
                records.append(kind(*fields))
        return history
