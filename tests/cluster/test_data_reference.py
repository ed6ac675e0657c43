"""The judge of durable data and its clients against a redis-server: one that keeps its word passes, with and without
kills; one that forgets, and one behind a proxy that lies, are found out."""

import contextlib
import random
import shutil

import pytest

from lib.broker import now_ns
from lib.checker_history import Fault
from lib.data_checker import violations
from lib.data_load import DataLoad, DataPlan
from lib.data_reference import ALWAYS, LyingProxy, Reference
from lib.data_scene import under_data_load
from lib.data_work import works_of

pytestmark = pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server here")

OPERATIONS = 1500


@pytest.fixture
def start_reference():
    """start_reference(extra_args) gives a redis-server that ends with the test."""
    with contextlib.ExitStack() as closing:
        def start(extra_args=ALWAYS):
            reference = Reference(extra_args)
            closing.callback(reference.close)
            return reference.start()
        yield start


def rules_after(reference, works, lie=None, kills=False):
    """The rules that were broken under a load of these workloads."""
    proxy = LyingProxy(reference.node.address, lie).start() if lie else None
    plan = DataPlan(works=works, pause_s=0.005)
    load = DataLoad(lambda: {"redis": proxy.address if proxy else reference.node.address}, 1, plan, works_of(plan))
    load.start()
    load.wait_for_ops(OPERATIONS)
    if kills:
        fault = Fault("kill", "redis", now_ns(), spares=True)
        load.history.faults.append(fault)
        reference.node.kill()
        reference.node.begin()
        load.wait_for_ops(OPERATIONS)
        fault.end_ns = now_ns()
    history = load.stop()
    if proxy:
        proxy.close()
    return {v.rule for v in violations(history)}


def test_a_server_that_syncs_always_keeps_every_promise_over_kills(start_reference):
    reference = start_reference()
    with under_data_load(reference) as scene:
        for _ in range(2):
            with scene.fault("kill", reference.node, spares=True):
                reference.node.kill()
                reference.node.begin()
            scene.wait_for_ops()


@pytest.mark.parametrize("works, rules", [
    (("append",), {"lost"}), (("txn",), {"lost"}), (("register",), {"linear"}), (("counter",), {"counted"})],
    ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_a_server_without_a_file_forgets_at_a_kill(start_reference, works, rules):
    assert rules_after(start_reference(()), works, kills=True) & rules


def now_and_then(commands, answer, chance=0.03):
    """A lie about some of these commands."""
    rng = random.Random(1)
    return lambda words: answer if words[0].decode().lower() in commands and rng.random() < chance else None


@pytest.mark.parametrize("works, lie, rule", [
    (("append",), now_and_then(("rpush", "xadd"), "twice"), "duplicate"),
    (("counter",), now_and_then(("incr", "hincrby"), "twice"), "counted"),
    (("register",), now_and_then(("set",), b"+OK\r\n", 0.2), "linear"),
    (("group",), now_and_then(("xack",), b":1\r\n"), "acked"),
    (("pop",), now_and_then(("rpush", "zadd", "sadd"), b":1\r\n", 0.2), "lost"),
    (("expiry",), now_and_then(("get",), b"$-1\r\n", 0.3), "early"),
    (("append",), now_and_then(("rpush",), b"-CLUSTERDOWN no\r\n"), "doubt"),
], ids=["twice", "counted twice", "SET", "XACK", "push", "GET", "refused"])
def test_a_proxy_that_lies_is_found_out(start_reference, works, lie, rule):
    assert rule in rules_after(start_reference(), works, lie)


def test_a_proxy_that_does_not_lie_is_none(start_reference):
    assert not rules_after(start_reference(), (), lambda words: None)
