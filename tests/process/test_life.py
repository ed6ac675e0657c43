"""The life of the process: options from all sources, start, reload, drain, crash and restart."""

import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

from lib.broker import EXIT_SANITIZER, HOST, run_cli
from lib.resp import Client, Closed
from lib.wait import SCALE, DeadlineError, wait_until

EXIT_USAGE = 64


class TestOptions:
    """Flags, environment, file, and what is said about a mistake."""

    pytestmark = pytest.mark.fanfare_only

    NAMES = """listen http-listen dir name threads max-clients log-level log-format output-buffer-limit tcp-keepalive
    timeout requirepass protected-mode query-buffer-limit proto-max-bulk-len""".split()

    def test_help_names_every_option_and_exits_0(self):
        result = run_cli("--help")
        assert result.returncode == 0 and result.stderr == ""
        assert not [n for n in self.NAMES if f"--{n}" not in result.stdout]
        assert "FANFARE_" in result.stdout
        assert max(len(line) for line in result.stdout.splitlines()) <= 132

    def test_version_is_one_line(self):
        result = run_cli("--version")
        assert result.returncode == 0
        assert re.fullmatch(r"fanfare \d+\.\d+\.\d+.*\n", result.stdout)

    def test_print_config_shows_every_option_and_can_be_read_back(self, tmp_path):
        first = run_cli("--timeout", "17", "--max-clients", "321", "--print-config")
        assert first.returncode == 0
        assert not [n for n in self.NAMES if not re.search(rf"^#?\s*{n}\b", first.stdout, re.M)]
        assert re.search(r"^timeout 17$", first.stdout, re.M)
        file = tmp_path / "fanfare.conf"
        file.write_text(first.stdout)
        second = run_cli("--print-config", str(file))
        assert second.returncode == 0, second.stderr
        assert settings(second.stdout) == settings(first.stdout)

    def test_the_default_ports_are_those_of_redis_and_its_exporter_on_loopback(self):
        lines = settings(run_cli("--print-config").stdout)
        assert any(re.match(r"listen .*127\.0\.0\.1:6379\b", line) for line in lines)
        assert any(re.match(r"http-listen .*127\.0\.0\.1:9121\b", line) for line in lines)

    def test_a_password_is_not_printed(self):
        result = run_cli("--requirepass", "hunter2", "--print-config")
        assert "hunter2" not in result.stdout + result.stderr

    WRONG = {
        "an unknown option": (["--nosuch", "1"], ["nosuch"]),
        "a word for a number": (["--timeout", "soon"], ["timeout", "soon", "0", "2147483647"]),
        "a number below the range": (["--max-clients", "0"], ["max-clients", "0", "1"]),
        "a number above the range": (["--threads", "9999"], ["threads", "9999", "64"]),
        "a size with an unknown unit": (["--proto-max-bulk-len", "1parsec"], ["proto-max-bulk-len", "1parsec"]),
        "a size that is too small": (["--query-buffer-limit", "10"], ["query-buffer-limit", "10"]),
        "a word that is no choice": (["--log-level", "chatty"], ["log-level", "chatty", "debug", "info"]),
        "neither yes nor no": (["--protected-mode", "perhaps"], ["protected-mode", "perhaps", "yes", "no"]),
        "an address without a port": (["--listen", "localhost"], ["listen", "localhost"]),
        "a port out of range": (["--listen", "127.0.0.1:70000"], ["listen", "127.0.0.1:70000"]),
        "an incomplete limit": (["--output-buffer-limit", "pubsub 1mb"], ["output-buffer-limit", "pubsub 1mb"]),
        "a class that does not exist": (["--output-buffer-limit", "other 0 0 0"], ["output-buffer-limit", "other"]),
        "an option without its value": (["--timeout"], ["timeout"]),
        "a file that does not exist": (["/nonexistent/fanfare.conf"], ["/nonexistent/fanfare.conf"]),
        "two files": (["/dev/null", "/dev/null"], ["/dev/null"]),
    }

    @pytest.mark.parametrize("name", WRONG)
    def test_a_mistake_names_the_option_the_value_and_the_range_and_exits_64(self, name):
        argv, words = self.WRONG[name]
        result = run_cli(*argv)
        assert result.returncode == EXIT_USAGE, result.stderr
        assert result.stdout == ""
        assert not [w for w in words if w not in result.stderr], result.stderr

    def test_a_mistake_in_the_environment_names_the_variable(self):
        result = run_cli(env={"FANFARE_TIMEOUT": "soon"})
        assert result.returncode == EXIT_USAGE
        assert "soon" in result.stderr and re.search("FANFARE_TIMEOUT|timeout", result.stderr)

    def test_a_mistake_in_the_file_names_the_line(self, tmp_path):
        file = tmp_path / "bad.conf"
        file.write_text("# comment\n\ntimeout 5\nlog-level chatty\n")
        result = run_cli(str(file))
        assert result.returncode == EXIT_USAGE
        assert "bad.conf" in result.stderr and "4" in result.stderr and "chatty" in result.stderr

    def test_flags_win_over_the_environment_and_that_over_the_file(self, start_broker, tmp_path):
        file = tmp_path / "fanfare.conf"
        file.write_text("# all three from here\ntimeout 100\ntcp-keepalive 100\nmax-clients 100\n")
        broker = start_broker({"timeout": 300}, env={"FANFARE_TIMEOUT": "200", "FANFARE_TCP_KEEPALIVE": "200"},
                              extra_args=[str(file)])
        with broker.client(3) as client:
            got = client.call("CONFIG", "GET", "timeout", "tcp-keepalive", "maxclients")
        assert got == {b"timeout": b"300", b"tcp-keepalive": b"200", b"maxclients": b"100"}

    def test_an_option_may_be_given_with_an_equals_sign(self, start_broker):
        broker = start_broker(extra_args=["--timeout=123"])
        with broker.client() as client:
            assert client.call("CONFIG", "GET", "timeout") == [b"timeout", b"123"]

    @pytest.mark.parametrize("name,value,alias", [("max-clients", "77", "maxclients"),
                                                  ("query-buffer-limit", "2097152", "client-query-buffer-limit")])
    def test_both_our_name_and_that_of_redis_are_known_to_config(self, name, value, alias, start_broker):
        broker = start_broker({name: value})
        with broker.client(3) as client:
            assert client.call("CONFIG", "GET", name) == {name.encode(): value.encode()}
            assert client.call("CONFIG", "GET", alias) == {alias.encode(): value.encode()}


