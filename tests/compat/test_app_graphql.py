"""GraphQL subscriptions while their broker is in trouble."""


def test_what_is_said_is_heard_once_and_in_order(scene):
    scene.node("app-graphql")
    scene.trouble(share=100)
    scene.finish()
