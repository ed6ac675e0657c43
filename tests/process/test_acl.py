"""Users: ACL's rules and commands, NOPERM, ACL LOG, the ACL file, and what a change does to those who are connected."""

import hashlib
import os

import pytest

from lib.broker import run_cli
from lib.resp import RespError
from lib.wait import wait_until

NO_KEY = RespError("NOPERM No permissions to access a key")
NO_CHANNEL = RespError("NOPERM No permissions to access a channel")
WRONG = RespError("WRONGPASS invalid username-password pair or user is disabled.")


def refused(user, command):
    """The answer to a command that the user may not run."""
    return RespError(f"NOPERM User {user} has no permissions to run the '{command}' command")


def lost_for(what):
    """What EXEC answers in the place of what was allowed when it was queued."""
    return RespError("NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
                     f"This command is no longer allowed for the following reason: no permission to {what}")


def write(path, text):
    """Put this into the file."""
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


def as_dict(flat):
    """A RESP2 map."""
    return dict(zip(flat[::2], flat[1::2]))


@pytest.fixture(autouse=True)
def nobody_left(broker):
    """Each test finds `default` alone, and an empty log."""
    yield
    with broker.client() as last:
        if last.call("PING") == "PONG":
            last.call("ACL", "DELUSER", "al", "bo", "cy")
            last.call("ACL", "LOG", "RESET")
            last.call("CONFIG", "SET", "acllog-max-len", 128)
            last.call("CONFIG", "RESETSTAT")
            last.call("FLUSHALL")


@pytest.fixture
def login(broker, client):
    """Makes a user by rules, and connects as it."""
    clients = []

    def make(name, *rules):
        assert client.call("ACL", "SETUSER", name, "reset", "on", ">pw", *rules) == "OK"
        connected = broker.client()
        clients.append(connected)
        assert connected.call("AUTH", name, "pw") == "OK"
        return connected

    yield make
    for connected in clients:
        connected.close()


