"""celery_work: tasks of Celery that are acknowledged late, for test_app_celery.py: plain ones, ones that retry, ones with an
ETA, chords. A worker is started with `python3 -m celery -A celery_work worker`; `produce` gives it work until it reads a line."""

import contextlib
import os
import sys
import time

from celery import Celery, chord
from celery.exceptions import ChordError
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as LostConnection, TimeoutError as LateError

from journal import NotInTime, note, produce, until, watch_input

LOST = (OperationalError, LostConnection, LateError, OSError)
app = Celery("celery_work", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
app.conf.update(
    broker_transport_options={"visibility_timeout": 6},
    broker_connection_retry_on_startup=True,
    result_expires=600,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=2,
)


@app.task
def work(job):
    """Takes a moment."""
    note("start", job)
    time.sleep(0.002)
    note("done", job)
    return job


@app.task(bind=True, max_retries=100)
def stubborn(self, job):
    """Fails once."""
    note("start", job)
    if self.request.retries < 1:
        raise self.retry(countdown=0.2)
    note("done", job)
    return job


@app.task
def gather(parts, job):
    """The end of a chord, once all of it is done."""
    note("start", job)
    assert sorted(parts) == [f"{job}-{part}" for part in "abc"], parts
    note("done", job)
    return job


def fill():
    """Until it is enough, and then until all is done and the results say so."""
    watch_input()
    results = {}

    def add(number):
        job = f"j{number}"
        if number % 10 == 1:
            results[job] = work.apply_async((job,), countdown=1)
        elif number % 10 == 2:
            results[job] = stubborn.delay(job)
        elif number % 10 == 3:
            parts = [f"{job}-{part}" for part in "abc"]
            results[job] = chord([work.s(part) for part in parts])(gather.s(job))
        else:
            results[job] = work.delay(job)
        return [job]

    produce(add, LOST, 0.02)

    def is_over():
        return not left_of(results) or left_of(results)[:8]

    with contextlib.suppress(NotInTime):
        until(is_over, LOST, "all is done", 20)
    for job in left_of(results):
        note("left", job)
    for job, result in results.items():
        if app.backend.get_state(result.id) == "FAILURE":
            tell_failure(job, app.backend.get_result(result.id))
        elif job not in left_of(results):
            assert app.backend.get_result(result.id) == job


def left_of(results):
    """Those without a result."""
    return [job for job, result in results.items() if app.backend.get_state(result.id) not in ("SUCCESS", "FAILURE")]


def tell_failure(job, why):
    """Celery gives a task up whose worker loses its connection while it stores the result, or passes it on."""
    assert isinstance(why, LOST + (ChordError,)) or type(why).__name__ in ("ConnectionError", "OperationalError"), why
    note("told", job)


if __name__ == "__main__":
    sys.modules["celery_work"] = sys.modules["__main__"]
    fill()
