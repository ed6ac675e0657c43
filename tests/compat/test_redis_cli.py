"""redis-cli in all its ways: one command, a script on standard input, --pipe, subscribing, and at a terminal."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios

import pytest

from lib.broker import HOST
from lib.resp import encode
from lib.wait import DEADLINE_S, SCALE, wait_until


def cli(broker, *args, stdin=None):
    """Run redis-cli to its end; returns its output."""
    result = subprocess.run(["redis-cli", "-h", HOST, "-p", str(broker.port), *args], input=stdin,
                            capture_output=True, timeout=60 * SCALE, check=False)
    return result.stdout.decode(errors="replace")


@pytest.mark.parametrize("args,output", [
    (["PING"], "PONG\n"),
    (["PUBLISH", "cli:none", "x"], "0\n"),
    (["--no-raw", "PUBLISH", "cli:none", "x"], "(integer) 0\n"),
    (["--no-raw", "PUBSUB", "NUMSUB", "cli:none"], '1) "cli:none"\n2) (integer) 0\n'),
    (["-3", "--no-raw", "CLIENT", "TRACKINGINFO"],
     '1# "flags" => 1~ "off"\n2# "redirect" => (integer) -1\n3# "prefixes" => (empty array)\n'),
    (["-3", "--no-raw", "CLIENT", "GETNAME"], "(nil)\n"),
    (["--json", "PUBSUB", "NUMSUB", "a"], '["a",0]\n'),
    (["-n", "3", "PING"], "PONG\n"),
    (["-x", "PUBLISH", "cli:none"], "0\n"),
    (["nosuch", "x"], "ERR unknown command 'nosuch', with args beginning with: 'x' \n\n"),
    (["-r", "3", "ECHO", "again"], "again\nagain\nagain\n"),
], ids=lambda a: " ".join(a) if isinstance(a, list) else "")
def test_one_command_prints_what_it_prints_with_redis(args, output, broker):
    assert cli(broker, *args, stdin=b"") == output


def test_a_script_on_standard_input_is_run_line_by_line(broker):
    script = b"PING\nECHO 'two words'\nMULTI\nPUBLISH cli:none x\nEXEC\nPING bye\n"
    assert cli(broker, stdin=script) == "PONG\ntwo words\nOK\nQUEUED\n0\nbye\n"


def test_pipe_mode_counts_the_replies_and_errors(broker):
    data = b"".join(encode("PUBLISH", "cli:none", n) for n in range(5000)) + encode("nosuch")
    output = cli(broker, "--pipe", stdin=data)
    assert "errors: 1, replies: 5001" in output


def test_authentication_by_option_environment_and_url(start_broker):
    broker = start_broker({"requirepass": "secret"})
    assert "NOAUTH" in cli(broker, "PING")
    assert cli(broker, "-a", "secret", "--no-auth-warning", "PING") == "PONG\n"
    assert cli(broker, "--user", "default", "--pass", "secret", "--no-auth-warning", "PING") == "PONG\n"
    url = f"redis://default:secret@{HOST}:{broker.port}/0"
    result = subprocess.run(["redis-cli", "--no-auth-warning", "-u", url, "PING"], capture_output=True, text=True,
                            timeout=DEADLINE_S, check=False)
    assert result.stdout == "PONG\n"


def test_a_unix_socket_works(start_broker):
    broker = start_broker(listen=[f"{HOST}:PORT", "unix:DIR/broker.sock"])
    result = subprocess.run(["redis-cli", "-s", broker.directory / "broker.sock", "PING"], capture_output=True, text=True,
                            timeout=DEADLINE_S, check=False)
    assert result.stdout == "PONG\n"


def test_cluster_mode_and_its_info(cluster_broker):
    assert cli(cluster_broker, "-c", "PUBLISH", "cli:none", "x") == "0\n"
    assert "cluster_state:ok" in cli(cluster_broker, "-c", "CLUSTER", "INFO")
    assert "[OK] All 16384 slots covered." in cli(cluster_broker, "--cluster", "check", f"{HOST}:{cluster_broker.port}")


def test_stat_and_latency_modes_understand_the_answers(broker):
    output = cli(broker, "--latency", "-i", "1", "--raw")
    assert re.match(r"\d+ \d+ \d+\.\d+ \d+", output)


_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Terminal:
    """redis-cli at a pseudo terminal."""

    def __init__(self, broker, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            os.environ.update(TERM="xterm", HOME=str(broker.directory))
            os.execvp("redis-cli", ["redis-cli", "-h", HOST, "-p", str(broker.port), *args])
        self.output = ""

    def type(self, text):
        """Send keys."""
        os.write(self.fd, text.encode())

    def expect(self, pattern):
        """Read until the output matches; returns the match and forgets the output up to its end."""
        def found():
            self._read()
            return re.search(pattern, self.output)
        try:
            match = wait_until(found, what=f"the terminal shows {pattern!r}")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\nterminal: {self.output!r}") from None
        self.output = self.output[match.end():]
        return match

    def _read(self):
        while select.select([self.fd], [], [], 0.02)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            if not data:
                return
            self.output = _ESCAPES.sub("", self.output + data.decode(errors="replace"))

    def close(self):
        """End it."""
        os.close(self.fd)
        wait_until(lambda: os.waitpid(self.pid, os.WNOHANG)[0] != 0, what="redis-cli ends")


@pytest.fixture
def terminal(broker):
    """open(*args) gives a Terminal."""
    opened = []

    def open_terminal(*args):
        opened.append(Terminal(broker, *args))
        return opened[-1]

    yield open_terminal
    for instance in opened:
        instance.close()


class TestTerminal:
    """At a terminal."""

    def test_it_greets_with_the_address_and_answers(self, terminal, broker):
        screen = terminal()
        screen.expect(rf"{HOST}:{broker.port}> ")
        screen.type("PING\r")
        screen.expect(r"\r\nPONG\r\n")

    def test_hints_show_the_arguments_of_a_command(self, terminal, broker):
        screen = terminal()
        screen.expect(rf"{HOST}:{broker.port}> ")
        screen.type("publish ")
        screen.expect("channel message")
        screen.type("\x15")  # kill the line
        screen.type("client setname ")
        screen.expect("connection-name")

    def test_help_shows_summary_and_group(self, terminal, broker):
        screen = terminal()
        screen.expect(rf"{HOST}:{broker.port}> ")
        screen.type("help publish\r")
        screen.expect(r"PUBLISH.*channel message")
        screen.expect(r"summary: \w.*\r")
        screen.expect("group:.*pubsub")

    @pytest.mark.parametrize("args", [(), ("-3",)], ids=["RESP2", "RESP3"])
    def test_subscribing_shows_messages_as_they_come(self, args, terminal, broker, client):
        screen = terminal(*args)
        screen.expect(rf"{HOST}:{broker.port}> ")
        screen.type("subscribe cli:tty\r")
        screen.expect(r'1\) "subscribe"')
        wait_until(lambda: client.call("PUBSUB", "NUMSUB", "cli:tty")[1] == 1)
        assert client.call("PUBLISH", "cli:tty", "hello there") == 1
        screen.expect(r'1\) "message"\r\n2\) "cli:tty"\r\n3\) "hello there"')

    def test_multi_changes_the_prompt(self, terminal, broker):
        screen = terminal()
        screen.expect(rf"{HOST}:{broker.port}> ")
        screen.type("multi\r")
        screen.expect(r"\(TX\)> ")
        screen.type("ping\r")
        screen.expect("QUEUED")
        screen.type("exec\r")
        screen.expect(r"1\) PONG")


def test_a_subscribed_cli_without_a_terminal_prints_what_arrives(broker, client):
    child = subprocess.Popen(["redis-cli", "-h", HOST, "-p", str(broker.port), "PSUBSCRIBE", "cli:raw:*"],
                             stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: client.call("PUBLISH", "cli:raw:1", "x") == 1)
        lines = [child.stdout.readline().strip() for _ in range(7)]
        assert lines == ["psubscribe", "cli:raw:*", "1", "pmessage", "cli:raw:*", "cli:raw:1", "x"]
    finally:
        child.kill()
        child.wait()
