/* Commands between two nodes without the connection: what one asks, the other asks its partition, and the other way round
 * what that answers. And what is asked on a connection that ends. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/cluster_int.h"
#include "cluster/commands.h"
#include "cluster/commands_int.h"
#include "cluster/dialled.h"
#include "cluster/guests.h"

enum { PARTITION = 3, NODE = 1, INCARNATION = 6, WORKER = 2, MS_FOREVER = 60000 };

/* The node that asks, and the one that is asked. */
static struct {
    struct mailbox mailbox;
    struct cluster *asking, *asked;
    struct cluster_worker cw[2];
    struct dialled_peer dialled;
    struct accepted_peer accepted;
    struct commands *commands;
    struct pmap *map;
    struct list pending; /* at the partition */
    struct partition_origin unparked[4];
    uint32_t unparked_count;
    uint32_t fewer;       /* answers that lack what was asked last are told as so many */
    size_t backlog_bytes; /* on the connection that answers go back on */
    struct worker_timer *timer;
    void (*on_due)(struct worker_timer *timer);
    bool makes_sense;
} net;

/* ---- what the modules below would do ---- */

struct partitions *cluster_partitions(struct cluster *cluster)
{
    return cluster == net.asked ? (struct partitions *)(void *)&net : NULL;
}

struct mailbox *worker_mailbox(struct worker *worker)
{
    (void)worker;
    return &net.mailbox;
}

void partition_ask(struct partitions *partitions, struct partition_request *request)
{
    (void)partitions;
    list_push_back(&net.pending, &request->link);
}

void partition_push(struct partitions *partitions, struct partition_request *request)
{
    partition_ask(partitions, request);
}

void partitions_wake(struct partitions *partitions)
{
    (void)partitions;
}

void partition_unpark(struct partitions *partitions, uint32_t partition,
                      const struct partition_origin *origin)
{
    (void)partitions;
    cr_assert_eq(partition, PARTITION);
    cr_assert_lt(net.unparked_count, COUNT_OF(net.unparked));
    net.unparked[net.unparked_count++] = *origin;
}

bool partition_read(struct partitions *partitions, uint32_t worker,
                    struct partition_request *request)
{
    (void)partitions;
    (void)worker;
    (void)request;
    return false;
}

uint64_t partition_leads(const struct partitions *partitions, uint32_t partition)
{
    (void)partitions;
    (void)partition;
    return 4;
}

bool peer_out_is_up(const struct peer_out *out)
{
    (void)out;
    return true;
}

size_t peer_in_backlog(const struct peer_in *in)
{
    (void)in;
    return net.backlog_bytes;
}

void worker_timer_start(struct worker *worker, struct worker_timer *timer, uint64_t delay_ms,
                        void (*on_due)(struct worker_timer *timer))
{
    (void)worker;
    (void)delay_ms;
    net.timer = timer;
    net.on_due = on_due;
}

void event_post(struct cluster_worker *cw, struct event event)
{
    (void)cw;
    (void)event;
}

static void send_over(const struct wire_frame *frame)
{
    if (frame->type == WIRE_COMMAND) {
        net.makes_sense = guests_on_command(&net.accepted, &frame->command);
    } else if (frame->type == WIRE_UNPARK) {
        net.makes_sense = guests_on_unpark(&net.accepted, &frame->unpark);
    }
}

void dialled_send(struct dialled_peer *dialled, struct peer_out *out,
                  const struct wire_frame *frame)
{
    (void)dialled;
    (void)out;
    send_over(frame);
}

void dialled_send_large(struct dialled_peer *dialled, const struct wire_frame *frame)
{
    (void)dialled;
    send_over(frame);
}

void accepted_answer(struct accepted_peer *accepted, const struct wire_frame *frame)
{
    struct wire_executed executed = frame->executed;
    if (accepted->in == NULL) { return; }
    executed.reply_end_count -= net.fewer;
    net.backlog_bytes += executed.reply.len;
    net.makes_sense = commands_on_executed(&net.dialled, &executed);
}

void accepted_answer_large(struct accepted_peer *accepted, const struct wire_frame *frame)
{
    accepted_answer(accepted, frame);
}

