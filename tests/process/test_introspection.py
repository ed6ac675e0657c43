"""What tools ask a server: INFO, CONFIG, COMMAND, SLOWLOG, LATENCY, MEMORY, DEBUG."""

import re

import pytest

from lib.broker import now_ns, parse_info
from lib.resp import RespError, RespSet, Status, Verbatim
from lib.wait import SCALE, wait_until

INFO_FIELDS = {
    "server": "redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds uptime_in_days hz "
              "executable config_file",
    "clients": "connected_clients maxclients "
               "blocked_clients tracking_clients",
    "memory": "used_memory used_memory_human used_memory_rss used_memory_peak used_memory_overhead "
              "used_memory_startup used_memory_dataset total_system_memory maxmemory maxmemory_policy "
              "mem_fragmentation_ratio mem_clients_normal mem_allocator",
    "persistence": "loading rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time "
                   "rdb_last_bgsave_status aof_enabled aof_rewrite_in_progress aof_last_write_status",
    "stats": "total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes "
             "total_net_output_bytes rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses "
             "pubsub_channels pubsub_patterns pubsubshard_channels total_error_replies",
    "replication": "role connected_slaves master_replid master_repl_offset repl_backlog_active repl_backlog_size",
    "cpu": "used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children",
    "cluster": "cluster_enabled",
    "keyspace": "",
}
"""The fields that redis_exporter and client libraries read."""

DEFAULT_SECTIONS = ["Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Cluster", "Keyspace"]


def sections(raw):
    """The headings of an INFO."""
    return [line[2:] for line in raw.decode().split("\r\n") if line.startswith("# ")]


class TestInfo:
    """INFO."""

    @pytest.mark.parametrize("section", INFO_FIELDS)
    def test_each_section_has_the_fields_that_tools_read(self, section, client):
        raw = client.call("INFO", section)
        assert [s.lower() for s in sections(raw)] == [section]
        missing = [f for f in INFO_FIELDS[section].split() if f not in parse_info(raw)]
        assert not missing

    def test_without_a_section_the_usual_ones_come_in_order(self, client):
        found = sections(client.call("INFO"))
        assert [s for s in found if s in DEFAULT_SECTIONS] == DEFAULT_SECTIONS
        assert "Commandstats" not in found

    def test_all_and_everything_have_the_command_statistics(self, client):
        for word in ("all", "everything", "ALL"):
            assert "Commandstats" in sections(client.call("INFO", word))

    def test_several_sections_may_be_named(self, client):
        assert sections(client.call("INFO", "clients", "nosuch", "server", "clients")) == ["Server", "Clients"]
        assert client.call("INFO", "nosuch") == b""

    def test_it_is_a_verbatim_string_in_resp3(self, client3):
        assert isinstance(client3.call("INFO"), Verbatim)

    def test_clients_know_the_version_the_role_and_that_nothing_is_loading(self, client):
        info = parse_info(client.call("INFO"))
        assert re.fullmatch(r"[789]\.\d+\.\d+", info["redis_version"])
        assert info["role"] == "master" and info["loading"] == "0"

    def test_numbers_are_numbers(self, broker, client):
        info = parse_info(client.call("INFO"))
        assert int(info["process_id"]) == broker.pid
        assert int(info["tcp_port"]) == broker.port
        assert int(info["used_memory"]) > 0 and int(info["used_memory_rss"]) > 0
        assert float(info["used_cpu_user"]) >= 0 and float(info["mem_fragmentation_ratio"]) > 0
        assert int(info["connected_clients"]) >= 1

    def test_statistics_follow_what_happens(self, start_broker):
        broker = start_broker()
        with broker.client() as client, broker.client(3) as subscriber:
            before = parse_info(client.call("INFO"))
            client.calls([("ECHO", "x" * 1000)] * 20)
            client.call("nosuch")
            subscriber.send("SUBSCRIBE", "info:1", "info:2")
            subscriber.send("PSUBSCRIBE", "info:*")
            subscriber.send("SSUBSCRIBE", "info:s")
            subscriber.recv_many(4)
            after = parse_info(client.call("INFO"))
            assert grown(before, after, "total_commands_processed") >= 20
            assert grown(before, after, "total_net_input_bytes") > 20000
            assert grown(before, after, "total_net_output_bytes") > 20000
            assert grown(before, after, "total_error_replies") == 1
            assert (after["pubsub_channels"], after["pubsub_patterns"], after["pubsubshard_channels"]) == ("2", "1", "1")

    def test_calls_failures_and_rejections_are_counted_per_command(self, start_broker):
        broker = start_broker()
        with broker.client() as client:
            client.calls([("ECHO", "x")] * 3)
            client.calls([("ECHO",), ("ECHO", "a", "b"), ("SELECT", "99"), ("CLIENT", "ID")])
            stats = parse_info(client.call("INFO", "commandstats"))
            pattern = r"calls=%d,usec=\d+,usec_per_call=\d+\.\d\d,rejected_calls=%d,failed_calls=%d"
            assert re.fullmatch(pattern % (3, 2, 0), stats["cmdstat_echo"])
            assert re.fullmatch(pattern % (1, 0, 1), stats["cmdstat_select"])
            assert re.fullmatch(pattern % (1, 0, 0), stats["cmdstat_client|id"])

    def test_errors_are_counted_per_code(self, start_broker):
        broker = start_broker()
        with broker.client() as client:
            client.calls([("nosuch",), ("ECHO",), ("HELLO", "9"), ("AUTH", "nobody", "x")])
            stats = parse_info(client.call("INFO", "errorstats"))
            assert stats == {"errorstat_ERR": "count=2", "errorstat_NOPROTO": "count=1", "errorstat_WRONGPASS": "count=1"}

    def test_resetstat_begins_anew(self, start_broker):
        broker = start_broker()
        with broker.client() as client:
            client.calls([("ECHO", "x")] * 10 + [("nosuch",)])
            assert client.call("CONFIG", "RESETSTAT") == "OK"
            stats = parse_info(client.call("INFO", "everything"))
            assert "cmdstat_echo" not in stats and "errorstat_ERR" not in stats
            assert int(stats["total_commands_processed"]) <= 1
            assert int(stats["total_error_replies"]) == 0


