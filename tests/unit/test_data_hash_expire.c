/* Deadlines of fields: what the commands answer, and who sees a field when. Expectations are those of Redis 8's
 * documentation. */
#include "data_rig.h"

Test(data_hash_expire, a_deadline_is_set_on_conditions_and_told)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "HEXPIRE none 10 FIELDS 2 a b", "[-2 -2]");
    EXPECT(&rig, "HTTL none FIELDS 1 a", "[-2]");
    EXPECT(&rig, "HSET h a 1 b 2 c 3", "3");
    EXPECT(&rig, "HEXPIRE h 10 FIELDS 3 a b x", "[1 1 -2]");
    EXPECT(&rig, "HTTL h FIELDS 4 a b c x", "[10 10 -1 -2]");
    EXPECT(&rig, "HPTTL h FIELDS 1 a", "[10000]");
    EXPECT(&rig, "HEXPIRETIME h FIELDS 1 a", "[11]");
    EXPECT(&rig, "HPEXPIRETIME h FIELDS 1 a", "[11000]");
    EXPECT(&rig, "HEXPIRE h 20 NX FIELDS 2 a c", "[0 1]");
    EXPECT(&rig, "HEXPIRE h 30 XX FIELDS 2 a b", "[1 1]");
    EXPECT(&rig, "HEXPIRE h 20 GT FIELDS 2 a c", "[0 0]");
    EXPECT(&rig, "HEXPIRE h 40 gt FIELDS 1 a", "[1]");
    EXPECT(&rig, "HEXPIRE h 50 LT FIELDS 1 a", "[0]");
    EXPECT(&rig, "HPEXPIREAT h 6000 LT FIELDS 1 a", "[1]");
    EXPECT(&rig, "HPERSIST h FIELDS 3 a x b", "[1 -2 1]");
    EXPECT(&rig, "HPERSIST h FIELDS 1 a", "[-1]");
    EXPECT(&rig, "HEXPIRE h 5 GT FIELDS 1 a", "[0]");
    EXPECT(&rig, "HEXPIRE h 5 LT FIELDS 1 a", "[1]");
    rig_fini(&rig);
}

