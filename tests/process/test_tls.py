"""Encrypted clients: who is let in, certificates that change under load, handshakes that go nowhere. The reference is not asked: it is
built without a way to have both kinds of address by the same options."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
import redis

from lib.broker import HOST, run_cli
from lib.certificates import Authority
from lib.ports import free_port
from lib.resp import encode
from lib.scrape import metrics
from lib.wait import DEADLINE_S, SCALE, wait_until

pytestmark = pytest.mark.fanfare_only

HANDSHAKE_S = 10


class Scene:
    """A broker with a plain and an encrypted address, and the certificates for it."""

    def __init__(self, directory, start_broker):
        self.start_broker = start_broker
        self.authority = Authority(directory)
        self.server = self.authority.sign("server")
        self.client = self.authority.sign("client")
        self.port = free_port()
        self.broker = None

    def options(self, **changed):
        """Of a broker that asks for certificates."""
        options = {"tls-cert-file": self.server.cert, "tls-key-file": self.server.key,
                   "tls-ca-cert-file": self.authority.cert}
        return {**options, **{name.replace("_", "-"): value for name, value in changed.items()}}

    def start(self, **changed):
        """Start it."""
        self.broker = self.start_broker(self.options(**changed),
                                        listen=[f"{HOST}:PORT", f"tls://{HOST}:{self.port}"])
        return self.broker

    def context(self, own=None, trusts=None, **versions):
        """A client's."""
        context = ssl.create_default_context(cafile=(trusts or self.authority).cert)
        if own is not None:
            context.load_cert_chain(own.cert, own.key)
        for name, value in versions.items():
            setattr(context, name, value)
        return context

    def connect(self, context=None):
        """A socket whose handshake is done."""
        sock = socket.create_connection((HOST, self.port), timeout=DEADLINE_S)
        try:
            return (context or self.context(self.client)).wrap_socket(sock, server_hostname="localhost")
        except BaseException:
            sock.close()
            raise

    def is_let_in(self, context):
        """Does a PING come back? TLS 1.3 refuses a client when it reads for the first time."""
        try:
            with self.connect(context) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(100) == b"+PONG\r\n"
        except (ssl.SSLError, ConnectionError):
            return False

    def serial(self):
        """The number of the certificate that is shown now."""
        with self.connect() as sock:
            return int(sock.getpeercert()["serialNumber"], 16)

    def redis(self, own=None, **options):
        """redis-py."""
        own = own or self.client
        return redis.Redis(host="localhost", port=self.port, ssl=True, ssl_ca_certs=str(self.authority.cert),
                           ssl_certfile=str(own.cert), ssl_keyfile=str(own.key), **options)


@pytest.fixture
def scene(tmp_path, start_broker):
    """See Scene."""
    return Scene(tmp_path, start_broker)


def said(broker, words):
    """Wait for these words in the log."""
    wait_until(lambda: words in broker.log(), what=f"the log says {words!r}")


