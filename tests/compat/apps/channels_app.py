"""channels_app: the layers of django-channels, for test_app_channels.py. `core` keeps messages until they are received,
`pubsub` delivers to who listens. Two layers each, as two servers have them."""

import asyncio
import os
import sys

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.exceptions import ConnectionError as LostConnection, TimeoutError as LateError

from journal import SCALE, STOPPED, note, watch_input

LOST = (LostConnection, LateError, OSError)
END_S = 45 * SCALE


class Listener:
    """One channel of one server, in the group. What comes is in order; what comes twice is said."""

    def __init__(self, layer, name):
        self.layer, self.name = layer, name
        self.heard, self.channel, self.errors = set(), None, 0
        self.last = -1

    async def join(self):
        """Be in the group."""
        self.channel = self.channel or await self.layer.new_channel()
        await self.layer.group_add("room", self.channel)

    async def listen(self, on_heard):
        """For ever."""
        while True:
            try:
                message = await self.layer.receive(self.channel)
            except LOST:
                self.errors += 1
                await asyncio.sleep(0.05)
                continue
            self.last = message["number"]
            self.heard.add(message["number"])
            on_heard(message["number"])


async def tell(layers, listeners):
    """Numbers to the group, until it is enough and all hear again. Returns those that were taken before what all have heard
    since, and how often it failed."""
    taken, failed, number, begin, end_s = [], 0, 0, None, None
    loop = asyncio.get_running_loop()
    while begin is None or not all(listener.last >= begin for listener in listeners):
        if STOPPED.is_set() and begin is None:
            begin, end_s = number, loop.time() + END_S
        assert end_s is None or loop.time() < end_s, f"not all hear again: {[x.last for x in listeners]}, {begin}"
        try:
            await layers[number % 2].group_send("room", {"type": "said", "number": number})
            taken.append(number)
        except LOST:
            failed += 1
            note("unsure", number)
        number += 1
        await asyncio.sleep(0.01)
    return [n for n in taken if n < begin], failed


async def run(kind):
    """The one or the other."""
    hosts = [os.environ["BROKER_URL"]]
    layers = [RedisChannelLayer(hosts=hosts, capacity=100000) if kind == "core" else RedisPubSubChannelLayer(hosts=hosts)
              for _ in range(2)]
    listeners = [Listener(layers[n % 2], f"l{n}") for n in range(4)]

    def on_heard(number):
        if all(number in listener.heard for listener in listeners):
            note("done", number)

    for listener in listeners:
        await listener.join()
    tasks = [asyncio.create_task(listener.listen(on_heard)) for listener in listeners]
    taken, failed = await tell(layers, listeners)
    # What a connection that broke had in its hands may be gone; nothing else. A layer receives for all its channels at once,
    # what is for several as one, in whichever of its listeners comes first.
    for layer in layers if kind == "core" else ():
        ours = [listener for listener in listeners if listener.layer is layer]
        lost = {number for listener in ours for number in taken if number not in listener.heard}
        errors = sum(listener.errors for listener in ours)
        assert len(lost) <= errors, f"lost {lost}, {errors} errors"
    note("failed", failed)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    watch_input()
    asyncio.run(run(sys.argv[1]))
