/* import_target: the connection to the fanfare that is imported into. */
#include "import/import_target.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "import/import_socket.h"

enum { TARGET_DATABASES = 16 };
enum { POLL_MS = 100, RETRY_MS = 500, READ_BYTES = 1 << 18 };

const struct import_mark import_mark_none = {UINT64_MAX, 0, 0};

struct target_sent {
    struct import_mark mark;
    uint32_t expected;
    uint32_t bytes;
};

void target_init(struct import_target *target, const struct import_server *server,
                 const struct import_idle *idle)
{
    *target = (struct import_target){.server = *server, .idle = idle, .fd = -1, .db = -1};
}

static void disconnect(struct import_target *target)
{
    if (target->fd >= 0) { close(target->fd); }
    target->fd = -1;
    target->db = -1;
    target->out.len = 0;
    target->out_at = 0;
    target->in.len = 0;
    target->sent.len = 0;
    target->sent_at = 0;
    target->bytes_in_flight = 0;
}

void target_fini(struct import_target *target)
{
    disconnect(target);
    buf_fini(&target->out);
    buf_fini(&target->in);
    buf_fini(&target->sent);
    buf_fini(&target->why);
}

static size_t in_flight(const struct import_target *target)
{
    return target->sent.len / sizeof(struct target_sent) - target->sent_at;
}

static struct target_sent *oldest(struct import_target *target)
{
    return (struct target_sent *)(void *)target->sent.data + target->sent_at;
}

static void why(struct import_target *target, struct slice text)
{
    target->why.len = 0;
    buf_append(&target->why, text);
    buf_append(&target->why, slice_of("", 1));
}

/* What was not answered will have to be sent again. */
static void lose(struct import_target *target, const char *text)
{
    if (target->state != TARGET_GOOD) { return; }
    target->lost_at = in_flight(target) > 0 ? oldest(target)->mark : import_mark_none;
    target->state = TARGET_LOST;
    why(target, slice_of_str(text));
}

/* ---- replies ---- */

static void reply_check(struct import_target *target, struct slice reply)
{
    struct slice error;
    const struct target_sent *sent = oldest(target);
    bool is_error = import_reply_error(reply, &error);
    bool is_settled =
        sent->expected == TARGET_MAY_REFUSE && !(is_error && import_error_passes(error));
    if (is_error && !is_settled) {
        target->refused_at = sent->mark;
        target->lost_at = sent->mark;
        target->state = import_error_passes(error) ? TARGET_LOST : TARGET_REFUSED;
        why(target, error);
        return;
    }
    const struct import_reply read = import_reply_read(reply);
    if (sent->expected > 0 && !is_settled && read.number < (int64_t)sent->expected) {
        target->answers_short += sent->expected - (uint64_t)read.number;
    }
    target->bytes_in_flight -= sent->bytes;
    target->sent_at++;
    if (in_flight(target) == 0) {
        target->sent.len = 0;
        target->sent_at = 0;
    }
}

/* Of what is in flight. */
static void replies_check(struct import_target *target)
{
    size_t at = 0;
    while (target->state == TARGET_GOOD && in_flight(target) > 0) {
        struct slice rest = slice_of(target->in.data + at, target->in.len - at);
        size_t bytes = import_reply_bytes(rest);
        if (bytes == SIZE_MAX) { lose(target, "it answers something that is no reply"); }
        if (bytes == 0 || bytes == SIZE_MAX) { break; }
        reply_check(target, slice_of(rest.data, bytes));
        at += bytes;
    }
    if (at > 0) { buf_consume(&target->in, at); }
}

/* ---- the socket ---- */

static void write_some(struct import_target *target)
{
    while (target->out_at < target->out.len) {
        ssize_t n = send(target->fd, target->out.data + target->out_at,
                         target->out.len - target->out_at, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) { return; }
        if (n < 0) {
            lose(target, strerror(errno));
            return;
        }
        target->out_at += (size_t)n;
    }
    target->out.len = 0;
    target->out_at = 0;
}

