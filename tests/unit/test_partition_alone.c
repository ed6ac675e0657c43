/* The promises of partition/partition.h for a node alone: what is written is there, once, also after a crash. */
#include "partition/partition_int.h"
#include "partition_rig.h"

static struct rig_node *one_node(struct rig *rig)
{
    rig_init(rig, 1, 2);
    rig_start(&rig->node[0]);
    rig_create(&rig->node[0]);
    rig_until_leads(&rig->node[0], 0);
    rig_until_leads(&rig->node[0], 1);
    return &rig->node[0];
}

Test(alone, writes_are_answered_and_read)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    cr_assert_str_eq(rig_write(node, "SET a 1"), "+OK\r\n");
    cr_assert_str_eq(rig_read(node, "GET a"), "$1\r\n1\r\n");
    cr_assert_str_eq(rig_write(node, "INCR a"), ":2\r\n");
    cr_assert_str_eq(rig_write(node, "NOSUCH"), "-ERR unknown command 'NOSUCH'\r\n");
    cr_assert_str_eq(rig_do(node, PARTITION_READ, 1, "GET a"), "$-1\r\n");
    rig_fini(&rig);
}

Test(alone, a_worker_reads_by_itself_what_was_answered)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    cr_assert_str_eq(rig_write(node, "SET a 1"), "+OK\r\n");
    rig_begin(&rig, &ask, PARTITION_READ, 0);
    rig_call(&ask, 0, "GET a");
    RIG_UNTIL(&rig, partition_read(node->partitions, 1, &ask.request));
    cr_assert_eq(ask.request.err, ERR_OK);
    cr_assert(slice_equal(buf_slice(&ask.request.reply), SLICE("$1\r\n1\r\n")));
    rig_free(&ask);
    rig_fini(&rig);
}

static bool reads(struct rig_node *node, const char *text)
{
    struct rig_ask ask;
    rig_begin(node->rig, &ask, PARTITION_READ, 0);
    rig_call(&ask, 0, text);
    bool is_read = partition_read(node->partitions, 1, &ask.request);
    rig_free(&ask);
    return is_read;
}

/* Something else than the engine shows, while it cannot show it anew: a worker reads before, meanwhile and afterwards. */
struct showing {
    atomic_uint_fast64_t *word;
    uint64_t value;
    bool before, during, after;
};

static void on_showing(struct rig_node *node, void *arg)
{
    struct showing *showing = arg;
    showing->before = reads(node, "GET a");
    uint64_t shown = atomic_exchange(showing->word, showing->value);
    showing->during = reads(node, "GET a");
    atomic_store(showing->word, shown);
    showing->after = reads(node, "GET a");
}

static bool reads_while(struct rig_node *node, atomic_uint_fast64_t *word, uint64_t value)
{
    struct showing showing = {.word = word, .value = value};
    RIG_UNTIL(node->rig,
              (rig_on_raft(node, on_showing, &showing), showing.before && showing.after));
    return showing.during;
}

Test(alone, a_worker_reads_nothing_without_a_lease_or_before_what_is_committed_is_applied)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct partition *p = &node->partitions->partition[0];
    cr_assert_str_eq(rig_write(node, "SET a 1"), "+OK\r\n");
    RIG_UNTIL(&rig, reads(node, "GET a"));
    cr_assert(!reads_while(node, &p->view.commit, atomic_load(&p->applied) + 1));
    cr_assert(!reads_while(node, &p->view.lease_until_ms, 1), "it has ended");
    cr_assert(!reads_while(node, &p->view.lease_until_ms, 0), "there is none");
    rig_fini(&rig);
}