class TestClients:
    """What clients see of it."""

    def test_redis_cli(self, scene):
        scene.start()

        def cli(*args, own=scene.client):
            shown = ["--cert", own.cert, "--key", own.key] if own else []
            return subprocess.run(["redis-cli", "-h", HOST, "-p", str(scene.port), "--tls", "--cacert",
                                   scene.authority.cert, *shown, *args], capture_output=True, text=True,
                                  timeout=60 * SCALE, check=False).stdout
        assert cli("SET", "k", "v") == "OK\n"
        assert cli("-3", "GET", "k") == "v\n"
        assert cli("PUBLISH", "c", "x") == "0\n"
        assert "PONG" not in cli("PING", own=None)

    def test_redis_py_with_keys_and_subscriptions_of_every_size(self, scene, threads):
        broker = scene.start(threads=threads)
        plain = broker.client()
        client = scene.redis()
        with client.pubsub() as pubsub:
            pubsub.subscribe("c")
            assert pubsub.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
            for size in (0, 1, 16383, 16384, 16385, 70_000, 3_000_000):
                payload = os.urandom(size)
                assert client.set("k", payload) and client.get("k") == payload
                assert plain.call("PUBLISH", "c", payload) == 1
                assert pubsub.get_message(timeout=DEADLINE_S)["data"] == payload
        pipeline = client.pipeline(transaction=False)
        for i in range(5000):
            pipeline.set(f"k{i}", "x" * 100)
        assert pipeline.execute() == [True] * 5000

    def test_a_slow_subscriber_gets_all_of_it_in_order(self, scene):
        broker = scene.start(output_buffer_limit="pubsub 0 0 0")
        plain = broker.client()
        with scene.connect() as slow:
            slow.sendall(encode("SUBSCRIBE", "c"))
            assert b"subscribe" in slow.recv(1000)
            for i in range(300):
                assert plain.call("PUBLISH", "c", b"%06d" % i + b"x" * 50_000) == 1
            wait_until(lambda: metrics(broker).value("fanfare_backlog_bytes") > 1_000_000, what="it has a backlog")
            got = b""
            while not got.endswith(b"x\r\n") or got.count(b"message") < 300:
                got += slow.recv(1 << 20)
            numbers = [int(part[-6:]) for part in got.split(b"x" * 50_000)[:-1]]
            assert numbers == list(range(300))
        wait_until(lambda: metrics(broker).value("fanfare_backlog_bytes") == 0, what="nothing is left")

    def test_a_shutdown_ends_the_stream_in_order(self, scene):
        broker = scene.start()
        with scene.connect() as sock:
            sock.sendall(encode("SUBSCRIBE", "c"))
            assert b"subscribe" in sock.recv(1000)
            broker.signal(signal.SIGTERM)
            assert sock.recv(1000) == b"", "a goodbye, not a broken stream"
            broker.wait_exit()

    def test_https_serves_what_http_does_and_asks_nobody_for_a_certificate(self, scene, start_broker):
        port = free_port()
        broker = start_broker(scene.options(), http=False, extra_args=["--http-listen", f"https://{HOST}:{port}"])
        with urllib.request.urlopen(f"https://localhost:{port}/metrics", context=scene.context()) as page:
            assert b"fanfare_tls_certificate_expiry_seconds 17" in page.read()
        with urllib.request.urlopen(f"https://localhost:{port}/livez", context=scene.context(scene.client)) as page:
            assert page.read() == b"ok\n"
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(f"http://localhost:{port}/livez", timeout=DEADLINE_S)
        assert broker.client().call("PING") == "PONG"


class TestWhoIsLetIn:
    """tls-auth-clients and the rest."""

    @pytest.mark.parametrize("clients,none,good,bad", [("yes", False, True, False), ("optional", True, True, False),
                                                       ("no", True, True, True)])
    def test_by_certificate(self, clients, none, good, bad, scene, tmp_path):
        scene.start(tls_auth_clients=clients)
        other = Authority(tmp_path, "other")
        assert scene.is_let_in(scene.context()) == none
        assert scene.is_let_in(scene.context(scene.client)) == good
        for stranger in (other.sign("foreign"), scene.authority.sign("expired", days=-1), other):
            assert scene.is_let_in(scene.context(stranger)) == bad, stranger.name

    def test_one_authority_by_directory(self, scene, tmp_path):
        directory = tmp_path / "authorities"
        directory.mkdir()
        shutil.copy(scene.authority.cert, directory / "a.pem")
        subprocess.run(["openssl", "rehash", directory], check=True)
        scene.start(tls_ca_cert_file="", tls_ca_cert_dir=directory)
        assert scene.is_let_in(scene.context(scene.client)) and not scene.is_let_in(scene.context())

    def test_a_client_notices_another_ones_certificate(self, scene, tmp_path):
        scene.start()
        with pytest.raises(ssl.SSLCertVerificationError):
            scene.connect(scene.context(scene.client, trusts=Authority(tmp_path, "other")))

    def test_versions_and_resumption(self, scene):
        broker = scene.start(tls_protocols="TLSv1.2")
        old = scene.context(scene.client, maximum_version=ssl.TLSVersion.TLSv1_2)
        with scene.connect(old) as first:
            assert first.version() == "TLSv1.2"
            session = first.session
        sock = socket.create_connection((HOST, scene.port))
        with old.wrap_socket(sock, server_hostname="localhost", session=session) as second:
            assert second.session_reused
        assert not scene.is_let_in(scene.context(scene.client, minimum_version=ssl.TLSVersion.TLSv1_3))
        client = broker.client()
        assert client.call("CONFIG", "SET", "tls-protocols", "TLSv1.3", "tls-session-caching", "no") == "OK"
        assert not scene.is_let_in(old)
        with scene.connect() as sock:
            assert sock.version() == "TLSv1.3"

    def test_plain_bytes_on_the_encrypted_port_are_refused_and_the_other_way_round(self, scene):
        broker = scene.start()
        with socket.create_connection((HOST, scene.port), timeout=DEADLINE_S) as sock:
            sock.sendall(encode("PING"))
            with contextlib.suppress(ConnectionError):
                assert b"PONG" not in sock.recv(100)
        said(broker, "TLS handshake failed")
        assert metrics(broker).value("fanfare_tls_failures_total") == 1
        assert broker.client().call("PING") == "PONG"

    def test_a_key_with_a_password(self, scene):
        scene.server = scene.authority.sign("hidden", password="open sesame")
        broker = scene.start(tls_key_file_pass="open sesame")
        assert scene.is_let_in(scene.context(scene.client))
        client = broker.client()
        error = client.call("CONFIG", "SET", "tls-key-file-pass", "wrong")
        assert "Unable to update TLS configuration: tls-key-file" in str(error)
        assert client.call("CONFIG", "GET", "tls-key-file-pass")[1] == b"open sesame"
        assert "open sesame" not in broker.log() and "wrong" not in broker.log()

    def test_a_port_beside_each_host_as_in_a_redis_conf(self, scene, start_broker):
        broker = start_broker({**scene.options(), "tls-port": scene.port})
        assert scene.is_let_in(scene.context(scene.client))
        assert broker.client().call("CONFIG", "GET", "tls-port") == [b"tls-port", str(scene.port).encode()]

    @pytest.mark.parametrize("changed,words", [
        ({"tls_cert_file": ""}, "needs tls-cert-file and tls-key-file"),
        ({"tls_ca_cert_file": ""}, "tls-auth-clients needs tls-ca-cert-file"),
        ({"tls_key_file": "/nowhere"}, "tls-key-file /nowhere: No such file or directory"),
        ({"tls_ciphers": "none of them"}, "tls-ciphers none of them"),
    ])
    def test_a_start_without_what_it_needs_is_refused(self, changed, words, scene, tmp_path):
        args = [word for name, value in scene.options(**changed).items() for word in (f"--{name}", str(value))]
        result = run_cli("--listen", f"tls://{HOST}:{scene.port}", "--http-listen", "off", "--dir", tmp_path / "d", *args)
        assert result.returncode == 1 and words in result.stderr


