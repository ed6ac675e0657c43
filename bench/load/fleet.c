/* fleet: opening, the final checks over all streams, closing. */
#include "fleet.h"

#include "fatal.h"
#include "link.h"

#define CELLS_MAX ((uint64_t)1 << 27) /* 1 GiB of sequence numbers */

/* The port of the connection with that number among its like. */
static uint32_t port_of(const struct opts *opts, const struct list *ports, uint32_t index)
{
    return ports->count == 0 ? opts->port : ports->number[index % ports->count];
}

static void open_subscriber(struct fleet *fleet, struct holding held, bool is_slow,
                            struct tally *tally)
{
    uint32_t index = fleet->subscriber_count++;
    struct subscriber *sub = &fleet->subscribers[index];
    sub->conn.fd =
        conn_open(fleet->opts, port_of(fleet->opts, &fleet->opts->subscribe_ports, index));
    sub->conn.role = CONN_SUBSCRIBER;
    sub->is_slow = is_slow;
    sub->is_judged = index < fleet->opts->judge_count;
    stream_init(&sub->stream, &fleet->specs[held.kind], held, index, tally);
    conn_subscribe(sub->conn.fd, fleet->opts, &held);
    conn_unblock(sub->conn.fd);
}

static void open_patterns(struct fleet *fleet, enum sub_kind kind, struct tally *tally)
{
    uint32_t conns = plan_pattern_conns(fleet->opts, kind);
    for (uint32_t i = 0; i < conns; i++) {
        open_subscriber(fleet, plan_patterns(fleet->opts, kind, i), false, tally);
    }
}

static void check_size(const struct opts *opts)
{
    uint64_t channels = opts->channel_count;
    uint64_t cells = opts->match_count * channels;
    for (uint32_t i = 0; i < opts->subscriber_count; i++) {
        cells += plan_subscriber(opts, i).count;
    }
    if (cells * opts->publisher_count > CELLS_MAX) {
        fatal("subscriptions times publishers pass %llu", (unsigned long long)CELLS_MAX);
    }
}

void fleet_open(struct fleet *fleet, const struct opts *opts, struct tally *tally)
{
    uint32_t readers = opts->subscriber_count - opts->slow_count;
    uint32_t sub_max = opts->subscriber_count + plan_pattern_conns(opts, SUB_MATCH) +
                       plan_pattern_conns(opts, SUB_MISS);
    uint32_t publishers = opts->idle ? 0 : opts->publisher_count;
    memset(fleet, 0, sizeof *fleet);
    check_size(opts);
    conn_limit_raise(sub_max + publishers);
    fleet->opts = opts;
    fleet->filler = filler_new(opts->payload_bytes);
    for (enum sub_kind kind = SUB_CHANNEL; kind <= SUB_SHARD; kind++) {
        stream_spec_init(&fleet->specs[kind], opts, kind, fleet->filler);
    }
    fleet->subscribers = alloc_or_die(sub_max, sizeof *fleet->subscribers);
    for (uint32_t i = 0; i < opts->subscriber_count; i++) {
        open_subscriber(fleet, plan_subscriber(opts, i), i >= readers, tally);
    }
    open_patterns(fleet, SUB_MATCH, tally);
    open_patterns(fleet, SUB_MISS, tally);
    fleet->publishers = alloc_or_die(publishers, sizeof *fleet->publishers);
    for (uint32_t i = 0; i < publishers; i++) {
        int fd = conn_open(opts, port_of(opts, &opts->publish_ports, i));
        conn_unblock(fd);
        publisher_init(&fleet->publishers[i], opts, i, fd, fleet->filler, tally);
        fleet->publisher_count++;
    }
}

void fleet_close(struct fleet *fleet)
{
    for (uint32_t i = 0; i < fleet->subscriber_count; i++) {
        link_close(fleet->subscribers[i].conn.fd);
        stream_fini(&fleet->subscribers[i].stream);
    }
    for (uint32_t i = 0; i < fleet->publisher_count; i++) {
        publisher_fini(&fleet->publishers[i]);
    }
    free(fleet->subscribers);
    free(fleet->publishers);
    free(fleet->filler);
}

void fleet_finish(struct fleet *fleet, struct tally *tally)
{
    const struct opts *opts = fleet->opts;
    uint64_t *sent = alloc_or_die(fleet->publisher_count, sizeof *sent);
    uint64_t *orders = alloc_or_die(opts->channel_count, sizeof *orders);
    for (uint32_t i = 0; i < fleet->publisher_count; i++) {
        sent[i] = fleet->publishers[i].sent_count;
    }
    for (uint32_t i = 0; i < fleet->subscriber_count; i++) {
        if (!fleet->subscribers[i].is_slow) { stream_finish(&fleet->subscribers[i].stream, sent); }
    }
    /* Orders can only be compared between streams that are complete. */
    bool is_ordered = opts->proto != PROTO_NATS && !opts->loose && tally->violation_count == 0;
    for (uint32_t i = 0; is_ordered && i < fleet->subscriber_count; i++) {
        if (fleet->subscribers[i].is_judged && !fleet->subscribers[i].is_slow) {
            stream_check_order(&fleet->subscribers[i].stream, orders);
        }
    }
    free(sent);
    free(orders);
}

uint32_t fleet_slow_closed(const struct fleet *fleet)
{
    uint32_t closed = 0;
    for (uint32_t i = 0; i < fleet->subscriber_count; i++) {
        const struct subscriber *sub = &fleet->subscribers[i];
        if (sub->is_slow && conn_is_closed(sub->conn.fd)) { closed++; }
    }
    return closed;
}
