/* guests: a frame to a request of the partition, and its answer to a frame. */
#include "cluster/guests.h"

#include <string.h>

#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"

enum {
    PIECE_BYTES = 256 << 10,    /* of a long reply */
    PIECES_BYTES_MAX = 1 << 20, /* that wait for the socket: other answers stand behind them */
    PIECES_MS = 1,
};

struct guest {
    struct partition_request request;
    struct worker_timer timer; /* the reply is long: when its next pieces are sent */
    size_t sent_bytes;
    struct list link; /* in accepted_peer.guests */
    struct accepted_peer *accepted;
    uint64_t id;
};

/* ---- the answer ---- */

static enum wire_outcome outcome_of(const struct partition_request *request)
{
    switch (request->err) {
    case ERR_OK:
        if (request->is_unparked) { return WIRE_UNPARKED; }
        return request->is_aborted ? WIRE_ABORTED : WIRE_EXECUTED_OK;
    case ERR_NOT_LEADER: return WIRE_NOT_LEADER;
    case ERR_SLOW: return WIRE_SLOW;
    case ERR_INDOUBT: return WIRE_UNKNOWN;
    case ERR_FULL: return WIRE_FULL;
    case ERR_LIMIT: return WIRE_ANSWER_LOST;
    case ERR_CLOSED:
    case ERR_INVALID:
    case ERR_SYSTEM:
    case ERR_CORRUPT:
    case ERR_CLUSTER_DOWN: return WIRE_REFUSED;
    }
    UNREACHABLE();
}

static uint64_t *versions_of(const struct partition_request *request)
{
    uint64_t *version = mem_new((request->check_count + 1) * sizeof *version);
    for (uint32_t i = 0; i < request->check_count; i++) {
        version[i] = request->check[i].version;
    }
    return version;
}

static void send_answer(struct accepted_peer *accepted, struct wire_executed executed)
{
    struct wire_frame frame = {.type = WIRE_EXECUTED, .executed = executed};
    if (wire_frame_bytes(&frame) > WIRE_HEAD_BYTES + (size_t)WIRE_FRAME_BYTES_MAX) {
        frame.executed = (struct wire_executed){.id = executed.id, .outcome = WIRE_ANSWER_LOST};
    }
    accepted_answer_large(accepted, &frame);
}

static void answer(const struct guest *guest)
{
    const struct partition_request *request = &guest->request;
    struct wire_executed executed = {.id = guest->id, .outcome = outcome_of(request)};
    if (executed.outcome != WIRE_EXECUTED_OK) {
        send_answer(guest->accepted, executed);
        return;
    }
    executed.reply = buf_slice(&request->reply);
    if (request->reply_end != NULL) {
        executed.reply_end = request->reply_end;
        executed.reply_end_count = request->call_count;
    }
    bool is_of_versions = request->ask == PARTITION_VERSIONS;
    uint64_t *versions = is_of_versions ? versions_of(request) : NULL;
    executed.version = versions;
    executed.version_count = is_of_versions ? request->check_count : 0;
    send_answer(guest->accepted, executed);
    mem_free(versions);
}

void guests_tick(struct accepted_peer *accepted)
{
    size_t bytes = accepted->in != NULL ? peer_in_backlog(accepted->in) : 0;
    atomic_store_explicit(&accepted->owed.queued, bytes, memory_order_relaxed);
}

/* Its answer is with the connection, or with nobody. */
static void guest_end(struct guest *guest)
{
    list_remove(&guest->link);
    if (guest->request.err == ERR_OK) {
        atomic_fetch_sub_explicit(&guest->accepted->owed.answered, guest->request.reply.len,
                                  memory_order_relaxed);
    }
    guests_tick(guest->accepted);
    accepted_release(guest->accepted);
    buf_fini(&guest->request.reply);
    mem_free(guest->request.reply_end);
    mem_free(guest);
}

/* A reply that would hold up the loop, and whatever else the link carries, as a whole. */
static bool is_in_pieces(const struct partition_request *request)
{
    return request->err == ERR_OK && request->ask != PARTITION_VERSIONS &&
           request->reply.len > PIECE_BYTES && request->reply.len <= (size_t)WIRE_RUN_BYTES_MAX;
}

static void send_pieces(struct guest *guest);

static void on_pieces(struct worker_timer *timer)
{
    send_pieces(CONTAINER_OF(timer, struct guest, timer));
}

/* As many as the socket will soon have taken; or the guest's end. */
static void send_pieces(struct guest *guest)
{
    struct accepted_peer *accepted = guest->accepted;
    struct slice reply = buf_slice(&guest->request.reply);
    while (accepted->in != NULL && guest->sent_bytes < reply.len &&
           peer_in_backlog(accepted->in) < PIECES_BYTES_MAX) {
        size_t left = reply.len - guest->sent_bytes;
        size_t len = left < PIECE_BYTES ? left : PIECE_BYTES;
        struct wire_executed piece = {.id = guest->id, .outcome = outcome_of(&guest->request)};
        piece.reply = slice_of(reply.data + guest->sent_bytes, len);
        piece.reply_before = guest->sent_bytes;
        piece.reply_left = left - len;
        if (piece.reply_left == 0 && guest->request.reply_end != NULL) {
            piece.reply_end = guest->request.reply_end;
            piece.reply_end_count = guest->request.call_count;
        }
        send_answer(accepted, piece);
        guest->sent_bytes += len;
    }
    if (accepted->in == NULL || guest->sent_bytes == reply.len) {
        guest_end(guest);
    } else {
        worker_timer_start(accepted->cw->worker, &guest->timer, PIECES_MS, on_pieces);
    }
}

