"""data_reference: one redis-server in the place of a cluster, for the judges of durable data, and a proxy that lies about it.

The reference can be killed and started like the only node of a cluster. What it promises depends on its options: with
`appendfsync always` what it acknowledged survives a kill, without a file nothing does.
"""

import asyncio
import pathlib
import shutil
import tempfile
import threading

from .broker import Broker, RedisProgram
from .resp import Parser, encode

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


class ReferenceNode(Broker):
    """redis-server under the operations of a cluster's node."""

    name = "redis"

    def __init__(self, directory, extra_args):
        super().__init__(extra_args=extra_args, http=False, directory=directory)
        self.program = RedisProgram()

    def begin(self):
        """Start it and wait until it answers: nobody else could."""
        return self.start()


class Reference:
    """A cluster of one redis-server."""

    partitions = 1

    def __init__(self, extra_args=ALWAYS):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="reference-test-"))
        self.world = None
        self.node = ReferenceNode(self.directory / "redis", list(extra_args))
        self.node.directory.mkdir()

    def __iter__(self):
        return iter([self.node])

    def __len__(self):
        return 1

    def start(self):
        """Start it."""
        self.node.begin()
        return self

    def running(self):
        """The node, if its process runs."""
        return [self.node] if self.node.process is not None and self.node.process.poll() is None else []

    def wait_settled(self):
        """It rests whenever it runs."""
        self.node.check_alive()

    def close(self, keep=False):
        """End it; remove everything, or keep the directory."""
        if self.running():
            self.node.kill()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)


class LyingProxy:
    """Before a broker: hands on what clients send, but for what `lie(words)` says of a request outside of transactions:
    None (the truth), "twice" (it is sent twice, the second answer counts), or a reply (then it is not sent at all)."""

    def __init__(self, target, lie):
        self.target, self.lie = target, lie
        self.address = None
        self._loop = self._end = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def start(self):
        """Start; `address` is where clients go."""
        self._thread.start()
        self._ready.wait()
        return self

    def close(self):
        """End it."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _main(self):
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.address = server.sockets[0].getsockname()
            self._ready.set()
            await self._end.wait()

    async def _serve(self, reader, writer):
        """One client: a request at a time, which is slow and simple."""
        back_reader, back_writer = await asyncio.open_connection(*self.target)
        parser, is_multi = Parser(), False
        try:
            while data := await reader.read(1 << 16):
                parser.feed(data)
                found, words = parser.next_reply()
                while found:
                    is_multi = words[0] == b"MULTI" or (is_multi and words[0] != b"EXEC")
                    lie = None if is_multi else self.lie(words)
                    if isinstance(lie, bytes):
                        writer.write(lie)
                    else:
                        for _ in range(2 if lie == "twice" else 1):
                            back_writer.write(encode(*words))
                            raw = await _one_reply(back_reader)
                        writer.write(raw)
                    found, words = parser.next_reply()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            back_writer.close()
            writer.close()


async def _one_reply(reader):
    """The bytes of one RESP2 reply."""
    line = await reader.readuntil(b"\r\n")
    kind, size = line[:1], line[1:-2]
    if kind == b"$" and int(size) >= 0:
        return line + await reader.readexactly(int(size) + 2)
    if kind == b"*":
        for _ in range(int(size)):
            line += await _one_reply(reader)
    return line
