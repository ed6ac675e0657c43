"""resp: a small RESP2/RESP3 client that hides nothing.

Replies keep the type they had on the wire (Status, bytes, int, RespError, Push ...), so a test can tell a simple
string from a bulk string. Errors are values, not exceptions: most tests compare them. Not for speed, but a
64 MiB payload passes without being copied more than twice.
"""

import socket
import time

from .wait import DEADLINE_S

RECV_BYTES = 1 << 18


class Status(str):
    """A simple string: +OK."""

    __slots__ = ()


class RespError(Exception):
    """An error reply: its whole text, code included. Equal when the texts are equal."""

    def __eq__(self, other):
        return isinstance(other, RespError) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))


class Push(list):
    """An out-of-band RESP3 message."""


class RespSet(list):
    """A RESP3 set, in wire order."""


class Verbatim(bytes):
    """A RESP3 verbatim string; `format` is its three-letter prefix."""

    format = "txt"


class Closed(ConnectionError):
    """The broker closed the connection."""


class ProtocolViolation(AssertionError):
    """The broker sent bytes that are not RESP."""


def encode(*args):
    """One request as a RESP array of bulk strings."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        raw = to_bytes(arg)
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def to_bytes(arg):
    """An argument as bytes: str is UTF-8, numbers are decimal."""
    if isinstance(arg, (bytes, bytearray, memoryview)):
        return bytes(arg)
    return str(arg).encode()


class Parser:
    """Turns a byte stream into replies. `feed` takes bytes; `next_reply` gives (True, reply) or (False, None).

    Every byte is looked at once, also in an array that arrives in many pieces.
    """

    def __init__(self):
        self._buf = bytearray()
        self._pos = 0
        self._open = []  # aggregates under way, outermost first: [kind, elements left, elements]
        self._bulk = None  # (kind, size) of a string whose header has been read

    def feed(self, data):
        """Append bytes that arrived."""
        self._buf += data

    def pending(self):
        """The bytes not yet turned into replies, or a mark if some of a reply has been taken."""
        return (b"... " if self._open or self._bulk else b"") + bytes(self._buf[self._pos:])

    def next_reply(self):
        """The next whole reply, if there is one."""
        while True:
            found, value = self._scalar()
            if not found:
                return False, None
            if value is _BEGUN:
                continue
            found, value = self._close(value)
            if found:
                self._forget_used()
                return True, value

    def _forget_used(self):
        if self._pos > RECV_BYTES or self._pos == len(self._buf):
            del self._buf[:self._pos]
            self._pos = 0

    def _close(self, value):
        """Put a value into the aggregates that wait for it; (True, reply) when the outermost is complete."""
        while self._open:
            aggregate = self._open[-1]
            aggregate[2].append(value)
            aggregate[1] -= 1
            if aggregate[1]:
                return False, None
            value = _AGGREGATES[aggregate[0]](aggregate[2])
            self._open.pop()
        return True, value

    def _scalar(self):
        """The next value that is no aggregate, or _BEGUN for the header of something larger."""
        if self._bulk:
            return self._string(*self._bulk)
        end = self._buf.find(b"\r\n", self._pos)
        if end < 0:
            return False, None
        line = bytes(self._buf[self._pos:end])
        self._pos = end + 2
        kind, rest = line[:1], line[1:]
        if kind in _AGGREGATES:
            return True, self._begin(kind, int(rest))
        if kind in (b"$", b"="):
            if int(rest) < 0:
                return True, None
            self._bulk = kind, int(rest)
            return self._string(kind, int(rest))
        if kind not in _LINES:
            raise ProtocolViolation(f"unknown reply type in {line[:80]!r}")
        return True, _LINES[kind](rest)

    def _begin(self, kind, count):
        if count < 0:
            return None
        if count == 0:
            return _AGGREGATES[kind]([])
        self._open.append([kind, count * 2 if kind == b"%" else count, []])
        return _BEGUN

    def _string(self, kind, size):
        end = self._pos + size
        if len(self._buf) < end + 2:
            return False, None
        if self._buf[end:end + 2] != b"\r\n":
            raise ProtocolViolation(f"a bulk string of {size} bytes does not end in CRLF")
        data = bytes(memoryview(self._buf)[self._pos:end])
        self._pos = end + 2
        self._bulk = None
        return True, data if kind == b"$" else _verbatim(data)


_BEGUN = object()


def _verbatim(raw):
    text = Verbatim(raw[4:])
    text.format = raw[:3].decode()
    return text


def _null(rest):
    if rest:
        raise ProtocolViolation(f"a null with content: {rest!r}")


_AGGREGATES = {
    b"*": lambda items: items,
    b"%": lambda items: dict(zip(items[::2], items[1::2])),
    b"~": RespSet,
    b">": Push,
}

_LINES = {
    b"+": lambda rest: Status(rest.decode("utf-8", "surrogateescape")),
    b"-": lambda rest: RespError(rest.decode("utf-8", "surrogateescape")),
    b":": int,
    b"_": _null,
    b",": float,
    b"#": lambda rest: {b"t": True, b"f": False}[rest],
    b"(": int,
}


def open_socket(address, timeout_s=DEADLINE_S, recv_buffer_bytes=None):
    """A connected stream socket; `address` is (host, port) or the path of a unix socket."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if recv_buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, recv_buffer_bytes)
    sock.settimeout(timeout_s)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


