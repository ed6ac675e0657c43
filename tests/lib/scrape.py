"""scrape: plain HTTP/1.1 over a socket, with nothing hidden, for the broker's own pages."""

import dataclasses

from . import prometheus
from .broker import HOST
from .resp import open_socket
from .wait import DEADLINE_S


@dataclasses.dataclass
class Response:
    """One answer."""

    status: int
    headers: dict
    body: bytes

    @property
    def text(self):
        """The body as text."""
        return self.body.decode()


def get(broker, path, timeout_s=DEADLINE_S):
    """GET one page on a fresh connection."""
    return exchange(broker, f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode(), timeout_s)


def exchange(broker, request, timeout_s=DEADLINE_S):
    """Send raw bytes, read to the end of the stream, parse one answer; None if there was none."""
    with open_socket((HOST, broker.http_port), timeout_s) as sock:
        try:
            sock.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return parse_response(read_all(sock))


def read_all(sock):
    """Everything until the other side closes."""
    data = bytearray()
    try:
        while chunk := sock.recv(1 << 16):
            data += chunk
    except ConnectionResetError:
        pass
    return bytes(data)


def parse_response(data):
    """One HTTP answer; None for no bytes at all."""
    if not data:
        return None
    head, blank, body = data.partition(b"\r\n\r\n")
    assert blank, f"no end of the header: {data[:200]!r}"
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, status, _ = (status_line + " ").split(" ", 2)
    assert version in ("HTTP/1.0", "HTTP/1.1"), status_line
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "content-length" in headers:
        assert len(body) == int(headers["content-length"]), "the body is not as long as it says"
    return Response(int(status), headers, body)


def metrics(broker):
    """Scrape /metrics and parse it strictly."""
    response = get(broker, "/metrics")
    assert response.status == 200, response
    return prometheus.parse(response.text)
