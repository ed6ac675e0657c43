"""Each alert fires at its fault, after its time, and no other alert does: decided by promtool, Prometheus's own engine.

A case is a healthy cluster of two nodes with some series changed.
"""

import pathlib
import shutil
import subprocess

import pytest
import yaml
from manifests import K8S

NODE = 'job="fanfare",namespace="n",instance="a"'
OTHER = 'job="fanfare",namespace="n",instance="b"'
RULES = K8S / "monitoring" / "rules.yaml"

# Series every 15 s, in promtool's notation: "start+step x count".
HEALTHY = {
    f"up{{{NODE}}}": "1x80",
    f"up{{{OTHER}}}": "1x80",
    f"fanfare_ready{{{NODE}}}": "1x80",
    f"fanfare_ready{{{OTHER}}}": "1x80",
    f"fanfare_cluster_members{{{NODE}}}": "2x80",
    f"fanfare_cluster_members_up{{{NODE}}}": "2x80",
    f"fanfare_cluster_partitions_unowned{{{NODE}}}": "0x80",
    f"fanfare_cluster_partitions_unowned{{{OTHER}}}": "0x80",
    f"fanfare_cluster_partitions_warming{{{NODE}}}": "0x80",
    f"fanfare_partitions_unserved{{{NODE}}}": "0x80",
    f"fanfare_partitions_lost{{{NODE}}}": "0x80",
    f"fanfare_raft_has_leader{{{NODE}}}": "1x80",
    f"fanfare_raft_has_leader{{{OTHER}}}": "1x80",
    f"fanfare_raft_term{{{NODE}}}": "3x80",
    f'fanfare_peer_up{{{NODE},peer="b"}}': "1x80",
    f'fanfare_peer_queued_bytes{{{NODE},peer="b"}}': "1000x80",
    f"fanfare_peer_queue_limit_bytes{{{NODE}}}": "64000000x80",
    f"fanfare_subscribers_dropped_total{{{NODE}}}": "7x80",
    f'redis_errors_total{{{NODE},err="ERR"}}': "0+10x80",
    f'redis_errors_total{{{NODE},err="CLUSTERDOWN"}}': "2x80",
    f'redis_errors_total{{{NODE},err="INDOUBT"}}': "1x80",
    f"redis_rejected_connections_total{{{NODE}}}": "4x80",
    f"fanfare_partitions_unled{{{NODE}}}": "0x80",
    f"fanfare_partitions_lost{{{NODE}}}": "0x80",
    f"fanfare_partition_digest_mismatches_total{{{NODE}}}": "0x80",
    f"fanfare_partition_rebuilds_total{{{NODE}}}": "1x80",
    f"fanfare_replicas_damaged{{{NODE}}}": "0x80",
    f"fanfare_raft_groups_stopped{{{NODE}}}": "0x80",
    f"fanfare_partition_apply_lag_max{{{NODE}}}": "100x80",
    f"fanfare_store_used_bytes_max{{{NODE}}}": "50x80",
    f"fanfare_store_map_bytes{{{NODE}}}": "100x80",
    f"fanfare_raft_disk_sync_seconds_sum{{{NODE}}}": "0+1x80",
    f"fanfare_raft_disk_sync_seconds_count{{{NODE}}}": "0+100x80",
    f"fanfare_raft_disk_stuck{{{NODE}}}": "0x80",
    f"fanfare_raft_disk_full{{{NODE}}}": "0x80",
    f"fanfare_disk_free_bytes{{{NODE}}}": "80x80",
    f"fanfare_disk_size_bytes{{{NODE}}}": "100x80",
    f"process_open_fds{{{NODE}}}": "100x80",
    f"fanfare_tls_certificate_expiry_seconds{{{NODE}}}": "2000000x80",
    f"fanfare_cluster_certificate_expiry_seconds{{{NODE}}}": "2000000x80",
    f"process_max_fds{{{NODE}}}": "1000x80",
}

AT_A = {"job": "fanfare", "namespace": "n", "instance": "a"}
IN_N = {"namespace": "n"}

