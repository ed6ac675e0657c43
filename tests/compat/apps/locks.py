"""locks: the lock of redis-py without a script. kombu takes one before it restores what nobody acknowledged, and gives it
back by EVALSHA; where a broker does not know that yet, the same is done by WATCH and EXEC."""

import os

import redis
from redis.exceptions import LockNotOwnedError
from redis.lock import Lock


def _release(self, expected_token):
    with self.redis.pipeline() as pipe:
        pipe.watch(self.name)
        if pipe.get(self.name) != expected_token:
            raise LockNotOwnedError("Cannot release a lock that's no longer owned")
        pipe.multi()
        pipe.delete(self.name)
        pipe.execute()


def use_what_there_is():
    """Leave redis-py as it is wherever the broker has scripts."""
    with redis.Redis.from_url(os.environ["BROKER_URL"]) as client:
        try:
            client.execute_command("EVALSHA", "0" * 40, 0)
        except redis.exceptions.NoScriptError:
            return
        except redis.exceptions.ResponseError:
            Lock.do_release = _release
