"""What a storm says while it goes on, and what it found."""

import collections
import time

SHOWN = 20


def say(text):
    """A line with the time that histories and complaints have."""
    print(f"{time.monotonic():.3f} {text}", flush=True)


def report(name, found, complaints):
    """Say what was found; the exit status."""
    for rule, count in collections.Counter(v.rule for v in found).most_common():
        print(f"{name}: {count} of {rule}")
    for violation in found[:SHOWN]:
        print(f"{name}: broken: {violation}")
    for at_ns, text in complaints[:SHOWN]:
        print(f"{name}: complaint at {at_ns}: {text}")
    if found or complaints:
        print(f"{name}: {len(found)} violations, {len(complaints)} complaints")
        return 1
    print(f"{name}: no promise broken")
    return 0
