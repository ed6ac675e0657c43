"""power_cut: makes a power cut of a kill -9: what a process had written to files and not flushed is taken back, as far as a
disk that was on its way might have lost it.

The process runs with lib/power_cut.c preloaded (Watch.env). After its death `cut` decides for each file by a coin: nothing
is lost, all since the last flush is, or some of its pages are and others are not; and of what became of names in a folder
since the last flush of that, only the first so many. Then the machine has another boot id.
"""

import os
import pathlib
import random
import shutil
import struct
import uuid

from .cluster import Cluster, Node

SHIM = os.environ.get("POWER_CUT_SHIM", "")
PAGE = 4096
RECORD = struct.Struct("=QQQ")


class Watch:
    """The notes about the files under `root`, in a folder beside it."""

    def __init__(self, shim, root):
        self.root = pathlib.Path(root)
        self.notes = self.root.with_name(self.root.name + ".power")
        self.notes.mkdir(exist_ok=True)
        self.boot_id = self.notes / "boot_id"
        self.new_boot()
        self.env = {"LD_PRELOAD": str(shim), "POWER_CUT_ROOT": str(self.root), "POWER_CUT_DIR": str(self.notes),
                    "POWER_CUT_BOOT_ID": str(self.boot_id)}

    def new_boot(self):
        """The machine is started anew."""
        self.boot_id.write_text(f"{uuid.uuid4()}\n")

    def cut(self, rng=random, how=None):
        """The process is dead: lose what was not flushed. `how`: "all" for everything that can be lost. Returns
        {path: how}."""
        done = {}
        for note, path in self._noted("undo"):
            done[str(path)] = _lose(path, _records(note), rng, how)
        for note, folder in self._noted("names"):
            done[str(folder)] = self._lose_names(folder, note.read_text().splitlines(), rng, how)
        for note in self.notes.iterdir():
            if note != self.boot_id:
                note.unlink()
        self.new_boot()
        return done

    def wipe(self):
        """The root's files are gone, by other means."""
        shutil.rmtree(self.notes, ignore_errors=True)
        self.notes.mkdir()
        self.new_boot()

    def _noted(self, kind):
        """[(note, path)] by path: by inode, one seed would not make one cut."""
        paths = self._paths()
        found = [(note, paths[note.stem]) for note in self.notes.glob(f"*.{kind}") if note.stem in paths]
        return sorted(found, key=lambda row: row[1])

    def _paths(self):
        found = {}
        for place in (self.notes, self.root):
            for folder, _, names in os.walk(place):
                for path in [pathlib.Path(folder)] + [pathlib.Path(folder, name) for name in names]:
                    stat = path.lstat()
                    found[f"{stat.st_dev:x}-{stat.st_ino:x}"] = path
        return found

    def _lose_names(self, folder, lines, rng, how):
        kept = 0 if how == "all" else rng.randint(0, len(lines))
        for line in reversed(lines[kept:]):
            what, one, two, saved = line.split("\t")
            source = self.notes / saved
            if what == "create":
                (folder / one).unlink(missing_ok=True)
            elif what == "rename":
                if (folder / two).exists():
                    os.replace(folder / two, folder / one)
                if saved != "-" and source.exists():
                    os.link(source, folder / two)
            elif what == "unlink" and source.exists() and not (folder / one).exists():
                os.link(source, folder / one)
        return f"{kept} of {len(lines)} changes of names kept"


def _records(note):
    """[(offset, bytes that were there, size of the file before)], in the order of the writes."""
    data, place, found = note.read_bytes(), 0, []
    while place + RECORD.size <= len(data):
        offset, length, size = RECORD.unpack_from(data, place)
        place += RECORD.size
        if place + length > len(data):
            break  # it died while it wrote this; then it had not written to the file
        found.append((offset, data[place:place + length], size))
        place += length
    return found


def _lose(path, records, rng, how):
    how = how or rng.choice(["nothing", "all", "some"])
    if how == "nothing" or not records:
        return "nothing"
    new = path.read_bytes()
    old = bytearray(new)
    for offset, replaced, size in reversed(records):
        if len(old) < size:
            old.extend(bytes(size - len(old)))
        old[offset:offset + len(replaced)] = replaced
        del old[size:]
    if how == "some":
        size = rng.choice([len(old), len(new)])
        pages = [(old if rng.random() < 0.5 else new)[at:at + PAGE].ljust(PAGE, b"\0") for at in range(0, size, PAGE)]
        old = b"".join(pages)[:size]
    path.write_bytes(old)
    return how


class PowerNode(Node):
    """A member whose power can be cut."""

    def __init__(self, cluster, name, options):
        super().__init__(cluster, name, options)
        self.watch = Watch(SHIM, self.data)
        self.env.update(self.watch.env)

    def wipe(self):
        """What was noted about the files goes with them."""
        super().wipe()
        self.watch.wipe()


class PowerCluster(Cluster):
    """A cluster of such nodes."""

    node_class = PowerNode
