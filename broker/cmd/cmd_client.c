/* cmd_client: CLIENT, but for LIST, KILL and UNBLOCK (cmd_client_all.c). */
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/caller.h"
#include "cmd/client_line.h"
#include "cmd/client_text.h"
#include "cmd/ask_workers.h"

static void set_flag(struct session *session, uint32_t flag, bool is_on)
{
    session->flags &= ~flag;
    session->flags |= is_on ? flag : 0;
}

/* ON or OFF in argv[2]. False: neither, answered. */
static bool read_switch(struct call *call, bool *is_on)
{
    *is_on = slice_equal_nocase(call->argv[2], SLICE("on"));
    if (*is_on || slice_equal_nocase(call->argv[2], SLICE("off"))) { return true; }
    reply_error(call->reply, "ERR syntax error");
    return false;
}

/* ---- who ---- */

void cmd_client_id(struct call *call)
{
    reply_int(call->reply, (int64_t)call->caller->session->id);
}

void cmd_client_info(struct call *call)
{
    struct buf line = {0};
    client_line_append(&line, call->caller->session);
    reply_verbatim(call->reply, buf_slice(&line));
    buf_fini(&line);
}

void cmd_client_getname(struct call *call)
{
    const char *name = session_name(call->caller->session);
    if (name[0] == '\0') {
        reply_null(call->reply);
    } else {
        reply_bulk_str(call->reply, name);
    }
}

void cmd_client_setname(struct call *call)
{
    if (!client_text_is_plain(call->argv[2])) {
        reply_error(call->reply,
                    "ERR Client names cannot contain spaces, newlines or special characters.");
        return;
    }
    client_text_set(&session_extra(call->caller->session)->name, call->argv[2]);
    reply_ok(call->reply);
}

void cmd_client_setinfo(struct call *call)
{
    struct session_extra *extra = session_extra(call->caller->session);
    struct slice option = call->argv[2];
    bool is_name = slice_equal_nocase(option, SLICE("lib-name"));
    if (!is_name && !slice_equal_nocase(option, SLICE("lib-ver"))) {
        reply_errorf(call->reply, "ERR Unrecognized option '%.*s'",
                     (int)(option.len < 128 ? option.len : 128), option.data);
        return;
    }
    if (!client_text_is_plain(call->argv[3])) {
        reply_errorf(call->reply, "ERR %s cannot contain spaces, newlines or special characters.",
                     is_name ? "lib-name" : "lib-ver");
        return;
    }
    client_text_set(is_name ? &extra->lib_name : &extra->lib_version, call->argv[3]);
    reply_ok(call->reply);
}

/* ---- switches ---- */

void cmd_client_no_evict(struct call *call)
{
    bool is_on;
    if (!read_switch(call, &is_on)) { return; }
    set_flag(call->caller->session, SESSION_NO_EVICT, is_on);
    reply_ok(call->reply);
}

void cmd_client_no_touch(struct call *call)
{
    bool is_on;
    if (!read_switch(call, &is_on)) { return; }
    set_flag(call->caller->session, SESSION_NO_TOUCH, is_on);
    reply_ok(call->reply);
}

/* OFF and SKIP take effect at once, so they have no answer. */
void cmd_client_reply(struct call *call)
{
    struct session *session = call->caller->session;
    if (slice_equal_nocase(call->argv[2], SLICE("on"))) {
        set_flag(session, SESSION_REPLY_OFF | SESSION_REPLY_SKIP | SESSION_REPLY_SKIPPING, false);
        reply_ok(call->reply);
    } else if (slice_equal_nocase(call->argv[2], SLICE("off"))) {
        set_flag(session, SESSION_REPLY_OFF, true);
    } else if (slice_equal_nocase(call->argv[2], SLICE("skip"))) {
        set_flag(session, SESSION_REPLY_SKIP, !(session->flags & SESSION_REPLY_OFF));
    } else {
        reply_error(call->reply, "ERR syntax error");
    }
}

/* ---- tracking of keys, which is not offered ---- */

void cmd_client_tracking(struct call *call)
{
    bool is_on;
    if (!read_switch(call, &is_on)) { return; }
    if (is_on) {
        reply_error(call->reply,
                    "ERR client-side caching is not offered: CLIENT TRACKING can only be OFF");
        return;
    }
    reply_ok(call->reply);
}

void cmd_client_trackinginfo(struct call *call)
{
    reply_map(call->reply, 3);
    reply_bulk_str(call->reply, "flags");
    reply_set(call->reply, 1);
    reply_bulk_str(call->reply, "off");
    reply_bulk_str(call->reply, "redirect");
    reply_int(call->reply, -1);
    reply_bulk_str(call->reply, "prefixes");
    reply_array(call->reply, 0);
}

void cmd_client_getredir(struct call *call)
{
    reply_int(call->reply, -1);
}

void cmd_client_caching(struct call *call)
{
    reply_error(
        call->reply,
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
        "OPTOUT mode enabled");
}

/* ---- clients that wait ---- */

/* A pause that goes on is only ever made longer and stricter. */
static void pause_until(struct broker *broker, uint64_t until_ns, bool all)
{
    uint64_t now_ns = clock_mono_ns();
    uint64_t before = atomic_load(&broker->pause);
    uint64_t after;
    do {
        after = (until_ns & ~(uint64_t)BROKER_PAUSE_ALL) | (all ? BROKER_PAUSE_ALL : 0);
        if (before > now_ns) {
            uint64_t end_ns = before > after ? before : after;
            after = (end_ns & ~(uint64_t)BROKER_PAUSE_ALL) | ((before | after) & BROKER_PAUSE_ALL);
        }
    } while (!atomic_compare_exchange_weak(&broker->pause, &before, after));
}

void cmd_client_pause(struct call *call)
{
    int64_t timeout_ms;
    bool all = call->argc == 3 || slice_equal_nocase(call->argv[3], SLICE("all"));
    if (call->argc > 4 || (!all && !slice_equal_nocase(call->argv[3], SLICE("write")))) {
        reply_error(call->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
    } else if (!slice_to_int64(call->argv[2], &timeout_ms) ||
               timeout_ms > INT64_MAX / (int64_t)(4 * NS_PER_MS)) {
        reply_error(call->reply, "ERR timeout is not an integer or out of range");
    } else if (timeout_ms < 0) {
        reply_error(call->reply, "ERR timeout is negative");
    } else {
        pause_until(call->caller->broker, clock_mono_ns() + (uint64_t)timeout_ms * NS_PER_MS, all);
        reply_ok(call->reply);
    }
}

static void visit_unpause(void *question, struct service *service)
{
    (void)question;
    service_unpause(service);
}

static void finish_unpause(void *question, struct call *call)
{
    (void)question;
    reply_ok(call->reply);
}

void cmd_client_unpause(struct call *call)
{
    static const struct ask_ops ops = {visit_unpause, finish_unpause, NULL};
    atomic_store(&call->caller->broker->pause, 0);
    ask_workers(call, &ops, NULL);
}
