/* What Redis 8 does with entries that groups still want, with those that were pending for too long, and with those that are
 * given back. Expectations are those of its documentation. */
#include "data_rig.h"

static void three_entries(struct rig *rig)
{
    EXPECT(rig, "XADD x 1-0 a 1", "\"1-0\"");
    EXPECT(rig, "XADD x 2-0 a 2", "\"2-0\"");
    EXPECT(rig, "XADD x 3-0 a 3", "\"3-0\"");
}

Test(data_stream8, xdelex_heeds_the_groups_as_it_is_told)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "XDELEX none IDS 2 1-0 2-0", "[-1 -1]");
    three_entries(&rig);
    EXPECT(&rig, "XDELEX x KEEPREF IDS 2 1-0 9-0", "[1 -1]");
    EXPECT(&rig, "XDELEX x ACKED IDS 1 2-0", "[2]"); /* no group that could have acknowledged it */
    EXPECT(&rig, "XGROUP CREATE x g 0", "OK");
    EXPECT(&rig, "XDELEX x IDS 1 3-0 ACKED", "[2]"); /* not read yet */
    EXPECT(&rig, "XREADGROUP GROUP g c STREAMS x >",
           "[[\"x\" [[\"2-0\" [\"a\" \"2\"]] [\"3-0\" [\"a\" \"3\"]]]]]");
    EXPECT(&rig, "XDELEX x ACKED IDS 2 2-0 3-0", "[2 2]");
    EXPECT(&rig, "XACK x g 3-0", "1");
    EXPECT(&rig, "XDELEX x ACKED IDS 2 2-0 3-0", "[2 1]");
    EXPECT(&rig, "XDEL x 2-0", "1");
    EXPECT(&rig, "XPENDING x g", "[1 \"2-0\" \"2-0\" [[\"c\" \"1\"]]]");
    EXPECT(&rig, "XDELEX x DELREF IDS 1 2-0",
           "[-1]"); /* gone, but what was pending of it goes, too */
    EXPECT(&rig, "XPENDING x g", "[0 (nil) (nil) (nil)]");
    EXPECT(&rig, "XDELEX x IDS 0 1-0", "ERR Number of IDs must be a positive integer");
    EXPECT(&rig, "XDELEX x IDS 3 1-0",
           "ERR The `numids` parameter must match the number of arguments");
    EXPECT(&rig, "XDELEX x IDS 1 1-0 2-0",
           "ERR The `numids` parameter must match the number of arguments");
    EXPECT(&rig, "XDELEX x FOO IDS 1 1-0", "ERR syntax error");
    EXPECT(&rig, "XDELEX x IDS 1 zz", "ERR Invalid stream ID specified as stream command argument");
    EXPECT(&rig, "DEL x", "1");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_stream8, xackdel_acknowledges_and_removes_once_nobody_wants_it)
{
    struct rig rig;
    rig_init(&rig);
    three_entries(&rig);
    EXPECT(&rig, "XACKDEL none g IDS 1 1-0", "[-1]");
    EXPECT(&rig, "XACKDEL x g IDS 1 1-0", "[-1]");
    EXPECT(&rig, "XGROUP CREATE x g 0", "OK");
    EXPECT(&rig, "XGROUP CREATE x h 0", "OK");
    EXPECT(&rig, "XACKDEL x g ACKED IDS 1 1-0", "[-1]"); /* not delivered */
    rig_run(&rig, "XREADGROUP GROUP g c STREAMS x >");
    EXPECT(&rig, "XACKDEL x g ACKED IDS 2 1-0 9-0", "[2 -1]"); /* h has not read it */
    EXPECT(&rig, "XLEN x", "3");
    rig_run(&rig, "XREADGROUP GROUP h c COUNT 1 STREAMS x >");
    EXPECT(&rig, "XACKDEL x h ACKED IDS 1 1-0", "[1]");
    EXPECT(&rig, "XRANGE x - + COUNT 1", "[[\"2-0\" [\"a\" \"2\"]]]");
    rig_run(&rig, "XREADGROUP GROUP h c STREAMS x >");
    EXPECT(&rig, "XACKDEL x g IDS 1 2-0", "[1]"); /* KEEPREF: h has it still */
    EXPECT(&rig, "XPENDING x h", "[2 \"2-0\" \"3-0\" [[\"c\" \"2\"]]]");
    EXPECT(&rig, "XACKDEL x g DELREF IDS 2 2-0 3-0", "[-1 1]");
    EXPECT(&rig, "XPENDING x h", "[0 (nil) (nil) (nil)]");
    EXPECT(&rig, "XINFO CONSUMERS x h",
           "[[\"name\" \"c\" \"pending\" 0 \"idle\" 0 \"inactive\" 0]]");
    EXPECT(&rig, "XLEN x", "0");
    EXPECT(&rig, "DEL x", "1");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_stream8, trimming_takes_references_along_or_leaves_what_is_wanted)
{
    struct rig rig;
    rig_init(&rig);
    three_entries(&rig);
    EXPECT(&rig, "XTRIM x MAXLEN 2 ACKED", "1"); /* no groups: no effect */
    EXPECT(&rig, "XGROUP CREATE x g 0", "OK");
    rig_run(&rig, "XREADGROUP GROUP g c STREAMS x >");
    EXPECT(&rig, "XADD x MAXLEN 1 DELREF 4-0 a 4", "\"4-0\"");
    EXPECT(&rig, "XPENDING x g", "[0 (nil) (nil) (nil)]");
    EXPECT(&rig, "XADD x 5-0 a 5", "\"5-0\"");
    EXPECT(&rig, "XADD x 6-0 a 6", "\"6-0\"");
    EXPECT(&rig, "XTRIM x MAXLEN 0 ACKED", "0"); /* nothing is read */
    rig_run(&rig, "XREADGROUP GROUP g c STREAMS x >");
    EXPECT(&rig, "XACK x g 5-0", "1");
    EXPECT(&rig, "XADD x ACKED MAXLEN = 2 7-0 a 7", "\"7-0\"");
    EXPECT(&rig, "XRANGE x - +",
           "[[\"4-0\" [\"a\" \"4\"]] [\"6-0\" [\"a\" \"6\"]] [\"7-0\" [\"a\" \"7\"]]]");
    EXPECT(&rig, "XACK x g 6-0", "1");
    EXPECT(&rig, "XTRIM x MINID 6 ACKED", "0");
    EXPECT(&rig, "XTRIM x ACKED MINID 7", "1");
    EXPECT(&rig, "XTRIM x MINID 7 KEEPREF", "1");
    EXPECT(&rig, "XPENDING x g", "[1 \"4-0\" \"4-0\" [[\"c\" \"1\"]]]");
    EXPECT(&rig, "XTRIM x MAXLEN 0 DELREF", "1");
    EXPECT(&rig, "XTRIM x MAXLEN 0 DELREF KEEPREF", "ERR syntax error");
    EXPECT(&rig, "DEL x", "1");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_stream8, what_is_read_of_several_streams_together_is_bounded)
{
    struct rig rig;
    rig_init(&rig);
    three_entries(&rig);
    EXPECT(&rig, "XADD y 1-0 b 1", "\"1-0\"");
    EXPECT(&rig, "XADD y 2-0 b 2", "\"2-0\"");
    EXPECT(&rig, "XREAD MAXCOUNT 4 STREAMS x y 0 0",
           "[[\"x\" [[\"1-0\" [\"a\" \"1\"]] [\"2-0\" [\"a\" \"2\"]] [\"3-0\" [\"a\" \"3\"]]]] "
           "[\"y\" [[\"1-0\" [\"b\" \"1\"]]]]]");
    EXPECT(&rig, "XREAD COUNT 1 MAXCOUNT 1 STREAMS x y 0 0", "[[\"x\" [[\"1-0\" [\"a\" \"1\"]]]]]");
    EXPECT(&rig, "XREAD MAXCOUNT 1 STREAMS x y 3 0", "[[\"y\" [[\"1-0\" [\"b\" \"1\"]]]]]");
    EXPECT(&rig, "XREAD MAXSIZE 1 STREAMS x y 0 0", "[[\"x\" [[\"1-0\" [\"a\" \"1\"]]]]]");
    /* An entry takes 31 bytes, a stream's head 15. */
    EXPECT(&rig, "XREAD MAXSIZE 108 STREAMS x y 1 0",
           "[[\"x\" [[\"2-0\" [\"a\" \"2\"]] [\"3-0\" [\"a\" \"3\"]]]] [\"y\" [[\"1-0\" [\"b\" "
           "\"1\"]]]]]");
    EXPECT(&rig, "XREAD MAXSIZE 107 STREAMS x y 1 0",
           "[[\"x\" [[\"2-0\" [\"a\" \"2\"]] [\"3-0\" [\"a\" \"3\"]]]]]");
    EXPECT(&rig, "XREAD MAXCOUNT 0 STREAMS x 0", "ERR MAXCOUNT must be a positive integer");
    EXPECT(&rig, "XREAD MAXSIZE -1 STREAMS x 0", "ERR MAXSIZE must be a positive integer");
    EXPECT(&rig, "XREAD MAXSIZE x STREAMS x 0", "ERR MAXSIZE must be a positive integer");
    EXPECT(&rig, "XREAD COUNT 2 MAXCOUNT 1 STREAMS x 0",
           "ERR MAXCOUNT must be greater than or equal to COUNT");
    EXPECT(&rig, "XREAD MAXCOUNT 3 STREAMS x 3", "(nil)");
    rig_fini(&rig);
}

