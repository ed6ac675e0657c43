"""statefulset: a cluster under test as Kubernetes would run it: a network namespace for each pod, names that stay and
addresses that change at each start, and the configuration, environment, probes and services of deploy/k8s/base.

What is not here: preStop's sleep (it waits for kube-proxy, which is not here either), and the container's own file
system and user (test_image.py).
"""

import contextlib
import os
import signal
import time

import yaml
from lib.cluster import Cluster, Node
from lib.netns import ETC, LINE_BYTES, Network
from lib.wait import DEADLINE_S, meanwhile, wait_until
from manifests import K8S, container, environment, find

NAMESPACE = "there"
BASE = K8S / "base"
STATEFUL_SET = list(yaml.safe_load_all((BASE / "statefulset.yaml").read_text()))
SPEC = find(STATEFUL_SET, "StatefulSet")["spec"]
GRACE_S = SPEC["template"]["spec"]["terminationGracePeriodSeconds"]
PRE_STOP_S = int(container(STATEFUL_SET)["lifecycle"]["preStop"]["exec"]["command"][1])


def secret_path():
    """Where the container finds the key `secret` of the secret fanfare-cluster."""
    (volume,) = [v["name"] for v in SPEC["template"]["spec"]["volumes"] if v.get("secret", {}).get("secretName") == "fanfare-cluster"]
    (mount,) = [m for m in container(STATEFUL_SET)["volumeMounts"] if m["name"] == volume]
    assert mount["readOnly"]
    return f"{mount['mountPath']}/secret"


def probe(kind):
    """The page that the kubelet asks for: startup, readiness, liveness."""
    return container(STATEFUL_SET)[f"{kind}Probe"]["httpGet"]["path"]


class PodNetwork(Network):
    """Pods are found by name, and all of them by the name of the headless service, as long as they exist."""

    def __init__(self):
        self.existing = set()
        super().__init__()

    def host(self, name):
        """The pod's own name in the DNS."""
        return f"{name}.{SPEC['serviceName']}.{NAMESPACE}.svc"

    def exist(self, name, exists):
        """A pod appears in the DNS, or disappears."""
        (self.existing.add if exists else self.existing.discard)(name)
        self._write_hosts()

    def _write_hosts(self):
        lines = ["127.0.0.1 localhost"]
        for name, address in self.addresses.items():
            lines.append(f"{address} {self.host(name)} {SPEC['serviceName']}" if name in self.existing else "")
        data = "".join(line.ljust(LINE_BYTES - 1) + "\n" for line in lines).encode()
        for name in self.addresses:
            handle = os.open(ETC / self._namespace(name) / "hosts", os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(handle, data, 0)
            os.close(handle)


class PodProgram:
    """The container's entry point; only the data directory is this pod's instead of a volume."""

    def __init__(self, path):
        self.path = path

    def argv(self, pod):
        """The command line."""
        return [*pod.cluster.world.prefix(pod.name), "setpriv", "--pdeathsig", "KILL", "--no-new-privs",
                self.path, str(BASE / "fanfare.conf"), "--dir", str(pod.data)]


class Pod(Node):
    """One of them. Its directory is its persistent volume."""

    def __init__(self, cluster, name, options):
        super().__init__(cluster, name, options)
        self.program = PodProgram(self.program.path)
        self.env = {"PATH": os.environ["PATH"], **environment(STATEFUL_SET, name, NAMESPACE)}
        assert self.env["FANFARE_CLUSTER_SECRET_FILE"] == secret_path()
        self.env["FANFARE_CLUSTER_SECRET_FILE"] = str(cluster.secret)
        self.is_new = True

    def begin(self):
        """The pod is created, under another address than before."""
        if not self.is_new:
            self.cluster.world.move(self.name)
        self.is_new = False
        self.cluster.world.exist(self.name, True)
        return super().begin()

    def vanish(self):
        """The process has ended: the pod is deleted."""
        self.cluster.world.exist(self.name, False)

    def kill(self):
        """Its machine is lost."""
        super().kill()
        self.vanish()

    def answers(self, kind):
        """Does that probe succeed?"""
        response = self.page(probe(kind))
        return response is not None and response.status == 200


class StatefulSet(Cluster):
    """The controller: replicas up and down, all at once; updates one by one, the last pod first."""

    node_class = Pod

    def __init__(self, network):
        super().__init__(SPEC["replicas"], world=network)

    def delete(self, *pods):
        """SIGTERM to all, then each has to end well within its grace period; how long it took, in seconds."""
        begin_s = time.monotonic()
        for pod in pods:
            pod.expects_death = True
            pod.signal(signal.SIGTERM)
        for pod in pods:
            status = pod.wait_exit(GRACE_S - PRE_STOP_S)
            assert status == 0, f"{pod.name}: exit status {status}\n{pod.log()[-3000:]}"
            pod.vanish()
        return time.monotonic() - begin_s

    def wait_ready(self, pod):
        """Until the readiness probe succeeds."""
        wait_until(lambda: pod.answers("readiness"), 3 * DEADLINE_S, f"{pod.name} is ready")


@contextlib.contextmanager
def watched(pods, kinds=("readiness", "liveness")):
    """Meanwhile these probes of these pods succeed every time, and they are asked all the time."""
    failures = []

    def look():
        for pod in pods:
            for kind in kinds:
                response = pod.page(probe(kind), timeout_s=DEADLINE_S)
                if response is None or response.status != 200:
                    failures.append(f"{kind} of {pod.name}: {response and response.text.strip()}")

    with meanwhile(look, 0.02):
        yield
    assert not failures, f"{len(failures)} times: {failures[:5]}"
