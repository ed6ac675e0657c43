"""redis-py, synchronous, asynchronous and in cluster mode, with its own habits."""

import asyncio
import threading

import pytest
import redis
import redis.asyncio
import redis.cluster

from lib.broker import HOST
from lib.wait import DEADLINE_S, wait_until


@pytest.fixture
def r(broker):
    """A client with decoded answers."""
    with redis.Redis(host=HOST, port=broker.port, decode_responses=True) as instance:
        yield instance


def next_message(pubsub, kinds=("message", "pmessage")):
    """The next message of these kinds; fails when none comes in time."""
    return wait_until(lambda: (m := pubsub.get_message(timeout=0.1)) and m["type"] in kinds and m,
                      what="a message arrives")


def reads_after_loss(pubsub):
    """Read once. The client of Debian 12 reports the loss and reconnects at the next call, newer ones do it silently."""
    try:
        pubsub.get_message(timeout=0.1)
    except redis.exceptions.ConnectionError:
        return False
    return True


class TestPubSub:
    """The PubSub object."""

    def test_subscribe_listen_and_unsubscribe(self, r):
        pubsub = r.pubsub()
        pubsub.subscribe("py:a", "py:b")
        assert [next_message(pubsub, ("subscribe",))["data"] for _ in range(2)] == [1, 2]
        assert r.publish("py:a", "hello") == 1
        assert next_message(pubsub) == {"type": "message", "pattern": None, "channel": "py:a", "data": "hello"}
        pubsub.unsubscribe()
        assert {next_message(pubsub, ("unsubscribe",))["channel"] for _ in range(2)} == {"py:a", "py:b"}
        assert r.publish("py:a", "hello") == 0
        pubsub.close()

    def test_patterns_and_handlers(self, r):
        got = []
        pubsub = r.pubsub(ignore_subscribe_messages=True)
        pubsub.psubscribe(**{"py:handler:*": got.append})
        pubsub.subscribe(**{"py:handler:1": got.append})
        assert pubsub.get_message(timeout=1) is None and pubsub.get_message(timeout=1) is None
        assert r.publish("py:handler:1", "x") == 2
        wait_until(lambda: pubsub.get_message(timeout=0.1) is None and len(got) == 2)
        assert [m["type"] for m in got] == ["message", "pmessage"]
        pubsub.close()

    def test_run_in_thread(self, r):
        got = []
        pubsub = r.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe(**{"py:thread": lambda m: got.append(m["data"])})
        thread = pubsub.run_in_thread(sleep_time=0.01)
        wait_until(lambda: r.pubsub_numsub("py:thread") == [("py:thread", 1)])
        for number in range(100):
            assert r.publish("py:thread", number) == 1
        wait_until(lambda: len(got) == 100)
        assert got == [str(n) for n in range(100)]
        thread.stop()
        thread.join()

    def test_ping_and_health_checks_while_subscribed(self, broker):
        client = redis.Redis(host=HOST, port=broker.port, health_check_interval=0.01)
        pubsub = client.pubsub()
        pubsub.subscribe("py:health")
        pubsub.ping()
        for number in range(20):
            client.publish("py:health", number)
            assert next_message(pubsub)["data"] == str(number).encode()
        assert pubsub.check_health() is None
        pubsub.close()

    def test_it_resubscribes_after_its_connection_was_killed(self, r):
        pubsub = r.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe("py:kill")
        pubsub.psubscribe("py:kill:*")
        wait_until(lambda: r.pubsub_numsub("py:kill")[0][1] == 1 and r.pubsub_numpat() >= 1)
        assert r.client_kill_filter(_type="pubsub") >= 1
        wait_until(lambda: reads_after_loss(pubsub) and r.pubsub_numsub("py:kill")[0][1] == 1)
        assert r.publish("py:kill", "back") == 1
        assert next_message(pubsub)["data"] == "back"
        pubsub.close()

    def test_introspection(self, r):
        pubsub = r.pubsub()
        pubsub.subscribe("py:intro:1", "py:intro:2")
        pubsub.psubscribe("py:intro:*")
        for _ in range(3):
            next_message(pubsub, ("subscribe", "psubscribe"))
        assert sorted(r.pubsub_channels("py:intro:*")) == ["py:intro:1", "py:intro:2"]
        assert r.pubsub_numsub("py:intro:1", "none") == [("py:intro:1", 1), ("none", 0)]
        assert r.pubsub_numpat() == 1
        pubsub.close()

    def test_binary_payloads_and_names(self, broker):
        client = redis.Redis(host=HOST, port=broker.port)
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        name = b"py:\x00\xff\r\n"
        pubsub.subscribe(name)
        pubsub.get_message(timeout=DEADLINE_S)
        payload = bytes(range(256)) * 1000
        assert client.publish(name, payload) == 1
        message = next_message(pubsub)
        assert (message["channel"], message["data"]) == (name, payload)
        pubsub.close()


