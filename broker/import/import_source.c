/* import_source: a Redis that is read as its replicas read it. */
#include "import/import_source.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "import/import_socket.h"
#include "import/import_wire.h"

enum { LINE_BYTES_MAX = 1024, ANSWER_S = 60, READ_BYTES = 1 << 20, MARK_BYTES = 40 };

static bool fail(struct import_source *source, const char *what, const char *why)
{
    snprintf(source->why, sizeof source->why, "%.90s%s%.150s", what, *why != 0 ? ": " : "", why);
    return false;
}

/* ---- waiting for it ---- */

static bool send_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (n < 0 && errno == EAGAIN && poll(&wait, 1, ANSWER_S * 1000) == 1) { continue; }
        if (n < 0 && errno == EINTR) { continue; }
        if (n <= 0) { return false; }
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return true;
}

static bool ask(int fd, const struct slice *word, uint32_t count)
{
    struct buf out = {0};
    import_command_words(&out, word, count);
    bool is_sent = send_all(fd, buf_slice(&out));
    buf_fini(&out);
    return is_sent;
}

/* More bytes into `in`. False: none came in time, or the connection is lost. */
static bool more(int fd, struct buf *in)
{
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, ANSWER_S * 1000) != 1) { return false; }
        ssize_t n = recv(fd, buf_reserve(in, READ_BYTES), READ_BYTES, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) { continue; }
        if (n <= 0) { return false; }
        in->len += (size_t)n;
        return true;
    }
}

/* A line, without its end; empty ones, by which a source says that it is still there, are left out. */
static bool take_line(int fd, struct buf *in, char line[LINE_BYTES_MAX])
{
    for (;;) {
        const char *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
        if (end == NULL && (in->len >= LINE_BYTES_MAX || !more(fd, in))) { return false; }
        if (end == NULL) { continue; }
        size_t bytes = (size_t)(end - in->data);
        if (bytes >= LINE_BYTES_MAX) { return false; }
        memcpy(line, in->data, bytes);
        line[bytes > 0 && line[bytes - 1] == '\r' ? bytes - 1 : bytes] = 0;
        buf_consume(in, bytes + 1);
        if (line[0] != 0) { return true; }
    }
}

/* ---- connecting ---- */

static bool log_in(struct import_source *source, int fd, struct buf *in)
{
    char line[LINE_BYTES_MAX];
    const struct slice auth[] = {SLICE("AUTH"), slice_of_str(source->server.user),
                                 slice_of_str(source->server.password)};
    const struct slice short_auth[] = {auth[0], auth[2]};
    bool has_user = source->server.user[0] != 0;
    if (source->server.password[0] == 0) { return true; }
    if (!ask(fd, has_user ? auth : short_auth, has_user ? 3 : 2) || !take_line(fd, in, line)) {
        return fail(source, "the source does not answer", "");
    }
    return line[0] == '+' || fail(source, "the source refuses", line);
}

/* Gives: a connection that is logged in; -1: why. */
static int connect_source(struct import_source *source, struct buf *in)
{
    const char *why = "";
    int fd = import_socket_open(&source->server, &why);
    if (fd < 0) {
        (void)fail(source, "the source cannot be reached", why);
        return -1;
    }
    if (log_in(source, fd, in)) { return fd; }
    close(fd);
    return -1;
}

/* Ask for the history from an offset on; `from` 0: for all of it. Gives the answer's line. */
static bool ask_history(struct import_source *source, uint64_t from, char line[LINE_BYTES_MAX])
{
    const struct slice able[] = {SLICE("REPLCONF"), SLICE("capa"), SLICE("eof"), SLICE("capa"),
                                 SLICE("psync2")};
    char offset[24] = "-1";
    if (from > 0) { snprintf(offset, sizeof offset, "%lu", from); }
    const struct slice sync[] = {SLICE("PSYNC"), from > 0 ? slice_of_str(source->id) : SLICE("?"),
                                 slice_of_str(offset)};
    if (!ask(source->fd, able, COUNT_OF(able)) || !take_line(source->fd, &source->in, line)) {
        return fail(source, "the source does not answer", "");
    }
    if (line[0] != '+') { return fail(source, "the source refuses a replica", line); }
    if (!ask(source->fd, sync, COUNT_OF(sync)) || !take_line(source->fd, &source->in, line)) {
        return fail(source, "the source does not answer", "");
    }
    return line[0] == '+' || fail(source, "the source refuses a replica", line);
}

