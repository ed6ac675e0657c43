"""manifests: the Kubernetes manifests as an API server would see them, and the options that a pod gets from them."""

import functools
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"
FANFARE = os.environ.get("FANFARE_BIN") or str(ROOT / "build" / "fanfare")
_KUSTOMIZE_VERSION_MIN = 4  # components, replicas, labels; Debian 12's own kubectl has version 2


def _kustomize_version():
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here")
    out = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)\.", json.loads(out).get("kustomizeVersion", ""))
    return int(found.group(1)) if found else 2


@functools.lru_cache
def render(folder):
    """The documents that `kubectl kustomize` makes of a folder under deploy/k8s. Skips where kubectl is too old for them."""
    if _kustomize_version() < _KUSTOMIZE_VERSION_MIN:
        pytest.skip(f"the kubectl here has a kustomize older than version {_KUSTOMIZE_VERSION_MIN}")
    run = subprocess.run(["kubectl", "kustomize", str(K8S / folder)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert not run.stderr, f"kustomize warns: {run.stderr}"
    return list(yaml.safe_load_all(run.stdout))


def find(documents, kind, name=None):
    """The one document of that kind (and name)."""
    found = [d for d in documents if d["kind"] == kind and name in (None, d["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} documents {kind} {name or ''}"
    return found[0]


def pod_template(documents):
    """The pods of the StatefulSet: labels and spec."""
    return find(documents, "StatefulSet")["spec"]["template"]


def container(documents):
    """Their one container."""
    containers = pod_template(documents)["spec"]["containers"]
    assert len(containers) == 1
    return containers[0]


def config_file(documents):
    """The text of the configuration file that the container gets."""
    volumes = {v["name"]: v for v in pod_template(documents)["spec"]["volumes"]}
    config_map = volumes["config"]["configMap"]["name"]
    return find(documents, "ConfigMap", config_map)["data"]["fanfare.conf"]


def environment(documents, pod, namespace):
    """The environment of the container in that pod, as the kubelet would fill it; no secret exists."""
    fields = {"metadata.name": pod, "metadata.namespace": namespace, "metadata.labels['topology.kubernetes.io/zone']": ""}
    filled = {}
    for variable in container(documents)["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            filled[variable["name"]] = fields[source["fieldRef"]["fieldPath"]]
        elif "secretKeyRef" in source:
            assert source["secretKeyRef"]["optional"]
        else:
            filled[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda m: filled[m.group(1)], variable["value"])
    return filled


def options(config_text, env, scratch):
    """{name: value} of the options in effect, as the broker itself understands file and environment."""
    path = pathlib.Path(scratch) / "fanfare.conf"
    path.write_text(config_text)
    run = subprocess.run([FANFARE, "--print-config", str(path)], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = (line for line in run.stdout.splitlines() if line and not line.startswith("#"))
    return {name: value.strip('"') for name, _, value in (line.partition(" ") for line in lines)}
