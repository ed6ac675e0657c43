"""ports: TCP ports of this machine that nobody listens on."""

import errno
import random
import socket

_RANGE = range(20000, 32000)  # below the kernel's range for outgoing connections
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def free_port():
    """A port that is free now, on either loopback address."""
    return free_ports(1)[0]


def free_ports(count):
    """So many different ones."""
    found = []
    for port in random.sample(_RANGE, 1000):
        if not any(_is_taken(family, host, port) for family, host in _LOOPBACKS):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} free ports found")


def _is_taken(family, host, port):
    try:
        with socket.socket(family) as probe:
            probe.bind((host, port))
    except OSError as exc:  # any other: there is no such address here, so nobody listens on it
        return exc.errno == errno.EADDRINUSE
    return False


def own_address():
    """An IPv4 address of this machine that is not loopback. Connecting to it never leaves the machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: chooses a route
        except OSError:
            import pytest  # pylint: disable=import-outside-toplevel  # programs without it use this file, too
            pytest.skip("this machine has no address but loopback")
        return probe.getsockname()[0]