Test(data_stream8, a_group_keeps_what_did_not_fit_for_the_next_one)
{
    struct rig rig;
    rig_init(&rig);
    three_entries(&rig);
    EXPECT(&rig, "XGROUP CREATE x g 0", "OK");
    EXPECT(&rig, "XADD y 1-0 b 1", "\"1-0\"");
    EXPECT(&rig, "XGROUP CREATE y g 0", "OK");
    EXPECT(&rig, "XREADGROUP GROUP g one MAXCOUNT 2 STREAMS x y > >",
           "[[\"x\" [[\"1-0\" [\"a\" \"1\"]] [\"2-0\" [\"a\" \"2\"]]]]]");
    EXPECT(&rig, "XPENDING x g", "[2 \"1-0\" \"2-0\" [[\"one\" \"2\"]]]");
    EXPECT(&rig, "XREADGROUP GROUP g one MAXSIZE 1 STREAMS x y 0 >",
           "[[\"x\" [[\"1-0\" [\"a\" \"1\"]]]]]");
    EXPECT(&rig, "XPENDING y g", "[0 (nil) (nil) (nil)]");
    EXPECT(&rig, "XPENDING x g - + 2", "[[\"1-0\" \"one\" 0 2] [\"2-0\" \"one\" 0 1]]");
    EXPECT(&rig, "XREADGROUP GROUP g two MAXSIZE 1 CLAIM 0 STREAMS x y > >",
           "[[\"x\" [[\"1-0\" [\"a\" \"1\"] 0 2]]]]");
    EXPECT(&rig, "XREADGROUP GROUP g two MAXCOUNT 3 STREAMS x y > >",
           "[[\"x\" [[\"3-0\" [\"a\" \"3\"]]]] [\"y\" [[\"1-0\" [\"b\" \"1\"]]]]]");
    rig_fini(&rig);
}

