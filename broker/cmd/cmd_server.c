/* cmd_server: FUNCTION FLUSH and LIST, LOLWUT, REPLICAOF, ROLE, SHUTDOWN, TIME. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cmd/caller.h"

static void syntax_error(struct call *call)
{
    reply_error(call->reply, "ERR syntax error");
}

void cmd_time(struct call *call)
{
    uint64_t now_us = clock_wall_us();
    char digits[20];
    reply_array(call->reply, 2);
    reply_bulk(call->reply, slice_of(digits, uint64_to_text(now_us / 1000000, digits)));
    reply_bulk(call->reply, slice_of(digits, uint64_to_text(now_us % 1000000, digits)));
}

void cmd_role(struct call *call)
{
    reply_array(call->reply, 3);
    reply_bulk_str(call->reply, "master");
    reply_int(call->reply, 0);
    reply_array(call->reply, 0);
}

void cmd_replicaof(struct call *call)
{
    if (slice_equal_nocase(call->argv[1], SLICE("no")) &&
        slice_equal_nocase(call->argv[2], SLICE("one"))) {
        reply_ok(call->reply);
    } else {
        reply_error(call->reply, "ERR REPLICAOF not allowed: nodes replicate by themselves.");
    }
}

/* There are none, so nothing is left to remove: what test suites and tools do first succeeds.
 * The arguments from `at` on may be one word, the mode. */
static void flush(struct call *call, uint32_t at)
{
    bool has_mode = call->argc == at + 1 && (slice_equal_nocase(call->argv[at], SLICE("async")) ||
                                             slice_equal_nocase(call->argv[at], SLICE("sync")));
    if (call->argc > at && !has_mode) {
        reply_error(call->reply, "ERR syntax error");
        return;
    }
    reply_ok(call->reply);
}

void cmd_function_flush(struct call *call)
{
    flush(call, 2);
}

void cmd_function_list(struct call *call)
{
    reply_array(call->reply, 0);
}

void cmd_lolwut(struct call *call)
{
    reply_verbatim(call->reply, SLICE("                           .  *\n"
                                      "              ____....--- .  *   news\n"
                                      "  __     __.-'         )   .  *    news\n"
                                      " (__)===[__      o  o  )  -- -- *    news\n"
                                      "           '-.__       )   '  *    news\n"
                                      "                ''''---' '  *   news\n"
                                      "                           '  *\n"
                                      "one message, everyone who listens\n\n"
                                      "fanfare ver. " FANFARE_VERSION
                                      ", as Redis ver. " BROKER_REDIS_VERSION "\n"));
}

void cmd_shutdown(struct call *call)
{
    bool is_now = false, aborts = false, saves = false, saves_not = false;
    for (uint32_t i = 1; i < call->argc; i++) {
        struct slice word = call->argv[i];
        if (slice_equal_nocase(word, SLICE("now"))) {
            is_now = true;
        } else if (slice_equal_nocase(word, SLICE("abort"))) {
            aborts = true;
        } else if (slice_equal_nocase(word, SLICE("save"))) {
            saves = true;
        } else if (slice_equal_nocase(word, SLICE("nosave"))) {
            saves_not = true;
        } else if (!slice_equal_nocase(word, SLICE("force"))) {
            syntax_error(call);
            return;
        }
    }
    if ((saves && saves_not) || (aborts && call->argc > 2)) {
        syntax_error(call);
    } else if (aborts && atomic_load(&call->caller->broker->is_shutting_down)) {
        reply_error(call->reply, "ERR The shutdown goes on: other nodes take over from this one.");
    } else if (aborts) {
        reply_error(call->reply, "ERR No shutdown in progress.");
    } else { /* the answer is the end of the connection */
        call->caller->broker->request_shutdown(call->caller->broker->request_shutdown_arg, is_now);
    }
}
