"""Connections in great numbers: opened, dropped, refused, timed out; nothing leaks and nobody else notices."""

import pathlib
import random
import socket
import struct
import threading

import pytest

from lib.broker import HOST, Broker, now_ns
from lib.ports import own_address
from lib.resp import Client, Closed, RespError, encode, open_socket
from lib.wait import SCALE, wait_until


def connected(broker):
    """How many clients the broker counts, the asking one left out."""
    return int(broker.info("clients")["connected_clients"]) - 1


def reset(sock):
    """Close with a RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class TestChurn:
    """Thousands come and go."""

    def test_thousands_of_connections_opened_and_dropped_leave_nothing_behind(self, broker, client):
        client.call("PING")
        files, clients = broker.open_files(), connected(broker)
        rng = random.Random(1)
        for round_number in range(20):
            socks = [open_socket(broker.address) for _ in range(150)]
            for sock in socks:
                leave(sock, rng)
            assert client.call("PING") == "PONG", f"round {round_number}"
        wait_until(lambda: connected(broker) <= clients, 30 * SCALE, "all are gone")
        wait_until(lambda: broker.open_files() <= files + 2, what="their descriptors are closed")
        wait_until(lambda: client.call("PUBSUB", "CHANNELS", "churn:*") == [])

    def test_two_thousand_subscribers_at_once_all_hear_one_message(self, broker, client):
        subscribers = [broker.client(timeout_s=60 * SCALE) for _ in range(2000)]
        for subscriber in subscribers:
            subscriber.send("SUBSCRIBE", "crowd")
        for subscriber in subscribers:
            assert subscriber.recv() == [b"subscribe", b"crowd", 1]
        assert client.call("PUBLISH", "crowd", "hello") == 2000
        for subscriber in subscribers:
            assert subscriber.recv() == [b"message", b"crowd", b"hello"]
        for subscriber in subscribers:
            subscriber.close()
        wait_until(lambda: client.call("PUBLISH", "crowd", "x") == 0, 30 * SCALE)

    @pytest.mark.memory
    def test_memory_settles_after_waves_of_connections(self, start_broker):
        broker = start_broker()
        peaks = []
        for _ in range(4):
            clients = [broker.client() for _ in range(400)]
            for client in clients:
                client.send("SUBSCRIBE", *[f"wave:{n}" for n in range(20)])
            for client in clients:
                client.recv_many(20)
                client.close()
            wait_until(lambda: connected(broker) == 0, 30 * SCALE)
            peaks.append(broker.rss_bytes())
        assert peaks[-1] < peaks[1] + (8 << 20), peaks

    def test_connections_reset_in_the_middle_of_a_delivery_hurt_nobody(self, broker, client):
        steady = broker.client()
        steady.call("SUBSCRIBE", "reset")
        sent = 0
        for _ in range(20):
            victims = [broker.client(recv_buffer_bytes=4096) for _ in range(10)]
            for victim in victims:
                victim.call("SUBSCRIBE", "reset")
            for _ in range(20):
                client.call("PUBLISH", "reset", b"%06d" % sent + b"x" * 20000)
                sent += 1
            for victim in victims:
                reset(victim.sock)
        assert [int(m[2][:6]) for m in steady.recv_many(sent)] == list(range(sent))
        steady.close()

    def test_a_client_that_disconnects_with_a_pipeline_under_way_stops_no_one(self, broker, client):
        for _ in range(50):
            sock = open_socket(broker.address)
            sock.sendall(encode("ECHO", "x" * 10000) * 200 + encode("SUBSCRIBE", "churn:pipeline"))
            reset(sock)
        wait_until(lambda: client.call("PUBSUB", "NUMSUB", "churn:pipeline")[1] == 0)

    def test_connections_that_never_say_anything_cost_nobody(self, broker, client):
        idle = [open_socket(broker.address) for _ in range(500)]
        assert client.call("PING") == "PONG"
        for sock in idle:
            sock.close()
        wait_until(lambda: connected(broker) <= 2)


def leave(sock, rng):
    """Say something or nothing, then go, one way or another."""
    data = rng.choice([b"", b"", b"PING\r\n", b"*1\r\n$4\r\nPI", b"\0\0\0", encode("SUBSCRIBE", f"churn:{rng.random()}"),
                       encode("MULTI") + encode("PING"), encode("PSUBSCRIBE", "churn:*")])
    try:
        sock.sendall(data)
    except OSError:
        pass
    if rng.random() < 0.5:
        reset(sock)
    else:
        sock.close()


class TestClientLimit:
    """max-clients."""

    def test_past_the_limit_a_client_is_told_and_closed(self, start_broker):
        broker = start_broker({"max-clients": 20})
        clients = [c for c in (try_client(broker) for _ in range(30)) if c]
        assert len(clients) <= 20
        refused = open_socket(broker.address)
        with open_socket(broker.address) as extra:
            assert extra.recv(1000) == b"-ERR max number of clients reached\r\n"
            assert extra.recv(1000) == b""
        refused.close()
        for client in clients:
            assert client.call("PING") == "PONG"
        assert int(parse(clients[0].call("INFO", "stats"))["rejected_connections"]) >= 1
        for client in clients[1:]:
            client.close()
        wait_until(lambda: (c := try_client(broker)) and c.close() is None, what="there is room again")

    def test_the_limit_can_change_while_running(self, start_broker):
        broker = start_broker({"max-clients": 50})
        first = broker.client()
        assert first.call("CONFIG", "SET", "maxclients", "2") == "OK"
        second = wait_until(lambda: try_client(broker), what="a second client gets in")
        assert try_client(broker) is None
        assert first.call("CONFIG", "SET", "maxclients", "10") == "OK"
        third = wait_until(lambda: try_client(broker), what="a third client gets in")
        assert first.call("PING") == second.call("PING") == third.call("PING") == "PONG"
        for client in (first, second, third):
            client.close()


def try_client(broker):
    """A client that has been served once, or None if it was refused."""
    client = Client(broker.address)
    try:
        if client.call("PING") == "PONG":
            return client
    except (Closed, OSError):
        pass
    client.close()
    return None


def parse(raw):
    """INFO as a dict."""
    from lib.broker import parse_info
    return parse_info(raw)


class TestTimeout:
    """timeout and tcp-keepalive."""

    def test_an_idle_client_is_closed_and_a_subscriber_or_a_busy_one_is_not(self, start_broker):
        broker = start_broker({"timeout": 1})
        idle, busy, subscriber, resp3 = (broker.client(p) for p in (2, 2, 2, 3))
        idle.call("PING")
        subscriber.call("SUBSCRIBE", "idle")
        resp3.send("PSUBSCRIBE", "idle*")
        resp3.recv()
        begin_ns = now_ns()
        idle.sock.settimeout(0.05)
        while True:
            assert busy.call("PING") == "PONG"
            try:
                assert idle.sock.recv(10) == b""
                break
            except TimeoutError:
                assert now_ns() - begin_ns < 10e9 * SCALE, "the idle client stays"
        assert now_ns() - begin_ns > 0.9e9
        assert busy.call("PUBLISH", "idle", "x") == 2
        assert subscriber.recv() == [b"message", b"idle", b"x"]
        for client in (busy, subscriber, resp3):
            client.close()

    def test_a_timeout_set_while_running_counts(self, start_broker):
        broker = start_broker()
        with broker.client() as idle, broker.client() as other:
            idle.call("PING")
            assert other.call("CONFIG", "SET", "timeout", "1") == "OK"
            assert idle.read_to_end(10 * SCALE) == b""

    def test_keepalive_is_switched_on_for_clients(self, broker, client):
        """Seen in the kernel's table: a keepalive timer runs at the broker's end of the connection."""
        client.call("PING")
        ports = broker.port, client.sock.getsockname()[1]
        wait_until(lambda: kernel_timer(*ports) == KERNEL_TIMER_KEEPALIVE, what="a keepalive timer runs")


KERNEL_TIMER_KEEPALIVE = "02"


def kernel_timer(local_port, remote_port):
    """The kind of timer that the kernel runs for an IPv4 connection, as /proc/net/tcp says it."""
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, timer, *_ = line.split()
        if int(local.split(":")[1], 16) == local_port and int(remote.split(":")[1], 16) == remote_port:
            return timer.split(":")[0]
    return None


class TestListening:
    """listen: several addresses, IPv6, a unix socket."""

    def test_all_addresses_are_one_broker(self, start_broker):
        broker = start_broker(listen=[f"{HOST}:PORT", "[::1]:PORT", "unix:DIR/broker.sock"])
        four, six = Client((HOST, broker.port)), Client(("::1", broker.port))
        unix = Client(str(broker.directory / "broker.sock"))
        for client in (four, six, unix):
            client.call("SUBSCRIBE", "everywhere")
        with broker.client() as publisher:
            assert publisher.call("PUBLISH", "everywhere", "x") == 3
            text = publisher.call("CLIENT", "LIST").decode()
        assert f"addr=[::1]:{six.sock.getsockname()[1]} laddr=[::1]:{broker.port}" in text
        assert f"{broker.directory}/broker.sock:0" in text
        for client in (four, six, unix):
            assert client.recv() == [b"message", b"everywhere", b"x"]
            client.close()

    @pytest.mark.fanfare_only
    def test_a_unix_socket_left_over_from_a_crash_is_replaced(self, start_broker):
        broker = start_broker(listen=[f"{HOST}:PORT", "unix:DIR/broker.sock"])
        broker.kill()
        broker.start()
        with Client(str(broker.directory / "broker.sock")) as client:
            assert client.call("PING") == "PONG"

    def test_two_brokers_cannot_have_the_same_port(self, broker):
        second = Broker(http=False)
        second.listen = list(broker.listen)
        second.port = broker.port
        second.start(wait=False)
        assert second.wait_exit() not in (0, 97)
        assert "in use" in second.log()
        assert str(broker.port) in second.log()
        second.close()


class TestProtectedMode:
    """protected-mode: without a password, strangers are refused."""

    def test_a_client_from_another_address_is_told_why_and_closed(self, start_broker):
        host = own_address()
        broker = start_broker({"protected-mode": "yes"}, listen=["0.0.0.0:PORT"])
        with open_socket((host, broker.port)) as sock:
            answer = b""
            while chunk := sock.recv(4096):
                answer += chunk
        assert answer.startswith(b"-DENIED ") and answer.endswith(b"\r\n")
        with Client((HOST, broker.port)) as client:
            assert client.call("PING") == "PONG"
            assert client.call("CONFIG", "SET", "protected-mode", "no") == "OK"
        with Client((host, broker.port)) as client:
            assert client.call("PING") == "PONG"

    def test_with_a_password_strangers_may_authenticate(self, start_broker):
        broker = start_broker({"protected-mode": "yes", "requirepass": "x"}, listen=["0.0.0.0:PORT"])
        with Client((own_address(), broker.port)) as client:
            assert client.call("PING") == RespError("NOAUTH Authentication required.")
            assert client.call("AUTH", "x") == "OK"



def test_threads_of_clients_that_come_and_go_while_others_publish(broker):
    """Connecting, subscribing and dropping from many threads at once, against a steady publisher."""
    stop, failures = threading.Event(), []

    def visit(number):
        rng = random.Random(number)
        while not stop.is_set():
            try:
                with broker.client(rng.choice([2, 3])) as client:
                    client.send("SUBSCRIBE", "busy")
                    if rng.random() < 0.7:
                        for _ in range(rng.randint(1, 20)):
                            client.recv()
            except (OSError, Closed) as exc:
                failures.append(exc)

    threads = [threading.Thread(target=visit, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    with broker.client() as publisher:
        for _ in range(300):
            publisher.calls([("PUBLISH", "busy", "x" * 500)] * 10)
        stop.set()
        while any(t.is_alive() for t in threads):
            publisher.call("PUBLISH", "busy", "last")
        for thread in threads:
            thread.join()
        assert not failures
        wait_until(lambda: publisher.call("PUBSUB", "NUMSUB", "busy")[1] == 0)
