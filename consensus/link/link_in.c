/* link_in: the incoming connections of the link.
 * Owns: their sockets and what was read and not parsed. Not: what frames mean. Thread: the raft
 * thread.
 * Always: nothing is handed over before a hello that fits; a contact, whose hello may be of any
 * cluster, is handed over without a name; garbage closes its connection and does nothing else. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/link/link_int.h"
#include "consensus/link/message.h"

enum { INBOUND_MAX = 1024 };

struct in {
    uv_tcp_t tcp;
    struct list link;
    struct link *owner;
    struct buf bytes;
    bool is_known; /* the hello was right */
    bool is_contact;
    bool is_closing;
    char name[LINK_NAME_BYTES];
    uint64_t heard_ms;
};

static void on_in_closed(uv_handle_t *handle)
{
    struct in *in = handle->data;
    struct link *link = in->owner;
    list_remove(&in->link);
    link->in_count--;
    link->handle_count--;
    buf_fini(&in->bytes);
    mem_free(in);
    link_maybe_free(link);
}

static void in_close(struct in *in)
{
    if (!in->is_closing) {
        in->is_closing = true;
        uv_close((uv_handle_t *)&in->tcp, on_in_closed);
    }
}

bool link_frame_parse(struct slice *bytes, struct slice *frame, bool *is_garbage)
{
    *is_garbage = false;
    if (bytes->len < LINK_HEADER_BYTES) { return false; }
    const unsigned char *p = (const unsigned char *)bytes->data;
    size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | (size_t)p[3];
    if (len > LINK_FRAME_BYTES_MAX) {
        *is_garbage = true;
        return false;
    }
    if (bytes->len - LINK_HEADER_BYTES < len) { return false; }
    *frame = slice_of(bytes->data + LINK_HEADER_BYTES, len);
    *bytes = slice_of(bytes->data + LINK_HEADER_BYTES + len, bytes->len - LINK_HEADER_BYTES - len);
    return true;
}

static void on_hello(void *arg, const struct hello *hello)
{
    struct in *in = arg;
    const struct link_opts *opts = &in->owner->opts;
    bool is_ours = hello->cluster_id == opts->cluster_id && opts->cluster_id != 0;
    bool fits = (is_ours || hello->is_contact) && hello->version == LINK_VERSION;
    size_t name_len = strlen(hello->node_name);
    if (!fits || name_len == 0 || name_len >= sizeof in->name) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft peer was refused: another cluster or version",
                    LOG_UINT("cluster", hello->cluster_id), LOG_UINT("version", hello->version));
        return;
    }
    memcpy(in->name, hello->node_name, name_len + 1);
    in->is_contact = hello->is_contact;
    in->is_known = true;
}

static bool take_frame(struct in *in, struct slice frame)
{
    static const struct message_handler first = {on_hello, NULL, NULL}; /* it comes alone */
    const struct link_opts *opts = &in->owner->opts;
    if (!in->is_known) { return message_decode(frame, &first, in) == ERR_OK && in->is_known; }
    bool is_garbage = false;
    const char *from_name = in->is_contact ? NULL : in->name;
    if (frame.len > 0) { opts->on_frame(opts->arg, from_name, frame, &is_garbage); }
    return !is_garbage;
}

static void in_take(struct in *in)
{
    struct slice rest = buf_slice(&in->bytes);
    struct slice frame;
    bool is_garbage = false;
    while (!in->is_closing && link_frame_parse(&rest, &frame, &is_garbage)) {
        is_garbage = !take_frame(in, frame);
        if (is_garbage) { break; }
    }
    if (is_garbage) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft connection carried garbage and is closed",
                    LOG_STR("peer", in->name));
        in_close(in);
    }
    buf_consume(&in->bytes, in->bytes.len - rest.len);
    if (in->bytes.len == 0 && in->bytes.cap > 4 * LINK_READ_BYTES) {
        buf_fini(&in->bytes); /* one large frame does not keep its memory */
    }
}

static void on_in_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct in *in = handle->data;
    (void)size;
    *buf = uv_buf_init(buf_reserve(&in->bytes, LINK_READ_BYTES), LINK_READ_BYTES);
}

static void on_in_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct in *in = stream->data;
    (void)buf;
    if (n < 0) {
        in_close(in);
        return;
    }
    if (n == 0) { return; }
    in->bytes.len += (size_t)n;
    metric_add(METRIC_raft_link_received_bytes_total, (uint64_t)n);
    in->heard_ms = link_now_ms(in->owner);
    in_take(in);
    if (in->is_known && !in->is_contact) { link_heard(in->owner, in->name); }
}

void link_on_connection(uv_stream_t *listener, int status)
{
    struct link *link = listener->data;
    if (status != 0) { return; }
    struct in *in = mem_new0(sizeof *in);
    CHECK(uv_tcp_init(link->opts.loop, &in->tcp) == 0);
    in->tcp.data = in;
    in->owner = link;
    in->heard_ms = link_now_ms(link);
    list_push_back(&link->ins, &in->link);
    link->in_count++;
    link->handle_count++;
    bool ok = uv_accept(listener, (uv_stream_t *)&in->tcp) == 0 && link->in_count <= INBOUND_MAX;
    if (!ok || uv_read_start((uv_stream_t *)&in->tcp, on_in_alloc, on_in_read) != 0) {
        in_close(in);
    }
}

void link_in_watch(struct link *link)
{
    LIST_EACH (at, &link->ins) {
        struct in *in = CONTAINER_OF(at, struct in, link);
        if (link_now_ms(link) > in->heard_ms + link->opts.silence_ms_max) { in_close(in); }
    }
}

void link_in_close(struct link *link)
{
    LIST_EACH (at, &link->ins) {
        in_close(CONTAINER_OF(at, struct in, link));
    }
}