def grown(before, after, field):
    """By how much a counter has grown."""
    return int(after[field]) - int(before[field])


class TestConfig:
    """CONFIG GET, SET."""

    DEFAULTS = {"maxclients": "10000", "timeout": "0", "tcp-keepalive": "300", "proto-max-bulk-len": "536870912",
                "client-query-buffer-limit": "1073741824", "requirepass": "", "protected-mode": "yes"}
    PROBED = ["maxmemory", "maxmemory-policy", "save", "appendonly", "databases", "port", "bind", "dir",
              "notify-keyspace-events", "loglevel", "slowlog-log-slower-than", "slowlog-max-len"]

    @pytest.mark.parametrize("name", DEFAULTS)
    def test_the_defaults_are_those_of_redis(self, name, client):
        assert client.call("CONFIG", "GET", name) == [name.encode(), self.DEFAULTS[name].encode()]

    def test_the_limits_of_pubsub_clients_are_those_of_redis(self, client):
        text = client.call("CONFIG", "GET", "client-output-buffer-limit")[1].decode()
        assert text.startswith("normal 0 0 0 ") and text.endswith("pubsub 33554432 8388608 60")

    @pytest.mark.parametrize("name", PROBED)
    def test_what_tools_and_clients_ask_for_is_there(self, name, client):
        assert len(client.call("CONFIG", "GET", name)) == 2

    def test_globs_and_several_names_may_be_asked_for(self, client3):
        both = client3.call("CONFIG", "GET", "maxclients", "TIMEOUT")
        assert set(k.lower() for k in both) == {b"maxclients", b"timeout"}
        assert client3.call("CONFIG", "GET", "nosuch") == {}
        assert b"tcp-keepalive" in client3.call("CONFIG", "GET", "tcp-keep*")
        assert len(client3.call("CONFIG", "GET", "*")) > 10

    def test_what_is_set_can_be_read_back(self, client):
        for name, value, printed in (("timeout", "1000", "1000"), ("tcp-keepalive", "60", "60"),
                                     ("proto-max-bulk-len", "2mb", "2097152"),
                                     ("client-query-buffer-limit", "3MB", "3145728"), ("maxclients", "500", "500")):
            before = client.call("CONFIG", "GET", name)[1]
            assert client.call("CONFIG", "SET", name, value) == "OK"
            assert client.call("CONFIG", "GET", name)[1] == printed.encode()
            assert client.call("CONFIG", "SET", name, before) == "OK"

    def test_a_limit_of_one_class_leaves_the_others(self, client):
        before = client.call("CONFIG", "GET", "client-output-buffer-limit")[1]
        assert client.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 16mb 4mb 30") == "OK"
        after = client.call("CONFIG", "GET", "client-output-buffer-limit")[1]
        assert after == before.replace(b"pubsub 33554432 8388608 60", b"pubsub 16777216 4194304 30")
        assert client.call("CONFIG", "SET", "client-output-buffer-limit", before) == "OK"

    PREFIX = "ERR CONFIG SET failed (possibly related to argument '{}') - "
    WRONG = [
        (("nosuch", "1"), "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
        (("timeout",), "ERR wrong number of arguments for 'config|set' command"),
        (("timeout", "1", "maxclients"), "ERR syntax error"),
        (("timeout", "abc"), PREFIX.format("timeout") + "argument couldn't be parsed into an integer"),
        (("timeout", "-1"), PREFIX.format("timeout") + "argument must be between 0 and 2147483647 inclusive"),
        (("timeout", "1", "timeout", "2"), PREFIX.format("timeout") + "duplicate parameter"),
        (("databases", "3"), PREFIX.format("databases") + "can't set immutable config"),
        (("client-output-buffer-limit", "foo 1 2 3"), PREFIX.format("client-output-buffer-limit") +
         "Invalid client class specified in buffer limit configuration."),
        (("client-output-buffer-limit", "pubsub 1 2"), PREFIX.format("client-output-buffer-limit") +
         "Wrong number of arguments in buffer limit configuration."),
        (("protected-mode", "maybe"), PREFIX.format("protected-mode") + "argument must be 'yes' or 'no'"),
    ]

    @pytest.mark.parametrize("args,text", WRONG, ids=[" ".join(a) for a, _ in WRONG])
    def test_a_wrong_setting_is_refused_with_the_known_text(self, args, text, client):
        assert client.call("CONFIG", "SET", *args) == RespError(text)

    def test_of_several_settings_all_or_none_hold(self, client):
        assert isinstance(client.call("CONFIG", "SET", "timeout", "77", "maxclients", "abc"), RespError)
        assert client.call("CONFIG", "GET", "timeout") == [b"timeout", b"0"]
        assert client.call("CONFIG", "SET", "timeout", "1077", "tcp-keepalive", "55") == "OK"
        assert client.call("CONFIG", "GET", "tcp-keepalive") == [b"tcp-keepalive", b"55"]
        assert client.call("CONFIG", "SET", "timeout", "0", "tcp-keepalive", "300") == "OK"

    def test_all_that_can_be_read_and_changed_can_be_set_to_what_it_is(self, start_broker):
        broker = start_broker()
        with broker.client(3) as client:
            before = client.call("CONFIG", "GET", "*")
            for name, value in before.items():
                reply = client.call("CONFIG", "SET", name, value)
                assert reply == "OK" or "immutable" in str(reply) or "protected" in str(reply) or \
                    name in (b"bind", b"save", b"oom-score-adj-values"), f"{name}: {reply}"
            assert client.call("CONFIG", "GET", "*") == before

    def test_rewrite_without_a_file_says_so(self, client):
        assert client.call("CONFIG", "REWRITE") == RespError("ERR The server is running without a config file")


class TestCommand:
    """COMMAND and its subcommands."""

    OF_THIS_ISSUE = """auth client command config debug discard echo exec hello info latency lolwut memory multi ping
    psubscribe publish pubsub punsubscribe quit reset select shutdown slowlog spublish ssubscribe subscribe sunsubscribe
    time unsubscribe unwatch watch cluster""".split()

    def test_the_table_lists_every_command(self, client):
        names = {entry[0].decode() for entry in client.call("COMMAND")}
        assert not [n for n in self.OF_THIS_ISSUE if n not in names]
        assert client.call("COMMAND", "COUNT") == len(names) == len(client.call("COMMAND", "INFO"))

    def test_an_entry_has_the_ten_parts_of_redis(self, client):
        publish, nothing, subscribe = client.call("COMMAND", "INFO", "publish", "nosuch", "SUBSCRIBE")
        assert nothing is None
        assert publish[:2] == [b"publish", 3] and subscribe[:2] == [b"subscribe", -2]
        assert publish[3:6] == [0, 0, 0]
        assert {"pubsub", "fast", "loading", "stale"} <= set(publish[2]) and "noscript" in subscribe[2]
        assert set(publish[6]) == {"@pubsub", "@fast"} and set(subscribe[6]) == {"@pubsub", "@slow"}
        assert all(isinstance(flag, Status) for flag in publish[2])
        assert len(publish) == 10 and publish[7:] == [[], [], []]

    @pytest.mark.parametrize("name,arity,first", [("ping", -1, 0), ("echo", 2, 0), ("watch", -2, 1), ("spublish", 3, 1),
                                                  ("ssubscribe", -2, 1), ("client", -2, 0), ("exec", 1, 0)])
    def test_arity_and_first_key_are_those_of_redis(self, name, arity, first, client):
        entry = client.call("COMMAND", "INFO", name)[0]
        assert (entry[1], entry[3]) == (arity, first)

    def test_flags_are_sets_in_resp3(self, client3):
        entry = client3.call("COMMAND", "INFO", "publish")[0]
        assert isinstance(entry[2], RespSet) and isinstance(entry[6], RespSet)

    def test_containers_list_their_subcommands(self, client):
        entry = client.call("COMMAND", "INFO", "client")[0]
        names = {sub[0].decode() for sub in entry[9]}
        assert {"client|id", "client|list", "client|kill", "client|setname", "client|reply"} <= names
        assert client.call("COMMAND", "INFO", "client|setname")[0][:2] == [b"client|setname", 3]

    def test_docs_describe_a_command(self, client, client3):
        flat = client.call("COMMAND", "DOCS", "publish")
        assert flat[0] == b"publish"
        doc = client3.call("COMMAND", "DOCS", "publish", "nosuch")
        assert list(doc) == [b"publish"]
        doc = doc[b"publish"]
        assert doc[b"group"] == b"pubsub" and doc[b"since"] == b"2.0.0" and doc[b"summary"]
        assert [a[b"name"] for a in doc[b"arguments"]] == [b"channel", b"message"]
        assert all(a[b"type"] for a in doc[b"arguments"])

    def test_docs_cover_every_command(self, client3):
        docs = client3.call("COMMAND", "DOCS")
        names = {entry[0] for entry in client3.call("COMMAND")}
        assert set(docs) == names
        assert all(doc[b"summary"] and doc[b"group"] for doc in docs.values())

    def test_the_list_can_be_filtered(self, client):
        everything = set(client.call("COMMAND", "LIST"))
        assert {b"publish", b"client|setname"} <= everything
        subscribes = client.call("COMMAND", "LIST", "FILTERBY", "PATTERN", "*subscribe")
        assert sorted(subscribes) == [b"psubscribe", b"punsubscribe", b"ssubscribe", b"subscribe", b"sunsubscribe",
                                      b"unsubscribe"]
        pubsub = set(client.call("COMMAND", "LIST", "FILTERBY", "ACLCAT", "pubsub"))
        assert {b"publish", b"spublish", b"pubsub|numsub"} <= pubsub and b"ping" not in pubsub
        assert client.call("COMMAND", "LIST", "FILTERBY", "MODULE", "nosuch") == []
        assert client.call("COMMAND", "LIST", "FILTERBY", "nosuch", "x") == RespError("ERR syntax error")

    def test_getkeys_finds_the_keys(self, client):
        assert client.call("COMMAND", "GETKEYS", "WATCH", "a", "b") == [b"a", b"b"]
        assert client.call("COMMAND", "GETKEYS", "MEMORY", "USAGE", "a") == [b"a"]
        assert client.call("COMMAND", "GETKEYS", "PUBLISH", "a", "b") == \
            RespError("ERR The command has no key arguments")
        assert client.call("COMMAND", "GETKEYS", "nosuch", "a") == RespError("ERR Invalid command specified")
        assert client.call("COMMAND", "GETKEYS", "WATCH", "a")[0] == b"a"


class TestSlowlog:
    """SLOWLOG."""

    def test_a_slow_command_is_remembered_with_its_arguments_and_client(self, start_broker):
        broker = start_broker()
        with broker.client() as client:
            client.call("CLIENT", "SETNAME", "slowpoke")
            client.call("CONFIG", "SET", "slowlog-log-slower-than", "20000")
            assert client.call("SLOWLOG", "RESET") == "OK"
            client.calls([("PING",), ("DEBUG", "SLEEP", "0.05"), ("PING",)])
            assert client.call("SLOWLOG", "LEN") == 1
            entry = client.call("SLOWLOG", "GET")[0]
            assert entry[2] >= 50000 and entry[3] == [b"DEBUG", b"SLEEP", b"0.05"]
            host, port = client.sock.getsockname()
            assert entry[4:] == [f"{host}:{port}".encode(), b"slowpoke"]
            assert client.call("SLOWLOG", "RESET") == "OK"
            assert client.call("SLOWLOG", "GET") == []

    def test_the_newest_come_first_and_the_length_is_bounded(self, start_broker):
        broker = start_broker()
        with broker.client() as client:
            client.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "5")
            client.calls([("ECHO", n) for n in range(20)])
            assert client.call("SLOWLOG", "LEN") == 5
            entries = client.call("SLOWLOG", "GET", 3)
            assert len(entries) == 3
            ids = [e[0] for e in entries]
            assert ids == sorted(ids, reverse=True)
            assert client.call("CONFIG", "SET", "slowlog-log-slower-than", "-1") == "OK"
            client.call("SLOWLOG", "RESET")
            client.call("ECHO", "x")
            assert client.call("SLOWLOG", "LEN") == 0

    def test_long_arguments_are_cut(self, start_broker):
        broker = start_broker()
        with broker.client() as client:
            client.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
            client.call("ECHO", "x" * 200)
            entry = client.call("SLOWLOG", "GET", 1)[0]
            assert entry[3][1] == b"x" * 128 + b"... (72 more bytes)"

    def test_passwords_do_not_get_into_it(self, start_broker):
        broker = start_broker()
        with broker.client() as client:
            client.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
            client.calls([("AUTH", "hunter2"), ("AUTH", "default", "hunter2"), ("HELLO", "2", "AUTH", "default", "hunter2"),
                          ("CONFIG", "SET", "requirepass", "hunter2"), ("CONFIG", "SET", "requirepass", "")])
            assert b"hunter2" not in b" ".join(a for e in client.call("SLOWLOG", "GET", -1) for a in e[3])


