"""netns: a world of network namespaces: one per node, joined by a bridge, which this process shares with its clients.

Nodes are called by name (a hosts file that all of them see, changed in place when a node moves to another address), as
in a StatefulSet. Between nodes packets can be dropped (nft, at the receiver, so also in one direction), delayed and
lost (lib.netns_wire). Only for root; Unavailable says what is missing.

Names begin with "ff" and the id of this process, so that two runs do not meet; what a killed run left behind is removed
by the next one. `close` removes everything, at the latest at exit.
"""

import atexit
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from .netns_wire import disable_offloads
from .wait import DEADLINE_S, wait_until

TOOLS = ("ip", "nft", "setpriv")
TESTS = pathlib.Path(__file__).resolve().parents[1]
ETC = pathlib.Path("/etc/netns")
LINE_BYTES = 80
"""Of a hosts file: lines have one length, so that a changed one never shows half an address."""


class Unavailable(Exception):
    """No namespaces here; the text says why."""


def run(*command, stdin=None, check=True):
    """A command to its end; its output. Raises RuntimeError with what it said."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def require():
    """Raise Unavailable unless namespaces can be made here."""
    if os.geteuid() != 0:
        raise Unavailable("network namespaces need root")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)}")
    probe = f"ff{os.getpid()}probe"
    try:
        run("ip", "netns", "add", probe)
        run("ip", "netns", "exec", probe, "nft", "add table inet probe")
    except RuntimeError as exc:
        raise Unavailable(str(exc)) from exc
    finally:
        run("ip", "netns", "del", probe, check=False)


def sweep():
    """Remove what processes have left that live no more."""
    for name in re.findall(r"^(ff(\d+)\S*)", run("ip", "netns", "list"), re.M):
        if not _is_alive(name[1]):
            _kill_all_in(name[0])
            run("ip", "netns", "del", name[0], check=False)
            shutil.rmtree(ETC / name[0], ignore_errors=True)
    for name in re.findall(r"^\d+: (ff(\d+)\w*)", run("ip", "-o", "link", "show"), re.M):
        if not _is_alive(name[1]):
            run("ip", "link", "del", name[0], check=False)


def _is_alive(pid):
    """Does the test run with that process id live? A dead one that nobody waits for has no command line."""
    try:
        return b"python" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def _kill_all_in(namespace):
    for pid in run("ip", "netns", "pids", namespace, check=False).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass


class Network:
    """The bridge and the namespaces of one cluster."""

    made = 0

    def __init__(self):
        require()
        sweep()
        Network.made += 1
        self.mark = f"ff{os.getpid()}n{Network.made}"
        self.net = self._free_net()
        self.gate = f"{self.net}.1"  # the bridge: clients and load balancers are here
        self.addresses = {}  # node -> address
        self.numbers = {}  # node -> its number in the names of devices
        self.wires = {}  # node -> process
        self.last = 1
        self.bridge = f"{self.mark}b"
        atexit.register(self.close)
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{self.gate}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")

    @staticmethod
    def _free_net():
        taken = run("ip", "-o", "-4", "address", "show")
        for _ in range(1000):
            net = f"10.{random.randint(64, 250)}.{random.randint(0, 250)}"
            if f" {net}." not in taken:
                return net
        raise Unavailable("no free net")

    def _namespace(self, name):
        return f"{self.mark}-{name}"

    def _inside(self, name, *command, **kwargs):
        return run("ip", "netns", "exec", self._namespace(name), *command, **kwargs)

    # ---- the world of lib.cluster ----

    def add(self, name):
        """A namespace with a link to the bridge, and an address."""
        namespace = self._namespace(name)
        number = self.numbers.setdefault(name, len(self.numbers))
        outer, inner = f"{self.mark}v{number}", f"{self.mark}i{number}"
        run("ip", "netns", "add", namespace)
        (ETC / namespace).mkdir(parents=True, exist_ok=True)
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        run("ip", "link", "set", inner, "netns", namespace, "name", "eth0")
        run("ip", "link", "set", outer, "master", self.bridge, "up")
        self._inside(name, "ip", "link", "set", "lo", "up")
        self._inside(name, "ip", "link", "set", "eth0", "up")
        self._inside(name, "nft", "-f", "-", stdin="table inet fault {\n chain input {\n"
                     "  type filter hook input priority 0; policy accept;\n }\n}\n")
        self.move(name)

    def move(self, name):
        """Another address, as a pod gets one at each start; the hosts files follow. The node does not run."""
        self.last += 1
        self._place(name, f"{self.net}.{self.last}")

    def swap(self, one, other):
        """Each gets the other's address. Neither runs."""
        places = self.addresses[one], self.addresses[other]
        self.move(one)
        self._place(other, places[0])
        self._place(one, places[1])

    def _place(self, name, address):
        self.addresses[name] = address
        self._inside(name, "ip", "address", "flush", "dev", "eth0", "scope", "global")
        self._inside(name, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        self._write_hosts()
        run("ip", "neighbour", "flush", "dev", self.bridge)  # as if the address had been announced
        for other in self.addresses:
            self._inside(other, "ip", "neighbour", "flush", "dev", "eth0")

    def _write_hosts(self):
        lines = ["127.0.0.1 localhost"] + [f"{address} {name}" for name, address in self.addresses.items()]
        data = "".join(line.ljust(LINE_BYTES - 1) + "\n" for line in lines).encode()
        for name in self.addresses:
            # In place: the namespaces' processes have this very file mounted over /etc/hosts.
            handle = os.open(ETC / self._namespace(name) / "hosts", os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(handle, data, 0)
            os.close(handle)

    def address(self, name):
        """Where it is reached from here."""
        return self.addresses[name]

    def host(self, name):
        """What the others call it."""
        return name

    def prefix(self, name):
        """What its command line begins with."""
        return ["ip", "netns", "exec", self._namespace(name)]

    # ---- faults ----

    def cut(self, hearer, speaker, both_ways=True):
        """`hearer` gets no packet of `speaker` any more; and the other way round."""
        self._drop(hearer, f"ip saddr {self.addresses[speaker]} drop")
        if both_ways:
            self.cut(speaker, hearer, both_ways=False)

    def isolate(self, name, clients=False):
        """No node hears this one or is heard by it; with `clients`, they neither."""
        for other in self.addresses:
            if other != name:
                self.cut(name, other)
        if clients:
            self._drop(name, f"ip saddr {self.gate} drop")

    def deafen(self, name):
        """This one hears no node; they hear it."""
        for other in self.addresses:
            if other != name:
                self.cut(name, other, both_ways=False)

    def split(self, names):
        """These hear each other alone; the others, too. All at once, as far as the machine can."""
        self._filter_all({one: [f"add rule inet fault input ip saddr {self.addresses[other]} drop"
                                for other in self.addresses if (other in names) != (one in names)]
                          for one in self.addresses})

    def _filter_all(self, lines):
        """Commands to the packet filters of many namespaces, all at the same time."""
        running = []
        for name, commands in lines.items():
            nft = subprocess.Popen(["ip", "netns", "exec", self._namespace(name), "nft", "-f", "-"],
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            running.append((nft, "\n".join(commands) + "\n"))
        for nft, commands in running:
            _, said = nft.communicate(commands)
            if nft.returncode:
                raise RuntimeError(f"nft: {said.strip()}")

    def _drop(self, name, rule):
        self._inside(name, "nft", f"add rule inet fault input {rule}")

    def degrade(self, name, delay_ms=0, jitter_ms=0, loss=0, seed=0):
        """Everything to and from this node, in each direction, is late by so much and lost with this probability."""
        self._end_wire(name)
        number = self.numbers[name]
        outer, left, right = f"{self.mark}v{number}", f"{self.mark}w{number}", f"{self.mark}x{number}"
        disable_offloads_inside(self._namespace(name))
        run("ip", "link", "add", left, "type", "veth", "peer", "name", right)
        disable_offloads(right)
        run("ip", "link", "set", left, "up")
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "lib.netns_wire", outer, left]
        command += [str(delay_ms), str(jitter_ms), str(loss), str(seed)]
        self.wires[name] = subprocess.Popen(command, cwd=TESTS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            text=True)
        assert self.wires[name].stdout.readline() == "ready\n", "the wire does not start"
        run("ip", "link", "set", outer, "nomaster")
        run("ip", "link", "set", right, "master", self.bridge, "up")

    def _end_wire(self, name):
        wire = self.wires.pop(name, None)
        if wire:
            number = self.numbers[name]
            run("ip", "link", "del", f"{self.mark}w{number}")
            run("ip", "link", "set", f"{self.mark}v{number}", "master", self.bridge)
            wire.kill()
            wire.wait()
            wire.stdout.close()

    def heal(self):
        """Everybody hears everybody, at once."""
        for name in list(self.wires):
            self._end_wire(name)
        self._filter_all({name: ["flush chain inet fault input"] for name in self.addresses})

    # ---- the end ----

    def close(self):
        """Remove it all; processes that are left in it are killed."""
        atexit.unregister(self.close)
        for name in list(self.wires):
            self.wires.pop(name).kill()
        for name in list(self.addresses):
            namespace = self._namespace(name)
            _kill_all_in(namespace)
            wait_until(lambda ns=namespace: not run("ip", "netns", "pids", ns, check=False).split(), DEADLINE_S)
            run("ip", "netns", "del", namespace, check=False)
            shutil.rmtree(ETC / namespace, ignore_errors=True)
            del self.addresses[name]
        for device in re.findall(rf"^\d+: ({self.mark}\w*)", run("ip", "-o", "link", "show"), re.M):
            run("ip", "link", "del", device, check=False)


def disable_offloads_inside(namespace):
    """The same for a namespace's eth0: this module, run there."""
    run("ip", "netns", "exec", namespace, sys.executable, "-c",
        f"import sys; sys.path.insert(0, {str(TESTS)!r}); "
        "from lib.netns_wire import disable_offloads; disable_offloads('eth0')")
