/* client_filter: reading the words of CLIENT KILL and CLIENT LIST, and applying them. */
#include "cmd/client_filter.h"

#include "base/mem.h"
#include "cmd/caller.h"
#include "session/address.h"
#include "session/users.h"

enum { SHOWN_BYTES_MAX = 128 };

static bool refuse(struct call *call, const char *text)
{
    reply_error(call->reply, text);
    return false;
}

static bool parse_type(struct call *call, struct slice word, struct client_filter *filter)
{
    filter->has_type = true;
    if (client_type_parse(word, &filter->type)) { return true; }
    reply_errorf(call->reply, "ERR Unknown client type '%.*s'",
                 (int)(word.len < SHOWN_BYTES_MAX ? word.len : SHOWN_BYTES_MAX), word.data);
    return false;
}

static void add_id(struct client_filter *filter, uint64_t id)
{
    filter->id = mem_resize(filter->id, (filter->id_count + 1) * sizeof *filter->id);
    filter->id[filter->id_count++] = id;
}

static bool parse_user(struct call *call, struct slice name, struct client_filter *filter)
{
    if (acl_users_find(sessions_of(call->caller->session)->users, name) != NULL) {
        filter->user.len = 0;
        buf_append(&filter->user, name);
        return true;
    }
    reply_errorf(call->reply, "ERR No such user '%.*s'",
                 (int)(name.len < SHOWN_BYTES_MAX ? name.len : SHOWN_BYTES_MAX), name.data);
    return false;
}

static bool parse_id(struct call *call, struct slice value, struct client_filter *filter)
{
    int64_t id;
    if (!slice_to_int64(value, &id) || id < 1) {
        return refuse(call, "ERR client-id should be greater than 0");
    }
    add_id(filter, (uint64_t)id);
    return true;
}

static bool parse_address(struct call *call, struct slice value, struct client_filter *filter)
{
    (void)call;
    filter->address.len = 0;
    buf_append(&filter->address, value);
    return true;
}

static bool parse_local_address(struct call *call, struct slice value, struct client_filter *filter)
{
    (void)call;
    filter->local_address.len = 0;
    buf_append(&filter->local_address, value);
    return true;
}

static bool parse_skipme(struct call *call, struct slice value, struct client_filter *filter)
{
    filter->skips_caller = slice_equal_nocase(value, SLICE("yes"));
    if (filter->skips_caller || slice_equal_nocase(value, SLICE("no"))) { return true; }
    return refuse(call, "ERR syntax error");
}

static bool parse_maxage(struct call *call, struct slice value, struct client_filter *filter)
{
    int64_t age_s;
    if (!slice_to_int64(value, &age_s)) {
        return refuse(call, "ERR maxage is not an integer or out of range");
    }
    if (age_s < 1) { return refuse(call, "ERR maxage should be greater than 0"); }
    filter->age_s_min = (uint64_t)age_s;
    return true;
}

static const struct {
    struct slice word;
    bool (*parse)(struct call *call, struct slice value, struct client_filter *filter);
} kill_filters[] = {
    {{"id", 2}, parse_id},         {{"type", 4}, parse_type},
    {{"addr", 4}, parse_address},  {{"laddr", 5}, parse_local_address},
    {{"user", 4}, parse_user},     {{"skipme", 6}, parse_skipme},
    {{"maxage", 6}, parse_maxage},
};

bool client_filter_parse_kill(struct call *call, struct client_filter *filter)
{
    for (uint32_t i = 2; i < call->argc; i += 2) {
        size_t at = 0;
        while (at < COUNT_OF(kill_filters) &&
               !slice_equal_nocase(call->argv[i], kill_filters[at].word)) {
            at++;
        }
        if (at == COUNT_OF(kill_filters) || i + 1 == call->argc) {
            return refuse(call, "ERR syntax error");
        }
        if (!kill_filters[at].parse(call, call->argv[i + 1], filter)) { return false; }
    }
    return true;
}

bool client_filter_parse_list(struct call *call, struct client_filter *filter)
{
    if (call->argc == 2) { return true; }
    if (call->argc == 4 && slice_equal_nocase(call->argv[2], SLICE("type"))) {
        return parse_type(call, call->argv[3], filter);
    }
    if (call->argc < 4 || !slice_equal_nocase(call->argv[2], SLICE("id"))) {
        return refuse(call, "ERR syntax error");
    }
    for (uint32_t i = 3; i < call->argc; i++) {
        int64_t id;
        if (!slice_to_int64(call->argv[i], &id)) { return refuse(call, "ERR Invalid client ID"); }
        add_id(filter, (uint64_t)id);
    }
    return true;
}

static bool has_id(const struct client_filter *filter, uint64_t id)
{
    for (uint32_t i = 0; i < filter->id_count; i++) {
        if (filter->id[i] == id) { return true; }
    }
    return filter->id_count == 0;
}

bool client_filter_fits(const struct client_filter *filter, const struct session *session)
{
    char address[SESSION_ADDRESS_BYTES];
    if (!conn_is_alive(&session->conn) || !has_id(filter, session->id)) { return false; }
    if (filter->skips_caller && session->id == filter->caller_id) { return false; }
    if (filter->has_type && client_type_of(session) != filter->type) { return false; }
    if (sessions_of(session)->now_s - session->created_s < filter->age_s_min) { return false; }
    if (filter->address.len > 0 &&
        !slice_equal(session_address(session, address), buf_slice(&filter->address))) {
        return false;
    }
    if (filter->user.len > 0 &&
        !slice_equal(acl_user_name(session_user(session)), buf_slice(&filter->user))) {
        return false;
    }
    return filter->local_address.len == 0 ||
           slice_equal(session_local_address(session, address), buf_slice(&filter->local_address));
}

void client_filter_fini(struct client_filter *filter)
{
    mem_free(filter->id);
    buf_fini(&filter->address);
    buf_fini(&filter->local_address);
    buf_fini(&filter->user);
}
