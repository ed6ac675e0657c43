"""BullMQ while its broker is in trouble."""

from lib.app_scene import judge


def test_no_job_is_lost_and_none_done_again(scene):
    scene.node("app-bullmq")
    scene.trouble(share=100)
    scene.finish()
    judge(scene.journal)
