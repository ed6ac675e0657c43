"""What a connection can ask about itself and others: CLIENT, HELLO, AUTH, SELECT, QUIT, RESET."""

import re
import threading
import time

import pytest

from lib.broker import now_ns
from lib.resp import Closed, RespError, RespSet, Status, Verbatim
from lib.wait import SCALE, wait_until

LIST_FIELDS = ("id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp "
               "obl oll omem tot-mem events cmd user redir resp").split()


def parse_list(text):
    """CLIENT LIST as a list of dicts."""
    return [dict(field.split("=", 1) for field in line.split(" ")) for line in text.decode().splitlines()]


def entry(asker, client_id):
    """The CLIENT LIST entry of one client."""
    entries = parse_list(asker.call("CLIENT", "LIST", "ID", client_id))
    assert len(entries) == 1
    return entries[0]


def is_closed(client):
    """Wait for the end of this connection."""
    try:
        client.read_to_end()
        return True
    except TimeoutError:
        return False


class TestClientList:
    """CLIENT LIST, INFO and ID."""

    def test_ids_grow_and_are_never_the_same(self, connect):
        ids = [connect().call("CLIENT", "ID") for _ in range(50)]
        assert len(set(ids)) == 50
        assert ids == sorted(ids)

    def test_each_line_has_the_fields_of_redis_in_their_order(self, client):
        for line in client.call("CLIENT", "LIST").decode().splitlines():
            names = [field.split("=", 1)[0] for field in line.split(" ")]
            assert [n for n in names if n in LIST_FIELDS] == LIST_FIELDS

    def test_info_is_the_line_of_this_client_with_a_newline(self, client):
        text = client.call("CLIENT", "INFO").decode()
        assert text.endswith("\n") and text.count("\n") == 1
        assert int(parse_list(text.encode())[0]["id"]) == client.call("CLIENT", "ID")

    def test_the_list_is_a_verbatim_string_in_resp3(self, client3):
        reply = client3.call("CLIENT", "LIST")
        assert isinstance(reply, Verbatim) and reply.format == "txt"
        assert isinstance(client3.call("CLIENT", "INFO"), Verbatim)

    def test_a_line_says_who_where_and_what(self, broker, client):
        client.call("CLIENT", "SETNAME", "describe-me")
        client.call("SELECT", 3)
        mine = parse_list(client.call("CLIENT", "INFO"))[0]
        host, port = client.sock.getsockname()
        assert mine["addr"] == f"{host}:{port}"
        assert mine["laddr"] == f"{broker.address[0]}:{broker.address[1]}"
        assert mine["name"] == "describe-me" and mine["db"] == "3" and mine["user"] == "default"
        assert mine["flags"] == "N" and mine["cmd"] == "client|info" and mine["resp"] == "2"
        assert mine["multi"] == "-1" and mine["sub"] == mine["psub"] == mine["ssub"] == "0"
        assert re.fullmatch("[rw]+", mine["events"])

    def test_a_line_counts_subscriptions_and_queued_commands(self, connect):
        asker, subscriber, queuing = connect(), connect(3), connect()
        subscriber_id, queuing_id = subscriber.call("CLIENT", "ID"), queuing.call("CLIENT", "ID")
        subscriber.send("SUBSCRIBE", "list:1", "list:2")
        subscriber.send("PSUBSCRIBE", "list:*")
        subscriber.send("SSUBSCRIBE", "list:1", "list:2", "list:3")
        subscriber.recv_many(6)
        queuing.calls([("MULTI",), ("PING",), ("PING",)])
        mine = entry(asker, subscriber_id)
        assert (mine["sub"], mine["psub"], mine["ssub"], mine["resp"]) == ("2", "1", "3", "3")
        assert "P" in mine["flags"]
        mine = entry(asker, queuing_id)
        assert mine["multi"] == "2" and "x" in mine["flags"]

    def test_the_memory_of_a_client_counts_its_subscriptions(self, connect):
        asker, subscriber = connect(), connect()
        subscriber_id = subscriber.call("CLIENT", "ID")
        before = int(entry(asker, subscriber_id)["tot-mem"])
        subscriber.send("SUBSCRIBE", *(f"memory:{n}" for n in range(5000)))
        subscriber.recv_many(5000)
        assert int(entry(asker, subscriber_id)["tot-mem"]) > before + 5000 * 16

    def test_the_list_names_the_last_command_of_each_client(self, connect):
        asker, other = connect(), connect()
        other_id = other.call("CLIENT", "ID")
        other.call("ECHO", "x")
        assert entry(asker, other_id)["cmd"] == "echo"

    def test_age_and_idle_count_seconds(self, connect):
        asker, other = connect(), connect()
        other_id = other.call("CLIENT", "ID")
        wait_until(lambda: int(entry(asker, other_id)["idle"]) >= 1)
        assert int(entry(asker, other_id)["age"]) >= 1
        other.call("PING")
        assert int(entry(asker, other_id)["idle"]) <= 1 * max(1, SCALE)

    def test_the_list_can_be_narrowed_by_id_and_type(self, connect):
        asker, subscriber = connect(), connect(3)
        mine, other = asker.call("CLIENT", "ID"), subscriber.call("CLIENT", "ID")
        subscriber.send("SUBSCRIBE", "narrow")
        subscriber.recv()
        assert [int(e["id"]) for e in parse_list(asker.call("CLIENT", "LIST", "ID", mine, 999999999))] == [mine]
        both = [int(e["id"]) for e in parse_list(asker.call("CLIENT", "LIST", "ID", other, mine))]
        assert sorted(both) == sorted([mine, other])
        pubsub = [int(e["id"]) for e in parse_list(asker.call("CLIENT", "LIST", "TYPE", "pubsub"))]
        normal = [int(e["id"]) for e in parse_list(asker.call("CLIENT", "LIST", "TYPE", "NORMAL"))]
        assert other in pubsub and mine not in pubsub
        assert mine in normal and other not in normal
        assert asker.call("CLIENT", "LIST", "TYPE", "master") == b""
        assert asker.call("CLIENT", "LIST", "TYPE", "replica") == b""

    @pytest.mark.parametrize("args,text", [
        (("TYPE", "foo"), "ERR Unknown client type 'foo'"),
        (("TYPE",), "ERR syntax error"),
        (("ID", "abc"), "ERR Invalid client ID"),
        (("FOO",), "ERR syntax error"),
    ], ids=lambda a: a if isinstance(a, str) else " ".join(a))
    def test_a_wrong_filter_is_refused(self, args, text, client):
        assert client.call("CLIENT", "LIST", *args) == RespError(text)

    def test_all_clients_are_listed_whatever_worker_serves_them(self, connect):
        clients = [connect() for _ in range(40)]
        ids = {c.call("CLIENT", "ID") for c in clients}
        listed = {int(e["id"]) for e in parse_list(clients[0].call("CLIENT", "LIST"))}
        assert ids <= listed


