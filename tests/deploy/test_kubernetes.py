"""The manifests are what the API server takes, fit to one another, and give each pod options that the broker accepts."""

import json
import os
import re

import pytest
from kubernetes_types import check
from manifests import K8S, config_file, container, environment, find, options, pod_template, render

FOLDERS = ("base", "overlays/example")
OPERATOR_KINDS = ("ServiceMonitor", "PrometheusRule")  # types of the Prometheus operator


@pytest.fixture(params=FOLDERS)
def documents(request):
    """What kustomize makes of the base, and of the example."""
    return render(request.param)


@pytest.fixture
def pod_options(documents, tmp_path):
    """The options of the pod fanfare-1 in the namespace `there`."""
    return options(config_file(documents), environment(documents, "fanfare-1", "there"), tmp_path)


def selects(selector, labels):
    """Does the label selector match?"""
    return selector.items() <= labels.items()


def pod_labels(documents):
    return pod_template(documents)["metadata"]["labels"]


def container_ports(documents):
    return {port["name"]: port["containerPort"] for port in container(documents)["ports"]}


def test_every_manifest_has_the_fields_and_types_of_its_kind(documents):
    for document in documents:
        if document["kind"] not in OPERATOR_KINDS:
            assert check(document) == []


def test_the_type_check_finds_unknown_fields_wrong_types_and_missing_ones():
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": "6379", "tragetPort": 1}], "selector": {"a": 1}}}
    problems = "\n".join(check(service))
    assert "Service.spec.ports[0].tragetPort: no such field" in problems
    assert "Service.spec.ports[0].port: expected int" in problems
    assert "Service.spec.selector.a: expected str" in problems
    claim = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {"minAvailable": "1"}}
    assert check(claim) == []
    assert "Invalid value for `selector`" in "\n".join(check({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {}}))


