/* cmd_acl: ACL SETUSER, DELUSER, LOAD, SAVE: what changes users. A change is in force on every worker, and whom it shuts out is
 * closed, before it is answered. */
#include "acl/acl.h"
#include "base/log.h"
#include "cmd/ask_workers.h"
#include "cmd/caller.h"
#include "cmd/user_change.h"
#include "cmd/user_file.h"
#include "session/users.h"

static void visit(void *question, struct service *service)
{
    (void)question;
    users_refresh(&service->sessions);
}

static void finish_ok(void *question, struct call *call)
{
    (void)question;
    reply_ok(call->reply);
}

static void answer_wrong(struct call *call, struct buf *why)
{
    struct buf text = {0};
    buf_append(&text, SLICE("ERR "));
    buf_append(&text, buf_slice(why));
    reply_error_slice(call->reply, buf_slice(&text));
    buf_fini(&text);
}

static void set_here(struct call *call)
{
    static const struct ask_ops ops = {visit, finish_ok, NULL};
    struct buf why = {0};
    if (acl_set_user(call->caller->broker->acl, call->argv[2], call->argv + 3, call->argc - 3,
                     &why)) {
        LOG_LIMITED(LOG_LEVEL_INFO, "user set by a client", LOG_SLICE("user", call->argv[2]),
                    LOG_UINT("client", call->caller->session->id));
        ask_workers(call, &ops, NULL);
    } else {
        answer_wrong(call, &why);
    }
    buf_fini(&why);
}

void cmd_acl_setuser(struct call *call)
{
    switch (user_change_scope(call)) {
    case SCOPE_NODE: set_here(call); break;
    case SCOPE_CLUSTER:
        LOG_LIMITED(LOG_LEVEL_INFO, "user set by a client", LOG_SLICE("user", call->argv[2]),
                    LOG_UINT("client", call->caller->session->id));
        user_change(call, WISH_SET, call->argv + 2, call->argc - 2);
        break;
    case SCOPE_UNKNOWN: break;
    }
}

static void finish_delete(void *question, struct call *call)
{
    reply_int(call->reply, *(int64_t *)question);
}

static void delete_here(struct call *call)
{
    static const struct ask_ops ops = {visit, finish_delete, mem_free};
    int64_t *count = mem_new0(sizeof *count);
    for (uint32_t i = 2; i < call->argc; i++) {
        *count += acl_delete_user(call->caller->broker->acl, call->argv[i]);
    }
    ask_workers(call, &ops, count);
}

void cmd_acl_deluser(struct call *call)
{
    for (uint32_t i = 2; i < call->argc; i++) {
        if (slice_equal(call->argv[i], SLICE("default"))) {
            reply_error(call->reply, "ERR The 'default' user cannot be removed");
            return;
        }
    }
    switch (user_change_scope(call)) {
    case SCOPE_NODE: delete_here(call); break;
    case SCOPE_CLUSTER: user_change(call, WISH_DELETE, call->argv + 2, call->argc - 2); break;
    case SCOPE_UNKNOWN: break;
    }
}

/* ---- the file ---- */

static bool lacks_file(struct call *call)
{
    if (user_file_is_set(call->caller->broker)) { return false; }
    reply_error(call->reply,
                "ERR This Redis instance is not configured to use an ACL file. You may want to "
                "specify users via the ACL SETUSER command and then issue a CONFIG REWRITE "
                "(assuming you have a Redis configuration file set) in order to store users in the "
                "Redis configuration.");
    return true;
}

static void load_for_all(struct call *call)
{
    struct buf why = {0};
    struct buf text = {0};
    if (user_file_read(call->caller->broker, &text, &why)) {
        LOG_LIMITED(LOG_LEVEL_INFO, "users read again",
                    LOG_UINT("client", call->caller->session->id));
        const struct slice word = buf_slice(&text);
        user_change(call, WISH_REPLACE, &word, 1);
    } else {
        answer_wrong(call, &why);
    }
    buf_fini(&text);
    buf_fini(&why);
}

static void load_here(struct call *call)
{
    static const struct ask_ops ops = {visit, finish_ok, NULL};
    struct buf why = {0};
    if (user_file_load(call->caller->broker, &why)) {
        LOG_LIMITED(LOG_LEVEL_INFO, "users read again",
                    LOG_UINT("client", call->caller->session->id));
        ask_workers(call, &ops, NULL);
    } else {
        answer_wrong(call, &why);
    }
    buf_fini(&why);
}

void cmd_acl_load(struct call *call)
{
    if (lacks_file(call)) { return; }
    switch (user_change_scope(call)) {
    case SCOPE_NODE: load_here(call); break;
    case SCOPE_CLUSTER: load_for_all(call); break;
    case SCOPE_UNKNOWN: break;
    }
}

void cmd_acl_save(struct call *call)
{
    if (lacks_file(call)) { return; }
    struct buf why = {0};
    if (user_file_save(call->caller->broker, &why)) {
        reply_ok(call->reply);
    } else {
        answer_wrong(call, &why);
    }
    buf_fini(&why);
}
