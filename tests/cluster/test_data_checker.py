"""The judge of durable data is judged: what a right broker did passes, and every kind of lie is found under its own rule.

The broker is one in memory, on a clock that jumps: what clients do, and how long everything takes, comes from a seed. A
lie is what a wrong broker would do about one of a hundred commands.
"""

import asyncio
import itertools
import random

import pytest

from lib import data_checker_queues
from lib.checker_history import Fault
from lib.data_checker import violations
from lib.data_fake import CLUSTERDOWN, FakeSession, Store, VirtualLoop
from lib.data_history import FOREVER, DataHistory
from lib.data_linear import ANY, KEPT, Step, find_stuck
from lib.data_load import DataLoad, DataPlan
from lib.data_work import WORKS
from lib.resp import RespError

SEEDS = range(4)
SECONDS = 2


@pytest.fixture(autouse=True)
def quick_broker(monkeypatch):
    """The one in memory is not slower where brokers are built with sanitizers."""
    monkeypatch.setattr(data_checker_queues, "ASLEEP_NS", 600_000_000)


def history_of(seed, name, lie=None, trouble=0.0, seconds=SECONDS, clients=6):
    """What the clients of one workload wrote down about a broker that lies, or is in trouble, now and then."""
    loop = VirtualLoop()
    rng = random.Random(seed)
    store = Store(loop, lie and lie(rng))

    def one_trouble():
        return rng.choice(["lost", "indoubt", "clusterdown"]) if rng.random() < trouble and not load.is_over else None

    async def open_session(_address):
        return FakeSession(store, rng, one_trouble)

    work = WORKS[name](0)
    load = DataLoad(lambda: {"n0": 0, "n1": 1}, seed, DataPlan(clients=clients, pause_s=0.003), [work], open_session,
                    loop.now_ns)

    async def main():
        loop.call_later(seconds, lambda: setattr(load, "is_over", True))
        await load.main()

    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(asyncio.wait_for(main(), 3600))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert not load.complaints
    if trouble:
        load.history.faults.append(Fault("trouble", "n0", 0))
    return load.history


@pytest.mark.parametrize("trouble", [0, 0.03], ids=["calm", "in trouble"])
@pytest.mark.parametrize("name", WORKS)
def test_a_right_broker_breaks_no_promise(name, trouble):
    for seed in SEEDS:
        history = history_of(seed, name, trouble=trouble)
        assert sum(op.is_ok for op in history.ops) > 150
        found = violations(history)
        assert not found, f"seed {seed}\n" + "\n".join(map(str, found[:10]))


# ---- lies ----

def sometimes(commands, action, chance=0.02):
    """A lie about some of the calls of these commands: action(store, session, words, rng)."""
    def make(rng):
        def lie(store, session, words):
            if words[0].lower() not in commands or rng.random() > chance:
                return NotImplemented
            return action(store, session, words, rng)
        return lie
    return make


def forget(store, session, words, _rng):
    """Acknowledged and not done."""
    return store.pretend(session, words)


def twice(store, session, words, _rng):
    """Done twice, answered once."""
    store.truth(session, words)
    return store.truth(session, words)


def refuse(store, session, words, _rng):
    """Done, and refused."""
    store.truth(session, words)
    return CLUSTERDOWN


def complain(*_):
    """An error that says nothing."""
    return RespError("ERR something went wrong")


def stale(store, _session, words, rng):
    """What the key held a while ago."""
    before = store.__dict__.setdefault("before", {})
    now = store.apply(_session.db, words)
    row = before.setdefault(tuple(words), [])
    row.append(now)
    return rng.choice(row[-5:])


def remember(action, commands, chance):
    """Reads are remembered always, and answered from memory sometimes."""
    def make(rng):
        def lie(store, session, words):
            if words[0].lower() not in commands:
                return NotImplemented
            answer = action(store, session, words, rng)
            return answer if rng.random() < chance else store.apply(session.db, words)
        return lie
    return make


def out_of_order(store, session, words, _rng):
    """Not at the end, but before it."""
    answer = store.truth(session, words)
    values = store.data[session.db, words[1]]
    values.insert(max(len(values) - 9, 0), values.pop())
    return answer


def half(store, session, words, _rng):
    """EXEC does only its first command."""
    queued = session.queued
    session.queued = queued[:1]
    answer = store.truth(session, words)
    return answer + [store.pretend(session, w) for w in queued[1:]] if answer else answer


def blind(store, session, words, _rng):
    """EXEC does not look at what was watched."""
    session.watched.clear()
    return store.truth(session, words)


def abort(_store, session, _words, _rng):
    """EXEC says that a key was changed."""
    session.watched, session.is_multi = {}, False


def put_back(store, session, words, _rng):
    """The element is given, and stays."""
    values = store.data.get((session.db, words[1] if words[0] != "BLMPOP" else words[3]))
    kept = list(values or [])
    answer = store.truth(session, words)
    if values is not None:
        values[:] = kept
    return answer


