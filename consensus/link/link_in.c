/* link_in: the incoming connections of the link.
 * Owns: their sockets and what was read and not parsed. Not: what frames mean. Thread: the raft
 * thread.
 * Always: nothing is handed over before a hello that fits, for which a stranger has little room and
 * little time; strangers and contacts take no member's place; a contact, whose hello may be of any
 * cluster, is handed over without a name; garbage closes its connection and does nothing else. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/link/link_int.h"
#include "consensus/link/message.h"

enum { HELLO_CHECK_MS = 250 };

/* Who is at the other end: what it may send, and who goes first where room is needed. */
enum standing { IN_STRANGER, IN_CONTACT, IN_MEMBER, IN_STANDINGS };

static const size_t frame_bytes_max[IN_STANDINGS] = {
    [IN_STRANGER] = LINK_HELLO_BYTES_MAX,
    [IN_CONTACT] = LINK_CONTACT_BYTES_MAX,
    [IN_MEMBER] = LINK_FRAME_BYTES_MAX,
};

/* Room for a read: a stranger's is that of a hello. */
static const size_t read_bytes[IN_STANDINGS] = {
    [IN_STRANGER] = LINK_HELLO_BYTES_MAX + LINK_HEADER_BYTES,
    [IN_CONTACT] = 16 << 10,
    [IN_MEMBER] = LINK_READ_BYTES,
};

struct in {
    uv_tcp_t tcp;
    struct list link;
    struct link *owner;
    struct buf bytes;
    enum standing standing;
    bool is_closing;
    bool is_refused; /* its hello did not fit */
    char name[LINK_NAME_BYTES];
    uint64_t accepted_ms;
    uint64_t heard_ms;
};

static void on_in_closed(uv_handle_t *handle)
{
    struct in *in = handle->data;
    struct link *link = in->owner;
    list_remove(&in->link);
    link->handle_count--;
    buf_fini(&in->bytes);
    mem_free(in);
    link_maybe_free(link);
}

/* One stranger less; there is nothing to wait for without any. */
static void count_stranger_out(struct link *link)
{
    link->stranger_count--;
    if (link->stranger_count == 0 && !link->is_closing) { uv_timer_stop(&link->hello_timer); }
}

static void in_close(struct in *in)
{
    if (in->is_closing) { return; }
    in->is_closing = true;
    in->owner->in_count--;
    if (in->standing == IN_STRANGER) { count_stranger_out(in->owner); }
    uv_close((uv_handle_t *)&in->tcp, on_in_closed);
}

bool link_frame_parse(struct slice *bytes, size_t bytes_max, struct slice *frame, bool *is_garbage)
{
    *is_garbage = false;
    if (bytes->len < LINK_HEADER_BYTES) { return false; }
    const unsigned char *p = (const unsigned char *)bytes->data;
    size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | (size_t)p[3];
    if (len > bytes_max) {
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
    if (hello->to_name[0] != 0 && strcmp(hello->to_name, opts->node_name) != 0) {
        in->is_refused = true; /* addresses have changed hands: it resolves the name again */
        return;
    }
    if (!fits || name_len == 0 || name_len >= sizeof in->name) {
        in->is_refused = true;
        if (link_may_tell(in->owner, &in->owner->refused_told_ms)) {
            LOG_WARN("a raft peer was refused: another cluster or version",
                     LOG_UINT("cluster", hello->cluster_id), LOG_UINT("version", hello->version));
        }
        return;
    }
    memcpy(in->name, hello->node_name, name_len + 1);
    in->standing = hello->is_contact ? IN_CONTACT : IN_MEMBER;
    count_stranger_out(in->owner);
}

static bool take_frame(struct in *in, struct slice frame)
{
    static const struct message_handler first = {on_hello, NULL, NULL}; /* it comes alone */
    const struct link_opts *opts = &in->owner->opts;
    if (in->standing == IN_STRANGER) {
        return message_decode(frame, &first, in) == ERR_OK && in->standing != IN_STRANGER;
    }
    bool is_garbage = false;
    const char *from_name = in->standing == IN_CONTACT ? NULL : in->name;
    if (frame.len > 0) { opts->on_frame(opts->arg, from_name, frame, &is_garbage); }
    return !is_garbage;
}

static void in_take(struct in *in)
{
    struct slice rest = buf_slice(&in->bytes);
    struct slice frame;
    bool is_garbage = false;
    while (!in->is_closing &&
           link_frame_parse(&rest, frame_bytes_max[in->standing], &frame, &is_garbage)) {
        is_garbage = !take_frame(in, frame);
        if (is_garbage) { break; }
    }
    if (is_garbage && !in->is_refused) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft connection carried garbage and is closed",
                    LOG_STR("peer", in->name));
    }
    if (is_garbage) { in_close(in); }
    buf_consume(&in->bytes, in->bytes.len - rest.len);
    if (in->bytes.len == 0 && in->bytes.cap > 4 * LINK_READ_BYTES) {
        buf_fini(&in->bytes); /* one large frame does not keep its memory */
    }
}

static void on_in_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct in *in = handle->data;
    (void)size;
    size_t bytes = read_bytes[in->standing];
    *buf = uv_buf_init(buf_reserve(&in->bytes, bytes), (unsigned)bytes);
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
    if (in->standing == IN_MEMBER) { link_heard(in->owner, in->name); }
}

/* All places are taken: who has not said who it is goes first, then a contact, of each the oldest.
 * False: all are members. */
static bool make_room(struct link *link)
{
    for (enum standing standing = IN_STRANGER; standing < IN_MEMBER; standing++) {
        LIST_EACH (at, &link->ins) { /* oldest first */
            struct in *in = CONTAINER_OF(at, struct in, link);
            if (in->standing != standing || in->is_closing) { continue; }
            in_close(in);
            return true;
        }
    }
    return false;
}

static void add_stranger(struct link *link)
{
    link->in_count++;
    if (link->stranger_count++ > 0) { return; }
    CHECK(uv_timer_start(&link->hello_timer, link_on_hello_timer, HELLO_CHECK_MS, HELLO_CHECK_MS) ==
          0);
}

void link_on_connection(uv_stream_t *listener, int status)
{
    struct link *link = listener->data;
    if (status != 0) { return; }
    bool has_room = link->in_count < LINK_INCOMING_MAX || make_room(link);
    struct in *in = mem_new0(sizeof *in);
    CHECK(uv_tcp_init(link->opts.loop, &in->tcp) == 0);
    in->tcp.data = in;
    in->owner = link;
    in->accepted_ms = link_now_ms(link);
    in->heard_ms = in->accepted_ms;
    list_push_back(&link->ins, &in->link);
    add_stranger(link);
    link->handle_count++;
    bool ok = uv_accept(listener, (uv_stream_t *)&in->tcp) == 0 && has_room;
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

void link_on_hello_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;
    LIST_EACH (at, &link->ins) {
        struct in *in = CONTAINER_OF(at, struct in, link);
        bool is_late = link_now_ms(link) >= in->accepted_ms + LINK_HELLO_MS_MAX;
        if (in->standing == IN_STRANGER && is_late) { in_close(in); }
    }
}

void link_in_close(struct link *link)
{
    LIST_EACH (at, &link->ins) {
        in_close(CONTAINER_OF(at, struct in, link));
    }
}
