"""The request protocol, byte by byte: what is accepted, what is refused, with which words, and what stays open.

The texts were taken from redis-server 7.0.15: clients match on them.
"""

import os
import random
import socket

import pytest

from lib.resp import RespError, encode
from lib.wait import SCALE, wait_until

KIB = 1 << 10
MIB = 1 << 20
INLINE_BYTES_MAX = 64 * KIB

PROTOCOL_ERRORS = {
    "a count that is no number": (b"*abc\r\n", "invalid multibulk length"),
    "an empty count": (b"*\r\n", "invalid multibulk length"),
    "a count with a sign": (b"*+1\r\n$4\r\nPING\r\n", "invalid multibulk length"),
    "a count with a leading blank": (b"* 1\r\n$4\r\nPING\r\n", "invalid multibulk length"),
    "a count with a leading zero": (b"*01\r\n$4\r\nPING\r\n", "invalid multibulk length"),
    "a count of minus zero": (b"*-0\r\n", "invalid multibulk length"),
    "a count past 32 bits": (b"*2147483648\r\n", "invalid multibulk length"),
    "a count past 64 bits": (b"*99999999999999999999999\r\n", "invalid multibulk length"),
    "a count that ends in a bare newline": (b"*1\n$4\r\nPING\r\n", "invalid multibulk length"),
    "a count line without end": (b"*" + b"1" * (INLINE_BYTES_MAX + 1), "too big mbulk count string"),
    "a letter where a length belongs": (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
    "a letter where the third length belongs": (b"*3\r\n$4\r\nECHO\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
    "a negative length": (b"*1\r\n$-1\r\n", "invalid bulk length"),
    "a length that is no number": (b"*1\r\n$abc\r\n", "invalid bulk length"),
    "an empty length": (b"*1\r\n$\r\n", "invalid bulk length"),
    "a length with a leading zero": (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
    "a length past the limit": (b"*1\r\n$536870913\r\n", "invalid bulk length"),
    "a length past 64 bits": (b"*1\r\n$99999999999999999999999\r\n", "invalid bulk length"),
    "a length line without end": (b"*1\r\n$" + b"1" * (INLINE_BYTES_MAX + 1), "too big bulk count string"),
    "an open double quote": (b'PING "foo\r\n', "unbalanced quotes in request"),
    "an open single quote": (b"PING 'foo\r\n", "unbalanced quotes in request"),
    "text right behind a closing quote": (b'PING "a"b\r\n', "unbalanced quotes in request"),
    "an inline request without end": (b"A" * (INLINE_BYTES_MAX + 1), "too big inline request"),
    "an inline request of zero bytes without end": (b"\0" * (INLINE_BYTES_MAX + 1), "too big inline request"),
}

ACCEPTED = {
    "an empty line": (b"\r\n", b""),
    "a line of blanks": (b"   \r\n", b""),
    "a count of zero": (b"*0\r\n", b""),
    "a negative count": (b"*-10\r\n", b""),
    "an inline request": (b"PING\r\n", b"+PONG\r\n"),
    "an inline request that ends in a bare newline": (b"PING\n", b"+PONG\r\n"),
    "an inline request with blanks around": (b"  PING \t hello  \r\n", b"$5\r\nhello\r\n"),
    "a double-quoted argument with escapes": (b'PING "a\\x41\\n\\"\\\\b"\r\n', b'$6\r\naA\n"\\b\r\n'),
    "a single-quoted argument with an escaped quote": (b"PING 'a\\'\\nb'\r\n", b"$5\r\na'\\nb\r\n"),
    "an empty quoted argument": (b'ECHO ""\r\n', b"$0\r\n\r\n"),
    "a command in lower case": (b"*1\r\n$4\r\nping\r\n", b"+PONG\r\n"),
    "an argument of every byte value": (encode("ECHO", bytes(range(256))), b"$256\r\n%b\r\n" % bytes(range(256))),
    "an empty argument": (encode("ECHO", ""), b"$0\r\n\r\n"),
    "an empty command name": (encode(""), b"-ERR unknown command '', with args beginning with: \r\n"),
    "requests of both forms in one write": (b"PING\r\n" + encode("ECHO", "x") + b"\r\nPING y\n",
                                            b"+PONG\r\n$1\r\nx\r\n$1\r\ny\r\n"),
}

ERRORS = {
    "an unknown command": (("foo",), "ERR unknown command 'foo', with args beginning with: "),
    "an unknown command with arguments":
        (("foo", "", "a b", "c"), "ERR unknown command 'foo', with args beginning with: '' 'a b' 'c' "),
    "an unknown command of great length":
        (("f" * 300, "x"), f"ERR unknown command '{'f' * 128}', with args beginning with: 'x' "),
    "an unknown command with a long argument":
        (("foo", "a" * 300), f"ERR unknown command 'foo', with args beginning with: '{'a' * 128}' "),
    "an unknown command with many long arguments":
        (("foo", "a" * 70, "b" * 70, "c"),
         f"ERR unknown command 'foo', with args beginning with: '{'a' * 70}' '{'b' * 55}' "),
    "an unknown command whose argument breaks lines":
        (("foo", "a\r\nb"), "ERR unknown command 'foo', with args beginning with: 'a  b' "),
    "too many arguments": (("PING", "a", "b"), "ERR wrong number of arguments for 'ping' command"),
    "too few arguments": (("publish", "a"), "ERR wrong number of arguments for 'publish' command"),
    "a container without a subcommand": (("CLIENT",), "ERR wrong number of arguments for 'client' command"),
    "an unknown subcommand": (("CLIENT", "Foo", "x"), "ERR unknown subcommand 'Foo'. Try CLIENT HELP."),
    "a subcommand with too few arguments":
        (("CLIENT", "SETNAME"), "ERR wrong number of arguments for 'client|setname' command"),
    "a database that is no number": (("SELECT", "abc"), "ERR value is not an integer or out of range"),
    "a database out of range": (("SELECT", "99"), "ERR DB index is out of range"),
    "a negative database": (("SELECT", "-1"), "ERR DB index is out of range"),
    "EXEC alone": (("EXEC",), "ERR EXEC without MULTI"),
    "DISCARD alone": (("DISCARD",), "ERR DISCARD without MULTI"),
}

CONTAINERS = ("CLIENT", "COMMAND", "CONFIG", "PUBSUB", "SLOWLOG", "MEMORY", "LATENCY")


@pytest.mark.parametrize("name", PROTOCOL_ERRORS)
def test_a_malformed_request_is_answered_with_the_known_text_and_the_connection_closed(name, client):
    data, text = PROTOCOL_ERRORS[name]
    client.send_raw(data)
    assert client.read_to_end() == f"-ERR Protocol error: {text}\r\n".encode()


@pytest.mark.parametrize("name", PROTOCOL_ERRORS)
def test_requests_before_a_malformed_one_are_answered_first(name, client):
    data, text = PROTOCOL_ERRORS[name]
    client.send_raw(encode("ECHO", "before") + data)
    assert client.read_to_end() == f"$6\r\nbefore\r\n-ERR Protocol error: {text}\r\n".encode()


def test_what_follows_a_malformed_request_is_not_run(connect):
    listener, client = connect(), connect()
    listener.call("SUBSCRIBE", "protocol:after")
    client.send_raw(b"*1\r\nfoo\r\n" + encode("PUBLISH", "protocol:after", "never"))
    client.read_to_end()
    listener.send("UNSUBSCRIBE", "protocol:after")
    assert listener.recv()[0] == b"unsubscribe"


@pytest.mark.parametrize("name", ACCEPTED)
def test_every_legal_form_of_a_request_is_answered(name, client):
    data, answer = ACCEPTED[name]
    client.send_raw(data + encode("ECHO", "the end"))
    client.recv_exactly(answer + b"$7\r\nthe end\r\n")


@pytest.mark.parametrize("name", ERRORS)
def test_a_wrong_command_is_refused_with_the_known_text_and_the_connection_stays_open(name, client):
    request, text = ERRORS[name]
    assert client.call(*request) == RespError(text)
    assert client.call("PING") == "PONG"


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_container_command_names_its_help_when_the_subcommand_is_unknown(container, client):
    assert client.call(container, "nonsense") == RespError(f"ERR unknown subcommand 'nonsense'. Try {container} HELP.")


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_container_command_lists_its_subcommands_on_help(container, client):
    lines = client.call(container, "HELP")
    assert lines[0].startswith(f"{container} <subcommand>")
    assert "HELP" in lines


@pytest.mark.parametrize("line", [b"POST / HTTP/1.1\r\n", b"Host: example\r\n", b"post /\r\n", b"HOST: x\r\n"])
def test_a_browser_tricked_into_talking_to_the_broker_is_cut_off_unanswered(line, connect):
    listener, client = connect(), connect()
    listener.call("SUBSCRIBE", "protocol:http")
    client.send_raw(line + b"\r\nPUBLISH protocol:http never\r\n")
    assert client.read_to_end() == b""
    listener.send("UNSUBSCRIBE", "protocol:http")
    assert listener.recv()[0] == b"unsubscribe"


def test_the_longest_inline_request_is_accepted_and_one_byte_more_refused(connect):
    client = connect()
    text = b"x" * (INLINE_BYTES_MAX - len(b"ECHO \r\n"))
    client.send_raw(b"ECHO " + text + b"\r\n")
    assert client.reply() == text
    client.send_raw(b"ECHO " + b"x" * INLINE_BYTES_MAX)
    assert client.read_to_end() == b"-ERR Protocol error: too big inline request\r\n"


SPLIT_STREAM = (
    (encode("PING"), b"+PONG\r\n"),
    (encode("ECHO", b"a\r\nb\0c"), b"$6\r\na\r\nb\0c\r\n"),
    (b"PING 'in line'\r\n", b"$7\r\nin line\r\n"),
    (b"*0\r\n", b""),
    (encode("nosuch", "x" * 20), f"-ERR unknown command 'nosuch', with args beginning with: '{'x' * 20}' \r\n".encode()),
    (b"\r\n", b""),
    (encode("PUBLISH", "protocol:split", "payload"), b":0\r\n"),
    (encode("ECHO", ""), b"$0\r\n\r\n"),
)


def test_requests_cut_at_every_byte_position_are_understood(connect):
    request = b"".join(r for r, _ in SPLIT_STREAM)
    answer = b"".join(a for _, a in SPLIT_STREAM)
    client = connect()
    for cut in range(1, len(request)):
        client.send_raw(request[:cut])
        if cut % 2:
            wait_until(lambda: unread_by_broker(client.sock) == 0, what="the broker has taken the first part")
        client.send_raw(request[cut:])
        client.recv_exactly(answer)


def unread_by_broker(sock):
    """Bytes that the kernel still holds on our side; 0 once the peer's kernel has acknowledged them all."""
    import fcntl
    import struct
    import termios
    return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]


def test_a_request_that_arrives_one_byte_per_segment_is_understood(client):
    request = b"".join(r for r, _ in SPLIT_STREAM)
    for position in range(len(request)):
        client.send_raw(request[position:position + 1])
    client.recv_exactly(b"".join(a for _, a in SPLIT_STREAM))


def test_many_clients_that_drip_bytes_do_not_hold_up_another_one(connect):
    drips = [connect() for _ in range(50)]
    quick = connect()
    request = encode("ECHO", "slow but sure")
    for position in range(len(request)):
        for drip in drips:
            drip.send_raw(request[position:position + 1])
        assert quick.call("PING") == "PONG"
    assert [drip.reply() for drip in drips] == [b"slow but sure"] * len(drips)


def test_a_truncated_request_followed_by_a_close_leaves_no_client_behind(broker, client):
    request = encode("PUBLISH", "protocol:cut", "payload" * 10)
    for cut in range(1, len(request), 3):
        with broker.client() as other:
            other.call("CLIENT", "SETNAME", "truncated")
            other.send_raw(request[:cut])
    wait_until(lambda: b"name=truncated" not in client.call("CLIENT", "LIST"), what="the closed clients are gone")


def test_a_deep_pipeline_is_answered_in_order(client):
    count = 20000
    client.sock.settimeout(60 * SCALE)
    requests = b"".join(encode("ECHO", number) for number in range(count))
    send_while_reading(client, requests)
    assert [client.reply() for _ in range(count)] == [str(number).encode() for number in range(count)]


def send_while_reading(client, data):
    """Write all of `data`, taking in replies meanwhile, as a client with an event loop does."""
    view, sock = memoryview(data), client.sock
    timeout_s = sock.gettimeout()
    while view:
        sock.settimeout(0)
        try:
            view = view[sock.send(view[:MIB]):]
        except BlockingIOError:
            wait_readable_or_writable(sock, timeout_s)
        try:
            client.parser.feed(sock.recv(MIB))
        except BlockingIOError:
            pass
    sock.settimeout(timeout_s)


def wait_readable_or_writable(sock, timeout_s):
    """Block until one of both is possible."""
    import select
    readable, writable, _ = select.select([sock], [sock], [], timeout_s)
    assert readable or writable, "the broker neither reads nor writes"


def test_a_client_that_pipelines_without_reading_replies_gets_them_all_in_the_end(client):
    """The broker must keep the replies or stop reading, but neither lose one nor grow without bound."""
    count, size = 64, 256 * KIB
    client.sock.settimeout(60 * SCALE)
    payload = os.urandom(size)
    client.sock.setblocking(False)
    data = memoryview(b"".join(encode("ECHO", payload) for _ in range(count)))
    sent = 0
    while sent < len(data):
        try:
            sent += client.sock.send(data[sent:sent + MIB])
        except BlockingIOError:
            break
    client.sock.settimeout(60 * SCALE)
    send_while_reading(client, data[sent:])
    for _ in range(count):
        assert client.reply() == payload


def test_a_request_with_a_hundred_thousand_arguments_is_taken_whole(connect):
    client, names = connect(), [f"protocol:many:{n}" for n in range(100000)]
    client.sock.settimeout(60 * SCALE)
    send_while_reading(client, encode("PUBSUB", "NUMSUB", *names))
    reply = client.reply()
    assert len(reply) == 2 * len(names)
    assert reply[0] == names[0].encode() and reply[-2] == names[-1].encode()
    assert set(reply[1::2]) == {0}


@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 64 * MIB], ids=lambda n: f"{n} bytes")
def test_a_huge_payload_reaches_a_subscriber_unchanged(size, connect):
    publish_and_compare(connect, size)