def resurrect(store, session, words, rng):
    """A key that is over is there again."""
    answer = store.truth(session, words)
    value = f"v{words[1]}".encode()
    return value if answer is None and rng.random() < 0.5 else answer


def hasten(store, session, words, _rng):
    """It lives for half of its time."""
    answer = store.truth(session, words)
    if (session.db, words[1]) not in store.data:
        return answer
    store.deadlines[session.db, words[1]] = store.loop.time() + (words[4] if words[0] == "SET" else words[2]) / 2000
    return answer


def linger(store, session, words, _rng):
    """It lives for a second more."""
    answer = store.truth(session, words)
    if (session.db, words[1]) in store.deadlines:
        store.deadlines[session.db, words[1]] += 1
    return answer


def uncounted(store, session, words, _rng):
    """A claim does not count."""
    answer = store.truth(session, words)
    for entry, _ in answer[1]:
        store.data[session.db, "stream group"]["pending"][entry][2] -= 1
    return answer


def recount(store, session, words, _rng):
    """Counts begin again."""
    for row in store.data[session.db, "stream group"]["pending"].values():
        row[2] = 1
    return store.truth(session, words)


def read_back(store, session, words, _rng):
    """The group forgets how far it had read."""
    group = store.data[session.db, "stream group"]
    group["read"] = max(group["read"] - 2, 0)
    return store.truth(session, words)


def skip(store, session, words, _rng):
    """The group skips what nobody has read."""
    store.data[session.db, "stream group"]["read"] += 1
    return store.truth(session, words)


def deaf(_rng):
    """Who waits is not woken."""
    def lie(store, _session, _words):
        store.is_deaf = lambda words: True
        return NotImplemented
    return lie


