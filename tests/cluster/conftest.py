"""Shared set-up of the cluster tests: clusters that live as long as a test, and what their nodes said if it fails."""

import contextlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import pytest  # noqa: E402

from lib import netns  # noqa: E402
from lib.cluster import Cluster  # noqa: E402
from lib.fixtures import pytest_collection_modifyitems, pytest_configure  # noqa: E402,F401

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Remember a failure for the fixtures' end."""
    report = (yield).get_result()
    if report.failed and call.when == "call":
        item.stash[FAILED] = True


@pytest.fixture
def make_cluster(request):
    """make_cluster(count, ...) makes a Cluster, not started; it ends with the test."""
    made = []

    def make(count=3, **kwargs):
        made.append(Cluster(count, **kwargs))
        return made[-1]

    yield make
    with contextlib.ExitStack() as closing:
        for cluster in made:
            closing.callback(cluster.close)
        if FAILED in request.node.stash:
            for cluster in made:
                print(f"{cluster.describe()}\n{cluster.logs()}")


@pytest.fixture
def start_cluster(make_cluster):
    """The same, started and at rest."""
    def start(count=3, **kwargs):
        cluster = make_cluster(count, **kwargs).start()
        cluster.wait_settled()
        return cluster

    return start


@pytest.fixture
def network():
    """A world of namespaces, closed by its cluster; the test is skipped where there can be none."""
    try:
        return netns.Network()
    except netns.Unavailable as exc:
        pytest.skip(str(exc))