bool import_source_open(struct import_source *source, const struct import_server *server,
                        const char *spool_dir)
{
    char line[LINE_BYTES_MAX];
    *source = (struct import_source){.server = *server, .fd = -1};
    source->commands.fd = -1;
    if (!import_spool_open(&source->keys, spool_dir) ||
        !import_spool_open(&source->commands, spool_dir)) {
        return fail(source, "no room for the transfer (--spool)", strerror(errno));
    }
    source->fd = connect_source(source, &source->in);
    if (source->fd < 0 || !ask_history(source, 0, line)) { return false; }
    if (sscanf(line, "+FULLRESYNC %40s %lu", source->id, &source->began_at) != 2) {
        return fail(source, "the source answers to PSYNC", line);
    }
    source->received_at = source->applied_at = source->spooled_at = source->began_at;
    return true;
}

void import_source_close(struct import_source *source)
{
    if (source->fd >= 0) { close(source->fd); }
    import_spool_close(&source->keys);
    import_spool_close(&source->commands);
    buf_fini(&source->in);
}

/* ---- keys ---- */

/* Of a known length. What follows it stays in `in`. */
static bool take_counted(struct import_source *source, uint64_t left,
                         bool (*on_progress)(void *arg, uint64_t bytes), void *arg)
{
    while (left > 0) {
        if (source->in.len == 0 && !more(source->fd, &source->in)) {
            return fail(source, "the source went away during the transfer", "");
        }
        size_t bytes = source->in.len < left ? source->in.len : left;
        if (!import_spool_append(&source->keys, slice_of(source->in.data, bytes))) {
            return fail(source, "the transfer cannot be kept (--spool)", strerror(errno));
        }
        buf_consume(&source->in, bytes);
        left -= bytes;
        if (!on_progress(arg, source->keys.bytes)) { return fail(source, "stopped", ""); }
    }
    return true;
}

/* Up to a mark, behind which nothing comes before we have answered. */
static bool take_marked(struct import_source *source, const char *mark,
                        bool (*on_progress)(void *arg, uint64_t bytes), void *arg)
{
    char last[MARK_BYTES];
    struct buf tail = {0};
    for (;;) {
        struct slice in = buf_slice(&source->in);
        if (!import_spool_append(&source->keys, in)) {
            return fail(source, "the transfer cannot be kept (--spool)", strerror(errno));
        }
        source->in.len = 0;
        if (!on_progress(arg, source->keys.bytes)) { return fail(source, "stopped", ""); }
        if (source->keys.bytes >= MARK_BYTES) {
            tail.len = 0;
            bool is_read = import_spool_read(&source->keys, source->keys.bytes - MARK_BYTES,
                                             MARK_BYTES, &tail);
            if (is_read) { memcpy(last, tail.data, MARK_BYTES); }
            buf_fini(&tail);
            if (is_read && memcmp(last, mark, MARK_BYTES) == 0) { break; }
        }
        if (!more(source->fd, &source->in)) {
            return fail(source, "the source went away during the transfer", "");
        }
    }
    return import_spool_cut(&source->keys, source->keys.bytes - MARK_BYTES) ||
           fail(source, "the transfer cannot be kept (--spool)", strerror(errno));
}

bool import_source_take_keys(struct import_source *source,
                             bool (*on_progress)(void *arg, uint64_t bytes), void *arg)
{
    char line[LINE_BYTES_MAX];
    char *end;
    if (!take_line(source->fd, &source->in, line)) {
        return fail(source, "the source sends no keys", "");
    }
    if (line[0] != '$') { return fail(source, "the source sends no keys", line); }
    if (strncmp(line, "$EOF:", 5) == 0) {
        if (strlen(line + 5) != MARK_BYTES) { return fail(source, "the source sends", line); }
        return take_marked(source, line + 5, on_progress, arg);
    }
    uint64_t bytes = strtoull(line + 1, &end, 10);
    if (*end != 0) { return fail(source, "the source sends", line); }
    return take_counted(source, bytes, on_progress, arg);
}

