#!/usr/bin/env python3
"""Real processes that keep partitions' data: a node that was alone grows to three and five under writes, loses a disk, dies
and drains; at the end everything that was acknowledged is there, once, and all replicas are alike.

usage: replicas.py KEEPER_PROGRAM [big]
big: with long values and short logs, so that new replicas get snapshots
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.ports import free_ports  # noqa: E402
from lib.wait import wait_and_tell  # noqa: E402

PARTITIONS = 8
BIG = ["-b", "4000", "-L", str(1 << 20)] if sys.argv[2:] == ["big"] else []
REPLICAS = 3


class Keeper:
    def __init__(self, program, root, name, port, join):
        self.program, self.name, self.port, self.join = program, name, port, join
        self.dir, self.log = os.path.join(root, name), os.path.join(root, name + ".log")
        self.process = None

    def start(self, *more):
        join = ",".join("127.0.0.1:%d" % port for port in self.join)
        words = [self.program, "-d", self.dir, "-n", self.name, "-l", "127.0.0.1:%d" % self.port, "-p",
                 str(PARTITIONS), *BIG, *more]
        if "-A" not in more and "-e" not in more:  # who founds alone joins nobody
            words += ["-j", join]
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                            text=True, bufsize=1)
        self.states, self.answers, self.lists, self.forgets, self.is_over = [], {}, {}, [], False
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, args=(self.process,), daemon=True)
        self.reader.start()

    def read(self, process):
        state = {}
        for line in process.stdout:
            words = line.split()
            with self.changed:
                if words[0] == "wrote":
                    self.answers[int(words[1]), int(words[2])] = words[3]
                elif words[0] == "list":
                    self.lists[int(words[1])] = words[3:]
                elif words[0] == "forget":
                    self.forgets.append(line.strip()[7:])
                elif words[0] == "state":
                    state = {"unready": line.strip()[len("state unready="):]}
                elif words[0] == "handed_over":
                    state["handed_over"] = words[1] == "1"
                elif words[0] == "partition":
                    state[int(words[1])] = dict(word.split("=", 1) for word in words[2:])
                elif words[0] == "end":
                    self.states.append(state)
                self.changed.notify_all()
        with self.changed:
            self.is_over = True
            self.changed.notify_all()

    def say(self, text):
        try:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    def wait(self, condition, seconds=10):
        with self.changed:
            return self.changed.wait_for(lambda: condition() or self.is_over, seconds) and not self.is_over

    def state(self):
        seen = len(self.states)
        self.say("state")
        if not self.wait(lambda: len(self.states) > seen):
            raise AssertionError(self.name + " does not answer")
        return self.states[-1]

    def write(self, partition, number):
        self.answers.pop((partition, number), None)
        self.say("write %d %d" % (partition, number))
        self.wait(lambda: (partition, number) in self.answers, 5)
        return self.answers.get((partition, number))

    def list(self, partition):
        """None: it does not lead."""
        self.lists.pop(partition, None)
        self.say("read %d" % partition)
        self.wait(lambda: partition in self.lists)
        words = self.lists.get(partition)
        if words is None or words[0].startswith("OK*") is False:
            return None
        return [int(word) for word in words[2::2]]

    def forget(self, name):
        seen = len(self.forgets)
        self.say("forget " + name)
        assert self.wait(lambda: len(self.forgets) > seen), "no answer to forget"
        return self.forgets[-1]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0, self.name + " did not stop well"
        self.reader.join()

    def is_up(self):
        return self.process is not None and self.process.poll() is None


class Writers:
    """One per partition: number after number, each asked until it is acknowledged somewhere."""

    def __init__(self, keepers):
        self.keepers, self.acked, self.must_stop = keepers, [0] * PARTITIONS, False
        self.longest_s = 0.0
        self.threads = [threading.Thread(target=self.run, args=(p,), daemon=True) for p in range(PARTITIONS)]
        for thread in self.threads:
            thread.start()

    def run(self, partition):
        at, begun = 0, time.monotonic()
        while not self.must_stop:
            up = [keeper for keeper in self.keepers if keeper.is_up()]
            if not up:
                time.sleep(0.01)
                continue
            if up[at % len(up)].write(partition, self.acked[partition] + 1) == "OK":
                self.acked[partition] += 1
                self.longest_s = max(self.longest_s, time.monotonic() - begun)
                begun = time.monotonic()
                time.sleep(0.002)
            else:
                at += 1
                time.sleep(0.005)

    def stop(self):
        self.must_stop = True
        for thread in self.threads:
            thread.join()

    def total(self):
        return sum(self.acked)


def has_replicas(keepers, names, wanted=REPLICAS):
    """All say that each partition is settled on `wanted` of exactly these nodes, evenly; and the owner leads it."""
    for keeper in keepers:
        state, held, led = keeper.state(), {}, 0
        if state["unready"] != "-":
            return False
        for p in range(PARTITIONS):
            row = state[p]
            replicas = [word.split(":")[0] for word in row.get("replicas", "").split(",") if word]
            if row.get("settled") != "1" or len(replicas) != wanted or not set(replicas) <= set(names):
                return False
            for name in replicas:
                held[name] = held.get(name, 0) + 1
            led += row["leads"] != "0"
            if row["owner"] in replicas and (row["owner"] == keeper.name) != (row["leads"] != "0"):
                return False
        if max(held.values()) - min(held.get(name, 0) for name in names) > 1:
            return False
    return True


def check_all(keepers, writers):
    for p in range(PARTITIONS):
        lists = [found for found in (keeper.list(p) for keeper in keepers) if found is not None]
        assert lists, "partition %d: no leader" % p
        expected = list(range(1, writers.acked[p] + 1))
        for found in lists:  # more than one if the lead was handed over meanwhile
            if found[-1:] == [writers.acked[p] + 1]:
                found = found[:-1]  # what was asked last, and not waited for
            check_list(p, found, expected)


def check_list(p, found, expected):
    differs = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), "the end")
    assert found == expected, "partition %d: %d acknowledged, %d there, first difference at %s" % (
        p, len(expected), len(found), differs)


def run(program, root):
    ports = free_ports(5)
    keepers = [Keeper(program, root, "n%d" % (i + 1), ports[i], ports[:3]) for i in range(5)]
    one, two, three, four, five = keepers
    one.start("-A")
    writers = Writers(keepers)
    wait_and_tell("alone: 400 writes", 20, lambda: writers.total() >= 400)
    one.stop()
    one.start("-e", "1")
    wait_and_tell("a cluster of one, with its data", 20, lambda: has_replicas([one], ["n1"], 1))
    before = writers.total()
    wait_and_tell("it writes on", 10, lambda: writers.total() > before + 100)
    two.start()
    three.start()
    wait_and_tell("three replicas of each", 60, lambda: has_replicas(keepers[:3], ["n1", "n2", "n3"]))
    four.start()
    five.start()
    names = [keeper.name for keeper in keepers]
    wait_and_tell("five nodes, evenly", 90, lambda: has_replicas(keepers, names))
    print("longest pause so far %.2f s, %d acknowledged" % (writers.longest_s, writers.total()), flush=True)
    three.kill()
    shutil.rmtree(three.dir)
    three.start()
    wait_and_tell("the disk that was lost is replaced", 60, lambda: has_replicas(keepers, names))
    one.kill()
    before = writers.total()
    wait_and_tell("writes go on without the first", 20, lambda: writers.total() > before + 300)
    one.start()
    wait_and_tell("it is back", 60, lambda: has_replicas(keepers, names))
    two.say("drain")
    wait_and_tell("who drains leads nothing", 10, lambda: two.state()["handed_over"])
    two.say("leave")
    two.stop()
    two.start()
    wait_and_tell("and comes back", 60, lambda: has_replicas(keepers, names))
    five.kill()
    wait_and_tell("the dead one is forgotten", 20, lambda: one.forget("n5") == "OK")
    wait_and_tell("its replicas are made elsewhere", 60, lambda: has_replicas(keepers[:4], names[:4]))
    writers.stop()
    print("longest pause %.2f s, %d acknowledged" % (writers.longest_s, writers.total()), flush=True)
    check_all(keepers[:4], writers)
    for keeper in keepers[:4]:
        keeper.stop()
    for keeper in keepers[:4]:
        keeper.start()
    wait_and_tell("all were stopped", 60, lambda: has_replicas(keepers[:4], names[:4]))
    check_all(keepers[:4], writers)
    for keeper in keepers[:4]:
        keeper.stop()
    print("all that was acknowledged is there, once")


def main():
    root = tempfile.mkdtemp(prefix="replicas-")
    try:
        run(sys.argv[1], root)
    except BaseException:
        print("logs: " + root, file=sys.stderr)
        raise
    shutil.rmtree(root)


main()