class TestClientName:
    """CLIENT SETNAME, GETNAME and SETINFO."""

    def test_a_name_can_be_set_changed_and_removed(self, client):
        assert client.call("CLIENT", "GETNAME") is None
        for name in ("first", "second"):
            assert client.call("CLIENT", "SETNAME", name) == "OK"
            assert client.call("CLIENT", "GETNAME") == name.encode()
        assert client.call("CLIENT", "SETNAME", "") == "OK"
        assert client.call("CLIENT", "GETNAME") is None

    @pytest.mark.parametrize("name", ["a b", "a\nb", "a\tb", "\x7f\x80"])
    def test_a_name_that_would_break_the_list_is_refused(self, name, client):
        text = "ERR Client names cannot contain spaces, newlines or special characters."
        assert client.call("CLIENT", "SETNAME", name) == RespError(text)
        assert client.call("HELLO", 2, "SETNAME", name) == RespError(text)

    @pytest.mark.fanfare_only  # came with redis 7.2
    def test_a_library_may_say_its_name_and_version(self, client):
        assert client.call("CLIENT", "SETINFO", "LIB-NAME", "mylib(x;y)") == "OK"
        assert client.call("CLIENT", "SETINFO", "lib-ver", "1.2.3") == "OK"
        mine = parse_list(client.call("CLIENT", "INFO"))[0]
        assert (mine["lib-name"], mine["lib-ver"]) == ("mylib(x;y)", "1.2.3")

    @pytest.mark.fanfare_only
    @pytest.mark.parametrize("args,text", [
        (("lib-name", "a b"), "ERR lib-name cannot contain spaces, newlines or special characters."),
        (("lib-ver", "a\nb"), "ERR lib-ver cannot contain spaces, newlines or special characters."),
        (("lib-foo", "x"), "ERR Unrecognized option 'lib-foo'"),
    ], ids=lambda a: a if isinstance(a, str) else a[0])
    def test_a_wrong_library_name_is_refused(self, args, text, client):
        assert client.call("CLIENT", "SETINFO", *args) == RespError(text)


