/* What is postponed for a client while its subscriptions are under way. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "session/output.h"

#define OF_CHANNEL "*3\r\n$7\r\nmessage\r\n$2\r\nab\r\n$3\r\n1\r\n\r\n"
#define OF_PATTERN ">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\nab\r\n$1\r\n2\r\n"
#define OF_OTHER "*4\r\n$8\r\npmessage\r\n$3\r\na*b\r\n$2\r\nab\r\n$0\r\n\r\n"

Test(output, of_a_refused_pattern_nothing_stays_that_came_since_it_was_asked_for)
{
    struct session session = {0};
    struct buf *postponed = &session_extra(&session)->postponed;
    buf_append(postponed, SLICE(OF_PATTERN));
    size_t before = postponed->len;
    buf_append(postponed, SLICE(OF_CHANNEL OF_PATTERN OF_OTHER OF_PATTERN OF_PATTERN OF_CHANNEL));
    session_forget_postponed(&session, before, TOPIC_PATTERN, SLICE("a*"));
    cr_assert(slice_equal(buf_slice(postponed), SLICE(OF_PATTERN OF_CHANNEL OF_OTHER OF_CHANNEL)),
              "%.*s", (int)postponed->len, postponed->data);
    session_forget_postponed(&session, postponed->len, TOPIC_PATTERN, SLICE("a*b"));
    cr_assert(slice_equal(buf_slice(postponed), SLICE(OF_PATTERN OF_CHANNEL OF_OTHER OF_CHANNEL)));
    buf_fini(postponed);
    mem_free(session.extra);
}
