"""journal: lines `word id` of programs in Python, for the judge of tests/lib/app_scene.py."""

import os
import sys
import threading
import time

STOPPED = threading.Event()
SCALE = float(os.environ.get("TEST_SCALE", "1"))


class NotInTime(AssertionError):
    """What was waited for did not come."""


def note(word, job):
    """One line, in the order of all programs."""
    handle = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND)
    os.write(handle, f"{word} {job}\n".encode())
    os.close(handle)


def watch_input():
    """STOPPED is set by a line on standard input."""
    threading.Thread(target=lambda: (sys.stdin.readline(), STOPPED.set()), daemon=True).start()


def produce(add, errors, gap_s=0.01):
    """Call `add` with the numbers from 0 on until it is enough. What it gives back are ids that are promised; whether one
    was taken that failed, nobody knows."""
    number = 0
    while not STOPPED.is_set():
        try:
            for job in add(number):
                note("added", job)
        except errors:
            note("unsure", number)
        number += 1
        STOPPED.wait(gap_s)


def until(condition, errors, what, deadline_s=45):
    """Wait for it; errors are those of a broker in trouble."""
    end_s = time.monotonic() + deadline_s * SCALE
    last = None
    while time.monotonic() < end_s:
        try:
            last = condition()
            if last is True:
                return
        except errors as exc:
            last = exc
        time.sleep(0.05)
    raise NotInTime(f"not in time: {what}: {last!r}")
