/* peer: one connection, whoever dialled it: frames in and out, pings, silence. */
#include "cluster/peer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/peer_int.h"

struct peer_hub *peer_hub_new(const struct peer_hub_opts *opts)
{
    struct peer_hub *hub = mem_new0(sizeof *hub);
    hub->opts = *opts;
    hub->decoder = wire_decoder_new();
    list_init(&hub->ins);
    list_init(&hub->strangers);
    const struct wire_frame ping = {.type = WIRE_PING};
    wire_encode(&hub->ping, &ping);
    return hub;
}

void peer_hub_free(struct peer_hub *hub)
{
    if (hub == NULL) { return; }
    CHECK(hub->count == 0);
    wire_decoder_free(hub->decoder);
    buf_fini(&hub->ping);
    mem_free(hub);
}

uint32_t peer_hub_count(const struct peer_hub *hub)
{
    return hub->count;
}

bool peer_may_bring(bool is_lane, bool to_dialler, enum wire_type type)
{
    enum {
        REQUESTS = 1 << WIRE_PING | 1 << WIRE_PUBLISH | 1 << WIRE_INTEREST | 1 << WIRE_SYNC |
                   1 << WIRE_QUERY | 1 << WIRE_ASK_END | 1 << WIRE_COMMAND | 1 << WIRE_UNPARK |
                   1 << WIRE_LEADS | 1 << WIRE_ASK_LEADS,
        ANSWERS = 1 << WIRE_PING | 1 << WIRE_PUBLISHED | 1 << WIRE_QUERY_ANSWER |
                  1 << WIRE_EXECUTED | 1 << WIRE_LEADS,
        ORDERED = 1 << WIRE_PING | 1 << WIRE_DELIVER | 1 << WIRE_INTEREST_ACK | 1 << WIRE_END |
                  1 << WIRE_READY,
    };
    static const unsigned types[2][2] = {{REQUESTS, ANSWERS}, {ORDERED, 0}};
    return types[is_lane][to_dialler] & (1U << type);
}

/* ---- life ---- */

void peer_link_fail(struct peer_link *link, const char *why)
{
    if (link->conn.state == CONN_CLOSING) { return; }
    link->why = why;
    conn_reset(&link->conn);
}

const char *peer_link_why(const struct peer_link *link)
{
    if (link->why != NULL) { return link->why; }
    if (link->conn.error == EPROTO) { return "its TLS has failed"; }
    if (link->conn.has_ended) {
        return link->is_midframe ? "ended inside a frame" : "ended by the peer";
    }
    return link->conn.error != 0 ? strerrordesc_np(link->conn.error) : "closed here";
}

void peer_link_close(struct peer_link *link, bool is_abrupt)
{
    if (!conn_is_open(&link->conn)) { return; }
    if (is_abrupt) {
        conn_reset(&link->conn);
    } else {
        link->stuck_ms = 0;
        conn_close_after_flush(&link->conn);
    }
}

static bool is_silent(const struct peer_link *link, uint32_t ms_max)
{
    return link->hears && link->quiet_ms > ms_max && !conn_has_unread(&link->conn);
}

/* The acceptor may be one that has no secret yet, and says nothing. */
static bool has_no_nonce(const struct peer_link *link)
{
    const struct trust_proof *proof = link->proof;
    return proof != NULL && proof->ssl == NULL && proof->state == TRUST_AWAITS_NONCE &&
           trust_has_ways(proof->trust) && link->quiet_ms > TRUST_NONCE_WAIT_MS;
}

/* Other files hold since it was last looked at, and by them its node has not been let in. */
static bool is_trusted_no_longer(struct peer_link *link)
{
    const struct tls *tls = link->conn.tls;
    if (tls == NULL || link->node_name[0] == '\0') { return false; }
    struct identity *identity = trust_identity(link->hub->opts.trust);
    uint64_t number = identity_number(identity);
    if (number == link->identity_number) { return false; }
    enum identity_judgement judgement = identity_judge(identity, tls_ssl(tls), link->node_name);
    if (judgement == IDENTITY_STANDS) { link->identity_number = number; }
    return judgement == IDENTITY_FALLS;
}

/* NULL: it is not dead. */
static const char *dead_because(struct peer_link *link)
{
    uint32_t ms_max = link->hub->opts.silence_ms_max;
    if (link->is_hello_only && link->quiet_ms > PEER_HELLO_MS_MAX) { return "no hello"; }
    if (has_no_nonce(link)) { return "it asks for no proof"; }
    if (is_trusted_no_longer(link)) { return "its certificate is trusted no longer"; }
    bool must_move = link->conn.state == CONN_FLUSHING || !link->hears;
    if (must_move && link->stuck_ms > ms_max) { return "does not take what was queued"; }
    return is_silent(link, ms_max) ? "silent" : NULL;
}