/* What is said to be committed is the entry of the write behind the read, until the engine says anew what is. */
Test(alone, a_read_waits_for_what_is_committed)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct partition *p = &node->partitions->partition[0];
    struct rig_ask read;
    struct rig_ask write;
    unsigned seen = 0;
    unsigned count = 1;
    cr_assert_str_eq(rig_write(node, "INCR n"), ":1\r\n");
    RIG_UNTIL(&rig, ({
        rig_begin(&rig, &read, PARTITION_READ, 0);
        rig_call(&read, 0, "GET n");
        rig_begin(&rig, &write, PARTITION_WRITE, 0);
        rig_call(&write, 0, "INCR n");
        atomic_store(&p->view.commit, atomic_load(&p->applied) + 1);
        rig_ask(node, &read);
        rig_ask(node, &write);
        rig_wait(&rig, &read);
        rig_wait(&rig, &write);
        cr_assert_eq(sscanf(rig_text(&read), "$%*u\r\n%u", &seen), 1);
        cr_assert_geq(seen, count);
        rig_free(&read);
        rig_free(&write);
        seen == ++count;
    }));
    rig_fini(&rig);
}

Test(alone, a_number_that_comes_again_is_answered_and_not_executed)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    rig_begin(&rig, &ask, PARTITION_WRITE, 0);
    ask.request.origin.acked_low = 1;
    rig_call(&ask, 0, "INCR a");
    for (unsigned i = 0; i < 5; i++) {
        rig_ask(node, &ask);
        rig_wait(&rig, &ask);
        cr_assert_eq(ask.request.err, ERR_OK);
        cr_assert(slice_equal(buf_slice(&ask.request.reply), SLICE(":1\r\n")));
        rig_free(&ask);
    }
    cr_assert_str_eq(rig_write(node, "INCR a"), ":2\r\n"); /* confirms the first */
    rig_ask(node, &ask);
    rig_wait(&rig, &ask);
    cr_assert_eq(ask.request.err, ERR_INDOUBT);
    rig_free(&ask);
    cr_assert_str_eq(rig_read(node, "GET a"), "$1\r\n2\r\n");
    rig_fini(&rig);
}

Test(alone, calls_of_a_request_are_executed_together_if_the_checks_hold)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask look;
    struct rig_ask ask;
    cr_assert_str_eq(rig_write(node, "SET a 1"), "+OK\r\n");
    rig_begin(&rig, &look, PARTITION_VERSIONS, 0);
    look.check[0].key = SLICE("a");
    look.check[1].key = SLICE("none");
    look.request.check_count = 2;
    rig_ask(node, &look);
    rig_wait(&rig, &look);
    cr_assert_neq(look.check[0].version, 0);
    cr_assert_eq(look.check[1].version, 0);
    for (unsigned i = 0; i < 2; i++) { /* the second time `a` has changed */
        rig_begin(&rig, &ask, PARTITION_WRITE, 0);
        rig_call(&ask, 0, "INCR a");
        rig_call(&ask, 0, "RPUSH l x y");
        rig_call(&ask, 0, "GET a");
        memcpy(ask.check, look.check, sizeof ask.check);
        ask.request.check_count = 2;
        rig_ask(node, &ask);
        rig_wait(&rig, &ask);
        cr_assert_eq(ask.request.err, ERR_OK);
        cr_assert_eq(ask.request.is_aborted, i == 1);
        if (i == 0) {
            const uint32_t *end = ask.request.reply_end;
            cr_assert(slice_equal(buf_slice(&ask.request.reply), SLICE(":2\r\n:2\r\n$1\r\n2\r\n")));
            cr_assert(end[0] == 4 && end[1] == 8 && end[2] == 15);
        } else {
            cr_assert_eq(ask.request.reply.len, 0);
        }
        rig_free(&ask);
    }
    rig_fini(&rig);
}