class TestRules:
    """What ACL SETUSER takes, and how ACL LIST and GETUSER tell it."""

    def test_a_new_user_is_off_and_may_do_nothing(self, client):
        assert client.call("ACL", "SETUSER", "al") == "OK"
        assert client.call("ACL", "LIST") == [b"user al off sanitize-payload resetchannels -@all",
                                              b"user default on nopass sanitize-payload ~* &* +@all"]
        assert client.call("ACL", "USERS") == [b"al", b"default"]
        assert client.call("AUTH", "al", "") == WRONG

    def test_rules_are_told_as_they_were_given(self, client):
        hashed = hashlib.sha256(b"x").hexdigest()
        client.call("ACL", "SETUSER", "al", "on", ">x", "~a*", "%R~b*", "%W~c", "%RW~d", "&ch*", "+GET", "+@read",
                    "-lrange", "+client|list", "+select|0", "(+get ~z)", "(+set", "%R~u", "&k)")
        assert client.call("ACL", "LIST")[0].decode() == (
            f"user al on sanitize-payload #{hashed} ~a* %R~b* %W~c ~d resetchannels &ch* -@all +get +@read -lrange "
            "+client|list +select|0 (~z resetchannels -@all +get) (%R~u resetchannels &k -@all +set)")
        user = as_dict(client.call("ACL", "GETUSER", "al"))
        assert user[b"passwords"] == [hashed.encode()]
        assert user[b"keys"] == b"~a* %R~b* %W~c ~d"
        assert user[b"selectors"][0] == [b"commands", b"-@all +get", b"keys", b"~z", b"channels", b""]

    def test_a_later_rule_takes_the_place_of_an_earlier_one(self, client):
        client.call("ACL", "SETUSER", "al", "+config|get", "+config|set", "-config", "+get", "-get", "+get")
        assert client.call("ACL", "LIST")[0].endswith(b"-@all -config +get")
        client.call("ACL", "SETUSER", "al", "+@all")
        assert client.call("ACL", "LIST")[0].endswith(b" +@all")

    @pytest.mark.parametrize("rule, why", [
        ("+nope", "Unknown command or category name in ACL"), ("-@nope", "Unknown command or category name in ACL"),
        ("+client|nope", "Unknown command or category name in ACL"),
        ("-get|x", "Unknown command or category name in ACL"), ("nope", "Syntax error"), ("%X~a", "Syntax error"),
        ("%~a", "Syntax error"), ("", "Syntax error"), ("+", "Syntax error"), ("~a b", "Syntax error"),
        ("+client|list|x", "Allowing first-arg of a subcommand is not supported"),
        ("+get|a|b", "Unknown command or category name in ACL")])
    def test_a_wrong_rule_changes_nothing(self, client, rule, why):
        client.call("ACL", "SETUSER", "al", "+get")
        before = client.call("ACL", "LIST")
        assert client.call("ACL", "SETUSER", "al", "+set", rule) == RespError(
            f"ERR Error in ACL SETUSER modifier '{rule}': {why}")
        assert client.call("ACL", "LIST") == before

    def test_a_pattern_behind_all_is_refused(self, client):
        assert "Try 'resetkeys'" in str(client.call("ACL", "SETUSER", "al", "~*", "~a"))
        assert "Try 'resetchannels'" in str(client.call("ACL", "SETUSER", "al", "&*", "&a"))
        assert client.call("ACL", "SETUSER", "al", "(+get") == RespError(
            "ERR Unmatched parenthesis in acl selector starting at '(+get'.")

    def test_a_password_never_comes_back(self, client):
        for rule in ("<s3cret", "!s3cret", "#s3cret"):
            assert "s3cret" not in str(client.call("ACL", "SETUSER", "al", rule))

    def test_names(self, client):
        for name in ("a b", "a\0b", "a\nb", "", "x" * 513):
            assert client.call("ACL", "SETUSER", name) == RespError(
                "ERR Usernames can't contain spaces or null characters"), name
        assert client.call("ACL", "DELUSER", "default") == RespError("ERR The 'default' user cannot be removed")
        assert client.call("ACL", "DELUSER", "nobody") == 0

    def test_genpass(self, client):
        assert len(client.call("ACL", "GENPASS")) == 64
        assert len(client.call("ACL", "GENPASS", 5)) == 2
        assert client.call("ACL", "GENPASS") != client.call("ACL", "GENPASS")
        assert isinstance(client.call("ACL", "GENPASS", 4097), RespError)


class TestPasswords:
    """Several of them, taken away one by one; nopass."""

    def test_each_of_several_passwords_opens(self, broker, client):
        client.call("ACL", "SETUSER", "al", "on", ">one", ">two", "#" + hashlib.sha256(b"three").hexdigest())
        with broker.client() as other:
            for password in ("one", "two", "three"):
                assert other.call("AUTH", "al", password) == "OK"
            assert other.call("AUTH", "al", "four") == WRONG
            assert client.call("ACL", "SETUSER", "al", "<two") == "OK"
            assert other.call("AUTH", "al", "two") == WRONG
            client.call("ACL", "SETUSER", "al", "off")
            assert other.call("AUTH", "al", "one") == WRONG
            client.call("ACL", "SETUSER", "al", "on", "nopass")
            assert other.call("AUTH", "al", "anything") == "OK"
            client.call("ACL", "SETUSER", "al", "resetpass")
            assert other.call("AUTH", "al", "anything") == WRONG

    def test_hello_logs_in_and_the_list_shows_who(self, client, login):
        other = login("al", "+@all")
        assert other.call("ACL", "WHOAMI") == b"al"
        own_id = other.call("CLIENT", "ID")
        assert b" user=al " in client.call("CLIENT", "LIST", "ID", own_id)
        assert other.call("HELLO", 2, "AUTH", "default", "") != WRONG
        assert other.call("ACL", "WHOAMI") == b"default"
        assert other.call("AUTH", "al", "pw") == "OK"
        assert other.call("RESET") == "RESET"
        assert other.call("ACL", "WHOAMI") == b"default"

    def test_a_default_that_is_off_keeps_everybody_out(self, broker, client):
        client.call("ACL", "SETUSER", "al", "on", ">pw", "+@all", "~*")
        client.call("ACL", "SETUSER", "default", "off")
        with broker.client() as other:
            assert other.call("PING") == RespError("NOAUTH Authentication required.")
            assert other.call("AUTH", "default", "") == WRONG
            assert other.call("AUTH", "al", "pw") == "OK"
            assert other.call("ACL", "SETUSER", "default", "on") == "OK"