static uint32_t tick_ms(const struct peer_link *link)
{
    uint32_t fifth_ms = link->hub->opts.silence_ms_max / 5;
    return fifth_ms < PEER_PING_MS ? fifth_ms : PEER_PING_MS;
}

static void on_tick(struct worker_timer *timer);
static void end_listening(struct peer_link *link);

static void tick_start(struct peer_link *link)
{
    link->ticked_ns = clock_mono_ns();
    worker_timer_start(link->hub->opts.worker, &link->tick, tick_ms(link), on_tick);
}

/* Time passes for the peer only as far as our own loop has turned: while it was held up, nobody could be heard. */
static void count_time(struct peer_link *link, bool is_moving)
{
    uint64_t elapsed_ms = (clock_mono_ns() - link->ticked_ns) / NS_PER_MS;
    uint32_t counted_ms = elapsed_ms < 2 * tick_ms(link) ? (uint32_t)elapsed_ms : 2 * tick_ms(link);
    bool is_stuck = !is_moving && conn_backlog_bytes(&link->conn) > 0;
    bool is_quiet = !link->has_heard && !link->conn.is_paused;
    link->has_heard = false;
    link->stuck_ms = is_stuck ? link->stuck_ms + counted_ms : 0;
    link->quiet_ms = is_quiet ? link->quiet_ms + counted_ms : 0;
}

static void on_tick(struct worker_timer *timer)
{
    struct peer_link *link = CONTAINER_OF(timer, struct peer_link, tick);
    uint64_t sent_bytes = link->queued_bytes - conn_backlog_bytes(&link->conn); /* wraps, may be */
    bool is_moving = sent_bytes != link->sent_bytes_ticked;
    link->sent_bytes_ticked = sent_bytes;
    count_time(link, is_moving);
    const char *why = dead_because(link);
    if (why != NULL) {
        peer_link_fail(link, why);
        return;
    }
    end_listening(link);
    bool is_idle = !is_moving && conn_backlog_bytes(&link->conn) == 0;
    if (link->speaks && is_idle && conn_is_open(&link->conn)) {
        peer_link_send(link, buf_slice(&link->hub->ping), NULL);
    }
    tick_start(link);
}

static struct tls *sealed_new(struct peer_link *link, bool has_dialled)
{
    struct identity *identity = trust_identity(link->hub->opts.trust);
    link->identity_number = identity_number(identity);
    return tls_new_of(identity_ssl_new(identity, has_dialled));
}

void peer_link_open(struct peer_link *link, struct peer_hub *hub,
                    const struct peer_opening *opening, const struct conn_ops *ops)
{
    *link = (struct peer_link){.hub = hub};
    bool is_sealed = opening->way == TRUST_SEALED;
    struct tls *tls = is_sealed ? sealed_new(link, opening->has_dialled) : NULL;
    conn_open(&link->conn, hub->opts.worker, opening->fd, ops, tls);
    tick_start(link);
    hub->count++;
}

void peer_link_fini(struct peer_link *link)
{
    mem_free(link->proof);
    link->proof = NULL;
    worker_timer_cancel(&link->tick);
    link->hub->count--;
}

/* ---- proof ---- */

static void end_proof(struct peer_link *link)
{
    mem_free(link->proof);
    link->proof = NULL;
}

static void begin_proof(struct peer_link *link, bool has_dialled)
{
    struct trust *trust = link->hub->opts.trust;
    struct ssl_st *ssl = link->conn.tls != NULL ? tls_ssl(link->conn.tls) : NULL;
    struct buf out = {0};
    link->proof = mem_new0(sizeof *link->proof);
    if (has_dialled) {
        trust_dial(link->proof, trust, TRUST_PEER, ssl);
        return;
    }
    enum trust_step step = trust_accept(link->proof, trust, TRUST_PEER, ssl, &out);
    peer_link_send(link, buf_slice(&out), NULL);
    buf_fini(&out);
    if (step == TRUST_PROVEN) { end_proof(link); }
}

void peer_link_begin(struct peer_link *link, enum trust_way way, bool has_dialled)
{
    link->is_listening = way == TRUST_LISTENS;
    switch (way) {
    case TRUST_SEALED:
    case TRUST_PROVED: begin_proof(link, has_dialled); break;
    case TRUST_OPEN:
    case TRUST_LISTENS: break;
    case TRUST_REFUSED_WAY:
        peer_link_fail(link, "it does not wait to be asked for the cluster's secret");
        break;
    }
}

void peer_link_on_first_byte(struct conn *conn, unsigned char first)
{
    struct peer_link *link = CONTAINER_OF(conn, struct peer_link, conn);
    if (!link->is_listening) { return; }
    enum trust_way way = trust_accept_way_of(link->hub->opts.trust, first);
    if (way == TRUST_SEALED) { conn_start_tls(conn, sealed_new(link, false)); }
    peer_link_begin(link, way, false);
}