def test_all_selectors_select_the_pods(documents):
    stateful_set = find(documents, "StatefulSet")
    labels = pod_labels(documents)
    assert selects(stateful_set["spec"]["selector"]["matchLabels"], labels)
    for service in (d for d in documents if d["kind"] == "Service"):
        assert selects(service["spec"]["selector"], labels)
    assert selects(find(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels)
    assert selects(find(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels)
    for spread in pod_template(documents)["spec"]["topologySpreadConstraints"]:
        assert selects(spread["labelSelector"]["matchLabels"], labels)


def test_one_node_is_disrupted_at_a_time_and_all_start_at_once(documents):
    assert find(documents, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert find(documents, "StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"
    spread = [c["topologyKey"] for c in pod_template(documents)["spec"]["topologySpreadConstraints"]]
    assert spread == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


def test_services_lead_to_ports_that_the_broker_listens_on(documents, pod_options):
    ports = container_ports(documents)
    for name, option in (("redis", "listen"), ("peer", "peer-listen"), ("raft", "raft-listen"), ("http", "http-listen")):
        listens_on = {int(address.rpartition(":")[2]) for address in pod_options[option].split()}
        assert listens_on == {ports[name]}
    for service in (d for d in documents if d["kind"] == "Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]


def test_peers_are_found_before_they_are_ready(documents, pod_options):
    peers = find(documents, "Service", find(documents, "StatefulSet")["spec"]["serviceName"])
    assert peers["spec"]["clusterIP"] == "None"
    assert peers["spec"]["publishNotReadyAddresses"] is True
    assert pod_options["join"] == f"{peers['metadata']['name']}:{container_ports(documents)['raft']}"
    assert pod_options["advertise"] == f"fanfare-1.{peers['metadata']['name']}.there.svc"
    assert pod_options["name"] == "fanfare-1"
    assert int(pod_options["expect"]) == 3
    assert int(pod_options["partitions"]) == 16


def test_threads_are_as_many_as_the_cores_that_are_asked_for(documents, pod_options):
    resources = container(documents)["resources"]
    assert resources["requests"]["cpu"] == pod_options["threads"]
    assert "cpu" not in resources["limits"]


def test_a_pod_that_ends_has_time_to_drain(documents, pod_options):
    command = container(documents)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "/bin/sleep"
    grace_s = pod_template(documents)["spec"]["terminationGracePeriodSeconds"]
    assert grace_s >= int(command[1]) + 2 * int(pod_options["shutdown-timeout"])


def test_each_probe_asks_its_own_question(documents):
    one = container(documents)
    probes = {name: one[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    assert all(probe["port"] == "http" for probe in probes.values())


def test_pods_keep_the_restricted_security_standard(documents):
    spec = pod_template(documents)["spec"]
    one = container(documents)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert all(volume.keys() <= {"name", "configMap", "secret"} for volume in spec["volumes"])


def test_a_service_called_fanfare_does_not_fill_the_environment(documents):
    assert pod_template(documents)["spec"]["enableServiceLinks"] is False


def test_the_data_directory_is_the_only_place_to_write(documents, pod_options):
    claims = [claim["metadata"]["name"] for claim in find(documents, "StatefulSet")["spec"]["volumeClaimTemplates"]]
    writable = [mount for mount in container(documents)["volumeMounts"] if not mount.get("readOnly")]
    assert [mount["name"] for mount in writable] == claims
    assert writable[0]["mountPath"] == pod_options["dir"]


def allowed(rules, port, direction):
    """Who is allowed on that port: the peers of every rule that has it."""
    return [peer for rule in rules for p in rule["ports"] if p["port"] == port for peer in rule.get(direction, ["anyone"])]


def test_the_network_policy_lets_in_clients_peers_and_monitoring_each_on_their_ports(documents):
    spec = find(documents, "NetworkPolicy")["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    ports = container_ports(documents)
    assert {p["port"] for rule in spec["ingress"] for p in rule["ports"]} == set(ports.values())
    for name in ("peer", "raft"):
        for rules, direction in ((spec["ingress"], "from"), (spec["egress"], "to")):
            (peer,) = allowed(rules, ports[name], direction)
            assert peer.keys() == {"podSelector"}
            assert selects(peer["podSelector"]["matchLabels"], pod_labels(documents))
    assert all(peer.keys() == {"namespaceSelector"} for peer in allowed(spec["ingress"], ports["redis"], "from"))
    assert allowed(spec["ingress"], ports["http"], "from") == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert allowed(spec["egress"], 53, "to") == ["anyone", "anyone"]


def test_a_changed_configuration_restarts_the_pods(documents):
    names = [d["metadata"]["name"] for d in documents if d["kind"] == "ConfigMap" and "fanfare.conf" in d["data"]]
    assert len(names) == 1
    assert re.fullmatch(r"fanfare-[a-z0-9]{10}", names[0])


def test_the_example_is_scraped_watched_and_shown():
    documents = render("overlays/example")
    monitor = find(documents, "ServiceMonitor")["spec"]
    chosen = [d for d in documents if d["kind"] == "Service" and selects(monitor["selector"]["matchLabels"], d["metadata"]["labels"])]
    assert [service["metadata"]["name"] for service in chosen] == ["fanfare-peers"]
    port_names = [port["name"] for port in chosen[0]["spec"]["ports"]]
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == ["http"]
    assert "http" in port_names
    assert chosen[0]["metadata"]["labels"][monitor["jobLabel"]] == "fanfare"  # the rules say job="fanfare"
    assert find(documents, "PrometheusRule")["spec"]["groups"]
    assert "fanfare.json" in find(documents, "ConfigMap", "fanfare-dashboard")["data"]


def test_the_example_runs_in_one_namespace_with_an_image_of_its_own():
    documents = render("overlays/example")
    namespace = find(documents, "Namespace")["metadata"]["name"]
    assert {d["metadata"].get("namespace", namespace) for d in documents} == {namespace}
    assert re.fullmatch(r"[\w.]+/fanfare:[\d.]+", container(documents)["image"])


def test_the_component_certificates_gives_each_pod_a_certificate_of_its_own(tmp_path):
    overlay = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
               "resources": [os.path.relpath(K8S / "base", tmp_path.resolve())],
               "components": [os.path.relpath(K8S / "certificates", tmp_path.resolve())]}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(overlay))
    documents = render(tmp_path)
    assert check(find(documents, "StatefulSet")) == []
    settings = options(config_file(documents), environment(documents, "fanfare-1", "there"), tmp_path)
    spec = pod_template(documents)["spec"]
    volume = next(v["csi"]["volumeAttributes"] for v in spec["volumes"] if "csi" in v)
    mounted = next(m["mountPath"] for m in container(documents)["volumeMounts"] if m["name"] == "certificate")
    assert settings["cluster-tls"] == "yes" and settings["cluster-secret-file"] == "/etc/fanfare-cluster/secret"
    for kind, name in (("ca", "ca.crt"), ("cert", "tls.crt"), ("key", "tls.key")):
        assert settings[f"cluster-{kind}-file"] == f"{mounted}/{name}"
    # The driver puts the pod's name there, which is the node's; both ends of a link show the certificate.
    assert volume["csi.cert-manager.io/dns-names"] == "${POD_NAME}" and settings["name"] == "fanfare-1"
    assert {"server auth", "client auth"} <= set(volume["csi.cert-manager.io/key-usages"].split(","))
    assert volume["csi.cert-manager.io/fs-group"] == str(spec["securityContext"]["fsGroup"])
    issuer = find(documents, "Issuer", volume["csi.cert-manager.io/issuer-name"])
    authority = find(documents, "Certificate")["spec"]
    assert authority["isCA"] and authority["secretName"] == issuer["spec"]["ca"]["secretName"]
    assert find(documents, "Issuer", authority["issuerRef"]["name"])["spec"] == {"selfSigned": {}}
    # What is left when it is renewed is more than what the alert goes off at.
    hours = {key: int(volume[f"csi.cert-manager.io/{key}"][:-1]) for key in ("duration", "renew-before")}
    assert hours["duration"] > hours["renew-before"] > 14 * 24
