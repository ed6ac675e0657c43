/* link_peers: whom the link sends to: nodes by name and contacts by address, each with its outgoing connections.
 * Owns: what is known of the peers, and what is queued for them. Not: what frames mean. Thread: the raft thread.
 * Always: what waits for one peer is at most peer_bytes_max per connection. Pings, frames without content, keep a
 * connection from being silent. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/link/link_outgoing_int.h"
#include "trust/identity.h"

enum {
    PEERS_MAX = 256,
    IDLE_MS_MAX = 60 * 1000, /* nothing was sent to a peer for so long: forget it */
    RENEW_PARTS = 8,         /* of all connections, in a turn */
    RENEW_TURNS_MAX = 20,
};

static struct peer *peer_find(struct link *link, const char *name)
{
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        if (!peer->is_contact && strcmp(peer->name, name) == 0) { return peer; }
    }
    return NULL;
}

static struct peer *peer_new(struct link *link, const char *name)
{
    struct peer *peer = mem_new0(sizeof *peer);
    peer->owner = link;
    snprintf(peer->name, sizeof peer->name, "%.*s", LINK_NAME_BYTES - 1, name);
    for (int i = 0; i < 2; i++) {
        peer->outgoing[i] =
            (struct outgoing){.peer = peer, .is_bulk = i == 1, .backoff_ms = LINK_BACKOFF_MS_MIN};
    }
    list_push_back(&link->peers, &peer->link);
    link->peer_count++;
    return peer;
}

static struct peer *peer_get(struct link *link, const char *name)
{
    struct peer *peer = peer_find(link, name);
    if (peer != NULL || link->peer_count == PEERS_MAX || strlen(name) >= LINK_NAME_BYTES) {
        return peer;
    }
    return peer_new(link, name);
}

static struct peer *contact_get(struct link *link, const char *host, uint16_t port)
{
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        if (peer->is_contact && peer->port == port && strcmp(peer->host, host) == 0) {
            return peer;
        }
    }
    if (link->peer_count == PEERS_MAX || strlen(host) >= LINK_HOST_BYTES) { return NULL; }
    struct peer *peer = peer_new(link, host);
    peer->is_contact = true;
    snprintf(peer->host, sizeof peer->host, "%s", host);
    peer->port = port;
    return peer;
}

static void outgoing_send(struct link *link, struct outgoing *outgoing, struct slice frame)
{
    outgoing->peer->used_ms = link_now_ms(link);
    if (outgoing->state == OUTGOING_IDLE && link_now_ms(link) >= outgoing->retry_at_ms) {
        outgoing_dial(outgoing);
    }
    size_t waiting = outgoing->queue.len + outgoing->inflight_bytes + frame.len;
    if (outgoing->state == OUTGOING_IDLE || waiting > link->opts.peer_bytes_max) {
        link->dropped_count++;
        metric_add(METRIC_raft_link_dropped_frames_total, 1);
        return;
    }
    outgoing_queue_begin(&outgoing->queue);
    buf_append(&outgoing->queue, frame);
}

void link_send(struct link *link, const char *node_name, struct slice frame, bool is_bulk)
{
    struct peer *peer = link->is_closing ? NULL : peer_get(link, node_name);
    if (peer != NULL) { outgoing_send(link, &peer->outgoing[is_bulk], frame); }
}

void link_send_contact(struct link *link, const char *host, uint16_t port, struct slice frame)
{
    struct peer *peer = link->is_closing ? NULL : contact_get(link, host, port);
    if (peer != NULL) { outgoing_send(link, &peer->outgoing[0], frame); }
}

static void peer_redial(struct peer *peer)
{
    for (int i = 0; i < 2; i++) {
        struct outgoing *outgoing = &peer->outgoing[i];
        if (outgoing->state == OUTGOING_UP || outgoing->state == OUTGOING_CONNECTING) {
            outgoing_down(outgoing);
        }
        outgoing->retry_at_ms = 0;
        outgoing->backoff_ms = LINK_BACKOFF_MS_MIN;
    }
}

void link_redial(struct link *link, const char *node_name)
{
    struct peer *peer = link->is_closing ? NULL : peer_find(link, node_name);
    if (peer != NULL) { peer_redial(peer); }
}

void link_set_cluster(struct link *link, uint64_t cluster_id)
{
    link->opts.cluster_id = cluster_id;
    if (link->is_closing) { return; }
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        if (!peer->is_contact) { peer_redial(peer); } /* its hello told another one */
    }
}

void link_heard(struct link *link, const char *name)
{
    struct peer *peer = peer_find(link, name);
    if (peer != NULL) { peer->heard_ms = link_now_ms(link); }
}

