"""Power cuts, as nearly as processes can have them: killed, and what they had not flushed is lost, in part or whole. What
was acknowledged is there again all the same. That the cut is real, a redis-server shows that does not flush."""

import os
import pathlib
import random
import shutil
import subprocess
import sys

import pytest

from lib.checker_history import Fault
from lib.broker import now_ns
from lib.data_checker import violations
from lib.data_load import DataLoad, DataPlan
from lib.data_reference import ALWAYS, Reference
from lib.data_scene import under_data_load
from lib.data_work import works_of
from lib.power_cut import SHIM, PowerCluster, Watch

pytestmark = [
    pytest.mark.skipif(not pathlib.Path(SHIM).is_file(), reason="POWER_CUT_SHIM names no library"),
    pytest.mark.skipif(os.environ.get("TEST_SANITIZED") == "1", reason="a sanitizer wants to be loaded first"),
]

PROGRAM = """
import os
def put(name, data, flags=os.O_WRONLY | os.O_CREAT, at=None, sync=True):
    fd = os.open(name, flags, 0o600)
    os.write(fd, data) if at is None else os.pwrite(fd, data, at)
    if sync: os.fsync(fd)
    os.close(fd)
def sync_names():
    fd = os.open(".", os.O_RDONLY); os.fsync(fd); os.close(fd)
for name in ("overwritten", "grown", "cut", "renamed", "removed", "replaced"):
    put(name, name.encode() * 1000)
sync_names()
put("overwritten", b"new" * 3000, at=5000, sync=False)
put("overwritten", b"newer" * 10, at=5001, sync=False)
put("grown", b"more" * 5000, os.O_WRONLY | os.O_APPEND, sync=False)
put("cut", b"short", os.O_WRONLY | os.O_TRUNC, sync=False)
put("created", b"never there")
os.rename("renamed", "new name")
os.unlink("removed")
put("temporary", b"by this")
os.rename("temporary", "replaced")
put("flushed", b"old")
sync = os.open("flushed", os.O_WRONLY); os.pwrite(sync, b"new", 0); os.fdatasync(sync)
os.kill(os.getpid(), 9)
"""


def run_program(root):
    """The program, until its death; the Watch."""
    root.mkdir()
    watch = Watch(SHIM, root)
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, env={**os.environ, **watch.env}, check=False)
    return watch


def test_what_was_not_flushed_is_lost_and_nothing_else(tmp_path):
    root = tmp_path / "root"
    boot_id = (watch := run_program(root)).boot_id.read_text()
    watch.cut(how="all")
    assert watch.boot_id.read_text() != boot_id
    assert {p.name: p.read_bytes() for p in root.iterdir()} == {
        name: name.encode() * 1000 for name in ("overwritten", "grown", "cut", "renamed", "removed", "replaced")}


def test_a_cut_may_lose_some_pages_and_some_names(tmp_path):
    seen = set()
    for seed in range(60):
        root = tmp_path / f"root{seed}"
        run_program(root).cut(random.Random(seed))
        overwritten = (root / "overwritten").read_bytes()
        old = b"overwritten" * 1000
        assert overwritten[:4096] == old[:4096]
        seen.add((overwritten[4096:8192] == old[4096:8192], overwritten[8192:11000] == old[8192:11000]))
        assert (root / "renamed").exists() != (root / "new name").exists()
        assert (root / "replaced").read_bytes() in (b"replaced" * 1000, b"by this")
        if (root / "flushed").exists():
            assert (root / "flushed").read_bytes() == b"new"
    assert len(seen) == 4, "each page by itself"


# ---- brokers ----

def cut_all(cluster, rng, how=None):
    """Kill every node as near to at once as can be, cut the power of all, start them again."""
    for node in cluster:
        node.process.kill()
    for node in cluster:
        node.kill()
    for node in cluster:
        print(node.name, {pathlib.Path(path).name: lost for path, lost in node.watch.cut(rng, how).items()})
    for node in cluster:
        node.begin()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server here")
@pytest.mark.parametrize("policy, keeps", [("always", True), ("no", False)])
def test_a_redis_server_keeps_what_it_flushed_and_loses_the_rest(policy, keeps):
    reference = Reference((*ALWAYS[:2], "--appendfsync", policy))
    node = reference.node
    node.watch = Watch(SHIM, node.directory / "appendonlydir")
    node.env.update(node.watch.env)
    plan = DataPlan(works=("append", "counter"))
    load = DataLoad(lambda: {n.name: n.address for n in reference.running()}, 1, plan, works_of(plan))
    try:
        reference.start()
        load.start()
        for _ in range(2):
            load.wait_for_ops(500)
            fault = Fault("cut", node.name, now_ns())
            load.history.faults.append(fault)
            cut_all(reference, random.Random(1), None if keeps else "all")
            fault.end_ns = now_ns()
        found = violations(load.stop())
    finally:
        reference.close()
    if keeps:
        assert not found, "\n".join(map(str, found[:10]))
    else:
        assert {v.rule for v in found} & {"lost", "counted"}


@pytest.mark.parametrize("count, how", [(3, None), (3, "all"), (1, None), (1, "all")],
                         ids=["three, some", "three, all", "alone, some", "alone, all"])
def test_nothing_acknowledged_is_lost_in_a_power_cut_of_all(count, how):
    cluster = PowerCluster(count, plain=count == 1, partitions=1 if count == 1 else 16)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    try:
        cluster.start()
        cluster.wait_settled()
        with under_data_load(cluster) as scene:
            for _ in range(3):
                scene.wait_for_ops()
                with scene.fault("cut", "all"):
                    cut_all(cluster, rng, how)
    finally:
        cluster.close()
