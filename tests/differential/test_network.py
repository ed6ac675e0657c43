"""The same random commands through the network: a broker with its log, its partition and its sessions beside redis-server.

One partition, so that SWAPDB, MOVE and COPY ... DB work between all databases. Besides one command after the other, whole
pipelines are compared, and transactions.
"""

import os
import random

import pytest

from commands import World
from test_differential import COMMANDS, SEEDS, Server, comparable, story

PIPELINE_MAX = 60


@pytest.fixture(name="servers")
def _servers(tmp_path):
    ours = tmp_path / "ours.sock"
    theirs = tmp_path / "theirs.sock"
    servers = [
        Server([os.environ["FANFARE_BIN"], "--listen", f"unix:{ours}", "--http-listen", "off", "--partitions", "1",
                "--dir", str(tmp_path / "data"), "--log-level", "warn", "--threads", "2"], ours),
        Server(["redis-server", "--port", "0", "--unixsocket", str(theirs), "--save", "", "--appendonly", "no",
                "--loglevel", "warning", "--dir", str(tmp_path)], theirs)]
    yield servers
    for server in servers:
        server.close()


def _may_differ(command):
    """Is the deadline later than the one that was set a moment ago? In one entry of the log time stands still. And which
    consumers there are: XCLAIM that claims nothing makes one since Redis 7.2 only."""
    if command[0] in (b"EXPIRE", b"PEXPIRE"):
        return any(word in (b"GT", b"LT") for word in command[3:])
    is_unstable = command[0] == b"SORT" and b"ALPHA" in command  # texts with a zero byte are as long as it allows
    return is_unstable or command[0] == b"XINFO" or command[:2] == [b"XGROUP", b"CREATECONSUMER"]


def _compare(history, commands, got, expected, seed):
    for command, our_reply, their_reply in zip(commands, got, expected):
        history.append(command)
        if _may_differ(command):
            continue
        ours, theirs = comparable(command, our_reply), comparable(command, their_reply)
        assert ours == theirs, (f"seed {seed}, command {len(history)}\n{story(history)}\n"
                                f"ours:  {str(ours)[:600]}\nredis: {str(theirs)[:600]}")


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("seed", range(101, 101 + SEEDS))
def test_replies_are_redis_replies_in_pipelines(servers, seed, protocol):
    """In the order of the commands, however many are in flight; reads see the writes before them."""
    ours, theirs = [server.client(protocol) for server in servers]
    chance = random.Random(seed * 2 + protocol)
    world = World(chance)
    history = []
    while len(history) < COMMANDS:
        commands = [world.command() for _ in range(chance.randint(1, PIPELINE_MAX))]
        _compare(history, commands, ours.calls(commands), theirs.calls(commands), seed)


@pytest.mark.parametrize("seed", range(201, 201 + SEEDS))
def test_replies_are_redis_replies_in_transactions(servers, seed):
    """EXEC answers as one list what the commands would have been answered one by one."""
    ours, theirs = [server.client(3) for server in servers]
    chance = random.Random(seed)
    world = World(chance)
    history = []
    while len(history) < COMMANDS:
        commands = [world.command() for _ in range(chance.randint(1, 12))]
        replies = []
        for client in (ours, theirs):
            client.call("MULTI")
            assert all(reply == "QUEUED" or str(reply).startswith("ERR") for reply in client.calls(commands))
            replies.append(client.call("EXEC"))
        if isinstance(replies[0], list) and isinstance(replies[1], list):
            assert len(replies[0]) == len(replies[1])
            _compare(history, commands, *replies, seed)
        else:
            assert str(replies[0]) == str(replies[1]), story(history + commands)
