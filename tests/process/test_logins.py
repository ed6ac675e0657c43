"""Before a client has logged in, and when it cannot: the time it has, how wrong passwords are slowed, who may see the pages."""

import base64
import http.client
import time

import pytest

from lib.broker import HOST
from lib.ports import free_port, own_address
from lib.resp import RespError, encode
from lib.scrape import exchange, get, metrics
from lib.wait import DEADLINE_S, SCALE, wait_until

pytestmark = pytest.mark.fanfare_only

WRONG = RespError("WRONGPASS invalid username-password pair or user is disabled.")
FREE_FAILURES = 10


class TestTime:
    """auth-timeout."""

    def test_who_does_not_log_in_is_closed_and_who_did_stays(self, start_broker):
        broker = start_broker({"requirepass": "x", "auth-timeout": int(2 * SCALE)})
        with broker.client() as member:
            assert member.call("AUTH", "x") == "OK"
            self.strangers_are_closed(broker, member)
        with broker.client() as client:
            assert client.call("AUTH", "x") == "OK"
            assert client.call("CONFIG", "SET", "auth-timeout", 0, "requirepass", "") == "OK"
        assert metrics(broker).value("fanfare_auth_timeouts_total") == 3
        assert "within auth-timeout" in broker.log()

    @staticmethod
    def strangers_are_closed(broker, member):
        """One that is silent, one that asks, and one that forgets who it was."""
        with broker.client() as stranger, broker.client() as busy:
            assert stranger.call("PING") == RespError("NOAUTH Authentication required.")
            stranger.read_to_end()
            busy.send("PING")  # asking does not help
            busy.read_to_end()
            assert member.call("PING") == "PONG"
            assert member.call("RESET") == "RESET"
            member.read_to_end()


class TestWrongPasswords:
    """auth-failure-delay."""

    def test_they_are_answered_later_and_later_and_others_at_once(self, start_broker):
        broker = start_broker({"requirepass": "x", "auth-failure-delay": 400})
        with broker.client() as guesser, broker.client() as other:
            for _ in range(FREE_FAILURES):
                assert guesser.call("AUTH", "nope") == WRONG
            delays_ms = (10, 20, 40, 80, 160, 320, 400, 400)
            began = time.monotonic()
            guesser.sock.sendall(encode("AUTH", "nope") * len(delays_ms) + encode("AUTH", "x") + encode("PING"))
            assert other.call("AUTH", "x") == "OK"  # who knows it is let in, from the same address
            assert [guesser.reply() for _ in delays_ms] == [WRONG] * len(delays_ms)
            assert time.monotonic() - began >= sum(delays_ms) / 1000 - 0.1
            assert guesser.reply() == "OK" and guesser.reply() == "PONG"
            assert metrics(broker).value("fanfare_auth_delays_total") == len(delays_ms)
            assert "many logins from one address have failed" in broker.log() and "address=127.0.0.1" in broker.log()
            assert other.call("CONFIG", "SET", "auth-failure-delay", 60000) == "OK"
            for command in (("AUTH", "nope"), ("HELLO", "3", "AUTH", "default", "nope")):
                with broker.client() as waiting:
                    waiting.send(*command)
                    wait_until(lambda: b"cmd=auth" in other.call("CLIENT", "LIST")
                               or b"cmd=hello" in other.call("CLIENT", "LIST"))
            wait_until(lambda: other.call("CLIENT", "LIST").count(b"\n") == 2, what="who has gone is not kept")
            assert other.call("CONFIG", "SET", "auth-failure-delay", 0) == "OK"
            assert guesser.call("HELLO", "3", "AUTH", "default", "nope") == WRONG


def ask(broker, path, user=None):
    """GET with Basic credentials."""
    shown = f"Authorization: Basic {base64.b64encode(user.encode()).decode()}\r\n" if user else ""
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{shown}Connection: close\r\n\r\n"
    return exchange(broker, request.encode())


class TestPages:
    """http-auth, and protected-mode for the pages."""

    def test_pages_are_for_users_who_may_run_info_and_health_for_all(self, start_broker):
        broker = start_broker({"http-auth": "yes"})
        with broker.client() as client:
            for rules in (["prom", "on", ">pw:1", "+info"], ["al", "on", ">pw", "+get", "~*"], ["off", "off", ">pw"]):
                assert client.call("ACL", "SETUSER", *rules) == "OK"
            refused = ask(broker, "/metrics")
            assert refused.status == 401 and refused.headers["www-authenticate"].startswith("Basic ")
            for path in ("/metrics", "/"):
                assert ask(broker, path, "prom:pw:1").status == 200
                assert ask(broker, path, "al:pw").status == 403
            for path in ("/livez", "/readyz", "/startupz"):
                assert get(broker, path).status == 200
            wrong = ("prom:pw", "off:pw", "nobody:pw", ":")
            assert [ask(broker, "/metrics", user).status for user in wrong] == [401] * len(wrong)
            assert ask(broker, "/metrics", "nocolon").status == 401
            assert len(client.call("ACL", "LOG")) == len(wrong)
            assert client.call("CONFIG", "SET", "auth-failure-delay", 60000) == "OK"
            wait_until(lambda: ask(broker, "/metrics", "prom:guess").status == 429, what="guessing is put off")
            assert get(broker, "/livez").status == 200
            assert client.call("CONFIG", "SET", "auth-failure-delay", 0) == "OK"
            assert ask(broker, "/metrics", "prom:pw:1").status == 200

    def test_protected_mode_keeps_the_pages_for_this_machine(self, start_broker):
        host, port = own_address(), free_port()
        broker = start_broker({"http-listen": f"0.0.0.0:{port}"})

        def status(path, at=host):
            connection = http.client.HTTPConnection(at, port, timeout=DEADLINE_S)
            try:
                connection.request("GET", path)
                return connection.getresponse().status
            finally:
                connection.close()
        assert [status(path) for path in ("/metrics", "/", "/livez", "/readyz")] == [403, 403, 200, 200]
        assert status("/metrics", HOST) == 200
        with broker.client() as client:
            assert client.call("CONFIG", "SET", "protected-mode", "no") == "OK"
            assert status("/metrics") == 200
            assert client.call("CONFIG", "SET", "protected-mode", "yes", "requirepass", "x") == "OK"
            assert status("/metrics") == 200


class TestWhatOptionsAllow:
    """enable-debug-command and enable-protected-configs."""

    @pytest.mark.parametrize("choice, is_allowed", [("no", False), ("local", True), ("yes", True)])
    def test_as_in_redis(self, choice, is_allowed, start_broker):
        broker = start_broker({"enable-debug-command": choice, "enable-protected-configs": choice})
        with broker.client() as client:
            assert (client.call("DEBUG", "SLEEP", 0) == "OK") == is_allowed
            answer = str(client.call("CONFIG", "SET", "dir", "/tmp"))
            assert "(possibly related to argument 'dir') - can't set " in answer
            assert ("protected config" in answer) != is_allowed
            assert "immutable" in str(client.call("CONFIG", "SET", "enable-debug-command", "maybe"))
