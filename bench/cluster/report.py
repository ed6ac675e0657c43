"""report: the tables of a run of bench/cluster.sh, each goal beside what was reached."""

import throughput
from faults import median

COST_GOAL = {3: 0.6}
"""CPU per delivered message as a part of Redis Cluster's plain pub/sub, by the count of nodes; else COST_GOAL_ELSE."""

COST_GOAL_ELSE = 1.0
PEER_GOAL = 2.0
"""Messages between nodes per publish with interest on one node: to the owner, and from it, whatever the size."""

HOP_GOAL = 3.0
TLS_GOAL = 1.3
KILL_MEDIAN_GOAL_S, KILL_WORST_GOAL_S, DRAIN_MEDIAN_GOAL_S = 2.0, 5.0, 0.2


def number(value):
    """Three significant digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def ratio(value, base):
    """None if there is nothing to compare."""
    return value / base if value is not None and base else None


def verdict(is_reached):
    """A word."""
    return "reached" if is_reached else "MISSED"


def print_columns(rows, left):
    """Columns as wide as need be; the first `left` begin at the left, the others end at the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) if i < left else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def _cost_row(bench, size, shape, interest, names):
    labels = {name: f"{size}/{shape}-{interest}/{name}" for name in names}
    cost = {name: bench.median(label, "cpu_us_per_delivery") for name, label in labels.items()}
    if not any(cost.values()):
        return None
    per_publish = {name: bench.median(label, "cpu_us_per_publish") for name, label in labels.items()}
    peers = {name: bench.median(label, "peer_per_publish") for name, label in labels.items()}
    noise = max(bench.spread(label, "cpu_us_per_delivery") for label in labels.values())
    against = {name: ratio(cost.get("fanfare"), cost.get(name)) for name in ("redis", "nats")}
    goal = COST_GOAL.get(size, COST_GOAL_ELSE)
    is_judged = against["redis"] is not None and interest != "shard" and size > 1
    row = [str(size), f"{shape}-{interest}", *(number(cost[name]) for name in names), number(against["redis"]),
           number(against["nats"]), f"<= {goal:g}" if is_judged else "-",
           verdict(against["redis"] <= goal) if is_judged else "-",
           *(number(per_publish[name]) for name in names), *(number(peers[name]) for name in names)]
    return [*row, f"{noise * 100:.0f} %"]


def print_costs(options, bench):
    """The table of CPU and of messages between nodes. Returns nothing: a missed goal is no failure to measure."""
    names = [kind.name for kind in options.chosen]
    rows = [["nodes", "scenario", *(f"{name} us/dlv" for name in names), "/redis", "/nats", "goal", "verdict",
             *(f"{name} us/pub" for name in names), *(f"{name} peer/pub" for name in names), "noise"]]
    for size in options.sizes:
        for shape in options.shapes:
            for interest in throughput.INTERESTS:
                row = _cost_row(bench, size, shape, interest, names)
                rows += [row] if row else []
    print("\nCPU of all nodes per delivered message and per publish, messages between nodes per publish")
    print_columns(rows, 2)
    peers = {size: [run["peer_per_publish"] for run in bench.runs if run["label"].startswith(f"{size}/")
                    and run["label"].endswith("-one/fanfare")] for size in options.sizes}
    most = {size: max(values) for size, values in peers.items() if values}
    if most:
        print(f"messages between nodes per publish, interest on one node: goal <= {PEER_GOAL:g} at every size; reached "
              + ", ".join(f"{size}: {value:.2f}" for size, value in most.items())
              + f": {verdict(max(most.values()) <= PEER_GOAL)}")


def print_tls(options, bench):
    """What TLS between nodes adds, where fanfare was measured with and without."""
    rows = [["nodes", "scenario", "plain us/dlv", "tls us/dlv", "ratio", "goal", "verdict"]]
    for size in options.sizes:
        for shape in options.shapes:
            for interest in throughput.INTERESTS:
                plain, tls = (bench.median(f"{size}/{shape}-{interest}/{name}", "cpu_us_per_delivery")
                              for name in ("fanfare", "fanfare-tls"))
                if not plain or not tls or size == 1:
                    continue
                is_judged = shape.startswith("pipe") and interest != "shard"
                rows.append([str(size), f"{shape}-{interest}", number(plain), number(tls), number(tls / plain),
                             f"<= {TLS_GOAL:g}" if is_judged else "-",
                             verdict(tls / plain <= TLS_GOAL) if is_judged else "-"])
    if len(rows) > 1:
        print("\nCPU of all nodes per delivered message with mutual TLS between them, and without")
        print_columns(rows, 2)


def print_hops(bench):
    """The table of the way to the owner."""
    rows = [["hop", "owner p50 us", "elsewhere p50 us", "ratio", "added us", "goal", "verdict", "noise"]]
    for title in throughput.HOPS:
        here, there = (bench.median(f"hop/{title}/{place}", "reply_p50_us") for place in (0, 1))
        if here is None or there is None:
            continue
        noise = max(bench.spread(f"hop/{title}/{place}", "reply_p50_us") for place in (0, 1))
        rows.append([title, number(here), number(there), number(there / here), number(there - here),
                     f"< {HOP_GOAL:g}", verdict(there / here < HOP_GOAL), f"{noise * 100:.0f} %"])
    print("\nPublish on another node than the owner, from sending to the reply")
    print_columns(rows, 1)


