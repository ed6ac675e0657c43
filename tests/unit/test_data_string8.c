/* Strings on conditions, and numbers within bounds, as Redis 8's documentation has them. */
#include "data_rig.h"

Test(data_string8, set_compares_with_the_text_or_its_digest)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "SET k v IFEQ x", "(nil)"); /* not there: not made */
    EXPECT(&rig, "SET k one IFNE x", "OK");
    EXPECT(&rig, "SET k two IFEQ x", "(nil)");
    EXPECT(&rig, "SET k two IFEQ one EX 10", "OK");
    EXPECT(&rig, "TTL k", "10");
    EXPECT(&rig, "SET k three IFNE two GET", "\"two\"");
    EXPECT(&rig, "SET k three GET IFEQ two", "\"two\"");
    EXPECT(&rig, "GET k", "\"three\"");
    EXPECT(&rig, "SET h Hello", "OK");
    EXPECT(&rig, "APPEND h ''", "5");
    EXPECT(&rig, "DIGEST none", "(nil)");
    EXPECT(&rig, "SET e ''", "OK");
    EXPECT(&rig, "DIGEST e", "\"2d06800538d394c2\""); /* XXH3's of nothing */
    EXPECT(&rig, "SET e 1 IFDEQ 2D06800538D394C2", "OK");
    EXPECT(&rig, "SET e 2 IFDEQ 2d06800538d394c2", "(nil)");
    EXPECT(&rig, "SET e 2 IFDNE 2d06800538d394c2", "OK");
    EXPECT(&rig, "SET none 2 IFDEQ 2d06800538d394c2", "(nil)");
    EXPECT(&rig, "SET none 2 IFDNE 2d06800538d394c2", "OK");
    EXPECT(&rig, "SET k v IFDEQ 12", "ERR digest must be exactly 16 hexadecimal characters");
    EXPECT(&rig, "SET k v NX IFEQ x", "ERR syntax error");
    EXPECT(&rig, "SET k v IFEQ x XX", "ERR syntax error");
    EXPECT(&rig, "SET k v IFEQ x IFNE y", "ERR syntax error");
    EXPECT(&rig, "SET k v IFEQ", "ERR syntax error");
    EXPECT(&rig, "RPUSH l 1", "1");
    EXPECT(&rig, "SET l v IFEQ x",
           "WRONGTYPE Operation against a key holding the wrong kind of value");
    EXPECT(&rig, "DIGEST l", "WRONGTYPE Operation against a key holding the wrong kind of value");
    rig_fini(&rig);
}

Test(data_string8, the_digest_is_redis_digest)
{
    struct rig rig;
    rig_init(&rig);
    struct slice argv[] = {SLICE("SET"), SLICE("k"), SLICE("Hello world")};
    struct reply reply = {.out = &rig.out, .version = 2};
    struct data_call call = {.argc = 3, .argv = argv, .txn = rig.s.txn, .reply = &reply};
    data_set(&call);
    EXPECT(&rig, "DIGEST k", "\"b6acb9d84a38ff74\"");
    rig_fini(&rig);
}

Test(data_string8, delex_removes_what_is_as_told)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "DELEX none", "0");
    EXPECT(&rig, "DELEX none IFNE x", "0");
    EXPECT(&rig, "RPUSH l 1", "1");
    EXPECT(&rig, "DELEX l IFEQ 1",
           "WRONGTYPE Operation against a key holding the wrong kind of value");
    EXPECT(&rig, "DELEX l", "1");
    EXPECT(&rig, "SET k v", "OK");
    EXPECT(&rig, "DELEX k IFEQ x", "0");
    EXPECT(&rig, "DELEX k IFNE v", "0");
    EXPECT(&rig, "DELEX k IFDNE ffffffffffffffff", "1");
    EXPECT(&rig, "SET k v", "OK");
    EXPECT(&rig, "DELEX k IFEQ v x", "ERR syntax error");
    EXPECT(&rig, "DELEX k IFEQ", "ERR syntax error");
    rig.events.len = 0;
    EXPECT(&rig, "DELEX k IFEQ v", "1");
    EXPECT_EVENTS(&rig, "del k;");
    scratch_expect_empty(&rig.s);
    rig_fini(&rig);
}