class TestOthers:
    """LATENCY, MEMORY, DEBUG, ROLE-like answers."""

    def test_latency_answers_are_empty_but_well_formed(self, client):
        assert client.call("LATENCY", "LATEST") == []
        assert client.call("LATENCY", "HISTORY", "command") == []
        assert client.call("LATENCY", "RESET") == 0
        assert isinstance(client.call("LATENCY", "DOCTOR"), bytes)

    def test_the_latency_histogram_counts_every_call_of_a_command(self, start_broker):
        broker = start_broker({"threads": 2})
        clients = [broker.client() for _ in range(2)]  # one on each worker
        for number, client in enumerate(clients):
            client.calls([("ECHO", "x")] * (10 + number))
            client.calls([("PUBLISH", "latency", "x")] * 5)
        answer = clients[0].call("LATENCY", "HISTOGRAM", "echo", "publish", "pubsub", "nosuch")
        rows = dict(zip(answer[::2], answer[1::2]))
        assert set(rows) == {b"echo", b"publish"}
        for name, calls in ((b"echo", 21), (b"publish", 10)):
            row = dict(zip(rows[name][::2], rows[name][1::2]))
            assert row[b"calls"] == calls
            ends, counts = row[b"histogram_usec"][::2], row[b"histogram_usec"][1::2]
            assert ends == sorted(ends) and counts == sorted(set(counts)) and counts[-1] == calls
        with broker.client(3) as client:
            everything = client.call("LATENCY", "HISTOGRAM")
            assert everything[b"echo"][b"calls"] == 21 and everything[b"hello"][b"calls"] == 1
        assert clients[0].call("CONFIG", "RESETSTAT") == "OK"
        assert clients[1].call("LATENCY", "HISTOGRAM", "echo", "publish") == []
        clients[0].call("CONFIG", "SET", "latency-tracking", "no")
        clients[0].call("ECHO", "x")
        assert clients[1].call("LATENCY", "HISTOGRAM", "echo") == []

    def test_memory_usage_of_no_key_is_null_and_stats_are_pairs(self, client):
        assert client.call("MEMORY", "USAGE", "nosuch") is None
        stats = client.call("MEMORY", "STATS")
        names = stats[::2]
        assert {b"peak.allocated", b"total.allocated", b"keys.count", b"dataset.bytes"} <= set(names)
        assert client.call("MEMORY", "USAGE", "nosuch", "SAMPLES", "0") is None

    def test_debug_sleep_stops_only_the_worker_that_sleeps_at_most(self, start_broker):
        broker = start_broker()
        with broker.client() as sleeper, broker.client() as other:
            begin_ns = now_ns()
            sleeper.send("DEBUG", "SLEEP", "0.2")
            other.call("PING")
            assert sleeper.recv() == "OK"
            assert now_ns() - begin_ns >= 200e6

    def test_an_unknown_debug_subcommand_is_refused(self, client):
        assert "nosuch" in str(client.call("DEBUG", "nosuch"))

    def test_shutdown_with_a_wrong_argument_is_refused(self, client):
        assert client.call("SHUTDOWN", "nosuch") == RespError("ERR syntax error")


