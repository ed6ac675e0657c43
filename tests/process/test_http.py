"""The HTTP pages: health, metrics, and that no scraper can hurt the broker. The reference has no such pages."""

import socket
import threading

import pytest

from lib import prometheus
from lib.broker import HOST
from lib.resp import encode, open_socket
from lib.scrape import exchange, get, metrics, parse_response, read_all
from lib.wait import SCALE, wait_until

pytestmark = pytest.mark.fanfare_only

EXPORTER_GAUGES = """redis_up redis_uptime_in_seconds redis_connected_clients redis_blocked_clients redis_pubsub_channels
redis_pubsub_patterns redis_memory_used_bytes redis_memory_used_rss_bytes redis_config_maxclients
redis_instance_info""".split()
EXPORTER_COUNTERS = """redis_connections_received_total redis_commands_processed_total
redis_rejected_connections_total redis_net_input_bytes_total redis_net_output_bytes_total redis_cpu_sys_seconds_total
redis_cpu_user_seconds_total redis_commands_total redis_commands_duration_seconds_total""".split()
OURS = """fanfare_messages_published_total fanfare_deliveries_total fanfare_backlog_bytes
fanfare_subscribers_dropped_total fanfare_flush_bytes fanfare_loop_turn_seconds""".split()


class TestHealth:
    """/livez, /readyz, /startupz."""

    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
    def test_a_healthy_broker_says_so(self, path, broker):
        response = get(broker, path)
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/plain")
        assert response.body

    def test_a_page_that_does_not_exist_is_404(self, broker):
        assert get(broker, "/nosuch").status == 404
        assert get(broker, "/").status in (200, 404)

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    def test_only_reading_is_allowed(self, method, broker):
        request = f"{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        assert exchange(broker, request.encode()).status in (405, 501)

    def test_head_gives_the_header_alone(self, broker):
        request = b"HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        with open_socket((HOST, broker.http_port)) as sock:
            sock.sendall(request)
            head, _, body = read_all(sock).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and body == b""

    def test_a_connection_can_be_used_again(self, broker):
        request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        with open_socket((HOST, broker.http_port)) as sock:
            for _ in range(3):
                sock.sendall(request)
                data = sock.recv(4096)
                assert data.startswith(b"HTTP/1.1 200")

    def test_a_draining_broker_is_not_ready_and_still_live(self, start_broker):
        broker = start_broker({"output-buffer-limit": "pubsub 0 0 0", "shutdown-timeout": 20})
        stuck = broker.client(recv_buffer_bytes=4096)
        stuck.call("SUBSCRIBE", "stuck")
        with broker.client() as publisher:
            for _ in range(64):
                publisher.call("PUBLISH", "stuck", "x" * (256 << 10))
        broker.expects_death = True
        broker.signal(15)
        wait_until(lambda: (r := get_or_none(broker, "/readyz")) is None or r.status == 503, what="not ready")
        response = get_or_none(broker, "/livez")
        assert response is None or response.status == 200
        stuck.close()
        assert broker.wait_exit() == 0


def get_or_none(broker, path):
    """The page, or None when nobody listens any more."""
    try:
        return get(broker, path)
    except OSError:
        return None