Test(alone, a_key_that_was_not_there_and_has_come_is_another_one)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    cr_assert_str_eq(rig_write(node, "SET a 1"), "+OK\r\n");
    rig_begin(&rig, &ask, PARTITION_VERSIONS, 0);
    ask.check[0].key = SLICE("a");
    ask.request.check_count = 1;
    rig_ask(node, &ask);
    rig_wait(&rig, &ask);
    uint64_t version = ask.check[0].version;
    cr_assert_str_eq(rig_write(node, "SET came 1"), "+OK\r\n");
    rig_begin(&rig, &ask, PARTITION_WRITE, 0);
    rig_call(&ask, 0, "INCR a");
    ask.check[0] = (struct partition_check){.key = SLICE("a"), .version = version};
    ask.check[1] = (struct partition_check){.key = SLICE("came")};
    ask.request.check_count = 2;
    for (unsigned i = 0; i < 2; i++) { /* and the same when it comes again */
        rig_ask(node, &ask);
        rig_wait(&rig, &ask);
        cr_assert_eq(ask.request.err, ERR_OK);
        cr_assert(ask.request.is_aborted);
        rig_free(&ask);
    }
    cr_assert_str_eq(rig_read(node, "GET a"), "$1\r\n1\r\n");
    rig_fini(&rig);
}

static enum err answer_of(struct rig_node *node, struct rig_ask *ask, uint64_t term)
{
    ask->request.term = term;
    rig_ask(node, ask);
    rig_wait(node->rig, ask);
    return ask->request.err;
}

Test(alone, a_leader_of_another_term_is_none)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    uint64_t term = partition_leads(node->partitions, 0);
    rig_begin(&rig, &ask, PARTITION_WRITE, 0);
    rig_call(&ask, 0, "INCR n");
    cr_assert_eq(answer_of(node, &ask, term + 1), ERR_NOT_LEADER);
    cr_assert_eq(answer_of(node, &ask, term), ERR_OK);
    cr_assert(slice_equal(buf_slice(&ask.request.reply), SLICE(":1\r\n")));
    rig_free(&ask);
    rig_fini(&rig);
}

Test(alone, what_comes_behind_a_refused_number_waits_until_that_one_comes_again)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask[3];
    uint64_t term = partition_leads(node->partitions, 0);
    for (unsigned i = 0; i < 3; i++) {
        rig_begin(&rig, &ask[i], i == 1 ? PARTITION_READ : PARTITION_WRITE, 0);
        rig_call(&ask[i], 0, i == 1 ? "GET n" : "INCR n");
        ask[i].request.origin = (struct partition_origin){
            .node_id = 7, .incarnation = 1, .worker = 3, .seq = i + 1, .acked_low = 1};
    }
    cr_assert_eq(answer_of(node, &ask[0], term + 1), ERR_NOT_LEADER);
    cr_assert_eq(answer_of(node, &ask[1], term), ERR_SLOW);
    cr_assert_eq(answer_of(node, &ask[2], term), ERR_SLOW);
    static const char *const replies[] = {":1\r\n", "$1\r\n1\r\n", ":2\r\n"};
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(answer_of(node, &ask[i], term), ERR_OK);
        cr_assert(slice_equal(buf_slice(&ask[i].request.reply), slice_of_str(replies[i])));
        rig_free(&ask[i]);
    }
    rig_fini(&rig);
}

Test(alone, who_does_not_take_his_answers_is_refused_in_order_until_he_has)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask[3];
    struct partition_owed owed = {.answered = PARTITION_OWED_BYTES_MAX, .queued = 1};
    for (unsigned i = 0; i < 3; i++) {
        rig_begin(&rig, &ask[i], i == 1 ? PARTITION_READ : PARTITION_WRITE, 0);
        rig_call(&ask[i], 0, i == 1 ? "GET n" : "INCR n");
        ask[i].request.origin = (struct partition_origin){
            .node_id = 7, .incarnation = 1, .worker = 3, .seq = i + 1, .acked_low = 1};
        ask[i].request.owed = &owed;
    }
    for (unsigned i = 1; i < 3; i++) { /* the first is on its way still */
        rig_ask(node, &ask[i]);
        rig_wait(&rig, &ask[i]);
        cr_assert_eq(ask[i].request.err, ERR_SLOW);
        rig_free(&ask[i]);
        atomic_store(&owed.queued, 0);
    }
    atomic_store(&owed.answered, 0);
    static const char *const replies[] = {":1\r\n", "$1\r\n1\r\n", ":2\r\n"};
    size_t bytes = 0;
    for (unsigned i = 0; i < 3; i++) {
        rig_ask(node, &ask[i]);
        rig_wait(&rig, &ask[i]);
        cr_assert_eq(ask[i].request.err, ERR_OK);
        cr_assert(slice_equal(buf_slice(&ask[i].request.reply), slice_of_str(replies[i])));
        bytes += strlen(replies[i]);
        cr_assert_eq(atomic_load(&owed.answered), bytes);
        rig_free(&ask[i]);
    }
    rig_fini(&rig);
}