@pytest.mark.fanfare_only  # Redis tells cluster clients to ask every node, which must not be said here
@pytest.mark.parametrize("name,tips", [("client|list", [b"nondeterministic_output"]), ("ping", []),
                                       ("command|docs", [b"nondeterministic_output_order"]),
                                       ("pubsub|numsub", [])])
def test_tips_say_what_may_be_answered_differently_and_nothing_of_other_nodes(name, tips, client):
    assert list(client.call("COMMAND", "INFO", name)[0][7]) == tips


def test_hits_misses_and_expired_keys_are_counted(start_broker):
    broker = start_broker()

    def stats(client):
        info = parse_info(client.call("INFO", "stats"))
        return tuple(int(info[name]) for name in ("keyspace_hits", "keyspace_misses", "expired_keys"))

    with broker.client() as client:
        wait_until(lambda: client.call("SET", "here", "1") == "OK", what="keys are served")
        hits, misses, expired = stats(client)
        client.calls([("GET", "here"), ("GET", "absent"), ("MGET", "here", "absent"), ("EXISTS", "here", "absent")])
        client.calls([("MULTI",), ("GET", "here"), ("GET", "absent"), ("EXEC",)])
        client.calls([("SETEX", "short", 100, "1"), ("INCR", "number"), ("APPEND", "here", "1")])
        assert stats(client) == (hits + 4, misses + 4, expired)
        client.call("PEXPIRE", "short", 1)
        wait_until(lambda: stats(client)[2] == expired + 1, what="the key has expired")