# What changes, at which minute nothing fires yet, at which minute this fires: {alert: labels}.
CASES = {
    "a node does not answer": (
        {f"up{{{NODE}}}": "1x4 0x76"}, "1m30s", "3m", {"FanfareNodeDown": AT_A}),
    "a member is down, as the cluster sees it; links to it are no news": (
        {f"fanfare_cluster_members_up{{{NODE}}}": "1x80", f'fanfare_peer_up{{{NODE},peer="b"}}': "0x80"},
        "4m", "6m", {"FanfareMemberDown": IN_N}),
    "nobody knows a leader": (
        {f"fanfare_raft_has_leader{{{NODE}}}": "0x80", f"fanfare_raft_has_leader{{{OTHER}}}": "0x80"},
        "15s", "2m", {"FanfareNoLeader": IN_N}),
    "one node knows no leader, but another one does": (
        {f"fanfare_raft_has_leader{{{NODE}}}": "0x80"}, "1m", "10m", {}),
    "an election every minute": (
        {f"fanfare_raft_term{{{NODE}}}": " ".join(f"{term}x3" for term in range(1, 16))}, "4m", "12m", {"FanfareLeaderUnstable": IN_N}),
    "one election": (
        {f"fanfare_raft_term{{{NODE}}}": "3x20 4x60"}, "4m", "12m", {}),
    "all maps have partitions without an owner": (
        {f"fanfare_cluster_partitions_unowned{{{NODE}}}": "5x80", f"fanfare_cluster_partitions_unowned{{{OTHER}}}": "5x80"},
        "15s", "2m", {"FanfarePartitionsUnowned": IN_N}),
    "an owner does not begin": (
        {f"fanfare_cluster_partitions_warming{{{NODE}}}": "2x80"}, "45s", "2m", {"FanfarePartitionsWarming": AT_A}),
    "a node cannot use a partition": (
        {f"fanfare_partitions_unserved{{{NODE}}}": "1x80"}, "15s", "2m", {"FanfarePartitionsUnserved": AT_A}),
    "a partition whose keys nobody has": (
        {f"fanfare_partitions_lost{{{NODE}}}": "0x3 1x80"}, "15s", "2m", {"FanfarePartitionsLost": AT_A}),
    "a node is not ready": (
        {f"fanfare_ready{{{NODE}}}": "0x80"}, "1m", "3m", {"FanfareNotReady": AT_A}),
    "no link between two members that are up": (
        {f'fanfare_peer_up{{{NODE},peer="b"}}': "0x80"}, "45s", "2m", {"FanfarePeerLinkDown": {**AT_A, "peer": "b"}}),
    "a queue is more than half full": (
        {f'fanfare_peer_queued_bytes{{{NODE},peer="b"}}': "40000000x80"}, "45s", "2m",
        {"FanfareLinkQueueHigh": {"namespace": "n", "instance": "a", "job": "fanfare", "peer": "b"}}),
    "a slow subscriber is closed": (
        {f"fanfare_subscribers_dropped_total{{{NODE}}}": "7x8 8x72"}, "1m45s", "3m", {"FanfareSubscribersDropped": AT_A}),
    "a slow subscriber was closed long ago": (
        {f"fanfare_subscribers_dropped_total{{{NODE}}}": "7x8 8x72"}, "1m", "10m", {}),
    "clients get CLUSTERDOWN for minutes": (
        {f'redis_errors_total{{{NODE},err="CLUSTERDOWN"}}': "2+3x80"}, "2m", "5m",
        {"FanfareErrorsToClients": {"namespace": "n", "instance": "a", "err": "CLUSTERDOWN"}}),
    "one failover's errors": (
        {f'redis_errors_total{{{NODE},err="INDOUBT"}}': "1x8 50x72"}, "2m30s", "5m", {}),
    "connections are refused": (
        {f"redis_rejected_connections_total{{{NODE}}}": "4x8 5x72"}, "1m45s", "3m", {"FanfareConnectionsRejected": AT_A}),
    "nobody is known to lead a partition's keys": (
        {f"fanfare_partitions_unled{{{NODE}}}": "2x80"}, "45s", "2m", {"FanfarePartitionsUnled": AT_A}),
    "a failover": (
        {f"fanfare_partitions_unled{{{NODE}}}": "0x4 6x2 0x74"}, "1m30s", "3m", {}),
    "a replica differs": (
        {f"fanfare_partition_digest_mismatches_total{{{NODE}}}": "0x8 1x72"}, "1m45s", "3m", {"FanfareReplicaDiffers": AT_A}),
    "a store is made anew": (
        {f"fanfare_partition_rebuilds_total{{{NODE}}}": "1x8 2x72"}, "1m45s", "3m", {"FanfareStoreRebuilt": AT_A}),
    "a damaged replica does not come back": (
        {f"fanfare_replicas_damaged{{{NODE}}}": "1x80"}, "9m", "11m", {"FanfareReplicaStopped": AT_A}),
    "a group of the log has stopped": (
        {f"fanfare_raft_groups_stopped{{{NODE}}}": "1x80"}, "9m", "11m", {"FanfareReplicaStopped": AT_A}),
    "a replica is far behind": (
        {f"fanfare_partition_apply_lag_max{{{NODE}}}": "5000x80"}, "1m45s", "3m", {"FanfareApplyLag": AT_A}),
    "a store is nearly as large as it may be": (
        {f"fanfare_store_used_bytes_max{{{NODE}}}": "85x80"}, "4m", "6m", {"FanfareStoreFilling": AT_A}),
    "flushes take 100 ms": (
        {f"fanfare_raft_disk_sync_seconds_sum{{{NODE}}}": "0+10x80"}, "4m", "6m", {"FanfareFlushesSlow": AT_A}),
    "nothing is flushed": (
        {f"fanfare_raft_disk_sync_seconds_sum{{{NODE}}}": "9x80", f"fanfare_raft_disk_sync_seconds_count{{{NODE}}}": "9x80"}, "4m", "10m", {}),
    "a flush does not end": (
        {f"fanfare_raft_disk_stuck{{{NODE}}}": "1x80"}, "15s", "1m", {"FanfareDiskStuck": AT_A}),
    "writes are refused": (
        {f"fanfare_raft_disk_full{{{NODE}}}": "1x80"}, "45s", "2m", {"FanfareWritesRefused": AT_A}),
    "the disk fills": (
        {f"fanfare_disk_free_bytes{{{NODE}}}": "10x80"}, "4m", "6m", {"FanfareDiskFilling": AT_A}),
    "the disk is full": (
        {f"fanfare_disk_free_bytes{{{NODE}}}": "1x80"}, "45s", "2m", {"FanfareDiskFull": AT_A}),
    "few descriptors are left": (
        {f"process_open_fds{{{NODE}}}": "950x80"}, "4m", "6m", {"FanfareDescriptorsShort": AT_A}),
    "a certificate holds for another week": (
        {f"fanfare_tls_certificate_expiry_seconds{{{NODE}}}": "600000-15x80"}, "9m", "11m", {"FanfareCertificateExpires": AT_A}),
    "a certificate has expired": (
        {f"fanfare_tls_certificate_expiry_seconds{{{NODE}}}": "0x80"}, "45s", "2m", {"FanfareCertificateExpired": AT_A}),
    "the last replica of a partition is lost": (
        {f"fanfare_partitions_lost{{{NODE}}}": "0x4 1x76"}, "45s", "2m", {"FanfarePartitionsLost": AT_A}),
    "a node's certificate holds for another week": (
        {f"fanfare_cluster_certificate_expiry_seconds{{{NODE}}}": "600000-15x80"}, "9m", "11m",
        {"FanfareClusterCertificateExpires": AT_A}),
    "a healthy cluster": ({}, "1m", "15m", {}),
}