class TestPipelines:
    """Pipelines, which are transactions unless told otherwise."""

    @pytest.mark.parametrize("transaction", [True, False])
    def test_a_pipeline_of_publishes(self, transaction, r):
        pubsub = r.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe("py:pipe")
        wait_until(lambda: (pubsub.get_message(timeout=0.05), r.pubsub_numsub("py:pipe")[0][1] == 1)[1])
        with r.pipeline(transaction=transaction) as pipe:
            for number in range(200):
                pipe.publish("py:pipe", number)
            pipe.ping()
            assert pipe.execute() == [1] * 200 + [True]
        assert [next_message(pubsub)["data"] for _ in range(200)] == [str(n) for n in range(200)]
        pubsub.close()

    def test_watch_and_transaction_function(self, r):
        def work(pipe):
            pipe.multi()
            pipe.publish("py:watch", "x")
        assert r.transaction(work, "py:key") == [0]

    def test_an_error_in_a_pipeline_names_its_command(self, r):
        with r.pipeline() as pipe:
            pipe.ping()
            pipe.execute_command("NOSUCH", "x")
            with pytest.raises(redis.exceptions.ResponseError, match="unknown command"):
                pipe.execute()


class TestConnection:
    """What redis-py does around commands."""

    def test_client_commands_are_parsed(self, r):
        assert r.ping() is True
        assert r.client_setname("pyclient") is True
        assert r.client_getname() == "pyclient"
        entries = r.client_list()
        assert any(e["name"] == "pyclient" and e["addr"] for e in entries)
        assert r.client_info()["id"] == r.client_id()
        assert r.client_kill_filter(_id=str(1 << 40)) == 0
        assert r.client_pause(1) and r.client_unpause()
        assert r.client_no_evict("ON") == "OK"

    def test_info_config_and_command_are_parsed(self, r):
        info = r.info()
        assert isinstance(info["connected_clients"], int) and info["redis_version"]
        assert r.info("clients")["maxclients"] > 0
        assert r.config_get("maxclients") == {"maxclients": str(info["maxclients"])}
        assert r.config_set("timeout", 0) and r.config_resetstat()
        assert r.command()["publish"]["arity"] == 3
        assert r.command_count() == len(r.command())
        assert r.time()[0] > 1600000000
        assert r.echo("x") == "x"
        assert r.slowlog_len() >= 0 and isinstance(r.slowlog_get(), list)
        assert r.lolwut()
        assert r.execute_command("MEMORY STATS")

    def test_a_url_with_password_and_database(self, start_broker):
        broker = start_broker({"requirepass": "p@ss"})
        client = redis.from_url(f"redis://default:p%40ss@{HOST}:{broker.port}/3?client_name=url")
        assert client.ping()
        assert client.client_info()["db"] == 3
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(host=HOST, port=broker.port).ping()
        with pytest.raises(redis.exceptions.RedisError, match="invalid username-password pair"):
            redis.Redis(host=HOST, port=broker.port, password="wrong").ping()

    def test_a_unix_socket(self, start_broker):
        broker = start_broker(listen=[f"{HOST}:PORT", "unix:DIR/broker.sock"])
        assert redis.Redis(unix_socket_path=str(broker.directory / "broker.sock")).ping()

    def test_too_many_clients_are_reported(self, start_broker):
        broker = start_broker({"max-clients": 5})
        pool = [redis.Redis(host=HOST, port=broker.port, single_connection_client=True) for _ in range(4)]
        for client in pool:
            client.ping()
        with pytest.raises(redis.exceptions.ConnectionError):
            for _ in range(4):
                pool.append(redis.Redis(host=HOST, port=broker.port, single_connection_client=True))
                pool[-1].ping()

    def test_a_pool_shared_by_threads(self, r):
        errors = []

        def work(number):
            try:
                for n in range(100):
                    assert r.echo(f"{number}:{n}") == f"{number}:{n}"
            except Exception as exc:  # pylint: disable=broad-except
                errors.append(exc)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors


