"""P7: a subscriber that does not read is closed at its limit, is counted, and costs nobody else anything."""

import threading

import pytest

from lib.resp import Closed, encode
from lib.scrape import metrics
from lib.wait import SCALE, wait_until

KIB = 1 << 10
MIB = 1 << 20
SMALL_BUFFER = 64 * KIB
LIMITS = "normal 0 0 0 pubsub 4mb 1mb 2"


@pytest.fixture
def limited(start_broker):
    """A broker with small limits for subscribers."""
    return start_broker({"output-buffer-limit": LIMITS})


def slow_subscriber(broker, *names, kind="SUBSCRIBE", protocol=2):
    """A subscriber that will not read after its confirmations."""
    client = broker.client(protocol, recv_buffer_bytes=SMALL_BUFFER)
    client.send(kind, *names)
    client.recv_many(len(names))
    return client


class Reader(threading.Thread):
    """A subscriber that reads all the time and keeps the payloads' numbers."""

    def __init__(self, broker, name):
        super().__init__(daemon=True)
        self.client = broker.client(timeout_s=60 * SCALE)
        self.client.call("SUBSCRIBE", name)
        self.numbers = []
        self.start()

    def run(self):
        while True:
            message = self.client.recv()
            if message[2] == b"end":
                return
            self.numbers.append(int(message[2][:12]))

    def finish(self, publisher, name):
        """Publish the end mark and wait until it has been read."""
        publisher.call("PUBLISH", name, "end")
        self.join(60 * SCALE)
        assert not self.is_alive(), "a reading subscriber did not get everything"
        self.client.close()


def payload(number, size):
    """A payload that begins with its number."""
    return b"%012d" % number + b"." * (size - 12)


def publish_until(publisher, name, size, condition, count_max=20000):
    """Publish until the condition holds; returns how many."""
    for number in range(count_max):
        publisher.call("PUBLISH", name, payload(number, size))
        if number % 16 == 0 and condition():
            return number + 1
    raise AssertionError(f"{count_max} messages of {size} bytes later the condition does not hold")


def count_of(publisher, name):
    """How many subscribers the broker still knows."""
    return publisher.call("PUBSUB", "NUMSUB", name)[1]


@pytest.mark.parametrize("size", [100, 4 * KIB, 64 * KIB, 900 * KIB], ids=lambda n: f"{n} bytes")
@pytest.mark.parametrize("kind", ["SUBSCRIBE", "PSUBSCRIBE"])
def test_past_the_hard_limit_the_subscriber_is_closed_and_its_neighbours_lose_nothing(kind, size, limited):
    name = "slow:hard"
    slow = slow_subscriber(limited, name if kind == "SUBSCRIBE" else "slow:*", kind=kind)
    readers = [Reader(limited, name) for _ in range(3)]
    with limited.client() as publisher:
        sent = 0
        batch = 64 if size < 4 * KIB else 1
        while publisher.call("PUBLISH", name, payload(sent, size)) == 4:
            sent += 1
            requests = [("PUBLISH", name, payload(sent + n, size)) for n in range(batch)]
            publisher.calls(requests)
            sent += batch
            # The limit holds for the readers, too: they are not to fall behind by as much.
            wait_until(lambda: all(len(r.numbers) == sent for r in readers), 60 * SCALE, "the readers have kept up")
            assert sent * size < 200 * MIB, "the slow subscriber is never closed"
        sent += 1
        for reader in readers:
            reader.finish(publisher, name)
    for reader in readers:
        assert [n for n in reader.numbers] == list(range(sent))
    slow.read_to_end(30 * SCALE)


def test_what_a_closed_subscriber_received_is_an_unbroken_beginning(limited):
    slow = slow_subscriber(limited, "slow:prefix")
    with limited.client() as publisher:
        publish_until(publisher, "slow:prefix", 16 * KIB, lambda: count_of(publisher, "slow:prefix") == 0)
    numbers = []
    with pytest.raises(Closed):
        while True:
            numbers.append(int(slow.recv()[2][:12]))
    assert numbers == list(range(len(numbers)))


