/* permission: the command table's side of users. */
#include "cmd/permission.h"

#include <ctype.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cmd/caller.h"
#include "cmd/client_line.h"
#include "session/users.h"

/* ---- the catalogue ---- */

struct acl_catalogue *permission_catalogue(void)
{
    _Static_assert((int)COMMAND_COUNT <= (int)ACL_COMMANDS_MAX, "each command has a bit");
    _Static_assert((int)COMMAND_COUNT <= (int)ACL_NO_CONTAINER, "and a number");
    struct {
        struct acl_catalogue catalogue;
        struct acl_command command[COMMAND_COUNT];
    } *all = mem_new0(sizeof *all);
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        const struct command *row = &command_table[i];
        all->command[i] = (struct acl_command){
            .name = row->full_name,
            .categories = command_acl(row),
            .container = command_is_subcommand(row) ? row->container : ACL_NO_CONTAINER,
            .has_subcommands = command_has_subcommands(row),
        };
    }
    all->catalogue = (struct acl_catalogue){
        .command = all->command,
        .command_count = COMMAND_COUNT,
        .category = command_category_word,
        .category_count = COMMAND_CATEGORY_COUNT,
    };
    return &all->catalogue;
}

/* ---- the question ---- */

static bool has_word(const struct slice *argv, uint32_t argc, uint32_t from, struct slice word)
{
    for (uint32_t i = from; i < argc; i++) {
        if (slice_equal_nocase(argv[i], word)) { return true; }
    }
    return false;
}

/* What is done with a key of some commands depends on their options: SET reads with GET only, a BITFIELD of GETs writes nothing. */
static uint8_t access_of(const struct key_rule *rule, const struct acl_question *question)
{
    bool reads = rule->flags & KEY_ACCESS;
    bool writes = rule->flags & (KEY_INSERT | KEY_DELETE | KEY_UPDATE);
    const struct slice *argv = question->argv;
    uint32_t argc = question->argc;
    if (question->command == COMMAND_set) { reads = has_word(argv, argc, 3, SLICE("get")); }
    if (question->command == COMMAND_bitfield) {
        writes = has_word(argv, argc, 2, SLICE("set")) || has_word(argv, argc, 2, SLICE("incrby"));
    }
    return (uint8_t)((reads ? ACL_READS : 0) | (writes ? ACL_WRITES : 0));
}

/* Where the channels of a command stand; an unsubscription is always allowed. */
static void add_channels(uint32_t command, uint32_t argc, struct acl_question *out)
{
    struct acl_range range = {.first = 1, .step = 1, .is_channel = true};
    switch (command) {
    case COMMAND_publish:
    case COMMAND_spublish: range.count = 1; break;
    case COMMAND_subscribe:
    case COMMAND_ssubscribe: range.count = argc - 1; break;
    case COMMAND_psubscribe:
        range.count = argc - 1;
        range.is_pattern = true;
        break;
    default: return;
    }
    out->range[out->range_count++] = range;
}

bool permission_question(const struct command *command, const struct slice *argv, uint32_t argc,
                         struct acl_question *out)
{
    _Static_assert((int)ACL_RANGES > (int)KEY_RULES, "keys and channels");
    *out = (struct acl_question){.command = command_id(command), .argc = argc, .argv = argv};
    for (uint32_t i = 0; i < KEY_RULES; i++) {
        const struct key_rule *rule = &command->keys[i];
        struct key_range keys;
        if (!key_rule_find(rule, argv, argc, &keys)) { return false; }
        if (keys.count == 0 || rule->flags & KEY_NOT_KEY) { continue; }
        out->range[out->range_count++] = (struct acl_range){.first = keys.first,
                                                            .step = keys.step,
                                                            .count = keys.count,
                                                            .access = access_of(rule, out)};
    }
    add_channels(out->command, argc, out);
    return true;
}

/* ---- the answer ---- */

void permission_say(struct buf *out, const struct acl_user *user, enum acl_verdict verdict,
                    const char *command, const struct slice *object)
{
    const char *what = verdict == ACL_NO_CHANNEL ? "channel" : "key";
    if (verdict == ACL_NO_COMMAND) {
        buf_append(out, SLICE("User "));
        buf_append(out, acl_user_name(user));
        buf_appendf(out, " has no permissions to run the '%s' command", command);
    } else if (object == NULL) {
        buf_appendf(out, "No permissions to access a %s", what);
    } else {
        buf_append(out, SLICE("User "));
        buf_append(out, acl_user_name(user));
        buf_append(out, SLICE(" has no permissions to access the '"));
        buf_append(out, *object);
        buf_appendf(out, "' %s", what);
    }
}

void permission_note(const struct call *call, enum acl_verdict verdict, const char *context,
                     struct slice object, struct slice user)
{
    static const enum metric counter[] = {
        [ACL_NO_COMMAND] = METRIC_redis_acl_access_denied_cmd_total,
        [ACL_NO_KEY] = METRIC_redis_acl_access_denied_key_total,
        [ACL_NO_CHANNEL] = METRIC_redis_acl_access_denied_channel_total,
        [ACL_NO_AUTH] = METRIC_redis_acl_access_denied_auth_total,
        [ACL_NO_CERTIFICATE] = METRIC_redis_acl_access_denied_tls_cert_total,
    };
    metric_add(counter[verdict], 1);
    struct buf client = {0};
    client_line_append(&client, call->caller->session);
    if (client.len > 0) { client.len--; } /* the line's end */
    const struct acl_log_entry entry = {
        .reason = verdict,
        .context = context,
        .object = object,
        .user = user,
        .client = buf_slice(&client),
    };
    acl_log_add(acl_log(call->caller->broker->acl), &entry, clock_wall_us() / 1000);
    buf_fini(&client);
}

