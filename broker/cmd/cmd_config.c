/* cmd_config: CONFIG GET, SET, RESETSTAT, REWRITE. The options themselves are config's; the workers
 * see a change by its version. */
#include <errno.h>

#include "base/log.h"
#include "base/metrics.h"
#include "cmd/ask_workers.h"
#include "cmd/caller.h"
#include "cmd/encoding_limits.h"
#include "cmd/keyspace_events.h"
#include "cmd/permission.h"
#include "cmd/user_change.h"
#include "cmd/user_file.h"

/* One walk counts, the next writes: the set of names is constant. */
static void count_option(void *arg, struct slice name, struct slice value)
{
    (void)name;
    (void)value;
    (*(size_t *)arg)++;
}

static void write_option(void *arg, struct slice name, struct slice value)
{
    struct reply *reply = arg;
    reply_bulk(reply, name);
    reply_bulk(reply, value);
}

void cmd_config_get(struct call *call)
{
    struct config *config = call->caller->broker->config;
    size_t count = 0;
    config_each(config, call->argv + 2, call->argc - 2, count_option, &count);
    reply_map(call->reply, count);
    config_each(config, call->argv + 2, call->argc - 2, write_option, call->reply);
}

/* Redis guards by enable-protected-configs what a client could write files with. */
static bool is_protected(struct call *call, struct slice name)
{
    if (!slice_equal_nocase(name, SLICE("dir")) ||
        permission_by_option(call, CONFIG_enable_protected_configs)) {
        return false;
    }
    reply_errorf(call->reply,
                 "ERR CONFIG SET failed (possibly related to argument '%.*s') - can't set "
                 "protected config",
                 SLICE_ARG(name));
    return true;
}

/* Where it is set last; `count`: it is not. */
static uint32_t find_password(const struct slice *name, uint32_t count)
{
    for (uint32_t i = count; i > 0; i--) {
        if (slice_equal_nocase(name[i - 1], SLICE("requirepass"))) { return i - 1; }
    }
    return count;
}

/* The password is that of the user `default`, which all nodes of a cluster have together. */
static void answer_set(struct call *call, enum user_scope scope, const struct slice *password)
{
    if (scope == SCOPE_CLUSTER) {
        user_change(call, WISH_PASSWORD, password, 1);
    } else {
        reply_ok(call->reply);
    }
}

void cmd_config_set(struct call *call)
{
    enum { PAIRS_MAX = 64 };
    uint32_t count = (call->argc - 2) / 2;
    if (call->argc % 2 != 0) {
        reply_error(call->reply, "ERR syntax error");
        return;
    }
    if (count > PAIRS_MAX) {
        reply_error(call->reply, "ERR too many arguments for CONFIG SET");
        return;
    }
    struct slice name[PAIRS_MAX];
    struct slice value[PAIRS_MAX + 1];
    for (uint32_t i = 0; i < count; i++) {
        name[i] = call->argv[2 + 2 * i];
        value[i] = call->argv[3 + 2 * i];
        if (is_protected(call, name[i])) { return; }
    }
    uint32_t password = find_password(name, count);
    enum user_scope scope = password < count ? user_change_scope(call) : SCOPE_NODE;
    if (scope == SCOPE_UNKNOWN) { return; }
    struct buf why = {0};
    buf_append_str(&why, "ERR ");
    if (config_set(call->caller->broker->config, name, value, count, &why)) {
        for (uint32_t i = 0; i < count; i++) { /* the name alone: a value may be a secret */
            LOG_LIMITED(LOG_LEVEL_INFO, "option set by a client", LOG_SLICE("option", name[i]),
                        LOG_UINT("client", call->caller->session->id));
        }
        keyspace_events_set(call->caller->broker);
        encoding_limits_set(call->caller->broker);
        user_file_refresh(call->caller->broker);
        answer_set(call, scope, &value[password]);
    } else {
        reply_error_slice(call->reply, buf_slice(&why));
    }
    buf_fini(&why);
}

static void visit_reset(void *question, struct service *service)
{
    (void)question;
    service->latency = (struct latency){0};
}

static void finish_reset(void *question, struct call *call)
{
    (void)question;
    reply_ok(call->reply);
}

void cmd_config_resetstat(struct call *call)
{
    static const struct ask_ops ops = {visit_reset, finish_reset, NULL};
    metrics_reset();
    ask_workers(call, &ops, NULL);
}

void cmd_config_rewrite(struct call *call)
{
    user_file_to_config(call->caller->broker);
    enum err err = config_rewrite(call->caller->broker->config);
    if (err == ERR_OK) {
        LOG_INFO("config file rewritten", LOG_STR("file", call->caller->broker->config_file));
        reply_ok(call->reply);
        return;
    }
    if (err == ERR_INVALID) {
        reply_error(call->reply, "ERR The server is running without a config file");
        return;
    }
    char reason[128];
    const char *text = strerror_r(errno, reason, sizeof reason);
    LOG_ERROR("cannot rewrite the config file", LOG_STR("file", call->caller->broker->config_file),
              LOG_STR("why", text));
    reply_errorf(call->reply, "ERR Rewriting config file: %s", text);
}