@pytest.mark.memory
def test_an_idle_broker_uses_no_more_memory_than_it_has(start_broker):
    with start_broker().client() as client:
        info = parse_info(client.call("INFO", "memory"))
        assert 0 < int(info["used_memory"]) <= int(info["used_memory_rss"])
        assert int(info["used_memory_peak"]) >= int(info["used_memory"])


@pytest.mark.memory
def test_used_memory_is_what_is_in_use_not_what_the_process_keeps(start_broker):
    broker = start_broker({"threads": 1})
    with broker.client() as client, broker.client() as other:
        def used():
            return int(parse_info(client.call("INFO", "memory"))["used_memory"])
        before = used()
        other.calls([("MULTI",), *[("ECHO", b"x" * 1000)] * 20000])
        assert used() > before + (20 << 20)
        other.call("DISCARD")
        assert used() < before + (2 << 20), "at once, whether the system has it back or not"


@pytest.mark.memory
def test_memory_in_info_follows_a_backlog(start_broker):
    broker = start_broker({"output-buffer-limit": "pubsub 0 0 0"})
    subscriber = broker.client(recv_buffer_bytes=4096)
    subscriber.call("SUBSCRIBE", "memory")
    with broker.client() as client:
        before = int(parse_info(client.call("INFO", "memory"))["used_memory"])
        for _ in range(256):
            client.call("PUBLISH", "memory", "x" * 65536)
        after = parse_info(client.call("INFO", "memory"))
        assert int(after["used_memory"]) > before + (8 << 20)
        assert int(after["used_memory_peak"]) >= int(after["used_memory"])
        subscriber.close()
        wait_until(lambda: int(parse_info(client.call("INFO", "memory"))["used_memory"]) < before + (4 << 20))


