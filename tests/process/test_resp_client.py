"""The raw client of these tests reads every type whole and in pieces, and refuses what is not RESP."""

import pytest

from lib.resp import Parser, ProtocolViolation, Push, RespError, RespSet, Status, Verbatim

STREAM = (b"+OK\r\n-ERR no\r\n:-5\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n$0\r\n\r\n*1\r\n:1\r\n_\r\n,1.5\r\n#t\r\n"
          b"(123456789012345678901\r\n=6\r\ntxt:ab\r\n~2\r\n+a\r\n+b\r\n%1\r\n$1\r\nk\r\n%0\r\n>2\r\n$1\r\nx\r\n*1\r\n_\r\n")
VALUES = [Status("OK"), RespError("ERR no"), -5, b"a\r\n", None, None, [], [b"", [1]], None, 1.5, True,
          123456789012345678901, Verbatim(b"ab"), RespSet(["a", "b"]), {b"k": {}}, Push([b"x", [None]])]


def replies(parser):
    """All whole replies."""
    got = []
    while True:
        found, reply = parser.next_reply()
        if not found:
            return got
        got.append(reply)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_every_type_is_read_in_pieces_of_any_size(size):
    parser, got = Parser(), []
    for start in range(0, len(STREAM), size):
        parser.feed(STREAM[start:start + size])
        got += replies(parser)
    assert got == VALUES
    assert [type(value) for value in got] == [type(value) for value in VALUES]
    assert parser.pending() == b""


@pytest.mark.parametrize("data", [b"hello\r\n", b"$1\r\nab\r\n", b"_x\r\n", b"*1\r\n?\r\n"])
def test_what_is_not_resp_is_refused(data):
    parser = Parser()
    parser.feed(data)
    with pytest.raises(ProtocolViolation):
        replies(parser)
