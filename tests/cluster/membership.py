#!/usr/bin/env python3
"""Clusters of real processes that do nothing but being members: founded in any order, killed, wiped, moved.

usage: membership.py MEMBER_PROGRAM [SEED]
"""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.ports import free_port, free_ports  # noqa: E402
from lib.wait import wait_and_tell  # noqa: E402


class Node:
    def __init__(self, program, root, name, port, join, expect):
        self.program, self.name, self.port, self.join, self.expect = program, name, port, join, expect
        self.dir = os.path.join(root, name)
        self.log = os.path.join(root, name + ".log")
        self.process = None

    def start(self):
        join = ",".join("127.0.0.1:%d" % port for port in self.join)
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [self.program, "-d", self.dir, "-n", self.name, "-l", "127.0.0.1:%d" % self.port,
                 "-j", join, "-e", str(self.expect)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1)
        self.answers, self.forgets, self.is_over = [], [], False
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, args=(self.process,), daemon=True)
        self.reader.start()

    def read(self, process):
        answer = []
        for line in process.stdout:
            words = line.split()
            if words[0] in ("status", "present"):
                answer.append(line.strip())
            with self.changed:
                if words[0] == "end":
                    self.answers.append(answer)
                    answer = []
                if words[0] == "forget":
                    self.forgets.append(line.strip()[7:])
                self.changed.notify_all()
        with self.changed:
            self.is_over = True
            self.changed.notify_all()

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def status(self):
        """(fields of the status line, {name: (up, draining, voter, incarnation, owned, address)}, cluster)"""
        with self.changed:
            seen = len(self.answers)
        self.say("status")
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.answers) > seen or self.is_over, 10) or self.is_over:
                raise AssertionError(self.name + " does not answer")
            lines = self.answers[-1]
        fields = {}
        head = lines[0]
        for key in ("unready", "leader", "leads", "term", "lease", "has_lease"):
            at = head.index(key + "=") + len(key) + 1
            fields[key] = head[at:].split(" term=")[0] if key == "unready" else head[at:].split(" ")[0]
        fields["unready"] = fields["unready"].split(" leader=")[0]
        members, cluster = {}, None
        for line in lines[1:]:
            for word in line.split()[1:]:
                key, value = word.split("=", 1)
                if key == "cluster":
                    cluster = value
                elif "," in value:
                    up, draining, voter, incarnation, owned, address = value.split(",")
                    members[key] = (up, draining, voter, int(incarnation), int(owned), address)
        return fields, members, cluster

    def forget(self, name):
        seen = len(self.forgets)
        self.say("forget " + name)
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.forgets) > seen, 10), "no answer to forget"
            return self.forgets[-1]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()  # or it would tell the next life's end

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0, self.name + " did not stop well"
        self.reader.join()

    def wipe(self):
        shutil.rmtree(self.dir)


def is_settled(nodes, names, balanced=True):
    """All of `nodes` are ready, agree that exactly `names` are up, and have leases."""
    clusters = set()
    for node in nodes:
        fields, members, cluster = node.status()
        clusters.add(cluster)
        up = {name for name, member in members.items() if member[0] == "up"}
        if fields["unready"] != "-" or fields["lease"] != "1" or up != set(names):
            return False
        owned = [member[4] for member in members.values() if member[0] == "up" and member[1] == "-"]
        if sum(member[4] for member in members.values()) != 64:
            return False
        if balanced and max(owned) - min(owned) > 1:
            return False
    assert len(clusters) == 1, "clusters: %s" % clusters
    return True


def leader_of(nodes):
    for node in nodes:
        if node.status()[0]["leads"] == "1":
            return node
    raise AssertionError("nobody leads")


def form(program, root, rng, delays):
    ports = free_ports(len(delays))
    nodes = [Node(program, root, "n%d" % (i + 1), port, ports, len(delays)) for i, port in enumerate(ports)]
    for delay, node in rng.sample(list(zip(delays, nodes)), len(nodes)):
        time.sleep(delay)
        node.start()
    return nodes


