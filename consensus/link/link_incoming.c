/* link_incoming: the incoming connections of the link.
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
#include "trust/trust.h"

enum { HELLO_CHECK_MS = 250 };

/* Who is at the other end: what it may send, and who goes first where room is needed. */
enum standing { STANDING_STRANGER, STANDING_CONTACT, STANDING_MEMBER, STANDINGS };

static const size_t frame_bytes_max[STANDINGS] = {
    [STANDING_STRANGER] = LINK_HELLO_BYTES_MAX,
    [STANDING_CONTACT] = LINK_CONTACT_BYTES_MAX,
    [STANDING_MEMBER] = LINK_FRAME_BYTES_MAX,
};

/* Room for a read: a stranger's is that of a hello. */
static const size_t read_bytes[STANDINGS] = {
    [STANDING_STRANGER] = LINK_HELLO_BYTES_MAX + LINK_HEADER_BYTES,
    [STANDING_CONTACT] = 16 << 10,
    [STANDING_MEMBER] = LINK_READ_BYTES,
};

struct incoming {
    uv_tcp_t tcp;
    struct list link;
    struct link *owner;
    struct buf bytes;
    enum standing standing;
    bool is_closing;
    bool is_refused; /* its hello did not fit */
    bool is_proving; /* nothing is read but its proof */
    struct trust_proof proof;
    char name[LINK_NAME_BYTES];
    uint64_t accepted_ms;
    uint64_t heard_ms;
};

static void on_incoming_closed(uv_handle_t *handle)
{
    struct incoming *incoming = handle->data;
    struct link *link = incoming->owner;
    list_remove(&incoming->link);
    link->handle_count--;
    buf_fini(&incoming->bytes);
    mem_free(incoming);
    link_maybe_free(link);
}

/* One stranger less; there is nothing to wait for without any. */
static void count_stranger_gone(struct link *link)
{
    link->stranger_count--;
    if (link->stranger_count == 0 && !link->is_closing) { uv_timer_stop(&link->hello_timer); }
}

static void incoming_close(struct incoming *incoming)
{
    if (incoming->is_closing) { return; }
    incoming->is_closing = true;
    incoming->owner->incoming_count--;
    if (incoming->standing == STANDING_STRANGER) { count_stranger_gone(incoming->owner); }
    uv_close((uv_handle_t *)&incoming->tcp, on_incoming_closed);
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
    struct incoming *incoming = arg;
    const struct link_opts *opts = &incoming->owner->opts;
    bool is_ours = hello->cluster_id == opts->cluster_id && opts->cluster_id != 0;
    bool fits = (is_ours || hello->is_contact) && hello->version == LINK_VERSION;
    size_t name_len = strlen(hello->node_name);
    if (hello->to_name[0] != 0 && strcmp(hello->to_name, opts->node_name) != 0) {
        incoming->is_refused = true; /* addresses have changed hands: it resolves the name again */
        return;
    }
    if (!fits || name_len == 0 || name_len >= sizeof incoming->name) {
        incoming->is_refused = true;
        if (link_may_tell(incoming->owner, &incoming->owner->refused_told_ms)) {
            LOG_WARN("a raft peer was refused: another cluster or version",
                     LOG_UINT("cluster", hello->cluster_id), LOG_UINT("version", hello->version));
        }
        return;
    }
    memcpy(incoming->name, hello->node_name, name_len + 1);
    incoming->standing = hello->is_contact ? STANDING_CONTACT : STANDING_MEMBER;
    count_stranger_gone(incoming->owner);
}

/* A few bytes, which a connection that has carried next to nothing takes at once. */
static bool write_proof(struct incoming *incoming, const struct buf *out)
{
    uv_buf_t bytes = uv_buf_init(out->data, (unsigned)out->len);
    return out->len == 0 || uv_try_write((uv_stream_t *)&incoming->tcp, &bytes, 1) == (int)out->len;
}

static bool begin_proof(struct incoming *incoming)
{
    struct trust *trust = incoming->owner->opts.trust;
    if (trust == NULL) { return true; }
    struct buf out = {0};
    incoming->is_proving = true;
    trust_accept(&incoming->proof, trust, TRUST_RAFT, &out);
    bool is_good = write_proof(incoming, &out);
    buf_fini(&out);
    return is_good;
}

/* Who is at the other end, for the log. */
static void describe(const struct incoming *incoming, char text[INET6_ADDRSTRLEN])
{
    struct sockaddr_storage from = {0};
    int len = sizeof from;
    if (uv_tcp_getpeername(&incoming->tcp, (struct sockaddr *)&from, &len) != 0 ||
        uv_ip_name((const struct sockaddr *)&from, text, INET6_ADDRSTRLEN) != 0) {
        strcpy(text, "?");
    }
}

/* Take what is part of its proof off the start of *rest. False: it knows no secret of ours. */
static bool prove(struct incoming *incoming, struct slice *rest)
{
    struct buf out = {0};
    enum trust_step step = trust_take(&incoming->proof, rest, &out);
    bool is_good = step != TRUST_FAILED && write_proof(incoming, &out);
    incoming->is_proving = step == TRUST_GOES_ON;
    buf_fini(&out);
    if (!is_good) {
        char from[INET6_ADDRSTRLEN];
        describe(incoming, from);
        LOG_LIMITED(LOG_LEVEL_WARN,
                    "a raft peer was refused: it does not know the cluster's secret",
                    LOG_STR("peer", from));
    }
    return is_good;
}

