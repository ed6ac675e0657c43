"""seed_document: the examples of tests/compat/seed.md as programs. Not a letter of them is changed but the address, which
they have as localhost and 6379 or as a name of their own."""

import pathlib
import re
import sys
import types

from redis.cluster import ClusterNode, RedisCluster

PATH = pathlib.Path(__file__).resolve().parents[1] / "compat" / "seed.md"


def blocks(language):
    """{heading: [text of a block, ...]}, the headings without their numbers."""
    found, heading = {}, ""
    for match in re.finditer(r"^#+ (?:\d+\. )?([^\n]*)$|^```(\w+)\n(.*?)^```$", PATH.read_text(), re.M | re.S):
        if match[1]:
            heading = match[1]
        elif match[2] == language:
            found.setdefault(heading, []).append(match[3])
    return found


def addressed(text, nodes):
    """The text with addresses of ours: nodes is a list of (host, port), used in turn where it names several."""
    host, port = nodes[0]
    text = text.replace("redis.Redis()", f"redis.Redis(host={host!r}, port={port})")
    text = text.replace("redis.createClient()", f"redis.createClient({port}, {host!r})")
    text = re.sub(r"host='localhost', port=6379", f"host={host!r}, port={port}", text)
    for number in range(3):
        one_host, one_port = nodes[number % len(nodes)]
        text = text.replace(f"host='redis{number + 1}', port=6379", f"host={one_host!r}, port={one_port}")
        text = text.replace(f'"host": "redis-node{number + 1}", "port": 700{number}',
                            f'"host": {one_host!r}, "port": {one_port}')
    return text


def namespace(printed):
    """What the examples find: the imports that some of them leave to those before them, and a print that is heard."""
    names = {"print": lambda *words: printed.append(" ".join(map(str, words)))}
    exec("import json, threading, time, uuid, redis", names)  # pylint: disable=exec-used
    return names


def run(text, names, nodes):
    """Execute one block, or a part of one, in these names; returns them."""
    exec(compile(addressed(text, nodes), str(PATH), "exec"), names)  # pylint: disable=exec-used
    return names


def offer_rediscluster():
    """The package rediscluster has become a part of redis-py; its constructor took the nodes as dictionaries."""
    module = types.ModuleType("rediscluster")
    module.RedisCluster = lambda startup_nodes: RedisCluster(startup_nodes=[ClusterNode(**n) for n in startup_nodes])
    sys.modules["rediscluster"] = module
