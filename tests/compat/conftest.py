"""Shared set-up of the client tests: makes tests/lib importable and its fixtures known."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from lib.fixtures import *  # noqa: E402,F401,F403
from lib.app_scene import scene_fixture  # noqa: E402,F401
