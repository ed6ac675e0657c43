"""small_disk: file systems in memory that somebody else fills up."""

import contextlib
import os
import pathlib
import subprocess

MIB = 1 << 20


class Unavailable(Exception):
    """No file system may be mounted here."""


class SmallDisk:
    """A tmpfs of so many bytes at `path`, until it is closed."""

    def __init__(self, path, size_bytes):
        self.path = pathlib.Path(path)
        self.filler = None
        self.path.mkdir(parents=True, exist_ok=True)
        result = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "none", str(self.path)],
                                capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise Unavailable(result.stderr.strip())

    def free_bytes(self):
        """What is left of it."""
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def fill(self):
        """Take every byte that there is by now."""
        if self.filler is None:
            self.filler = open(self.path / "filler", "ab", buffering=0)  # pylint: disable=consider-using-with
        size = MIB
        while size > 0:
            try:
                self.filler.write(bytes(size))
            except OSError:
                size //= 2

    def give_back(self):
        """The filler is gone."""
        self.filler.close()
        self.filler = None
        (self.path / "filler").unlink()

    def close(self):
        """Unmount it."""
        if self.filler is not None:
            self.filler.close()
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "--lazy", str(self.path)], capture_output=True, check=False)
