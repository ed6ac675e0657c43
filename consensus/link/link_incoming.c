/* link_incoming: the incoming connections of the link.
 * Owns: their sockets, their TLS and what was read and not parsed. Not: what frames mean. Thread: the raft
 * thread.
 * Always: nothing is handed over before a hello that fits, for which a stranger has little room and
 * little time; strangers and contacts take no member's place; a contact, whose hello may be of any
 * cluster, is handed over without a name; garbage closes its connection and does nothing else. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/link/link_int.h"
#include "consensus/link/message.h"
#include "trust/identity.h"
#include "trust/seal.h"
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
    struct buf bytes; /* opened; before TLS is up those of its handshake that wait */
    enum standing standing;
    enum trust_way way;
    struct seal *seal; /* NULL: in the open */
    uint64_t identity_number;
    bool is_waiting; /* with a handshake for its turn; not read meanwhile */
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
    seal_free(incoming->seal);
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

/* Who shows a certificate is whose it is. */
static bool is_of(struct incoming *incoming, const char *node_name)
{
    if (incoming->seal == NULL || identity_is_of(seal_ssl(incoming->seal), node_name)) {
        return true;
    }
    struct buf names = {0};
    identity_print_names(seal_ssl(incoming->seal), &names);
    LOG_LIMITED(LOG_LEVEL_WARN, "a raft peer was refused: its certificate is another node's",
                LOG_STR("node", node_name), LOG_SLICE("certificate_of", buf_slice(&names)));
    buf_fini(&names);
    return false;
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
    if (!is_of(incoming, hello->node_name)) {
        incoming->is_refused = true;
        return;
    }
    memcpy(incoming->name, hello->node_name, name_len + 1);
    incoming->standing = hello->is_contact ? STANDING_CONTACT : STANDING_MEMBER;
    count_stranger_gone(incoming->owner);
}

/* A few bytes, which a connection that has carried next to nothing takes at once. */
static bool write_few(struct incoming *incoming, const struct buf *out)
{
    uv_buf_t bytes = uv_buf_init(out->data, (unsigned)out->len);
    return out->len == 0 || uv_try_write((uv_stream_t *)&incoming->tcp, &bytes, 1) == (int)out->len;
}

static bool write_proof(struct incoming *incoming, const struct buf *out)
{
    if (incoming->seal == NULL) { return write_few(incoming, out); }
    struct buf *sealed = &incoming->owner->sealed;
    sealed->len = 0;
    return seal_put(incoming->seal, buf_slice(out), sealed) && write_few(incoming, sealed);
}

static bool begin_proof(struct incoming *incoming)
{
    struct ssl_st *ssl = incoming->seal != NULL ? seal_ssl(incoming->seal) : NULL;
    struct buf out = {0};
    enum trust_step step =
        trust_accept(&incoming->proof, incoming->owner->opts.trust, TRUST_RAFT, ssl, &out);
    incoming->is_proving = step == TRUST_GOES_ON;
    bool is_good = write_proof(incoming, &out);
    buf_fini(&out);
    return is_good;
}

/* It goes that way. False: it goes none. */
static bool begin(struct incoming *incoming, enum trust_way way)
{
    struct trust *trust = incoming->owner->opts.trust;
    incoming->way = way;
    switch (way) {
    case TRUST_SEALED:
        incoming->identity_number = identity_number(trust_identity(trust));
        incoming->seal = seal_new(trust_identity(trust), false, NULL);
        return true;
    case TRUST_PROVED: return begin_proof(incoming);
    case TRUST_OPEN:
    case TRUST_LISTENS: return true;
    case TRUST_REFUSED_WAY:
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft peer was refused: it does not wait to be asked for the "
                                    "cluster's secret");
        return false;
    }
    UNREACHABLE();
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
    const char *shown_name = incoming->seal != NULL ? incoming->name : NULL;
    if (frame.len > 0) { opts->on_frame(opts->arg, from_name, shown_name, frame, &is_garbage); }
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

