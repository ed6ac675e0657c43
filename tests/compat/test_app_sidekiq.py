"""Sidekiq while its broker is in trouble. Its workers pop jobs and acknowledge nothing."""

import pathlib
import shutil

import pytest

from lib.app_scene import judge

PROGRAM = pathlib.Path(__file__).parent / "apps" / "sidekiq_app.rb"


@pytest.mark.skipif(not shutil.which("sidekiq"), reason="ruby-sidekiq is not installed (deploy/setup.sh test)")
def test_no_job_is_lost_and_none_done_again(scene):
    for _ in range(2):
        scene.run("sidekiq", "-r", PROGRAM, "-c", "4", "-t", "5", "-e", "test", is_supervised=True)
    scene.run("ruby", PROGRAM, "produce")
    scene.trouble(share=80)
    scene.finish()
    judge(scene.journal, in_hand_max=2)