Test(data_string8, msetex_writes_all_or_none)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "MSETEX 2 a 1 b 2 EX 10", "1");
    EXPECT(&rig, "TTL b", "10");
    EXPECT(&rig, "MSETEX 2 b 3 c 3 NX", "0");
    EXPECT(&rig, "MSETEX 2 b 3 c 3 XX", "0");
    EXPECT(&rig, "EXISTS c", "0");
    EXPECT(&rig, "MSETEX 2 a 5 b 6 KEEPTTL XX", "1");
    EXPECT(&rig, "MGET a b", "[\"5\" \"6\"]");
    EXPECT(&rig, "TTL a", "10");
    EXPECT(&rig, "MSETEX 1 a 7", "1");
    EXPECT(&rig, "TTL a", "-1");
    EXPECT(&rig, "MSETEX 0 a 7", "ERR invalid numkeys value");
    EXPECT(&rig, "MSETEX 2 a 7 b", "ERR wrong number of arguments for 'msetex' command");
    EXPECT(&rig, "MSETEX 1 a 7 NX XX", "ERR syntax error");
    EXPECT(&rig, "MSETEX 1 a 7 EX 1 KEEPTTL", "ERR syntax error");
    EXPECT(&rig, "MSETEX 1 a 7 EX 0", "ERR invalid expire time in 'msetex' command");
    rig_fini(&rig);
}

Test(data_string8, increx_keeps_within_bounds)
{
    struct rig rig;
    rig_init(&rig);
    EXPECT(&rig, "INCREX k", "[1 1]");
    EXPECT(&rig, "INCREX k BYINT 5", "[6 5]");
    EXPECT(&rig, "INCREX k BYINT -10", "[-4 -10]");
    EXPECT(&rig, "SET k 99 EX 100", "OK");
    EXPECT(&rig, "INCREX k BYINT 5 UBOUND 100 EX 7", "[99 0]");
    EXPECT(&rig, "TTL k", "100"); /* not touched */
    EXPECT(&rig, "INCREX k BYINT 5 UBOUND 100 SATURATE", "[100 1]");
    EXPECT(&rig, "INCREX k BYINT -500 LBOUND -3 SATURATE", "[-3 -103]");
    EXPECT(&rig, "INCREX k UBOUND -10 SATURATE", "[-10 -7]");
    EXPECT(&rig, "TTL k", "100");
    EXPECT(&rig, "INCREX k EX 5 ENX", "[-9 1]");
    EXPECT(&rig, "TTL k", "100");
    EXPECT(&rig, "INCREX k PERSIST", "[-8 1]");
    EXPECT(&rig, "TTL k", "-1");
    EXPECT(&rig, "INCREX k EX 5 ENX", "[-7 1]");
    EXPECT(&rig, "TTL k", "5");
    EXPECT(&rig, "SET k 9223372036854775807", "OK");
    EXPECT(&rig, "INCREX k", "[9223372036854775807 0]");
    EXPECT(&rig, "INCREX k SATURATE", "[9223372036854775807 0]");
    EXPECT(&rig, "INCREX k LBOUND -5 UBOUND -2 SATURATE",
           "ERR increment or decrement would overflow");
    EXPECT(&rig, "SET k 1.5", "OK");
    EXPECT(&rig, "INCREX k", "ERR value is not an integer or out of range");
    EXPECT(&rig, "INCREX k BYFLOAT 0.25", "[\"1.75\" \"0.25\"]");
    EXPECT(&rig, "INCREX k BYFLOAT 1 UBOUND 2", "[\"1.75\" \"0\"]");
    EXPECT(&rig, "INCREX k BYFLOAT 1 UBOUND 2 SATURATE", "[\"2\" \"0.25\"]");
    EXPECT(&rig, "INCREX k BYFLOAT inf", "ERR increment would produce NaN or Infinity");
    rig.version = 3;
    EXPECT(&rig, "INCREX k BYFLOAT 0.5", "[,2.5 ,0.5]");
    rig.version = 2;
    EXPECT(&rig, "INCREX k BYINT x", "ERR value is not an integer or out of range");
    EXPECT(&rig, "INCREX n BYINT 1 BYFLOAT 1", "ERR syntax error");
    EXPECT(&rig, "INCREX n ENX", "ERR syntax error");
    EXPECT(&rig, "INCREX n PERSIST ENX", "ERR syntax error");
    EXPECT(&rig, "INCREX n EX 1 PERSIST", "ERR syntax error");
    EXPECT(&rig, "INCREX n LBOUND 2 UBOUND 1", "ERR LBOUND must be less than or equal to UBOUND");
    EXPECT(&rig, "INCREX n UBOUND 0", "[0 0]");
    EXPECT(&rig, "EXISTS n", "0");
    rig_fini(&rig);
}
