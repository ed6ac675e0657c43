"""rate-limiter-flexible while its broker is in trouble."""


def test_no_more_than_the_limit_pass(scene):
    scene.node("app-limiter")
    scene.trouble(share=100)
    scene.finish()
