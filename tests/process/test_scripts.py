"""Scripts on one node: what they may reach, what they leave, and where they end."""

import threading
import time

import pytest

from lib.resp import RespError
from lib.wait import wait_until

HUNGRY = "redis.call('SET', KEYS[1], 'x') local t = {} for i = 1, ARGV[1] do t[i] = {i} end redis.call('INCR', 'ran') return #t"
"""Writes first, and then takes memory."""


@pytest.fixture(name="spread")
def _spread(start_broker):
    """A client of a broker whose database 3 is spread by slot."""
    broker = start_broker(options={"sharded-databases": "3", "partitions": 8})
    with broker.client() as client:
        client.call("SELECT", 3)
        yield client


def error(answer, text):
    """Is it an error with this text?"""
    return isinstance(answer, RespError) and text in str(answer)


class TestWhere:
    """Which keys, of which databases."""

    def test_a_whole_database_is_free_for_its_scripts(self, client):
        script = "for i = 1, 20 do redis.call('SET', 'free' .. i, i) end return redis.call('DBSIZE')"
        client.call("FLUSHDB")
        assert client.call("EVAL", script, 0) == 20

    def test_select_reaches_what_is_in_the_same_partition(self, start_broker):
        with start_broker(options={"partitions": 8}).client() as client:
            script = "redis.call('SELECT', ARGV[1]) redis.call('SET', 'k', 'v') return redis.call('SELECT', 0)"
            assert client.call("EVAL", script, 0, 8) == "OK"
            assert error(client.call("EVAL", script, 0, 1), "SELECT 1 in a script is not possible")
            assert error(client.call("EVAL", script, 0, 16), "DB index is out of range")
            assert client.call("GET", "k") is None
            client.call("SELECT", 8)
            assert client.call("GET", "k") == b"v"
            assert error(client.call("EVAL", "return redis.call('MOVE', 'k', 1)", 0), "not in the same partition")
            assert error(client.call("EVAL", "return redis.call('FLUSHALL')", 0), "concerns every partition")

    def test_in_a_spread_database_keys_have_one_slot(self, spread):
        get = "return redis.call('GET', KEYS[1])"
        assert spread.call("SET", "{a}1", "v") == "OK"
        assert spread.call("EVAL", get, 2, "{a}1", "{a}2") == b"v"
        assert error(spread.call("EVAL", get, 2, "{a}1", "{b}2"), "CROSSSLOT")
        assert spread.call("EVAL", "return redis.call('GET', '{a}1')", 1, "{a}x") == b"v"
        undeclared = "return redis.call('SET', ARGV[1], 'x')"
        answers = [spread.call("EVAL", undeclared, 1, "{a}1", f"k{n}") for n in range(40)]
        assert any(error(a, "Script attempted to access a non local key in a cluster node") for a in answers)
        strict = "#!lua\n" + undeclared
        answers = [spread.call("EVAL", strict, 1, "{a}1", f"k{n}") for n in range(200)]
        assert any(error(a, "Script attempted to access keys that do not hash to the same slot") for a in answers)
        assert error(spread.call("EVAL", "return redis.call('DBSIZE')", 0), "concerns every partition")

    def test_scripts_are_known_to_all_of_a_spread_database(self, spread):
        sha = spread.call("SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])")
        assert [spread.call("EVALSHA", sha, 1, f"k{n}") for n in range(50)] == [1] * 50
        assert spread.call("SCRIPT", "EXISTS", sha) == [1]
        spread.call("EVAL", "return 7", 1, "a")
        assert spread.call("SCRIPT", "EXISTS", "4ca238f611c9d0ae4e9a75a5dbac22aedc1e44b5") == [0], "not all know it"
        assert spread.call("SCRIPT", "FLUSH", "SYNC") == "OK"
        assert error(spread.call("EVALSHA", sha, 1, "k1"), "NOSCRIPT")