Test(alone,
     requests_that_are_under_way_together_are_executed_in_order_and_reads_see_what_came_before)
{
    enum { COUNT = 600 };
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask *ask = mem_new0(2 * COUNT * sizeof *ask);
    char expected[64];
    for (unsigned i = 0; i < COUNT; i++) {
        rig_begin(&rig, &ask[2 * i], PARTITION_WRITE, 0);
        ask[2 * i].request.origin.acked_low = 1;
        rig_call(&ask[2 * i], 0, "RPUSH list element");
        rig_ask(node, &ask[2 * i]);
        rig_begin(&rig, &ask[2 * i + 1], PARTITION_READ, 0);
        rig_call(&ask[2 * i + 1], 0, "LLEN list");
        rig_ask(node, &ask[2 * i + 1]);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        rig_wait(&rig, &ask[2 * i]);
        rig_wait(&rig, &ask[2 * i + 1]);
        snprintf(expected, sizeof expected, ":%u\r\n", i + 1);
        cr_assert(slice_equal(buf_slice(&ask[2 * i].request.reply), slice_of_str(expected)));
        unsigned seen = 0;
        cr_assert_eq(sscanf(rig_text(&ask[2 * i + 1]), ":%u", &seen), 1);
        cr_assert_geq(seen, i + 1);
        rig_free(&ask[2 * i]);
        rig_free(&ask[2 * i + 1]);
    }
    mem_free(ask);
    rig_fini(&rig);
}

/* ---- the engine refuses for a moment ---- */

enum { REFUSED_COUNT = 200, REFUSED_BYTES = 8000 };

/* While the raft thread is here all are asked, and what fits is on its way to it; the first ones will be refused. */
static void on_refusing(struct rig_node *node, void *arg)
{
    struct rig_ask *ask = arg;
    struct partition *p = &node->partitions->partition[0];
    uint64_t bytes = 0;
    uint64_t until = clock_mono_ns() + RIG_WAIT_MS * NS_PER_MS;
    p->refused_round = p->round; /* nothing is under way */
    for (unsigned i = 0; i < REFUSED_COUNT; i++) {
        bytes += entry_request_bytes(&ask[i].request);
        rig_ask(node, &ask[i]);
    }
    while (atomic_load(&p->proposed_bytes) < bytes) {
        cr_assert_lt(clock_mono_ns(), until);
    }
}

Test(alone, what_is_refused_for_a_moment_keeps_its_place)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask *ask = mem_new0(REFUSED_COUNT * sizeof *ask);
    char *text = mem_new(REFUSED_BYTES);
    char expected[64];
    memset(text, 'v', REFUSED_BYTES - 1);
    text[REFUSED_BYTES - 1] = 0;
    memcpy(text, "RPUSH l ", 8);
    for (unsigned i = 0; i < REFUSED_COUNT; i++) {
        rig_begin(&rig, &ask[i], PARTITION_WRITE, 0);
        ask[i].request.origin.acked_low = 1;
        rig_call(&ask[i], 0, text);
    }
    rig_on_raft(node, on_refusing, ask);
    for (unsigned i = 0; i < REFUSED_COUNT; i++) {
        rig_wait(&rig, &ask[i]);
        snprintf(expected, sizeof expected, ":%u\r\n", i + 1);
        cr_assert(slice_equal(buf_slice(&ask[i].request.reply), slice_of_str(expected)));
        rig_free(&ask[i]);
    }
    mem_free(text);
    mem_free(ask);
    rig_fini(&rig);
}

