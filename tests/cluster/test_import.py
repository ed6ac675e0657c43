"""fanfare import into a cluster whose nodes die: nothing is lost, nothing executed twice."""

import random
import shutil
import tempfile

import pytest

from lib.cluster_scene import BOUND_S
from lib.import_work import RUN_S, Import, Redis, Writers, fill, fill_large
from lib.key_content import assert_same
from lib.wait import wait_until


@pytest.fixture(name="source")
def _source():
    """A redis-server."""
    directory = tempfile.mkdtemp(prefix="import-test-")
    server = Redis(directory)
    yield server
    server.close()
    shutil.rmtree(directory, ignore_errors=True)


def test_nodes_die_while_a_source_is_followed(start_cluster, source):
    """Both of those that the importer is not connected to, one after the other, during the keys and afterwards."""
    cluster = start_cluster(3)
    with source.client() as filled:
        fill(filled, random.Random(1), 100)
        fill_large(filled)
        writers = Writers(source)
        try:
            going = Import("--from", f"127.0.0.1:{source.port}", "--to", "%s:%d" % cluster[0].address, "--until-caught-up",
                           "--replace")
            for node in (cluster[1], cluster[2]):
                node.kill()
                before = writers.commands
                wait_until(lambda at=before: writers.commands > at + 1000, BOUND_S * 6, "the writers go on")
                node.start()
            going.wait_for(b"following")
            cluster[1].kill()
            before = writers.commands
            wait_until(lambda: writers.commands > before + 1000, BOUND_S * 6, "the writers go on")
            cluster[1].start()
        finally:
            writers.stop()
        assert going.end() == 0, going.complaint
        with cluster[2].client(timeout_s=RUN_S) as target:
            assert_same(filled, target, is_replica=True)