def test_past_the_soft_limit_for_its_seconds_the_subscriber_is_closed(start_broker):
    broker = start_broker({"output-buffer-limit": "pubsub 0 512kb 1"})
    slow = slow_subscriber(broker, "slow:soft")
    with broker.client() as publisher:
        fill_past(publisher, "slow:soft", 8 * MIB)
        assert count_of(publisher, "slow:soft") == 1, "the soft limit allows a moment"
        wait_until(lambda: publisher.call("PUBLISH", "slow:soft", "x") == 0, what="the subscriber is closed")
    slow.close()


def test_a_backlog_above_the_soft_limit_that_shrinks_in_time_is_forgiven(start_broker):
    broker = start_broker({"output-buffer-limit": "pubsub 0 512kb 2"})
    slow = slow_subscriber(broker, "slow:forgiven")
    with broker.client() as publisher:
        for _ in range(3):
            sent = fill_past(publisher, "slow:forgiven", 4 * MIB)
            for number in range(sent):
                assert int(slow.recv()[2][:12]) == number
        assert count_of(publisher, "slow:forgiven") == 1
    slow.close()


def fill_past(publisher, name, size):
    """Publish more bytes than the sockets can hold."""
    count = size // (64 * KIB)
    for number in range(count):
        publisher.call("PUBLISH", name, payload(number, 64 * KIB))
    return count


def test_without_a_limit_a_slow_subscriber_gets_everything_in_the_end(start_broker):
    broker = start_broker({"output-buffer-limit": "pubsub 0 0 0"})
    slow = slow_subscriber(broker, "slow:patient")
    with broker.client() as publisher:
        sent = fill_past(publisher, "slow:patient", 24 * MIB)
    assert [int(slow.recv()[2][:12]) for _ in range(sent)] == list(range(sent))
    slow.close()


def test_a_limit_changed_while_running_holds_for_the_next_backlog(start_broker):
    broker = start_broker({"output-buffer-limit": "pubsub 0 0 0"})
    slow = slow_subscriber(broker, "slow:config")
    with broker.client() as publisher:
        fill_past(publisher, "slow:config", 8 * MIB)
        assert count_of(publisher, "slow:config") == 1
        assert publisher.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0") == "OK"
        publish_until(publisher, "slow:config", 64 * KIB, lambda: count_of(publisher, "slow:config") == 0)
    slow.close()


def test_a_normal_client_past_its_limit_is_closed_too(start_broker):
    broker = start_broker({"output-buffer-limit": "normal 1mb 0 0"})
    with broker.client(recv_buffer_bytes=SMALL_BUFFER) as client, broker.client() as other:
        try:
            for _ in range(64):
                client.send("ECHO", b"x" * (256 * KIB))
                if broker_has_closed(client.sock):
                    break
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
        assert other.call("PING") == "PONG"
        client.sock.settimeout(1)
        assert len(client.read_to_end(10 * SCALE)) < 64 * 256 * KIB, "closed before all was answered"


def broker_has_closed(sock):
    """Has the other side reset the connection?"""
    import select
    poll = select.poll()
    poll.register(sock, select.POLLERR | select.POLLHUP)
    return bool(poll.poll(0))


def test_the_backlog_is_shown_in_the_client_list(start_broker):
    broker = start_broker({"output-buffer-limit": "pubsub 0 0 0"})
    slow = slow_subscriber(broker, "slow:list", protocol=3)
    with broker.client() as publisher:
        fill_past(publisher, "slow:list", 16 * MIB)
        line = publisher.call("CLIENT", "LIST", "TYPE", "pubsub").decode()
        fields = dict(field.split("=", 1) for field in line.split())
        assert int(fields["omem"]) > MIB and int(fields["tot-mem"]) > int(fields["omem"])
        assert int(fields["oll"]) > 0
    slow.close()