bool permission_by_option(const struct call *call, enum config_option option)
{
    enum { BY_NOBODY, BY_ALL, BY_LOCALS };
    int64_t choice = config_number(call->caller->broker->config, option);
    return choice == BY_LOCALS ? address_is_local(call->caller->session->conn.fd)
                               : choice == BY_ALL;
}

const char *permission_reaches(const struct acl_user *user, const struct command *command,
                               const struct slice *argv, uint32_t argc)
{
    uint32_t id = command_id(command);
    if ((id != COMMAND_sort && id != COMMAND_sort_ro) || acl_user_reads_all(user)) { return NULL; }
    for (uint32_t i = 2; i + 1 < argc; i++) {
        struct slice value = argv[i + 1];
        bool has_star = value.len > 0 && memchr(value.data, '*', value.len) != NULL;
        if (has_star && slice_equal_nocase(argv[i], SLICE("by"))) { return "BY"; }
        bool is_self = slice_equal(value, SLICE("#"));
        if (!is_self && slice_equal_nocase(argv[i], SLICE("get"))) { return "GET"; }
    }
    return NULL;
}

bool permission_would_lack(const struct acl_user *user, const struct command *command,
                           const struct slice *argv, uint32_t argc)
{
    struct acl_question question;
    uint32_t at;
    return !acl_user_is_free(user) && permission_question(command, argv, argc, &question) &&
           acl_user_may(user, &question, &at) != ACL_ALLOWED;
}

/* Why a queued call is not executed, in Redis's words. */
static void say_lost(struct buf *out, enum acl_verdict verdict)
{
    static const char *const why[] = {
        [ACL_ALLOWED] = "no permission",
        [ACL_NO_COMMAND] = "no permission to execute the command or subcommand",
        [ACL_NO_KEY] = "no permission to touch the specified keys",
        [ACL_NO_CHANNEL] =
            "no permission to access one of the channels used as arguments to the command",
        [ACL_NO_AUTH] = "no permission",
    };
    buf_appendf(out,
                "ACLs rules changed between the moment the transaction was accumulated and the "
                "EXEC call. This command is no longer allowed for the following reason: %s",
                why[verdict]);
}

static bool memo_says_so(const struct permission_memo *memo, const struct call *call,
                         const struct acl_user *user)
{
    struct slice channel = call->argv[1];
    return memo->user == user && memo->command == call->command && memo->len == channel.len &&
           memcmp(memo->channel, channel.data, channel.len) == 0;
}

/* Where this publish is noted, or would be; NULL: it is none, or its channel has a long name. */
static struct permission_memo *memo_of(const struct call *call, const struct acl_user *user)
{
    if (!(call->command->flags & CMD_PUBLISHES) || call->argc < 2 ||
        call->argv[1].len > PERMISSION_MEMO_BYTES) {
        return NULL;
    }
    struct permission_memos *memos = &call->caller->service->memos;
    uint64_t version = sessions_of(call->caller->session)->acl_version;
    if (UNLIKELY(memos->acl_version != version)) {
        *memos = (struct permission_memos){.acl_version = version};
    }
    if (LIKELY(memos->last != NULL && memo_says_so(memos->last, call, user))) {
        return memos->last;
    }
    uint64_t hash = slice_hash(call->argv[1]) ^ (uintptr_t)user >> 4;
    memos->last = &memos->memo[hash % PERMISSION_MEMOS];
    return memos->last;
}

static void memo_note(struct permission_memo *memo, const struct call *call,
                      const struct acl_user *user)
{
    struct slice channel = call->argv[1];
    memo->user = user;
    memo->command = call->command;
    memo->len = (uint8_t)channel.len;
    memcpy(memo->channel, channel.data, channel.len);
}

static bool lacks(struct call *call, const char *context, bool is_queued)
{
    const struct session *session = call->caller->session;
    bool is_default = !(session->flags & SESSION_NAMED);
    if (LIKELY(is_default && sessions_of(session)->default_is_free)) { return false; }
    const struct acl_user *user = session_user(session);
    if (acl_user_is_free(user) || call->command->flags & CMD_NO_AUTH) { return false; }
    struct permission_memo *memo = memo_of(call, user);
    if (memo != NULL && memo_says_so(memo, call, user)) { return false; }
    struct acl_question question;
    if (!permission_question(call->command, call->argv, call->argc, &question)) {
        question.range_count = 0;
    }
    uint32_t at;
    enum acl_verdict verdict = acl_user_may(user, &question, &at);
    if (LIKELY(verdict == ACL_ALLOWED)) {
        if (memo != NULL) { memo_note(memo, call, user); }
        const char *word = permission_reaches(user, call->command, call->argv, call->argc);
        if (LIKELY(word == NULL)) { return false; }
        reply_errorf(call->reply,
                     "ERR %s option of SORT denied due to insufficient ACL permissions.", word);
        return true;
    }
    struct slice object =
        verdict == ACL_NO_COMMAND ? slice_of_str(call->command->full_name) : call->argv[at];
    permission_note(call, verdict, context, object, acl_user_name(user));
    struct buf text = {0};
    buf_append(&text, SLICE("NOPERM "));
    if (is_queued) {
        say_lost(&text, verdict);
    } else {
        permission_say(&text, user, verdict, call->command->full_name, NULL);
    }
    reply_error_slice(call->reply, buf_slice(&text));
    buf_fini(&text);
    return true;
}

bool permission_lacks(struct call *call, const char *context)
{
    return lacks(call, context, false);
}

bool permission_is_lost(struct call *call)
{
    return lacks(call, "multi", true);
}