void accepted_release(struct accepted_peer *accepted)
{
    cr_assert_gt(accepted->outstanding, 0);
    accepted->outstanding--;
}

/* ---- asking, and answering in the partition's place ---- */

struct asker {
    struct partition_request request;
    struct slice argv[2];
    struct partition_call call[2];
    struct partition_check check[2];
    uint32_t done_count;
};

static void on_done(struct partition_request *request)
{
    CONTAINER_OF(request, struct asker, request)->done_count++;
}

static void ask(struct asker *asker, enum partition_ask what)
{
    static const uint32_t wait_key[] = {1};
    bool parks = what == PARTITION_PARK;
    *asker = (struct asker){
        .argv = {SLICE("BLPOP"), SLICE("k")},
        .request = {.ask = what, .partition = PARTITION, .resp_version = 3, .on_done = on_done}};
    struct partition_request *request = &asker->request;
    for (unsigned i = 0; i < 2; i++) {
        asker->call[i] = (struct partition_call){.db = 5, .argc = 2, .argv = asker->argv};
        asker->check[i] = (struct partition_check){.db = 5, .key = SLICE("w"), .version = 7 + i};
    }
    request->call = asker->call;
    request->call_count = parks ? 1 : what == PARTITION_VERSIONS ? 0 : 2;
    request->check = asker->check;
    request->check_count = parks ? 0 : 2;
    request->wait_key = wait_key;
    request->wait_key_count = parks ? 1 : 0;
    request->ticket = parks ? 99 : 0;
    commands_ask(net.commands, request);
}

static struct partition_request *pending(void)
{
    cr_assert(!list_is_empty(&net.pending));
    return CONTAINER_OF(net.pending.next, struct partition_request, link);
}

static void answer(enum err err, const char *reply, const uint32_t *end)
{
    struct partition_request *request = pending();
    list_remove(&request->link);
    request->err = err;
    buf_append_str(&request->reply, reply);
    if (end != NULL) { request->reply_end = mem_copy(end, request->call_count * sizeof *end); }
    request->on_done(request);
    mailbox_run(&net.mailbox);
}

static void asker_fini(struct asker *asker)
{
    cr_assert_eq(asker->done_count, 1);
    buf_fini(&asker->request.reply);
    mem_free(asker->request.reply_end);
}

static void no_wake(void *arg)
{
    (void)arg;
}

static void set_up(void)
{
    static int socket; /* stands for the connection: nobody looks into it */
    mailbox_init(&net.mailbox, no_wake, NULL);
    list_init(&net.pending);
    net.asking = mem_new0(sizeof *net.asking);
    net.asked = mem_new0(sizeof *net.asked);
    net.map = pmap_new(2, PARTITION + 1);
    for (unsigned i = 0; i < 2; i++) {
        struct cluster *c = i == 0 ? net.asking : net.asked;
        net.map->node[i] = (struct pmap_node){.id = 70 + i, .incarnation = 5 + i, .is_up = true};
        net.cw[i] = (struct cluster_worker){.cluster = c, .map = net.map, .self = 1 - i};
        c->worker[WORKER] = &net.cw[i];
        c->partition_count = PARTITION + 1;
        c->worker_count = WORKER + 1;
    }
    /* Node 1 asks node 0. */
    net.dialled = (struct dialled_peer){.cw = &net.cw[0], .node = 0, .request_is_up = true};
    net.cw[0].dialled[0] = &net.dialled;
    net.accepted = (struct accepted_peer){.cw = &net.cw[1],
                                          .in = (struct peer_in *)(void *)&socket,
                                          .node = NODE,
                                          .node_id = 71,
                                          .incarnation = INCARNATION,
                                          .worker = WORKER};
    list_init(&net.accepted.guests);
    const struct commands_opts opts = {.cluster = net.asking,
                                       .worker = WORKER,
                                       .mailbox = &net.mailbox,
                                       .timeout_ms = MS_FOREVER,
                                       .node_id = 71};
    net.commands = commands_new(&opts);
    cr_assert(leaders_tell(&net.asking->leaders, PARTITION, (struct leader){0, 4}));
}

static void tear_down(void)
{
    cr_assert_eq(net.accepted.outstanding, 0);
    cr_assert(list_is_empty(&net.accepted.guests));
    commands_free(net.commands);
    pmap_unref(net.map);
    mem_free(net.asking);
    mem_free(net.asked);
}

