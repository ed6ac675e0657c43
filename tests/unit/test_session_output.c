/* What is held for a client while its subscriptions are under way. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "cmd/session.h"

#define OF_CHANNEL "*3\r\n$7\r\nmessage\r\n$2\r\nab\r\n$3\r\n1\r\n\r\n"
#define OF_PATTERN ">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\nab\r\n$1\r\n2\r\n"
#define OF_OTHER "*4\r\n$8\r\npmessage\r\n$3\r\na*b\r\n$2\r\nab\r\n$0\r\n\r\n"

Test(held, of_a_refused_pattern_nothing_stays_that_came_since_it_was_asked_for)
{
    struct session session = {0};
    struct buf *held = &session_extra(&session)->held;
    buf_append(held, SLICE(OF_PATTERN));
    size_t before = held->len;
    buf_append(held, SLICE(OF_CHANNEL OF_PATTERN OF_OTHER OF_PATTERN OF_PATTERN OF_CHANNEL));
    session_forget_held(&session, before, TOPIC_PATTERN, SLICE("a*"));
    cr_assert(slice_equal(buf_slice(held), SLICE(OF_PATTERN OF_CHANNEL OF_OTHER OF_CHANNEL)),
              "%.*s", (int)held->len, held->data);
    session_forget_held(&session, held->len, TOPIC_PATTERN, SLICE("a*b"));
    cr_assert(slice_equal(buf_slice(held), SLICE(OF_PATTERN OF_CHANNEL OF_OTHER OF_CHANNEL)));
    buf_fini(held);
    mem_free(session.extra);
}