def run(program, root, seed):
    rng = random.Random(seed)
    for attempt in range(4):
        folder = os.path.join(root, "form%d" % attempt)
        os.mkdir(folder)
        delays = [0, rng.choice([0, 0.05, 0.3]), rng.choice([0, 0.01, 0.5])]
        nodes = form(program, folder, rng, delays)
        wait_and_tell("three nodes are a cluster, balanced", 15, lambda: is_settled(nodes, ["n1", "n2", "n3"]))
        if attempt < 3:
            for node in rng.sample(nodes, 3):
                node.kill()
            for node in rng.sample(nodes, 3):
                node.start()
            wait_and_tell("all killed and started: the same cluster", 20, lambda: is_settled(nodes, ["n1", "n2", "n3"]))
            for node in nodes:
                node.stop()
    names = ["n1", "n2", "n3"]
    wait_and_tell("three voters", 10, lambda: all(m[2] == "voter" for m in nodes[0].status()[1].values()))

    for _ in range(3):
        victim = leader_of(nodes)
        rest = [node for node in nodes if node is not victim]
        victim.kill()
        wait_and_tell("the leader is killed: its partitions have owners", 10,
                 lambda: is_settled(rest, [node.name for node in rest], balanced=False))
        victim.start()
        wait_and_tell("it is back, balanced", 30, lambda: is_settled(nodes, names))

    victim = next(node for node in nodes if node is not leader_of(nodes))
    rest = [node for node in nodes if node is not victim]
    victim.kill()
    wait_and_tell("a follower is killed: its partitions have owners", 10,
             lambda: is_settled(rest, [node.name for node in rest], balanced=False))
    victim.start()
    wait_and_tell("it is back, balanced", 30, lambda: is_settled(nodes, names))
    victim.kill()
    victim.start()
    wait_and_tell("killed and started at once, balanced", 30, lambda: is_settled(nodes, names))
    victim.kill()
    victim.wipe()
    victim.start()
    wait_and_tell("killed and started with an empty disk, balanced", 30, lambda: is_settled(nodes, names))
    wait_and_tell("and it votes again", 10, lambda: all(m[2] == "voter" for m in nodes[0].status()[1].values()))

    extra = Node(program, folder, "n4", free_port(), [nodes[0].port], 0)
    extra.start()
    wait_and_tell("a fourth node joins, balanced", 30, lambda: is_settled(nodes + [extra], names + ["n4"]))
    answer = nodes[1].forget("n4")
    assert answer.startswith("ERR"), answer
    extra.say("drain")
    wait_and_tell("it drains", 20, lambda: extra.status()[1]["n4"][4] == 0)
    extra.say("leave")
    wait_and_tell("it leaves: down at once", 2, lambda: nodes[0].status()[1]["n4"][0] == "down")
    extra.stop()
    answer = nodes[1].forget("n4")
    assert answer == "OK", answer
    wait_and_tell("it is forgotten", 5, lambda: "n4" not in nodes[2].status()[1])
    extra.start()
    wait_and_tell("a forgotten node with its old disk joins again, balanced", 30,
             lambda: is_settled(nodes + [extra], names + ["n4"]))
    answer = nodes[1].forget("n9")
    assert answer.startswith("ERR Unknown"), answer

    victim.kill()
    victim.port = free_port()
    victim.start()
    wait_and_tell("a node with another address is followed", 30, lambda: is_settled(nodes + [extra], names + ["n4"]))
    for node in nodes:
        node.kill()
    nodes[0].port, nodes[2].port = free_ports(2)
    for node in nodes:
        node.join = [victim.port, nodes[0].port, nodes[1].port, nodes[2].port]
        node.start()
    wait_and_tell("all killed, two moved", 30, lambda: is_settled(nodes + [extra], names + ["n4"]))

    old = leader_of(nodes + [extra])
    old.say("drain")
    wait_and_tell("the leader drains and hands over", 30,
             lambda: old.status()[1][old.name][4] == 0 and old.status()[0]["leads"] == "0")
    rest = [node for node in nodes + [extra] if node is not old]
    wait_and_tell("there is a leader", 5, lambda: leader_of(rest) is not None)
    for node in nodes + [extra]:
        node.stop()


def main():
    program, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print("seed", seed, flush=True)
    root = tempfile.mkdtemp(prefix="fanfare-member-")
    try:
        run(program, root, seed)
    except BaseException:
        print("logs are in", root)
        raise
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