static bool take_frame(struct incoming *incoming, struct slice frame)
{
    static const struct message_handler first = {on_hello, NULL, NULL}; /* it comes alone */
    const struct link_opts *opts = &incoming->owner->opts;
    if (incoming->standing == STANDING_STRANGER) {
        return message_decode(frame, &first, incoming) == ERR_OK &&
               incoming->standing != STANDING_STRANGER;
    }
    bool is_garbage = false;
    const char *from_name = incoming->standing == STANDING_CONTACT ? NULL : incoming->name;
    if (frame.len > 0) { opts->on_frame(opts->arg, from_name, frame, &is_garbage); }
    return !is_garbage;
}

static void incoming_take(struct incoming *incoming)
{
    struct slice rest = buf_slice(&incoming->bytes);
    struct slice frame;
    bool is_garbage = false;
    if (incoming->is_proving && !prove(incoming, &rest)) {
        incoming_close(incoming);
        return;
    }
    while (!incoming->is_closing && !incoming->is_proving &&
           link_frame_parse(&rest, frame_bytes_max[incoming->standing], &frame, &is_garbage)) {
        is_garbage = !take_frame(incoming, frame);
        if (is_garbage) { break; }
    }
    if (is_garbage && !incoming->is_refused) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft connection carried garbage and is closed",
                    LOG_STR("peer", incoming->name));
    }
    if (is_garbage) { incoming_close(incoming); }
    buf_consume(&incoming->bytes, incoming->bytes.len - rest.len);
    if (incoming->bytes.len == 0 && incoming->bytes.cap > 4 * LINK_READ_BYTES) {
        buf_fini(&incoming->bytes); /* one large frame does not keep its memory */
    }
}

static void on_incoming_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct incoming *incoming = handle->data;
    (void)size;
    size_t bytes = read_bytes[incoming->standing];
    *buf = uv_buf_init(buf_reserve(&incoming->bytes, bytes), (unsigned)bytes);
}

static void on_incoming_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct incoming *incoming = stream->data;
    (void)buf;
    if (n < 0) {
        incoming_close(incoming);
        return;
    }
    if (n == 0) { return; }
    incoming->bytes.len += (size_t)n;
    metric_add(METRIC_raft_link_received_bytes_total, (uint64_t)n);
    incoming->heard_ms = link_now_ms(incoming->owner);
    incoming_take(incoming);
    if (incoming->standing == STANDING_MEMBER) { link_heard(incoming->owner, incoming->name); }
}

/* All places are taken: who has not said who it is goes first, then a contact, of each the oldest.
 * False: all are members. */
static bool make_room(struct link *link)
{
    for (enum standing standing = STANDING_STRANGER; standing < STANDING_MEMBER; standing++) {
        LIST_EACH (at, &link->incoming) { /* oldest first */
            struct incoming *incoming = CONTAINER_OF(at, struct incoming, link);
            if (incoming->standing != standing || incoming->is_closing) { continue; }
            incoming_close(incoming);
            return true;
        }
    }
    return false;
}

static void add_stranger(struct link *link)
{
    link->incoming_count++;
    if (link->stranger_count++ > 0) { return; }
    CHECK(uv_timer_start(&link->hello_timer, link_on_hello_timer, HELLO_CHECK_MS, HELLO_CHECK_MS) ==
          0);
}

void link_on_connection(uv_stream_t *listener, int status)
{
    struct link *link = listener->data;
    if (status != 0) { return; }
    bool has_room = link->incoming_count < LINK_INCOMING_MAX || make_room(link);
    struct incoming *incoming = mem_new0(sizeof *incoming);
    CHECK(uv_tcp_init(link->opts.loop, &incoming->tcp) == 0);
    incoming->tcp.data = incoming;
    incoming->owner = link;
    incoming->accepted_ms = link_now_ms(link);
    incoming->heard_ms = incoming->accepted_ms;
    list_push_back(&link->incoming, &incoming->link);
    add_stranger(link);
    link->handle_count++;
    bool ok = uv_accept(listener, (uv_stream_t *)&incoming->tcp) == 0 && has_room;
    if (!ok || !begin_proof(incoming) ||
        uv_read_start((uv_stream_t *)&incoming->tcp, on_incoming_alloc, on_incoming_read) != 0) {
        incoming_close(incoming);
    }
}

void link_watch_incoming(struct link *link)
{
    LIST_EACH (at, &link->incoming) {
        struct incoming *incoming = CONTAINER_OF(at, struct incoming, link);
        if (link_now_ms(link) > incoming->heard_ms + link->opts.silence_ms_max) {
            incoming_close(incoming);
        }
    }
}

void link_on_hello_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;
    LIST_EACH (at, &link->incoming) {
        struct incoming *incoming = CONTAINER_OF(at, struct incoming, link);
        bool is_late = link_now_ms(link) >= incoming->accepted_ms + LINK_HELLO_MS_MAX;
        if (incoming->standing == STANDING_STRANGER && is_late) { incoming_close(incoming); }
    }
}

void link_close_incoming(struct link *link)
{
    LIST_EACH (at, &link->incoming) {
        incoming_close(CONTAINER_OF(at, struct incoming, link));
    }
}
