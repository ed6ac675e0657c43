"""fanfare import: a file, and a Redis that goes on being written to, into a broker; what cannot come over; lost connections."""

import contextlib
import pathlib
import random
import re
import shutil
import signal
import struct
import tempfile

import pytest

from lib import rdb_forms as forms
from lib.broker import run_cli
from lib.import_work import RUN_S, Import, Redis, Writers, fill, fill_large, history_end, replica_offset
from lib.key_content import assert_same, databases
from lib.ports import free_port
from lib.resp import Closed
from lib.wait import wait_until

pytestmark = pytest.mark.fanfare_only

DONE, FAILED, BAD_SOURCE, LEFT_OUT, STOPPED, USAGE = 0, 1, 2, 3, 4, 64
@pytest.fixture(name="redis_server")
def _redis_server():
    """Makes redis-servers with options."""
    with contextlib.ExitStack() as stack:
        def make(*options):
            directory = tempfile.mkdtemp(prefix="import-test-")
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            server = Redis(directory, *options)
            stack.callback(server.close)
            return server
        yield make


def to(broker):
    return ["--to", "%s:%d" % broker.address]


def run(*args):
    return run_cli("import", *args, timeout_s=RUN_S)


def test_a_file_of_every_type_comes_over(redis_server, start_broker):
    redis, broker = redis_server(), start_broker()
    with redis.client() as source, broker.client() as target:
        for db in (0, 3, 15):
            source.call("SELECT", db)
            fill(source, random.Random(db))
        source.call("SELECT", 7)
        fill_large(source)
        source.call("SET", "gone", "x", "PX", 1)
        wait_until(lambda: source.call("PTTL", "gone") < 2)
        done = run(redis.save(), *to(broker))
        assert done.returncode == DONE, done.stderr
        assert "keys written" in done.stdout and "streams: 122" in done.stdout, done.stdout
        assert_same(source, target)


def test_a_broker_that_has_keys_is_written_to_only_with_replace(redis_server, start_broker):
    redis, broker = redis_server(), start_broker()
    with redis.client() as source, broker.client() as target:
        fill(source, random.Random(4), 5)
        fill_large(source)
        path = redis.save()
        target.calls([["SELECT", 2], ["SET", "other", 1], ["SELECT", 0]])
        refused = run(path, *to(broker))
        assert refused.returncode == FAILED and "--replace" in refused.stderr
        assert target.call("DBSIZE") == 0
        for _ in range(2):
            assert run(path, *to(broker), "--replace").returncode == DONE
        target.calls([["SELECT", 2], ["DEL", "other"], ["SELECT", 0]])
        assert_same(source, target)


def test_what_cannot_come_over_is_listed_before_anything_is_written(tmp_path, start_broker):
    broker = start_broker()
    module_id = sum("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(c) << 10 + 6 * (8 - i)
                    for i, c in enumerate("ReJSON-RL"))
    module = b"\x81" + struct.pack(">Q", module_id | 3) + forms.length(5) + forms.text(b"{}") + forms.length(0)
    expiring = struct.pack("<Q", 4000000000000) + forms.length(1) + forms.length(1) + forms.text(b"f") + forms.text(b"v")
    key = lambda kind, name, value: bytes([kind]) + forms.text(name) + value
    body = b"REDIS0012" + b"\xfa" + forms.text(b"redis-ver") + forms.text(b"7.4.1")
    body += b"\xf5" + forms.text(b"#!lua name=mylib\nredis.register_function('f', function() end)")
    body += b"\xfe\x00" + key(7, b"doc", module) + key(0, b"plain", forms.text(b"value")) + key(24, b"session", expiring)
    body += key(2, b"nothing", forms.length(0)) + b"\xfe\x14" + key(0, b"far", forms.text(b"v")) + b"\xff"
    path = tmp_path / "left.rdb"
    path.write_bytes(body + struct.pack("<Q", forms.crc64(body)))
    with broker.client() as target:
        for extra in ([], ["--dry-run"]):
            refused = run(str(path), *to(broker), *extra)
            assert refused.returncode == LEFT_OUT, refused.stderr
            for text in ("1 keys with values of modules: doc(ReJSON-RL)", "databases above 15: far", "libraries of functions: mylib", "empty, not loaded: 1", "of redis 7.4.1"):
                assert text in refused.stdout, refused.stdout
            assert target.call("DBSIZE") == 0
        done = run(str(path), *to(broker), "--skip")
        assert done.returncode == DONE, done.stderr
        assert databases(target) == {(0, b"plain"): ["string", -1, b"value"], (0, b"session"): ["hash", -1, [(b"f", b"v")]]}
        assert target.call("HPEXPIRETIME", "session", "FIELDS", 1, "f") == [4000000000000]


