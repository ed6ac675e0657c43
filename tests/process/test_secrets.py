"""What a process writes while secrets pass through it: none of them is to be found in any of it."""

import base64
import hashlib
import signal

import pytest

from lib.broker import HOST
from lib.certificates import Authority
from lib.ports import free_ports
from lib.resp import RespError
from lib.scrape import exchange, get

pytestmark = pytest.mark.fanfare_only


class Secrets:
    """Texts that are to be found nowhere, nor their hashes in either form."""

    def __init__(self):
        self.words = {}

    def __getattr__(self, name):
        return self.words.setdefault(name, f"planted-{name}-{len(self.words)}-{hash(name) & 0xffffff:x}")

    def needles(self):
        """All that is looked for."""
        for word in self.words.values():
            yield word.encode()
            yield hashlib.sha256(word.encode()).hexdigest().encode()
            yield base64.b64encode(word.encode())[:12]


def as_bytes(answer):
    """All text in an answer."""
    if isinstance(answer, (list, tuple, set)):
        return b"\n".join(as_bytes(item) for item in answer)
    if isinstance(answer, dict):
        return as_bytes([*answer.keys(), *answer.values()])
    return answer if isinstance(answer, bytes) else str(answer).encode()


@pytest.fixture
def secrets():
    """See Secrets."""
    return Secrets()


@pytest.fixture
def scene(tmp_path, start_broker, secrets):
    """A broker that has been told a secret in each way that there is, and logs all it can."""
    authority = Authority(tmp_path)
    pair = authority.sign("server", password=secrets.key_file)
    (tmp_path / "secret").write_text(secrets.cluster + "\n")
    config = tmp_path / "fanfare.conf"
    config.write_text(f"requirepass {secrets.requirepass}\ntls-key-file-pass {secrets.key_file}\n"
                      f"user filed on >{secrets.filed} ~* &* +@all\n"
                      f"user hashed on #{hashlib.sha256(secrets.hashed.encode()).hexdigest()} ~* +@all\n")
    peer, raft, tls = free_ports(3)
    options = {"tls-cert-file": pair.cert, "tls-key-file": pair.key, "tls-ca-cert-file": authority.cert, "expect": 1,
               "peer-listen": f"{HOST}:{peer}", "raft-listen": f"{HOST}:{raft}", "http-auth": "yes",
               "cluster-secret-file": tmp_path / "secret", "log-level": "debug", "slowlog-log-slower-than": 0,
               "enable-protected-configs": "yes", "auth-failure-delay": 20}
    return start_broker(options, listen=[f"{HOST}:PORT", f"tls://{HOST}:{tls}"], extra_args=[str(config)])


def say_secrets(secrets, client, other):
    """Each command that a secret is a part of, right, wrong and inside others."""
    wrong = 12
    for i in range(wrong):
        assert isinstance(other.call("AUTH", f"{secrets.guess}{i}"), RespError)
    assert isinstance(other.call("AUTH", "filed", secrets.guess), RespError)
    assert isinstance(other.call("AUTH", "filed", secrets.guess, "more"), RespError)
    assert isinstance(other.call("HELLO", 3, "AUTH", "filed", secrets.guess), RespError)
    assert isinstance(other.call("HELLO", 3, "AUTH", "filed", secrets.guess, "SETNAME", "a b"), RespError)
    assert other.call("AUTH", "filed", secrets.filed) == "OK"
    assert not isinstance(other.call("HELLO", 2, "SETNAME", "n", "AUTH", "default", secrets.requirepass), RespError)
    digest = hashlib.sha256(secrets.set_hash.encode()).hexdigest()
    for rules in ((f">{secrets.set_word}",), (f"#{digest}",), (f"!{digest}",), (f"#{digest[:60]}",),
                  (f"<{secrets.set_word}",), (f">{secrets.set_word}", "+nope"), (f"(>{secrets.set_word})",)):
        client.call("ACL", "SETUSER", "al", "on", *rules)
    assert client.call("CONFIG", "SET", "maxclients", 100, "requirepass", secrets.changed) == "OK"
    assert isinstance(client.call("CONFIG", "SET", "requirepass", secrets.changed, "port", "x"), RespError)
    assert isinstance(client.call("CONFIG", "SET", "tls-key-file-pass", secrets.guess), RespError)
    client.call("CONFIG", "SET", "user", f"x >{secrets.set_word}")
    client.call("ACL", "DRYRUN", "filed", "AUTH", "filed", secrets.filed)
    client.call("ACL", "DRYRUN", "filed", "ACL", "SETUSER", "x", f">{secrets.set_word}")
    client.call("COMMAND", "GETKEYS", "AUTH", "filed", secrets.filed)
    assert client.call("MULTI") == "OK"
    client.call("ACL", "SETUSER", "bo", f">{secrets.set_word}")
    client.call("AUTH", "filed", secrets.filed)
    client.call("CONFIG", "SET", "requirepass", secrets.changed)
    client.call("EXEC")
    client.call("MIGRATE", "h", 1, "k", 0, 1, "AUTH", secrets.guess)
    client.call("MIGRATE", "h", 1, "k", 0, 1, "AUTH2", "u", secrets.guess)
    client.call("CONFIG", "SET", "masterauth", secrets.guess)


def shown(client, broker, credentials):
    """What those who may ask are shown; CONFIG GET shows requirepass and tls-key-file-pass, as Redis does."""
    options = client.call("CONFIG", "GET", "*")
    yield from (value for name, value in zip(options[::2], options[1::2])
                if name not in (b"requirepass", b"tls-key-file-pass"))
    for command in (("INFO", "everything"), ("SLOWLOG", "GET", -1), ("CLIENT", "LIST"), ("ACL", "LOG", 1000),
                    ("LATENCY", "HISTOGRAM"), ("CLUSTER", "NODES"), ("CLUSTER", "PARTITIONS"), ("ACL", "USERS"),
                    ("MEMORY", "STATS"), ("CONFIG", "GET", "user"), ("DEBUG", "HELP")):
        yield client.call(*command)
    request = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\nConnection: close\r\n\r\n"
    yield exchange(broker, request.encode()).body
    yield from (get(broker, path).body for path in ("/metrics", "/readyz"))


def test_nothing_that_a_process_writes_holds_a_secret(scene, secrets):
    """From its start to the signal that kills it."""
    written = []
    with scene.client() as client, scene.client() as other, scene.client() as watcher:
        for member in (client, watcher):
            assert member.call("AUTH", "filed", secrets.filed) == "OK"
        assert watcher.call("MONITOR") == "OK"
        say_secrets(secrets, client, other)
        credentials = base64.b64encode(f"filed:{secrets.filed}".encode()).decode()
        written += map(as_bytes, shown(client, scene, credentials))
        exchange(scene, b"GET /metrics HTTP/1.1\r\nAuthorization: Basic "
                 + base64.b64encode(f"filed:{secrets.guess}".encode()) + b"\r\nConnection: close\r\n\r\n")
        assert client.call("PUBLISH", "the-end", "x") == 0
        lines = [watcher.recv()]
        while b"the-end" not in as_bytes(lines[-1]):
            lines.append(watcher.recv())
        written += map(as_bytes, lines)
    scene.signal(signal.SIGHUP)
    scene.expects_death = True
    scene.signal(signal.SIGABRT)
    scene.process.wait()
    written.append(scene.log().encode())
    assert len(written) > 100 and any(b"(redacted)" in text for text in written)
    for text in written:
        for needle in secrets.needles():
            assert needle not in text, text[:2000]
