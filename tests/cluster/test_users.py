"""Users in a cluster are one: a change is in force on every node when it is answered, there after a restart and on a node that joins,
kept over the death of whoever decides; a node that is cut off goes on with what it knew."""

import contextlib
import itertools
import threading

import pytest

from lib.resp import Client, Closed, RespError
from lib.wait import SCALE, wait_until

PATIENCE_S = 30 * SCALE
WRONG = RespError("WRONGPASS invalid username-password pair or user is disabled.")
NO_KEY = RespError("NOPERM No permissions to access a key")


def users_of(node):
    """ACL LIST, or None if it is not told."""
    answer = node.ask("ACL", "LIST")
    return answer if isinstance(answer, list) else None


def info(node):
    """INFO cluster as a dict."""
    return dict(row.split(":", 1) for row in node.ask("INFO", "cluster").decode().split("\r\n") if ":" in row)


@pytest.fixture
def login():
    """login(node, name) connects as a user with the password pw."""
    with contextlib.ExitStack() as opened:
        def connect(node, name):
            client = opened.enter_context(Client(node.address, timeout_s=PATIENCE_S))
            assert client.call("AUTH", name, "pw") == "OK"
            return client

        yield connect


def test_a_change_is_in_force_on_every_node_when_it_is_answered(start_cluster, login):
    cluster = start_cluster()
    with contextlib.ExitStack() as opened:
        asked = [opened.enter_context(node.client()) for node in cluster]
        assert cluster[0].ask("ACL", "SETUSER", "al", "on", ">pw", "+@all", "~*", "&*") == "OK"
        users = [login(node, "al") for node in cluster]
        for number in range(12):
            by = asked[number % 3]
            assert by.call("ACL", "SETUSER", "al", "resetkeys", f"~k{number}") == "OK"
            for user in users:
                assert user.call("EXISTS", f"k{number}") == 0
                assert user.call("EXISTS", f"k{number + 1}") == NO_KEY
            assert by.call("ACL", "SETUSER", "bo", "on", ">pw") == "OK"
            logins = [login(node, "bo") for node in cluster]
            assert asked[(number + 1) % 3].call("ACL", "DELUSER", "bo", "bo", "nobody") == 1
            assert [client.call("ACL", "GETUSER", "bo") for client in asked] == [None] * 3
            assert all(client.closes() for client in logins)
        assert [client.call("AUTH", "bo", "pw") for client in asked] == [WRONG] * 3
        assert {info(node)["fanfare_users"] for node in cluster} == {"cluster"}


def test_what_is_allowed_no_more_ends_on_every_node_at_once(start_cluster, login):
    cluster = start_cluster()
    first, second, third = cluster
    for name in ("al", "bo"):
        assert first.ask("ACL", "SETUSER", name, "on", ">pw", "+@all", "~*", "&*") == "OK"
    listener, by_pattern, blocked, keeps = login(second, "al"), login(third, "al"), login(third, "bo"), login(second, "bo")
    listener.call("SUBSCRIBE", "news")
    by_pattern.call("PSUBSCRIBE", "n*")
    keeps.call("SUBSCRIBE", "news")
    blocked.send("BLPOP", "q", 0)
    wait_until(lambda: b" cmd=blpop " in third.ask("CLIENT", "LIST"), PATIENCE_S)
    assert first.ask("PUBLISH", "news", "1") == 3
    assert first.ask("ACL", "SETUSER", "al", "resetchannels", "&other") == "OK"
    assert first.ask("PUBLISH", "news", "2") == 1, "nobody counts who may not listen"
    assert listener.closes() and by_pattern.closes()
    assert first.ask("ACL", "SETUSER", "bo", "resetkeys", "~p") == "OK"
    assert blocked.reply() == NO_KEY
    assert second.ask("RPUSH", "q", "x") == 1
    assert first.ask("ACL", "DELUSER", "bo") == 1
    assert keeps.closes()
    assert third.ask("LRANGE", "q", 0, -1) == [b"x"]


def test_the_log_tells_of_all_nodes_and_is_forgotten_on_all(start_cluster, login):
    cluster = start_cluster()
    assert cluster[0].ask("ACL", "SETUSER", "al", "on", ">pw", "+get") == "OK"
    for number, node in enumerate(cluster):
        client = login(node, "al")
        for _ in range(number + 1):
            assert client.call("GET", f"k{number}") == NO_KEY
    for node in cluster:
        entries = [dict(zip(e[::2], e[1::2])) for e in node.ask("ACL", "LOG")]
        assert sorted((e[b"object"], e[b"count"], e[b"node"].decode()) for e in entries) == [
            (f"k{number}".encode(), number + 1, cluster[number].name) for number in range(3)]
        times = [e[b"timestamp-last-updated"] for e in entries]
        assert times == sorted(times, reverse=True)
        assert all(e[b"username"] == b"al" and e[b"reason"] == b"key" and b" user=al " in e[b"client-info"] for e in entries)
        assert len(node.ask("ACL", "LOG", 2)) == 2
    assert cluster[1].ask("ACL", "LOG", "RESET") == "OK"
    assert [node.ask("ACL", "LOG") for node in cluster] == [[], [], []]
    cluster[2].kill()
    wait_until(lambda: cluster[0].ask("ACL", "LOG") == [], PATIENCE_S, "who is down is not asked")


def test_default_and_its_password_are_those_of_all(start_cluster):
    cluster = start_cluster()
    first, second, third = cluster
    with first.client() as client:
        assert client.call("CONFIG", "SET", "requirepass", "door") == "OK"
        for node in (second, third):
            assert node.ask("PING") == RespError("NOAUTH Authentication required.")
            with node.client() as other:
                assert other.call("AUTH", "door") == "OK"
                assert other.call("ACL", "WHOAMI") == b"default"
        assert client.call("ACL", "SETUSER", "default", "nopass") == "OK"
    assert second.ask("PING") == "PONG"