class TestPermissions:
    """Commands, subcommands, keys, channels, selectors."""

    def test_commands(self, login):
        user = login("al", "~*", "+@read", "-get", "+client|id", "+select|0")
        assert user.call("GET", "k") == refused("al", "get")
        assert user.call("STRLEN", "k") == 0
        assert user.call("SET", "k", "v") == refused("al", "set")
        assert isinstance(user.call("CLIENT", "ID"), int)
        assert user.call("CLIENT", "LIST") == refused("al", "client|list")
        assert user.call("SELECT", 0) == "OK"
        assert user.call("SELECT", 1) == refused("al", "select")

    def test_keys(self, login):
        user = login("al", "+@all", "~a*", "%R~r*", "%W~w*")
        assert user.call("SET", "a", 1) == "OK"
        assert user.call("GET", "r1") is None
        assert user.call("SET", "r1", 1) == NO_KEY
        assert user.call("SET", "w1", 1) == "OK"
        assert user.call("GET", "w1") == NO_KEY
        assert user.call("COPY", "r1", "w1") == 0
        assert user.call("COPY", "w1", "r1") == NO_KEY
        assert user.call("MGET", "a", "r", "x") == NO_KEY
        assert user.call("XREAD", "STREAMS", "a", "x", 0, 0) == NO_KEY
        assert user.call("EXISTS", "w1") == 1, "to be named only asks for no right to read"

    def test_sort_by_other_keys_needs_all_of_them(self, login):
        user = login("al", "+@all", "~a*")
        assert user.call("SORT", "a", "BY", "x*") == RespError(
            "ERR BY option of SORT denied due to insufficient ACL permissions.")
        assert user.call("SORT", "a", "GET", "x*") == RespError(
            "ERR GET option of SORT denied due to insufficient ACL permissions.")
        assert user.call("SORT", "a", "GET", "#") == []

    def test_channels(self, login):
        user = login("al", "+@all", "&news.*")
        assert user.call("PUBLISH", "news.1", "x") == 0
        assert user.call("PUBLISH", "other", "x") == NO_CHANNEL
        assert user.call("SPUBLISH", "other", "x") == NO_CHANNEL
        assert user.call("SSUBSCRIBE", "news.1", "other") == NO_CHANNEL
        assert user.call("SUBSCRIBE", "news.1", "other") == NO_CHANNEL
        assert user.call("PSUBSCRIBE", "news.1*") == NO_CHANNEL, "a pattern is allowed word by word"
        assert user.call("PSUBSCRIBE", "news.*") == [b"psubscribe", b"news.*", 1]
        assert user.call("PUNSUBSCRIBE", "whatever") == [b"punsubscribe", b"whatever", 1]

    def test_a_selector_allows_by_itself(self, login):
        user = login("al", "+get", "~a", "(+set ~b)")
        assert user.call("GET", "a") is None
        assert user.call("SET", "b", 1) == "OK"
        assert user.call("SET", "a", 1) == NO_KEY
        assert user.call("GET", "b") == NO_KEY
        assert user.call("DEL", "a") == refused("al", "del")

    def test_dryrun_asks_for_another(self, client, login):
        login("al", "+get", "+publish", "~a", "&c")
        assert client.call("ACL", "DRYRUN", "al", "GET", "a") == "OK"
        assert client.call("ACL", "DRYRUN", "al", "GET", "b") == b"User al has no permissions to access the 'b' key"
        assert client.call("ACL", "DRYRUN", "al", "PUBLISH", "d", "") == \
            b"User al has no permissions to access the 'd' channel"
        assert client.call("ACL", "DRYRUN", "al", "SET", "a", "") == \
            b"User al has no permissions to run the 'set' command"
        assert client.call("ACL", "DRYRUN", "nobody", "GET", "a") == RespError("ERR User 'nobody' not found")
        assert client.call("ACL", "DRYRUN", "al", "NOPE") == RespError("ERR Command 'NOPE' not found")

    def test_what_a_transaction_may_not_do_any_more_is_an_error_in_its_place(self, client, login):
        user = login("al", "+@all", "~a*")
        assert user.call("MULTI") == "OK"
        assert user.call("SET", "b", 1) == NO_KEY
        assert str(user.call("EXEC")).startswith("EXECABORT")
        user.call("MULTI")
        user.call("SET", "a1", 1)
        user.call("SET", "a2", 1)
        client.call("ACL", "SETUSER", "al", "resetkeys", "~a1")
        assert user.call("EXEC") == ["OK", lost_for("touch the specified keys")]
        assert [client.call("EXISTS", key) for key in ("a1", "a2")] == [1, 0]
        user.call("MULTI")
        assert [user.call(*queued) for queued in (("ECHO", "x"), ("SELECT", 1), ("SET", "a1", 2))] == 3 * ["QUEUED"]
        client.call("ACL", "SETUSER", "al", "-echo", "-set", "-select")
        assert user.call("EXEC") == 3 * [lost_for("execute the command or subcommand")]
        assert user.call("GET", "a1") == b"1", "and it is outside of EXEC again"


