"""hiredis, blocking and on libevent: the programs beside this file, built by CMake into COMPAT_BIN_DIR."""

import os
import pathlib
import subprocess

import pytest

from lib.broker import HOST
from lib.wait import SCALE


@pytest.mark.parametrize("program", ["hiredis_sync", "hiredis_async"])
def test_the_promises_of_the_program_hold(program, broker):
    path = pathlib.Path(os.environ.get("COMPAT_BIN_DIR", "")) / program
    assert path.is_file(), f"{program} is not built: CMake builds it where libhiredis-dev is installed"
    result = subprocess.run([path, HOST, str(broker.port)], capture_output=True, text=True, timeout=90 * SCALE,
                            check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ok - " in result.stdout
