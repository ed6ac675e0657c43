"""The load and its judge together, on what needs no cluster: a single node keeps every promise, also when it is killed;
two that know nothing of each other, taken for one cluster, do not, and that is seen."""

import random

from lib.broker import now_ns
from lib.checker import violations
from lib.checker_history import Fault
from lib.cluster import CLIENT_PORT
from lib.cluster_load import Load, Plan
from lib.wait import wait_until

PLAN = Plan(publishers=6, visitors=8, pause_s=0.01)


def load_on(cluster, seed):
    """Clients on all nodes of it."""
    return Load(lambda: {n.name: (n.bind_host, CLIENT_PORT) for n in cluster.running()}, seed, PLAN).start()


def wait_for_publishes(load, count):
    """So many more."""
    goal = len(load.history.publishes) + count
    wait_until(lambda: len(load.history.publishes) >= goal, what=f"{count} publishes")


def test_a_single_node_keeps_every_promise_also_when_it_is_killed(make_cluster):
    node, = cluster = make_cluster(1, plain=True).start()
    seed = random.randrange(1 << 32)
    load = load_on(cluster, seed)
    for _ in range(3):
        wait_for_publishes(load, 500)
        fault = Fault("kill", node.name, now_ns(), spares=True)
        load.history.faults.append(fault)
        node.kill()
        node.begin()
        wait_until(node.is_ready)
        fault.end_ns = now_ns()
    wait_for_publishes(load, 500)
    history = load.stop()
    found = violations(history)
    assert not found and not load.complaints, f"seed {seed}: {load.complaints[:3]}\n" + "\n".join(map(str, found[:10]))
    assert history.deliveries() > len(history.publishes)
    assert any(p.is_counted and p.outcome > 3 for p in history.publishes)
    assert any(s.closed_by == "server" for s in history.streams)


def test_two_nodes_that_do_not_know_each_other_do_not_pass_for_a_cluster(make_cluster):
    cluster = make_cluster(2, plain=True).start()
    load = load_on(cluster, 1)
    wait_for_publishes(load, 500)
    rules = {v.rule for v in violations(load.stop())}
    assert "lost" in rules


def test_a_planned_act_that_is_none_is_seen(make_cluster):
    """A kill that says it was a drain of another node."""
    node, = cluster = make_cluster(1, plain=True).start()
    load = load_on(cluster, 2)
    wait_for_publishes(load, 200)
    load.history.faults.append(Fault("drain", "another", now_ns(), planned=True))
    node.kill()
    node.begin()
    wait_for_publishes(load, 200)
    rules = {v.rule for v in violations(load.stop())}
    assert rules == {"planned"}
