"""fixtures: what a test asks for by naming it. A conftest.py imports all names of this file.

`broker` is one process for all tests of a file; `start_broker(options)` makes one for a single test.
A broker that dies fails the test during which it died.
"""

import contextlib
import os
import resource

import pytest

from . import broker as brokers
from .broker import HOST, Broker
from .resp import Closed, RespError
from .wait import wait_until

THREADS = (1, 4)


def pytest_configure(config):
    """Declare the marks; open as many sockets as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    config.addinivalue_line("markers", "fanfare_only: holds for fanfare and not for the reference")
    config.addinivalue_line("markers", "memory: looks at resident memory, which sanitizers hold on to")
    config.addinivalue_line("markers", "big: needs gigabytes of memory; runs with TEST_BIG=1")


def pytest_collection_modifyitems(config, items):
    """Leave out what does not apply to the broker under test."""
    big = os.environ.get("TEST_BIG") == "1"
    sanitized = os.environ.get("TEST_SANITIZED") == "1"
    keep, drop = [], []
    for item in items:
        unfit = (item.get_closest_marker("fanfare_only") and not brokers.is_fanfare()) or \
                (item.get_closest_marker("big") and not big) or \
                (item.get_closest_marker("memory") and sanitized)
        (drop if unfit else keep).append(item)
    if drop:
        config.hook.pytest_deselected(items=drop)
        items[:] = keep


def pytest_generate_tests(metafunc):
    """A test that takes `threads` runs once per number of worker threads; the reference has one."""
    if "threads" in metafunc.fixturenames:
        counts = THREADS if brokers.is_fanfare() else THREADS[:1]
        metafunc.parametrize("threads", counts, ids=[f"{n} threads" for n in counts], scope="module")


class SharedBroker:
    """The broker of a file. After a test that killed it, the next test gets a new one."""

    def __init__(self):
        self.instance = None

    def running(self):
        """The broker, started when there is none."""
        if self.instance is None:
            self.instance = Broker().start()
        return self.instance

    def check(self):
        """Fail if it died; forget it then, so that it is reported once."""
        try:
            self.instance.check_alive()
        except AssertionError:
            dead, self.instance = self.instance, None
            dead.expects_death = True
            dead.close()
            raise


@pytest.fixture(scope="module")
def shared_broker():
    """One broker with default options for the whole file. Tests use `broker`."""
    shared = SharedBroker()
    yield shared
    if shared.instance:
        shared.instance.close()


@pytest.fixture(scope="module")
def cluster_broker():
    """A node that owns all slots: fanfare always does, the reference must be told. One for the whole file."""
    is_fanfare = brokers.is_fanfare()
    instance = Broker(extra_args=[] if is_fanfare else ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]).start()
    if not is_fanfare:
        with instance.client() as one:
            assert one.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383) == "OK"
            wait_until(lambda: b"cluster_state:ok" in one.call("CLUSTER", "INFO"))
    yield instance
    instance.close()


@pytest.fixture
def broker(shared_broker):
    """The file's broker; alive before and after."""
    yield shared_broker.running()
    shared_broker.check()


@pytest.fixture
def start_broker():
    """start_broker(options, ...) starts a broker that lives as long as the test."""
    started = []

    def start(options=None, **kwargs):
        instance = Broker(options, **kwargs)
        started.append(instance)
        return instance.start()

    yield start
    for instance in started:
        instance.close()


def wait_until_gone(broker, addresses):
    """A closed socket is a closed client a moment later: until then it counts, and the next test would count it."""
    if broker.process.poll() is not None:
        return  # a test of the broker's end
    with contextlib.suppress(OSError, Closed), broker.client() as asker:
        def are_gone():
            lines = asker.call("CLIENT", "LIST")
            return isinstance(lines, RespError) or not any(address in lines for address in addresses)
        wait_until(are_gone, what="the broker has noticed that the clients are gone")


@pytest.fixture
def connect(broker):
    """connect() opens a raw client to the file's broker; closed after the test."""
    opened, addresses = [], []

    def open_client(protocol=2, **kwargs):
        client = broker.client(protocol, **kwargs)
        opened.append(client)
        addresses.append(b" addr=%s:%d " % (HOST.encode(), client.sock.getsockname()[1]))
        return client

    yield open_client
    for client in opened:
        client.close()
    wait_until_gone(broker, addresses)


@pytest.fixture
def client(connect):
    """A RESP2 client of the file's broker."""
    return connect()


@pytest.fixture
def client3(connect):
    """A RESP3 client of the file's broker."""
    return connect(protocol=3)
