#!/usr/bin/env python3
"""Puts faults into a copy of the sources, one after the other, and demands that the tests find each: the simulator those of
the consensus engine (mutations_table.py), a unit test those of the data path (mutations_data.py).

usage: mutations.py [--check] [--quick] [--work DIR] [--jobs N] [-k WORD]
  --check  only see whether every replacement of the table still fits the sources
  --quick  only a few of each table, that show soon
  --work   where copies and builds are; kept for the next time
  --jobs   so many at a time
  --first  seeds from there on, instead of the ones that the table speaks of
  -k       only mutations whose name holds WORD
"""
import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import mutations_data  # noqa: E402
import mutations_table  # noqa: E402

MUTATIONS = mutations_table.MUTATIONS + mutations_data.MUTATIONS
QUICK = mutations_table.QUICK + mutations_data.QUICK

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPIED = ("CMakeLists.txt", "broker", "consensus", "proto", "tests")
RUN_S_MAX = 300
UNIT_S_MAX = 90


class Misfit(Exception):
    """A replacement does not fit the sources any more."""


def mutated(tree, edits):
    """What the files of `tree` that `edits` change become, by path."""
    texts = {}
    for room, old, new in edits:
        pattern = r"\s+".join(re.escape(word) for word in old.split())
        places = []
        for path in sorted((tree / room).glob("*.c")):
            text = texts.get(path) or path.read_text()
            places += [(path, text)] * len(re.findall(pattern, text))
        if len(places) != 1:
            raise Misfit(f"not once but {len(places)} times in {room}: {old}")
        path, text = places[0]
        texts[path] = re.sub(pattern, lambda _, new=new: new, text)
    return texts


def mutate(tree, edits):
    """Mutate the files of `tree`. Returns what they were."""
    texts = mutated(tree, edits)
    before = {path: path.read_text() for path in texts}
    for path, text in texts.items():
        path.write_text(text)
    return before


def check_table():
    """Print and count the mutations that do not fit."""
    misfits = 0
    for name, edits, _ in MUTATIONS:
        try:
            mutated(ROOT, edits)
        except Misfit as error:
            print(f"MISFIT  {name}: {error}")
            misfits += 1
    return misfits


def copy_file(source, target):
    """Copy what has changed, so that a build makes only that anew. Warnings are no errors in mutated sources."""
    data = source.read_bytes()
    if source == ROOT / "CMakeLists.txt":
        data = data.replace(b" -Werror ", b" ")
    if not target.exists() or target.read_bytes() != data:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(source.stat().st_mode)


class Copy:
    """A copy of the sources and its build."""

    def __init__(self, folder):
        self.tree = folder / "tree"
        self.build = folder / "build"
        keep = set()
        for top in COPIED:
            base = ROOT / top
            for source in [base] if base.is_file() else base.rglob("*"):
                if source.is_file() and "__pycache__" not in source.parts:
                    target = self.tree / source.relative_to(ROOT)
                    copy_file(source, target)
                    keep.add(target)
        for target in self.tree.rglob("*"):
            if target.is_file() and target not in keep:
                target.unlink()
        run(["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", "-DTESTS=ON", "-DBENCH=OFF",
             "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG"])

    def make(self, targets):
        run(["cmake", "--build", self.build, "--target", *targets])


