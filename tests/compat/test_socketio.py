"""Socket.IO servers, in Node.js and in Python, that know of each other through the broker alone."""

import asyncio
import os
import pathlib
import subprocess

import pytest

from lib import targets
from lib.cluster_endpoint import Unavailable
from lib.ports import free_ports
from lib.wait import DEADLINE_S, SCALE

PROGRAM = pathlib.Path(__file__).parent / "node" / "socket-io.js"
ROOM = [str(number) for number in range(50)]


@pytest.fixture(scope="module", params=targets.kinds())
def target(request):
    """A broker alone, and three behind a load balancer."""
    try:
        with targets.running(request.param) as found:
            yield found
    except Unavailable as exc:
        pytest.skip(str(exc))


def test_the_adapters_for_node(target):
    modules = pathlib.Path(os.environ.get("COMPAT_NODE_DIR", "")) / "node_modules"
    assert (modules / "socket.io").is_dir(), "no clients: run tests/compat/install.sh DIR and set COMPAT_NODE_DIR=DIR"
    result = subprocess.run(["node", PROGRAM, target.host, str(target.port)],
                            env={**os.environ, "NODE_PATH": str(modules)}, capture_output=True, text=True,
                            timeout=120 * SCALE, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("ok - ") == 3


def test_the_manager_of_python_socketio(target):
    socketio = pytest.importorskip("socketio", reason="python3-socketio is not installed (deploy/setup.sh test)")
    web = pytest.importorskip("aiohttp.web", reason="python3-aiohttp is not installed (deploy/setup.sh test)")
    asyncio.run(asyncio.wait_for(two_servers(socketio, web, target), 60 * SCALE))


async def serve(socketio, web, target, port):
    """A server with two events; returns (server, runner)."""
    server = socketio.AsyncServer(async_mode="aiohttp", client_manager=socketio.AsyncRedisManager(target.url()))

    @server.event
    async def join(sid, room):
        server.enter_room(sid, room)
        return "joined"

    @server.event
    async def say(_sid, room, text):
        await server.emit("said", text, room=room)

    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return server, runner


async def until(condition, what):
    """Wait for it."""
    end_s = asyncio.get_running_loop().time() + DEADLINE_S
    while not condition():
        assert asyncio.get_running_loop().time() < end_s, what
        await asyncio.sleep(0.01)


async def two_servers(socketio, web, target):
    """A client of each; what is said to one server, or by a process that is none, reaches both."""
    ports = free_ports(2)
    servers = [await serve(socketio, web, target, port) for port in ports]
    clients, heard = [], [[], []]
    for number, port in enumerate(ports):
        client = socketio.AsyncClient()
        client.on("said", heard[number].append)
        await client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
        assert await client.call("join", "room") == "joined"
        clients.append(client)
    writer = socketio.RedisManager(target.url(), write_only=True)
    for _ in range(200):  # a manager listens only some time after its server has begun
        writer.emit("said", "ready", room="room")
        if all(heard):
            break
        await asyncio.sleep(0.05)
    await until(lambda: all(heard), "both servers listen")
    for text in ROOM:
        await clients[int(text) % 2].emit("say", ("room", text))
    writer.emit("said", "done", room="room")
    for got in heard:
        await until(lambda g=got: "done" in g and set(ROOM) <= set(g), "all is heard")
        assert sorted(int(t) for t in got if t.isdigit()) == [int(t) for t in ROOM]
    for client in clients:
        await client.disconnect()
    for _, runner in servers:
        await runner.cleanup()