class TestClientKill:
    """CLIENT KILL in both forms."""

    def test_the_old_form_kills_by_address(self, connect):
        killer, victim = connect(), connect()
        assert victim.call("PING") == "PONG", "it has arrived"
        host, port = victim.sock.getsockname()
        assert killer.call("CLIENT", "KILL", f"{host}:{port}") == "OK"
        assert is_closed(victim)
        assert killer.call("CLIENT", "KILL", "1.2.3.4:5") == RespError("ERR No such client")

    def test_id_addr_and_several_filters_together_pick_the_victim(self, connect):
        killer, by_id, by_addr, spared = connect(), connect(), connect(), connect()
        assert killer.call("CLIENT", "KILL", "ID", by_id.call("CLIENT", "ID")) == 1
        assert is_closed(by_id)
        assert by_addr.call("PING") == "PONG", "it has arrived"
        host, port = by_addr.sock.getsockname()
        spared_id = spared.call("CLIENT", "ID")
        assert killer.call("CLIENT", "KILL", "ADDR", f"{host}:{port}", "ID", spared_id) == 0
        assert killer.call("CLIENT", "KILL", "ADDR", f"{host}:{port}", "TYPE", "normal") == 1
        assert is_closed(by_addr)
        assert spared.call("PING") == "PONG"

    def test_type_pubsub_kills_subscribers_only(self, start_broker):
        broker = start_broker()
        killer, normal, subscribers = broker.client(), broker.client(), [broker.client() for _ in range(5)]
        for subscriber in subscribers:
            subscriber.call("SUBSCRIBE", "victims")
        assert killer.call("CLIENT", "KILL", "TYPE", "pubsub") == 5
        assert all(is_closed(s) for s in subscribers)
        assert normal.call("PING") == "PONG"
        wait_until(lambda: killer.call("PUBLISH", "victims", "x") == 0)

    def test_skipme_decides_about_the_caller(self, start_broker):
        broker = start_broker()
        killer, other = broker.client(), broker.client()
        other.call("PING")
        assert killer.call("CLIENT", "KILL", "TYPE", "normal") == 1
        assert is_closed(other)
        assert killer.call("CLIENT", "KILL", "SKIPME", "no") == 1
        assert is_closed(killer)

    def test_a_client_that_kills_itself_gets_its_answer_first(self, connect):
        client = connect()
        client.send("CLIENT", "KILL", "ID", client.call("CLIENT", "ID"), "SKIPME", "no")
        assert client.read_to_end() == b":1\r\n"

    def test_laddr_and_user_are_filters(self, start_broker):
        broker = start_broker()
        killer, other = broker.client(), broker.client()
        other.call("PING")
        assert killer.call("CLIENT", "KILL", "LADDR", "127.0.0.1:1") == 0
        assert killer.call("CLIENT", "KILL", "USER", "nobody") == RespError("ERR No such user 'nobody'")
        host, port = broker.address
        assert killer.call("CLIENT", "KILL", "LADDR", f"{host}:{port}", "USER", "default") == 1
        assert is_closed(other)

    @pytest.mark.parametrize("args,text", [
        (("ID", "abc"), "ERR client-id should be greater than 0"),
        (("ID", "0"), "ERR client-id should be greater than 0"),
        (("TYPE", "foo"), "ERR Unknown client type 'foo'"),
        (("SKIPME", "foo"), "ERR syntax error"),
        (("FOO", "bar"), "ERR syntax error"),
        (("ID", "1", "TYPE"), "ERR syntax error"),
    ], ids=lambda a: a if isinstance(a, str) else " ".join(a))
    def test_a_wrong_filter_is_refused(self, args, text, client):
        assert client.call("CLIENT", "KILL", *args) == RespError(text)


