"""broker: one broker process under test, as its operator sees it.

The environment chooses the program:
  BROKER=fanfare   FANFARE_BIN names the binary (default build/fanfare in this tree)
  BROKER=redis     redis-server, the reference that the expectations were checked against
Without BROKER it is fanfare when FANFARE_BIN is set, else redis.

Options are written as fanfare spells them; RedisProgram translates. A Broker owns its process and its directory:
`close` ends the process, and fails the test if it had died by itself, left a sanitizer report or would not end.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from .ports import free_port
from .resp import Client, Closed
from .wait import DEADLINE_S, SCALE, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
START_DEADLINE_S = 20 * SCALE
STOP_DEADLINE_S = 20 * SCALE
EXIT_SANITIZER = 97

_SANITIZER = re.compile(rb"(ERROR|WARNING|SUMMARY): \w+Sanitizer|runtime error:|LeakSanitizer")


def kind():
    """"fanfare" or "redis"."""
    chosen = os.environ.get("BROKER") or ("fanfare" if os.environ.get("FANFARE_BIN") else "redis")
    assert chosen in ("fanfare", "redis"), f"BROKER={chosen}: expected fanfare or redis"
    return chosen


def is_fanfare():
    """True when the broker under test is fanfare."""
    return kind() == "fanfare"


class FanfareProgram:
    """How fanfare is started."""

    env = {}

    def __init__(self):
        self.path = os.environ.get("FANFARE_BIN") or str(ROOT / "build" / "fanfare")

    def argv(self, broker):
        """The command line for `broker`."""
        http = f"{HOST}:{broker.http_port}" if broker.http_port else "off"
        argv = [self.path, "--listen", " ".join(broker.listen), "--http-listen", http,
                "--dir", str(broker.directory / "data"), "--enable-debug-command", "local"]
        for name, value in broker.options.items():
            argv += [f"--{name}", str(value)]
        return argv + broker.extra_args


class RedisProgram:
    """How redis-server is started, from options in fanfare's words."""

    NAMES = {
        "max-clients": "maxclients",
        "output-buffer-limit": "client-output-buffer-limit",
        "query-buffer-limit": "client-query-buffer-limit",
    }
    IGNORED = {"threads", "name", "http-listen", "log-level", "log-format"}
    env = {"MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}  # gives memory back at once, so tests need not wait

    def __init__(self):
        self.path = os.environ.get("REDIS_SERVER") or "redis-server"

    def argv(self, broker):
        """The command line for `broker`."""
        argv = [self.path, "--save", "", "--appendonly", "no", "--dir", str(broker.directory),
                "--enable-debug-command", "yes"]
        hosts = [split_address(a)[0] for a in broker.listen if not a.startswith("unix:")]
        ports = [split_address(a)[1] for a in broker.listen if not a.startswith("unix:")]
        argv += ["--port", str(ports[0]), "--bind", *hosts]
        for address in broker.listen:
            if address.startswith("unix:"):
                argv += ["--unixsocket", address[len("unix:"):]]
        for name, value in broker.options.items():
            if name not in self.IGNORED:
                argv += [f"--{self.NAMES.get(name, name)}"]
                argv += str(value).split(" ") if name == "output-buffer-limit" else [str(value)]
        return argv + broker.extra_args


def split_address(text):
    """"host:port" or "[v6]:port" as (host, port)."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


class Broker:
    """One running (or ended) broker process."""

    def __init__(self, options=None, listen=None, env=None, extra_args=(), http=True, directory=None):
        self.program = FanfareProgram() if is_fanfare() else RedisProgram()
        self.options = dict(options or {})
        self.extra_args = list(extra_args)
        self.env = {**_sanitizer_env(), **os.environ, **self.program.env, **(env or {})}
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="broker-test-"))
        self._listen_asked = listen
        self._http_asked = http and is_fanfare()
        self.process = None
        self.expects_death = False
        self._starts = 0
        self.listen, self.port, self.http_port = [], 0, 0
        self._choose_ports()

    def _choose_ports(self):
        self.port = free_port()
        self.listen = [a.replace("PORT", str(self.port)).replace("DIR", str(self.directory))
                       for a in self._listen_asked or [f"{HOST}:PORT"]]
        self.http_port = free_port() if self._http_asked else 0

    @property
    def address(self):
        """(host, port) of the first listen address."""
        return split_address(self.listen[0]) if not self.listen[0].startswith("unix:") else self.listen[0][5:]

    @property
    def pid(self):
        """The process id."""
        return self.process.pid

    @property
    def log_path(self):
        """Where standard output and error of the current process go."""
        return self.directory / f"log.{self._starts}"

    def log(self):
        """All that the current process has printed."""
        return self.log_path.read_text(errors="replace")

    def start(self, wait=True):
        """Start the process and wait until it answers; the ports are kept over a restart."""
        for attempt in range(5):
            self._spawn()
            if not wait or self._comes_up():
                return self
            if "in use" not in self.log() or self._starts > attempt + 1:
                break
            self._choose_ports()
        self.expects_death = True
        raise AssertionError(f"the broker did not start: {self.program.argv(self)}\n{self.log()}")

    def _spawn(self):
        self._starts += 1
        self.expects_death = False
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.program.argv(self), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, env=self.env, cwd=self.directory)

    def _comes_up(self):
        wait_until(lambda: self.process.poll() is not None or self._answers(), START_DEADLINE_S, "the broker answers")
        return self.process.poll() is None

    def _answers(self):
        try:
            with Client(self.address, timeout_s=1) as client:
                answer = client.call("PING")
                return answer is not None and not str(answer).startswith("LOADING")  # redis-server, for a moment
        except (OSError, Closed):
            return False

    def client(self, protocol=2, **kwargs):
        """A new raw client."""
        return Client(self.address, protocol, **kwargs)

    def signal(self, number):
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def kill(self):
        """kill -9, and wait until it is gone."""
        self.expects_death = True
        self.process.kill()
        self.process.wait(STOP_DEADLINE_S)

    def terminate(self, deadline_s=STOP_DEADLINE_S):
        """SIGTERM; wait for the exit status and return it."""
        self.expects_death = True
        self.signal(signal.SIGTERM)
        return self.wait_exit(deadline_s)

    def wait_exit(self, deadline_s=STOP_DEADLINE_S):
        """Wait until the process has ended; return its status."""
        self.expects_death = True
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired as exc:
            raise AssertionError(f"the broker did not end within {deadline_s:g} s") from exc

    def check_alive(self):
        """Fail, with the end of the log, if the process has died unasked."""
        if self.process is not None and not self.expects_death and self.process.poll() is not None:
            raise AssertionError(f"the broker died, status {self.process.returncode}\n{self.log()[-8000:]}")

    def close(self):
        """End the process if it runs, remove its files; fail on an early death or a sanitizer report."""
        try:
            if self.process is not None:
                self._end()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self):
        self.check_alive()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            status = self._terminate_or_kill()
            assert status == 0, f"exit status {status} after SIGTERM\n{self.log()[-8000:]}"
        for start in range(1, self._starts + 1):
            log = (self.directory / f"log.{start}").read_bytes()
            assert not _SANITIZER.search(log), f"a sanitizer report:\n{log[-20000:].decode(errors='replace')}"

    def _terminate_or_kill(self):
        try:
            return self.terminate()
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise

    def rss_bytes(self):
        """The resident memory of the process."""
        return self._status_kib("VmRSS") * 1024

    def peak_rss_bytes(self):
        """The highest resident memory so far."""
        return self._status_kib("VmHWM") * 1024

    def cpu_seconds(self):
        """User and system time used so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self):
        """How many descriptors the process holds."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _status_kib(self, field):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M).group(1))

    def info(self, section="everything"):
        """INFO as a dict of strings."""
        with self.client() as client:
            return parse_info(client.call("INFO", section))


def _sanitizer_env():
    return {
        "ASAN_OPTIONS": f"exitcode={EXIT_SANITIZER}:detect_leaks=1:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "TSAN_OPTIONS": f"exitcode={EXIT_SANITIZER}:halt_on_error=0:detect_deadlocks=0:"  # it holds at most 64 locks
                        f"suppressions={ROOT}/tests/process/tsan.supp",
    }


def parse_info(raw):
    """The text of INFO as a dict; fails on a line that is neither a section, a field nor empty."""
    fields = {}
    for line in raw.decode().split("\r\n"):
        if line and not line.startswith("#"):
            name, colon, value = line.partition(":")
            assert colon, f"not an INFO line: {line!r}"
            fields[name] = value
    return fields


def run_cli(*args, env=None, timeout_s=DEADLINE_S):
    """Run the program to its end with these arguments; returns the CompletedProcess with text output."""
    program = FanfareProgram() if is_fanfare() else RedisProgram()
    return subprocess.run([program.path, *args], env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout_s, check=False)


def now_ns():
    """The clock of all recorded histories: monotonic, the same in every process."""
    return time.monotonic_ns()
