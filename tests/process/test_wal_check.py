"""fanfare wal-check DIR: what it says of a log that is whole, torn, damaged or not there, and that it changes nothing."""

import os
import re
import shutil
import subprocess

import pytest

from lib.broker import run_cli
from lib.ports import free_port
from lib.wait import wait_until

pytestmark = pytest.mark.fanfare_only

EXIT_WHOLE, EXIT_DAMAGED, EXIT_UNREADABLE, EXIT_USAGE = 0, 1, 2, 64
SECTOR_BYTES = 512
COMMAND_BYTES = 4000  # an entry's record spans several sectors, so that a part of it can be missing


@pytest.fixture(scope="module")
def written_log(tmp_path_factory):
    """The directory of a log that a node has written and closed, with a few entries of one group."""
    program = os.environ.get("CONSENSUS_NODE")
    if not program:
        pytest.skip("consensus_node is not built (-DBENCH=ON): nothing writes a log")
    work = tmp_path_factory.mktemp("wal")
    output = work / "out"
    argv = [program, "-n", "n1", "-d", work / "log", "-p", f"n1=127.0.0.1:{free_port()}", "-b", str(COMMAND_BYTES),
            "-e", "300", "-h", "50", "-r", "20", "-c"]
    with open(output, "w", encoding="ascii") as out:
        node = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: re.search(r"acked_total=[1-9]", output.read_text()), what="a command is acknowledged")
        node.terminate()
        assert node.wait(20) == 0, output.read_text()
    finally:
        node.kill()
        node.wait()
    yield work / "log"
    shutil.rmtree(work)


@pytest.fixture
def log(written_log, tmp_path):
    """A copy of that directory for one test; only the segments, without the rest of their preallocated space."""
    for segment in written_log.glob("wal-*"):
        data = segment.read_bytes().rstrip(b"\0")
        (tmp_path / segment.name).write_bytes(data + bytes(2 * COMMAND_BYTES))
    assert list(tmp_path.iterdir())
    return tmp_path


def last_segment(log):
    """Its path and its bytes."""
    path = max(log.iterdir())
    return path, bytearray(path.read_bytes())


def check(log):
    """Run it; returns its status, the fields of the summary, and all that it printed."""
    before = {p.name: p.read_bytes() for p in log.iterdir()}
    result = run_cli("wal-check", str(log))
    assert {p.name: p.read_bytes() for p in log.iterdir()} == before, "it changed the log"
    summary = next(line for line in result.stdout.splitlines() if line.startswith("segments="))
    return result.returncode, dict(re.findall(r"(\w+)=(\S+)", summary)), result.stdout


def test_a_whole_log_is_described_and_exits_0(log):
    status, summary, text = check(log)
    assert status == EXIT_WHOLE
    assert summary["state"] == "whole" and summary["groups"] == "1" and summary["torn_bytes"] == "0"
    assert int(summary["entries"]) >= 2
    assert re.search(r"^group=1 replica=1 term=\d+ vote=\d+ first=1 last=\d+ bytes=\d+$", text, re.M)


def test_a_torn_tail_is_whole_and_says_how_much_is_cut(log):
    entries = int(check(log)[1]["entries"])
    path, data = last_segment(log)
    end = len(data.rstrip(b"\0"))
    torn_at = (end - 1) // SECTOR_BYTES * SECTOR_BYTES
    data[torn_at:] = bytes(len(data) - torn_at)
    path.write_bytes(data)
    status, summary, _ = check(log)
    assert status == EXIT_WHOLE and summary["state"] == "whole"
    assert 0 < int(summary["torn_bytes"]) <= COMMAND_BYTES + SECTOR_BYTES
    assert int(summary["entries"]) == entries - 1


def test_a_flipped_bit_is_damage_that_is_named_and_exits_1(log):
    path, data = last_segment(log)
    data[data.index(b"x" * 8, len(data.rstrip(b"\0")) // 2)] ^= 0x10  # not in the padding of a record, which means nothing
    path.write_bytes(data)
    status, summary, text = check(log)
    assert status == EXIT_DAMAGED and summary["state"] != "whole"
    assert re.search(r"^damage: .* in segment \d+ at offset \d+, record \d+; .*rebuilt", text, re.M)


def test_a_missing_directory_exits_2_and_is_named(tmp_path):
    missing = tmp_path / "missing"
    result = run_cli("wal-check", str(missing))
    assert result.returncode == EXIT_UNREADABLE
    assert result.stdout == "" and str(missing) in result.stderr
    assert not missing.exists()


@pytest.mark.parametrize("argv", [[], ["a", "b"]], ids=["none", "two"])
def test_another_number_of_directories_is_a_usage_error(argv):
    result = run_cli("wal-check", *argv)
    assert result.returncode == EXIT_USAGE
    assert result.stdout == "" and result.stderr == "usage: fanfare wal-check DIR\n"


def test_the_help_names_it():
    assert "fanfare wal-check DIR" in run_cli("--help").stdout
