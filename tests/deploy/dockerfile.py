"""dockerfile: reads deploy/Dockerfile: stages of instructions."""

import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH = ROOT / "deploy" / "Dockerfile"


def stages():
    """One list of (instruction, text) per stage, FROM first."""
    text = re.sub(r"^\s*#.*\n", "", PATH.read_text(), flags=re.M)
    lines = [line.strip() for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    result = []
    for line in lines:
        name, _, rest = line.partition(" ")
        if name == "FROM":
            result.append([])
        result[-1].append((name, " ".join(rest.split())))
    return result


def texts(stage, name):
    """All instructions of that name, in order."""
    return [text for instruction, text in stage if instruction == name]


def copies(stage):
    """(sources of the tree, target) of each COPY that takes files from the tree."""
    result = []
    for text in texts(stage, "COPY"):
        words = text.split()
        if not words[0].startswith("--from"):
            result.append((words[:-1], words[-1]))
    return result


def mounts(stage):
    """Files of the tree that a RUN sees for its time."""
    return [source for text in texts(stage, "RUN") for source in re.findall(r"--mount=type=bind,source=([^,\s]+)", text)]


def entry_point(stage):
    """The command as a list; an exec form, or this fails."""
    (text,) = texts(stage, "ENTRYPOINT")
    return json.loads(text)


def is_sent(path):
    """Does the .dockerignore, a list of exceptions from everything, let that path through?"""
    first, *rest = [line for line in pathlib.Path(f"{PATH}.dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert first == "*" and all(line.startswith("!") for line in rest)
    return any(path == line[1:] or path.startswith(line[1:] + "/") for line in rest)
