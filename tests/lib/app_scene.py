"""app_scene: an application on three nodes behind the load balancer, all on database 0, while the node that leads the keys
of it is killed with -9 and the next one is drained. Its programs say line by line what happens (`word id`), into one
journal, so that the order of their lines is the order in time; in the end the journal is judged."""

import collections
import contextlib
import os
import pathlib
import subprocess

import pytest

from . import broker as brokers
from . import targets
from .cluster_endpoint import Unavailable
from .wait import SCALE, wait_until

PROGRESS_S = 45 * SCALE
"""So soon the application goes on after a fault."""
END_S = 60 * SCALE
SHARE = 40
"""So much has to be done between one fault and the next."""
SHOWN = 8

NODE_PROGRAMS = pathlib.Path(__file__).resolve().parents[1] / "compat" / "node"


class Journal:
    """Lines of all programs."""

    def __init__(self, path):
        self.path = path
        path.touch()

    def note(self, word, what):
        """A line of ours, for people."""
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(f"{word} {what}\n")

    def rows(self):
        """(word, id) each; what is no such line says something for people."""
        for line in self.path.read_text(errors="replace").splitlines():
            parts = line.split(" ")
            if len(parts) == 2:
                yield parts[0], parts[1]

    def ids(self, word):
        """With how many lines each."""
        return collections.Counter(i for w, i in self.rows() if w == word)

    def count(self, word):
        """How many different ones."""
        return len(self.ids(word))

    def tail(self):
        """For the report of a failure: what is said for people, and the last rows."""
        lines = self.path.read_text(errors="replace").splitlines()
        said = [line for line in lines if len(line.split(" ")) != 2]
        return "\n".join(said[-40:] + ["the last rows: " + ", ".join(lines[-20:])])


def judge(journal, in_hand_max=0):
    """What was promised is done, and what is acknowledged is not begun again. Words: `added`, `start`, `done`, `acked`; and
    `told` of what failed by the application's own word. Of an application that pops jobs and notes nothing so many may be
    missing: the killed node had just popped them for its own clients, and what it had not written yet died with it, as it
    does with any server."""
    missing = set(journal.ids("added")) - set(journal.ids("done")) - set(journal.ids("told"))
    allowed = in_hand_max if journal.ids("kill") else 0
    assert len(missing) <= allowed, f"{len(missing)} jobs are lost: {sorted(missing)[:SHOWN]}\n{journal.tail()}"
    acked, again = set(), []
    for word, job in journal.rows():
        if word == "acked":
            acked.add(job)
        elif word == "start" and job in acked:
            again.append(job)
    assert not again, f"{len(again)} jobs were acknowledged and done again: {again[:SHOWN]}\n{journal.tail()}"


class Program:
    """One process of the application. It ends by itself after a line on its standard input."""

    def __init__(self, argv, scene, is_supervised=False, env=None):
        self.argv, self.scene, self.is_supervised = argv, scene, is_supervised
        self.env = {**os.environ, **scene.env, **(env or {})}
        self.process = None
        self.start()

    def start(self):
        """Again, after it has ended."""
        with open(self.scene.journal.path, "ab") as out:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, self.argv)], env=self.env,
                                            cwd=self.scene.directory, stdin=subprocess.PIPE, stdout=out, stderr=out)

    def stop(self):
        """Say that it is enough."""
        if not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(b"stop\n")
                self.process.stdin.close()

    def finish(self):
        """It has to end well."""
        self.stop()
        try:
            status = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            status = "none in time"
        assert status == 0, f"exit status {status}: {self.argv}\n{self.scene.journal.tail()}"

    def close(self):
        """At once."""
        self.process.kill()
        self.process.wait()


