"""celery_app: tasks that check themselves, for test_celery.py. BROKER_URL and RESULT_URL say where; a worker is started with
`python3 -m celery -A celery_app worker`."""

import os
import time

from celery import Celery, chain, chord, group  # noqa: F401 # pylint: disable=unused-import # for the test

app = Celery("celery_app", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
app.conf.update(
    broker_transport_options={"visibility_timeout": 3, "priority_steps": [0, 3, 6, 9]},
    broker_connection_retry_on_startup=True,
    redis_socket_timeout=30,
    result_expires=600,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_track_started=True,
    worker_prefetch_multiplier=2,
)


@app.task
def add(one, two):
    """Simple."""
    return one + two


@app.task
def total(numbers):
    """The end of a chord."""
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def stubborn(self, failures):
    """Fails so many times before it does what it should."""
    if self.request.retries < failures:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task
def broken():
    """Fails."""
    raise ValueError("as it should")


@app.task
def slow(seconds, token):
    """Takes its time."""
    time.sleep(seconds)
    return token


@app.task
def clock():
    """When it ran."""
    return time.time()
