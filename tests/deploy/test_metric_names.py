"""Every series that an alert or a panel asks for is one that the nodes of a cluster give."""

import json
import re

import pytest
import yaml
from lib import prometheus
from lib.certificates import Authority
from lib.cluster import FORM_DEADLINE_S, Cluster
from lib.cluster_scene import publish
from lib.wait import wait_until
from manifests import K8S, ROOT
from promql import TARGET_LABELS, grouping_labels, select, selectors

DASHBOARD = ROOT / "deploy" / "grafana" / "fanfare.json"
RULES = K8S / "monitoring" / "rules.yaml"


def alert_expressions():
    """{where: expression} of all alerts."""
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def panels():
    """The panels that draw something."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def panel_expressions():
    """{where: expression} of all panels, annotations and variables."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]}
    found |= {note["name"]: note["expr"] for note in dashboard["annotations"]["list"]}
    found |= {f"variable {v['name']}": v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"}
    return {where: re.sub(r"\$\w+", "1m", expression) for where, expression in found.items()}


def scrape(node):
    """All samples of a node."""
    return prometheus.parse(node.page("/metrics", timeout_s=10).text).samples


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """All samples of three nodes that have formed a cluster, and of one that has lost it: each code and each command
    has a series from its first occurrence on."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    pair = authority.sign("node", names="subjectAltName=" + ",".join(f"DNS:fanfare-{n}" for n in range(3)))
    cluster = Cluster(3, options={"cluster-node-timeout": 500, "cluster-timeout": 1000, "tls-port": 6380, "tls-auth-clients": "no",
                                  "tls-cert-file": pair.cert, "tls-key-file": pair.key, "cluster-tls": "yes",
                                  "cluster-ca-file": authority.cert, "cluster-cert-file": pair.cert,
                                  "cluster-key-file": pair.key})
    try:
        cluster.start()
        samples = {}
        for node in cluster:
            samples |= scrape(node)
        last, *others = cluster
        for node in others:
            node.kill()
        wait_until(lambda: not last.is_ready(), what="it misses its cluster")
        assert str(publish(last, "c")).startswith("CLUSTERDOWN")
        yield samples | scrape(last)
    finally:
        cluster.close()


def test_ready_on_metrics_is_what_readyz_says():
    cluster = Cluster(2, expect=2)
    try:
        cluster[0].begin()
        wait_until(lambda: cluster[0].page("/startupz"), what="it answers")
        assert not cluster[0].is_ready() and scrape(cluster[0])[("fanfare_ready", ())] == 0
        cluster[1].begin()
        wait_until(cluster[0].is_ready, FORM_DEADLINE_S)
        wait_until(lambda: scrape(cluster[0])[("fanfare_ready", ())] == 1, what="the page is printed anew")
    finally:
        cluster.close()


@pytest.mark.parametrize("expressions", [alert_expressions(), panel_expressions()], ids=["alerts", "panels"])
def test_every_series_asked_for_exists(expressions, scraped):
    assert expressions
    missing = [f"{where}: {name} {labels}" for where, expression in expressions.items()
               for name, labels in selectors(expression) if not select(scraped, name, labels)]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("expressions", [alert_expressions(), panel_expressions()], ids=["alerts", "panels"])
def test_every_label_grouped_by_exists(expressions, scraped):
    for where, expression in expressions.items():
        present = {label for name, labels in selectors(expression) for key in select(scraped, name, labels) for label, _ in key[1]}
        assert grouping_labels(expression) <= present | TARGET_LABELS, where


def test_selectors_are_read_as_prometheus_reads_them():
    asked = selectors('sum by (err) (rate(redis_errors_total{job="x",err=~"A|B"}[5m])) / fanfare_ready > 0')
    assert asked == [("redis_errors_total", {"err": ("=~", "A|B")}), ("fanfare_ready", {})]
    samples = {("redis_errors_total", (("err", "B"),)): 1, ("redis_errors_total", (("err", "C"),)): 2}
    assert list(select(samples, *asked[0]).values()) == [1]
    assert select(samples, *asked[1]) == {}


def test_panels_do_not_overlap_and_have_a_title_of_their_own():
    taken = set()
    titles = [panel["title"] for panel in panels()]
    assert len(titles) == len(set(titles))
    for panel in panels():
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
