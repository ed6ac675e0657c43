"""The life of pods: founded together, probed, replaced one by one under other addresses, more of them and fewer."""

import socket

import pytest
from lib.cluster_scene import heard, is_open, listen, members, one_cluster, publish, under_load
from lib.netns import Unavailable
from lib.wait import wait_until
from statefulset import PodNetwork, StatefulSet, watched


@pytest.fixture
def pods():
    """The pods of the base, none of them created yet; what they logged is shown if the test fails."""
    try:
        network = PodNetwork()
    except Unavailable as exc:
        pytest.skip(str(exc))
    stateful_set = StatefulSet(network)
    try:
        yield stateful_set
    finally:
        stateful_set.close()


@pytest.fixture
def running(pods):
    """The same, created and at rest."""
    pods.start()
    pods.wait_settled()
    return pods


def test_pods_that_are_created_at_once_found_one_cluster(running):
    one_cluster(running)
    assert set(members(running[0])) == {"fanfare-0", "fanfare-1", "fanfare-2"}
    hosts = {row[2][0].decode() for row in running[0].ask("CLUSTER", "SLOTS")}
    assert hosts == {running.world.host(pod.name) for pod in running}
    listener = listen(running[0], "news")
    assert publish(running[1], "news", b"hello") == 1
    assert heard(listener, 1) == [b"hello"]


def test_a_pod_without_its_cluster_has_started_and_lives_but_is_not_ready(pods):
    alone, *others = pods
    alone.begin()
    wait_until(lambda: alone.answers("startup"), what="the startup probe succeeds")
    assert alone.answers("liveness") and not alone.answers("readiness")
    for pod in others:
        pod.begin()
    pods.wait_settled()
    one_cluster(pods)


def test_a_pod_that_never_found_its_cluster_ends_at_once(pods):
    alone = pods[0]
    alone.begin()
    wait_until(lambda: alone.answers("startup"), what="the startup probe succeeds")
    assert pods.delete(alone) < 5


def test_a_rolling_update_under_load_is_noticed_by_nobody(running):
    before = one_cluster(running)
    with under_load(running) as scene:
        for pod in reversed(list(running)):
            others = [p for p in running if p is not pod]
            with scene.fault("move", pod, planned=True), watched(others):
                running.delete(pod)
                scene.wait_for_publishes()
                pod.begin()
                running.wait_ready(pod)
    assert one_cluster(running) == before


def test_three_pods_become_five_and_three_again_under_load(running):
    before = one_cluster(running)
    with under_load(running) as scene:
        first = list(running)
        newcomers = [running.add(), running.add()]
        with scene.fault("join", newcomers[0], planned=True), scene.fault("join", newcomers[1], planned=True):
            with watched(first):
                for pod in newcomers:
                    pod.begin()
                running.wait_settled()
        assert len(members(running[0])) == 5
        with scene.fault("leave", newcomers[0], planned=True), scene.fault("leave", newcomers[1], planned=True):
            with watched(first):
                running.delete(*newcomers)
                for pod in newcomers:
                    running.forget(pod)
                running.wait_settled()
    assert one_cluster(running) == before
    assert set(members(running[0])) == {"fanfare-0", "fanfare-1", "fanfare-2"}


def test_a_pod_whose_machine_is_lost_takes_no_other_out_of_service_and_comes_back_elsewhere(running):
    before = one_cluster(running)
    lost, *others = running
    with watched(others):
        lost.kill()
        wait_until(lambda: members(others[0])[lost.name]["state"] != "up", what="it is declared down")
        lost.begin()
        running.wait_settled()
    assert one_cluster(running) == before


def test_all_pods_come_back_elsewhere_after_a_power_cut(running):
    before = one_cluster(running)
    for pod in running:
        pod.kill()
    for pod in running:
        pod.begin()
    running.wait_settled()
    assert one_cluster(running) == before


def test_a_pod_that_ends_is_not_ready_and_still_lives_until_its_clients_have_what_is_theirs(running):
    ending, other, _ = running
    slow = ending.client(3, recv_buffer_bytes=4096)
    slow.send("SUBSCRIBE", "slow")
    slow.recv()
    for _ in range(64):
        assert publish(other, "slow", b"x" * (64 << 10)) == 1
    elsewhere = listen(other, "slow")
    ending.expects_death = True
    ending.signal(15)
    wait_until(lambda: not ending.answers("readiness"), what="the readiness probe fails")
    for _ in range(20):
        response = ending.page("/readyz")
        assert (response.status, response.text) == (503, "draining\n")
        assert ending.answers("liveness") and ending.answers("startup")
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    assert len(heard(slow, 64)) == 64
    assert ending.wait_exit() == 0
    assert is_open(elsewhere)