class TestTransactions:
    """Scripts as parts of what happens at once."""

    def test_exec_has_them_in_their_place(self, client):
        client.call("DEL", "n")
        client.call("MULTI")
        client.call("INCR", "n")
        client.call("EVAL", "redis.call('INCR', 'n') return redis.error_reply('MINE told')", 0)
        client.call("EVAL", "return redis.call('INCRBY', KEYS[1], 10)", 1, "n")
        one, two, three = client.call("EXEC")
        assert (one, three) == (1, 12) and error(two, "MINE told")

    def test_what_a_script_wrote_before_its_error_stays(self, client):
        assert error(client.call("EVAL", "redis.call('SET', 'stays', 1) error('late')", 0), "user_script:1: late")
        assert client.call("GET", "stays") == b"1"

    def test_watch_sees_what_a_script_wrote(self, client, broker):
        with broker.client() as other:
            client.call("WATCH", "watched")
            other.call("EVAL", "return redis.call('SET', 'wat' .. 'ched', 1)", 0)
            client.call("MULTI")
            client.call("PING")
            assert client.call("EXEC") is None

    def test_time_stands_still(self, client):
        script = "local a = redis.call('TIME') for i = 1, 1e6 do end local b = redis.call('TIME') return {a[1] - b[1], a[2] - b[2]}"
        assert client.call("EVAL", script, 0) == [0, 0]
        assert abs(int(client.call("EVAL", "return redis.call('TIME')[1]", 0)) - time.time()) < 60


class TestBounds:
    """Where scripts end."""

    def test_the_limit_of_instructions_is_an_option(self, start_broker):
        with start_broker(options={"script-instruction-limit": 20000}).client() as client:
            script = "for i = 1, ARGV[1] do pcall(redis.call, 'PING') end return 1"
            assert client.call("EVAL", script, 0, 100) == 1
            assert error(client.call("EVAL", script, 0, 1e6), "limit of 20000 instructions")

    def test_what_takes_much_memory_is_run_anew_and_once(self, broker):
        with broker.client(timeout_s=60) as client:
            self.check_that_it_is_run_anew(client)

    @staticmethod
    def check_that_it_is_run_anew(client):
        client.call("DEL", "ran")
        assert client.call("EVAL", HUNGRY, 1, "hungry", 500_000) == 500_000
        assert client.call("GET", "ran") == b"1", "what it had written before was undone"
        assert error(client.call("EVAL", HUNGRY, 1, "hungry", 5_000_000), "not enough memory")
        assert client.call("GET", "ran") == b"1"
        client.call("MULTI")
        client.call("INCR", "ran")
        client.call("EVAL", HUNGRY, 1, "hungry", 500_000)
        assert client.call("EXEC") == [2, 500_000]
        assert client.call("GET", "ran") == b"3"
        assert client.calls([("INCR", "ran"), ("EVAL", HUNGRY, 1, "hungry", 500_000), ("GET", "ran")]) == [4, 500_000, b"5"]

    def test_who_asks_to_kill_is_told_whether_one_runs(self, start_broker):
        broker = start_broker(options={"script-instruction-limit": 400_000_000})
        with broker.client(timeout_s=60) as busy, broker.client() as client:
            assert error(client.call("SCRIPT", "KILL"), "NOTBUSY")
            busy.send("EVAL", "while true do end", 0)
            wait_until(lambda: error(client.call("SCRIPT", "KILL"), "UNKILLABLE"), what="the script runs")
            assert client.call("PING") == "PONG"
            assert error(busy.recv(), "limit of 400000000 instructions")
            assert error(client.call("SCRIPT", "KILL"), "NOTBUSY")

    def test_the_last_500_that_came_with_their_calls_are_known(self, client):
        shas = []
        for n in range(510):
            client.call("EVAL", f"return {n}", 0)
            shas.append(client.call("EVAL", "return redis.sha1hex(ARGV[1])", 0, f"return {n}"))
        known = client.call("SCRIPT", "EXISTS", *shas)
        assert known[:5] == [0] * 5 and known[-490:] == [1] * 490
        loaded = client.call("SCRIPT", "LOAD", "return 'loaded'")
        client.calls([("EVAL", f"return {n} + 1", 0) for n in range(510)])
        assert client.call("EVALSHA", loaded, 0) == b"loaded"

    def test_many_clients_run_many_scripts(self, broker):
        def work(number):
            with broker.client() as client:
                for n in range(200):
                    text = f"return redis.call('INCR', KEYS[1]) + {n % 50} * 0"
                    assert client.call("EVAL", text, 1, f"many{number}") == n + 1

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        with broker.client() as client:
            for n in range(6):
                assert client.call("GET", f"many{n}") == b"200"
                client.call("DEL", f"many{n}")


