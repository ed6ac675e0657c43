"""The layers of django-channels while their broker is in trouble."""

import pathlib
import sys

import pytest

pytest.importorskip("channels_redis", reason="python3-channels-redis is not installed (deploy/setup.sh test)")
PROGRAM = pathlib.Path(__file__).parent / "apps" / "channels_app.py"


@pytest.mark.parametrize("layer", ["core", "pubsub"])
def test_all_of_a_group_hear_what_is_said(scene, layer):
    scene.run(sys.executable, PROGRAM, layer)
    scene.trouble(share=100)
    scene.finish()
