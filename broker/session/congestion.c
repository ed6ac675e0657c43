/* congestion: ask, stop, go on. */
#include "session/congestion.h"

#include "session/bar.h"

static bool others_are_behind(struct sessions *sessions)
{
    return sessions->worker_count > 1 && fanout_is_congested(sessions->fanout);
}

void congestion_consider(struct session *session)
{
    session->flags &= ~(uint32_t)SESSION_LOADS;
    if (session->bar == BAR_NONE && others_are_behind(sessions_of(session))) {
        session_bar(session, BAR_CONGESTION);
    }
}

bool congestion_is_over(struct sessions *sessions)
{
    return !list_is_empty(&sessions->barred[BAR_CONGESTION]) && !others_are_behind(sessions);
}

void congestion_turn_end(struct sessions *sessions)
{
    if (UNLIKELY(congestion_is_over(sessions))) { sessions_unbar(sessions, BAR_CONGESTION); }
}
