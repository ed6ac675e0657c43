/* cmd_debug: DEBUG, for tests of clients and of servers under stress. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cmd/caller.h"
#include "cmd/permission.h"

/* Holds up this worker and its clients, on purpose: tests of timeouts and backlogs need a server
 * that does not answer. */
static void debug_sleep(struct call *call)
{
    enum { SECONDS_MAX = 60 };
    char text[32];
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(call->argv[2]));
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= SECONDS_MAX)) {
        reply_error(call->reply, "ERR DEBUG SLEEP takes seconds from 0 to 60");
        return;
    }
    const struct timespec pause = {(time_t)seconds,
                                   (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&pause, NULL);
    reply_ok(call->reply);
}

/* ---- PROTOCOL: what a client library's own tests ask for ---- */

static void sample_string(struct reply *reply)
{
    reply_bulk_str(reply, "Hello World");
}

static void sample_integer(struct reply *reply)
{
    reply_int(reply, 12345);
}

static void sample_double(struct reply *reply)
{
    reply_double(reply, 3.141);
}

static void sample_elements(struct reply *reply, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        reply_int(reply, i);
    }
}

static void sample_array(struct reply *reply)
{
    reply_array(reply, 3);
    sample_elements(reply, 3);
}

static void sample_set(struct reply *reply)
{
    reply_set(reply, 3);
    sample_elements(reply, 3);
}

static void sample_map(struct reply *reply)
{
    reply_map(reply, 3);
    for (int64_t i = 0; i < 3; i++) {
        reply_int(reply, i);
        reply_bool(reply, i == 1);
    }
}

/* Nothing that we answer has attributes, so resp_write does not know them. */
static void sample_attribute(struct reply *reply)
{
    if (reply->version == 3) {
        buf_append(reply->out, SLICE("|1\r\n"));
        reply_bulk_str(reply, "key-popularity");
        reply_array(reply, 2);
        reply_bulk_str(reply, "key:123");
        reply_int(reply, 90);
    }
    reply_bulk_str(reply, "Some real reply following the attribute");
}

static void sample_push(struct reply *reply)
{
    reply_push(reply, 2);
    reply_bulk_str(reply, "server-cpu-usage");
    reply_int(reply, 42);
}

static void sample_verbatim(struct reply *reply)
{
    reply_verbatim(reply, SLICE("This is a verbatim\nstring"));
}

static void sample_big_number(struct reply *reply)
{
    static const char digits[] = "1234567999999999999999999999999999999";
    if (reply->version == 3) {
        buf_appendf(reply->out, "(%s\r\n", digits);
    } else {
        reply_bulk_str(reply, digits);
    }
}

static void sample_true(struct reply *reply)
{
    reply_bool(reply, true);
}

static void sample_false(struct reply *reply)
{
    reply_bool(reply, false);
}

static void debug_protocol(struct call *call)
{
    static const struct {
        struct slice name;
        void (*write)(struct reply *reply);
    } samples[] = {
        {{"string", 6}, sample_string},     {{"integer", 7}, sample_integer},
        {{"double", 6}, sample_double},     {{"null", 4}, reply_null},
        {{"array", 5}, sample_array},       {{"set", 3}, sample_set},
        {{"map", 3}, sample_map},           {{"attrib", 6}, sample_attribute},
        {{"push", 4}, sample_push},         {{"verbatim", 8}, sample_verbatim},
        {{"bignum", 6}, sample_big_number}, {{"true", 4}, sample_true},
        {{"false", 5}, sample_false},
    };
    for (unsigned i = 0; i < COUNT_OF(samples); i++) {
        if (slice_equal_nocase(call->argv[2], samples[i].name)) {
            samples[i].write(call->reply);
            return;
        }
    }
    reply_error(call->reply, "ERR Wrong protocol type name. Please use one of the following: "
                             "string|integer|double|null|array|set|map|attrib|push|verbatim|"
                             "bignum|true|false");
}

/* ---- DEBUG ---- */

static void debug_help(struct call *call)
{
    static const char *const lines[] = {
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "SLEEP <seconds>",
        "    Stop the thread that serves this client for a time. Decimals allowed.",
        "PROTOCOL <type>",
        "    Reply with a sample of that type: string, integer, double, null, array, set, map,",
        "    attrib, push, verbatim, bignum, true, false.",
        "HELP",
        "    Print this help.",
    };
    reply_array(call->reply, COUNT_OF(lines));
    for (unsigned i = 0; i < COUNT_OF(lines); i++) {
        reply_status(call->reply, lines[i]);
    }
}

void cmd_debug(struct call *call)
{
    if (!permission_by_option(call, CONFIG_enable_debug_command)) {
        reply_error(call->reply,
                    "ERR DEBUG command not allowed. If the enable-debug-command option is set to "
                    "\"local\", you can run it from a local connection, otherwise you need to set "
                    "this option in the configuration file, and then restart the server.");
    } else if (call->argc == 3 && slice_equal_nocase(call->argv[1], SLICE("sleep"))) {
        debug_sleep(call);
    } else if (call->argc == 3 && slice_equal_nocase(call->argv[1], SLICE("protocol"))) {
        debug_protocol(call);
    } else if (call->argc == 2 && slice_equal_nocase(call->argv[1], SLICE("help"))) {
        debug_help(call);
    } else {
        reply_errorf(
            call->reply,
            "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG HELP.",
            (int)(call->argv[1].len < 128 ? call->argv[1].len : 128), call->argv[1].data);
    }
}
