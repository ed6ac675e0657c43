"""turns: how long the loops of a cluster's workers stand still while very many subscriptions come, go and move.

Some clients on every node subscribe to very many channels and patterns, each of them to its own. Then the cluster lives
through what clusters live through; after each act it is asked which of its loops' turns have taken long.
"""

import collections
import contextlib
import re
import signal
import socket
import threading
import time

from systems import SystemFailed

CLIENTS_PER_NODE = 4
NAMES_PER_COMMAND = 5000
PAUSE_S = 0.6
"""So short that the others do not take the node for dead."""

REST_S = 3
ANSWER_MAX_S = 120

BUCKET = re.compile(r'fanfare_loop_turn_seconds_bucket\{le="([0-9.]+)"\}')
CONFIRMATION = re.compile(rb"\r\n:\d+(?=\r\n)")


class Client:
    """A subscriber that counts its confirmations and reads whatever else comes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_MAX_S)

    def change(self, verb, names):
        """Ask for all the names, a command at a time, and wait until all are confirmed."""
        for first in range(0, len(names), NAMES_PER_COMMAND):
            part = names[first:first + NAMES_PER_COMMAND]
            words = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in (verb, *part))
            self.socket.sendall(b"*%d\r\n%b" % (len(part) + 1, words))
            left, rest = len(part), b""
            while left:
                data = self.socket.recv(1 << 18)
                if not data or b"\n-" in data or data.startswith(b"-"):
                    raise SystemFailed(f"{verb.decode()} was not confirmed: {data[:100]}")
                data = rest + data
                end = data.rfind(b"\r\n") + 2
                left -= len(CONFIRMATION.findall(data[:end]))
                rest = data[end:]

    def close(self):
        """Without a word."""
        self.socket.close()


def turns(node):
    """{upper bound in seconds: turns so far of at most that length, and above the bound below}, and those over 20 ms."""
    metrics = node.metrics()
    rows = sorted((float(match[1]), value) for match, value in
                  ((BUCKET.fullmatch(name), value) for name, value in metrics.items()) if match)
    counts = {bound: value - (rows[i - 1][1] if i else 0) for i, (bound, value) in enumerate(rows)}
    return collections.Counter(counts), metrics.get("fanfare_loop_long_turns_total", 0)


class Watch:
    """What has happened since the last act."""

    def __init__(self, system):
        self.system, self.acts = system, []
        self.before = [turns(node) for node in system.nodes]

    def note(self, act, began_s):
        """The act is over."""
        longest, over = 0.0, 0
        for i, node in enumerate(self.system.nodes):
            counts, long_turns = turns(node)
            old_counts, old_long = self.before[i]
            if sum(counts.values()) < sum(old_counts.values()):  # a new process
                old_counts, old_long = collections.Counter(), 0
            new = counts - old_counts
            longest = max([longest, *new])
            over += int(long_turns - old_long)
            self.before[i] = (counts, long_turns)
        self.acts.append({"act": act, "seconds": time.monotonic() - began_s, "over_20_ms": over, "longest_s": longest})


def _subscribe(clients, verb, prefix, count):
    """All at once; each client to its share of the names."""
    failures = []

    def run(number, client):
        names = [b"%s.%d.%d" % (prefix, number, n) for n in range(count // len(clients))]
        try:
            client.change(verb, [name + b".*" for name in names] if verb == b"PSUBSCRIBE" else names)
        except (OSError, SystemFailed) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemFailed(str(failures[0]))


@contextlib.contextmanager
def _act(watch, name, say):
    say(f"turns: {name}")
    began_s = time.monotonic()
    yield
    time.sleep(REST_S)
    watch.note(name, began_s)


def measure(system, channels, patterns, say):
    """All acts. Returns what each was like."""
    watch = Watch(system)
    clients = [Client(node.port) for node in system.nodes for _ in range(CLIENTS_PER_NODE)]
    with _act(watch, f"{channels} channels are subscribed to", say):
        _subscribe(clients, b"SUBSCRIBE", b"c", channels)
    with _act(watch, f"{patterns} patterns are", say):
        _subscribe(clients, b"PSUBSCRIBE", b"p", patterns)
    with _act(watch, "nothing", say):
        pass
    last = system.nodes[-1]
    with _act(watch, f"a node is stopped for {PAUSE_S} s", say):
        last.process.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE_S)
        last.process.send_signal(signal.SIGCONT)
    for number, name in ((signal.SIGTERM, "drained"), (signal.SIGKILL, "killed")):
        with _act(watch, f"a node is {name}", say):
            last.end(number)
        with _act(watch, "it comes back", say):
            last.start(system.cpus)
            system.wait(system.is_settled, "the node is back")
    with _act(watch, "all clients leave", say):
        for client in clients:
            client.close()
    return watch.acts