/* What the gauges hold of this link, once more. */
static void set_gauges(struct link *link, uint64_t connections, uint64_t queued_bytes)
{
    metric_add(METRIC_raft_link_connections, connections - link->gauge_connections);
    metric_add(METRIC_raft_link_queued_bytes, queued_bytes - link->gauge_queued_bytes);
    link->gauge_connections = connections;
    link->gauge_queued_bytes = queued_bytes;
}

void link_flush(struct link *link)
{
    uint64_t connections = 0;
    uint64_t queued_bytes = 0;
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        for (int i = 0; i < 2; i++) {
            struct outgoing *outgoing = &peer->outgoing[i];
            if (outgoing->state == OUTGOING_UP && outgoing->queue.len > 0) {
                outgoing_write(outgoing, &outgoing->queue);
            }
            connections += outgoing->state == OUTGOING_UP;
            queued_bytes += outgoing->queue.len + outgoing->inflight_bytes;
        }
    }
    set_gauges(link, connections, queued_bytes);
}

/* ---- time ---- */

static void ping(struct outgoing *outgoing)
{
    if (outgoing->state == OUTGOING_UP && outgoing->queue.len == 0 &&
        outgoing->inflight_bytes == 0) {
        outgoing_queue_begin(&outgoing->queue);
        outgoing_write(outgoing, &outgoing->queue);
    }
}

/* A peer that was heard once and is silent now is stopped, or its machine is: what waits for it is
 * of no use. */
static void watch_peer(struct peer *peer, uint64_t now)
{
    bool is_silent = peer->heard_ms != 0 && now > peer->heard_ms + peer->owner->opts.silence_ms_max;
    if (is_silent) {
        LOG_WARN("a raft peer is silent", LOG_STR("peer", peer->name));
        peer->heard_ms = 0;
    }
    for (int i = 0; i < 2; i++) {
        struct outgoing *outgoing = &peer->outgoing[i];
        bool is_stuck = outgoing->state == OUTGOING_CONNECTING &&
                        now > outgoing->dialled_ms + peer->owner->opts.silence_ms_max;
        if ((is_silent && outgoing->state == OUTGOING_UP) || is_stuck ||
            outgoing_has_no_nonce(outgoing)) {
            outgoing_down(outgoing);
        }
        ping(outgoing);
    }
}

/* False: a name is being resolved for it. */
static bool peer_forget(struct peer *peer)
{
    struct link *link = peer->owner;
    if (peer->outgoing[0].state == OUTGOING_RESOLVING ||
        peer->outgoing[1].state == OUTGOING_RESOLVING) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        outgoing_down(&peer->outgoing[i]);
        buf_fini(&peer->outgoing[i].queue);
    }
    list_remove(&peer->link);
    link->peer_count--;
    mem_free(peer);
    return true;
}

void link_watch_outgoing(struct link *link)
{
    uint64_t now = link_now_ms(link);
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        if (now <= peer->used_ms + IDLE_MS_MAX || !peer_forget(peer)) { watch_peer(peer, now); }
    }
}

/* Not while something is on its way, for RENEW_TURNS_MAX turns. */
static bool is_to_be_renewed(const struct link *link, const struct outgoing *outgoing)
{
    if (outgoing->state != OUTGOING_UP || outgoing->socket->seal == NULL) { return false; }
    if (outgoing->socket->identity_number == link->renew_number) { return false; }
    bool is_idle = outgoing->queue.len == 0 && outgoing->inflight_bytes == 0;
    return is_idle || link->renew_turns > RENEW_TURNS_MAX;
}

/* A few at a time: each is down for a moment, and what is sent meanwhile is sent again. So both ends learn what certificate the
 * other one has now, for their other connections, too. */
void link_on_renew_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;
    uint64_t number = identity_number(trust_identity(link->opts.trust));
    link->renew_turns = number == link->renew_number ? link->renew_turns + 1 : 0;
    link->renew_number = number;
    size_t left = 1 + link->peer_count / RENEW_PARTS;
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        for (int i = 0; i < 2 && left > 0; i++) {
            struct outgoing *outgoing = &peer->outgoing[i];
            if (!is_to_be_renewed(link, outgoing)) { continue; }
            outgoing_down(outgoing);
            outgoing->backoff_ms = LINK_BACKOFF_MS_MIN;
            outgoing_dial(outgoing);
            left--;
        }
    }
}

void link_close_outgoing(struct link *link)
{
    set_gauges(link, 0, 0);
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        for (int i = 0; i < 2; i++) {
            outgoing_down(&peer->outgoing[i]);
        }
    }
}

void link_free_outgoing(struct link *link)
{
    while (!list_is_empty(&link->peers)) {
        struct peer *peer = CONTAINER_OF(list_pop_front(&link->peers), struct peer, link);
        buf_fini(&peer->outgoing[0].queue);
        buf_fini(&peer->outgoing[1].queue);
        mem_free(peer);
    }
}