class TestChanges:
    """What a change does to those who are connected: at once, and before it is answered."""

    def test_a_deleted_user_is_gone_with_all_connections(self, client, login):
        users = [login("al", "+@all") for _ in range(8)]
        other = login("bo", "+@all")
        assert client.call("ACL", "DELUSER", "al", "nobody") == 1
        assert all(user.closes() for user in users)
        assert other.call("PING") == "PONG"

    def test_who_deletes_itself_is_answered(self, login):
        user = login("al", "+@all")
        user.send("ACL", "DELUSER", "al")
        assert user.read_to_end() == b":1\r\n"

    def test_a_lost_channel_closes_its_listener(self, client, login):
        listener = login("al", "+@all", "&a", "&b")
        by_pattern = login("bo", "+@all", "&a*")
        keeps = login("cy", "+@all", "&a")
        listener.call("SUBSCRIBE", "b")
        by_pattern.call("PSUBSCRIBE", "a*")
        keeps.call("SUBSCRIBE", "a")
        assert client.call("PUBLISH", "a", "1") == 2
        client.call("ACL", "SETUSER", "al", "resetchannels", "&a")
        assert listener.closes()
        client.call("ACL", "SETUSER", "bo", "resetchannels", "&a")
        assert client.call("PUBLISH", "a", "2") == 1, "counted no more when the change is answered"
        assert by_pattern.closes()
        client.call("ACL", "SETUSER", "cy", "resetchannels", "&*")
        assert client.call("PUBLISH", "a", "3") == 1

    def test_a_right_that_is_taken_away_holds_for_the_next_command(self, client, login):
        user = login("al", "+@all", "~*")
        assert user.call("SET", "a", 1) == "OK"
        client.call("ACL", "SETUSER", "al", "-set")
        assert user.call("SET", "a", 1) == refused("al", "set")
        assert user.call("GET", "a") == b"1"

    def test_a_blocked_client_of_a_deleted_user_takes_nothing(self, client, login):
        user = login("al", "+@all", "~*")
        user.send("BLPOP", "q", 0)
        wait_until(lambda: b" cmd=blpop " in client.call("CLIENT", "LIST"))
        client.call("ACL", "DELUSER", "al")
        assert user.closes()
        assert client.call("RPUSH", "q", "x") == 1
        assert client.call("LRANGE", "q", 0, -1) == [b"x"]


    def test_a_blocked_client_that_loses_its_key_is_refused_and_another_goes_on(self, client, login):
        loses, keeps = login("al", "+@all", "~q", "~r"), login("bo", "+@all", "~q")
        loses.send("BLPOP", "q", 0)
        keeps.send("BLPOP", "q", 0)
        wait_until(lambda: client.call("CLIENT", "LIST").count(b" cmd=blpop ") == 2)
        assert client.call("ACL", "SETUSER", "al", "resetkeys", "~r") == "OK"
        assert loses.reply() == NO_KEY
        client.call("ACL", "SETUSER", "bo", "~another")
        assert client.call("RPUSH", "q", "x") == 1
        assert keeps.reply() == [b"q", b"x"]
        assert loses.call("PING") == "PONG"