class TestMetrics:
    """/metrics."""

    def test_the_text_is_valid_and_says_its_version(self, broker):
        response = get(broker, "/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        prometheus.parse(response.text)

    def test_the_names_of_the_redis_exporter_and_our_own_are_there(self, broker):
        found = metrics(broker)
        missing = [n for n in EXPORTER_GAUGES + EXPORTER_COUNTERS + OURS if n not in found.names()]
        assert not missing
        wrong = [n for n in EXPORTER_COUNTERS if found.types[n] != "counter"]
        wrong += [n for n in EXPORTER_GAUGES if found.types[n] != "gauge"]
        assert not wrong
        ours = [n for n, kind in found.types.items() if kind == "counter" and n.startswith("fanfare_")]
        assert ours and all(n.endswith("_total") for n in ours)
        assert found.types["fanfare_loop_turn_seconds"] == found.types["fanfare_flush_bytes"] == "histogram"

    def test_each_command_is_counted_under_its_name(self, broker, client):
        before = metrics(broker)
        client.calls([("ECHO", "x")] * 7 + [("CLIENT", "ID")] * 3)
        wait_until(lambda: calls(broker, "echo") - before.series("redis_commands_total").get((("cmd", "echo"),), 0) == 7)
        assert any(dict(labels)["cmd"] in ("client|id", "client") for labels in
                   metrics(broker).series("redis_commands_total"))

    def test_messages_in_and_out_are_counted(self, broker, connect):
        subscribers = [connect() for _ in range(4)]
        for subscriber in subscribers:
            subscriber.call("SUBSCRIBE", "counted")
        before = metrics(broker)
        assert set(connect().calls([("PUBLISH", "counted", "x" * 100)] * 50)) == {4}
        for subscriber in subscribers:
            subscriber.recv_many(50)
        wait_until(lambda: metrics(broker).value("fanfare_deliveries_total") - before.value("fanfare_deliveries_total") == 200)
        after = metrics(broker)
        assert after.value("fanfare_messages_published_total") - before.value("fanfare_messages_published_total") == 50
        out = after.value("redis_net_output_bytes_total") - before.value("redis_net_output_bytes_total")
        assert out >= 200 * 100

    def test_gauges_follow_what_is_there(self, broker, connect):
        clients = [connect() for _ in range(10)]
        for number, client in enumerate(clients):
            client.send("SUBSCRIBE", f"gauge:{number}")
            client.send("PSUBSCRIBE", f"gauge:{number}:*")
            client.recv_many(2)
        wait_until(lambda: metrics(broker).value("redis_pubsub_channels") == 10)
        found = metrics(broker)
        assert found.value("redis_pubsub_patterns") == 10
        assert found.value("redis_connected_clients") >= 10
        for client in clients:
            client.close()
        wait_until(lambda: metrics(broker).value("redis_pubsub_channels") == 0
                   and metrics(broker).value("redis_pubsub_patterns") == 0)

    def test_counters_never_go_back(self, broker, client):
        before = metrics(broker)
        client.calls([("PING",)] * 1000)
        pings = before.value("redis_commands_processed_total") + 1000
        wait_until(lambda: metrics(broker).value("redis_commands_processed_total") >= pings)
        after = metrics(broker)
        for (name, labels), value in before.samples.items():
            if before.types.get(name) == "counter":
                assert after.samples[name, labels] >= value, name

    def test_metrics_and_info_agree(self, broker, client):
        """A page may be a moment old: it is not made anew for each of many scrapers."""
        client.calls([("PING",)] * 100)
        for field, name in (("total_commands_processed", "redis_commands_processed_total"),
                            ("total_connections_received", "redis_connections_received_total")):
            said = int(broker.info()[field])
            wait_until(lambda: metrics(broker).value(name) >= said, what=name)
            assert metrics(broker).value(name) <= int(broker.info()[field])
        assert int(broker.info()["maxclients"]) == metrics(broker).value("redis_config_maxclients")


def calls(broker, command):
    """Calls of one command so far."""
    return metrics(broker).series("redis_commands_total").get((("cmd", command),), 0)


class TestAbuse:
    """Scrapers that misbehave."""

    GARBAGE = {
        "no HTTP at all": b"\0\1\2\3" * 10 + b"\r\n\r\n",
        "a Redis request": encode("PING"),
        "a TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(160),
        "a bad version": b"GET /metrics HTTP/9.9\r\n\r\n",
        "an unknown method": b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "a header without a colon": b"GET /metrics HTTP/1.1\r\nnonsense\r\nConnection: close\r\n\r\n",
        "a negative length": b"POST /metrics HTTP/1.1\r\nContent-Length: -5\r\nConnection: close\r\n\r\n",
        "a length past 64 bits": b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "a path that climbs": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "an encoded zero": b"GET /metrics%00x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    }

    @pytest.mark.parametrize("name", GARBAGE)
    def test_garbage_is_refused_and_the_next_scrape_works(self, name, broker):
        with open_socket((HOST, broker.http_port)) as sock:
            sock.sendall(self.GARBAGE[name])
            sock.shutdown(socket.SHUT_WR)
            response = read_all(sock)
        if response.startswith(b"HTTP/"):
            assert int(response.split(b" ")[1]) in (200, 400, 404, 405, 413, 414, 431, 501, 505), response[:100]
            assert b"root:" not in response
        assert get(broker, "/livez").status == 200

    def test_an_endless_header_is_cut_off(self, broker):
        with open_socket((HOST, broker.http_port)) as sock:
            assert pour(sock, b"GET /metrics HTTP/1.1\r\n", b"X-Filler: " + b"a" * 1000 + b"\r\n"), "never cut off"
        assert get(broker, "/livez").status == 200

    def test_an_endless_request_line_is_cut_off(self, broker):
        with open_socket((HOST, broker.http_port)) as sock:
            assert pour(sock, b"GET /", b"a" * 1000), "never cut off"
        assert get(broker, "/livez").status == 200

    def test_a_huge_body_is_refused(self, broker):
        with open_socket((HOST, broker.http_port)) as sock:
            head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
            assert pour(sock, head, b"a" * 1000), "never cut off"
        assert broker.rss_bytes() < 512 << 20
        assert get(broker, "/livez").status == 200

    def test_many_scrapers_at_once_do_not_hurt_the_clients(self, broker, client):
        failures = []

        def scrape():
            try:
                for _ in range(10):
                    metrics(broker)
            except Exception as exc:  # pylint: disable=broad-except
                failures.append(exc)

        scrapers = [threading.Thread(target=scrape) for _ in range(8)]
        for scraper in scrapers:
            scraper.start()
        while any(s.is_alive() for s in scrapers):
            assert client.call("ECHO", "x") == b"x"
        assert not failures

    def test_scrapers_that_never_read_or_never_ask_are_bounded_and_do_not_block_others(self, broker):
        files = broker.open_files()
        idle = [open_socket((HOST, broker.http_port)) for _ in range(300)]
        for number, sock in enumerate(idle):
            if number % 2:
                try:
                    sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
                except OSError:
                    pass
        with broker.client() as client:
            assert client.call("PING") == "PONG"
        wait_until(lambda: broker.open_files() < files + 200, what="idle scrapers hold few descriptors")
        for sock in idle[::2]:
            sock.close()
        wait_until(lambda: (r := get_or_none(broker, "/livez")) is not None and r.status == 200, 40 * SCALE,
                   "a scraper gets through")
        for sock in idle:
            sock.close()

    def test_a_request_that_drips_is_answered_or_cut_off(self, broker):
        request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        with open_socket((HOST, broker.http_port)) as sock:
            for position in range(len(request)):
                sock.sendall(request[position:position + 1])
            assert parse_response(read_all(sock)).status == 200

    def test_pipelined_requests_are_each_answered(self, broker):
        last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        with open_socket((HOST, broker.http_port)) as sock:
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + last)
            assert read_all(sock).count(b"HTTP/1.1 200") == 4


def pour(sock, head, filler, bytes_max=64 << 20):
    """Send and send; True once the other side refuses to take more or answers an error."""
    sock.settimeout(30 * SCALE)
    try:
        sock.sendall(head)
        for _ in range(bytes_max // len(filler)):
            sock.sendall(filler)
            if answered(sock):
                return True
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def answered(sock):
    """Has something, or the end, come back?"""
    sock.setblocking(False)
    try:
        data = sock.recv(4096)
        return data == b"" or not data.startswith(b"HTTP/1.1 200")
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(30 * SCALE)