class TestUsersByCertificate:
    """tls-auth-clients-user: who a client is by what its certificate says."""

    def test_by_each_kind_of_name(self, scene):
        broker = scene.start(tls_auth_clients="optional")
        names = "subjectAltName=URI:spiffe://x/nobody,URI:spiffe://x/al,DNS:al.example"
        al = scene.authority.sign("al", names=names)
        plain = broker.client()

        def who(own, *hello):
            with scene.connect(scene.context(own)) as sock:
                sock.sendall(b"".join(encode(*command) for command in (*hello, ("ACL", "WHOAMI"))))
                return sock.recv(4096)
        assert who(al) == b"$7\r\ndefault\r\n"
        for user in ("al", "spiffe://x/al", "al.example"):
            assert plain.call("ACL", "SETUSER", user, "on", "+acl", "+hello") == "OK"
        for choice, user in (("CN", b"al"), ("URI", b"spiffe://x/al"), ("DNS", b"al.example")):
            assert plain.call("CONFIG", "SET", "tls-auth-clients-user", choice) == "OK"
            assert who(al) == b"$%d\r\n%s\r\n" % (len(user), user)
            assert who(None) == b"$7\r\ndefault\r\n"
        assert plain.call("ACL", "LOG") == []
        assert plain.call("CONFIG", "SET", "tls-auth-clients-user", "CN", "requirepass", "secret") == "OK"
        assert who(al, ("HELLO", "3"))[:1] == b"%"
        assert who(None, ("HELLO", "3"))[:7] == b"-NOAUTH"
        with scene.connect(scene.context(al)) as sock:
            sock.sendall(encode("SET", "k", "v") + encode("RESET") + encode("ACL", "WHOAMI"))
            wait = b""
            while wait.count(b"\r\n") < 3:
                wait += sock.recv(4096)
            assert wait.startswith(b"-NOPERM User al ") and b"+RESET\r\n-NOAUTH" in wait
        assert plain.call("ACL", "DELUSER", "al") == 1

    def test_of_a_user_who_is_not_there_or_off(self, scene):
        broker = scene.start(tls_auth_clients_user="CN")
        plain = broker.client()
        for rules in ([], ["al", "off", "nopass", "+@all"]):
            if rules:
                assert plain.call("ACL", "SETUSER", *rules) == "OK"
            assert plain.call("ACL", "LOG", "RESET") == "OK"
            assert scene.redis(scene.authority.sign("al")).acl_whoami() == "default"
            entry = dict(zip(*[iter(plain.call("ACL", "LOG")[0])] * 2))
            assert [entry[name] for name in (b"reason", b"username", b"object")] == [b"tls-cert", b"al", b""]
        assert b"acl_access_denied_tls_cert:2\r\n" in plain.call("INFO", "stats")