static void read_some(struct import_target *target)
{
    ssize_t n = recv(target->fd, buf_reserve(&target->in, READ_BYTES), READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) { return; }
    if (n <= 0) {
        lose(target, n == 0 ? "it closed the connection" : strerror(errno));
        return;
    }
    target->in.len += (size_t)n;
    target->heard_ns = clock_mono_ns();
}

/* Wait until something happens. */
static void turn(struct import_target *target, bool is_waiting)
{
    struct pollfd fds[2] = {{.fd = target->fd, .events = POLLIN},
                            {.fd = target->idle->fd, .events = POLLIN}};
    if (target->out_at < target->out.len) { fds[0].events |= POLLOUT; }
    (void)poll(fds, 2, is_waiting ? POLL_MS : 0);
    if (!target->idle->run(target->idle->arg, (fds[1].revents & (POLLIN | POLLHUP)) != 0) &&
        target->state == TARGET_GOOD) {
        target->state = TARGET_ENDED;
    }
    if (target->state != TARGET_GOOD) { return; }
    if ((fds[0].revents & POLLOUT) != 0) { write_some(target); }
    if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) { read_some(target); }
    bool is_silent = clock_mono_ns() - target->heard_ns > TARGET_SILENCE_S * NS_PER_S;
    if (is_silent && (in_flight(target) > 0 || target->out.len > 0)) {
        lose(target, "it does not answer");
    }
}

/* ---- sending ---- */

static bool is_full(const struct import_target *target)
{
    return in_flight(target) >= TARGET_COMMANDS_MAX || target->bytes_in_flight > TARGET_BYTES_MAX;
}

enum target_state target_send(struct import_target *target, const struct import_command *command,
                              struct import_mark mark, uint32_t expected)
{
    while (target->state == TARGET_GOOD && is_full(target)) {
        turn(target, true);
        replies_check(target);
    }
    if (target->state != TARGET_GOOD) { return target->state; }
    if (in_flight(target) == 0) { target->heard_ns = clock_mono_ns(); }
    if (target->sent_at >= TARGET_COMMANDS_MAX) {
        buf_consume(&target->sent, target->sent_at * sizeof(struct target_sent));
        target->sent_at = 0;
    }
    if (target->out_at > READ_BYTES) {
        buf_consume(&target->out, target->out_at);
        target->out_at = 0;
    }
    size_t before = target->out.len;
    import_command_append(command, &target->out);
    const struct target_sent sent = {mark, expected, (uint32_t)(target->out.len - before)};
    buf_append(&target->sent, slice_of(&sent, sizeof sent));
    target->bytes_in_flight += sent.bytes;
    if (target->out.len - target->out_at >= READ_BYTES) {
        write_some(target);
        turn(target, false);
        replies_check(target);
    }
    return target->state;
}

enum target_state target_select(struct import_target *target, uint32_t db, struct import_mark mark)
{
    if (target->state != TARGET_GOOD || target->db == db) { return target->state; }
    struct import_command command = {.count = 0};
    import_command_begin(&command, "SELECT");
    import_command_number(&command, db);
    enum target_state state = target_send(target, &command, mark, 0);
    buf_fini(&command.words);
    target->db = db;
    return state;
}

enum target_state target_drain(struct import_target *target)
{
    while (target->state == TARGET_GOOD && in_flight(target) > 0) {
        write_some(target);
        turn(target, true);
        replies_check(target);
    }
    return target->state;
}

enum target_state target_ask(struct import_target *target, struct slice commands, uint32_t count,
                             struct buf *replies)
{
    size_t at = 0;
    CHECK(in_flight(target) == 0);
    target->heard_ns = clock_mono_ns();
    buf_append(&target->out, commands);
    while (target->state == TARGET_GOOD && count > 0) {
        write_some(target);
        turn(target, true);
        size_t bytes = 1;
        while (count > 0 && target->state == TARGET_GOOD && bytes > 0) {
            bytes = import_reply_bytes(slice_of(target->in.data + at, target->in.len - at));
            if (bytes == SIZE_MAX) { lose(target, "it answers something that is no reply"); }
            if (bytes == SIZE_MAX || bytes == 0) { break; }
            at += bytes;
            count--;
        }
    }
    if (target->state == TARGET_GOOD) {
        buf_append(replies, slice_of(target->in.data, at));
        buf_consume(&target->in, at);
    }
    return target->state;
}

