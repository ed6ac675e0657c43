/* keys: where a command's keys stand among its arguments, or the shard channels that stand where keys would.
 * A rule is data in the command's row; two of them are enough for every command of Redis (SORT has its key, and
 * the one behind STORE). Thread: any. */
#ifndef FANFARE_CMD_KEYS_H
#define FANFARE_CMD_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

enum { KEY_RULES = 3 };

/* FLAG(name, word): what a command does with the keys of a rule, in Redis's words. */
#define KEY_FLAGS(FLAG)                                                  \
    FLAG(RO, "RO")                                                       \
    FLAG(RW, "RW")                                                       \
    FLAG(OW, "OW")                                                       \
    FLAG(RM, "RM")                                                       \
    FLAG(ACCESS, "access")                                               \
    FLAG(UPDATE, "update")                                               \
    FLAG(INSERT, "insert")                                               \
    FLAG(DELETE, "delete")                                               \
    FLAG(NOT_KEY, "not_key") /* a channel, given where a key would be */ \
    FLAG(VARIES, "variable_flags")

enum key_flag_at {
#define FLAG(name, word) KEY_FLAG_AT_##name,
    KEY_FLAGS(FLAG)
#undef FLAG
        KEY_FLAG_COUNT
};

enum key_flag {
#define FLAG(name, word) KEY_##name = 1 << KEY_FLAG_AT_##name,
    KEY_FLAGS(FLAG)
#undef FLAG
};
extern const char *const key_flag_word[KEY_FLAG_COUNT];

struct key_rule {
    const char *
        word; /* keys begin behind this word, at `from` or later (XREAD: STREAMS); NULL: at `from` */
    uint8_t from;    /* a position in argv; 0: there is no such rule */
    bool is_counted; /* what stands there is no key, but says how many follow (EVAL) */
    int8_t
        last; /* of the others: the last one, counted from the first; below 0: from the end of argv */
    uint8_t step;
    uint8_t limit;  /* with a last one below 0: keys are one part of so many (XREAD: 2); 0: all */
    uint16_t flags; /* enum key_flag, or-ed */
};

/* Keys in argv: first, first + step, ... */
struct key_range {
    uint32_t first;
    uint32_t step;
    uint32_t count; /* 0: none */
};

/* Apply a rule to arguments whose number fits the command. False: they do not fit the rule. */
MUST_USE bool key_rule_find(const struct key_rule *rule, const struct slice *argv, uint32_t argc,
                            struct key_range *out);

#endif