/* Nothing has come, and it is late: it may be one that waits for a nonce. */
static void end_listening(struct peer_link *link)
{
    if (!link->is_listening || link->quiet_ms <= TRUST_LISTEN_MS) { return; }
    peer_link_begin(link, trust_accept_way_of_silence(link->hub->opts.trust), false);
}

bool peer_link_is_of(struct peer_link *link, const char *node_name)
{
    const struct tls *tls = link->conn.tls;
    if (tls == NULL) { return true; }
    if (identity_is_of(tls_ssl(tls), node_name)) {
        snprintf(link->node_name, sizeof link->node_name, "%s", node_name);
        identity_note(trust_identity(link->hub->opts.trust), tls_ssl(tls), link->identity_number);
        return true;
    }
    struct buf names = {0};
    identity_print_names(tls_ssl(tls), &names);
    LOG_LIMITED(LOG_LEVEL_WARN, "a node was refused: its certificate is another one's",
                LOG_STR("node", node_name), LOG_SLICE("certificate_of", buf_slice(&names)));
    buf_fini(&names);
    return false;
}

/* Take what is part of the proof off the start of *input. */
static void prove(struct peer_link *link, struct slice *input)
{
    enum trust_step step = TRUST_GOES_ON;
    struct buf out = {0};
    for (size_t before = SIZE_MAX; step == TRUST_GOES_ON && input->len < before;) {
        before = input->len;
        step = trust_take(link->proof, input, &out);
    }
    if (out.len > 0) { peer_link_send(link, buf_slice(&out), NULL); }
    buf_fini(&out);
    if (step == TRUST_GOES_ON) { return; }
    bool is_unasked = link->proof->state == TRUST_AWAITS_NONCE;
    end_proof(link);
    if (step == TRUST_FAILED) {
        peer_link_fail(link, is_unasked ? "only one of the two has a cluster's secret"
                                        : "it does not know the cluster's secret");
    } else if (link->on_proven != NULL) {
        link->on_proven(link);
    }
}

/* ---- in ---- */

/* What is not a whole frame yet. False: it will be none that is allowed. */
static bool expect(struct peer_link *link, size_t bytes)
{
    if (link->is_hello_only && bytes > PEER_HELLO_BYTES_MAX) { return false; }
    conn_expect(&link->conn, bytes);
    return true;
}

/* Decode the frame at the start of `input` and hand it over. Returns its length, or 0: there is no whole one,
 * or the connection has been closed for it. */
static size_t take_frame(struct peer_link *link, struct slice input)
{
    struct wire_frame frame;
    size_t bytes;
    switch (wire_decode(link->hub->decoder, input, &frame, &bytes)) {
    case WIRE_INCOMPLETE:
        if (!expect(link, bytes)) { peer_link_fail(link, "a hello too large"); }
        return 0;
    case WIRE_GARBAGE: peer_link_fail(link, "garbage"); return 0;
    case WIRE_OK: break;
    }
    if (!link->on_frame(link, &frame)) {
        peer_link_fail(link, "a frame out of place");
        return 0;
    }
    return bytes;
}

size_t peer_link_on_data(struct conn *conn, struct slice input)
{
    struct peer_link *link = CONTAINER_OF(conn, struct peer_link, conn);
    struct slice rest = input;
    if (link->proof != NULL) { prove(link, &rest); }
    if (link->proof != NULL) { return input.len - rest.len; }
    link->has_heard = !link->is_hello_only;
    size_t used = input.len - rest.len;
    while (used < input.len && conn_is_open(conn) && !conn->is_paused) {
        size_t bytes = take_frame(link, slice_of(input.data + used, input.len - used));
        if (bytes == 0) { break; }
        used += bytes;
    }
    link->is_midframe = used < input.len;
    return used;
}

/* ---- out ---- */

void peer_link_send(struct peer_link *link, struct slice head, const struct span *body)
{
    size_t bytes = head.len + (body != NULL ? body->len : 0);
    link->queued_bytes += bytes;
    if (!conn_is_open(&link->conn)) {
        link->refused_bytes += bytes;
        return;
    }
    bool is_copied = body != NULL && body->len <= PEER_COPY_BYTES_MAX;
    struct buf *out = conn_reply_begin(&link->conn);
    buf_append(out, head);
    if (is_copied) { buf_append(out, slice_of(body->data, body->len)); }
    conn_reply_end(&link->conn);
    if (body != NULL && !is_copied) { conn_queue(&link->conn, body, 1, 0); }
}

uint64_t peer_link_sent(const struct peer_link *link)
{
    return link->queued_bytes - link->refused_bytes - conn_unsent_bytes(&link->conn);
}
