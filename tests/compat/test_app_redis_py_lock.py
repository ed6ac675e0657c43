"""The locks of redis-py while their broker is in trouble."""

import pathlib
import sys

PROGRAM = pathlib.Path(__file__).parent / "apps" / "lock_app.py"


def test_whoever_has_a_lock_is_alone(scene):
    scene.run(sys.executable, PROGRAM)
    scene.trouble(share=100)
    scene.finish()