/* ---- TLS ---- */

static void refuse_sealed(struct incoming *incoming)
{
    char from[INET6_ADDRSTRLEN];
    describe(incoming, from);
    metric_add(METRIC_cluster_tls_failures_total, 1);
    LOG_LIMITED(LOG_LEVEL_WARN, "a raft peer was refused: its TLS has failed",
                LOG_STR("peer", from), LOG_STR("why", seal_why(incoming->seal)));
    incoming_close(incoming);
}

/* Open what came, and go on with what it holds. */
static void open_sealed(struct incoming *incoming, struct slice sealed)
{
    struct buf *out = &incoming->owner->sealed;
    bool was_up = seal_is_up(incoming->seal);
    out->len = 0;
    enum seal_step step = seal_take(incoming->seal, sealed, &incoming->bytes, out);
    bool is_written = write_few(incoming, out); /* also what tells why it fails */
    if (step == SEAL_FAILED) {
        refuse_sealed(incoming);
        return;
    }
    if (!was_up && seal_is_up(incoming->seal)) {
        metric_add(METRIC_cluster_tls_handshakes_total, 1);
        identity_note(trust_identity(incoming->owner->opts.trust), seal_ssl(incoming->seal),
                      incoming->identity_number);
        is_written = is_written && begin_proof(incoming);
    }
    if (is_written && incoming->bytes.len > 0) { incoming_take(incoming); }
    if (!is_written || step == SEAL_ENDED) { incoming_close(incoming); }
}

/* Is there time left for a handshake in this turn? So members are heard while strangers come in numbers. */
static bool may_shake(struct link *link)
{
    uint64_t turn = link_now_ms(link) / LINK_SHAKE_TURN_MS;
    if (turn != link->shake_turn) { link->shaken_ns = 0; }
    link->shake_turn = turn;
    return link->shaken_ns < LINK_SHAKE_NS_MAX;
}

static void shake(struct incoming *incoming, struct slice sealed)
{
    uint64_t began_ns = clock_mono_ns();
    struct link *link = incoming->owner;
    open_sealed(incoming, sealed);
    link->shaken_ns += clock_mono_ns() - began_ns;
}

static void take_sealed(struct incoming *incoming, struct slice sealed)
{
    if (seal_is_up(incoming->seal)) {
        open_sealed(incoming, sealed);
    } else if (may_shake(incoming->owner)) {
        shake(incoming, sealed);
    } else {
        buf_append(&incoming->bytes, sealed);
        incoming->is_waiting = true;
        uv_read_stop((uv_stream_t *)&incoming->tcp);
        CHECK(uv_timer_start(&incoming->owner->shake_timer, link_on_shake_timer, LINK_SHAKE_TURN_MS,
                             0) == 0);
    }
}

static void on_incoming_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf);
static void on_incoming_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* Its turn has come. */
static void end_waiting(struct incoming *incoming)
{
    struct buf sealed = incoming->bytes;
    incoming->bytes = (struct buf){0};
    incoming->is_waiting = false;
    shake(incoming, buf_slice(&sealed));
    buf_fini(&sealed);
    if (!incoming->is_closing &&
        uv_read_start((uv_stream_t *)&incoming->tcp, on_incoming_alloc, on_incoming_read) != 0) {
        incoming_close(incoming);
    }
}

void link_on_shake_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;
    bool any_waits = false;
    LIST_EACH (at, &link->incoming) { /* oldest first */
        struct incoming *incoming = CONTAINER_OF(at, struct incoming, link);
        if (!incoming->is_waiting || incoming->is_closing) { continue; }
        any_waits = !may_shake(link);
        if (any_waits) { break; }
        end_waiting(incoming);
    }
    if (any_waits) {
        CHECK(uv_timer_start(timer, link_on_shake_timer, LINK_SHAKE_TURN_MS, 0) == 0);
    }
}

