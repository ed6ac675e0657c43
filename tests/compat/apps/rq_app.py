"""rq_app: jobs of RQ and their worker, for test_app_rq.py. `worker` serves the queue; `produce` fills it until it reads a
line, and ends when all is done."""

import os
import sys
import time
from datetime import timedelta

import redis
from rq import Queue, Retry, Worker
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry

from journal import note, produce, until, watch_input

LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)


def work(job):
    """Takes a moment."""
    note("start", job)
    time.sleep(0.002)
    note("done", job)
    return job


def stubborn(job):
    """Fails once."""
    note("start", job)
    mark = os.path.join(os.path.dirname(os.environ["JOURNAL"]), f"tried-{job}")
    if not os.path.exists(mark):
        with open(mark, "wb"):
            pass
        raise ValueError("as it should")
    note("done", job)
    return job


class NotingWorker(Worker):
    """Says when the broker has taken a job's result."""

    def handle_job_success(self, job, queue, started_job_registry):
        super().handle_job_success(job, queue, started_job_registry)
        note("acked", job.id)


def queue_of(client):
    """Of all."""
    return Queue("work", connection=client, default_timeout=20)


def serve(client):
    """Until it is killed."""
    NotingWorker([queue_of(client)], connection=client, job_monitoring_interval=2).work(
        with_scheduler=True, logging_level="WARNING")


def fill(client):
    """Plain jobs, later ones, ones that need another, ones that fail at first."""
    watch_input()
    queue = queue_of(client)
    added = set()

    def add(number):
        job, options = f"j{number}", {"retry": Retry(max=100), "result_ttl": 3600}
        if number % 10 == 1:
            queue.enqueue_in(timedelta(seconds=1), work, job, job_id=job, **options)
        elif number % 10 == 2:
            queue.enqueue(stubborn, job, job_id=job, **options)
        else:
            first = queue.enqueue(work, job, job_id=job, **options)
            if number % 10 == 3:
                queue.enqueue(work, f"{job}-next", job_id=f"{job}-next", depends_on=first, **options)
                added.add(f"{job}-next")
                note("added", f"{job}-next")
        added.add(job)
        return [job]

    produce(add, LOST, 0.04)
    failed, started, finished = (kind("work", connection=client) for kind in (
        FailedJobRegistry, StartedJobRegistry, FinishedJobRegistry))

    stuck = {"jobs": set(), "since_s": time.time()}

    def is_over():
        if set(started.get_job_ids()) != stuck["jobs"] or not stuck["jobs"]:
            stuck.update(jobs=set(started.get_job_ids()), since_s=time.time())
        elif time.time() > stuck["since_s"] + 5:
            started.cleanup(int(time.time()) + 3600)  # whose worker is gone; RQ itself waits a minute longer
        for job in failed.get_job_ids():
            failed.requeue(job)
        left = added - set(finished.get_job_ids())
        return not left or sorted(left)[:8]

    until(is_over, LOST, "all is done")
    for job in added:
        assert Job.fetch(job, connection=client).result == job


def main():
    """What the command line says."""
    client = redis.Redis.from_url(os.environ["BROKER_URL"])
    {"worker": serve, "produce": fill}[sys.argv[1]](client)


if __name__ == "__main__":
    sys.modules["rq_app"] = sys.modules["__main__"]
    work.__module__ = stubborn.__module__ = "rq_app"
    main()
