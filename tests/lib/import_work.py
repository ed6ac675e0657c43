"""import_work: what `fanfare import` is tried with: a redis-server that is filled and written to, and the program itself."""

import os
import pathlib
import random
import re
import subprocess
import threading

from .broker import FanfareProgram
from .ports import free_port
from .resp import Client, RespError
from .wait import wait_until

RUN_S = 180


class Redis:
    """A redis-server that is imported from."""

    def __init__(self, directory, *options):
        self.directory = pathlib.Path(directory)
        self.port = free_port()
        argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--repl-diskless-sync-delay", "0", "--loglevel", "warning", "--dir", str(directory), *options]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_until(self._answers, what="redis-server answers")

    def _answers(self):
        try:
            self.client().close()
        except OSError:
            return False
        return True

    def client(self):
        return Client(("127.0.0.1", self.port))

    def save(self):
        """The path of an RDB file of all that is there."""
        with self.client() as client:
            assert client.call("SAVE") == "OK"
        return str(self.directory / "dump.rdb")

    def close(self):
        self.process.terminate()
        self.process.wait(20)


def fill(client, chance, names=40):
    """Keys of every type, small ones; some with a deadline that is far."""
    for number in range(names):
        words = [b"%d" % chance.randint(-70000, 70000) if chance.random() < 0.5 else
                 bytes(chance.choices(b"ab\0\xff", k=chance.choice([0, 1, 10, 70, 300]))) for _ in range(12)]
        pairs = [word for pair in zip(words[::2], words[1::2]) for word in pair]
        scores = [word for score, member in zip(range(6), words) for word in (b"%d.5" % score, member)]
        client.call("SET", b"string:%d" % number, words[0])
        client.call("RPUSH", b"list:%d" % number, *words)
        client.call("SADD", b"set:%d" % number, *words)
        client.call("SADD", b"ints:%d" % number, *range(number + 1))
        client.call("HSET", b"hash:%d" % number, *pairs)
        client.call("ZADD", b"zset:%d" % number, *scores)
        client.call("XADD", b"stream:%d" % number, "%d-1" % (number + 1), *pairs)
        for kind in chance.sample([b"string", b"list", b"set", b"hash", b"zset", b"stream"], 2):
            client.call("PEXPIREAT", b"%b:%d" % (kind, number), 4000000000000 + number)


def fill_large(client):
    """Values above what goes over at once; a stream whose groups have something pending, and with deleted entries."""
    client.calls([["RPUSH", "large:list", *[b"%d" % n * (n % 40 + 1) for n in range(s, s + 500)]] for s in range(0, 20000, 500)])
    client.calls([["SADD", "large:set", *[b"m%d" % n for n in range(s, s + 500)]] for s in range(0, 20000, 500)])
    client.calls([["HSET", "large:hash", *[b"f%d" % (n // 2) for n in range(s, s + 500)]] for s in range(0, 40000, 500)])
    client.calls([["ZADD", "large:zset", *[word for n in range(s, s + 500) for word in (b"%.3f" % (n / 7), b"m%d" % n)]]
                  for s in range(0, 20000, 500)])
    client.call("SET", "large:string", random.Random(1).randbytes(11 << 20))
    client.call("PEXPIREAT", "large:hash", 4000000000000)
    client.calls([["XADD", "large:stream", "%d-%d" % (n // 9 + 1, n + 1), "n", n, *(["other", "x" * 50] if n % 11 == 0 else [])]
                  for n in range(20000)])
    client.call("XGROUP", "CREATE", "large:stream", "one", "0")
    client.call("XGROUP", "CREATE", "large:stream", "two", "500-4500")
    client.call("XGROUP", "CREATECONSUMER", "large:stream", "two", "idle")
    for name, count in (("alice", 3000), ("bob", 40), ("alice", 7)):
        client.call("XREADGROUP", "GROUP", "one", name, "COUNT", count, "STREAMS", "large:stream", ">")
    client.call("XACK", "large:stream", "one", *["%d-%d" % (n // 9 + 1, n + 1) for n in range(0, 3000, 7)])
    client.call("XDEL", "large:stream", *["%d-%d" % (n // 9 + 1, n + 1) for n in range(5000, 20000, 13)], "2223-20000")
    client.call("XADD", "empty:stream", "5-5", "a", "b")
    client.call("XGROUP", "CREATE", "empty:stream", "g", "0")
    client.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "empty:stream", ">")
    client.call("XDEL", "empty:stream", "5-5")


class Import:
    """A running `fanfare import`."""

    def __init__(self, *args):
        self.process = subprocess.Popen([FanfareProgram().path, "import", *args], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.output = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 4096):
            self.output += data

    def wait_for(self, text):
        wait_until(lambda: text in self.output or self.process.poll() is not None, RUN_S, f"import says {text}")
        assert text in self.output, self.process.stderr.read()

    def end(self, number=None):
        """The exit code; its output is in self.output, what it complains of in self.complaint."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(RUN_S)
        self.complaint = self.process.stderr.read().decode()
        self.reader.join()
        return code


class Writers:
    """Clients that go on writing to the source what must not be executed twice, in several databases."""

    def __init__(self, redis, count=3):
        self.redis = redis
        self.done = threading.Event()
        self.commands = 0
        self.threads = [threading.Thread(target=self._write, args=(number,), daemon=True) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def _write(self, number):
        chance = random.Random(number)
        with self.redis.client() as client:
            while not self.done.wait(0.002):  # at a pace that a busy machine can follow
                client.call("SELECT", chance.choice([0, 0, 0, 1, 9]))
                tag = b"%d" % chance.randrange(50)
                commands = [["INCR", b"n:" + tag], ["RPUSH", b"q:" + tag, chance.randrange(1000)], ["LPOP", b"q:" + tag],
                            ["ZINCRBY", b"z:" + tag, "1.5", chance.randrange(9)], ["HINCRBY", b"h:" + tag, "f", 3],
                            ["XADD", b"x:" + tag, "*", "f", chance.randrange(1000)], ["SPOP", b"s:" + tag],
                            ["SADD", b"s:" + tag, chance.randrange(100)], ["APPEND", b"a:" + tag, "x"],
                            ["SET", b"e:" + tag, "v", "EX", 100000], ["DEL", b"a:" + tag], ["PUBLISH", "channel", "x"]]
                chosen = chance.choices(commands, k=chance.randint(1, 20))
                if chance.random() < 0.3:
                    chosen = [["MULTI"], *chosen, ["EXEC"]]
                replies = client.calls(chosen)
                assert not any(isinstance(reply, RespError) for reply in replies), replies
                self.commands += len(chosen)

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join()


def replica_offset(source):
    """Up to where of its history the source's replica says to have it all."""
    found = re.search(rb"slave0:.*offset=(\d+)", source.call("INFO", "replication"))
    return int(found.group(1)) if found else 0


def history_end(source):
    """Where the source's history ends."""
    return int(re.search(rb"master_repl_offset:(\d+)", source.call("INFO", "replication")).group(1))