Test(data_stream8, claim_brings_what_was_idle_longest_before_what_is_new)
{
    struct rig rig;
    rig_init(&rig);
    three_entries(&rig);
    EXPECT(&rig, "XGROUP CREATE x g 0", "OK");
    rig_run(&rig, "XREADGROUP GROUP g one COUNT 1 STREAMS x >");
    rig_pass(&rig, 100);
    rig_run(&rig, "XREADGROUP GROUP g one COUNT 1 STREAMS x >");
    rig_pass(&rig, 100);
    EXPECT(&rig, "XCLAIM x g one 0 1-0 TIME 1150", "[[\"1-0\" [\"a\" \"1\"]]]");
    EXPECT(&rig, "XREADGROUP GROUP g two CLAIM 1000 COUNT 5 STREAMS x >",
           "[[\"x\" [[\"3-0\" [\"a\" \"3\"]]]]]");
    EXPECT(&rig, "XREADGROUP GROUP g two CLAIM 1000 STREAMS x >", "(nil)");
    rig_pass(&rig, 10);
    EXPECT(&rig, "XREADGROUP GROUP g two COUNT 1 CLAIM 60 STREAMS x >",
           "[[\"x\" [[\"2-0\" [\"a\" \"2\"] 110 1]]]]");
    EXPECT(&rig, "XADD x 4-0 a 4", "\"4-0\"");
    EXPECT(&rig, "XREADGROUP GROUP g two CLAIM 10 STREAMS x >",
           "[[\"x\" [[\"1-0\" [\"a\" \"1\"] 60 2] [\"3-0\" [\"a\" \"3\"] 10 1] [\"4-0\" [\"a\" "
           "\"4\"]]]]]");
    EXPECT(&rig, "XPENDING x g", "[4 \"1-0\" \"4-0\" [[\"two\" \"4\"]]]");
    EXPECT(&rig, "XPENDING x g - + 1", "[[\"1-0\" \"two\" 0 3]]");
    rig_pass(&rig, 500);
    EXPECT(&rig, "XDEL x 2-0", "1");
    EXPECT(&rig, "XREADGROUP GROUP g one CLAIM 100 COUNT 2 STREAMS x >",
           "[[\"x\" [[\"1-0\" [\"a\" \"1\"] 500 3] [\"3-0\" [\"a\" \"3\"] 500 2]]]]");
    EXPECT(&rig, "XREADGROUP GROUP g one CLAIM 100 STREAMS x >",
           "[[\"x\" [[\"4-0\" [\"a\" \"4\"] 500 1]]]]");
    EXPECT(&rig, "XREADGROUP GROUP g one CLAIM 100 STREAMS x >", "(nil)");
    EXPECT(&rig, "XPENDING x g", "[3 \"1-0\" \"4-0\" [[\"one\" \"3\"]]]");
    EXPECT(&rig, "XREADGROUP GROUP g one CLAIM -1 STREAMS x >",
           "ERR min-idle-time must be a positive integer");
    EXPECT(&rig, "XREADGROUP GROUP g one CLAIM 0 STREAMS x 3",
           "[[\"x\" [[\"4-0\" [\"a\" \"4\"]]]]]"); /* its own history: CLAIM means nothing */
    EXPECT(&rig, "XREAD CLAIM 1 STREAMS x 0", "ERR syntax error");
    EXPECT(&rig, "DEL x", "1");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_stream8, what_is_given_back_belongs_to_nobody_and_comes_first)
{
    struct rig rig;
    rig_init(&rig);
    three_entries(&rig);
    EXPECT(&rig, "XGROUP CREATE x g 0", "OK");
    rig_run(&rig, "XREADGROUP GROUP g one STREAMS x >");
    EXPECT(&rig, "XNACK x g FAIL IDS 2 2-0 9-0", "1");
    EXPECT(&rig, "XNACK x g SILENT IDS 1 3-0", "1");
    EXPECT(&rig, "XPENDING x g", "[3 \"1-0\" \"3-0\" [[\"one\" \"1\"]]]");
    EXPECT(&rig, "XPENDING x g - + 9",
           "[[\"1-0\" \"one\" 0 1] [\"2-0\" \"\" -1 1] [\"3-0\" \"\" -1 0]]");
    EXPECT(&rig, "XREADGROUP GROUP g one STREAMS x 0", "[[\"x\" [[\"1-0\" [\"a\" \"1\"]]]]]");
    EXPECT(&rig, "XREADGROUP GROUP g two CLAIM 1000 COUNT 1 STREAMS x >",
           "[[\"x\" [[\"2-0\" [\"a\" \"2\"] 1000 1]]]]");
    EXPECT(&rig, "XAUTOCLAIM x g two 500 0 JUSTID", "[\"0-0\" [\"3-0\"] []]");
    EXPECT(&rig, "XNACK x g FATAL IDS 1 1-0", "1");
    EXPECT(&rig, "XPENDING x g - + 1", "[[\"1-0\" \"\" -1 9223372036854775807]]");
    EXPECT(&rig, "XNACK x g FAIL IDS 1 1-0 RETRYCOUNT 7", "1");
    EXPECT(&rig, "XPENDING x g - + 1", "[[\"1-0\" \"\" -1 7]]");
    EXPECT(&rig, "XACK x g 1-0 2-0", "2");
    EXPECT(&rig, "XNACK x g FAIL IDS 1 1-0", "0");
    EXPECT(&rig, "XNACK x g FAIL IDS 2 1-0 9-0 FORCE", "1");
    EXPECT(&rig, "XPENDING x g - + 1", "[[\"1-0\" \"\" -1 0]]");
    EXPECT(&rig, "XGROUP DELCONSUMER x g two", "1");
    EXPECT(&rig, "XINFO GROUPS x",
           "[[\"name\" \"g\" \"consumers\" 1 \"pending\" 1 \"last-delivered-id\" \"3-0\" "
           "\"entries-read\" 3 \"lag\" 0]]");
    EXPECT(&rig, "XNACK x g SOME IDS 1 1-0", "ERR syntax error");
    EXPECT(&rig, "XNACK x none FAIL IDS 1 1-0", "NOGROUP No such key 'x' or consumer group 'none'");
    EXPECT(&rig, "XGROUP DESTROY x g", "1");
    EXPECT(&rig, "DEL x", "1");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_stream8, what_a_producer_sends_again_is_not_added_again)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "XADD x IDMP p one * a 1", "\"1000-0\"");
    EXPECT(&rig, "XADD x IDMP p one * a 2", "\"1000-0\"");
    EXPECT(&rig, "XADD x IDMP other one * a 1", "\"1000-1\"");
    EXPECT(&rig, "XADD x IDMPAUTO p * a 1", "\"1000-2\"");
    EXPECT(&rig, "XADD x IDMPAUTO p MAXLEN 9 * a 1", "\"1000-2\"");
    EXPECT(&rig, "XADD x IDMPAUTO p * a 12", "\"1000-3\"");
    EXPECT(&rig, "XADD x IDMPAUTO p * a1 2", "\"1000-4\"");
    EXPECT(&rig, "XADD x IDMP p a1:a1:1 * b 1",
           "\"1000-5\""); /* an id of its own is no such text */
    EXPECT(&rig, "XLEN x", "6");
    EXPECT(&rig, "XINFO STREAM x",
           "[\"length\" 6 \"radix-tree-keys\" 1 \"radix-tree-nodes\" 2 \"last-generated-id\" "
           "\"1000-5\" "
           "\"max-deleted-entry-id\" \"0-0\" \"entries-added\" 6 \"recorded-first-entry-id\" "
           "\"1000-0\" "
           "\"idmp-duration\" 100 \"idmp-maxsize\" 100 \"pids-tracked\" 2 \"iids-tracked\" 6 "
           "\"iids-added\" 6 "
           "\"iids-duplicates\" 2 \"groups\" 0 \"first-entry\" [\"1000-0\" [\"a\" \"1\"]] "
           "\"last-entry\" [\"1000-5\" [\"b\" \"1\"]]]");
    EXPECT(&rig, "RENAME x y", "OK");
    EXPECT(&rig, "COPY y x", "1");
    EXPECT(&rig, "XADD y IDMP p one * a 2", "\"1000-0\"");
    EXPECT(&rig, "XADD x IDMP p one * a 2", "\"1000-0\"");
    EXPECT(&rig, "DEL y", "1");
    rig_pass(&rig, 100000);
    EXPECT(&rig, "XADD x IDMP p one * a 2", "\"1000-0\""); /* not before its time is past */
    rig_pass(&rig, 1);
    EXPECT(&rig, "XADD x IDMP p one * a 2", "\"101001-0\"");
    EXPECT(&rig, "XADD x IDMP p one * a 2", "\"101001-0\"");
    EXPECT(&rig, "SET x text", "OK");
    EXPECT(&rig, "GET x", "\"text\"");
    EXPECT(&rig, "DEL x", "1");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_stream8, no_more_is_remembered_of_a_producer_than_the_stream_says)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "XCFGSET x IDMP-MAXSIZE 2", "ERR no such key");
    EXPECT(&rig, "XADD x * a 1", "\"1000-0\"");
    EXPECT(&rig, "XCFGSET x", "ERR syntax error");
    EXPECT(&rig, "XCFGSET x IDMP-DURATION 0", "ERR invalid duration");
    EXPECT(&rig, "XCFGSET x IDMP-DURATION 86401", "ERR invalid duration");
    EXPECT(&rig, "XCFGSET x IDMP-MAXSIZE 10001", "ERR invalid maxsize");
    EXPECT(&rig, "XCFGSET x IDMP-MAXSIZE 2 IDMP-DURATION 10", "OK");
    EXPECT(&rig, "XADD x IDMP p 1 * a 1", "\"1000-1\"");
    EXPECT(&rig, "XADD x IDMP p 2 * a 1", "\"1000-2\"");
    EXPECT(&rig, "XADD x IDMP q 1 * a 1", "\"1000-3\"");
    EXPECT(&rig, "XADD x IDMP p 3 * a 1", "\"1000-4\"");
    EXPECT(&rig, "XADD x IDMP p 2 * a 1", "\"1000-2\"");
    EXPECT(&rig, "XADD x IDMP p 1 * a 1", "\"1000-5\""); /* it was the oldest */
    EXPECT(&rig, "XADD x IDMP q 1 * a 1", "\"1000-3\"");
    EXPECT(&rig, "XCFGSET x IDMP-DURATION 20", "OK"); /* clears them all */
    EXPECT(&rig, "XADD x IDMP q 1 * a 1", "\"1000-6\"");
    EXPECT(&rig, "XADD x IDMP p 1 5-5 a 1",
           "ERR IDMP/IDMPAUTO can be used only with auto-generated IDs");
    EXPECT(&rig, "XADD x IDMP p '' * a 1", "ERR producer id and idempotent id must not be empty");
    EXPECT(&rig, "XADD z NOMKSTREAM IDMP p 1 * a 1", "(nil)");
    for (int i = 0; i < 300; i++) { /* producers that never come again go with their time */
        char line[64];
        snprintf(line, sizeof line, "XADD x MAXLEN 5 IDMP p%d 1 * a 1", i);
        (void)rig_run(&rig, line);
        rig_pass(&rig, 1000);
    }
    struct store_object stream;
    const struct store_ref ref = {0, 0, SLICE("x")};
    cr_assert(store_key_find(rig.s.txn, &ref, &stream));
    cr_assert_leq(stream.stream.idmp.pids, 21);
    cr_assert_eq(stream.stream.idmp.pids, stream.stream.idmp.iids);
    EXPECT(&rig, "DEL x", "1");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}
