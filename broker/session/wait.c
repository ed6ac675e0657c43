/* wait: begin, note, go on. */
#include "session/wait.h"

#include "session/bar.h"

void wait_begin(struct session *session, const struct wait_ops *ops, void *question,
                uint16_t command)
{
    session_bar(session, BAR_COMMAND);
    struct wait *wait = &session->extra->wait;
    CHECK(wait->ops == NULL);
    wait->ops = ops;
    wait->question = question;
    wait->command = command;
}

void wait_over(struct session *session)
{
    CHECK(session->bar == BAR_COMMAND && session->extra->wait.ops != NULL);
    list_remove(&session->extra->wait.link);
    list_push_back(&sessions_of(session)->over, &session->extra->wait.link);
}

/* Take it out: nothing is waited for any more. */
static struct wait take(struct session *session)
{
    struct wait wait = session->extra->wait;
    session->extra->wait.ops = NULL;
    session->extra->wait.question = NULL;
    return wait;
}

/* Those that join meanwhile wait for the next turn. */
void wait_turn_end(struct sessions *sessions)
{
    struct list now;
    list_init(&now);
    LIST_EACH (link, &sessions->over) {
        list_remove(link);
        list_push_back(&now, link);
    }
    struct list *link;
    while ((link = list_pop_front(&now)) != NULL) {
        struct session *session = CONTAINER_OF(link, struct session_extra, wait.link)->session;
        struct wait wait = take(session);
        session_lift(session);
        sessions->ops->go_on(session, &wait);
        session_go_on(session);
    }
}

void wait_forget(struct session *session)
{
    if (session->bar != BAR_COMMAND) { return; }
    struct wait wait = take(session);
    if (wait.ops->forget != NULL) { wait.ops->forget(wait.question); }
}
