"""Celery, with the broker as its queue and as its store of results: an application that nobody has changed."""

import contextlib
import gc
import importlib
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest
import redis

from lib import targets
from lib.cluster_endpoint import Unavailable
from lib.wait import SCALE, wait_until

pytest.importorskip("celery", reason="python3-celery is not installed (deploy/setup.sh test)")
kombu = pytest.importorskip("kombu")

APPS = pathlib.Path(__file__).parent / "apps"
TASK_DEADLINE_S = 40 * SCALE


class Workers:
    """Processes of Celery that serve one target."""

    def __init__(self, target, directory):
        self.env = {**os.environ, "BROKER_URL": target.url(0), "RESULT_URL": target.url(1), "PYTHONPATH": str(APPS)}
        self.directory = directory
        self.running = []
        self.started = 0

    def start(self):
        """One more, with two threads."""
        self.started += 1
        log = self.directory / f"worker{self.started}"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-P",
                 "threads", "-c", "2", "-n", f"w{self.started}@test", "-l", "info", "--without-mingle"],
                env=self.env, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        self.running.append(process)
        wait_until(lambda: process.poll() is not None or " ready." in log.read_text(), 60 * SCALE, "the worker is ready")
        assert process.poll() is None, log.read_text()
        return process

    def logs(self):
        """What they say."""
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.directory.glob("worker*")))

    def close(self):
        """End all."""
        for process in self.running:
            process.kill()
            process.wait()


@pytest.fixture(scope="module", params=targets.kinds())
def workers(request, tmp_path_factory):
    """Two workers of a target."""
    try:
        with targets.running(request.param) as target:
            found = Workers(target, tmp_path_factory.mktemp("celery"))
            os.environ.update({name: found.env[name] for name in ("BROKER_URL", "RESULT_URL")})
            try:
                found.start()
                found.start()
                yield found
            finally:
                found.close()
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture
def tasks(workers):
    """The module of tasks, as a producer has it."""
    sys.path.insert(0, str(APPS))
    sys.modules.pop("celery_app", None)
    module = importlib.import_module("celery_app")
    yield module
    gc.collect()  # results unsubscribe when they are forgotten
    module.app.close()
    sys.path.remove(str(APPS))


@pytest.fixture(autouse=True)
def tell_logs(workers, request):
    """What the workers said, if a test fails."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(workers.logs())


def test_many_tasks_have_their_results(tasks):
    results = [tasks.add.delay(number, 1) for number in range(200)]
    assert [r.get(timeout=TASK_DEADLINE_S) for r in results] == list(range(1, 201))


def test_groups_chains_and_chords(tasks):
    grouped = tasks.group(tasks.add.s(n, n) for n in range(20))()
    assert grouped.get(timeout=TASK_DEADLINE_S) == [2 * n for n in range(20)]
    assert tasks.chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4))().get(timeout=TASK_DEADLINE_S) == 10
    for _ in range(3):
        assert tasks.chord([tasks.add.s(n, 1) for n in range(10)])(tasks.total.s()).get(timeout=TASK_DEADLINE_S) == 55


def test_retries_failures_and_states(tasks):
    assert tasks.stubborn.delay(2).get(timeout=TASK_DEADLINE_S) == 2
    with pytest.raises(ValueError, match="as it should"):
        tasks.broken.delay().get(timeout=TASK_DEADLINE_S)
    started = tasks.slow.delay(1, "token")
    wait_until(lambda: started.state == "STARTED", TASK_DEADLINE_S)
    assert started.get(timeout=TASK_DEADLINE_S) == "token" and started.state == "SUCCESS"
    started.forget()


def test_tasks_wait_until_they_are_due_and_priorities_are_queues(tasks):
    begin_s = time.time()
    later, sooner = tasks.clock.apply_async(countdown=2), tasks.clock.apply_async(priority=9)
    later_s = later.get(timeout=TASK_DEADLINE_S)
    assert later_s >= begin_s + 2
    assert sooner.get(timeout=TASK_DEADLINE_S) < later_s


def test_what_a_killed_worker_had_is_done_by_another(workers, tasks):
    """What it had not acknowledged is visible again after three seconds, for a worker that starts or, later, one that runs.
    It is killed when it has noted all that it popped: what kombu has popped and not noted is lost with it, on any server."""
    tokens = [f"t{number}" for number in range(8)]
    results = [tasks.slow.delay(1, token) for token in tokens]
    with redis.Redis.from_url(workers.env["BROKER_URL"]) as client:
        wait_until(lambda: client.hlen("unacked") + sum(r.ready() for r in results) >= len(results), TASK_DEADLINE_S,
                   "all are noted")
        workers.running.pop(0).kill()

        def is_overdue():
            oldest = client.zrange("unacked_index", 0, 0, withscores=True)
            return oldest and oldest[0][1] < time.time() - 3
        wait_until(is_overdue, TASK_DEADLINE_S, "what it had is overdue")
    workers.start()
    assert [r.get(timeout=2 * TASK_DEADLINE_S) for r in results] == tokens


def test_remote_control_and_events_go_by_pubsub(workers, tasks):
    wait_until(lambda: len(tasks.app.control.inspect(timeout=2).ping() or {}) >= 2, TASK_DEADLINE_S)
    assert all(name.startswith("celery_app.") or name.startswith("celery.")
               for found in tasks.app.control.inspect(timeout=2).registered().values() for name in found)


def test_kombu_s_queues_and_exchanges(workers):
    with kombu.Connection(workers.env["BROKER_URL"]) as connection:
        with connection.SimpleQueue("simple") as queue:
            for number in range(50):
                queue.put({"number": number})
            assert queue.qsize() == 50
            for number in range(50):
                message = queue.get(timeout=TASK_DEADLINE_S)
                assert message.payload == {"number": number}
                message.ack()
        heard = []
        channel = connection.channel()
        topics, all_of_it = kombu.Exchange("topics", "topic"), kombu.Exchange("fans", "fanout")
        queues = [kombu.Queue("red", topics, routing_key="red.*"), kombu.Queue("any", topics, routing_key="#"),
                  kombu.Queue("fan", all_of_it)]
        with kombu.Consumer(channel, queues, callbacks=[lambda body, message: (heard.append(
                (message.delivery_info["routing_key"], body)), message.ack())]):
            producer = kombu.Producer(connection.channel())
            producer.publish("one", exchange=topics, routing_key="red.hot", declare=queues)
            producer.publish("two", exchange=topics, routing_key="blue", declare=queues)
            wait_until(lambda: (drain(connection), len(heard) >= 3)[1], TASK_DEADLINE_S)
            wait_until(lambda: (producer.publish("fan", exchange=all_of_it), drain(connection),
                                any(body == "fan" for _, body in heard))[2], TASK_DEADLINE_S)
        assert sorted(h for h in heard if h[1] != "fan") == [("blue", "two"), ("red.hot", "one"), ("red.hot", "one")]


def drain(connection):
    """What has arrived."""
    with contextlib.suppress(socket.timeout):
        while True:
            connection.drain_events(timeout=0.2)