/* ---- commands ---- */

static bool keep(struct import_source *source)
{
    if (source->in.len == 0) { return true; }
    if (!import_spool_append(&source->commands, buf_slice(&source->in))) {
        return fail(source, "the commands cannot be kept (--spool)", strerror(errno));
    }
    source->received_at += source->in.len;
    source->in.len = 0;
    return true;
}

static void acknowledge(struct import_source *source)
{
    char offset[24];
    uint64_t now_ns = clock_mono_ns();
    if (now_ns - source->acked_ns < NS_PER_S) { return; }
    source->acked_ns = now_ns;
    snprintf(offset, sizeof offset, "%lu", source->applied_at);
    const struct slice ack[] = {SLICE("REPLCONF"), SLICE("ACK"), slice_of_str(offset)};
    (void)ask(source->fd, ack, COUNT_OF(ack)); /* a connection that is lost is seen by reading */
}

/* The connection is lost: another one goes on where it was, if the source can. False: it cannot. */
static bool go_on(struct import_source *source)
{
    char line[LINE_BYTES_MAX];
    uint64_t now_ns = clock_mono_ns();
    if (now_ns - source->lost_ns > SOURCE_RETRY_S * NS_PER_S) { return false; }
    if (now_ns - source->tried_ns < NS_PER_S) { return true; }
    source->tried_ns = now_ns;
    source->in.len = 0;
    source->fd = connect_source(source, &source->in);
    if (source->fd < 0) { return true; }
    bool is_asked = ask_history(source, source->received_at + 1, line);
    if (is_asked && strncmp(line, "+CONTINUE", 9) == 0) {
        if (strlen(line) >= 10 + MARK_BYTES) { memcpy(source->id, line + 10, MARK_BYTES); }
        source->lost_ns = 0;
        return true;
    }
    close(source->fd);
    source->fd = -1;
    if (!is_asked) { return true; }
    return fail(source, "the source has not kept what it executed meanwhile: begin anew", "");
}

bool import_source_turn(struct import_source *source)
{
    if (source->lost_ns != 0) { return go_on(source); }
    for (;;) {
        if (!keep(source)) { return false; }
        ssize_t n = recv(source->fd, buf_reserve(&source->in, READ_BYTES), READ_BYTES, 0);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0 && errno == EAGAIN) { break; }
        if (n <= 0) {
            close(source->fd);
            source->fd = -1;
            source->lost_ns = clock_mono_ns();
            return fail(source, "the source closed the connection", "") || true;
        }
        source->in.len += (size_t)n;
    }
    acknowledge(source);
    return true;
}

bool import_source_forget(struct import_source *source, uint64_t at)
{
    source->applied_at = at;
    import_spool_drop(&source->commands, at - source->spooled_at);
    if (at < source->received_at || source->commands.bytes == 0) { return true; }
    source->spooled_at = at;
    return import_spool_cut(&source->commands, 0) ||
           fail(source, "the commands cannot be kept (--spool)", strerror(errno));
}

bool import_source_end(struct import_source *source, uint64_t *at)
{
    static const char field[] = "master_repl_offset:";
    const struct slice info[] = {SLICE("INFO"), SLICE("replication")};
    struct buf in = {0};
    int fd = connect_source(source, &in);
    bool is_told = fd >= 0 && ask(fd, info, COUNT_OF(info));
    while (is_told && import_reply_bytes(buf_slice(&in)) == 0) {
        is_told = more(fd, &in);
    }
    if (is_told) {
        const char *found = memmem(in.data, in.len, field, strlen(field));
        is_told = found != NULL;
        if (is_told) { *at = strtoull(found + strlen(field), NULL, 10); }
    }
    if (fd >= 0) { close(fd); }
    buf_fini(&in);
    return is_told;
}