def settings(text):
    """The lines of a configuration that set something."""
    return sorted(line for line in text.splitlines() if line and not line.startswith("#"))


class TestStart:
    """What a start says and does."""

    pytestmark = pytest.mark.fanfare_only

    def test_it_says_where_it_listens_and_how_many_files_it_may_open(self, start_broker):
        broker = start_broker()
        wait_until(lambda: all(f":{port}" in broker.log() for port in (broker.port, broker.http_port)))
        assert re.search(r"file limit.*\d{3,}", broker.log())

    def test_it_raises_its_file_limit_for_max_clients(self, start_broker):
        broker = start_broker({"max-clients": 5000})
        limits = pathlib.Path(f"/proc/{broker.pid}/limits").read_text()
        soft = int(re.search(r"Max open files\s+(\d+)", limits).group(1))
        assert soft >= 5000

    def test_when_files_are_short_the_limit_of_clients_is_lowered_and_said(self, start_broker):
        broker = limited_files_broker(start_broker, 200)
        with broker.client() as client:
            lowered = int(client.call("CONFIG", "GET", "maxclients")[1])
        assert lowered < 200
        assert "max-clients" in broker.log()
        clients = []
        try:
            while True:
                client = broker.client()
                clients.append(client)
                assert client.call("PING") == "PONG"
        except (Closed, OSError, AssertionError):
            assert len(clients) >= lowered, "who is one too many is told so, and nobody before"
        broker.check_alive()
        for client in clients:
            client.close()

    def test_json_logs_are_json(self, start_broker):
        import json
        broker = start_broker({"log-format": "json"})
        wait_until(lambda: '"ready"' in broker.log() and broker.log().endswith("\n"))
        assert all(isinstance(json.loads(line), dict) for line in broker.log().splitlines())

    def test_a_port_in_use_is_named_and_it_does_not_start(self, start_broker):
        first = start_broker()
        result = run_cli("--listen", f"{HOST}:{first.port}", "--http-listen", "off", "--dir",
                         str(first.directory / "other"))
        assert result.returncode not in (0, EXIT_SANITIZER)
        assert str(first.port) in result.stderr + result.stdout

    def test_one_directory_serves_one_process(self, start_broker):
        first = start_broker()
        result = run_cli("--listen", f"{HOST}:0", "--http-listen", "off", "--dir", str(first.directory / "data"))
        assert result.returncode not in (0, EXIT_SANITIZER)
        assert "data" in result.stderr + result.stdout

    def test_the_name_option_is_shown(self, start_broker):
        broker = start_broker({"name": "fanfare-7"})
        assert "fanfare-7" in broker.log() or "fanfare-7" in str(broker.info())

    @pytest.mark.parametrize("count", [1, 2, 4, 16])
    def test_any_number_of_threads_serves(self, count, start_broker):
        broker = start_broker({"threads": count})
        clients = [broker.client() for _ in range(count * 3)]
        for client in clients:
            client.call("SUBSCRIBE", "threads")
        with broker.client() as publisher:
            assert publisher.call("PUBLISH", "threads", "x") == count * 3
        for client in clients:
            assert client.recv() == [b"message", b"threads", b"x"]
            client.close()