def run(command):
    """Run; what it said is shown if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout[-4000:])
        raise SystemExit(f"failed: {' '.join(map(str, command))}")


class Check:
    """What has to fail: a number of seeds of `sim`, or "test_program suite/pattern of its tests"."""

    def __init__(self, what):
        self.seeds = what if isinstance(what, int) else 0
        self.target, _, self.filter = ("sim", "", "") if self.seeds else what.partition(" ")

    def __str__(self):
        return f"{self.seeds} seeds" if self.seeds else f"{self.target} {self.filter}".strip()

    def command(self, build, first):
        program = build / self.target
        if self.seeds:
            return [program, "-s", str(first), "-n", str(self.seeds), "-t", str(RUN_S_MAX)]
        chosen = ["--filter", self.filter] if self.filter else []
        return [program, "--timeout", "60", "-j1", *chosen]

    def failure_of(self, done):
        """What failed, or None."""
        said = done.stdout + done.stderr
        if self.seeds:
            ran = re.search(r"^seeds (\d+)", done.stdout, re.M)
            if done.returncode == 0 and (not ran or int(ran.group(1)) != self.seeds):
                raise SystemExit(f"{self}: they took longer than {RUN_S_MAX} s")
        elif re.search(r"Tested: \D*0\D", said):
            raise SystemExit(f"{self}: there is no such test")
        if done.returncode == 0:
            return None
        said = re.sub(r"\x1b\[[0-9;]*m", "", said)
        lines = [line for line in said.splitlines() if re.match(r"FAILED|aborted|\[FAIL\]", line)]
        return lines[-1 if self.seeds else 0] if lines else f"it ended with {done.returncode}"

    def run(self, build, first):
        """Returns what failed, or None."""
        command = self.command(build, first)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                              start_new_session=True) as process:
            try:
                out, err = process.communicate(timeout=RUN_S_MAX + 60 if self.seeds else UNIT_S_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # and what it has started
                return "it came to no end"
        return self.failure_of(subprocess.CompletedProcess(command, process.returncode, out, err))


def try_mutation(copies, mutation, first):
    """Build and run one mutation. Returns whether it was found."""
    name, edits, what = mutation
    check = Check(what)
    copy = copies.get()
    start = time.monotonic()
    before = mutate(copy.tree, edits)
    try:
        copy.make([check.target])
        failure = check.run(copy.build, first)
    finally:
        for path, text in before.items():
            path.write_text(text)
        copies.put(copy)
    took = time.monotonic() - start
    print(f"{'caught ' if failure else 'SURVIVED'}  {name} ({check}, {took:.1f} s): {failure or ''}", flush=True)
    return failure is not None


def checks_of(mutations):
    """What the mutations need: the most seeds, and each unit test."""
    seeds = max((what for _, _, what in mutations if isinstance(what, int)), default=0)
    tests = sorted({what for _, _, what in mutations if not isinstance(what, int)})
    return [Check(what) for what in ([seeds] if seeds else []) + tests]


def try_unchanged(copy, mutations, first):
    """Returns what fails in the sources as they are, or None."""
    checks = checks_of(mutations)
    copy.make(sorted({check.target for check in checks}))
    for check in checks:
        failure = check.run(copy.build, first)
        if failure:
            return f"{check}: {failure}"
    print(f"the sources as they are pass: {', '.join(map(str, checks))}", flush=True)
    return None


def try_all(work, mutations, jobs, first):
    """Returns how many survived."""
    copies = Queue()
    for i in range(jobs):
        copies.put(Copy(work / f"copy-{i}"))
    copy = copies.get()
    failure = try_unchanged(copy, mutations, first)
    copies.put(copy)
    if failure:
        print(f"the sources as they are fail: {failure}")
        return len(mutations)
    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(lambda m: try_mutation(copies, m, first), mutations))
    print(f"{sum(found)} of {len(found)} mutations caught")
    return found.count(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("-k", default="")
    options = parser.parse_args()
    if check_table() > 0:
        print("Say in tests/sim/mutations_table.py or mutations_data.py how these faults are made in the sources as they are now.")
        return 1
    if options.check:
        return 0
    mutations = [m for m in MUTATIONS if options.k in m[0] and (m[0] in QUICK or not options.quick)]
    if options.work:
        return 1 if try_all(options.work, mutations, options.jobs, options.first) > 0 else 0
    with tempfile.TemporaryDirectory(prefix="fanfare-mutations.") as work:
        return 1 if try_all(pathlib.Path(work), mutations, options.jobs, options.first) > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
