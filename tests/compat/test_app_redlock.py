"""Redlock on ioredis while its broker is in trouble."""


def test_whoever_has_a_lock_is_alone(scene):
    scene.node("app-redlock")
    scene.trouble(share=100)
    scene.finish()