POPS = ("lpop", "rpop", "blpop", "brpop", "blmpop", "zpopmin", "bzpopmin", "bzpopmax", "spop")
LIES = {
    "an acknowledged RPUSH is gone": ("append", sometimes(("rpush",), forget), {"lost"}),
    "an acknowledged XADD is gone": ("append", sometimes(("xadd",), forget), {"lost"}),
    "an RPUSH is done twice": ("append", sometimes(("rpush",), twice), {"duplicate"}),
    "an XADD is done twice": ("append", sometimes(("xadd",), twice), {"duplicate"}),
    "an RPUSH is done and refused": ("append", sometimes(("rpush", "xadd"), refuse), {"executed"}),
    "an append comes before older ones": ("append", sometimes(("rpush",), out_of_order), {"order"}),
    "an append answers an error that says nothing": ("append", sometimes(("rpush",), complain), {"answer"}),
    "a transaction's append is gone": ("txn", sometimes(("exec", "rpush"), forget), {"lost"}),
    "a transaction is done twice": ("txn", sometimes(("exec", "rpush"), twice), {"duplicate"}),
    "a transaction is refused and done": ("txn", sometimes(("exec", "rpush"), refuse), {"G1a"}),
    "half of a transaction is done": ("txn", sometimes(("exec",), half), {"lost"}),
    "a list is read as it was": ("txn", remember(stale, ("lrange",), 0.2), {"realtime", "G2"}),
    "an append of a transaction is not at the end": ("txn", sometimes(("rpush",), out_of_order), {"incompatible"}),
    "a SET is gone": ("register", sometimes(("set",), forget, 0.1), {"linear"}),
    "a register is read as it was": ("register", remember(stale, ("get",), 0.2), {"linear"}),
    "a SET is refused and done": ("register", sometimes(("set",), refuse, 0.2), {"executed"}),
    "EXEC does not look": ("register", sometimes(("exec",), blind, 1), {"linear"}),
    "EXEC is aborted for nothing": ("register", sometimes(("exec",), abort, 0.1), {"abort"}),
    "an increment is gone": ("counter", sometimes(("incr", "hincrby"), forget), {"counted"}),
    "an increment is done twice": ("counter", sometimes(("zincrby",), twice), {"counted"}),
    "an increment is refused and done": ("counter", sometimes(("incr",), refuse), {"counted"}),
    "half of an EXEC is done": ("pair", sometimes(("exec",), half, 0.05), {"torn"}),
    "an MSET is gone": ("pair", sometimes(("mset",), forget, 0.2), {"linear"}),
    "a pair is read as it was": ("pair", remember(stale, ("mget",), 0.2), {"linear"}),
    "an XACK is gone": ("group", sometimes(("xack",), forget), {"acked"}),
    "an entry is delivered to nobody": ("group", sometimes(("xreadgroup",), skip, 0.02), {"delivered"}),
    "a group reads again": ("group", sometimes(("xreadgroup",), read_back), {"twice", "acked"}),
    "a claim is not counted": ("group", sometimes(("xautoclaim",), uncounted, 0.3), {"count"}),
    "deliveries are counted anew": ("group", sometimes(("xpending",), recount, 0.3), {"count"}),
    "an XADD to a group is gone": ("group", sometimes(("xadd",), forget), {"delivered"}),
    "a popped element stays": ("pop", sometimes(POPS, put_back, 0.1), {"twice"}),
    "a popped element is lost": ("pop", sometimes(POPS, lambda store, session, words, _: (
        store.truth(session, words), None if words[0] != "ZPOPMIN" else [])[1], 0.1), {"lost"}),
    "a pushed element is lost": ("pop", sometimes(("rpush", "zadd", "sadd"), forget), {"lost"}),
    "a refused element is popped": ("pop", sometimes(("rpush", "lpush", "zadd", "sadd"), refuse), {"executed"}),
    "a queue says that it is empty": ("pop", sometimes(("lpop", "rpop", "spop"), lambda *_: None, 0.3), {"asleep"}),
    "who waits for an element is not woken": ("pop", deaf, {"asleep"}),
    "who waits for an entry is not woken": ("group", deaf, {"asleep"}),
    "a moved element is nowhere": ("pop", sometimes(("lmove", "rpoplpush", "blmove"), lambda store, session, words, _: (
        store.truth(session, words), (store.data.get((session.db, "moved")) or [None]).pop())[0], 0.2), {"lost"}),
    "a key dies young": ("expiry", sometimes(("set", "pexpire"), hasten, 0.3), {"early"}),
    "a key rises": ("expiry", sometimes(("get",), resurrect, 0.2), {"risen"}),
    "a key is there too long": ("expiry", sometimes(("set", "pexpire"), linger, 0.3), {"late"}),
    "PERSIST is forgotten": ("expiry", sometimes(("persist",), forget, 1), {"early"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found(lie):
    name, make, rules = LIES[lie]
    found_in = 0
    for seed in range(20):
        found = {v.rule for v in violations(history_of(seed, name, make, seconds=8 if make is deaf else SECONDS))}
        found_in += bool(rules & found)
        if found_in == 3:
            return
    raise AssertionError(f"found in {found_in} of 20 histories; the last: {found}")


# ---- what a fake broker cannot show ----

def test_lost_appends_are_told_by_their_place():
    for first, last, place in ((0, 3, "front"), (-3, None, "end"), (100, 110, "middle")):
        history = history_of(1, "append")
        final = next(f for f in history.finals if f.kind == "list")
        final.result[first:last] = []
        texts = [v.text for v in violations(history) if v.rule == "lost"]
        assert texts and all(f"at the {place}" in text for text in texts), texts


def test_nodes_that_differ_are_found():
    history = history_of(1, "counter")
    history.finals[-1].result += 1
    assert "diverge" in {v.rule for v in violations(history)}


def test_a_refusal_out_of_the_blue_and_one_that_a_fault_should_spare_are_found():
    history = history_of(1, "counter")
    op = history.ops[100]
    op.outcome = "fail"
    assert "doubt" in {v.rule for v in violations(history)}
    other = "n1" if op.node == "n0" else "n0"
    history.faults.append(Fault("kill", other, 0, spares=True))
    assert "doubt" in {v.rule for v in violations(history)}
    history.faults.append(Fault("partition", other, 0))
    assert "doubt" not in {v.rule for v in violations(history)}


def test_one_connection_s_pipeline_keeps_its_order():
    history = history_of(1, "append")
    for first, second in itertools.pairwise(history.ops):
        if first.client == second.client and first.key == second.key and "list" in first.key and first.end_ns > second.start_ns:
            first.value, second.value = second.value, first.value
            first.result, second.result = second.result, first.result
            break
    assert "order" in {v.rule for v in violations(history)}


def test_small_registers_have_the_answers_that_one_can_see():
    def step(start, end, seen, written):
        return Step(start, end, seen, written, (seen, written))
    assert not find_stuck([step(0, 10, ANY, "a"), step(1, 3, None, KEPT), step(2, 5, "a", KEPT)])
    assert find_stuck([step(0, 10, ANY, "a"), step(1, 3, "a", KEPT), step(4, 5, None, KEPT)])
    assert find_stuck([step(0, 1, ANY, "a"), step(2, 3, ANY, "b"), step(4, 5, "a", KEPT)])
    assert not find_stuck([step(0, 9, ANY, "a"), step(0, 9, "a", "b"), step(0, 9, "b", "c"), step(10, 11, "c", KEPT)])
    assert find_stuck([step(0, 9, ANY, "a"), step(0, 9, "a", "b"), step(0, 9, "a", "c")])


def test_a_history_comes_back_from_the_disk_as_it_was(tmp_path):
    history = history_of(5, "group", trouble=0.05)
    history.save(tmp_path / "history")
    back = DataHistory.load(tmp_path / "history")
    assert back == history and back.faults[0].end_ns == FOREVER
