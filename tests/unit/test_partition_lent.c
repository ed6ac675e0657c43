/* lent: what was popped for a client that has gone goes back to the same end, with the same score. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "partition/lent.h"

enum { WORDS_MAX = 16, TEXT_BYTES = 256 };

/* The words of the write that undoes the call, with a blank behind each; "": there is none. */
static const char *undo_of(const char *text, const char *reply)
{
    static char shown[TEXT_BYTES];
    struct slice argv[WORDS_MAX];
    uint32_t argc = 0;
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, " ");
        argv[argc++] = slice_of(at, len);
        at += len + strspn(at + len, " ");
    }
    const struct partition_call call = {3, argc, argv};
    struct lent_words undo = {0};
    size_t len = 0;
    shown[0] = '\0';
    cr_expect_eq(lent_undo(lent_by(&call), slice_of_str(reply), &undo), undo.count > 0);
    for (uint32_t i = 0; i < undo.count; i++) {
        len += (size_t)snprintf(shown + len, sizeof shown - len, "%.*s ", SLICE_ARG(undo.word[i]));
    }
    lent_words_fini(&undo);
    return shown;
}

Test(lent, elements_go_back_to_their_end_in_their_order)
{
    cr_expect_str_eq(undo_of("BLPOP j k 0", "*2\r\n$1\r\nk\r\n$3\r\na\rb\r\n"), "LPUSH k a\rb ");
    cr_expect_str_eq(undo_of("brpop k 0", "*2\r\n$1\r\nk\r\n$0\r\n\r\n"), "RPUSH k  ");
    const char *three = "*2\r\n$1\r\nk\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    cr_expect_str_eq(undo_of("BLMPOP 0 2 j k LEFT COUNT 3", three), "LPUSH k c b a ");
    cr_expect_str_eq(undo_of("BLMPOP 0 1 k right COUNT 3", three), "RPUSH k c b a ");
}

Test(lent, members_keep_their_score_in_both_protocols)
{
    cr_expect_str_eq(undo_of("BZPOPMIN k 0", "*3\r\n$1\r\nk\r\n$1\r\na\r\n$3\r\n1.5\r\n"),
                     "ZADD k 1.5 a ");
    cr_expect_str_eq(undo_of("BZPOPMAX k 0", "*3\r\n$1\r\nk\r\n$1\r\na\r\n,1.5\r\n"),
                     "ZADD k 1.5 a ");
    cr_expect_str_eq(
        undo_of("BZMPOP 0 1 k MIN",
                "*2\r\n$1\r\nk\r\n*2\r\n*2\r\n$1\r\na\r\n,-inf\r\n*2\r\n$1\r\nb\r\n,2\r\n"),
        "ZADD k -inf a 2 b ");
}

Test(lent, what_took_nothing_or_loses_nothing_is_not_undone)
{
    cr_expect_str_eq(undo_of("BLPOP k 0", "*-1\r\n"), "");
    cr_expect_str_eq(undo_of("BLPOP k 0", "_\r\n"), "");
    cr_expect_str_eq(undo_of("BLPOP k 0", "-WRONGTYPE no\r\n"), "");
    cr_expect_str_eq(undo_of("BLMOVE k l LEFT LEFT 0", "$1\r\na\r\n"), "");
    cr_expect_str_eq(undo_of("XREADGROUP GROUP g c BLOCK 0 STREAMS k >", "*1\r\n$1\r\na\r\n"), "");
}
