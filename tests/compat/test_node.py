"""ioredis and node-redis: the programs in node/, with the clients that install.sh has put into COMPAT_NODE_DIR."""

import os
import pathlib
import subprocess

import pytest

from lib.broker import HOST
from lib.certificates import Authority
from lib.ports import free_port
from lib.wait import SCALE

PROGRAMS = pathlib.Path(__file__).parent / "node"
PLAIN = ["ioredis", "redis-v3", "redis-v4", "redis-v5", "redis-v5-resp3", "seed-example"]
ENCRYPTED = ["ioredis", "redis-v4", "redis-v5", "redis-v5-resp3"]
CLUSTER = ["ioredis-cluster", "redis-cluster"]


def run(program, port, env=None):
    """Run one program; its first failing check is in the message."""
    modules = pathlib.Path(os.environ.get("COMPAT_NODE_DIR", "")) / "node_modules"
    assert (modules / "ioredis").is_dir(), "no clients: run tests/compat/install.sh DIR and set COMPAT_NODE_DIR=DIR"
    result = subprocess.run(["node", PROGRAMS / f"{program}.js", HOST, str(port)],
                            env={**os.environ, "NODE_PATH": str(modules), **(env or {})}, capture_output=True, text=True,
                            timeout=120 * SCALE, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ok - " in result.stdout


@pytest.mark.parametrize("program", PLAIN)
def test_the_checks_of_the_client_hold(program, broker):
    run(program, broker.port)


@pytest.mark.parametrize("program", CLUSTER)
def test_the_checks_of_the_client_in_cluster_mode_hold(program, cluster_broker):
    run(program, cluster_broker.port)


@pytest.mark.fanfare_only
@pytest.mark.parametrize("program", ENCRYPTED)
def test_the_checks_of_the_client_hold_over_tls(program, tmp_path, start_broker):
    authority, port = Authority(tmp_path), free_port()
    pair = authority.sign("server")
    start_broker({"tls-cert-file": pair.cert, "tls-key-file": pair.key, "tls-auth-clients": "no"},
                 listen=[f"{HOST}:PORT", f"tls://{HOST}:{port}"])
    run(program, port, {"CHECK_TLS_CA": str(authority.cert)})
