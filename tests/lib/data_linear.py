"""data_linear: is there an order of the operations on one register that extends time and explains every answer?

The search of Wing and Gong with Lowe's memory of the states that it has been in. Values are written once each, so a write in
doubt is one that somebody saw, and then it was done before that was answered, or one that explains nothing and is left
out. What remains is certain, and the search only chooses among operations that were under way together.

An operation is (start_ns, end_ns, kind, seen, written): `seen` is what the register held (ANY: whatever), `written` what
it holds afterwards (KEPT: the same).
"""

import dataclasses

ANY, KEPT = object(), object()

STEPS_MAX = 400_000
"""A search that takes more has not decided anything; keys are kept short, so that none does."""


class Undecided(Exception):
    """The search was given up."""


@dataclasses.dataclass(slots=True)
class Step:
    """One operation as the search sees it."""

    start_ns: int
    end_ns: float
    seen: object
    written: object
    op: object


def find_stuck(steps, initial=None):
    """None if an order is found; else the operations that no order explains: those under way where the longest ended.
    Raises Undecided."""
    steps = sorted(steps, key=lambda s: s.start_ns)
    search = _Search(steps, initial)
    return None if search.run() else search.stuck()


class _Search:
    def __init__(self, steps, initial):
        self.steps = steps
        self.initial = initial
        self.best = 0
        self.best_done = 0

    def run(self):
        """Depth first; a state is (which are done, what is held)."""
        whole = (1 << len(self.steps)) - 1
        met = set()
        stack = [(0, self.initial)]
        for _ in range(STEPS_MAX):
            if not stack:
                return False
            done, held = stack.pop()
            if done == whole:
                return True
            self._note(done)
            for number in self._next(done):
                step = self.steps[number]
                if step.seen is not ANY and step.seen != held:
                    continue
                state = done | 1 << number, held if step.written is KEPT else step.written
                if state not in met:
                    met.add(state)
                    stack.append(state)
        raise Undecided(f"{len(self.steps)} operations, {len(met)} states")

    def _next(self, done):
        """Those that nothing undone precedes in time; the earliest to end is tried first, so it comes last."""
        limit_ns = None
        ready = []
        for number in range(_first_undone(done), len(self.steps)):
            if done >> number & 1:
                continue
            step = self.steps[number]
            if limit_ns is not None and step.start_ns > limit_ns:
                break
            ready.append(number)
            limit_ns = step.end_ns if limit_ns is None else min(limit_ns, step.end_ns)
        ready = [n for n in ready if self.steps[n].start_ns <= limit_ns]
        ready.sort(key=lambda n: -self.steps[n].end_ns)
        return ready

    def _note(self, done):
        count = done.bit_count()
        if count >= self.best:
            self.best, self.best_done = count, done

    def stuck(self):
        """What could not be done at the end of the longest order."""
        return [self.steps[n].op for n in self._next(self.best_done)]


def _first_undone(done):
    """The place of the lowest bit that is not set."""
    return (~done & (done + 1)).bit_length() - 1
