/* Where keys stand: the rules of the table, and those of commands that are to come. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "cmd/keys.h"

enum { WORDS_MAX = 16, TEXT_BYTES = 128 };

static uint32_t split(const char *text, struct slice *argv)
{
    uint32_t argc = 0;
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, " ");
        cr_assert_lt(argc, WORDS_MAX);
        argv[argc++] = slice_of(at, len);
        at += len + strspn(at + len, " ");
    }
    return argc;
}

/* The keys that the rules find, with a blank behind each; "?": the arguments do not fit. */
static const char *keys_of(const struct key_rule *rules, const char *text, char *out)
{
    struct slice argv[WORDS_MAX];
    uint32_t argc = split(text, argv);
    size_t len = 0;
    out[0] = '\0';
    for (unsigned r = 0; r < KEY_RULES; r++) {
        struct key_range range;
        if (!key_rule_find(&rules[r], argv, argc, &range)) { return "?"; }
        for (uint32_t i = 0; i < range.count; i++) {
            struct slice key = argv[range.first + i * range.step];
            len += (size_t)snprintf(out + len, TEXT_BYTES - len, "%.*s ", SLICE_ARG(key));
        }
    }
    return out;
}

static const struct key_rule get[KEY_RULES] = {{.from = 1, .step = 1}};
static const struct key_rule mset[KEY_RULES] = {{.from = 1, .last = -1, .step = 2}};
static const struct key_rule blpop[KEY_RULES] = {{.from = 1, .last = -2, .step = 1}};
static const struct key_rule eval[KEY_RULES] = {{.from = 2, .is_counted = true, .step = 1}};
static const struct key_rule sort[KEY_RULES] = {{.from = 1, .step = 1},
                                                {.word = "STORE", .from = 2, .step = 1}};
static const struct key_rule xread[KEY_RULES] = {
    {.word = "STREAMS", .from = 1, .last = -1, .step = 1, .limit = 2}};
static const struct key_rule zunionstore[KEY_RULES] = {{.from = 1, .step = 1},
                                                       {.from = 2, .is_counted = true, .step = 1}};

Test(keys, are_found_wherever_a_command_of_redis_has_them)
{
    static const struct {
        const struct key_rule *rules;
        const char *text;
        const char *keys;
    } rows[] = {
        {get, "get a", "a "},
        {mset, "mset a 1 b 2", "a b "},
        {mset, "mset a 1 b", "a b "}, /* the command refuses it */
        {blpop, "blpop a b 0", "a b "},
        {eval, "eval script 0", ""},
        {eval, "eval script 0 arg", ""},
        {eval, "eval script 2 a b arg", "a b "},
        {sort, "sort a", "a "},
        {sort, "sort a limit 0 1 store b", "a b "},
        {sort, "sort a store", "a "},
        {sort, "sort a store b desc store c", "a c "},
        {sort, "sort store", "store "},
        {xread, "xread count 1 streams a b 0 0", "a b "},
        {xread, "xread block 0 Streams a 0", "a "},
        {xread, "xread count 1", ""},
        {zunionstore, "zunionstore d 2 a b weights 1 2", "d a b "},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[TEXT_BYTES];
        cr_assert_str_eq(keys_of(rows[i].rules, rows[i].text, text), rows[i].keys, "%s",
                         rows[i].text);
    }
}

Test(keys, a_number_of_keys_that_is_not_there_fits_no_arguments)
{
    static const char *const rows[] = {
        "eval s 1",   "eval s 2 a",          "eval s -1 a",
        "eval s x a", "eval s 4294967297 a", "eval s 9223372036854775807 a"};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[TEXT_BYTES];
        cr_assert_str_eq(keys_of(eval, rows[i], text), "?", "%s", rows[i]);
    }
    char text[TEXT_BYTES];
    cr_assert_str_eq(keys_of(blpop, "blpop 0", text), "", "no key, and none before the start");
}
