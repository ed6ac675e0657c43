"""Celery while its broker is in trouble: broker and results in one database, tasks acknowledged late. What is not
acknowledged is delivered again, on any server: so nothing may be lost, and what is done twice is no fault."""

import pathlib
import sys

import pytest

from lib.app_scene import judge

pytest.importorskip("celery", reason="python3-celery is not installed (deploy/setup.sh test)")
APPS = pathlib.Path(__file__).parent / "apps"


def test_no_task_is_lost(scene):
    for number in range(2):
        scene.run(sys.executable, "-m", "celery", "-A", "celery_work", "worker", "-P", "threads", "-c", "4", "-n",
                  f"w{number}@test", "-l", "warning", "--without-mingle", is_supervised=True, PYTHONPATH=str(APPS))
    scene.run(sys.executable, APPS / "celery_work.py")
    scene.trouble()
    scene.finish()
    judge(scene.journal, in_hand_max=2)
