"""Random commands to the data commands and to redis-server 7: the replies are the same, to the letter of an error.

A difference is printed with its seed and the commands that led to it. DIFFERENTIAL_SEEDS and DIFFERENTIAL_COMMANDS
make it longer.
"""

import os
import pathlib
import random
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from commands import (AROUND, BY_CHANCE, CALLER, LOOSE_FIELDS, PAIRS, SCANS, UNORDERED, World,  # noqa: E402
                      calls_of)
from lib.resp import Client, RespError, RespSet, Status  # noqa: E402
from lib.wait import wait_until  # noqa: E402

SEEDS = int(os.environ.get("DIFFERENTIAL_SEEDS", "6"))
COMMANDS = int(os.environ.get("DIFFERENTIAL_COMMANDS", "3000"))


class Server:
    """A process that serves a unix socket until the test is over."""

    def __init__(self, argv, socket_path):
        self.socket_path = str(socket_path)
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        wait_until(self._answers, what=f"{argv[0]} on {socket_path}")

    def _answers(self):
        try:
            Client(self.socket_path).close()
        except OSError:
            return False
        return True

    def client(self, protocol):
        return Client(self.socket_path, protocol=protocol)

    def close(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(name="servers")
def _servers(tmp_path):
    ours = tmp_path / "ours.sock"
    theirs = tmp_path / "theirs.sock"
    servers = [
        Server([os.environ["DATA_PEER"], str(ours), str(tmp_path / "store")], ours),
        Server(["redis-server", "--port", "0", "--unixsocket", str(theirs), "--save", "", "--appendonly", "no",
                "--loglevel", "warning", "--dir", str(tmp_path)], theirs)]
    yield servers
    for server in servers:
        server.close()


def _plain(value):
    """A reply in which only what clients see is left to compare."""
    if isinstance(value, RespError):
        return ("error", str(value))
    if isinstance(value, Status):
        return ("status", str(value))
    if isinstance(value, dict):
        return ("map", [(_plain(k), _plain(v)) for k, v in value.items()])
    if isinstance(value, RespSet):
        return ("set", sorted(repr(_plain(v)) for v in value))
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value


def _pairs(flat):
    return sorted(repr(pair) for pair in zip(flat[::2], flat[1::2]))


def _tight(value):
    """Without the fields that one server has alone, or that a clock decides; also of maps that came flat."""
    if isinstance(value, tuple) and value[0] == "map":
        return ("map", [(k, _tight(v)) for k, v in value[1] if k not in LOOSE_FIELDS])
    if isinstance(value, list) and len(value) % 2 == 0 and any(v in LOOSE_FIELDS for v in value[::2] if
                                                               isinstance(v, bytes)):
        return [x for k, v in zip(value[::2], value[1::2]) if k not in LOOSE_FIELDS for x in (k, _tight(v))]
    return [_tight(v) for v in value] if isinstance(value, list) else value


def comparable(command, reply):
    """The reply without what two right servers may do differently."""
    name = command[0].upper()
    if command[1:2] == [CALLER] and isinstance(reply, list) and len(calls_of(command)) == len(reply):
        return [comparable(inner, one) for inner, one in zip(calls_of(command), reply)]
    plain = _plain(reply)
    if isinstance(plain, bytes) and plain[:4] == b"HYLL":
        return plain[:8] + plain[16:]  # without the count that PFCOUNT leaves there in Redis
    if name in BY_CHANCE:
        return len(plain) if isinstance(plain, list) else ("one" if isinstance(plain, bytes) else plain)
    if name == b"TTL" and isinstance(plain, int) and plain > 0:
        return round(plain / 50)  # deadlines are multiples of it; seconds may pass between the two
    if name == b"XINFO":
        return _tight(plain)
    if not isinstance(plain, list):
        return plain if not (isinstance(plain, tuple) and plain[0] == "map") else ("map", sorted(map(repr, plain[1])))
    if name in AROUND and not any(word.upper() in (b"ASC", b"DESC", b"COUNT") for word in command[2:]):
        return sorted(map(repr, plain))
    if name in UNORDERED:
        return sorted(map(repr, plain))
    if name in PAIRS:
        return _pairs(plain)
    if name in SCANS and len(plain) == 2 and isinstance(plain[1], list):
        return [plain[0], sorted(map(repr, plain[1])) if SCANS[name] == 1 else _pairs(plain[1])]
    if name == b"SORT" and any(word.upper() == b"BY" for word in command[2:]):
        return sorted(map(repr, plain))
    return plain


def story(history, count=25):
    """The last commands, for people."""
    return "\n".join(" ".join(_short(word) for word in command) for command in history[-count:])


def _short(word):
    text = repr(word)[2:-1]
    return text if len(text) < 30 else f"{text[:20]}...({len(word)})"


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_replies_are_redis_replies(servers, seed, protocol):
    """Whatever the order of commands, whatever the mistakes in them."""
    ours, theirs = [server.client(protocol) for server in servers]
    world = World(random.Random(seed * 2 + protocol))
    history = []
    for _ in range(COMMANDS):
        command = world.command()
        history.append(command)
        got = comparable(command, ours.call(*command))
        expected = comparable(command, theirs.call(*command))
        assert got == expected, (f"seed {seed}, protocol {protocol}, command {len(history)}\n{story(history)}\n"
                                 f"ours:  {str(got)[:600]}\nredis: {str(expected)[:600]}")