class TestWho:
    """Users and pauses."""

    def test_a_script_may_do_what_its_user_may_do(self, start_broker):
        broker = start_broker()
        no_key = "NOPERM ACL failure in script: No permissions to access a key"
        with broker.client() as client, broker.client() as other:
            client.call("SET", "other", 1)
            client.call("ACL", "SETUSER", "bob", "on", ">x", "+@scripting", "+set", "+get", "+sort", "+multi", "+exec", "~mine:*", "&news")
            assert other.call("AUTH", "bob", "x") == "OK"
            assert other.call("EVAL", "return redis.call('SET', KEYS[1], 'v')", 1, "mine:1") == "OK"
            assert other.call("EVAL_RO", "return redis.call('GET', 'mine:1')", 0) == b"v"
            assert str(other.call("EVAL", "return redis.call('GET', 'other')", 0)).startswith(no_key)
            assert str(other.call("EVAL_RO", "return redis.pcall('GET', 'other')", 0)) == no_key
            assert error(other.call("EVAL", "return redis.call('GET', KEYS[1])", 1, "other"), "NOPERM No permissions to access a key")
            denied = other.call("EVAL", "return redis.call('PUBLISH', 'news', 1)", 0)
            assert error(denied, "NOPERM ACL failure in script: User bob has no permissions to run the 'publish' command script: ")
            assert error(other.call("EVAL", "return redis.call('SORT', 'mine:l', 'GET', '*')", 0), "ERR GET option of SORT denied due to")
            assert error(other.call("EVAL", "return redis.call('CONFIG', 'GET', 'x')", 0), "not allowed from script")
            check = "return redis.acl_check_cmd(ARGV[1], ARGV[2], 1)"
            assert [other.call("EVAL", check, 0, *words) for words in (("SET", "mine:2"), ("SET", "yours"), ("HSET", "mine:2"))] == [1, None, None]
            get = client.call("SCRIPT", "LOAD", "return redis.call('GET', ARGV[1])")
            other.call("MULTI")
            other.call("SET", "mine:1", "w")
            other.call("EVALSHA", get, 0, "mine:1")
            other.call("EVALSHA_RO", get, 0, "other")
            other.call("EVAL", "return {KEYS[1], ARGV[1]}", 1, "mine:1", "arg")
            done, mine, yours, words = other.call("EXEC")
            assert (done, mine, words) == ("OK", b"w", [b"mine:1", b"arg"]) and error(yours, no_key)
            client.call("ACL", "SETUSER", "bob", "+publish", "(+get ~oth*)")
            assert other.call("EVALSHA", get, 0, "other") == b"1"
            assert other.call("EVAL", "return redis.call('PUBLISH', 'news', 1)", 0) == 0
            assert error(other.call("EVAL", "return redis.call('PUBLISH', 'olds', 1)", 0), "No permissions to access a channel")
            assert error(client.call("SCRIPT_AS", "bob +@all", "EVAL", "return 1", 0), "unknown command")
            assert error(client.call("EVAL", "return redis.call('SCRIPT_AS', 'bob +@all', 'EVAL', 'return 1', 0)", 0), "Unknown Redis command")
            assert all(b"SCRIPT_AS" not in entry[3][0].upper() for entry in client.call("SLOWLOG", "GET", 128))

    def test_a_pause_of_writes_holds_scripts_back(self, start_broker):
        broker = start_broker()
        with broker.client() as client, broker.client(timeout_s=10) as other:
            client.call("CLIENT", "PAUSE", 60000, "WRITE")
            assert other.call("EVAL_RO", "return 1", 0) == 1
            other.send("EVAL", "return 2", 0)
            assert client.call("CLIENT", "UNPAUSE") == "OK"
            assert other.recv() == 2