class TestLog:
    """ACL LOG."""

    def test_refusals_are_noted_and_counted(self, client, login):
        user = login("al", "+get", "+publish", "~a", "&c")
        user.call("GET", "b")
        user.call("GET", "b")
        user.call("PUBLISH", "d", "x")
        user.call("SET", "a", 1)
        user.call("AUTH", "al", "wrong")
        entries = [as_dict(entry) for entry in client.call("ACL", "LOG")]
        assert [(e[b"reason"], e[b"object"], e[b"username"], e[b"count"]) for e in entries] == [
            (b"auth", b"AUTH", b"al", 1), (b"command", b"set", b"al", 1), (b"channel", b"d", b"al", 1),
            (b"key", b"b", b"al", 2)]
        assert all(e[b"context"] == b"toplevel" and b"cmd=" in e[b"client-info"] for e in entries)
        assert len(client.call("ACL", "LOG", 2)) == 2
        assert client.call("ACL", "LOG", "RESET") == "OK"
        assert client.call("ACL", "LOG") == []

    def test_its_length_is_an_option(self, client, login):
        user = login("al", "+get")
        client.call("CONFIG", "SET", "acllog-max-len", 3)
        for i in range(10):
            user.call("GET", f"k{i}")
        entries = [as_dict(entry)[b"object"] for entry in client.call("ACL", "LOG", 100)]
        assert entries == [b"k9", b"k8", b"k7"]

    def test_the_counters(self, client, login):
        user = login("al", "+get")
        user.call("GET", "k")
        user.call("SET", "k", 1)
        info = client.call("INFO", "stats").decode()
        assert "acl_access_denied_cmd:1\r\n" in info and "acl_access_denied_key:1\r\n" in info


class TestPublishes:
    """What was allowed once is not looked up again, until users change."""

    def test_each_user_channel_command_and_change_is_asked_for(self, client, login):
        al = login("al", "+publish", "&a*", "&x")
        bo = login("bo", "+publish", "+spublish", "&b*")
        for _ in range(3):
            assert al.call("PUBLISH", "a1", "m") == 0 and bo.call("PUBLISH", "b1", "m") == 0
            assert bo.call("PUBLISH", "a1", "m") == NO_CHANNEL and al.call("PUBLISH", "b1", "m") == NO_CHANNEL
            assert bo.call("SPUBLISH", "b1", "m") == 0
            assert al.call("SPUBLISH", "a1", "m") == refused("al", "spublish")
        assert al.calls([("PUBLISH", "x", "m")] * 2) == [0, 0]
        assert client.call("ACL", "SETUSER", "al", "resetchannels", "&a*") == "OK"
        assert al.call("PUBLISH", "x", "m") == NO_CHANNEL and al.call("PUBLISH", "a1", "m") == 0
        assert client.call("ACL", "SETUSER", "al", "-publish") == "OK"
        assert al.call("PUBLISH", "a1", "m") == refused("al", "publish")