static void on_done(struct partition_request *request)
{
    struct guest *guest = CONTAINER_OF(request, struct guest, request);
    if (is_in_pieces(request)) {
        send_pieces(guest);
    } else {
        answer(guest);
        guest_end(guest);
    }
}

/* ---- what is asked ---- */

/* Room behind the guest, taken piece by piece; what is aligned most comes first. */
struct room {
    char *at;
};

static void *room_take(struct room *room, const void *from, size_t bytes)
{
    void *at = room->at;
    if (from != NULL && bytes > 0) { memcpy(at, from, bytes); }
    room->at += bytes;
    return at;
}

static struct slice room_keep(struct room *room, struct slice s)
{
    return slice_of(room_take(room, s.data, s.len), s.len);
}

static size_t room_bytes(const struct wire_command *c)
{
    size_t bytes = c->acked_count * sizeof *c->acked + c->check_count * sizeof *c->check +
                   c->call_count * sizeof *c->call + c->wait_key_count * sizeof *c->wait_key;
    for (uint32_t i = 0; i < c->check_count; i++) {
        bytes += c->check[i].key.len;
    }
    for (uint32_t i = 0; i < c->call_count; i++) {
        bytes += c->call[i].argc * sizeof *c->call[i].argv;
        for (uint32_t word = 0; word < c->call[i].argc; word++) {
            bytes += c->call[i].argv[word].len;
        }
    }
    return bytes;
}

/* A copy of what the frame points to. */
static void keep(struct guest *guest, const struct wire_command *c)
{
    struct partition_request *request = &guest->request;
    struct room room = {(char *)(guest + 1)};
    request->acked = room_take(&room, c->acked, c->acked_count * sizeof *c->acked);
    request->check = room_take(&room, c->check, c->check_count * sizeof *c->check);
    struct partition_call *call = room_take(&room, c->call, c->call_count * sizeof *c->call);
    struct slice *words = (struct slice *)(void *)room.at;
    for (uint32_t i = 0; i < c->call_count; i++) {
        call[i].argv = room_take(&room, c->call[i].argv, call[i].argc * sizeof *call[i].argv);
    }
    const struct slice *end = (const struct slice *)(void *)room.at;
    request->wait_key = room_take(&room, c->wait_key, c->wait_key_count * sizeof *c->wait_key);
    for (; words < end; words++) {
        *words = room_keep(&room, *words);
    }
    for (uint32_t i = 0; i < c->check_count; i++) {
        request->check[i].key = room_keep(&room, request->check[i].key);
    }
    request->call = call;
}

static struct partition_origin origin_of(const struct accepted_peer *accepted, bool is_parking,
                                         uint64_t seq)
{
    return (struct partition_origin){
        .node_id = accepted->node_id,
        .incarnation = accepted->incarnation,
        .worker = (uint16_t)accepted->worker,
        .is_parking = is_parking,
        .seq = seq,
    };
}

static bool makes_sense(const struct accepted_peer *accepted, const struct wire_command *c)
{
    bool confirms = c->ask == PARTITION_CONFIRM;
    if (c->partition >= accepted->cw->cluster->partition_count || (c->seq == 0) != confirms) {
        return false;
    }
    if (c->ask == PARTITION_VERSIONS || confirms) { return c->call_count == 0; }
    return c->ask == PARTITION_PARK ? c->call_count == 1 : c->call_count > 0;
}

bool guests_on_command(struct accepted_peer *accepted, const struct wire_command *c)
{
    struct cluster_worker *cw = accepted->cw;
    if (!makes_sense(accepted, c)) { return false; }
    struct partitions *partitions = cluster_partitions(cw->cluster);
    if (partitions == NULL || atomic_load(&cw->cluster->is_stopping)) {
        send_answer(accepted, (struct wire_executed){.id = c->id, .outcome = WIRE_NOT_LEADER});
        return true;
    }
    struct guest *guest = mem_new(sizeof *guest + room_bytes(c));
    *guest = (struct guest){
        .request = {.ask = c->ask,
                    .partition = c->partition,
                    .term = c->term,
                    .resp_version = c->resp_version,
                    .origin = origin_of(
                        accepted, c->ask == PARTITION_PARK || c->ask == PARTITION_CONFIRM, c->seq),
                    .acked_count = c->acked_count,
                    .check_count = c->check_count,
                    .call_count = c->call_count,
                    .ticket = c->ticket,
                    .wait_key_count = c->wait_key_count,
                    .is_lent = c->is_lent,
                    .owed = &accepted->owed,
                    .home = worker_mailbox(cw->worker),
                    .on_done = on_done},
        .accepted = accepted,
        .id = c->id,
    };
    guest->request.origin.acked_low = c->acked_low;
    keep(guest, c);
    list_push_back(&accepted->guests, &guest->link);
    accepted->outstanding++;
    if (cw->commands != NULL) {
        commands_push(cw->commands, &guest->request);
    } else {
        partition_ask(partitions, &guest->request);
    }
    return true;
}

bool guests_on_unpark(struct accepted_peer *accepted, const struct wire_unpark *unpark)
{
    struct cluster *c = accepted->cw->cluster;
    if (unpark->partition >= c->partition_count) { return false; }
    struct partitions *partitions = cluster_partitions(c);
    const struct partition_origin origin = origin_of(accepted, true, unpark->seq);
    if (partitions != NULL) { partition_unpark(partitions, unpark->partition, &origin); }
    return true;
}

void guests_on_closed(struct accepted_peer *accepted)
{
    LIST_EACH (at, &accepted->guests) {
        const struct guest *guest = CONTAINER_OF(at, struct guest, link);
        const struct partition_request *request = &guest->request;
        if (request->ask != PARTITION_PARK) { continue; }
        partition_unpark(cluster_partitions(accepted->cw->cluster), request->partition,
                         &request->origin);
    }
}
