"""wait: deadlines instead of sleeps.

Every wait in the tests goes through here, so that a slow machine or a sanitizer build needs one knob:
TEST_SCALE multiplies every deadline (default 1).
"""

import contextlib
import os
import threading
import time

SCALE = float(os.environ.get("TEST_SCALE", "1"))

DEADLINE_S = 30 * SCALE
"""How long a condition that should soon hold may take, on a machine that is ten times slower."""

_POLL_FIRST_S = 0.001
_POLL_LAST_S = 0.05


class DeadlineError(AssertionError):
    """A condition did not hold in time."""


def wait_until(condition, deadline_s=DEADLINE_S, what=None):
    """Call `condition` until it answers something true, and return that; raise DeadlineError past the deadline.

    The pauses between the calls grow from 1 ms to 50 ms.
    """
    end_s = time.monotonic() + deadline_s
    pause_s = _POLL_FIRST_S
    while True:
        last = condition()
        if last:
            return last
        if time.monotonic() >= end_s:
            name = what or getattr(condition, "__name__", "the condition")
            raise DeadlineError(f"{name} did not hold within {deadline_s:g} s (last answer: {last!r})")
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, _POLL_LAST_S)


def wait_and_tell(what, seconds, condition):
    """The same for a program that prints how it gets on: what held, and after how long, which it returns. `condition` may
    fail meanwhile. `seconds`: what it takes on an idle machine; three times that is waited."""
    start = time.monotonic()
    last = None

    def holds():
        nonlocal last
        try:
            return condition()
        except (AssertionError, BrokenPipeError, ValueError) as exc:
            last = exc
            return False

    try:
        wait_until(holds, 3 * SCALE * seconds, what)
    except DeadlineError as exc:
        raise DeadlineError(f"{exc}; failed last: {last}") from last
    took_s = time.monotonic() - start
    print(f"{what:<60} {took_s:5.2f} s", flush=True)
    return took_s


@contextlib.contextmanager
def meanwhile(look, pause_s):
    """Call `look` all the time, on a thread of its own, with pauses of so long."""
    is_over = threading.Event()

    def run():
        while not is_over.is_set():
            look()
            is_over.wait(pause_s)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
