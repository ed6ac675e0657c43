/* script_rights: see the header. */
#include "cmd/script_rights.h"

#include "cmd/broker.h"
#include "cmd/permission.h"
#include "cmd/script_place.h"
#include "data/data_script.h"
#include "session/users.h"

/* ---- on the client's node ---- */

const struct acl_user *script_rights_user(const struct session *session,
                                          const struct command *command)
{
    bool runs_script = command->flags & CMD_LOGGED && !command_is_subcommand(command);
    if (LIKELY(!runs_script)) { return NULL; }
    bool is_default = !(session->flags & SESSION_NAMED);
    if (is_default && sessions_of(session)->default_is_free) { return NULL; }
    const struct acl_user *user = session_user(session);
    return acl_user_is_free(user) ? NULL : user;
}

void script_rights_add(struct slice *out, struct slice rights, const struct slice *argv,
                       uint32_t argc)
{
    _Static_assert(DATA_SCRIPT_AS_WORDS == 2, "these");
    out[0] = SLICE(DATA_SCRIPT_AS);
    out[1] = rights;
    memcpy(out + DATA_SCRIPT_AS_WORDS, argv, argc * sizeof *argv);
}

/* ---- where it is executed ---- */

static void *on_open(void *broker_arg, struct slice text)
{
    const struct broker *broker = broker_arg;
    return acl_user_of_rights(acl_catalogue(broker->acl), text);
}

static void on_close(void *rights)
{
    acl_user_unref(rights);
}

static bool on_allow(void *broker, const void *rights, uint32_t argc, const struct slice *argv,
                     struct buf *why)
{
    const struct acl_user *user = rights;
    const struct command *command = script_command(broker, argv, argc);
    struct acl_question question;
    uint32_t at;
    if (command == NULL) { return true; } /* it is refused */
    if (!permission_question(command, argv, argc, &question)) { question.range_count = 0; }
    enum acl_verdict verdict = acl_user_may(user, &question, &at);
    const char *word =
        verdict == ACL_ALLOWED ? permission_reaches(user, command, argv, argc) : NULL;
    if (verdict == ACL_ALLOWED && word == NULL) { return true; }
    if (why == NULL) { return false; }
    if (word != NULL) {
        buf_appendf(why, "ERR %s option of SORT denied due to insufficient ACL permissions.", word);
    } else {
        buf_append(why, SLICE("NOPERM ACL failure in script: "));
        permission_say(why, user, verdict, command->full_name, NULL);
    }
    return false;
}

const struct data_rights_ops script_rights_ops = {on_open, on_close, on_allow};
