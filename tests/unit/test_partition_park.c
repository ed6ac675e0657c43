/* The promises of partition/partition.h about parked calls: who waits longest is served first, nothing is taken twice, and
 * nothing for who has gone. */
#include "partition_rig.h"

static struct rig_node *one_node(struct rig *rig)
{
    rig_init(rig, 1, 1);
    rig_start(&rig->node[0]);
    rig_create(&rig->node[0]);
    rig_until_leads(&rig->node[0], 0);
    return &rig->node[0];
}

static uint64_t parked_count(struct rig_node *node)
{
    struct partition_status status;
    partition_status(node->partitions, 0, &status);
    return status.parked;
}

/* A call whose keys are its words from 1 to `keys`. */
static void park_begin(struct rig_node *node, struct rig_ask *ask, uint64_t ticket,
                       const char *text, uint32_t keys)
{
    static const uint32_t positions[] = {1, 2, 3, 4};
    static uint64_t seq;
    rig_begin(node->rig, ask, PARTITION_PARK, 0);
    rig_call(ask, 0, text);
    ask->request.ticket = ticket;
    ask->request.wait_key = positions;
    ask->request.wait_key_count = keys;
    ask->request.origin = (struct partition_origin){.node_id = 7,
                                                    .incarnation = 1,
                                                    .worker = 3,
                                                    .is_parking = true,
                                                    .seq = ++seq,
                                                    .acked_low = 1};
}

static void park(struct rig_node *node, struct rig_ask *ask, uint64_t ticket, const char *text,
                 uint32_t keys)
{
    park_begin(node, ask, ticket, text, keys);
    rig_ask(node, ask);
}

static void expect(struct rig_ask *ask, const char *reply)
{
    cr_assert_eq(ask->request.err, ERR_OK);
    cr_assert(!ask->request.is_unparked);
    cr_assert(slice_equal(buf_slice(&ask->request.reply), slice_of_str(reply)), "%.*s",
              (int)ask->request.reply.len, ask->request.reply.data);
    rig_free(ask);
}

Test(park, what_is_there_is_taken_at_once)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    cr_assert_str_eq(rig_write(node, "RPUSH q a"), ":1\r\n");
    park(node, &ask, 1, "BLPOP p q 0", 2);
    rig_wait(&rig, &ask);
    expect(&ask, "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
    cr_assert_str_eq(rig_read(node, "EXISTS q"), ":0\r\n");
    rig_fini(&rig);
}

Test(park, who_came_first_is_served_first_and_the_others_wait_on)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask[4];
    park(node, &ask[2], 30, "BLPOP q 0", 1);
    park(node, &ask[0], 10, "BLPOP q 0", 1);
    park(node, &ask[3], 40, "BRPOP q 0", 1);
    park(node, &ask[1], 20, "BLPOP p q 0", 2);
    RIG_UNTIL(&rig, parked_count(node) == 4);
    cr_assert_str_eq(rig_write(node, "RPUSH q a b"), ":2\r\n");
    RIG_UNTIL(&rig, ask[0].is_done + ask[1].is_done + ask[2].is_done + ask[3].is_done == 2);
    cr_assert(ask[0].is_done && ask[1].is_done);
    expect(&ask[0], "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
    expect(&ask[1], "*2\r\n$1\r\nq\r\n$1\r\nb\r\n");
    cr_assert(!ask[2].is_done && !ask[3].is_done);
    cr_assert_eq(parked_count(node), 2);
    cr_assert_str_eq(rig_write(node, "RPUSH q c"), ":1\r\n");
    cr_assert_str_eq(rig_write(node, "RPUSH q d"), ":1\r\n");
    rig_wait(&rig, &ask[2]);
    rig_wait(&rig, &ask[3]);
    expect(&ask[2], "*2\r\n$1\r\nq\r\n$1\r\nc\r\n");
    expect(&ask[3], "*2\r\n$1\r\nq\r\n$1\r\nd\r\n");
    rig_fini(&rig);
}