TestSuite(guests, .init = set_up, .fini = tear_down);

Test(guests, what_is_asked_arrives_as_it_was_asked)
{
    struct asker first;
    struct asker a;
    ask(&first, PARTITION_WRITE);
    answer(ERR_LIMIT, "", NULL);
    ask(&a, PARTITION_WRITE);
    const struct partition_request *request = pending();
    cr_assert(request->ask == PARTITION_WRITE && request->partition == PARTITION);
    cr_assert(request->term == 4 && request->resp_version == 3);
    cr_assert(request->origin.node_id == 71 && request->origin.incarnation == INCARNATION);
    cr_assert(request->origin.worker == WORKER && !request->origin.is_parking);
    cr_assert(request->origin.seq == 2 && request->origin.acked_low == 2);
    cr_assert(request->call_count == 2 && request->check_count == 2);
    cr_assert(request->call[1].db == 5 && request->call[1].argc == 2);
    cr_assert(slice_equal(request->call[1].argv[0], SLICE("BLPOP")));
    cr_assert(request->check[1].db == 5 && request->check[1].version == 8);
    cr_assert(slice_equal(request->check[1].key, SLICE("w")));
    static const uint32_t end[] = {2, 5};
    answer(ERR_OK, "ab123", end);
    cr_assert_eq(first.request.err, ERR_LIMIT);
    cr_assert_eq(a.request.err, ERR_OK);
    cr_assert(!a.request.is_aborted);
    cr_assert(slice_equal(buf_slice(&a.request.reply), SLICE("ab123")));
    cr_assert(a.request.reply_end[0] == 2 && a.request.reply_end[1] == 5);
    asker_fini(&first);
    asker_fini(&a);
}

Test(guests, what_was_not_executed_is_told_so)
{
    struct asker a;
    ask(&a, PARTITION_WRITE);
    pending()->is_aborted = true;
    answer(ERR_OK, "", NULL);
    cr_assert_eq(a.request.err, ERR_OK);
    cr_assert(a.request.is_aborted);
    asker_fini(&a);
    ask(&a, PARTITION_VERSIONS);
    pending()->check[1].version = 55;
    answer(ERR_OK, "", NULL);
    cr_assert_eq(a.check[1].version, 55);
    asker_fini(&a);
}

Test(guests, what_is_refused_is_asked_again_under_its_number)
{
    static const enum err refusals[] = {ERR_SLOW, ERR_INDOUBT};
    static const uint32_t end[] = {0, 1};
    struct asker a;
    ask(&a, PARTITION_WRITE);
    for (unsigned i = 0; i < COUNT_OF(refusals); i++) {
        answer(refusals[i], "", NULL);
        cr_assert_eq(a.done_count, 0);
        /* Who did not know is doubted, until somebody says again that he leads. */
        (void)leaders_tell(&net.asking->leaders, PARTITION, (struct leader){0, 4});
        commands_tick(net.commands);
        cr_assert_eq(pending()->origin.seq, 1);
    }
    answer(ERR_OK, "x", end);
    cr_assert_eq(a.request.err, ERR_OK);
    asker_fini(&a);
}

Test(guests, an_answer_that_lacks_something_is_none)
{
    static const uint32_t end[] = {0, 1};
    struct asker a;
    ask(&a, PARTITION_WRITE);
    net.fewer = 1;
    answer(ERR_OK, "x", end);
    cr_assert(!net.makes_sense, "the connection is closed");
    cr_assert_eq(a.done_count, 0);
    net.fewer = 0;
    commands_on_down(&net.cw[0], 0);
    commands_look(&net.cw[0]);
    net.dialled.node = 1; /* on the connection to another node: */
    answer(ERR_OK, "y", end);
    cr_assert_eq(a.done_count, 0);
    net.dialled.node = 0;
    commands_on_down(&net.cw[0], 0);
    commands_look(&net.cw[0]);
    answer(ERR_OK, "z", end);
    cr_assert(slice_equal(buf_slice(&a.request.reply), SLICE("z")));
    asker_fini(&a);
}