@pytest.fixture(scope="module")
def groups():
    """The rule groups."""
    return yaml.safe_load(RULES.read_text())["spec"]["groups"]


@pytest.fixture(scope="module")
def alerts(groups):
    """{name: rule}."""
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def promtool(*args, cwd):
    """Run promtool; its output if it finds fault."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool here")
    run = subprocess.run(["promtool", *args], cwd=cwd, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_prometheus_takes_the_rules(groups, tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yaml", cwd=tmp_path)


def test_every_alert_says_what_it_is_how_bad_and_what_to_do(alerts):
    for name, rule in alerts.items():
        assert name.startswith("Fanfare")
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_every_alert_has_a_case_in_which_it_fires(alerts):
    assert set(alerts) == {name for *_, firing in CASES.values() for name in firing}


@pytest.mark.parametrize("name", CASES)
def test_alerts_fire_at(name, groups, alerts, tmp_path):
    changed, quiet_at, fires_at, firing = CASES[name]
    assert changed.keys() <= HEALTHY.keys()
    bare = [{**group, "rules": [{**rule, "annotations": {}} for rule in group["rules"]]} for group in groups]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": bare}))

    def expected(alert, labels):
        return [{"exp_labels": {**labels, "severity": alerts[alert]["labels"]["severity"]}, "exp_annotations": {}}]

    checks = [{"eval_time": quiet_at, "alertname": alert, "exp_alerts": []} for alert in alerts]
    checks += [{"eval_time": fires_at, "alertname": alert, "exp_alerts": expected(alert, firing[alert]) if alert in firing else []}
               for alert in alerts]
    series = [{"series": key, "values": value} for key, value in {**HEALTHY, **changed}.items()]
    (tmp_path / "case.yaml").write_text(yaml.safe_dump({
        "rule_files": ["rules.yaml"], "evaluation_interval": "15s",
        "tests": [{"interval": "15s", "input_series": series, "alert_rule_test": checks}]}))
    promtool("test", "rules", "case.yaml", cwd=pathlib.Path(tmp_path))