/* ---- connecting ---- */

/* False: it is not there, or refuses (state TARGET_REFUSED: it would again). */
static bool log_in(struct import_target *target)
{
    struct buf commands = {0};
    struct buf replies = {0};
    struct slice error = SLICE("");
    const struct slice auth[] = {SLICE("AUTH"), slice_of_str(target->server.user),
                                 slice_of_str(target->server.password)};
    const struct slice short_auth[] = {auth[0], auth[2]};
    const struct slice ping[] = {SLICE("PING")};
    bool has_password = target->server.password[0] != 0;
    bool has_user = target->server.user[0] != 0;
    if (has_password) {
        import_command_words(&commands, has_user ? auth : short_auth, has_user ? 3 : 2);
    }
    import_command_words(&commands, ping, 1);
    bool is_good =
        target_ask(target, buf_slice(&commands), has_password ? 2 : 1, &replies) == TARGET_GOOD;
    for (size_t at = 0; is_good && at < replies.len;) {
        struct slice reply = slice_of(replies.data + at, replies.len - at);
        if (import_reply_error(slice_of(reply.data, import_reply_bytes(reply)), &error)) {
            is_good = false;
            target->state = import_error_passes(error) ? TARGET_LOST : TARGET_REFUSED;
            why(target, error);
        }
        at += import_reply_bytes(reply);
    }
    buf_fini(&commands);
    buf_fini(&replies);
    return is_good;
}

bool target_connect(struct import_target *target)
{
    uint64_t deadline_ns = clock_mono_ns() + TARGET_RETRY_S * NS_PER_S;
    bool is_first = target->why.len == 0; /* never was there: one try */
    for (;;) {
        const char *text = "";
        disconnect(target);
        target->fd = import_socket_open(&target->server, &text);
        if (target->fd >= 0) {
            target->state = TARGET_GOOD;
            if (log_in(target)) { return true; }
            if (target->state != TARGET_LOST) { return false; }
        } else {
            why(target, slice_of_str(text));
        }
        if (is_first || clock_mono_ns() > deadline_ns) { return false; }
        struct pollfd wait = {.fd = -1};
        (void)poll(&wait, 1, RETRY_MS);
        if (!target->idle->run(target->idle->arg, false)) { return false; }
    }
}

bool target_keys(struct import_target *target, uint64_t *keys)
{
    struct buf ask = {0};
    struct buf replies = {0};
    struct slice error = {0};
    const struct slice size[] = {SLICE("DBSIZE")};
    bool is_refused = false;
    for (int db = 0; db < TARGET_DATABASES; db++) {
        char text[4];
        snprintf(text, sizeof text, "%d", db);
        const struct slice select[] = {SLICE("SELECT"), slice_of_str(text)};
        import_command_words(&ask, select, 2);
        import_command_words(&ask, size, 1);
    }
    enum target_state state = target_ask(target, buf_slice(&ask), 2 * TARGET_DATABASES, &replies);
    target->db = TARGET_DATABASES - 1;
    struct slice rest = buf_slice(&replies);
    for (*keys = 0; state == TARGET_GOOD && rest.len > 0 && !is_refused;) {
        struct slice reply = slice_of(rest.data, import_reply_bytes(rest));
        is_refused = import_reply_error(reply, &error);
        *keys += *reply.data == ':' ? (uint64_t)import_reply_read(reply).number : 0;
        rest = slice_of(rest.data + reply.len, rest.len - reply.len);
    }
    if (is_refused) { why(target, error); }
    buf_fini(&ask);
    buf_fini(&replies);
    return state == TARGET_GOOD && !is_refused;
}

bool target_is_free(const char *program, uint64_t keys, bool replaces)
{
    if (keys == 0 || replaces) { return true; }
    fprintf(stderr,
            "fanfare %s: the target has %lu keys; --replace goes on, and replaces those of the "
            "same name\n",
            program, keys);
    return false;
}