def _wrong(results):
    """What should not have been, in words, and whether there was any."""
    kinds = ("lost", "repeated", "reordered", "refused but delivered")
    counts = {kind: sum(result["wrong"].get(kind, 0) for result in results) for kind in kinds}
    counts["clients of other nodes disconnected"] = sum(result["disconnected"] for result in results)
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return text, not any(counts.values())


def _outcomes(results):
    """How the publishes ended, in words."""
    counts = {}
    for result in results:
        for outcome, count in result["outcomes"].items():
            counts[outcome] = counts.get(outcome, 0) + count
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def _print_soundness(results, asked):
    text, is_sound = _wrong(results)
    print(f"  publishes: {_outcomes(results)}")
    print(f"  goal none of these; reached: {text}: {verdict(is_sound)}")
    unsettled = sum(not result["is_settled"] for result in results)
    if unsettled:
        print(f"  the cluster was not at rest again in time after {unsettled} of them: the last of {len(results)}, "
              f"{asked} were asked for")
    back = [pause for result in results for pause in result["back"]]
    print(f"  the node's return, per partition: pause median {median(back) * 1e3:.0f} ms, worst "
          f"{max(back) * 1e3:.0f} ms; all at rest after "
          f"{median(result['settle_s'] for result in results):.1f} s (median)")
    return is_sound and not unsettled


def _print_context(results):
    for was_leader, whose in ((True, "the control leader"), (False, "another node")):
        longest = [max(result["unaffected"]) for result in results if result["was_leader"] == was_leader]
        if longest:
            print(f"  meanwhile at partitions of other owners, when {whose} went ({len(longest)} times): "
                  f"longest publish {median(longest) * 1e3:.0f} ms (median), {max(longest) * 1e3:.0f} ms (worst)")
    print(f"  the clients' own longest stall {max(result['stall_s'] for result in results) * 1e3:.0f} ms")


def print_failover(results, asked):
    """Kills. Returns whether nothing was lost, repeated, reordered or disconnected."""
    times = [result["works_after_s"] for result in results]
    middle, worst = median(times), max(times)
    print(f"\nFailover: kill -9 of an owner under load, {len(results)} times "
          f"({sum(result['was_leader'] for result in results)} of them the control leader)")
    print("  publishing to all its channels works again, from every node: goal median <= "
          f"{KILL_MEDIAN_GOAL_S:g} s, worst <= {KILL_WORST_GOAL_S:g} s; reached median {middle:.2f} s: "
          f"{verdict(middle <= KILL_MEDIAN_GOAL_S)}, worst "
          f"{worst:.2f} s: {verdict(worst <= KILL_WORST_GOAL_S)}")
    print("  each: " + " ".join(f"{time:.2f}" for time in times))
    _print_context(results)
    return _print_soundness(results, asked)


def print_drain(results, asked):
    """Drains. Returns whether nothing was lost, repeated, reordered or disconnected."""
    pauses = [pause for result in results for pause in result["pauses"]]
    middle = median(pauses)
    print(f"\nDrain: SIGTERM of a node under load, {len(results)} times, {len(pauses)} partitions moved")
    print(f"  longest publish per partition: goal median <= {DRAIN_MEDIAN_GOAL_S * 1e3:.0f} ms; reached median "
          f"{middle * 1e3:.0f} ms: {verdict(middle <= DRAIN_MEDIAN_GOAL_S)}, worst {max(pauses) * 1e3:.0f} ms; "
          f"the process ended after {median(result['exit_s'] for result in results):.2f} s (median), exit codes "
          f"{sorted({result['exit_code'] for result in results})}")
    _print_context(results)
    return _print_soundness(results, asked)


def print_turns(acts):
    """How long the loops stood still."""
    over = sum(act["over_20_ms"] for act in acts)
    print(f"\nTurns of the workers' loops: goal none over 20 ms; there were {over}: {verdict(over == 0)}")
    rows = [[act["act"], f"{act['seconds']:.1f}", str(act["over_20_ms"]), f"{act['longest_s'] * 1e3:.0f}"]
            for act in acts]
    print_columns([["what happened", "s", "over 20 ms", "longest, ms, at most"], *rows], 1)


def print_all(options, bench, seen):
    """Everything that was measured. Returns whether all ran and no message was wrong."""
    is_sound = not bench.failures
    if "throughput" in options.only:
        print_costs(options, bench)
        print_tls(options, bench)
    if "hop" in options.only:
        print_hops(bench)
    if seen.get("failover"):
        is_sound &= print_failover(seen["failover"], options.faults)
    if seen.get("drain"):
        is_sound &= print_drain(seen["drain"], options.faults)
    if seen.get("turns"):
        print_turns(seen["turns"])
    for failure in bench.failures:
        print(f"FAILED: {failure}")
    return is_sound