class Client:
    """One connection. Not thread-safe."""

    def __init__(self, address, protocol=2, timeout_s=DEADLINE_S, recv_buffer_bytes=None):
        self.sock = open_socket(address, timeout_s, recv_buffer_bytes)
        self.parser = Parser()
        self.pushes = []
        if protocol == 3:
            self.hello = self.call("HELLO", 3)

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    def close(self):
        """Close the socket; safe to repeat."""
        self.sock.close()

    def fileno(self):
        """For selectors."""
        return self.sock.fileno()

    def send_raw(self, data):
        """Send bytes as they are."""
        self.sock.sendall(data)

    def send(self, *args):
        """Send one request and do not wait."""
        self.sock.sendall(encode(*args))

    def recv(self, timeout_s=None):
        """The next reply or push, in wire order. Raises Closed at the end of the stream, TimeoutError if late."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        whole = self.sock.gettimeout()
        try:
            while True:
                found, reply = self.parser.next_reply()
                if found:
                    return reply
                if deadline_s is not None:
                    self.sock.settimeout(max(deadline_s - time.monotonic(), 0.000001))
                self._fill()
        finally:
            if deadline_s is not None and self.sock.fileno() >= 0:
                self.sock.settimeout(whole)

    def _fill(self):
        try:
            data = self.sock.recv(RECV_BYTES)
        except (ConnectionResetError, BrokenPipeError) as exc:
            raise Closed("connection reset by the broker") from exc
        if not data:
            raise Closed(f"connection closed by the broker; unread: {self.parser.pending()[:200]!r}")
        self.parser.feed(data)

    def call(self, *args):
        """Send one request and return its reply; pushes that arrive before it go to `pushes`."""
        self.send(*args)
        return self.reply()

    def reply(self):
        """The next reply that is not a push; pushes go to `pushes`."""
        while True:
            reply = self.recv()
            if not isinstance(reply, Push):
                return reply
            self.pushes.append(reply)

    def calls(self, requests):
        """Pipeline: send all requests in one write and return their replies in order."""
        requests = list(requests)
        self.send_raw(b"".join(encode(*request) for request in requests))
        return [self.reply() for _ in requests]

    def recv_many(self, count):
        """The next `count` replies or pushes."""
        return [self.recv() for _ in range(count)]

    def recv_exactly(self, expected):
        """Read len(expected) raw bytes and require that they are these. Only when no reply is half read."""
        got = self.parser.pending()
        self.parser = Parser()
        while len(got) < len(expected):
            data = self.sock.recv(len(expected) - len(got))
            if not data:
                break
            got += data
        assert got == expected, f"expected {expected!r}, got {got!r}"

    def is_silent(self):
        """True when a PING is the very next thing answered: nothing else was on its way. Not in RESP2 subscribe mode."""
        return self.call("PING") == "PONG" and not self.pushes

    def closes(self):
        """Does the broker close the connection, in time?"""
        try:
            self.read_to_end()
            return True
        except TimeoutError:
            return False

    def read_to_end(self, timeout_s=DEADLINE_S):
        """All raw bytes until the broker closes the connection. Raises TimeoutError if it does not."""
        end_s = time.monotonic() + timeout_s
        data = bytearray(self.parser.pending())
        self.parser = Parser()
        while True:
            self.sock.settimeout(max(end_s - time.monotonic(), 0.000001))
            try:
                chunk = self.sock.recv(RECV_BYTES)
            except ConnectionResetError:
                return bytes(data)
            if not chunk:
                return bytes(data)
            data += chunk