@pytest.mark.big
def test_a_payload_of_512_mib_reaches_a_subscriber_unchanged(start_broker):
    broker = start_broker({"query-buffer-limit": "2gb", "output-buffer-limit": "pubsub 0 0 0"})
    publish_and_compare(lambda: broker.client(timeout_s=300 * SCALE), 512 * MIB)


def publish_and_compare(connect, size):
    subscriber, publisher = connect(), connect()
    for client in (subscriber, publisher):
        client.sock.settimeout(120 * SCALE)
    if size > 32 * MIB:
        publisher.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
    subscriber.call("SUBSCRIBE", "protocol:huge")
    block = random.Random(size).randbytes(MIB + 1)
    payload = (block * (size // len(block) + 1))[:size]
    publisher.send("PUBLISH", "protocol:huge", payload)
    kind, channel, received = subscriber.recv()
    assert (kind, channel) == (b"message", b"protocol:huge")
    assert received == payload
    assert publisher.reply() == 1


def test_names_with_every_byte_value_are_channels_like_any_other(connect):
    subscriber, publisher = connect(), connect()
    name = bytes(range(256))
    assert subscriber.call("SUBSCRIBE", name, b"") == [b"subscribe", name, 1]
    assert subscriber.recv() == [b"subscribe", b"", 2]
    assert publisher.call("PUBLISH", name, name) == 1
    assert publisher.call("PUBLISH", "", "") == 1
    assert subscriber.recv() == [b"message", name, name]
    assert subscriber.recv() == [b"message", b"", b""]


def test_a_channel_name_of_a_megabyte_works(connect):
    subscriber, publisher = connect(), connect()
    name = b"n" * MIB
    assert subscriber.call("SUBSCRIBE", name) == [b"subscribe", name, 1]
    assert publisher.call("PUBLISH", name, "x") == 1
    assert subscriber.recv() == [b"message", name, b"x"]


class TestLimits:
    """Limits that are options."""

    def test_a_length_past_proto_max_bulk_len_is_refused(self, start_broker):
        broker = start_broker({"proto-max-bulk-len": "1mb"})
        with broker.client() as client:
            assert client.call("ECHO", b"x" * MIB) == b"x" * MIB
            client.send_raw(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (MIB + 1))
            assert client.read_to_end() == b"-ERR Protocol error: invalid bulk length\r\n"

    def test_a_client_past_the_query_buffer_limit_is_closed_and_others_are_not(self, start_broker):
        broker = start_broker({"query-buffer-limit": "1mb"})
        with broker.client() as client, broker.client() as other:
            data = b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (8 * MIB) + b"x" * (4 * MIB)
            try:
                client.send_raw(data)
                assert client.read_to_end() == b""
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert other.call("PING") == "PONG"

    def test_a_request_below_the_query_buffer_limit_passes(self, start_broker):
        broker = start_broker({"query-buffer-limit": "4mb"})
        with broker.client() as client:
            assert client.call("ECHO", b"x" * (2 * MIB)) == b"x" * (2 * MIB)

    def test_before_auth_only_small_requests_are_read(self, start_broker):
        broker = start_broker({"requirepass": "secret"})
        for data, text in ((b"*11\r\n", "unauthenticated multibulk length"),
                           (b"*1\r\n$16385\r\n", "unauthenticated bulk length")):
            with broker.client() as client:
                client.send_raw(data)
                assert client.read_to_end() == f"-ERR Protocol error: {text}\r\n".encode()
        with broker.client() as client:
            assert client.call("AUTH", "x" * 16384).args[0].startswith("WRONGPASS")
            assert client.call("AUTH", "secret") == "OK"
            assert client.call("ECHO", "x" * 16385) == b"x" * 16385

    @pytest.mark.memory
    def test_memory_is_given_back_after_a_huge_request(self, start_broker):
        broker = start_broker()
        with broker.client(timeout_s=60 * SCALE) as client:
            client.call("PING")
            before = broker.rss_bytes()
            payload = b"y" * (64 * MIB)
            send_while_reading(client, encode("ECHO", payload))
            assert client.reply() == payload
            wait_until(lambda: broker.rss_bytes() < before + 32 * MIB, 30 * SCALE, "the memory is given back")


class TestDesync:
    """A connection whose first bytes are rubbish ends, whatever keeps coming."""

    @pytest.mark.parametrize("start", [b"\0", b"*\0", b"$\0"], ids=["zero byte", "star zero", "dollar zero"])
    def test_rubbish_without_a_newline_is_cut_off_with_a_protocol_error(self, start, client):
        client.send_raw(start)
        end = b""
        try:
            for _ in range(256):
                client.send_raw(b"A" * KIB)
            end = client.read_to_end()
        except (BrokenPipeError, ConnectionResetError):
            end = drain(client.sock)
        assert end == b"" or end.startswith(b"-ERR Protocol error")

    def test_random_bytes_never_stop_the_broker(self, broker, client):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        for _ in range(200):
            with broker.client() as other:
                try:
                    other.send_raw(random_request(rng))
                except (BrokenPipeError, ConnectionResetError):
                    pass
            broker.check_alive()
        assert client.call("PING") == "PONG", f"seed {seed}"


def drain(sock):
    """What can still be read of a broken connection."""
    try:
        return sock.recv(KIB)
    except OSError:
        return b""


def random_request(rng):
    """Bytes that are almost a request."""
    words = [b"PING", b"SUBSCRIBE", b"PUBLISH", b"CLIENT", b"LIST", b"MULTI", b"EXEC", b"HELLO", b"3", b"*", b"\0", b""]
    data = bytearray(b"".join(encode(*rng.choices(words, k=rng.randint(1, 5))) for _ in range(rng.randint(1, 8))))
    for _ in range(rng.randint(0, 6)):
        data[rng.randrange(len(data))] = rng.choice(b"\r\n$*0123456789-+\0\xffA\"'")
    return bytes(data[:rng.randint(1, len(data))])


def test_a_half_closed_connection_is_still_answered(client):
    client.send_raw(encode("ECHO", "last words"))
    client.sock.shutdown(socket.SHUT_WR)
    assert client.read_to_end() == b"$10\r\nlast words\r\n"