def test_a_cluster_begins_with_a_founders_users_and_file(make_cluster, tmp_path):
    path = tmp_path / "users.acl"
    path.write_text("user al on >pw +@all ~*\nuser bo off\n")
    cluster = make_cluster(1, options={"aclfile": path}).start()
    joining = cluster.add(aclfile="", requirepass="mine")
    joining.begin()
    wait_until(joining.is_ready, PATIENCE_S)
    first = cluster[0]
    assert users_of(joining) == users_of(first)
    assert [row.split()[1] for row in users_of(joining)] == [b"al", b"bo", b"default"]
    assert first.ask("ACL", "SETUSER", "cy", "on") == "OK"
    assert joining.ask("ACL", "SAVE") == RespError(
        "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER "
        "command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store "
        "users in the Redis configuration.")
    assert first.ask("ACL", "LOAD") == "OK"
    assert [row.split()[1] for row in users_of(joining)] == [b"al", b"bo", b"default"]
    assert first.ask("ACL", "DELUSER", "bo") == 1 and first.ask("ACL", "SAVE") == "OK"
    assert [row.split()[1] for row in path.read_text().splitlines()] == ["al", "default"]
    path.write_text("user al on\nnonsense\n")
    assert "line 2: " in str(first.ask("ACL", "LOAD"))
    assert [row.split()[1] for row in users_of(joining)] == [b"al", b"default"]


def test_a_node_that_is_down_or_new_has_them_when_it_is_back(start_cluster):
    cluster = start_cluster()
    first, second, third = cluster
    assert first.ask("ACL", "SETUSER", "al", "on", ">pw", "+@all", "~*") == "OK"
    third.kill()
    assert first.ask("ACL", "SETUSER", "bo", "on", ">pw") == "OK", "who is down is not waited for"
    assert second.ask("ACL", "DELUSER", "al") == 1
    before = users_of(first)
    third.begin()
    wait_until(lambda: users_of(third) == before, PATIENCE_S)
    for node in cluster:
        node.kill()
    for node in cluster:
        node.begin()
    wait_until(lambda: all(users_of(node) == before for node in cluster), PATIENCE_S)
    cluster.wait_settled()
    joining = cluster.add()
    joining.begin()
    wait_until(joining.is_ready, PATIENCE_S)
    assert users_of(joining) == before


def test_a_node_that_is_cut_off_keeps_what_it_knew_and_says_so(start_cluster, login):
    cluster = start_cluster()
    left = cluster[2]
    assert left.ask("ACL", "SETUSER", "al", "on", ">pw", "+@all", "~*", "&*") == "OK"
    client = login(left, "al")
    before = users_of(left)
    others = [cluster[0], cluster[1]]
    for node in others:
        node.pause()
    wait_until(lambda: info(left)["fanfare_users"] == "kept", PATIENCE_S)
    assert client.call("ACL", "WHOAMI") == b"al"
    refusal = str(client.call("ACL", "SETUSER", "bo", "on"))
    assert refusal.startswith(("CLUSTERDOWN", "INDOUBT")), refusal
    assert users_of(left) == before
    left.kill()
    left.begin()
    wait_until(lambda: users_of(left) == before, PATIENCE_S, "also after a restart")
    client = login(left, "al")
    left.pause()
    for node in others:
        node.resume()
    wait_until(lambda: others[0].ask("ACL", "DELUSER", "al") in (0, 1), PATIENCE_S)
    assert [row.split()[1] for row in users_of(others[0])][0] != b"al"
    left.resume()
    assert client.closes(), "it catches up, and closes what is allowed no more"
    assert login_fails(left)


def login_fails(node):
    """Nobody is al there."""
    return node.ask("AUTH", "al", "pw") == WRONG


def test_answered_changes_survive_the_death_of_whoever_decides(start_cluster):
    cluster = start_cluster()
    is_over = threading.Event()
    done = [{}, {}, {}]

    def change(number, node):
        """One user of its own after the other: what was answered, and what was asked last."""
        with contextlib.suppress(OSError, Closed):
            with Client(node.address, timeout_s=PATIENCE_S) as client:
                for count in itertools.count():
                    if is_over.is_set():
                        return
                    name = f"u{number}-{count % 7}"
                    rules = ("reset", "on", f"~a{count}", f"~b{count}")
                    done[number].setdefault(name, []).append((count, False))
                    if client.call("ACL", "SETUSER", name, *rules) == "OK":
                        done[number][name][-1] = (count, True)

    threads = [threading.Thread(target=change, args=pair) for pair in enumerate(cluster)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            wanted = [sum(is_done for rows in d.values() for _, is_done in rows) + 20 for d in done]
            alive = [number for number, thread in enumerate(threads) if thread.is_alive()]
            wait_until(lambda: any(sum(is_done for rows in done[n].values() for _, is_done in rows) >= wanted[n]
                                   for n in alive), PATIENCE_S)
            leader = cluster.leader()
            leader.kill()
            leader.begin()
            cluster.wait_formed()
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    wait_until(lambda: all(users_of(node) == users_of(cluster[0]) is not None for node in cluster), PATIENCE_S)
    found = {row.split()[1].decode(): row.decode() for row in users_of(cluster[0])}
    for name, rows in itertools.chain(*(d.items() for d in done)):
        last_done = max((count for count, is_done in rows if is_done), default=None)
        allowed = [count for count, _ in rows if last_done is None or count >= last_done]
        if name not in found:
            assert last_done is None, f"{name}: change {last_done} was answered"
            continue
        assert any(f" ~a{count} ~b{count} " in found[name] for count in allowed), (found[name], allowed)
