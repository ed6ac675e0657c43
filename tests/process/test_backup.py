"""fanfare backup and fanfare restore: all of one broker into another, of another layout; damaged files; what is there already."""

import random
import subprocess

import pytest

from lib.broker import FanfareProgram, run_cli
from lib.import_work import RUN_S, fill, fill_large
from lib.key_content import assert_same, databases
from lib.resp import RespError

pytestmark = pytest.mark.fanfare_only

DONE, FAILED, BAD_FILE, USAGE = 0, 1, 2, 64


def at(broker):
    return "%s:%d" % broker.address


def backup(broker, path):
    done = run_cli("backup", "--from", at(broker), "--to", str(path), timeout_s=RUN_S)
    assert done.returncode == DONE, done.stderr
    return done


def restore(path, broker, *options):
    return run_cli("restore", str(path), "--to", at(broker), *options, timeout_s=RUN_S)


def fill_streams(client):
    """What Redis's own form has no place for: entries that are nobody's, consumers that never got anything, how many ids are kept."""
    for key, count in (("small", 20), ("great", 9000)):
        client.calls([["XADD", key, "%d-1" % (n + 1), "f", n] for n in range(count)])
        client.call("XGROUP", "CREATE", key, "g", "0")
        client.call("XREADGROUP", "GROUP", "g", "c", "COUNT", count // 2, "STREAMS", key, ">")
        client.call("XNACK", key, "g", "FAIL", "IDS", count // 4, *["%d-1" % (n + 1) for n in range(count // 4)])
        client.call("XGROUP", "CREATECONSUMER", key, "g", "idle")
        client.call("XCFGSET", key, "IDMP-DURATION", 77, "IDMP-MAXSIZE", 7)


def released(client, key):
    """What is pending for nobody, and whose the rest is."""
    found = client.call("XPENDING", key, "g", "-", "+", 100000)
    return [(entry[0], entry[1], entry[3]) for entry in found]


def test_all_of_a_broker_comes_back_in_another_layout(start_broker, tmp_path):
    first = start_broker()
    second = start_broker({"partitions": 3, "sharded-databases": "0,3"})
    path = tmp_path / "all"
    with first.client() as source, second.client() as target:
        for db in (0, 3, 15):
            source.call("SELECT", db)
            fill(source, random.Random(db))
        source.call("SELECT", 7)
        fill_large(source)
        fill_streams(source)
        source.call("HSET", "fields", "a", 1, "b", 2)
        source.call("HPEXPIREAT", "fields", 4000000000000, "FIELDS", 1, "a")
        sha = source.call("SCRIPT", "LOAD", "return 'kept'")
        backup(first, path)
        before = databases(source)
        done = restore(path, second)
        assert done.returncode == DONE, done.stderr
        assert f"{len(before)} keys, 1 scripts and 0 users restored" in done.stdout, done.stdout
        assert_same(source, target)
        assert target.call("EVALSHA", sha, 0) == b"kept"
        for client in (source, target):
            client.call("SELECT", 7)
        assert target.call("HPEXPIRETIME", "fields", "FIELDS", 2, "a", "b") == [4000000000000, -1]
        for key in ("small", "great"):
            assert released(source, key) == released(target, key)
            info = [dict(zip(full[::2], full[1::2])) for full in (c.call("XINFO", "STREAM", key) for c in (source, target))]
            assert info[0].get(b"idmp-duration") == info[1].get(b"idmp-duration")
        assert [c.call("XINFO", "CONSUMERS", "small", "g")[1][0:4] for c in (source, target)] == \
            [[b"name", b"idle", b"pending", 0]] * 2


def test_a_damaged_file_is_refused_by_name_and_nothing_is_written(start_broker, tmp_path):
    broker, target = start_broker(), start_broker()
    path, bad = tmp_path / "good", tmp_path / "bad"
    with broker.client() as client:
        fill(client, random.Random(1), 10)
    backup(broker, path)
    whole = path.read_bytes()
    flipped = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1:] for n in (0, 9, 300, len(whole) // 2, len(whole) - 1)]
    with target.client() as client:
        for content in (*flipped, whole[:-1], whole[:len(whole) // 2], whole + b"x", b"REDIS0012", b""):
            bad.write_bytes(content)
            done = restore(bad, target)
            assert done.returncode == BAD_FILE and str(bad) in done.stderr, done.stderr
            assert client.call("DBSIZE") == 0
        assert restore(path, target, "--dry-run").returncode == DONE
        assert client.call("DBSIZE") == 0


def test_a_target_with_keys_is_written_to_only_with_replace(start_broker, tmp_path):
    broker = start_broker()
    with broker.client() as client:
        client.calls([["SET", "a", 1], ["SET", "b", 2]])
        backup(broker, tmp_path / "file")
        client.calls([["SET", "a", "new"], ["SET", "c", 3]])
        refused = restore(tmp_path / "file", broker)
        assert refused.returncode == FAILED and "--replace" in refused.stderr
        assert client.call("GET", "a") == b"new"
        assert restore(tmp_path / "file", broker, "--replace").returncode == DONE
        assert client.call("MGET", "a", "b", "c") == [b"1", b"2", b"3"]


def test_it_streams_with_a_password(start_broker):
    first, second = start_broker({"requirepass": "p@ss"}), start_broker({"requirepass": "other"})
    address = "fanfare://:%s@" + "%s:%d"
    with first.client() as client:
        client.call("AUTH", "p@ss")
        client.calls([["SET", "key:%d" % n, "x" * n] for n in range(2000)])
    refused = run_cli("backup", "--from", at(first), "--to", "/dev/null", timeout_s=RUN_S)
    assert refused.returncode == FAILED and "NOAUTH" in refused.stderr
    program = FanfareProgram().path
    with subprocess.Popen([program, "backup", "--from", address % ("p%40ss", *first.address)], stdout=subprocess.PIPE) as out:
        done = subprocess.run([program, "restore", "--to", address % ("other", *second.address)], stdin=out.stdout,
                              capture_output=True, timeout=RUN_S, check=False)
        assert out.wait(RUN_S) == DONE
    assert done.returncode == DONE, done.stderr
    with second.client() as client:
        client.call("AUTH", "other")
        assert client.call("DBSIZE") == 2000 and client.call("GET", "key:1999") == b"x" * 1999


def test_the_program_says_what_it_wants(start_broker, tmp_path):
    broker = start_broker()
    for args in (["backup", "--form", "x"], ["backup", "file"], ["backup", "--from", "rediss://x:1"], ["restore", "a", "b"],
                 ["backup", "--rate", "0"]):
        done = run_cli(*args)
        assert done.returncode == USAGE and "usage: fanfare" in done.stderr, done.stderr
    assert run_cli("backup", "--from", at(broker), "--to", str(tmp_path / "no" / "where")).returncode == FAILED
    gone = run_cli("restore", str(tmp_path / "none"), "--to", at(broker))
    assert gone.returncode == BAD_FILE and "No such file" in gone.stderr


def test_users_come_back_if_that_is_asked_for(start_broker, tmp_path):
    first, second = start_broker(), start_broker()
    rules = ["on", ">secret", "~a:*", "%R~b:*", "&news", "+@read", "-keys", "(~c:* +set)", "(%W~d:* +lpush)"]
    with first.client() as source, second.client() as target:
        assert source.call("ACL", "SETUSER", "alice", *rules) == "OK"
        source.call("ACL", "SETUSER", "bob", "off")
        target.call("ACL", "SETUSER", "bob", "on", "nopass", "+@all")
        target.call("ACL", "SETUSER", "carol", "on")
        backup(first, tmp_path / "file")
        assert "0 users" in restore(tmp_path / "file", second).stdout
        assert "carol" not in source.call("ACL", "USERS") and b"alice" not in target.call("ACL", "USERS")
        done = restore(tmp_path / "file", second, "--users")
        assert done.returncode == DONE and "3 users" in done.stdout, done.stderr
        theirs = [line for line in target.call("ACL", "LIST") if not line.startswith(b"user carol ")]
        assert theirs == source.call("ACL", "LIST")
        target.call("AUTH", "alice", "secret")
        assert target.call("GET", "a:1") is None


def test_who_may_not_read_everything_may_not_back_up(start_broker):
    broker = start_broker()
    with broker.client() as client:
        client.call("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@all", "-@dangerous")
        client.call("AUTH", "reader", "x")
        reply = client.call("BACKUP", "BEGIN", 0)
        assert isinstance(reply, RespError) and str(reply).startswith("NOPERM"), reply