Test(park, a_key_that_comes_by_another_name_serves_as_well)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask[4];
    park(node, &ask[0], 1, "BLPOP q 0", 1);
    park(node, &ask[1], 2, "BLPOP q 0", 1);
    park(node, &ask[2], 3, "BZPOPMIN z 0", 1);
    park(node, &ask[3], 4, "BLMOVE from to LEFT LEFT 0", 1);
    RIG_UNTIL(&rig, parked_count(node) == 4);
    cr_assert_str_eq(rig_write(node, "RPUSH other a b c"), ":3\r\n");
    cr_assert_str_eq(rig_write(node, "RENAME other q"), "+OK\r\n");
    rig_wait(&rig, &ask[0]);
    rig_wait(&rig, &ask[1]);
    expect(&ask[0], "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
    expect(&ask[1], "*2\r\n$1\r\nq\r\n$1\r\nb\r\n");
    cr_assert_str_eq(rig_write(node, "SET z string"), "+OK\r\n");
    cr_assert_str_eq(rig_write(node, "DEL z"), ":1\r\n");
    cr_assert_str_eq(rig_write(node, "ZADD z 2 two 1 one"), ":2\r\n");
    rig_wait(&rig, &ask[2]);
    expect(&ask[2], "*3\r\n$1\r\nz\r\n$3\r\none\r\n$1\r\n1\r\n");
    cr_assert_str_eq(rig_write(node, "SET to string"), "+OK\r\n");
    cr_assert_str_eq(rig_write(node, "RPUSH from a"), ":1\r\n");
    rig_wait(&rig, &ask[3]);
    expect(&ask[3], "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    park(node, &ask[3], 5, "BLPOP to 0", 1); /* and what it finds at once is an answer, too */
    rig_wait(&rig, &ask[3]);
    expect(&ask[3], "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    rig_fini(&rig);
}

Test(park, a_call_that_is_taken_back_takes_nothing)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    park(node, &ask, 1, "BLPOP q 0", 1);
    RIG_UNTIL(&rig, parked_count(node) == 1);
    partition_unpark(node->partitions, 0, &ask.request.origin);
    rig_wait(&rig, &ask);
    cr_assert_eq(ask.request.err, ERR_OK);
    cr_assert(ask.request.is_unparked);
    partition_unpark(node->partitions, 0, &ask.request.origin);
    cr_assert_str_eq(rig_write(node, "RPUSH q a"), ":1\r\n");
    cr_assert_str_eq(rig_read(node, "LLEN q"), ":1\r\n");
    rig_free(&ask);
    rig_fini(&rig);
}

/* So its client is not told that there is nothing where there was something all the time. */
Test(park, a_call_that_has_found_something_gets_it_though_it_is_taken_back)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    cr_assert_str_eq(rig_write(node, "RPUSH q a"), ":1\r\n");
    park(node, &ask, 1, "BLPOP q 0", 1);
    partition_unpark(node->partitions, 0, &ask.request.origin);
    rig_wait(&rig, &ask);
    expect(&ask, "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
    rig_fini(&rig);
}

Test(park, a_number_that_was_served_is_answered_again_and_takes_nothing)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    cr_assert_str_eq(rig_write(node, "RPUSH q a b"), ":2\r\n");
    park(node, &ask, 1, "BLPOP q 0", 1);
    for (unsigned i = 0; i < 3; i++) {
        rig_wait(&rig, &ask);
        expect(&ask, "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
        rig_ask(node, &ask);
    }
    rig_wait(&rig, &ask);
    rig_free(&ask);
    cr_assert_str_eq(rig_read(node, "LLEN q"), ":1\r\n");
    cr_assert_str_eq(rig_write(node, "DEL q"), ":1\r\n");
    rig_ask(node, &ask); /* also where there is nothing more to take */
    RIG_UNTIL(&rig, ask.is_done || parked_count(node) > 0);
    cr_assert(ask.is_done);
    expect(&ask, "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
    rig_fini(&rig);
}

Test(park, a_number_that_is_confirmed_is_forgotten)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask[2];
    cr_assert_str_eq(rig_write(node, "RPUSH q a b c"), ":3\r\n");
    park(node, &ask[0], 1, "BLPOP q 0", 1);
    rig_wait(&rig, &ask[0]);
    expect(&ask[0], "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
    park_begin(node, &ask[1], 2, "BLPOP q 0", 1);
    ask[1].request.acked = &ask[0].request.origin.seq;
    ask[1].request.acked_count = 1;
    for (unsigned i = 0; i < 2;
         i++) { /* the second time it is not executed, and confirms the same */
        rig_ask(node, &ask[1]);
        rig_wait(&rig, &ask[1]);
        expect(&ask[1], "*2\r\n$1\r\nq\r\n$1\r\nb\r\n");
    }
    rig_ask(node, &ask[0]); /* who confirms does not ask again: it is a new one */
    rig_wait(&rig, &ask[0]);
    expect(&ask[0], "*2\r\n$1\r\nq\r\n$1\r\nc\r\n");
    rig_fini(&rig);
}

/* Confirm one number, and nothing else. */
static void confirm(struct rig_node *node, const struct rig_ask *served)
{
    struct rig_ask ask;
    rig_begin(node->rig, &ask, PARTITION_CONFIRM, 0);
    ask.request.call_count = 0;
    ask.request.origin = served->request.origin;
    ask.request.origin.seq = 0;
    ask.request.acked = &served->request.origin.seq;
    ask.request.acked_count = 1;
    rig_ask(node, &ask);
    rig_wait(node->rig, &ask);
    cr_assert_eq(ask.request.err, ERR_OK);
    rig_free(&ask);
}

static void serve_lent(struct rig_node *node, struct rig_ask *ask, const char *text, bool is_lent)
{
    park_begin(node, ask, 1, text, 1);
    ask->request.is_lent = is_lent;
    rig_ask(node, ask);
    rig_wait(node->rig, ask);
    cr_assert_eq(ask->request.err, ERR_OK);
    rig_free(ask);
}

Test(park, what_was_lent_to_a_life_that_is_over_and_is_not_confirmed_goes_back)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask, waiting;
    cr_assert_str_eq(rig_write(node, "RPUSH q a b c d e"), ":5\r\n");
    cr_assert_str_eq(rig_write(node, "RPUSH p x y"), ":2\r\n");
    cr_assert_str_eq(rig_write(node, "ZADD z 1.5 m 3 n"), ":2\r\n");
    cr_assert_str_eq(rig_write(node, "RPUSH other t"), ":1\r\n");
    serve_lent(node, &ask, "BLPOP q 0", true);
    serve_lent(node, &ask, "BLPOP q 0", true);
    serve_lent(node, &ask, "BRPOP q 0", true);
    serve_lent(node, &ask, "BLMOVE q moved LEFT LEFT 0", true);
    serve_lent(node, &ask, "BLPOP p 0", false);
    serve_lent(node, &ask, "BZPOPMIN z 0", true);
    serve_lent(node, &ask, "BLPOP other 0", true);
    cr_assert_str_eq(rig_write(node, "SET other string"), "+OK\r\n");
    serve_lent(node, &ask, "BLPOP p 0", true);
    confirm(node, &ask);
    park_begin(node, &waiting, 2, "BLPOP p 0", 1);
    waiting.request.origin.node_id = 8;
    rig_ask(node, &waiting);
    cr_assert_str_eq(rig_read(node, "LRANGE q 0 -1"), "*1\r\n$1\r\nd\r\n");
    partitions_forget(node->partitions, 7, 2);
    RIG_UNTIL(&rig, strcmp(rig_read(node, "LLEN q"), ":4\r\n") == 0);
    cr_assert_str_eq(rig_read(node, "LRANGE q 0 -1"),
                     "*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nd\r\n$1\r\ne\r\n");
    cr_assert_str_eq(rig_read(node, "ZSCORE z m"), "$3\r\n1.5\r\n");
    cr_assert_str_eq(rig_read(node, "GET other"), "$6\r\nstring\r\n");
    cr_assert_str_eq(rig_read(node, "LRANGE moved 0 -1"), "*1\r\n$1\r\nc\r\n");
    cr_assert(!waiting.is_done, "what was not lent, or is confirmed, does not come back");
    cr_assert_str_eq(rig_write(node, "RPUSH p z"), ":1\r\n");
    rig_wait(&rig, &waiting);
    expect(&waiting, "*2\r\n$1\r\np\r\n$1\r\nz\r\n");
    rig_fini(&rig);
}

Test(park, what_goes_back_serves_who_waits_for_it)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask, waiting;
    cr_assert_str_eq(rig_write(node, "RPUSH q a"), ":1\r\n");
    serve_lent(node, &ask, "BLPOP q 0", true);
    park_begin(node, &waiting, 2, "BLPOP q 0", 1);
    waiting.request.origin.node_id = 8;
    rig_ask(node, &waiting);
    RIG_UNTIL(&rig, parked_count(node) == 1);
    partitions_forget(node->partitions, 7, 2);
    rig_wait(&rig, &waiting);
    expect(&waiting, "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
    rig_fini(&rig);
}

Test(park, one_that_comes_by_another_way_takes_the_place_of_the_first)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask[2];
    park(node, &ask[0], 1, "BLPOP q 0", 1);
    park_begin(node, &ask[1], 1, "BLPOP q 0", 1);
    ask[1].request.origin = ask[0].request.origin;
    rig_ask(node, &ask[1]);
    rig_wait(&rig, &ask[0]);
    cr_assert_eq(ask[0].request.err, ERR_SLOW);
    cr_assert_eq(parked_count(node), 1);
    cr_assert_str_eq(rig_write(node, "RPUSH q a b"), ":2\r\n");
    rig_wait(&rig, &ask[1]);
    expect(&ask[1], "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
    cr_assert_str_eq(rig_read(node, "LLEN q"), ":1\r\n");
    rig_fini(&rig);
}

Test(park, readers_of_a_stream_all_hear_and_groups_share)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask[4];
    static const uint32_t seventh[] = {7};
    cr_assert_str_eq(rig_write(node, "XADD s 1-1 f v"), "$3\r\n1-1\r\n");
    cr_assert_str_eq(rig_write(node, "XGROUP CREATE s g $"), "+OK\r\n");
    park(node, &ask[0], 1, "XREAD BLOCK 0 STREAMS s 1-1", 0);
    park(node, &ask[1], 2, "XREAD BLOCK 0 STREAMS s 1-1", 0);
    for (unsigned i = 0; i < 2; i++) { /* their key stands elsewhere: park anew */
        partition_unpark(node->partitions, 0, &ask[i].request.origin);
        rig_wait(&rig, &ask[i]);
        static const uint32_t fourth[] = {4};
        ask[i].request.wait_key = fourth;
        ask[i].request.wait_key_count = 1;
        rig_ask(node, &ask[i]);
    }
    for (unsigned i = 2; i < 4; i++) {
        park(node, &ask[i], i, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", 0);
        partition_unpark(node->partitions, 0, &ask[i].request.origin);
        rig_wait(&rig, &ask[i]);
        ask[i].request.wait_key = seventh;
        ask[i].request.wait_key_count = 1;
        rig_ask(node, &ask[i]);
    }
    RIG_UNTIL(&rig, parked_count(node) == 4);
    cr_assert_str_eq(rig_write(node, "XADD s 2-1 f v"), "$3\r\n2-1\r\n");
    for (unsigned i = 0; i < 3; i++) {
        rig_wait(&rig, &ask[i]);
        expect(&ask[i],
               "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n2-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    }
    cr_assert(!ask[3].is_done);
    cr_assert_str_eq(rig_write(node, "DEL s"), ":1\r\n");
    rig_wait(&rig, &ask[3]);
    cr_assert(slice_starts_with(buf_slice(&ask[3].request.reply), SLICE("-NOGROUP")));
    rig_free(&ask[3]);
    rig_fini(&rig);
}

Test(park, in_a_transaction_nothing_parks)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    cr_assert_str_eq(rig_write(node, "BLPOP q 0"), "*-1\r\n");
    rig_fini(&rig);
}

Test(park, all_are_told_when_the_end_comes)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask[20];
    for (unsigned i = 0; i < 20; i++) {
        park(node, &ask[i], i, i % 2 == 0 ? "BLPOP q 0" : "BLPOP p q p 0", i % 2 == 0 ? 1 : 3);
    }
    RIG_UNTIL(&rig, parked_count(node) == 20);
    partitions_stop(node->partitions);
    for (unsigned i = 0; i < 20; i++) {
        rig_wait(&rig, &ask[i]);
        cr_assert_eq(ask[i].request.err, ERR_NOT_LEADER);
    }
    rig_fini(&rig);
}