Test(data_hash_expire, mistakes_are_told_in_redis_words)
{
    struct rig rig;
    rig_init(&rig);
    const char *const fields =
        "ERR Mandatory argument FIELDS is missing or not at the right position";
    const char *const count = "ERR The `numfields` parameter must match the number of arguments";
    const char *const wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
    EXPECT(&rig, "SET s 1", "OK");
    EXPECT(&rig, "HSET h a 1", "1");
    EXPECT(&rig, "HEXPIRE s 1 FIELDS 1 a", wrong);
    EXPECT(&rig, "HTTL s FIELDS 1 a", wrong);
    EXPECT(&rig, "HSETEX s FIELDS 1 a 1", wrong);
    EXPECT(&rig, "HEXPIRE h 1 FIELD 1 a", fields);
    EXPECT(&rig, "HEXPIRE h 1 NX XX FIELDS 1 a", fields);
    EXPECT(&rig, "HTTL h a 1 a", fields);
    EXPECT(&rig, "HEXPIRE h 1 FIELDS 2 a", count);
    EXPECT(&rig, "HEXPIRE h 1 FIELDS 1 a b", count);
    EXPECT(&rig, "HGETDEL h FIELDS 2 a", count);
    EXPECT(&rig, "HEXPIRE h 1 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0");
    EXPECT(&rig, "HPERSIST h FIELDS x a", "ERR Number of fields must be a positive integer");
    EXPECT(&rig, "HEXPIRE h x FIELDS 1 a", "ERR value is not an integer or out of range");
    EXPECT(&rig, "HEXPIRE h -1 FIELDS 1 a", "ERR invalid expire time, must be >= 0");
    EXPECT(&rig, "HEXPIRE h 9223372036854775807 FIELDS 1 a",
           "ERR invalid expire time in 'hexpire' command");
    EXPECT(&rig, "HPEXPIREAT h 70368744177664 FIELDS 1 a",
           "ERR invalid expire time in 'hpexpireat' command");
    EXPECT(&rig, "HGETEX h EX 0 FIELDS 1 a", "ERR invalid expire time in 'hgetex' command");
    EXPECT(&rig, "HGETEX h EX 1 PERSIST FIELDS 1 a",
           "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified");
    EXPECT(&rig, "HSETEX h EX 1 KEEPTTL FIELDS 1 a 1",
           "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
    EXPECT(&rig, "HSETEX h FNX FXX FIELDS 1 a 1",
           "ERR Only one of FXX or FNX arguments can be specified");
    EXPECT(&rig, "HSETEX h NX FIELDS 1 a 1", "ERR unknown argument: NX");
    EXPECT(&rig, "HSETEX h FIELDS 0 a 1", "ERR invalid number of fields");
    EXPECT(&rig, "HSETEX h FIELDS 2 a 1", "ERR wrong number of arguments");
    EXPECT(&rig, "HSETEX h FIELDS 1 a 1 b", "ERR wrong number of arguments");
    EXPECT(&rig, "HSETEX h FIELDS 1 a", "ERR wrong number of arguments for 'hsetex' command");
    EXPECT(&rig, "HGETALL h", "[\"a\" \"1\"]");
    rig_fini(&rig);
}

Test(data_hash_expire, nobody_sees_a_field_past_its_deadline_and_its_removal_is_told)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "HSET h a 1 b 2 c 3", "3");
    EXPECT(&rig, "HPEXPIRE h 500 FIELDS 2 a b", "[1 1]");
    EXPECT(&rig, "RPUSH l 1", "1");
    rig_pass(&rig, 500); /* not before its deadline is past */
    EXPECT(&rig, "HGET h a", "\"1\"");
    EXPECT_EVENTS(&rig, "hset h;hexpire h;rpush l;");
    rig_expire(&rig);
    EXPECT_EVENTS(&rig, "");
    rig_pass(&rig, 1);
    EXPECT(&rig, "HGET h a", "(nil)");
    EXPECT(&rig, "HMGET h a b c", "[(nil) (nil) \"3\"]");
    EXPECT(&rig, "HLEN h", "1");
    EXPECT(&rig, "HGETALL h", "[\"c\" \"3\"]");
    EXPECT(&rig, "HKEYS h", "[\"c\"]");
    EXPECT(&rig, "HEXISTS h b", "0");
    EXPECT(&rig, "HSTRLEN h b", "0");
    EXPECT(&rig, "HRANDFIELD h 5", "[\"c\"]");
    EXPECT(&rig, "HSCAN h 0", "[\"0\" [\"c\" \"3\"]]");
    EXPECT(&rig, "HTTL h FIELDS 2 a c", "[-2 -1]");
    EXPECT(&rig, "SORT_RO l BY nosort GET h->a", "[(nil)]");
    EXPECT(&rig, "HDEL h a", "0");
    EXPECT(&rig, "HSETNX h a new", "1");
    EXPECT(&rig, "HLEN h", "2");
    EXPECT(&rig, "HTTL h FIELDS 1 a", "[-1]");
    EXPECT_EVENTS(&rig, "hset h;");
    rig_expire(&rig);
    EXPECT_EVENTS(&rig, "hexpired h;");
    EXPECT(&rig, "HMGET h a b c", "[\"new\" (nil) \"3\"]");
    EXPECT(&rig, "HPEXPIRE h 1 FIELDS 2 a c", "[1 1]");
    rig_pass(&rig, 2);
    EXPECT(&rig, "EXISTS h", "0");
    EXPECT(&rig, "SCAN 0", "[\"0\" [\"l\"]]");
    EXPECT_EVENTS(&rig, "hexpire h;");
    rig_expire(&rig);
    EXPECT_EVENTS(&rig, "hexpired+del h;");
    EXPECT(&rig, "DEL l", "1");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_hash_expire, what_overwrites_a_field_ends_its_deadline_and_what_changes_it_does_not)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "HSET h a 1 b 2 c 3", "3");
    EXPECT(&rig, "HEXPIRE h 10 FIELDS 3 a b c", "[1 1 1]");
    EXPECT(&rig, "OBJECT ENCODING h", "\"listpackex\"");
    EXPECT(&rig, "HSET h a 5", "0");
    EXPECT(&rig, "HINCRBY h b 5", "7");
    EXPECT(&rig, "HINCRBYFLOAT h c 0.5", "\"3.5\"");
    EXPECT(&rig, "HTTL h FIELDS 3 a b c", "[-1 10 10]");
    EXPECT(&rig, "HDEL h b", "1");
    EXPECT(&rig, "HSET h b again", "1");
    EXPECT(&rig, "HTTL h FIELDS 1 b", "[-1]");
    EXPECT(&rig, "RENAME h g", "OK");
    EXPECT(&rig, "COPY g h", "1");
    EXPECT(&rig, "HTTL g FIELDS 1 c", "[10]");
    EXPECT(&rig, "HTTL h FIELDS 1 c", "[10]");
    rig_pass(&rig, 10001);
    EXPECT(&rig, "HLEN g", "2");
    EXPECT(&rig, "HLEN h", "2");
    rig.events.len = 0;
    rig_expire(&rig);
    EXPECT_EVENTS(&rig, "hexpired g;hexpired h;");
    EXPECT(&rig, "HEXPIRE g 1 FIELDS 1 a", "[1]");
    EXPECT(&rig, "SET g text", "OK");
    rig_pass(&rig, 2000);
    rig_expire(&rig);
    EXPECT(&rig, "GET g", "\"text\"");
    EXPECT(&rig, "DEL g h", "2");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_hash_expire, a_deadline_that_is_past_removes_the_field_at_once)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "HSET h a 1 b 2 c 3", "3");
    EXPECT(&rig, "HEXPIRE h 0 FIELDS 2 a x", "[2 -2]");
    EXPECT(&rig, "HPEXPIREAT h 900 FIELDS 1 b", "[2]");
    EXPECT(&rig, "HGETEX h PXAT 900 FIELDS 1 c", "[\"3\"]");
    EXPECT(&rig, "EXISTS h", "0");
    EXPECT_EVENTS(&rig, "hset h;hdel h;hdel h;hdel h;del h;");
    EXPECT(&rig, "HSETEX h PXAT 900 FIELDS 1 a 1", "1");
    EXPECT(&rig, "EXISTS h", "0");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_hash_expire, hgetex_hsetex_and_hgetdel_do_both_at_once)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "HSETEX h EX 60 FIELDS 2 a Hello b World", "1");
    EXPECT(&rig, "HTTL h FIELDS 2 a b", "[60 60]");
    EXPECT(&rig, "HSETEX h FNX EX 60 FIELDS 2 a x c y", "0");
    EXPECT(&rig, "HSETEX h FXX KEEPTTL FIELDS 2 a hello b world", "1");
    EXPECT(&rig, "HTTL h FIELDS 2 a b", "[60 60]");
    EXPECT(&rig, "HSETEX h FXX FIELDS 2 a x c y", "0");
    EXPECT(&rig, "HGETEX h FIELDS 1 a", "[\"hello\"]");
    EXPECT(&rig, "HGETEX h FIELDS 2 a x EX 100", "[\"hello\" (nil)]");
    EXPECT(&rig, "HTTL h FIELDS 2 a b", "[100 60]");
    EXPECT(&rig, "HGETEX h PERSIST FIELDS 1 a", "[\"hello\"]");
    EXPECT(&rig, "HSETEX h FIELDS 1 b plain", "1");
    EXPECT(&rig, "HTTL h FIELDS 2 a b", "[-1 -1]");
    EXPECT_EVENTS(&rig, "hset h;hexpire h;hset h;hexpire h;hpersist h;hset h;");
    EXPECT(&rig, "HGETDEL h FIELDS 2 b x", "[\"plain\" (nil)]");
    EXPECT(&rig, "HGETDEL h FIELDS 1 a", "[\"hello\"]");
    EXPECT_EVENTS(&rig, "hdel h;hdel h;del h;");
    EXPECT(&rig, "HGETEX h EX 1 FIELDS 1 a", "[(nil)]");
    EXPECT(&rig, "HGETDEL h FIELDS 1 a", "[(nil)]");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}