class TestClientReply:
    """CLIENT REPLY ON, OFF and SKIP."""

    def test_skip_drops_one_answer(self, client):
        client.send("CLIENT", "REPLY", "SKIP")
        client.send("ECHO", "dropped")
        assert client.call("ECHO", "kept") == b"kept"

    def test_off_drops_all_answers_until_on(self, client):
        client.send("CLIENT", "REPLY", "OFF")
        for number in range(100):
            client.send("ECHO", number)
        client.send("nosuch")
        assert client.call("CLIENT", "REPLY", "ON") == "OK"
        assert client.call("ECHO", "back") == b"back"

    def test_a_pipeline_may_turn_answers_off_and_on(self, client):
        requests = [("ECHO", "1"), ("CLIENT", "REPLY", "OFF"), ("ECHO", "2"), ("CLIENT", "REPLY", "ON"), ("ECHO", "3"),
                    ("CLIENT", "REPLY", "SKIP"), ("ECHO", "4"), ("ECHO", "5")]
        for request in requests:
            client.send(*request)
        assert client.recv_many(4) == [b"1", "OK", b"3", b"5"]

    def test_publishes_work_while_answers_are_off(self, connect):
        subscriber, publisher = connect(), connect()
        subscriber.call("SUBSCRIBE", "reply:off")
        publisher.send("CLIENT", "REPLY", "OFF")
        for number in range(10):
            publisher.send("PUBLISH", "reply:off", number)
        assert [m[2] for m in subscriber.recv_many(10)] == [b"%d" % n for n in range(10)]

    def test_an_unknown_mode_is_refused(self, client):
        assert client.call("CLIENT", "REPLY", "FOO") == RespError("ERR syntax error")


class TestClientPause:
    """CLIENT PAUSE and UNPAUSE."""

    def test_a_pause_holds_commands_until_it_is_over(self, start_broker):
        broker = start_broker()
        with broker.client() as pauser, broker.client() as other:
            assert pauser.call("CLIENT", "PAUSE", 200) == "OK"
            begin_ns = now_ns()
            assert other.call("PING") == "PONG"
            assert now_ns() - begin_ns > 100e6

    def test_unpause_ends_a_pause_early(self, start_broker):
        broker = start_broker()
        with broker.client() as pauser, broker.client() as other:
            pauser.call("CLIENT", "PAUSE", 600000, "WRITE")
            other.send("PUBLISH", "paused", "x")
            assert pauser.call("CLIENT", "UNPAUSE") == "OK"
            assert other.recv() == 0

    def test_a_write_pause_holds_publishes_and_lets_reads_pass(self, start_broker):
        broker = start_broker()
        with broker.client() as pauser, broker.client() as publisher, broker.client() as reader:
            pauser.call("CLIENT", "PAUSE", 600000, "WRITE")
            publisher.send("PUBLISH", "paused", "x")
            assert reader.call("PING") == "PONG"
            assert reader.call("ECHO", "x") == b"x"
            with pytest.raises(TimeoutError):
                publisher.recv(timeout_s=0.1)
            pauser.call("CLIENT", "UNPAUSE")
            assert publisher.recv() == 0

    @pytest.mark.parametrize("args,text", [
        (("abc",), "ERR timeout is not an integer or out of range"),
        (("-1",), "ERR timeout is negative"),
        (("1", "FOO"), "ERR CLIENT PAUSE mode must be WRITE or ALL"),
    ], ids=lambda a: a if isinstance(a, str) else " ".join(a))
    def test_a_wrong_pause_is_refused(self, args, text, client):
        assert client.call("CLIENT", "PAUSE", *args) == RespError(text)


class TestProbes:
    """Answers that clients look at when they connect."""

    def test_no_evict_is_accepted(self, client):
        assert client.call("CLIENT", "NO-EVICT", "on") == "OK"
        assert client.call("CLIENT", "NO-EVICT", "off") == "OK"
        assert client.call("CLIENT", "NO-EVICT", "x") == RespError("ERR syntax error")

    @pytest.mark.fanfare_only  # came with redis 7.2
    def test_no_touch_is_accepted(self, client):
        assert client.call("CLIENT", "NO-TOUCH", "on") == "OK"
        assert client.call("CLIENT", "NO-TOUCH", "off") == "OK"
        assert client.call("CLIENT", "NO-TOUCH", "x") == RespError("ERR syntax error")

    def test_tracking_is_reported_off(self, client, client3):
        assert client.call("CLIENT", "TRACKINGINFO") == [b"flags", [b"off"], b"redirect", -1, b"prefixes", []]
        info = client3.call("CLIENT", "TRACKINGINFO")
        assert info == {b"flags": [b"off"], b"redirect": -1, b"prefixes": []}
        assert isinstance(info[b"flags"], RespSet)
        assert client.call("CLIENT", "GETREDIR") == -1

    def test_a_probe_for_a_later_feature_gets_a_plain_error(self, client):
        expected = RespError("ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.")
        assert client.call("CLIENT", "MAINT_NOTIFICATIONS", "ON") == expected

    def test_unblock_of_a_client_that_is_not_blocked_says_zero(self, client):
        assert client.call("CLIENT", "UNBLOCK", 1 << 40) == 0


