"""django_app: Django's cache and its sessions by django-redis, for test_app_django.py. What was taken is there, and nothing
is counted twice."""

import os
import threading
import time

import django
from django.conf import settings

from journal import STOPPED, note, watch_input

settings.configure(
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ["BROKER_URL"], "TIMEOUT": 600}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache", SECRET_KEY="none", INSTALLED_APPS=["django.contrib.sessions"],
    USE_TZ=True)
django.setup()

# pylint: disable=wrong-import-position # they need the settings
from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django_redis.exceptions import ConnectionInterrupted  # noqa: E402
from redis.exceptions import ConnectionError as LostConnection, TimeoutError as LateError  # noqa: E402

LOST = (ConnectionInterrupted, LostConnection, LateError)
FAILURES = []


class Value:
    """One that a single thread writes: the last that was taken, and those of which nobody knows."""

    def __init__(self, write, read):
        self.write, self.read = write, read
        self.may_be = [None]

    def step(self, new):
        """Write, then read."""
        self.may_be.append(new)
        self.write(new)
        self.may_be = [new]
        found = self.read()
        assert found == new, f"{found} is there instead of {new}"

    def look(self):
        """After trouble: one of them, which is it from now on."""
        found = self.read()
        assert found in self.may_be, f"{found} is none of {self.may_be}"
        self.may_be = [found]


class Session:
    """The same of a session that is loaded anew each time."""

    def __init__(self):
        self.key = None

    def write(self, number):
        """The first time it is made."""
        store = SessionStore(self.key)
        store["number"] = number
        store.save()
        self.key = store.session_key

    def read(self):
        """As the next request does it."""
        return SessionStore(self.key).get("number") if self.key else None


def visit(who):
    """Until it is enough."""
    session = Session()
    values = [Value(lambda n: cache.set(f"value:{who}", n), lambda: cache.get(f"value:{who}")),
              Value(lambda n: cache.set_many({f"a:{who}": n, f"b:{who}": n}),
                    lambda: cache.get_many([f"a:{who}", f"b:{who}"]).get(f"b:{who}")),
              Value(session.write, session.read)]
    counted = unsure = number = 0
    while not STOPPED.is_set():
        number += 1
        try:
            for value in values:
                value.look() if len(value.may_be) > 1 else None
                value.step(number)
            unsure += 1
            if number == 1:
                cache.set(f"count:{who}", 0, nx=True)
            found = cache.incr(f"count:{who}") if cache.get(f"count:{who}") is not None else 0
            unsure -= 1
            if found:
                assert counted < found <= counted + unsure + 1, f"{found} after {counted}, {unsure} unsure"
                counted, unsure = found, 0
            else:
                cache.set(f"count:{who}", 0, nx=True)
            note("done", f"{who}-{number}")
        except LOST:
            note("unsure", f"{who}-{number}")
            time.sleep(0.05)
        except AssertionError as exc:
            FAILURES.append(f"{who}: {exc}")
            STOPPED.set()
        STOPPED.wait(0.01)


def main():
    """Four visitors at once."""
    watch_input()
    threads = [threading.Thread(target=visit, args=(f"v{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not FAILURES, FAILURES
    cache.delete_pattern("a:*")
    assert not list(cache.iter_keys("a:*")) and list(cache.iter_keys("b:*"))


if __name__ == "__main__":
    main()
