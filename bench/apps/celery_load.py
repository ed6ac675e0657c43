"""Jobs of Celery: given by one thread, done by eight others of a worker in this process, with their results kept. Prints how
many seconds that took."""

import os
import queue
import sys
import time

from celery import Celery
from celery.contrib.testing.worker import start_worker

URL = f"redis://127.0.0.1:{os.environ['BROKER_PORT']}/0"
DONE = queue.Queue()
app = Celery("load", broker=URL, backend=URL)
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=4)


@app.task
def job(number):
    """One."""
    DONE.put(number)
    return number


def run(count):
    """So many."""
    for number in range(count):
        job.delay(number)
    for _ in range(count):
        DONE.get(timeout=60)


def main():
    """Warm up, measure."""
    with start_worker(app, pool="threads", concurrency=8, perform_ping_check=False, loglevel="error"):
        run(50)
        begin_s = time.monotonic()
        run(int(os.environ["JOBS"]))
        print(time.monotonic() - begin_s, flush=True)
        os._exit(0)  # the worker would take its time


if __name__ == "__main__":
    sys.modules["load"] = sys.modules["__main__"]
    main()