static void socket_takes(void)
{
    net.backlog_bytes = 0;
    cr_assert_not_null(net.on_due);
    void (*on_due)(struct worker_timer * timer) = net.on_due;
    net.on_due = NULL;
    on_due(net.timer);
}

Test(guests, a_long_answer_comes_in_pieces_and_as_a_whole_if_its_connection_breaks)
{
    enum { BYTES = 5 << 20 };
    struct asker a;
    char *reply = mem_new(BYTES + 1);
    for (unsigned i = 0; i < BYTES; i++) {
        reply[i] = (char)('a' + i / 1000 % 26);
    }
    reply[BYTES] = 0;
    ask(&a, PARTITION_PARK);
    answer(ERR_OK, reply, NULL);
    cr_assert_eq(a.done_count, 0, "the rest waits for the socket");
    commands_on_down(&net.cw[0], 0); /* what is still to come is for an asking that is over */
    commands_look(&net.cw[0]);
    socket_takes();
    cr_assert_eq(a.done_count, 0);
    while (net.on_due != NULL) {
        socket_takes();
    }
    answer(ERR_OK, reply, NULL);
    while (net.on_due != NULL) {
        socket_takes();
    }
    mailbox_run(&net.mailbox);
    cr_assert_eq(a.request.err, ERR_OK);
    cr_assert(slice_equal(buf_slice(&a.request.reply), slice_of(reply, BYTES)));
    asker_fini(&a);
    mem_free(reply);
}

Test(guests, a_long_answer_of_several_calls_comes_in_pieces_too_and_is_owed_until_the_last)
{
    enum { BYTES = 3 << 20 };
    static const uint32_t end[] = {7, BYTES};
    struct asker a;
    char *reply = mem_new(BYTES + 1);
    memset(reply, 'x', BYTES);
    reply[BYTES] = 0;
    ask(&a, PARTITION_WRITE);
    cr_assert_eq(pending()->owed, &net.accepted.owed);
    atomic_store(&net.accepted.owed.answered, BYTES + 1); /* as the partition does */
    answer(ERR_OK, reply, end);
    cr_assert_eq(a.done_count, 0, "the rest waits for the socket");
    cr_assert_eq(atomic_load(&net.accepted.owed.answered), BYTES + 1);
    while (net.on_due != NULL) {
        socket_takes();
    }
    cr_assert_eq(atomic_load(&net.accepted.owed.answered), 1);
    cr_assert_gt(atomic_load(&net.accepted.owed.queued), 0, "and then with the connection,");
    net.backlog_bytes = 0;
    guests_tick(&net.accepted);
    cr_assert_eq(atomic_load(&net.accepted.owed.queued), 0, "until that is gone");
    cr_assert_eq(a.request.err, ERR_OK);
    cr_assert_eq(a.request.reply.len, BYTES);
    cr_assert_arr_eq(a.request.reply_end, end, sizeof end);
    asker_fini(&a);
    mem_free(reply);
}

Test(guests, who_has_gone_does_not_wait_at_the_leader)
{
    struct asker write;
    struct asker parked[2];
    ask(&write, PARTITION_WRITE);
    ask(&parked[0], PARTITION_PARK);
    ask(&parked[1], PARTITION_PARK);
    commands_unpark(net.commands, &parked[0].request, true);
    cr_assert_eq(net.unparked_count, 1);
    cr_assert(net.unparked[0].is_parking && net.unparked[0].seq == 1);
    net.accepted.in = NULL;
    guests_on_closed(&net.accepted);
    cr_assert_eq(net.unparked_count, 3);
    for (uint64_t i = 0; i < 2; i++) {
        const struct partition_origin *origin = &net.unparked[1 + i];
        cr_assert(origin->node_id == 71 && origin->incarnation == INCARNATION);
        cr_assert(origin->worker == WORKER && origin->is_parking && origin->seq == i + 1);
    }
    for (unsigned i = 0; i < 3; i++) { /* to nobody */
        answer(ERR_OK, "", NULL);
    }
    cr_assert(write.done_count == 0 && parked[0].done_count == 0 && parked[1].done_count == 0);
    commands_stop(net.commands);
    mailbox_run(&net.mailbox);
    asker_fini(&write);
    asker_fini(&parked[0]);
    asker_fini(&parked[1]);
}
