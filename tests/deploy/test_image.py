"""The Dockerfile and the compose file, as far as that shows without an engine for containers.

The entry point runs here as in a container: process 1 of namespaces of its own, a root file system that cannot be
written and holds nothing but the binary, its libraries and its configuration, an unprivileged user, no new privileges.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess

import dockerfile
import pytest
import yaml
from lib.wait import DEADLINE_S, wait_until
from manifests import FANFARE, ROOT, options

DEPLOY = ROOT / "deploy"
CONFIG = DEPLOY / "docker" / "fanfare.conf"


@pytest.fixture
def build():
    """The stage that builds."""
    return dockerfile.stages()[0]


@pytest.fixture
def image():
    """The stage that is the image."""
    return dockerfile.stages()[-1]


def libraries():
    """The shared libraries that the binary loads."""
    out = subprocess.run(["ldd", FANFARE], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", out)


def with_dependencies(packages):
    """The packages, and what they bring with them: jemalloc, for one, the C++ library."""
    out = subprocess.run(["dpkg-query", "-W", "-f", "${Depends}, ", *sorted(packages)], capture_output=True, text=True,
                         check=False).stdout
    return packages | set(re.findall(r"(?:^|, |\| )([a-z0-9][a-z0-9.+-]+)", out))


def test_all_that_is_copied_exists_and_is_sent_to_the_builder():
    for stage in dockerfile.stages():
        for path in [source for sources, _ in dockerfile.copies(stage) for source in sources] + dockerfile.mounts(stage):
            assert (ROOT / path).exists()
            assert dockerfile.is_sent(path)


def test_what_is_copied_is_enough_to_configure_the_build(build, tmp_path):
    for sources, target in dockerfile.copies(build):
        for source in sources:
            to = tmp_path / target if source == target else tmp_path / target / pathlib.Path(source).name
            to.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, to)
    (command,) = [text for text in dockerfile.texts(build, "RUN") if text.startswith("cmake ")]
    configure = command.split("&&")[0].split()
    run = subprocess.run(configure, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_image_has_every_library_that_the_binary_loads():
    setup = (DEPLOY / "setup.sh").read_text()
    installs = re.search(r"^    run\)(.*?);;", setup, re.M | re.S).group(1)
    packages = with_dependencies({"libc6", *re.split(r"[ |]", " ".join(re.findall(r"'([^']*)'", installs)))})
    for library in libraries():
        # Debian's merged /usr: the package may know the file under either name.
        names = [library, library.removeprefix("/usr"), str(pathlib.Path(library).resolve())]
        owners = subprocess.run(["dpkg", "-S", *names], capture_output=True, text=True, check=False).stdout
        assert {line.partition(":")[0] for line in owners.splitlines()} & packages, f"{library}: {owners}"


def test_the_image_names_the_licence_of_what_is_linked_statically(image):
    assert not [library for library in libraries() if "raft" in library]
    assert (["deploy/debian/copyright"], "/usr/share/doc/fanfare/copyright") in dockerfile.copies(image)
    assert "libraft" in (DEPLOY / "debian" / "copyright").read_text()


def test_the_image_is_unprivileged_and_its_ports_are_those_of_its_configuration(image, tmp_path):
    (user,) = dockerfile.texts(image, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    in_effect = options(CONFIG.read_text(), {}, tmp_path)
    names = ("listen", "peer-listen", "raft-listen", "http-listen")
    listened = {address.rpartition(":")[2] for name in names for address in in_effect[name].split()}
    assert set(dockerfile.texts(image, "EXPOSE")[0].split()) == listened
    assert dockerfile.entry_point(image) == ["/usr/bin/fanfare", "/etc/fanfare/fanfare.conf"]


# ---- the entry point, running ----

class Container:
    """The entry point in a root file system of its own, with room to write in /var/lib/fanfare only."""

    SCRIPT = """set -e
        ip link set lo up
        mount --bind "$1" "$1"
        mount --bind "$2" "$1/var/lib/fanfare"
        mount -t proc proc "$1/proc"
        mount -o remount,bind,ro "$1"
        root=$1 user=$3; shift 3
        exec setpriv --no-new-privs chroot --userspec="$user" "$root" "$@"
    """

    def __init__(self, image, scratch, *args):
        root, data = scratch / "root", scratch / "data"
        (user,) = dockerfile.texts(image, "USER")
        for folder in ("proc", "usr/bin", "etc/fanfare", "var/lib/fanfare"):
            (root / folder).mkdir(parents=True)
        shutil.copy(FANFARE, root / "usr/bin/fanfare")
        shutil.copy(CONFIG, root / "etc/fanfare/fanfare.conf")
        for library in libraries():
            to = root / library.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, to)
        data.mkdir()
        os.chown(data, *map(int, user.split(":")))
        self.log = scratch / "log"
        entry = dockerfile.entry_point(image)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--net", "--uts", "--fork", "--kill-child",
                 "sh", "-c", self.SCRIPT, "sh", str(root), str(data), user, *entry, *args],
                env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}, stdout=log, stderr=log)

    def pid(self):
        """Of its process 1, as seen from outside."""
        pid = self.process.pid
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def cli(self, *args):
        """What redis-cli prints, run in its network."""
        run = subprocess.run(["nsenter", "--target", self.pid(), "--net", "redis-cli", *args],
                             capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        return run.stdout.strip()

    def wait_until_it_serves(self):
        """Until it answers PING, or has ended."""
        wait_until(lambda: self.process.poll() is not None or self.cli("PING") == "PONG", what="an answer to PING")
        assert self.process.poll() is None, self.log.read_text()

    def status_field(self, name):
        """A line of its process 1 in /proc."""
        status = pathlib.Path(f"/proc/{self.pid()}/status").read_text()
        return re.search(rf"^{name}:\s+(.*)$", status, re.M).group(1)

    def close(self):
        """The end, whatever it does. Its process 1 has changed its user, after which nobody's end ends it."""
        inner = self.pid() if self.process.poll() is None else ""
        if inner:
            os.kill(int(inner), signal.SIGKILL)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def run_container(image, tmp_path):
    """run_container(argument...) starts the entry point with these after it."""
    if os.geteuid() != 0:
        pytest.skip("namespaces and users need root")
    started = []

    def run(*args):
        started.append(Container(image, tmp_path, *args))
        return started[-1]

    yield run
    for one in started:
        one.close()


