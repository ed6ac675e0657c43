/* peer_in: an accepted connection: the hello, then frames for whoever has taken it on. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cluster/peer_int.h"

struct peer_in {
    struct peer_link link;
    struct list in_hub;
    void *object; /* NULL until the hello is taken */
    uint64_t node_id;
    bool is_lane;
    bool is_stranger;                /* in hub.strangers, else in hub.ins or on its way out */
    bool has_batch;                  /* frames were given in this read */
    char name[INET6_ADDRSTRLEN + 8]; /* for the log */
};

static const struct peer_in_ops *ops_of(const struct peer_in *in)
{
    return in->link.hub->opts.in_ops;
}

static void set_name(struct peer_in *in, int fd)
{
    struct sockaddr_storage from = {0};
    socklen_t bytes = sizeof from;
    char text[INET6_ADDRSTRLEN] = "?";
    if (getpeername(fd, (struct sockaddr *)&from, &bytes) == 0 && from.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&from;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    } else if (from.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&from;
        (void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    }
    snprintf(in->name, sizeof in->name, "%s", text);
}

/* ---- strangers ---- */

static void stranger_leaves(struct peer_in *in)
{
    in->is_stranger = false;
    in->link.hub->stranger_count--;
    list_remove(&in->in_hub);
}

/* Who has had the longest time to say who he is goes first: a flood of strangers keeps no member out. */
static void make_room(struct peer_hub *hub)
{
    if (hub->stranger_count < PEER_STRANGERS_MAX) { return; }
    struct peer_in *oldest = CONTAINER_OF(hub->strangers.next, struct peer_in, in_hub);
    stranger_leaves(oldest);
    peer_link_fail(&oldest->link, "no hello yet, and too many have come since");
}

/* ---- frames ---- */

/* NULL: refused, *why tells. */
static void *take_hello(struct peer_in *in, const struct wire_hello *hello, const char **why)
{
    if (hello->version != WIRE_VERSION) {
        *why = "another version of the protocol";
        return NULL;
    }
    if (hello->worker >= hello->worker_count) {
        *why = "a worker that its node has not";
        return NULL;
    }
    *why = "not wanted";
    return ops_of(in)->on_hello(in->link.hub->opts.arg, in, hello, why);
}

static bool on_hello(struct peer_in *in, const struct wire_hello *hello)
{
    in->node_id = hello->node_id;
    in->is_lane = hello->is_lane;
    const char *why;
    void *object = take_hello(in, hello, &why);
    if (object == NULL) {
        peer_link_fail(&in->link, why);
        return true;
    }
    in->object = object;
    stranger_leaves(in);
    list_push_back(&in->link.hub->ins, &in->in_hub);
    in->link.is_hello_only = false;
    in->link.has_heard = true;
    in->link.hears = true;
    in->link.speaks = !hello->is_lane;
    return true;
}

static bool on_frame(struct peer_link *link, const struct wire_frame *frame)
{
    struct peer_in *in = CONTAINER_OF(link, struct peer_in, link);
    if (link->is_hello_only) { return frame->type == WIRE_HELLO && on_hello(in, &frame->hello); }
    if (!peer_may_bring(in->is_lane, false, frame->type)) { return false; }
    if (frame->type == WIRE_PING) { return true; }
    in->has_batch = true;
    return ops_of(in)->on_frame(in->object, frame);
}

static size_t on_data(struct conn *conn, struct slice input)
{
    struct peer_in *in = CONTAINER_OF(conn, struct peer_in, link.conn);
    in->has_batch = false;
    size_t used = peer_link_on_data(conn, input);
    if (in->has_batch && ops_of(in)->on_batch_end != NULL) { ops_of(in)->on_batch_end(in->object); }
    return used;
}

/* ---- life ---- */

static void on_close(struct conn *conn)
{
    struct peer_in *in = CONTAINER_OF(conn, struct peer_in, link.conn);
    const struct peer_in_ops *ops = ops_of(in);
    bool is_clean = conn->has_ended && !in->link.is_midframe;
    enum log_level level = in->link.why != NULL ? LOG_LEVEL_WARN : LOG_LEVEL_INFO;
    LOG_LIMITED(level, "peer connection closed", LOG_STR("peer", in->name),
                LOG_UINT("node", in->node_id), LOG_UINT("lane", in->is_lane),
                LOG_STR("why", peer_link_why(&in->link)));
    if (in->is_stranger) { stranger_leaves(in); }
    list_remove(&in->in_hub);
    peer_link_fini(&in->link);
    if (in->object != NULL) { ops->on_closed(in->object, is_clean); }
    mem_free(in);
}

void peer_in_open(struct peer_hub *hub, int fd)
{
    static const struct conn_ops ops = {
        .on_data = on_data, .on_close = on_close, .on_first_byte = peer_link_on_first_byte};
    const struct peer_opening opening = {.fd = fd, .way = trust_accept_way(hub->opts.trust)};
    make_room(hub);
    struct peer_in *in = mem_new0(sizeof *in);
    set_name(in, fd);
    peer_link_open(&in->link, hub, &opening, &ops);
    in->link.on_frame = on_frame;
    in->link.is_hello_only = true;
    peer_link_begin(&in->link, opening.way, false);
    in->is_stranger = true;
    hub->stranger_count++;
    list_push_back(&hub->strangers, &in->in_hub);
}

void peer_hub_close_accepted(struct peer_hub *hub, bool is_abrupt)
{
    LIST_EACH (at, &hub->strangers) {
        peer_in_close(CONTAINER_OF(at, struct peer_in, in_hub), is_abrupt);
    }
    LIST_EACH (at, &hub->ins) {
        peer_in_close(CONTAINER_OF(at, struct peer_in, in_hub), is_abrupt);
    }
}

/* ---- for the owner ---- */

void peer_in_send(struct peer_in *in, struct slice frame)
{
    CHECK(!in->is_lane);
    peer_link_send(&in->link, frame, NULL);
}

void peer_in_send_span(struct peer_in *in, const struct span *frame)
{
    CHECK(!in->is_lane);
    peer_link_send(&in->link, SLICE(""), frame);
}

size_t peer_in_backlog(const struct peer_in *in)
{
    return conn_backlog_bytes(&in->link.conn);
}

bool peer_in_is_of(struct peer_in *in, const char *node_name)
{
    return peer_link_is_of(&in->link, node_name);
}

void peer_in_pause(struct peer_in *in)
{
    conn_pause(&in->link.conn);
}

void peer_in_resume(struct peer_in *in)
{
    conn_resume(&in->link.conn);
}

void peer_in_close(struct peer_in *in, bool is_abrupt)
{
    peer_link_close(&in->link, is_abrupt);
}
