"""express-session and connect-redis while their broker is in trouble."""


def test_what_a_visitor_was_told_is_remembered(scene):
    scene.node("app-sessions")
    scene.trouble(share=100)
    scene.finish()
