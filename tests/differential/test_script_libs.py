"""cmsgpack and struct beside those of redis-server 7: the same bytes, the same values, the same errors to the letter.

A difference is printed with its seed. DIFFERENTIAL_SEEDS and DIFFERENTIAL_SCRIPTS make it longer.
"""

import contextlib
import os
import pathlib
import random
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lib.resp import Client, RespError  # noqa: E402
from lib.wait import wait_until  # noqa: E402

SEEDS = int(os.environ.get("DIFFERENTIAL_SEEDS", "6"))
SCRIPTS = int(os.environ.get("DIFFERENTIAL_SCRIPTS", "800"))

NO_ORDER = b" that are a table has no order"
"""Refused on purpose, where Redis goes by addresses."""

# What a call gave, as text: kinds, all digits of numbers, tables in the order of their keys.
SHOW = """local function show(v)
  if type(v) == 'number' then return string.format('%.17g', v) end
  if type(v) ~= 'table' then return type(v) .. ' ' .. tostring(v) end
  local pairs_of = {}
  for k, x in pairs(v) do pairs_of[#pairs_of + 1] = show(k) .. '=' .. show(x) end
  table.sort(pairs_of)
  return '{' .. table.concat(pairs_of, ', ') .. '}'
end
local function all(ok, ...)
  local texts = {tostring(ok)}
  for i = 1, select('#', ...) do texts[#texts + 1] = show((select(i, ...))) end
  return table.concat(texts, '; ')
end
"""


class Peer:
    """Ours: scripts without data."""

    def __init__(self):
        self.process = subprocess.Popen([os.environ["LUA_PEER"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, call, argument):
        text = f"local arg1 = ARGV[1]\n{SHOW}return all(pcall(function() return {call} end))".encode()
        self.process.stdin.write(text.hex().encode() + b" " + argument.hex().encode() + b"\n")
        self.process.stdin.flush()
        return bytes.fromhex(self.process.stdout.readline().decode())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0


def connected(path):
    """A client, or None: the socket has its name before anybody listens."""
    with contextlib.suppress(OSError):
        return Client(path)
    return None


class Redis:
    """Theirs."""

    def __init__(self, directory):
        path = str(directory / "theirs.sock")
        self.process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--loglevel",
                                         "warning", "--dir", str(directory)], stdin=subprocess.DEVNULL)
        self.client = wait_until(lambda: connected(path), what="redis-server")

    def run(self, call, argument):
        text = f"local arg1 = ARGV[1]\n{SHOW}return all(pcall(function() return {call} end))".encode()
        reply = self.client.call("EVAL", text, "0", argument)
        return str(reply).encode().removeprefix(b"ERR ").split(b" script: ")[0] if isinstance(reply, RespError) else reply

    def close(self):
        self.client.close()
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(name="servers", scope="module")
def _servers(tmp_path_factory):
    servers = [Peer(), Redis(tmp_path_factory.mktemp("redis"))]
    yield servers
    for server in servers:
        server.close()


def lua_string(data):
    """A literal."""
    return "'" + "".join(f"\\{byte:03d}" for byte in data) + "'"


class Values:
    """Random Lua values, as text."""

    EDGES = [0, 31, 32, 33, 127, 128, 129, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
             2**53, 2**62, 2**63, 2**64]
    ODD = ["1/0", "-1/0", "0/0", "0.5", "1.1", "-2.25", "1e300", "-1e300", "1e-320", "2^127", "2^128", "-0.0"]

    def __init__(self, rng):
        self.rng = rng

    def bytes(self, most):
        """Any."""
        return bytes(self.rng.choice([0, 1, 65, 127, 128, 255, self.rng.randrange(256)])
                     for _ in range(self.rng.randrange(most + 1)))

    def number(self):
        """Near the places where encodings change."""
        if self.rng.random() < 0.25:
            return self.rng.choice(self.ODD)
        return f"{self.rng.choice([-1, 1]) * float(self.rng.choice(self.EDGES) + self.rng.randrange(-1, 2)):.17g}"

    def string(self):
        """Mostly short."""
        if self.rng.random() < 0.1:
            return f"string.rep('{self.rng.choice('ab5')}', {self.rng.choice([31, 32, 255, 256, 65535, 65536])})"
        return self.rng.choice(["'7'", "'x'", lua_string(self.bytes(8))])

    def scalar(self):
        """No table."""
        return self.rng.choice([self.number, self.number, self.string,
                                lambda: self.rng.choice(["true", "false", "nil", "pcall"])])()

    def table(self, depth):
        """An array, or with keys."""
        value = lambda: self.table(depth - 1) if depth > 0 and self.rng.random() < 0.4 else self.scalar()  # noqa: E731
        count = self.rng.choice([0, 1, 2, 3, 15, 16, 17] if depth < 2 else [0, 1, 2, 3])
        if self.rng.random() < 0.6:
            return "{" + ", ".join(value() for _ in range(count)) + "}"
        return "{" + ", ".join(f"[{self.key()}] = {value()}" for _ in range(count)) + "}"

    def key(self):
        """Neither nil nor NaN, nor a string of 32 bytes and more, whose place in a table is another in Redis's own Lua."""
        return self.rng.choice([str(self.rng.randrange(-2, 6)), "'7'", "'x'", lua_string(self.bytes(8)), "1.5", "true"])

    def any(self):
        """One of all."""
        return self.table(3) if self.rng.random() < 0.4 else self.scalar()


