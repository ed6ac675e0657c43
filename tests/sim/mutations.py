#!/usr/bin/env python3
"""Puts faults into a copy of the sources, one after the other, and demands that the simulator finds each.

usage: mutations.py [--check] [--quick] [--work DIR] [--jobs N] [-k WORD]
  --check  only see whether every replacement of the table still fits the sources
  --quick  only a few that few seeds show
  --work   where copies and builds are; kept for the next time
  --jobs   so many at a time
  --first  seeds from there on, instead of the ones that the table speaks of
  -k       only mutations whose name holds WORD
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from mutations_table import MUTATIONS, QUICK  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPIED = ("CMakeLists.txt", "broker", "consensus", "proto", "tests")
RUN_S_MAX = 300


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

    def make(self):
        run(["cmake", "--build", self.build, "--target", "sim"])
        return self.build / "sim"


def run(command):
    """Run; what it said is shown if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout[-4000:])
        raise SystemExit(f"failed: {' '.join(map(str, command))}")


def simulate(program, seeds, first=1):
    """Run seeds until one fails. Returns what failed, or None."""
    command = [program, "-s", str(first), "-n", str(seeds), "-t", str(RUN_S_MAX)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=RUN_S_MAX + 60, check=False)
    except subprocess.TimeoutExpired:
        return "it came to no end"
    if done.returncode == 0:
        ran = re.search(r"^seeds (\d+)", done.stdout, re.M)
        if not ran or int(ran.group(1)) != seeds:
            raise SystemExit(f"{program}: {seeds} seeds took longer than {RUN_S_MAX} s")
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if re.match("FAILED|aborted", line)]
    return lines[-1] if lines else f"it ended with {done.returncode}"


def try_mutation(copies, mutation, first):
    """Build and run one mutation. Returns whether it was found."""
    name, edits, seeds = mutation
    copy = copies.get()
    start = time.monotonic()
    before = mutate(copy.tree, edits)
    try:
        failure = simulate(copy.make(), seeds, first)
    finally:
        for path, text in before.items():
            path.write_text(text)
        copies.put(copy)
    took = time.monotonic() - start
    print(f"{'caught ' if failure else 'SURVIVED'}  {name} ({seeds} seeds, {took:.1f} s): {failure or ''}", flush=True)
    return failure is not None


def try_all(work, mutations, jobs, first):
    """Returns how many survived."""
    copies = Queue()
    for i in range(jobs):
        copies.put(Copy(work / f"copy-{i}"))
    copy = copies.get()
    seeds = max(seeds for _, _, seeds in mutations)
    failure = simulate(copy.make(), seeds, first)
    copies.put(copy)
    if failure:
        print(f"the sources as they are fail: {failure}")
        return len(mutations)
    print(f"the sources as they are pass {seeds} seeds", flush=True)
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
        print("Say in tests/sim/mutations_table.py how these faults are made in the sources as they are now.")
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