def test_a_large_hash_keeps_its_fields_deadlines(tmp_path, start_broker):
    broker = start_broker()
    lowest, count = 4000000000000, 9000
    fields = b"".join(forms.length(n + 1 if n % 3 == 0 else 0) + forms.text(b"f%d" % n) + forms.text(b"%d" % n) for n in range(count))
    body = b"REDIS0012\xfe\x00\x18" + forms.text(b"large") + struct.pack("<Q", lowest) + forms.length(count) + fields + b"\xff"
    path = tmp_path / "large.rdb"
    path.write_bytes(body + struct.pack("<Q", forms.crc64(body)))
    done = run(str(path), *to(broker))
    assert done.returncode == DONE, done.stderr
    with broker.client() as target:
        assert target.call("HLEN", "large") == count
        asked = [b"f%d" % n for n in range(0, count, 7)]
        assert target.call("HMGET", "large", *asked) == [b"%d" % n for n in range(0, count, 7)]
        assert target.call("HPEXPIRETIME", "large", "FIELDS", len(asked), *asked) == \
            [lowest + n if n % 3 == 0 else -1 for n in range(0, count, 7)]


def test_a_damaged_file_is_refused_before_anything_is_written(redis_server, tmp_path, start_broker):
    redis, broker = redis_server(), start_broker()
    with redis.client() as source, broker.client() as target:
        fill(source, random.Random(5))
        whole = pathlib.Path(redis.save()).read_bytes()
        path = tmp_path / "bad.rdb"
        for bad in (whole[:-20], whole[:300] + bytes([whole[300] ^ 1]) + whole[301:], b"REDIS0099" + whole[9:], b"hello", b""):
            path.write_bytes(bad)
            done = run(str(path), *to(broker))
            assert done.returncode == BAD_SOURCE and done.stderr.startswith("fanfare import: "), done.stderr
            assert target.call("DBSIZE") == 0
        assert run(str(tmp_path / "none.rdb"), *to(broker)).returncode == BAD_SOURCE


def test_mistakes_in_the_arguments_are_said():
    for args in ([], ["a.rdb", "b.rdb"], ["--from"], ["--from", "redis://h:x"], ["a.rdb", "--follow"], ["a.rdb", "--to", "rediss://h:1"],
                 ["a.rdb", "--bad", "x"], ["a.rdb", "--from", "h:1"]):
        done = run_cli("import", *args)
        assert done.returncode == USAGE and done.stderr, args


def test_a_source_or_target_that_is_not_there_is_said(redis_server, start_broker):
    nowhere = f"127.0.0.1:{free_port()}"
    redis, broker = redis_server(), start_broker()
    assert run("--from", nowhere, *to(broker)).returncode == BAD_SOURCE
    assert run(redis.save(), "--to", nowhere).returncode == FAILED