def subscribe_to_many(client):
    for first in range(0, 300000, 10000):
        client.send("SUBSCRIBE", *(f"burst:{i}" for i in range(first, first + 10000)))
        client.recv_many(10000)


def queue_much(client):
    client.call("MULTI")
    for _ in range(100):
        client.calls([("PUBLISH", "burst", "x" * 1000)] * 1000)


@pytest.mark.memory
@pytest.mark.parametrize("burst", [subscribe_to_many, queue_much])
def test_what_a_burst_took_is_given_back(start_broker, burst):
    broker = start_broker()
    with broker.client() as client:
        before = parse_info(client.call("INFO", "memory"))
        if before["mem_allocator"] == "libc":
            pytest.skip("the C library's allocator keeps what is freed")
        resident_before = broker.rss_bytes()
        with broker.client() as other:
            burst(other)
            assert broker.rss_bytes() > resident_before + (48 << 20)
        wait_until(lambda: int(parse_info(client.call("INFO", "memory"))["used_memory"]) <
                   int(before["used_memory"]) + (8 << 20))
        wait_until(lambda: broker.rss_bytes() < resident_before + (24 << 20), 60 * SCALE, "the memory is given back")


def test_info_latencystats_tells_percentiles_of_all_workers_and_only_where_it_is_asked_for(start_broker):
    broker = start_broker({"threads": 2})
    clients = [broker.client() for _ in range(4)]
    for client in clients:
        client.calls([("ECHO", "x")] * 25)
    for words in (("latencystats",), ("all",), ("cpu", "latencystats")):
        text = clients[0].call("INFO", *words).decode()
        found = re.search(r"latency_percentiles_usec_echo:p50=([\d.]+),p99=([\d.]+),p99\.9=([\d.]+)\r\n", text)
        p50, p99, p999 = map(float, found.groups())
        assert 0 < p50 <= p99 <= p999 < 10_000_000
    assert b"latency_percentiles" not in clients[0].call("INFO")
    assert clients[1].calls([("MULTI",), ("INFO", "latencystats"), ("EXEC",)])[2][0].startswith(b"# Latencystats")
