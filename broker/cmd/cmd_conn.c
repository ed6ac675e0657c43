/* cmd_conn: what a client says about its own connection: who it is, which protocol, which
 * database. */
#include "cmd/caller.h"
#include "cmd/client_text.h"
#include "cmd/login.h"
#include "session/bar.h"
#include "session/life.h"
#include "session/users.h"

enum { DATABASES = 16 };

/* ---- AUTH, HELLO ---- */

void cmd_auth(struct call *call)
{
    if (call->argc > 3) {
        reply_error(call->reply, "ERR syntax error");
        return;
    }
    const struct acl_user *standard = acl_users_default(sessions_of(call->caller->session)->users);
    if (call->argc == 2 && acl_user_has_nopass(standard)) {
        reply_error(
            call->reply,
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?");
        return;
    }
    struct slice user = call->argc == 3 ? call->argv[1] : SLICE("default");
    if (login(call, user, call->argv[call->argc - 1])) { reply_ok(call->reply); }
}

/* What HELLO asks for besides the version. */
struct hello {
    struct slice user; /* data NULL: no AUTH */
    struct slice password;
    struct slice name; /* data NULL: no SETNAME */
};

static bool hello_options(struct call *call, struct hello *hello)
{
    for (uint32_t i = 2; i < call->argc; i++) {
        struct slice word = call->argv[i];
        uint32_t left = call->argc - 1 - i;
        if (slice_equal_nocase(word, SLICE("auth")) && left >= 2) {
            hello->user = call->argv[i + 1];
            hello->password = call->argv[i + 2];
            i += 2;
        } else if (slice_equal_nocase(word, SLICE("setname")) && left >= 1) {
            hello->name = call->argv[++i];
            if (!client_text_is_plain(hello->name)) {
                reply_error(
                    call->reply,
                    "ERR Client names cannot contain spaces, newlines or special characters.");
                return false;
            }
        } else {
            reply_errorf(call->reply, "ERR Syntax error in HELLO option '%.*s'",
                         (int)(word.len < 128 ? word.len : 128), word.data);
            return false;
        }
    }
    return true;
}

static bool hello_version(struct call *call, int64_t *version)
{
    *version = call->caller->session->subscriber.resp_version;
    if (call->argc == 1) { return true; }
    if (!slice_to_int64(call->argv[1], version)) {
        reply_error(call->reply, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (*version != 2 && *version != 3) {
        reply_error(call->reply, "NOPROTO unsupported protocol version");
        return false;
    }
    return true;
}

static void describe_server(struct call *call)
{
    reply_map(call->reply, 8);
    reply_bulk_str(call->reply, "server");
    reply_bulk_str(call->reply, "redis");
    reply_bulk_str(call->reply, "version");
    reply_bulk_str(call->reply, BROKER_REDIS_VERSION);
    reply_bulk_str(call->reply, "proto");
    reply_int(call->reply, call->reply->version);
    reply_bulk_str(call->reply, "id");
    reply_int(call->reply, (int64_t)call->caller->session->id);
    reply_bulk_str(call->reply, "mode");
    reply_bulk_str(call->reply, "standalone");
    reply_bulk_str(call->reply, "role");
    reply_bulk_str(call->reply, "master");
    reply_bulk_str(call->reply, "modules");
    reply_array(call->reply, 0);
    reply_bulk_str(call->reply, "fanfare");
    reply_bulk_str(call->reply, FANFARE_VERSION);
}

void cmd_hello(struct call *call)
{
    struct session *session = call->caller->session;
    int64_t version;
    struct hello hello = {{0}, {0}, {0}};
    if (!hello_version(call, &version) || !hello_options(call, &hello)) { return; }
    if (hello.user.data != NULL && !login(call, hello.user, hello.password)) { return; }
    if (session_must_login(session)) {
        reply_error(call->reply, "NOAUTH HELLO must be called with the client already "
                                 "authenticated, otherwise the HELLO "
                                 "<proto> AUTH <user> <pass> option can be used to authenticate "
                                 "the client and select the "
                                 "RESP protocol version at the same time");
        return;
    }
    if (hello.name.data != NULL) { client_text_set(&session_extra(session)->name, hello.name); }
    if (version != session->subscriber.resp_version) {
        subscriber_set_version(call->caller->service->fanout, &session->subscriber,
                               (uint8_t)version);
    }
    call->reply->version = (uint8_t)version;
    describe_server(call);
}

/* ---- PING, ECHO, QUIT, RESET, SELECT ---- */

void cmd_ping(struct call *call)
{
    if (call->argc > 2) {
        reply_error(call->reply, "ERR wrong number of arguments for 'ping' command");
    } else if (session_in_subscribe_mode(
                   call->caller->session)) { /* there, an answer looks like a message */
        reply_array(call->reply, 2);
        reply_bulk_str(call->reply, "pong");
        reply_bulk(call->reply, call->argc == 2 ? call->argv[1] : SLICE(""));
    } else if (call->argc == 2) {
        reply_bulk(call->reply, call->argv[1]);
    } else {
        reply_status(call->reply, "PONG");
    }
}

void cmd_echo(struct call *call)
{
    reply_bulk(call->reply, call->argv[1]);
}

void cmd_quit(struct call *call)
{
    reply_ok(call->reply);
    session_leave(call->caller->session);
}

static void reset_on(void *question, struct call *call)
{
    (void)question;
    cmd_reset(call);
}

void cmd_reset(struct call *call)
{
    static const struct wait_ops ops = {.finish = reset_on};
    struct session *session = call->caller->session;
    if (!session_reset(session)) {
        call_wait(call, &ops, NULL);
        wait_over(session);
        return;
    }
    call->reply->version = 2;
    reply_status(call->reply, "RESET");
}

void cmd_select(struct call *call)
{
    int64_t index;
    if (!slice_to_int64(call->argv[1], &index) || index < INT32_MIN || index > INT32_MAX) {
        reply_error(call->reply, "ERR value is not an integer or out of range");
    } else if (index < 0 || index >= DATABASES) {
        reply_error(call->reply, "ERR DB index is out of range");
    } else {
        call->caller->session->database = (uint8_t)index;
        reply_ok(call->reply);
    }
}

/* ---- cluster clients: every node answers everything, so that these change nothing ---- */

void cmd_asking(struct call *call)
{
    reply_ok(call->reply);
}

void cmd_readonly(struct call *call)
{
    call->caller->session->flags |= SESSION_READONLY;
    reply_ok(call->reply);
}

void cmd_readwrite(struct call *call)
{
    call->caller->session->flags &= ~(uint32_t)SESSION_READONLY;
    reply_ok(call->reply);
}