def test_the_entry_point_serves_unprivileged_from_a_read_only_root(run_container):
    container = run_container()
    container.wait_until_it_serves()
    assert container.status_field("NSpid").split()[-1] == "1"
    assert container.status_field("Uid").split() == ["6379"] * 4
    assert int(container.status_field("CapEff"), 16) == 0
    assert container.status_field("NoNewPrivs") == "1"


def test_as_process_1_it_ends_at_sigterm_with_status_0(run_container):
    container = run_container()
    container.wait_until_it_serves()
    os.kill(int(container.pid()), signal.SIGTERM)
    assert container.process.wait(2 * DEADLINE_S) == 0


def test_arguments_of_the_container_are_options(run_container):
    container = run_container("--max-clients", "77")
    container.wait_until_it_serves()
    assert container.cli("CONFIG", "GET", "max-clients").split() == ["max-clients", "77"]


def test_a_wrong_option_ends_it_with_its_own_status(run_container):
    container = run_container("--max-clients", "many")
    assert container.process.wait(DEADLINE_S) == 64
    assert "max-clients" in container.log.read_text()


# ---- compose ----

@pytest.fixture
def services():
    """{name: service} of the compose file."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def test_compose_takes_its_file():
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("no docker-compose here")
    run = subprocess.run([compose, "-f", str(DEPLOY / "compose.yaml"), "config", "-q"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_composed_nodes_gain_no_privileges_on_a_read_only_root(services):
    for name, service in services.items():
        if name != "haproxy":
            assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]  # seccomp is the engine's own, as by default


def test_a_node_that_ends_has_time_to_drain(services, tmp_path):
    text = (DEPLOY / "systemd" / "fanfare.service").read_text()
    stop_s = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.M).group(1))
    assert stop_s > longest_drain_s((DEPLOY / "fanfare.conf").read_text(), {}, tmp_path)
    for name, service in services.items():
        if name != "haproxy":
            grace_s = int(service["stop_grace_period"].removesuffix("s"))
            assert grace_s > longest_drain_s(CONFIG.read_text(), service["environment"], tmp_path)


def longest_drain_s(config, env, tmp_path):
    """Handing over, then serving the clients, then closing them."""
    return 2 * int(options(config, env, tmp_path)["shutdown-timeout"]) + 2


def test_composed_nodes_find_each_other_and_the_load_balancer_finds_them(services, tmp_path):
    nodes = {name: service for name, service in services.items() if name != "haproxy"}
    assert len(nodes) == 3
    for name, service in nodes.items():
        in_effect = options(CONFIG.read_text(), service["environment"], tmp_path)
        raft_port = in_effect["raft-listen"].rpartition(":")[2]
        assert in_effect["name"] == in_effect["advertise"] == name
        assert in_effect["join"].split() == [f"{node}:{raft_port}" for node in nodes]
        assert int(in_effect["expect"]) == len(nodes)
        assert service["volumes"] == [f"{name.replace('fanfare', 'data')}:{in_effect['dir']}"]
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(dockerfile.PATH)
    (mount,) = services["haproxy"]["volumes"]
    balancer = (DEPLOY / mount.partition(":")[0]).read_text()
    assert set(re.findall(r"^    server (\S+) \1:6379$", balancer, re.M)) == set(nodes)
