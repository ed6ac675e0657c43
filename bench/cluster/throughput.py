"""throughput: what a message costs all nodes together, and what the hop to the owner costs its publisher.

Both drive bench/load, which checks every message. Rounds, scenarios and systems are interleaved, so that whatever else
the machine does meets all of them alike.
"""

import json
import statistics
import subprocess

CHANNELS = 420  # divides by all counts of nodes up to 7
HOT = None  # one channel per node
RUN_MAX_S = 60
JUDGED = 30

SHAPES = {  # name: (publishes before waiting for their replies, subscribers of each channel, channels, in --quick)
    "pipe-s10": (100, 10, CHANNELS, True),
    "pipe-s100": (100, 100, CHANNELS, False),
    "np-s10": (1, 10, CHANNELS, True),
    "pipe-s1": (100, 1, CHANNELS, False),
    "hot-s10": (100, 10, HOT, False),
}

INTERESTS = ("one", "all", "shard")
"""Where the subscribers are: on one node, on all, or (sharded pub/sub) on the owner of each channel, where then the
publishers are too. The publishers of `one` and `all` are spread over the nodes whatever they publish to."""


def up_to(least, step):
    """The first multiple of `step` that is not below `least`."""
    return -(-least // step) * step


class Bench:
    """Runs load against systems and keeps what it says."""

    def __init__(self, options, say):
        self.options, self.say = options, say
        self.runs = []
        self.failures = []

    def load(self, system, label, arguments, names=None):
        """One run of load; its figures as a dict, and `peer_per_publish`. None: it failed, which is kept."""
        argv = ["taskset", "-c", self.options.load_cpus] if self.options.load_cpus else []
        argv += [self.options.load, "--json", "--label", label, "--proto", system.proto, "--port",
                 str(system.ports[0]), "--pid", ",".join(map(str, system.pids)), "--pause-ms", str(system.settle_ms)]
        if names:
            path = system.directory / "names"
            path.write_text("".join(f"{number}\n" for number in names), encoding="ascii")
            argv += ["--names", str(path)]
        argv += ["--loose"] if system.is_loose else []
        before = system.peer_messages()
        try:
            done = subprocess.run(argv + [str(word) for word in arguments], capture_output=True, text=True,
                                  timeout=RUN_MAX_S, check=False)
        except subprocess.TimeoutExpired:
            self.failures.append(f"{label}: load did not end within {RUN_MAX_S} s")
            return None
        if done.returncode != 0:
            self.failures.append(f"{label}: load exits {done.returncode}: {done.stderr.strip()[:300]}")
            return None
        run = json.loads(done.stdout)
        run["peer_per_publish"] = (system.peer_messages() - before) / max(run["total_published"], 1)
        self.runs.append(run)
        return run

    def runs_of(self, label):
        """All runs with that label."""
        return [run for run in self.runs if run["label"] == label]

    def median(self, label, metric):
        """Of all rounds; None: not measured."""
        values = [run[metric] for run in self.runs_of(label)]
        return statistics.median(values) if values else None

    def spread(self, label, metric):
        """Half the distance from least to greatest, as a part of the median."""
        values = [run[metric] for run in self.runs_of(label)]
        middle = statistics.median(values) if values else 0
        return (max(values) - min(values)) / 2 / middle if middle else 0


def arguments_of(system, interest, shape):
    """The options of load for one scenario."""
    batch, fan_out, channels, _ = SHAPES[shape]
    count = system.count
    publishers, subscribers = up_to(12, count), up_to(fan_out, count)
    arguments = ["--channels", channels or count, "--publishers", publishers, "--batch", batch, "--warmup-ms", 200,
                 "--measure-ms", 700, "--publish-ports", ",".join(map(str, system.ports))]
    if system.proto != "nats":
        arguments += ["--judge", JUDGED]  # the others' bytes are counted: the generator is not to be the limit
    if interest == "shard":
        subscribers *= count  # a client has a connection to each node
        arguments += ["--shards", count]
    ports = system.ports[-1:] if interest == "one" else system.ports
    return arguments + ["--subscribers", subscribers, "--subscribe-ports", ",".join(map(str, ports))]


def measure_costs(bench, systems, shapes):
    """All scenarios on running systems of one size, `options.rounds` times."""
    names = {system.name: system.numbers(CHANNELS) for system in systems}
    for number in range(bench.options.rounds):
        for shape in shapes:
            for interest in INTERESTS:
                for system in systems:
                    if interest == "shard" and (not system.has_shards or system.count == 1):
                        continue
                    label = f"{system.count}/{shape}-{interest}/{system.name}"
                    bench.say(f"round {number + 1}: {label}")
                    bench.load(system, label, arguments_of(system, interest, shape), names[system.name])


HOPS = {"no subscriber": None, "subscriber on the owner": 0, "subscriber on another node": 2}
"""Where the one subscriber is; the owner is node 0, the publisher is there or on node 1."""


def measure_hops(bench, system):
    """One publisher, one publish at a time: on the owner, and on another node."""
    name = system.numbers(1)
    for number in range(max(bench.options.rounds, 3)):
        for title, seat in HOPS.items():
            for place in (0, 1):
                label = f"hop/{title}/{place}"
                bench.say(f"round {number + 1}: {label}")
                subscribers = ["--subscribers", 0] if seat is None else [
                    "--subscribers", 1, "--subscribe-ports", system.ports[seat]]
                bench.load(system, label, ["--channels", 1, "--publish-ports", system.ports[place], "--warmup-ms", 200,
                                           "--measure-ms", 700, *subscribers], name)