class Stream(threading.Thread):
    """A publisher and a subscriber, both encrypted, for as long as it takes: every message must arrive, on one connection each."""

    def __init__(self, scene, channel="c"):
        super().__init__()
        self.channel = channel
        self.scene, self.is_over, self.error, self.count = scene, False, None, 0

    def run(self):
        try:
            publisher, subscriber = self.scene.connect(), self.scene.connect()
            with publisher, subscriber:
                subscriber.sendall(encode("SUBSCRIBE", self.channel))
                assert b"subscribe" in subscriber.recv(1000)
                files = subscriber.makefile("rb")
                while not self.is_over:
                    payload = b"%d" % self.count
                    publisher.sendall(encode("PUBLISH", self.channel, payload))
                    assert publisher.recv(100) == b":1\r\n"
                    for line in (b"*3", b"$7", b"message", b"$1", self.channel.encode(), b"$%d" % len(payload), payload):
                        assert files.readline() == line + b"\r\n"
                    self.count += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def finish(self):
        """Its count; fails as it did."""
        self.is_over = True
        self.join()
        assert self.error is None, repr(self.error)
        return self.count


class TestCertificatesThatChange:
    """Rotation, with nothing lost and nothing closed."""

    @staticmethod
    def mount(tmp_path, pair, number):
        """As Kubernetes does it: tls.crt -> ..data/tls.crt, ..data -> a directory with the pair; swapped in one step."""
        directory = tmp_path / f"..{number}"
        directory.mkdir()
        shutil.copy(pair.cert, directory / "tls.crt")
        shutil.copy(pair.key, directory / "tls.key")
        (tmp_path / "..new").symlink_to(directory.name)
        (tmp_path / "..new").rename(tmp_path / "..data")
        for name in ("tls.crt", "tls.key"):
            if not (tmp_path / name).is_symlink():
                (tmp_path / name).symlink_to(f"..data/{name}")

    def test_a_symlink_that_is_swapped_again_and_again_under_load(self, scene, tmp_path):
        self.mount(tmp_path, scene.server, 0)
        broker = scene.start(tls_cert_file=tmp_path / "tls.crt", tls_key_file=tmp_path / "tls.key")
        streams = [Stream(scene, channel) for channel in "abc"]
        for stream in streams:
            stream.start()
        for number in range(1, 4):
            pair = scene.authority.sign(f"server{number}", days=20 + number)
            self.mount(tmp_path, pair, number)
            wait_until(lambda: scene.serial() == scene.authority.signed, what="the new one is shown")  # pylint: disable=cell-var-from-loop
        assert all(stream.finish() > 0 for stream in streams)
        assert metrics(broker).value("fanfare_tls_certificate_expiry_seconds") > 22 * 24 * 3600
        assert metrics(broker).value("fanfare_tls_failures_total") == 0

    def test_a_pair_that_does_not_fit_is_named_and_the_old_one_stays(self, scene):
        broker = scene.start()
        stream = Stream(scene)
        stream.start()
        shown = scene.serial()
        shutil.copy(scene.client.key, scene.server.key)
        said(broker, f"tls-key-file {scene.server.key}: key values mismatch")
        assert scene.serial() == shown
        shutil.copy(scene.client.cert, scene.server.cert)
        wait_until(lambda: scene.serial() != shown, what="now they fit")
        scene.server.cert.write_text("nonsense")
        said(broker, f"tls-cert-file {scene.server.cert}: no start line")
        assert stream.finish() > 0
        assert scene.is_let_in(scene.context(scene.client))

    def test_by_config_set(self, scene):
        broker = scene.start()
        client = broker.client()
        new = scene.authority.sign("new")
        stream = Stream(scene)
        stream.start()
        assert client.call("CONFIG", "SET", "tls-cert-file", new.cert, "tls-key-file", new.key) == "OK"
        assert scene.serial() == scene.authority.signed
        error = client.call("CONFIG", "SET", "tls-cert-file", scene.server.cert, "maxclients", 77)
        assert str(error).startswith("ERR CONFIG SET failed (possibly related to argument 'tls-cert-file')")
        assert client.call("CONFIG", "GET", "tls-cert-file")[1] == str(new.cert).encode()
        assert client.call("CONFIG", "GET", "maxclients")[1] != b"77", "all pairs or none"
        expired = scene.authority.sign("expired", days=-1)
        error = client.call("CONFIG", "SET", "tls-cert-file", expired.cert, "tls-key-file", expired.key)
        assert "the certificate has expired" in str(error)
        assert scene.serial() == scene.authority.signed - 1
        assert stream.finish() > 0

    def test_by_sighup(self, scene):
        broker = scene.start()
        stream = Stream(scene)
        stream.start()
        new = scene.authority.sign("new")
        for old, fresh in zip(scene.server.files(), new.files()):
            shutil.copy(fresh, old)
        broker.signal(signal.SIGHUP)
        said(broker, "options reloaded")
        assert scene.serial() == scene.authority.signed
        scene.server.key.write_text("nonsense")
        broker.signal(signal.SIGHUP)
        said(broker, "reload refused, nothing changed")
        assert scene.serial() == scene.authority.signed
        assert stream.finish() > 0

    def test_clients_that_are_trusted_no_longer_stay_until_they_leave(self, scene, tmp_path):
        broker = scene.start()
        other = Authority(tmp_path, "other")
        with scene.connect() as sock:
            assert broker.client().call("CONFIG", "SET", "tls-ca-cert-file", other.cert) == "OK"
            assert not scene.is_let_in(scene.context(scene.client))
            assert scene.is_let_in(scene.context(other.sign("newcomer")))
            sock.sendall(b"PING\r\n")
            assert sock.recv(100) == b"+PONG\r\n"