class TestHello:
    """HELLO."""

    def test_hello_describes_the_server_in_both_protocols(self, connect):
        plain = connect()
        flat = plain.call("HELLO")
        as_dict = dict(zip(flat[::2], flat[1::2]))
        client = connect(3)
        assert list(as_dict) == list(client.hello)
        assert list(as_dict)[:7] == [b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"]
        assert as_dict[b"proto"] == 2 and client.hello[b"proto"] == 3
        assert client.hello[b"role"] == b"master" and client.hello[b"modules"] == []
        assert client.hello[b"id"] == client.call("CLIENT", "ID")
        assert re.fullmatch(rb"\d+\.\d+\.\d+", client.hello[b"version"])
        assert client.hello[b"server"] == b"redis", "clients look for this word"

    @pytest.mark.parametrize("args,text", [
        ((1,), "NOPROTO unsupported protocol version"),
        ((4,), "NOPROTO unsupported protocol version"),
        (("abc",), "ERR Protocol version is not an integer or out of range"),
        ((3, "FOO"), "ERR Syntax error in HELLO option 'FOO'"),
        ((3, "AUTH", "a"), "ERR Syntax error in HELLO option 'AUTH'"),
        ((3, "SETNAME"), "ERR Syntax error in HELLO option 'SETNAME'"),
        ((3, "AUTH", "nobody", "x"), "WRONGPASS invalid username-password pair or user is disabled."),
    ], ids=lambda a: a if isinstance(a, str) else " ".join(map(str, a)))
    def test_a_wrong_hello_is_refused_and_changes_nothing(self, args, text, client):
        assert client.call("HELLO", *args) == RespError(text)
        flat = client.call("HELLO")
        assert flat[flat.index(b"proto") + 1] == 2

    def test_hello_sets_the_name_and_changes_the_form_of_nulls(self, client):
        client.sock.sendall(b"CLIENT GETNAME\r\n")
        client.recv_exactly(b"$-1\r\n")
        client.call("HELLO", 3, "SETNAME", "said-hello")
        assert client.call("CLIENT", "GETNAME") == b"said-hello"
        client.call("CLIENT", "SETNAME", "")
        client.sock.sendall(b"CLIENT GETNAME\r\n")
        client.recv_exactly(b"_\r\n")


class TestConnection:
    """PING, ECHO, SELECT, QUIT, RESET, TIME."""

    def test_ping_answers_a_status_or_the_argument(self, client):
        assert isinstance(client.call("PING"), Status)
        assert client.call("PING", "hello") == b"hello"

    def test_sixteen_databases_can_be_selected(self, client):
        assert [client.call("SELECT", n) for n in range(16)] == ["OK"] * 16
        assert client.call("SELECT", 16) == RespError("ERR DB index is out of range")

    def test_pubsub_is_the_same_in_all_databases(self, connect):
        subscriber, publisher = connect(), connect()
        subscriber.call("SELECT", 1)
        publisher.call("SELECT", 2)
        subscriber.call("SUBSCRIBE", "db")
        assert publisher.call("PUBLISH", "db", "x") == 1

    def test_quit_answers_and_closes_even_with_arguments_and_drops_what_follows(self, connect):
        for request in (("QUIT",), ("QUIT", "now")):
            client = connect()
            client.send(*request)
            client.send("PING")
            assert client.read_to_end() == b"+OK\r\n"

    def test_reset_puts_everything_back(self, client):
        client.calls([("SELECT", 5), ("CLIENT", "SETNAME", "x"), ("HELLO", 3), ("MULTI",)])
        assert client.call("RESET") == "RESET"
        mine = parse_list(client.call("CLIENT", "INFO"))[0]
        assert (mine["db"], mine["name"], mine["multi"], mine["resp"]) == ("0", "", "-1", "2")

    def test_time_is_the_wall_clock_in_seconds_and_microseconds(self, client):
        seconds, micros = client.call("TIME")
        assert abs(int(seconds) + int(micros) / 1e6 - time.time()) < 5
        assert 0 <= int(micros) < 1000000

    def test_lolwut_prints_the_version(self, client):
        assert b"ver. " in client.call("LOLWUT")

    def test_debug_sleep_holds_the_answer_back(self, client):
        begin_ns = now_ns()
        assert client.call("DEBUG", "SLEEP", "0.15") == "OK"
        assert now_ns() - begin_ns >= 150e6


class TestAuth:
    """requirepass, AUTH and HELLO AUTH."""

    @pytest.fixture
    def guarded(self, start_broker):
        """A broker with a password."""
        return start_broker({"requirepass": "s3cret pass"})

    def test_before_auth_everything_but_the_door_is_closed(self, guarded):
        with guarded.client() as client:
            for command in (("PING",), ("PUBLISH", "a", "b"), ("SUBSCRIBE", "a"), ("CLIENT", "ID"), ("MULTI",),
                            ("COMMAND",), ("INFO",), ("SELECT", 0)):
                assert client.call(*command) == RespError("NOAUTH Authentication required."), command
            assert client.call("HELLO", 3).args[0].startswith("NOAUTH HELLO must be called with the client already "
                                                              "authenticated")
            assert client.call("nosuch") == RespError("ERR unknown command 'nosuch', with args beginning with: ")
            assert client.call("RESET") == "RESET"
            client.send("QUIT")
            assert client.read_to_end() == b"+OK\r\n"

    def test_auth_opens_the_door_in_all_its_forms(self, guarded):
        for command in (("AUTH", "s3cret pass"), ("AUTH", "default", "s3cret pass"),
                        ("HELLO", 2, "AUTH", "default", "s3cret pass"),
                        ("HELLO", 3, "AUTH", "default", "s3cret pass", "SETNAME", "x")):
            with guarded.client() as client:
                assert not isinstance(client.call(*command), RespError)
                assert client.call("PING") == "PONG"

    def test_a_wrong_password_keeps_it_closed(self, guarded):
        wrong = RespError("WRONGPASS invalid username-password pair or user is disabled.")
        with guarded.client() as client:
            for command in (("AUTH", "wrong"), ("AUTH", "default", "wrong"), ("AUTH", "nobody", "s3cret pass"),
                            ("AUTH", ""), ("AUTH", "s3cret pass\0"), ("HELLO", 3, "AUTH", "default", "wrong")):
                assert client.call(*command) == wrong, command
            assert client.call("PING") == RespError("NOAUTH Authentication required.")

    def test_reset_forgets_the_authentication(self, guarded):
        with guarded.client() as client:
            client.call("AUTH", "s3cret pass")
            assert client.call("RESET") == "RESET"
            assert client.call("PING") == RespError("NOAUTH Authentication required.")

    def test_a_password_set_while_running_holds_for_new_connections(self, start_broker):
        broker = start_broker()
        with broker.client() as old:
            assert old.call("CONFIG", "SET", "requirepass", "later") == "OK"
            assert old.call("PING") == "PONG", "who is in stays in"
            with broker.client() as new:
                assert new.call("PING") == RespError("NOAUTH Authentication required.")
                assert new.call("AUTH", "later") == "OK"
                assert new.call("CONFIG", "SET", "requirepass", "") == "OK"
            with broker.client() as new:
                assert new.call("PING") == "PONG"

    def test_without_a_password_auth_says_so(self, client):
        text = ("ERR AUTH <password> called without any password configured for the default user. "
                "Are you sure your configuration is correct?")
        assert client.call("AUTH", "x") == RespError(text)
        assert client.call("AUTH", "default", "anything") == "OK"
        assert client.call("AUTH", "a", "b", "c") == RespError("ERR syntax error")

    def test_acl_whoami_names_the_default_user(self, client):
        assert client.call("ACL", "WHOAMI") == b"default"


def test_commands_from_many_threads_get_their_own_answers(broker):
    """Answers must not cross connections."""
    failures = []

    def work(number):
        with broker.client() as client:
            for round_number in range(200):
                text = f"{number}:{round_number}".encode()
                if client.call("ECHO", text) != text:
                    failures.append(text)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_killed_client_learns_it_at_its_next_read(connect):
    killer, victim = connect(), connect()
    killer.call("CLIENT", "KILL", "ID", victim.call("CLIENT", "ID"))
    with pytest.raises((Closed, BrokenPipeError)):
        victim.call("PING")
