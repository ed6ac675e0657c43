"""data_service: does every node serve every database? What nodes say of themselves does not count: clients try it."""

import time

from .cluster_service import SERVED_DEADLINE_S, TRY_S, NotServed
from .resp import Closed, RespError

DATABASES = 16


def wait_data_served(cluster, deadline_s=SERVED_DEADLINE_S):
    """Try until all of it works. Raises NotServed with what the last try met."""
    end_s = time.monotonic() + deadline_s
    while True:
        begin_s = time.monotonic()
        wrong = [line for node in cluster.running() for line in _try(node)]
        if not wrong:
            return
        if begin_s >= end_s:
            raise NotServed(f"after {deadline_s:g} s of rest:\n" + "\n".join(wrong))
        time.sleep(0.05)


def _try(node):
    """What does not work at the first try, told line by line."""
    try:
        with node.client(timeout_s=TRY_S) as client:
            requests = [words for db in range(DATABASES) for words in
                        (("SELECT", db), ("SET", f"served:{node.name}", db), ("GET", f"served:{node.name}"))]
            replies = client.calls(requests)
    except (OSError, Closed, TimeoutError) as exc:
        yield f"{node.name} does not answer: {exc!r}"
        return
    for db in range(DATABASES):
        answers = replies[3 * db:3 * db + 3]
        if any(isinstance(a, RespError) for a in answers) or answers[2] != b"%d" % db:
            yield f"{node.name}, database {db}: {answers}"