class TestHandshakesThatGoNowhere:
    """They cost a bounded number of bytes and seconds, and nobody else notices."""

    def test_half_open_ones_are_closed_in_time_and_clients_are_served_meanwhile(self, scene):
        broker = scene.start(threads=1)
        client = broker.client()
        hello = self.client_hello(scene)
        silent = [socket.create_connection((HOST, scene.port), timeout=DEADLINE_S) for _ in range(300)]
        for i, sock in enumerate(silent):
            sock.sendall((b"", hello[:20], hello[:-1], b"\x16\x03\x01\x40\x00")[i % 4])
        began = time.monotonic()
        for sock in silent:
            while True:
                assert client.call("PING") == "PONG"
                assert scene.is_let_in(scene.context(scene.client))
                sock.settimeout(0.2)
                with contextlib.suppress(TimeoutError, ConnectionError):
                    while sock.recv(4096):
                        pass
                    break
            sock.close()
            if time.monotonic() - began > HANDSHAKE_S + 2:
                break
        wait_until(lambda: broker.info()["connected_clients"] == "2", DEADLINE_S + HANDSHAKE_S, "they are gone")
        for sock in silent:
            sock.close()

    @staticmethod
    def client_hello(scene):
        """The first bytes of a handshake."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = scene.context(scene.client).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read()

    def test_a_byte_at_a_time_is_a_handshake_too(self, scene):
        scene.start()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = scene.context(scene.client).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection((HOST, scene.port), timeout=DEADLINE_S) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def flush():
                for byte in outgoing.read():
                    sock.sendall(bytes([byte]))
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    flush()
                    incoming.write(sock.recv(1))
            tls.write(b"PING\r\n")
            flush()
            answer = b""
            while answer != b"+PONG\r\n":
                try:
                    answer += tls.read(100)
                except ssl.SSLWantReadError:
                    incoming.write(sock.recv(1))

    def test_garbage_of_every_kind_costs_its_connection_only(self, scene):
        broker = scene.start()
        hello = self.client_hello(scene)
        for i in range(200):
            with socket.create_connection((HOST, scene.port), timeout=DEADLINE_S) as sock:
                broken = bytearray(hello)
                broken[(i * 7919) % len(hello)] ^= 1 + i % 255
                with contextlib.suppress(ConnectionError):
                    sock.sendall(bytes(broken) + os.urandom(i * 100))
        with scene.connect() as sock:
            raw = socket.socket(fileno=os.dup(sock.fileno()))
            with raw:
                raw.sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
            with pytest.raises((ssl.SSLError, ConnectionError)):
                sock.recv(100)
        assert scene.is_let_in(scene.context(scene.client))