class TestAsyncio:
    """redis.asyncio."""

    def test_pubsub_and_pipeline(self, broker):
        asyncio.run(asyncio.wait_for(self.talk(broker), DEADLINE_S * 3))

    @staticmethod
    async def talk(broker):
        client = redis.asyncio.Redis(host=HOST, port=broker.port, decode_responses=True)
        async with client.pubsub() as pubsub:
            await pubsub.subscribe("aio:1", "aio:2")
            await pubsub.psubscribe("aio:*")
            kinds = [(await pubsub.get_message(timeout=DEADLINE_S))["type"] for _ in range(3)]
            assert kinds == ["subscribe", "subscribe", "psubscribe"]
            async with client.pipeline(transaction=True) as pipe:
                for number in range(50):
                    pipe.publish("aio:1", number)
                assert await pipe.execute() == [2] * 50
            got = []
            async for message in pubsub.listen():
                got.append((message["type"], message["data"]))
                if len(got) == 100:
                    break
            assert [d for t, d in got if t == "message"] == [str(n) for n in range(50)]
            assert [d for t, d in got if t == "pmessage"] == [str(n) for n in range(50)]
            await pubsub.unsubscribe("aio:1")
        await client.close()

    def test_many_tasks_publish_and_one_reader_gets_all(self, broker):
        asyncio.run(asyncio.wait_for(self.crowd(broker), DEADLINE_S * 3))

    @staticmethod
    async def crowd(broker):
        client = redis.asyncio.Redis(host=HOST, port=broker.port, max_connections=20)
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe("aio:crowd")
            await pubsub.get_message(timeout=DEADLINE_S)

            async def publish(number):
                for n in range(20):
                    assert await client.publish("aio:crowd", f"{number}:{n}") == 1

            reader = asyncio.create_task(TestAsyncio.collect(pubsub, 200))
            await asyncio.gather(*(publish(n) for n in range(10)))
            got = await reader
        assert sorted(got) == sorted(f"{number}:{n}".encode() for number in range(10) for n in range(20))
        await client.close()

    @staticmethod
    async def collect(pubsub, count):
        """The next `count` payloads."""
        got = []
        while len(got) < count:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=DEADLINE_S)
            if message:
                got.append(message["data"])
        return got


class TestScripts:
    """register_script, and the lock that is made of scripts."""

    def test_a_script_is_loaded_when_it_is_first_needed_and_again_when_it_is_gone(self, r):
        script = r.register_script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")
        assert script(keys=["py:script"], args=["x"]) == ["py:script", "x", 1]
        assert r.script_exists(script.sha) == [True]
        assert r.script_flush() is True
        assert r.script_exists(script.sha) == [False]
        assert script(keys=["py:script"], args=["x"]) == ["py:script", "x", 2]
        with r.pipeline() as pipe:
            pipe.set("py:script", 10)
            script(keys=["py:script"], args=["y"], client=pipe)
            assert pipe.execute() == [True, ["py:script", "y", 11]]
        r.delete("py:script")

    def test_a_lock_is_one_clients_until_it_is_given_back_or_is_over(self, r):
        lock, other = r.lock("py:lock", timeout=5), r.lock("py:lock", timeout=5)
        assert lock.acquire() and not other.acquire(blocking=False)
        assert lock.extend(10) and lock.reacquire() and lock.owned()
        with pytest.raises(redis.exceptions.LockError):
            other.release()
        lock.release()
        with other:
            assert not lock.acquire(blocking=False)
            r.delete("py:lock")
            with pytest.raises(redis.exceptions.LockNotOwnedError):
                other.extend(10)
            assert r.lock("py:lock", timeout=5).acquire()
            with pytest.raises(redis.exceptions.LockNotOwnedError):
                other.release()
            other.local.token = r.get("py:lock").encode()

    def test_errors_are_told_apart(self, r):
        with pytest.raises(redis.exceptions.NoScriptError):
            r.evalsha("0" * 40, 0)
        with pytest.raises(redis.exceptions.ResponseError, match="^WRONGTYPE .* script: [0-9a-f]{40}, on @user_script:1"):
            r.eval("redis.call('SET', 'py:s', 1) return redis.call('LPUSH', 'py:s', 1)", 0)
        assert r.eval("return redis.pcall('LPUSH', 'py:s', 1).err", 0).startswith("WRONGTYPE")
        with pytest.raises(redis.exceptions.ResponseError, match="Error compiling script"):
            r.script_load("return (")
        r.delete("py:s")


class TestCluster:
    """RedisCluster against the answers of one node."""

    def test_it_finds_its_one_node_and_publishes(self, cluster_broker):
        cluster = redis.cluster.RedisCluster(host=HOST, port=cluster_broker.port, decode_responses=True)
        assert [(n.host, n.port) for n in cluster.get_nodes()] == [(HOST, cluster_broker.port)]
        assert cluster.ping() is True or cluster.ping() == {f"{HOST}:{cluster_broker.port}": True}
        pubsub = cluster.pubsub()
        pubsub.subscribe("cluster:py")
        next_message(pubsub, ("subscribe",))
        assert cluster.publish("cluster:py", "x") == 1
        assert next_message(pubsub)["data"] == "x"
        assert cluster.keyslot("foo") == cluster.cluster_keyslot("foo")
        info = cluster.cluster_info(target_nodes=cluster.get_default_node())
        assert info["cluster_state"] == "ok"
        nodes = cluster.cluster_nodes()
        assert list(nodes) == [f"{HOST}:{cluster_broker.port}"]
        pubsub.close()
        cluster.close()

    def test_the_answer_to_shards_is_understood(self, cluster_broker):
        client = redis.Redis(host=HOST, port=cluster_broker.port)
        slots = client.execute_command("CLUSTER SLOTS")
        assert slots
        assert client.execute_command("CLUSTER SHARDS")
