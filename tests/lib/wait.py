"""wait: deadlines instead of sleeps.

Every wait in the tests goes through here, so that a slow machine or a sanitizer build needs one knob:
TEST_SCALE multiplies every deadline (default 1).
"""

import os
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