@pytest.mark.fanfare_only  # redis lets the kernel take megabytes
def test_the_kernel_takes_little_of_what_a_subscriber_does_not_read(start_broker):
    broker = start_broker({"output-buffer-limit": "pubsub 0 0 0"})
    slow = [slow_subscriber(broker, "slow:kernel") for _ in range(4)]
    with broker.client() as publisher:
        for number in range(64):
            publisher.call("PUBLISH", "slow:kernel", payload(number, 64 * KIB))
        least = len(slow) * (4 * MIB - 64 * KIB - MIB)  # but for what is unsent in the kernel, or on its way
        wait_until(lambda: int(broker.info("clients")["fanfare_backlog_bytes"]) > least)
    for client in slow:
        client.close()


@pytest.mark.memory
def test_a_backlog_counts_as_memory_and_goes_away_with_its_client(start_broker):
    broker = start_broker({"output-buffer-limit": "pubsub 0 0 0"})
    slow = slow_subscriber(broker, "slow:memory")
    before = broker.rss_bytes()
    with broker.client() as publisher:
        fill_past(publisher, "slow:memory", 64 * MIB)
        assert broker.rss_bytes() > before + 32 * MIB
        slow.close()
        wait_until(lambda: broker.rss_bytes() < before + 24 * MIB, 30 * SCALE, "the memory is given back")


@pytest.mark.fanfare_only  # redis holds one copy per subscriber
@pytest.mark.memory
def test_memory_does_not_grow_with_the_number_of_slow_subscribers(start_broker, threads):
    growth = {}
    for count in (1, 40):
        broker = start_broker({"output-buffer-limit": "pubsub 0 0 0", "threads": threads})
        slow = [slow_subscriber(broker, "slow:many") for _ in range(count)]
        before = broker.rss_bytes()
        with broker.client() as publisher:
            fill_past(publisher, "slow:many", 48 * MIB)
            wait_until(lambda: backlog(broker) > count * 32 * MIB, what="the backlogs are there")
            growth[count] = broker.rss_bytes() - before
        for client in slow:
            client.close()
    assert growth[40] < 1.5 * growth[1] + 16 * MIB, growth


def backlog(broker):
    """The sum of all backlogs as CLIENT LIST shows them."""
    with broker.client() as client:
        lines = client.call("CLIENT", "LIST").decode().splitlines()
    return sum(int(field.split("=")[1]) for line in lines for field in line.split() if field.startswith("omem="))


@pytest.mark.fanfare_only
def test_each_closed_subscriber_is_counted_and_logged(limited):
    from lib.scrape import metrics
    slow = [slow_subscriber(limited, "slow:counted") for _ in range(3)]
    with limited.client() as publisher:
        publish_until(publisher, "slow:counted", 64 * KIB, lambda: count_of(publisher, "slow:counted") == 0)
    wait_until(lambda: metrics(limited).value("fanfare_subscribers_dropped_total") == 3)
    assert int(limited.info("stats")["client_output_buffer_limit_disconnections"]) == 3
    assert "backlog" in limited.log() or "output" in limited.log()
    for client in slow:
        client.close()


def test_a_stopped_reader_among_many_channels_does_not_delay_the_others(limited):
    """Every message must reach the reading subscribers although one connection is stuck."""
    names = [f"slow:wide:{n}" for n in range(200)]
    slow = slow_subscriber(limited, *names)
    fast = limited.client(timeout_s=30 * SCALE)
    fast.send("SUBSCRIBE", *names)
    fast.recv_many(len(names))
    with limited.client() as publisher:
        for round_number in range(10):
            publisher.calls([("PUBLISH", name, payload(round_number, 2 * KIB)) for name in names])
            got = fast.recv_many(len(names))
            assert [m[1].decode() for m in got] == names
    slow.close()
    fast.close()


