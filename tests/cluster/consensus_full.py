#!/usr/bin/env python3
"""Three real consensus processes share a small disk that somebody else fills up under load.

To the last byte, with hardly a watermark: their logs meet the end of the disk and live on the ballast. To below the
watermark: they refuse commands before it comes to that. Either way: commands are refused as "full", the logs are whole,
after SIGKILL too, a node starts on the full disk, all goes on when there is space again, and no acknowledged command is
lost.

usage: consensus_full.py NODE_PROGRAM FANFARE
Mounts a tmpfs in a mount namespace of its own; exits with 77 where that is not allowed."""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.consensus_node import Node, acknowledged, check_states, peers, settle  # noqa: E402
from lib.wait import wait_until  # noqa: E402

NODES = 3
GROUPS = 2
EXIT_SKIPPED = 77
DISK = "CONSENSUS_FULL_DISK"  # of the environment: where the small disk is
MIB = 1 << 20
DISK_BYTES = 160 * MIB
BALLAST_BYTES = 4 * MIB
SEGMENT_BYTES = 256 << 10
DEADLINE_S = 60


def enter_namespace(work):
    """Run this program again where `work` is a small disk. Returns only there."""
    if DISK in os.environ:
        return
    env = {**os.environ, DISK: work}
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size={DISK_BYTES},mode=700 none {work}"
    probe = subprocess.run([*unshare, "sh", "-c", mount], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           check=False)
    if probe.returncode != 0:
        print(f"skipped: no tmpfs may be mounted here: {probe.stderr.strip()}")
        sys.exit(EXIT_SKIPPED)
    command = [*unshare, "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, *sys.argv]
    sys.exit(subprocess.run(command, stdin=subprocess.DEVNULL, env=env, check=False).returncode)


class Filler:
    """Somebody else's file, which takes what is left of the disk but for `keep_bytes`."""

    def __init__(self, disk, keep_bytes):
        self.path = pathlib.Path(disk) / "filler"
        self.file = open(self.path, "ab", buffering=0)
        self.keep_bytes = keep_bytes

    def fill(self):
        """Take what there is by now."""
        size = MIB
        while size > 0:
            stat = os.statvfs(self.path)
            try:
                if stat.f_bavail * stat.f_frsize < self.keep_bytes + size:
                    size //= 2
                else:
                    self.file.write(bytes(size))
            except OSError:
                size //= 2

    def remove(self):
        """Give all of it back."""
        self.file.close()
        self.path.unlink(missing_ok=True)


def check_log(args, node):
    """The log is whole; returns how many entries it holds."""
    result = subprocess.run([args.fanfare, "wal-check", node.directory], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"the log of n{node.number} is not whole: {result.stdout}{result.stderr}"
    return int(re.search(r"entries=(\d+)", result.stdout).group(1))


def refuses(node):
    """Did it refuse commands because the disk is full, lately?"""
    node.check_alive()
    return bool(node.figure("full"))


def total(nodes):
    """Commands acknowledged so far."""
    return sum(acknowledged(nodes).values())


def stay_full(filler, condition):
    """For wait_until: what the logs give back goes to the filler."""
    def step():
        filler.fill()
        return condition()
    return step


def run(args, work, disk, keep_bytes, free_bytes_min):
    """One cluster, from empty to full to well again. Where less than a segment is kept, a log meets the end of the disk
    before the watermark is passed: commands are refused because it did."""
    options = ["-g", str(GROUPS), "-k", "32", "-b", "1000", "-r", "50", "-e", "500", "-h", "50", "-l", str(SEGMENT_BYTES),
               "-s", "10000", "-S", str(MIB), "-B", str(BALLAST_BYTES), "-F", str(free_bytes_min)]
    peer_list = peers(NODES)
    nodes = [Node(args.program, work, i + 1, peer_list, options, disk) for i in range(NODES)]
    filler = Filler(disk, keep_bytes)
    meets_the_end = keep_bytes < SEGMENT_BYTES
    try:
        for node in nodes:
            node.start()
        wait_until(lambda: total(nodes) > 1000, DEADLINE_S, "commands are acknowledged")
        for node in nodes:
            node.is_created = True
            wait_until(lambda n=node: os.path.exists(f"{n.directory}/ballast"), DEADLINE_S, "there is a ballast")
        wait_until(stay_full(filler, lambda: any(refuses(n) for n in nodes)), DEADLINE_S, "commands are refused")
        if meets_the_end:
            wait_until(stay_full(filler, lambda: any("ballast is given up" in n.log() for n in nodes)), DEADLINE_S,
                       "a log has met the end of the disk")
            filler.keep_bytes = 0
        nodes[0].kill()
        held = check_log(args, nodes[0])
        filler.fill()
        nodes[0].start()
        wait_until(lambda: "ready" in nodes[0].output(), DEADLINE_S, "it starts on the full disk")
        # There need not be a leader any more that could refuse: a vote must be durable, too.
        wait_until(stay_full(filler, lambda: "proposals are refused" in nodes[0].log()), DEADLINE_S, "it sees that")
        before = total(nodes)
        filler.remove()
        wait_until(lambda: total(nodes) > before + 1000, DEADLINE_S, "commands are acknowledged again")
        for node in nodes:
            wait_until(lambda n=node: os.path.exists(f"{n.directory}/ballast"), DEADLINE_S, "the ballast is back")
            assert ("ballast is given up" in node.log()) <= meets_the_end, "the watermark was too low"
        settle(nodes, GROUPS, DEADLINE_S)
        for node in nodes:
            check_log(args, node)
        answered, applied = check_states(nodes)
        print(f"refused below {free_bytes_min} bytes: {held} entries in a log killed on the full disk; {answered} "
              f"acknowledged, {applied} applied, the same on all")
    finally:
        for node in nodes:
            if node.process is not None:
                node.kill()
        filler.remove()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("fanfare")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="consensus-full-") as work:
        enter_namespace(work)
        disk = os.environ[DISK]
        for name, keep_bytes, free_bytes_min in (("end", SEGMENT_BYTES // 4, 1), ("mark", 40 * MIB, 48 * MIB)):
            os.mkdir(f"{work}/{name}")
            os.mkdir(f"{disk}/{name}")
            run(args, f"{work}/{name}", f"{disk}/{name}", keep_bytes, free_bytes_min)
            shutil.rmtree(f"{disk}/{name}")


if __name__ == "__main__":
    main()
