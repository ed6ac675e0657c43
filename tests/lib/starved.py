"""starved: notes when a node was kept waiting for a processor so long that others may have taken it for dead.

The kernel counts for each thread how long it could have run and did not. That is the machine's doing, not the cluster's, so
a judge is told of it as of a pause (SIGSTOP): a Fault of its own kind, and only while it is true."""

import contextlib
import pathlib

from .broker import now_ns
from .checker_history import Fault
from .cluster import NODE_TIMEOUT_MS
from .wait import meanwhile

KIND = "starved"
PAUSE_S = 0.05
WINDOW_NS = NODE_TIMEOUT_MS * 1_000_000
STARVED_NS = WINDOW_NS // 4
"""A thread that has waited so long, of the time after which a silent node is given up, has little of it left."""
AFTER_NS = 2 * WINDOW_NS
"""Until then who gave it up has noticed that it lives."""


class Starvation:
    """What is known of the nodes' threads; makes Faults of it."""

    def __init__(self, faults):
        self.faults = faults
        self._waits = {}  # by (node, thread): [(when, how long it has waited in all)], of the last window
        self._open = {}  # by node: its newest Fault

    def take(self, name, at_ns, waits):
        """A node's threads have waited so long in all by now: {thread: ns}."""
        for thread, wait_ns in waits.items():
            known = self._waits.setdefault((name, thread), [(at_ns, wait_ns)])
            while len(known) > 1 and known[1][0] <= at_ns - WINDOW_NS:
                known.pop(0)
            since_ns, before_ns = known[0]
            if wait_ns - before_ns >= STARVED_NS:
                self._note(name, min(since_ns, at_ns - (wait_ns - before_ns)), at_ns)
            known.append((at_ns, wait_ns))

    def _note(self, name, start_ns, at_ns):
        fault = self._open.get(name)
        if fault is None or fault.end_ns < start_ns:
            fault = self._open[name] = Fault(KIND, name, start_ns)
            self.faults.append(fault)
        fault.end_ns = at_ns + AFTER_NS


def count(faults):
    """How often, for people."""
    return f"{sum(fault.kind == KIND for fault in faults)} times {KIND}"


def waits_of(pid):
    """How long each thread of a process has waited for a processor: {thread: ns}; empty if it is gone, or nobody counts."""
    found = {}
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            found[path.parent.name] = int(path.read_text().split()[1])
    return found


@contextlib.contextmanager
def watch(cluster, faults):
    """Note it of all nodes meanwhile."""
    starvation = Starvation(faults)

    def look():
        for node in cluster.running():
            process = node.process
            if process is not None:
                starvation.take(node.name, now_ns(), {f"{process.pid}/{t}": w for t, w in waits_of(process.pid).items()})

    with meanwhile(look, PAUSE_S):
        yield