@pytest.fixture(name="writers")
def _writers():
    """Makes writers, and stops them at the end whatever happens."""
    with contextlib.ExitStack() as stack:
        def make(redis):
            writers = Writers(redis)
            stack.callback(writers.stop)
            return writers
        yield make


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_a_source_under_writes_is_followed_until_cut_over(redis_server, start_broker, writers, diskless):
    redis = redis_server("--repl-diskless-sync", diskless, "--requirepass", "p@ss word")
    broker = start_broker()
    plain, redis.client = redis.client, lambda: _logged_in(plain())
    with redis.client() as source, broker.client() as target:
        fill(source, random.Random(6))
        fill_large(source)
        source.call("XGROUP", "CREATE", "x:1", "g", "0", "MKSTREAM")
        writing = writers(redis)
        going = Import("--from", f"redis://:p%40ss%20word@127.0.0.1:{redis.port}", *to(broker), "--until-caught-up")
        going.wait_for(b"following")
        before = writing.commands
        for turn in range(20):
            source.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 3, "STREAMS", "x:1", ">")
            if turn % 5 == 0:
                source.calls([["SELECT", 9], ["FLUSHDB"], ["SELECT", 0]])
            seen = writing.commands
            wait_until(lambda seen=seen: writing.commands > seen + 20, what="the writers go on meanwhile")
        wait_until(lambda: writing.commands > before + 2000, what="the writers go on")
        writing.stop()
        assert going.end() == DONE, going.complaint
        assert_same(source, target, is_replica=True)


def _logged_in(client):
    assert client.call("AUTH", "p@ss word") == "OK"
    return client


def test_a_lost_target_and_a_lost_source_double_nothing_and_lose_nothing(redis_server, start_broker, writers):
    redis, broker = redis_server(), start_broker()
    with redis.client() as source:
        fill(source, random.Random(7), 300)
        fill_large(source)
        writing = writers(redis)
        going = Import("--from", f"127.0.0.1:{redis.port}", *to(broker), "--follow")
        wait_until(lambda: _keys(broker) > 10 or going.process.poll() is not None, what="keys arrive")
        for _ in range(2):
            broker.kill()
            broker.start()
        going.wait_for(b"following")
        for _ in range(3):
            wait_until(lambda at=_executed(broker): _executed(broker) > at, what="the import goes on")
            broker.kill()
            broker.start()
            wait_until(lambda: source.call("CLIENT", "KILL", "TYPE", "replica") == 1, what="the replica's connection is closed")
            before = writing.commands
            wait_until(lambda at=before: writing.commands > at + 500, what="the writers go on")
        writing.stop()
        end = history_end(source)
        wait_until(lambda: replica_offset(source) >= end, RUN_S, "the target has it all")
        assert going.end(signal.SIGINT) == DONE, going.complaint
        with broker.client() as target:
            assert_same(source, target, is_replica=True)


def _executed(broker):
    """Batches that the import had executed here since the broker's start."""
    try:
        with broker.client() as client:
            stats = client.call("INFO", "commandstats").decode()
    except (OSError, Closed):
        return 0
    found = re.search(r"cmdstat_exec:calls=(\d+)", stats)
    return int(found[1]) if found else 0


def _keys(broker):
    try:
        with broker.client() as client:
            return client.call("DBSIZE")
    except (OSError, Closed):
        return 0


def test_what_cannot_be_followed_ends_it_with_all_before_it_executed(redis_server, start_broker):
    redis, broker = redis_server(), start_broker()
    with redis.client() as source, broker.client() as target:
        source.call("SET", "a", 1)
        going = Import("--from", f"127.0.0.1:{redis.port}", *to(broker), "--follow")
        going.wait_for(b"following")
        source.call("INCR", "a")
        source.call("FLUSHALL")
        source.call("SET", "a", 5)
        source.call("INCR", "a")
        source.call("SWAPDB", 0, 1)
        assert going.end() == STOPPED
        assert "SWAPDB" in going.complaint
        assert databases(target) == {(0, b"a"): ["string", -1, b"6"]}


def test_one_database_of_a_source_can_be_taken(redis_server, start_broker):
    redis, broker = redis_server(), start_broker()
    with redis.client() as source, broker.client() as target:
        source.calls([["SET", "a", 1], ["SELECT", 4], ["SET", "b", 2]])
        done = run("--from", f"redis://127.0.0.1:{redis.port}/4", *to(broker))
        assert done.returncode == DONE, done.stderr
        assert databases(target) == {(4, b"b"): ["string", -1, b"2"]}