def test_a_subscriber_stopped_by_a_signal_and_continued_gets_what_waited(broker):
    """As when a debugger or a suspended virtual machine holds a client for a while."""
    import subprocess
    import sys
    code = ("import socket,sys; s=socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
            "s.sendall(b'SUBSCRIBE stopped\\r\\n'); f=s.makefile('rb'); "
            "n=sum(line.startswith(b'message') for line in iter(f.readline, b'end\\r\\n')); print(n)")
    child = subprocess.Popen([sys.executable, "-c", code, str(broker.address[1])], stdout=subprocess.PIPE, text=True)
    with broker.client() as publisher:
        wait_until(lambda: count_of(publisher, "stopped") == 1)
        child.send_signal(19)
        for number in range(1000):
            publisher.call("PUBLISH", "stopped", payload(number, KIB))
        child.send_signal(18)
        publisher.call("PUBLISH", "stopped", "end")
        assert child.communicate(timeout=60 * SCALE)[0] == "1001\n"


@pytest.mark.fanfare_only  # redis has one thread: it publishes no faster than it delivers
@pytest.mark.memory
def test_publishers_are_not_read_while_another_thread_is_too_busy_to_deliver(start_broker):
    """A subscriber's worker stands still; the other worker's publisher must wait, and then nothing is lost."""
    count, size = 40000, 1000
    broker = start_broker({"output-buffer-limit": "pubsub 0 0 0", "threads": 2})
    subscriber = broker.client(3)  # one connection on each worker
    publisher = broker.client(timeout_s=60 * SCALE)
    reader = Reader(broker, "busy:elsewhere")
    subscriber.send("SUBSCRIBE", "busy")
    subscriber.recv()
    before = broker.rss_bytes()
    subscriber.send("DEBUG", "SLEEP", "2")
    request = b"".join(encode("PUBLISH", "busy", payload(n, size)) for n in range(count))
    sender = threading.Thread(target=publisher.send_raw, args=(request,), daemon=True)
    sender.start()
    wait_until(lambda: metrics(broker).value("fanfare_publishers_held") > 0, what="the publisher is held")
    assert broker.rss_bytes() < before + 24 * MIB
    numbers = []
    while len(numbers) < count:
        message = subscriber.recv()
        if message != "OK":  # DEBUG's answer
            numbers.append(int(message[2][:12]))
    assert numbers == list(range(count))
    assert publisher.recv_many(count) == [1] * count
    sender.join(60 * SCALE)
    assert metrics(broker).value("fanfare_publishers_held") == 0
    reader.finish(publisher, "busy:elsewhere")


@pytest.mark.fanfare_only
def test_publishers_that_end_each_turn_with_another_command_are_held_as_well(start_broker):
    """Whatever comes behind a publish, what waits for a worker that stands still has a bound."""
    rounds, size = 2000, 30 * KIB
    broker = start_broker({"output-buffer-limit": "pubsub 0 0 0", "threads": 2})
    subscriber = broker.client(3, timeout_s=60 * SCALE)  # one connection on each worker
    publisher = broker.client(timeout_s=60 * SCALE)
    subscriber.send("SUBSCRIBE", "busy")
    subscriber.recv()
    requests = [encode("PUBLISH", "busy", payload(n, size)) + encode("PING") for n in range(rounds)]
    subscriber.send("DEBUG", "SLEEP", "3")

    def publish():
        for request in requests:  # one read each: the next is sent when this one has been answered
            publisher.send_raw(request)
            assert publisher.recv_many(2) == [1, "PONG"]

    sender = threading.Thread(target=publish, daemon=True)
    sender.start()
    wait_until(lambda: metrics(broker).value("fanfare_publishers_held") > 0, what="the publisher is held")
    messages = [m for m in subscriber.recv_many(rounds + 1) if m != "OK"]  # DEBUG's answer
    assert [int(m[2][:12]) for m in messages] == list(range(rounds))
    sender.join(60 * SCALE)
    assert not sender.is_alive()
    assert metrics(broker).value("fanfare_publishers_held") == 0