def limited_files_broker(start_broker, count):
    """A broker that may open only so many files. The limit is set in between fork and exec."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    original = subprocess.Popen

    def limited(*args, **kwargs):
        return original(*args, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count)), **kwargs)

    assert hard >= count
    subprocess.Popen = limited
    try:
        return start_broker()
    finally:
        subprocess.Popen = original


class TestShutdown:
    """SIGTERM, SIGINT, SHUTDOWN."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
    def test_a_signal_ends_it_with_status_0_and_closes_every_client(self, number, start_broker):
        broker = start_broker()
        clients = [broker.client() for _ in range(20)]
        for client in clients:
            client.call("SUBSCRIBE", "ends")
        broker.expects_death = True
        broker.signal(number)
        assert broker.wait_exit() == 0
        for client in clients:
            assert client.read_to_end() == b""

    @pytest.mark.fanfare_only  # redis drops it
    def test_what_is_queued_is_delivered_before_the_end(self, start_broker):
        broker = start_broker({"output-buffer-limit": "pubsub 0 0 0"})
        slow = [broker.client(recv_buffer_bytes=4096) for _ in range(5)]
        for client in slow:
            client.call("SUBSCRIBE", "drain")
        with broker.client() as publisher:
            count = 100
            for number in range(count):
                assert publisher.call("PUBLISH", "drain", b"%04d" % number + b"x" * (128 << 10)) == 5
        broker.expects_death = True
        broker.signal(signal.SIGTERM)
        for client in slow:
            assert [int(m[2][:4]) for m in client.recv_many(count)] == list(range(count))
            with pytest.raises(Closed):
                client.recv()
        assert broker.wait_exit() == 0

    @pytest.mark.fanfare_only
    def test_while_it_drains_nobody_new_gets_in(self, start_broker):
        broker = start_broker({"output-buffer-limit": "pubsub 0 0 0", "shutdown-timeout": 30})
        slow = stuck_subscriber(broker)
        broker.expects_death = True
        broker.signal(signal.SIGTERM)
        wait_until(lambda: refuses(broker), what="new connections are refused")
        assert broker.process.poll() is None
        slow.close()
        assert broker.wait_exit() == 0

    @pytest.mark.fanfare_only
    def test_a_subscriber_that_never_reads_cannot_hold_up_the_end(self, start_broker):
        broker = start_broker({"output-buffer-limit": "pubsub 0 0 0", "shutdown-timeout": 1})
        slow = stuck_subscriber(broker)
        assert broker.terminate(10 * SCALE) == 0
        slow.close()

    @pytest.mark.fanfare_only
    def test_a_second_signal_ends_the_wait(self, start_broker):
        broker = start_broker({"output-buffer-limit": "pubsub 0 0 0", "shutdown-timeout": 600})
        slow = stuck_subscriber(broker)
        broker.expects_death = True
        broker.signal(signal.SIGTERM)
        wait_until(lambda: refuses(broker), what="it drains")
        broker.signal(signal.SIGTERM)
        broker.wait_exit(10 * SCALE)
        slow.close()

    @pytest.mark.parametrize("args", [(), ("NOSAVE",)], ids=["plain", "NOSAVE"])
    def test_the_command_shutdown_ends_it(self, args, start_broker):
        broker = start_broker()
        broker.expects_death = True
        with broker.client() as client:
            client.send("SHUTDOWN", *args)
            assert client.read_to_end() == b""
        assert broker.wait_exit() == 0

    def test_the_end_comes_under_load_too(self, start_broker):
        broker = start_broker()
        threads = [threading.Thread(target=talk_until_closed, args=(broker.address, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: int(broker.info("stats")["total_commands_processed"]) > 500)
        assert broker.terminate() == 0
        for thread in threads:
            thread.join(20 * SCALE)
            assert not thread.is_alive()


def stuck_subscriber(broker):
    """A subscriber with megabytes waiting for it."""
    slow = broker.client(recv_buffer_bytes=4096)
    slow.call("SUBSCRIBE", "stuck")
    with broker.client() as publisher:
        for _ in range(100):
            publisher.call("PUBLISH", "stuck", "x" * (128 << 10))
    return slow


def refuses(broker):
    """Does a new connection get nowhere?"""
    try:
        with Client(broker.address, timeout_s=0.5) as client:
            client.call("PING")
            return False
    except (OSError, Closed):
        return True


def talk_until_closed(address, number):
    """Publish and subscribe until the connection ends."""
    try:
        with Client(address, 3) as client:
            client.send("SUBSCRIBE", f"talk:{number % 3}")
            client.recv()
            while True:
                client.call("PUBLISH", f"talk:{(number + 1) % 3}", "x" * 300)
                client.pushes.clear()
    except (OSError, Closed):
        pass


class TestReload:
    """SIGHUP."""

    pytestmark = pytest.mark.fanfare_only

    def test_a_changed_file_takes_effect_and_no_client_notices(self, start_broker, tmp_path):
        file = tmp_path / "fanfare.conf"
        file.write_text("timeout 0\nmax-clients 100\n")
        broker = start_broker(extra_args=[str(file)])
        with broker.client(3) as client:
            client.send("SUBSCRIBE", "reload")
            client.recv()
            file.write_text("timeout 500\nmax-clients 50\n")
            broker.signal(signal.SIGHUP)
            wait_until(lambda: client.call("CONFIG", "GET", "timeout") == {b"timeout": b"500"})
            assert client.call("CONFIG", "GET", "maxclients") == {b"maxclients": b"50"}
            assert client.call("PUBLISH", "reload", "x") == 1

    def test_a_broken_file_changes_nothing_and_is_logged(self, start_broker, tmp_path):
        file = tmp_path / "fanfare.conf"
        file.write_text("timeout 100\n")
        broker = start_broker(extra_args=[str(file)])
        file.write_text("timeout 200\nlog-level chatty\n")
        broker.signal(signal.SIGHUP)
        wait_until(lambda: "chatty" in broker.log())
        with broker.client() as client:
            assert client.call("CONFIG", "GET", "timeout") == [b"timeout", b"100"]

    def test_an_option_that_needs_a_restart_is_named_in_the_log(self, start_broker, tmp_path):
        file = tmp_path / "fanfare.conf"
        file.write_text("tcp-backlog 100\n")
        broker = start_broker(extra_args=[str(file)])
        file.write_text("tcp-backlog 200\n")
        broker.signal(signal.SIGHUP)
        wait_until(lambda: "tcp-backlog" in broker.log())

    def test_config_rewrite_keeps_comments_and_survives_a_restart(self, start_broker, tmp_path):
        file = tmp_path / "fanfare.conf"
        file.write_text("# my comment\ntimeout 100\n")
        broker = start_broker(extra_args=[str(file)])
        with broker.client() as client:
            assert client.call("CONFIG", "SET", "timeout", "222") == "OK"
            assert client.call("CONFIG", "REWRITE") == "OK"
        assert "# my comment" in file.read_text() and "timeout 222" in file.read_text()
        assert broker.terminate() == 0
        broker.start()
        with broker.client() as client:
            assert client.call("CONFIG", "GET", "timeout") == [b"timeout", b"222"]


class TestCrash:
    """kill -9 and restart, stop and continue."""

    def test_clients_that_reconnect_find_everything_working_after_a_crash(self, start_broker):
        broker = start_broker()
        world = World(broker.address)
        world.start()
        try:
            for _ in range(3):
                world.wait_progress()
                broker.kill()
                broker.start()
            world.wait_progress()
        finally:
            world.stop()
        assert not world.failures

    def test_a_stopped_and_continued_broker_goes_on(self, start_broker):
        broker = start_broker()
        with broker.client() as subscriber, broker.client() as publisher:
            subscriber.call("SUBSCRIBE", "frozen")
            broker.signal(signal.SIGSTOP)
            os.waitid(os.P_PID, broker.pid, os.WSTOPPED | os.WNOWAIT)  # not before is it stopped
            publisher.send("PUBLISH", "frozen", "x")
            broker.signal(signal.SIGCONT)
            assert publisher.recv() == 1
            assert subscriber.recv() == [b"message", b"frozen", b"x"]

    def test_a_restart_on_the_same_port_works_at_once(self, start_broker):
        broker = start_broker()
        for _ in range(5):
            clients = [broker.client() for _ in range(10)]
            for client in clients:
                client.call("PING")
            broker.kill()
            broker.start()
            for client in clients:
                client.close()


class World:
    """Clients that publish, subscribe and reconnect for ever; counts what arrives."""

    def __init__(self, address):
        self.address = address
        self.is_over = False
        self.received = 0
        self.failures = []
        self.threads = [threading.Thread(target=self._live, args=(role,), daemon=True)
                        for role in (self._subscribe, self._subscribe, self._publish, self._publish)]

    def start(self):
        """Begin."""
        for thread in self.threads:
            thread.start()

    def stop(self):
        """End."""
        self.is_over = True
        for thread in self.threads:
            thread.join(20 * SCALE)

    def wait_progress(self):
        """Wait until more messages have arrived."""
        before = self.received
        try:
            wait_until(lambda: self.received > before + 200, 30 * SCALE, "messages arrive")
        except DeadlineError as exc:
            self.failures.append(exc)

    def _live(self, role):
        while not self.is_over:
            try:
                with Client(self.address, timeout_s=1) as client:
                    role(client)
            except (OSError, Closed):
                time.sleep(0.01)
            except Exception as exc:  # pylint: disable=broad-except
                self.failures.append(exc)
                return

    def _subscribe(self, client):
        client.call("SUBSCRIBE", "world")
        latest = {}
        while not self.is_over:
            publisher, number = client.recv()[2].split(b":")
            assert int(number) > latest.get(publisher, -1), "repeated or out of order"
            latest[publisher] = int(number)
            self.received += 1

    def _publish(self, client):
        name = os.urandom(4).hex()
        number = 0
        while not self.is_over:
            client.calls([("PUBLISH", "world", f"{name}:{number + n}") for n in range(10)])
            number += 10
