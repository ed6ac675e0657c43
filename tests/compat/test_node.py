"""ioredis and node-redis: the programs in node/, with the clients that install.sh has put into COMPAT_NODE_DIR."""

import os
import pathlib
import subprocess

import pytest
import redis

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


@pytest.mark.fanfare_only
def test_users_by_password_and_by_certificate_over_tls(tmp_path, start_broker):
    authority, port = Authority(tmp_path), free_port()
    pair, own = authority.sign("server"), authority.sign("app")
    (tmp_path / "users").write_text("user default off\nuser app on >app-password ~app:* &app:* +@all -@dangerous\n")
    start_broker({"tls-cert-file": pair.cert, "tls-key-file": pair.key, "tls-ca-cert-file": authority.cert,
                  "tls-auth-clients": "optional", "tls-auth-clients-user": "CN", "aclfile": tmp_path / "users"},
                 listen=[f"{HOST}:PORT", f"tls://{HOST}:{port}"])
    run("users", port, {"CHECK_TLS_CA": str(authority.cert), "CHECK_USER_CERT": str(own.cert),
                        "CHECK_USER_KEY": str(own.key)})
    encrypted = {"host": "localhost", "port": port, "ssl": True, "ssl_ca_certs": str(authority.cert)}
    for login in ({"username": "app", "password": "app-password"},
                  {"ssl_certfile": str(own.cert), "ssl_keyfile": str(own.key)}):
        client = redis.Redis(**encrypted, **login)
        assert client.acl_whoami() == "app" and client.set("app:k", "v")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("other")
    with pytest.raises(redis.exceptions.RedisError, match="WRONGPASS"):
        redis.Redis(**encrypted, username="app", password="no").ping()
    shown = ["--tls", "--cacert", authority.cert, "-h", HOST, "-p", str(port)]
    for login in (["--user", "app", "--pass", "app-password"], ["--cert", own.cert, "--key", own.key]):
        said = subprocess.run(["redis-cli", *shown, *login, "--no-auth-warning", "ACL", "WHOAMI"], capture_output=True,
                              text=True, timeout=60 * SCALE, check=False).stdout
        assert said == "app\n", said