Test(alone, data_and_numbers_are_there_after_a_restart)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    cr_assert_str_eq(rig_write(node, "RPUSH list a b c"), ":3\r\n");
    rig_begin(&rig, &ask, PARTITION_WRITE, 0);
    rig_call(&ask, 0, "INCR n");
    rig_ask(node, &ask);
    rig_wait(&rig, &ask);
    rig_free(&ask);
    for (unsigned i = 0; i < 3; i++) {
        node->boot_id = i == 2 ? "another boot" : NULL;
        rig_stop(node);
        rig_start(node);
        rig_open(node);
        rig_until_leads(node, 0);
        rig_ask(node, &ask);
        rig_wait(&rig, &ask);
        cr_assert(slice_equal(buf_slice(&ask.request.reply), SLICE(":1\r\n")));
        rig_free(&ask);
        cr_assert_str_eq(rig_read(node, "LLEN list"), ":3\r\n");
    }
    rig_fini(&rig);
}

Test(alone, who_does_not_lead_says_so)
{
    struct rig rig = {0};
    rig_init(&rig, 1, 1);
    rig_start(&rig.node[0]);
    cr_assert_str_eq(rig_write(&rig.node[0], "SET a 1"), "(not leader)");
    rig_fini(&rig);
}

/* Asked together: each stands in its place, though the first reads on a thread aside. */
Test(alone, a_read_that_looks_at_much_sees_what_came_before_it_and_nothing_that_came_after)
{
    enum { KEYS = 3000 };
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask read[40];
    struct rig_ask write[40];
    char text[40][64];
    for (unsigned i = 0; i < KEYS; i += 3) {
        char keys[96];
        snprintf(keys, sizeof keys, "MSET key:%u 1 key:%u 1 key:%u 1", i, i + 1, i + 2);
        cr_assert_str_eq(rig_write(node, keys), "+OK\r\n");
    }
    for (unsigned i = 0; i < 40; i++) {
        snprintf(text[i], sizeof text[i], "DEL key:%u", i);
        rig_begin(&rig, &read[i], PARTITION_READ, 0);
        rig_call(&read[i], 0, "KEYS *");
        rig_ask(node, &read[i]);
        rig_begin(&rig, &write[i], PARTITION_WRITE, 0);
        write[i].request.origin.acked_low = 1;
        rig_call(&write[i], 0, text[i]);
        rig_ask(node, &write[i]);
    }
    for (unsigned i = 0; i < 40; i++) {
        unsigned count = 0;
        rig_wait(&rig, &read[i]);
        rig_wait(&rig, &write[i]);
        cr_assert_eq(read[i].request.err, ERR_OK);
        cr_assert_eq(sscanf(rig_text(&read[i]), "*%u", &count), 1);
        cr_assert_leq(count, KEYS - i, "read %u sees what was deleted before it", i);
        rig_free(&read[i]);
        rig_free(&write[i]);
    }
    rig_fini(&rig);
}

Test(alone, what_is_read_when_the_end_comes_is_answered)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask read[20];
    char keys[96];
    for (unsigned i = 0; i < 3000; i += 3) {
        snprintf(keys, sizeof keys, "MSET key:%u 1 key:%u 1 key:%u 1", i, i + 1, i + 2);
        cr_assert_str_eq(rig_write(node, keys), "+OK\r\n");
    }
    for (unsigned i = 0; i < 20; i++) {
        rig_begin(&rig, &read[i], PARTITION_READ, 0);
        rig_call(&read[i], 0, "KEYS *");
        rig_ask(node, &read[i]);
    }
    partitions_stop(node->partitions);
    for (unsigned i = 0; i < 20; i++) {
        rig_wait(&rig, &read[i]);
        cr_assert(read[i].request.err == ERR_OK || read[i].request.err == ERR_NOT_LEADER);
        rig_free(&read[i]);
    }
    rig_fini(&rig);
}
