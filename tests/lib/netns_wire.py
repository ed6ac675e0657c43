"""netns_wire: a slow and lossy wire between two network devices, for kernels with and without netem.

Frames that come in at one device leave at the other one after a delay, in order unless jitter says otherwise, or are
lost. Both directions alike. Run as a program: netns_wire DEVICE DEVICE DELAY_MS JITTER_MS LOSS SEED; it says "ready"
once it listens.
"""

import contextlib
import ctypes
import fcntl
import heapq
import random
import selectors
import socket
import struct
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
FRAME_BYTES_MAX = 65536
QUEUE_MAX = 20000
"""Frames in flight; more are lost, as a real wire's would be."""

_SIOCETHTOOL = 0x8946
_OFFLOADS = (0x15, 0x17, 0x1f, 0x24, 0x2c)  # receive and send checksums, TSO, GSO, GRO: set commands of ethtool


def disable_offloads(device):
    """Let the device send whole, checksummed frames of at most its MTU: only those can be sent on by hand."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in _OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
            request = struct.pack("@16sP16x", device.encode(), ctypes.addressof(value))
            with contextlib.suppress(OSError):  # a device without that one
                fcntl.ioctl(control, _SIOCETHTOOL, request)


def open_device(name):
    """All frames of a device."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.bind((name, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    # Promiscuous: frames for others are what a wire carries.
    index = socket.if_nametoindex(name)
    sock.setsockopt(263, 1, struct.pack("IHH8s", index, 1, 0, b""))  # SOL_PACKET, PACKET_ADD_MEMBERSHIP, PROMISC
    sock.setblocking(False)
    return sock


def carry(devices, delay_s, jitter_s, loss, rng):
    """Forever."""
    ends = [open_device(name) for name in devices]
    print("ready", flush=True)
    in_flight, count = [], 0
    with selectors.DefaultSelector() as selector:
        for end, other in (ends, ends[::-1]):
            selector.register(end, selectors.EVENT_READ, other)
        while True:
            wait_s = max(0.0, in_flight[0][0] - time.monotonic()) if in_flight else None
            for key, _ in selector.select(wait_s):
                for frame in _receive(key.fileobj):
                    if rng.random() >= loss and len(in_flight) < QUEUE_MAX:
                        count += 1
                        due_s = time.monotonic() + delay_s + rng.uniform(0, jitter_s)
                        heapq.heappush(in_flight, (due_s, count, key.data, frame))
            now_s = time.monotonic()
            while in_flight and in_flight[0][0] <= now_s:
                _, _, end, frame = heapq.heappop(in_flight)
                with contextlib.suppress(OSError):  # the device is full or gone: lost
                    end.send(frame)


def _receive(sock):
    """What has come in, a bounded lot of it."""
    for _ in range(256):
        try:
            frame, address = sock.recvfrom(FRAME_BYTES_MAX)
        except OSError:
            return
        if address[2] != PACKET_OUTGOING:
            yield frame


if __name__ == "__main__":
    carry(sys.argv[1:3], float(sys.argv[3]) / 1000, float(sys.argv[4]) / 1000, float(sys.argv[5]),
          random.Random(sys.argv[6]))