class TestFile:
    """aclfile, ACL LOAD and SAVE."""

    @pytest.fixture
    def path(self, tmp_path):
        """Where the file is."""
        return str(tmp_path / "users.acl")

    def test_users_come_from_the_file_and_go_back_to_it(self, start_broker, path):
        write(path, "# people\n\nuser al on >pw ~a* +@all\r\nuser bo off\n")
        broker = start_broker({"aclfile": path})
        with broker.client() as client:
            assert client.call("ACL", "USERS") == [b"al", b"bo", b"default"]
            assert client.call("ACL", "SETUSER", "cy", "on", ">x", "+get", "(+set ~k)") == "OK"
            before = client.call("ACL", "LIST")
            assert client.call("ACL", "SAVE") == "OK"
            assert os.stat(path).st_mode & 0o077 == 0
            assert "pw" not in open(path, encoding="utf-8").read()
            assert client.call("ACL", "DELUSER", "al", "bo", "cy") == 3
            assert client.call("ACL", "LOAD") == "OK"
            assert client.call("ACL", "LIST") == before

    def test_a_wrong_file_changes_nothing_and_names_the_line(self, start_broker, path):
        write(path, "user al on nopass +@all ~*\n")
        broker = start_broker({"aclfile": path})
        with broker.client() as client:
            before = client.call("ACL", "LIST")
            for text in ("user al on\nuser bo +nope\n", "user al on\nuser al off\n", "user al on\nnonsense\n",
                         "user al on\nuser bo (+get\n"):
                write(path, text)
                assert "line 2: " in str(client.call("ACL", "LOAD")), text
                assert client.call("ACL", "LIST") == before

    def test_a_broker_does_not_start_with_a_wrong_file(self, path):
        write(path, "user al +nope\n")
        result = run_cli("--aclfile", path, "--listen", "127.0.0.1:0", "--http-listen", "off", "--dir",
                         os.path.dirname(path) + "/data")
        assert result.returncode not in (0, None) and "line 1" in result.stderr + result.stdout

    def test_requirepass_holds_where_the_file_says_nothing(self, start_broker, path):
        write(path, "user al on >pw +@all ~*\n")
        broker = start_broker({"aclfile": path, "requirepass": "door"})
        with broker.client() as client:
            assert client.call("PING") == RespError("NOAUTH Authentication required.")
            assert client.call("AUTH", "door") == "OK"
            assert client.call("ACL", "LOAD") == "OK"
            with broker.client() as other:
                assert other.call("PING") == RespError("NOAUTH Authentication required.")

    def test_without_a_file_load_and_save_say_so(self, client):
        for command in ("LOAD", "SAVE"):
            assert "not configured to use an ACL file" in str(client.call("ACL", command))


class TestLines:
    """`user` lines of the configuration file."""

    @pytest.fixture
    def path(self, tmp_path):
        """Where the file is."""
        return str(tmp_path / "fanfare.conf")

    def test_users_come_from_them_and_rewrite_puts_them_back(self, start_broker, path):
        write(path, "# people\nuser al on >alpw ~a* +@all\nlog-level info\nuser bo off\n")
        broker = start_broker(extra_args=[path])
        with broker.client() as client:
            assert client.call("ACL", "USERS") == [b"al", b"bo", b"default"]
            assert client.call("AUTH", "al", "alpw") == "OK"
            assert client.call("CONFIG", "GET", "user") == []
            assert client.call("ACL", "SETUSER", 'c"y', "on", ">x", "+get", "(+set ~k)") == "OK"
            assert client.call("ACL", "DELUSER", "bo") == 1
            before = client.call("ACL", "LIST")
            assert client.call("CONFIG", "REWRITE") == "OK"
        text = open(path, encoding="utf-8").read()
        assert text.startswith("# people\nuser al ") and "log-level info\n" in text
        assert "alpw" not in text and "user bo" not in text and "user default" not in text
        broker.terminate()
        broker.start()
        with broker.client() as client:
            assert client.call("ACL", "LIST") == before

    @pytest.mark.parametrize("lines, words", [
        ("user al +nope\n", "line 1"), ("user al on\nuser al off\n", "Duplicate user"),
        ("aclfile /dev/null\nuser al on\n", "not both")])
    def test_a_broker_does_not_start_with_wrong_ones_or_beside_a_file(self, lines, words, path):
        write(path, lines)
        result = run_cli(path, "--listen", "127.0.0.1:0", "--http-listen", "off", "--dir",
                         os.path.dirname(path) + "/data")
        assert result.returncode not in (0, None) and words in result.stderr + result.stdout