class AppScene:
    """A broker, the journal, and the programs that run."""

    def __init__(self, target, directory):
        self.target, self.directory = target, directory
        self.journal = Journal(directory / "journal")
        self.env = {"BROKER_HOST": target.host, "BROKER_PORT": str(target.port), "BROKER_URL": target.url(0),
                    "JOURNAL": str(self.journal.path), "PYTHONDONTWRITEBYTECODE": "1"}
        self.programs = []

    def run(self, *argv, is_supervised=False, **env):
        """Start a program; one that is supervised is started again whenever it ends, and killed in the end."""
        self.programs.append(Program(argv, self, is_supervised, env))
        return self.programs[-1]

    def node(self, name, **env):
        """Start a program of Node.js."""
        modules = pathlib.Path(os.environ.get("COMPAT_NODE_DIR", "")) / "node_modules"
        assert modules.is_dir(), "no packages: run tests/compat/install.sh DIR and set COMPAT_NODE_DIR=DIR"
        return self.run("node", NODE_PROGRAMS / f"{name}.js", self.target.host, self.target.port, NODE_PATH=str(modules), **env)

    def tend(self):
        """A program that ended by itself is a failure, or is started again."""
        self.tend_supervised()
        for program in self.programs:
            assert program.process.poll() is None, (f"exit status {program.process.poll()}: {program.argv}\n"
                                                    f"{self.journal.tail()}")

    def tend_supervised(self):
        """Start those again that have ended."""
        for program in self.programs:
            if program.is_supervised and program.process.poll() is not None:
                program.start()

    def progress(self, word="done", share=SHARE):
        """Wait until so many more are done."""
        before = self.journal.count(word)

        def has_gone_on():
            self.tend()
            return self.journal.count(word) >= before + share
        try:
            wait_until(has_gone_on, PROGRESS_S, f"{share} more of `{word}`")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.journal.tail()}") from exc

    def leader(self):
        """Who leads the keys of database 0, once somebody does."""
        cluster = self.target.cluster

        def led_by():
            row = next(line for line in cluster.running()[0].ask("CLUSTER", "PARTITIONS").decode().splitlines()
                       if line.startswith("partition 0 "))
            return cluster.nodes.get(row.split(" leader=", 1)[1].split()[0])

        return wait_until(led_by, PROGRESS_S, "the keys of database 0 are led")

    def trouble(self, word="done", share=SHARE):
        """The leader is killed and comes back, the next one is drained and comes back, and the application goes on."""
        self.progress(word, share)
        cluster = self.target.cluster
        if cluster is None:
            return
        killed = self.leader()
        self.journal.note("kill", killed.name)
        killed.kill()
        self.progress(word, share)
        killed.begin()
        cluster.wait_settled()
        drained = self.leader()
        self.journal.note("drain", drained.name)
        assert drained.terminate() == 0, f"{drained.name} did not end well:\n{drained.log()[-3000:]}"
        self.journal.note("drained", drained.name)
        self.progress(word, share)
        drained.begin()
        cluster.wait_settled()
        self.progress(word, share)

    def finish(self):
        """End those that are to end by themselves, well, while the others serve them."""
        ending = [program for program in self.programs if not program.is_supervised]
        for program in ending:
            program.stop()
        wait_until(lambda: (self.tend_supervised(), all(p.process.poll() is not None for p in ending))[1], END_S,
                   "the programs have ended")
        for program in ending:
            program.finish()

    def close(self):
        """End all programs."""
        for program in self.programs:
            program.close()


@contextlib.contextmanager
def app_scene(directory):
    """An AppScene: three nodes of the broker, or the reference, which is never in trouble."""
    try:
        with targets.running("three" if brokers.is_fanfare() else "alone") as target:
            scene = AppScene(target, directory)
            try:
                yield scene
            except BaseException:
                if target.cluster is not None and os.environ.get("APP_LOGS"):
                    print(target.cluster.logs())
                raise
            finally:
                scene.close()
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture(name="scene")
def scene_fixture(tmp_path):
    """One for the test."""
    with app_scene(tmp_path) as found:
        yield found
