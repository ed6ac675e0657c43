/* keys: apply a rule. */
#include "cmd/keys.h"

const char *const key_flag_word[KEY_FLAG_COUNT] = {
#define FLAG(name, word) word,
    KEY_FLAGS(FLAG)
#undef FLAG
};

/* The position at which the keys begin, or argc: the word is not there. Of a single key the last one counts (SORT ... STORE a
 * STORE b). */
static uint32_t find_begin(const struct key_rule *rule, const struct slice *argv, uint32_t argc)
{
    if (rule->word == NULL) { return rule->from; }
    uint32_t begin = argc;
    for (uint32_t i = rule->from; i < argc; i++) {
        if (!slice_equal_nocase(argv[i], slice_of_str(rule->word))) { continue; }
        begin = i + 1;
        if (rule->last != 0) { break; }
    }
    return begin;
}

static bool find_counted(const struct key_rule *rule, const struct slice *argv, uint32_t argc,
                         struct key_range *out)
{
    int64_t count;
    uint32_t left = (argc - out->first - 1) / rule->step;
    if (!slice_to_int64(argv[out->first], &count) || count < 0 || count > left) { return false; }
    out->first++;
    out->count = (uint32_t)count;
    return true;
}

bool key_rule_find(const struct key_rule *rule, const struct slice *argv, uint32_t argc,
                   struct key_range *out)
{
    *out = (struct key_range){.first = argc, .step = rule->step};
    if (rule->from == 0) { return true; }
    out->first = find_begin(rule, argv, argc);
    if (out->first >= argc) { return true; }
    if (rule->is_counted) { return find_counted(rule, argv, argc, out); }
    uint32_t end =
        rule->last >= 0 ? out->first + (uint32_t)rule->last + 1 : argc + 1 - (uint32_t)-rule->last;
    if (end > argc || end < out->first) { return false; }
    uint32_t parts = rule->last < 0 && rule->limit > 1 ? rule->limit : 1;
    uint32_t places = (end - out->first) / parts;
    out->count = (places + rule->step - 1) / rule->step;
    return true;
}