/* ---- reading ---- */

static void on_incoming_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct incoming *incoming = handle->data;
    (void)size;
    size_t bytes = read_bytes[incoming->standing];
    bool is_open = incoming->seal == NULL && incoming->way != TRUST_LISTENS;
    struct buf *to = is_open ? &incoming->bytes : &incoming->owner->wire;
    *buf = uv_buf_init(buf_reserve(to, bytes), (unsigned)bytes);
}

static void take_read(struct incoming *incoming, struct slice got)
{
    bool was_listening = incoming->way == TRUST_LISTENS;
    if (was_listening) {
        unsigned char first = (unsigned char)got.data[0];
        if (!begin(incoming, trust_accept_way_of(incoming->owner->opts.trust, first))) {
            incoming_close(incoming);
            return;
        }
    }
    if (incoming->seal != NULL) {
        take_sealed(incoming, got);
        return;
    }
    if (was_listening) {
        buf_append(&incoming->bytes, got);
    } else {
        incoming->bytes.len += got.len; /* it was read to where it belongs */
    }
    incoming_take(incoming);
}

static void on_incoming_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct incoming *incoming = stream->data;
    if (n < 0) {
        incoming_close(incoming);
        return;
    }
    if (n == 0) { return; }
    metric_add(METRIC_raft_link_received_bytes_total, (uint64_t)n);
    incoming->heard_ms = link_now_ms(incoming->owner);
    take_read(incoming, slice_of(buf->base, (size_t)n));
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
    if (!ok || !begin(incoming, trust_accept_way(link->opts.trust)) ||
        uv_read_start((uv_stream_t *)&incoming->tcp, on_incoming_alloc, on_incoming_read) != 0) {
        incoming_close(incoming);
    }
}

/* Other files hold since it was last looked at, and by them its node has not been let in. */
static bool is_trusted_no_longer(struct incoming *incoming)
{
    if (incoming->seal == NULL || incoming->name[0] == '\0') { return false; }
    struct identity *identity = trust_identity(incoming->owner->opts.trust);
    uint64_t number = identity_number(identity);
    if (number == incoming->identity_number || incoming->is_closing) { return false; }
    enum identity_judgement judgement =
        identity_judge(identity, seal_ssl(incoming->seal), incoming->name);
    if (judgement == IDENTITY_STANDS) { incoming->identity_number = number; }
    if (judgement != IDENTITY_FALLS) { return false; }
    LOG_WARN("a raft peer's certificate is trusted no longer", LOG_STR("peer", incoming->name));
    return true;
}

void link_watch_incoming(struct link *link)
{
    LIST_EACH (at, &link->incoming) {
        struct incoming *incoming = CONTAINER_OF(at, struct incoming, link);
        bool is_silent = link_now_ms(link) > incoming->heard_ms + link->opts.silence_ms_max;
        if (is_silent || is_trusted_no_longer(incoming)) { incoming_close(incoming); }
    }
}

void link_on_hello_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;
    LIST_EACH (at, &link->incoming) {
        struct incoming *incoming = CONTAINER_OF(at, struct incoming, link);
        bool is_late = link_now_ms(link) >= incoming->accepted_ms + LINK_HELLO_MS_MAX;
        if (incoming->standing != STANDING_STRANGER || incoming->is_closing) { continue; }
        bool is_quiet = incoming->way == TRUST_LISTENS &&
                        link_now_ms(link) >= incoming->accepted_ms + TRUST_LISTEN_MS;
        if (is_late ||
            (is_quiet && !begin(incoming, trust_accept_way_of_silence(link->opts.trust)))) {
            incoming_close(incoming);
        }
    }
}

void link_close_incoming(struct link *link)
{
    LIST_EACH (at, &link->incoming) {
        incoming_close(CONTAINER_OF(at, struct incoming, link));
    }
}
