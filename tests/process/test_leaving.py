"""How clients leave: what was sent before the end of their stream is answered, and nothing of them stays behind."""

import socket

import pytest

from lib.resp import Client, encode
from lib.wait import SCALE, wait_until

KIB = 1 << 10
MIB = 1 << 20


def half_close(client):
    """The end of what the client sends; it still reads, like printf ... | nc."""
    client.sock.shutdown(socket.SHUT_WR)


def ids(client):
    """The ids of all clients."""
    return [int(line.split()[0].removeprefix(b"id=")) for line in client.call("CLIENT", "LIST").splitlines()]


class TestHalfClose:
    """A client that sends no more, and reads."""

    @pytest.mark.parametrize("commands", [
        [("PUBLISH", "half", "m")] * 1000,
        [("PUBLISH", "half", "m"), ("PING",)] * 500,
        [("MULTI",), *[("PUBLISH", "half", "m")] * 10, ("EXEC",)],
        [("CLIENT", "LIST"), ("SLOWLOG", "GET"), ("PING",), ("CLIENT", "LIST")],
        [("SUBSCRIBE", "half", "half:2")],
    ], ids=["publishes", "publishes and pings", "a transaction", "questions to all threads", "subscriptions"])
    def test_everything_sent_before_the_end_is_answered(self, commands, start_broker):
        with start_broker({"threads": 3}).client() as client:
            client.send_raw(b"".join(encode(*command) for command in commands))
            half_close(client)
            count = len(commands) + (commands[-1][0] == "SUBSCRIBE")
            answers = client.recv_many(count)
            assert len(answers) == count
            assert client.read_to_end() == b""

    def test_an_unfinished_request_is_not_waited_for(self, connect):
        client = connect()
        client.send_raw(b"PING\r\n*2\r\n$4\r\nECHO\r\n$5\r\nhe")
        half_close(client)
        assert client.recv() == "PONG"
        assert client.read_to_end() == b""

    def test_a_long_answer_arrives_whole_however_late_it_is_read(self, connect):
        client = connect(recv_buffer_bytes=64 * KIB)
        text = b"x" * (4 * MIB)
        for _ in range(4):
            client.send("ECHO", text)
        half_close(client)
        assert client.recv_many(4) == [text] * 4
        assert client.read_to_end() == b""


class TestKilled:
    """A client that another one kills."""

    def test_it_is_counted_no_more_once_the_kill_is_answered(self, start_broker):
        broker = start_broker({"threads": 3})
        with broker.client() as killer:
            for round_number in range(60):
                victims = [broker.client() for _ in range(6)]
                for victim in victims:
                    assert victim.call("SUBSCRIBE", "killed") == [b"subscribe", b"killed", 1]
                killer.send_raw(encode("CLIENT", "KILL", "TYPE", "pubsub") + encode("PUBLISH", "killed", "m"))
                assert killer.recv_many(2) == [6, 0], round_number
                for victim in victims:
                    victim.close()


class TestPaused:
    """Clients that CLIENT PAUSE holds back."""

    def test_a_publish_held_by_a_pause_goes_with_its_client(self, start_broker):
        broker = start_broker({"threads": 2})
        with broker.client(3) as listener, broker.client() as admin, broker.client() as publisher:
            listener.send("SUBSCRIBE", "paused")
            listener.recv()
            gone = publisher.call("CLIENT", "ID")
            assert admin.call("CLIENT", "PAUSE", "600000", "WRITE") == "OK"
            publisher.send("PUBLISH", "paused", "of a client that leaves")
            publisher.send("PING")
            wait_until(lambda: broker.info("clients")["blocked_clients"] == "1", what="the publish is held")
            publisher.close()
            wait_until(lambda: gone not in ids(admin), what="its client has gone")
            assert broker.info("clients")["blocked_clients"] == "0"
            admin.call("CLIENT", "UNPAUSE")
            assert admin.call("PUBLISH", "paused", "end") == 1
            assert listener.recv()[2] == b"end"

    def test_a_client_that_is_reset_while_it_waits_is_forgotten_at_once(self, start_broker):
        broker = start_broker({"threads": 2})
        with broker.client() as admin:
            assert admin.call("CLIENT", "PAUSE", "600000", "WRITE") == "OK"
            held = [broker.client() for _ in range(300)]
            for client in held:
                client.send("PUBLISH", "paused", "x")
            wait_until(lambda: broker.info("clients")["blocked_clients"] == "300", what="all are held")
            for client in held:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()
            wait_until(lambda: len(ids(admin)) == 1, what="all are gone")
            admin.call("CLIENT", "UNPAUSE")

    def test_one_that_stays_goes_on_after_the_pause(self, start_broker):
        broker = start_broker({"threads": 1})
        with broker.client() as admin, broker.client() as publisher:
            admin.call("CLIENT", "PAUSE", "600000", "WRITE")
            publisher.send("PUBLISH", "paused", "x")
            wait_until(lambda: broker.info("clients")["blocked_clients"] == "1", what="the publish is held")
            publisher.send("PING")
            admin.call("CLIENT", "UNPAUSE")
            assert publisher.recv_many(2) == [0, "PONG"]


class TestLimits:
    """Output limits hold for those who are leaving, too."""

    @pytest.mark.parametrize("leave", ["QUIT", "end"])
    @pytest.mark.parametrize("limit", ["2mb 0 0", "0 1mb 1"], ids=["hard", "soft"])
    def test_a_subscriber_that_leaves_and_does_not_read_is_not_kept(self, limit, leave, start_broker):
        broker = start_broker({"output-buffer-limit": "normal 0 0 0 pubsub 0 0 0"})
        with broker.client() as admin:
            slow = Client(broker.address, recv_buffer_bytes=64 * KIB)
            slow.call("SUBSCRIBE", "much")
            for _ in range(20):
                admin.call("PUBLISH", "much", b"x" * MIB)
            if leave == "QUIT":
                slow.send("QUIT")
            else:
                half_close(slow)
            wait_until(lambda: b" flags=Pc " in admin.call("CLIENT", "LIST"), what="it is leaving")
            admin.call("CONFIG", "SET", "client-output-buffer-limit", f"pubsub {limit}")
            wait_until(lambda: len(ids(admin)) == 1, 20 * SCALE, "it has been closed")
            slow.close()
