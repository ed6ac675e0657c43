"""lock_app: contenders for the locks of redis-py, for test_app_redis_py_lock.py: whoever has one is alone, as long as it may be sure
that it still has it."""

import os
import threading
import time

import redis
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import LockError, LockNotOwnedError, TimeoutError as LateError

from journal import STOPPED, note, watch_input

TTL_S = 3
LOST = (LostConnection, LateError)
INSIDE = {"one": None, "two": None}
FAILURES = []


def enter(name, who, expires_s):
    """Alone for a moment."""
    before = INSIDE[name]
    assert before is None or before[1] < time.monotonic(), f"{who} is with {before[0]} in {name}"
    mine = INSIDE[name] = (who, expires_s)
    time.sleep(0.003)
    if INSIDE[name] is mine:
        INSIDE[name] = None


def turn(client, name, who, number):
    """Get it, be alone, give it back."""
    begin_s = time.monotonic()
    lock = client.lock(name, timeout=TTL_S, sleep=0.01)
    if not lock.acquire(blocking_timeout=20):
        note("unsure", who)
        return
    begin_s = max(begin_s, time.monotonic() - lock_wait(lock))
    if number % 3 == 1:
        begin_s = time.monotonic()
        lock.extend(TTL_S, replace_ttl=True)
    elif number % 3 == 2:
        begin_s = time.monotonic()
        lock.reacquire()
    enter(name, who, begin_s + TTL_S)
    lock.release()
    note("done", who)


def lock_wait(lock):
    """How long ago it may have been got: asked of the broker, which is sure to have counted less."""
    left_ms = lock.redis.pttl(lock.name)
    return TTL_S - left_ms / 1000 if left_ms > 0 else TTL_S


def contend(name_of_thread):
    """Until it is enough."""
    client = redis.Redis.from_url(os.environ["BROKER_URL"])
    number = 0
    while not STOPPED.is_set():
        number += 1
        who = f"{name_of_thread}-{number}"
        try:
            turn(client, ("one", "two")[number % 2], who, number)
        except LOST + (LockNotOwnedError, LockError):
            note("unsure", who)
            time.sleep(0.05)
        except AssertionError as exc:
            FAILURES.append(str(exc))
            STOPPED.set()


def main():
    """Four at once."""
    watch_input()
    threads = [threading.Thread(target=contend, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not FAILURES, FAILURES


if __name__ == "__main__":
    main()
