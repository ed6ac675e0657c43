"""The systemd unit: what it takes away, and that the broker does not need it."""

import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from lib.broker import Broker, FanfareProgram
from lib.scrape import get

UNIT = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "systemd" / "fanfare.service"
EXPOSURE_MAX = 15  # tenths, as systemd-analyze security counts them

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")


def settings():
    """[(name, value)] of the unit."""
    lines = [line.strip() for line in UNIT.read_text(encoding="utf-8").splitlines()]
    return [tuple(line.split("=", 1)) for line in lines if "=" in line and not line.startswith("#")]


def analyze(*args):
    """What systemd-analyze prints."""
    result = subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr
    return result.stdout


def test_it_gains_no_privileges_and_writes_in_its_own_directories_only():
    unit = dict(settings())
    assert {unit[name] for name in ("NoNewPrivileges", "PrivateDevices", "PrivateTmp", "RestrictNamespaces",
                                    "MemoryDenyWriteExecute", "ProtectHome", "RestrictSUIDSGID")} == {"yes"}
    assert unit["ProtectSystem"] == "strict" and unit["StateDirectory"] == "fanfare" and "ReadWritePaths" not in unit
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ""
    assert unit["User"] == "fanfare" and unit["LimitCORE"] == "0"


@needs_systemd
def test_systemd_finds_it_little_exposed():
    analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(UNIT))


class Traced(FanfareProgram):
    """Started under strace."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def argv(self, broker):
        return ["strace", "-f", "-qq", "-o", str(self.out), *super().argv(broker)]


def members(group, groups):
    """The system calls of a group and of those in it."""
    return {call for name in groups[group] for call in (members(name, groups) if name in groups else {name})}


@needs_systemd
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace here")
def test_the_broker_makes_no_system_call_that_it_forbids(tmp_path):
    broker = Broker()
    broker.program = Traced(tmp_path / "calls")
    broker.start()
    try:
        with broker.client() as client:
            assert client.call("SET", "k", "v") == "OK" and client.call("EVAL", "return 1", 0) == 1
            assert client.call("PUBLISH", "c", "x") == 0
        assert get(broker, "/metrics").status == 200
        child = int(pathlib.Path(f"/proc/{broker.pid}/task/{broker.pid}/children").read_text(encoding="ascii").split()[0])
        os.kill(child, signal.SIGHUP)
        os.kill(child, signal.SIGTERM)
        assert broker.wait_exit() == 0
    finally:
        broker.close()
    called = set(re.findall(r"^\d+ +(\w+)\(", (tmp_path / "calls").read_text(encoding="utf-8"), re.MULTILINE))
    groups, group = {}, None
    for line in analyze("syscall-filter").splitlines():
        word = line.strip()
        if line.startswith("@"):
            group = groups.setdefault(word, [])
        elif group is not None and word and not word.startswith("#"):
            group.append(word)
    allowed = members("@system-service", groups) - members("@privileged", groups)
    assert "epoll_wait" in called and called - {"execve"} <= allowed, called - allowed
