"""RQ while its broker is in trouble. A worker that ends is started again, as a supervisor does; what a worker had in its
hands when its connection broke fails, and is put back as RQ's own commands do it."""

import pathlib
import sys

import pytest

from lib.app_scene import judge

pytest.importorskip("rq", reason="python3-rq is not installed (deploy/setup.sh test)")
PROGRAM = pathlib.Path(__file__).parent / "apps" / "rq_app.py"


def test_no_job_is_lost_and_none_done_again(scene):
    for _ in range(2):
        scene.run(sys.executable, PROGRAM, "worker", is_supervised=True)
    scene.run(sys.executable, PROGRAM, "produce")
    scene.trouble(share=20)
    scene.finish()
    judge(scene.journal)