class Messages(Values):
    """Calls of cmsgpack."""

    def packed(self, depth):
        """Bytes that are mostly right."""
        rng = self.rng
        if depth == 0 or rng.random() < 0.5:
            return rng.choice([
                lambda: bytes([rng.randrange(256)]), lambda: bytes([rng.randrange(0xc0, 0xe0)]) + self.bytes(9),
                lambda: bytes([0xa0 | 3]) + b"abc", lambda: b"\xd9\x02ab", lambda: b"\xcb" + self.bytes(8).ljust(8, b"\0"),
                lambda: b"\xcf" + self.bytes(8).rjust(8, b"\xff"), lambda: bytes([rng.randrange(0xcc, 0xd4)]) + self.bytes(8),
            ])()
        count = rng.randrange(4)
        if rng.random() < 0.5:
            head = rng.choice([bytes([0x90 | count]), b"\xdc\0" + bytes([count]), b"\xdd\0\0\0" + bytes([count])])
            return head + b"".join(self.packed(depth - 1) for _ in range(count))
        head = rng.choice([bytes([0x80 | count]), b"\xde\0" + bytes([count]), b"\xdf\0\0\0" + bytes([count])])
        return head + b"".join(self.packed(0) + self.packed(depth - 1) for _ in range(count))

    def call(self):
        """(call, argument)."""
        rng = self.rng
        data = b"".join(self.packed(4) for _ in range(rng.randrange(1, 4)))
        if rng.random() < 0.2:
            data = data[:rng.randrange(len(data) + 1)]
        offset = rng.choice(["0", "1", "2", str(len(data)), str(len(data) + 1), "-1", "nil", "1.5", "'1'", "{}"])
        return rng.choice([
            lambda: f"cmsgpack.pack({', '.join(self.any() for _ in range(rng.randrange(4)))})",
            lambda: "cmsgpack.unpack(arg1)",
            lambda: f"cmsgpack.unpack_one(arg1, {offset})",
            lambda: f"cmsgpack.unpack_limit(arg1, {rng.choice(['0', '1', '2', '-1', 'nil', '2^40'])}, {offset})",
            lambda: f"cmsgpack.unpack(cmsgpack.pack({self.any()}))",
        ])(), data


class Structs(Values):
    """Calls of struct."""

    def format(self):
        """Options that are mostly right."""
        rng = self.rng
        options = []
        for _ in range(rng.randrange(1, 7)):
            options.append(rng.choice([
                lambda: rng.choice("bBhHlLTfdsx <>"), lambda: rng.choice("iI"),
                lambda: rng.choice("iI") + str(rng.choice([0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 31, 32, 33])),
                lambda: "c" + rng.choice(["", "0", "1", "2", "5"]), lambda: "bc0",
                lambda: "!" + rng.choice(["", "1", "2", "4", "8", "16", "32", "64", "3", "0"]),
                lambda: rng.choice(["z", "=", "4", "i2147483648", "c99999999999", "\n"]) if rng.random() < 0.2 else "b",
            ])())
        return "".join(options)

    def call(self):
        """(call, argument)."""
        rng = self.rng
        layout = lua_string(self.format().encode())
        count = rng.randrange(9)
        pick = lambda: rng.choice([self.number, self.number, self.string, lambda: "nil"])()  # noqa: E731
        position = rng.choice(["1", "1", "1", "2", "3", "0", "-1", "9", "100", "nil", "1.5", "{}"])
        return rng.choice([
            lambda: f"struct.size({layout})",
            lambda: f"struct.pack({', '.join([layout] + [pick() for _ in range(count)])})",
            lambda: f"struct.unpack({layout}, arg1, {position})",
            lambda: f"struct.unpack({layout}, arg1 .. string.rep('\\1', 200), {position})",
        ])(), self.bytes(40)


@pytest.mark.parametrize("kind", [Messages, Structs])
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_the_libraries_are_those_of_redis(servers, kind, seed):
    ours, theirs = servers
    calls = kind(random.Random(seed))
    for number in range(SCRIPTS):
        call, argument = calls.call()
        got, expected = ours.run(call, argument), theirs.run(call, argument)
        if got != expected and not got.endswith(NO_ORDER):
            at = max(0, next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), 0) - 20)
            pytest.fail(f"seed {seed}, call {number}: {call[:1500]}\nargument {argument.hex()}\nfrom byte {at} on:\n"
                        f"ours:  {got[at:at + 300]}\nredis: {expected[at:at + 300]}", pytrace=False)
