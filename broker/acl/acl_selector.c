/* acl_selector: rules in, questions answered, rules out. */
#include "acl/acl_selector.h"

#include <string.h>

#include "base/mem.h"

static struct slice keep(struct slice text)
{
    return slice_of(mem_copy(text.data, text.len), text.len);
}

static void drop(struct slice text)
{
    mem_free((void *)(uintptr_t)text.data);
}

/* ---- patterns ---- */

static void patterns_clear(struct acl_patterns *patterns)
{
    for (uint32_t i = 0; i < patterns->count; i++) {
        glob_fini(&patterns->at[i].glob);
        drop(patterns->at[i].text);
    }
    mem_free(patterns->at);
    *patterns = (struct acl_patterns){0};
}

static void patterns_set_all(struct acl_patterns *patterns)
{
    patterns_clear(patterns);
    patterns->is_all = true;
}

static void patterns_add(struct acl_patterns *patterns, struct slice text, uint8_t access)
{
    for (uint32_t i = 0; i < patterns->count; i++) {
        if (slice_equal(patterns->at[i].text, text)) {
            patterns->at[i].access |= access;
            return;
        }
    }
    patterns->at = mem_resize(patterns->at, (patterns->count + 1) * sizeof *patterns->at);
    struct acl_pattern *pattern = &patterns->at[patterns->count++];
    *pattern = (struct acl_pattern){
        .text = keep(text), .prefix_len = glob_literal_prefix(text), .access = access};
    glob_init(&pattern->glob, pattern->text);
}

/* Most that do not match differ in their first bytes. */
static bool pattern_matches(const struct acl_pattern *pattern, struct slice word)
{
    return word.len >= pattern->prefix_len &&
           (pattern->prefix_len == 0 ||
            (word.data[0] == pattern->text.data[0] &&
             memcmp(word.data, pattern->text.data, pattern->prefix_len) == 0)) &&
           glob_matches(&pattern->glob, word);
}

static void patterns_copy(struct acl_patterns *to, const struct acl_patterns *from)
{
    *to = (struct acl_patterns){.is_all = from->is_all};
    for (uint32_t i = 0; i < from->count; i++) {
        patterns_add(to, from->at[i].text, from->at[i].access);
    }
}

/* ---- commands ---- */

static bool is_allowed(const struct acl_selector *selector, uint32_t command)
{
    return selector->allowed[command / 64] >> command % 64 & 1;
}

static void first_args_forget(struct acl_selector *selector, uint32_t command)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < selector->first_arg_count; i++) {
        if (selector->first_arg[i].command == command) {
            drop(selector->first_arg[i].arg);
        } else {
            selector->first_arg[left++] = selector->first_arg[i];
        }
    }
    selector->first_arg_count = left;
}

static void first_args_add(struct acl_selector *selector, uint32_t command, struct slice arg)
{
    for (uint32_t i = 0; i < selector->first_arg_count; i++) {
        const struct acl_first_arg *known = &selector->first_arg[i];
        if (known->command == command && slice_equal_nocase(known->arg, arg)) { return; }
    }
    selector->first_arg = mem_resize(selector->first_arg,
                                     (selector->first_arg_count + 1) * sizeof *selector->first_arg);
    selector->first_arg[selector->first_arg_count++] =
        (struct acl_first_arg){(uint16_t)command, keep(arg)};
}

static void allow_one(struct acl_selector *selector, uint32_t command, bool allows)
{
    uint64_t bit = UINT64_C(1) << command % 64;
    uint64_t *word = &selector->allowed[command / 64];
    *word = allows ? *word | bit : *word & ~bit;
    first_args_forget(selector, command);
}

/* With its subcommands. */
static void allow(struct acl_selector *selector, const struct acl_catalogue *catalogue,
                  uint32_t command, bool allows)
{
    allow_one(selector, command, allows);
    if (!catalogue->command[command].has_subcommands) { return; }
    for (uint32_t i = 0; i < catalogue->command_count; i++) {
        if (catalogue->command[i].container == command) { allow_one(selector, i, allows); }
    }
}

/* A command, or "command|subcommand"; command_count: there is none. */
static uint32_t find_command(const struct acl_catalogue *catalogue, struct slice name)
{
    uint32_t at = 0;
    while (at < catalogue->command_count &&
           !slice_equal_nocase(name, slice_of_str(catalogue->command[at].name))) {
        at++;
    }
    return at;
}

static uint32_t find_category(const struct acl_catalogue *catalogue, struct slice name)
{
    uint32_t at = 0;
    while (at < catalogue->category_count &&
           !slice_equal_nocase(name, slice_of_str(catalogue->category[at]))) {
        at++;
    }
    return at;
}

/* ---- the rules in words ---- */

static void rules_clear(struct acl_selector *selector)
{
    for (uint32_t i = 0; i < selector->rule_count; i++) {
        drop(selector->rule[i]);
    }
    mem_free(selector->rule);
    selector->rule = NULL;
    selector->rule_count = 0;
}

/* A later rule about the same, or about a whole command, takes the place of an earlier one about it or a part of it. */
static bool is_overruled(struct slice earlier, struct slice rule)
{
    struct slice was = slice_of(earlier.data + 1, earlier.len - 1);
    struct slice now = slice_of(rule.data + 1, rule.len - 1);
    return slice_equal(was, now) ||
           (was.len > now.len && slice_starts_with(was, now) && was.data[now.len] == '|');
}

static void rules_add(struct acl_selector *selector, struct slice rule)
{
    struct slice lower = keep(rule);
    for (size_t i = 0; i < lower.len; i++) {
        char c = lower.data[i];
        ((char *)(uintptr_t)lower.data)[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < selector->rule_count; i++) {
        if (is_overruled(selector->rule[i], lower)) {
            drop(selector->rule[i]);
        } else {
            selector->rule[left++] = selector->rule[i];
        }
    }
    selector->rule = mem_resize(selector->rule, (left + 1) * sizeof *selector->rule);
    selector->rule[left] = lower;
    selector->rule_count = left + 1;
}

/* ---- one rule ---- */

static void set_all_commands(struct acl_selector *selector, bool allows)
{
    memset(selector->allowed, allows ? 0xff : 0, sizeof selector->allowed);
    for (uint32_t i = 0; i < selector->first_arg_count; i++) {
        drop(selector->first_arg[i].arg);
    }
    selector->first_arg_count = 0;
    selector->has_all = allows;
    selector->began_full = allows;
    rules_clear(selector);
}

static enum acl_fault apply_category(struct acl_selector *selector,
                                     const struct acl_catalogue *catalogue, struct slice rule)
{
    bool allows = rule.data[0] == '+';
    struct slice name = slice_of(rule.data + 1, rule.len - 1);
    if (slice_equal_nocase(name, SLICE("@all"))) {
        set_all_commands(selector, allows);
        return ACL_FAULT_NONE;
    }
    uint32_t category = find_category(catalogue, name);
    if (category == catalogue->category_count) { return ACL_FAULT_UNKNOWN; }
    for (uint32_t i = 0; i < catalogue->command_count; i++) {
        if (catalogue->command[i].categories >> category & 1) { allow_one(selector, i, allows); }
    }
    selector->has_all = selector->has_all && allows;
    rules_add(selector, rule);
    return ACL_FAULT_NONE;
}

/* "+command|argument", of a command without subcommands. */
static enum acl_fault apply_first_arg(struct acl_selector *selector,
                                      const struct acl_catalogue *catalogue, struct slice rule,
                                      size_t bar)
{
    struct slice arg = slice_of(rule.data + bar + 1, rule.len - bar - 1);
    uint32_t command = find_command(catalogue, slice_of(rule.data + 1, bar - 1));
    if (command == catalogue->command_count) { return ACL_FAULT_UNKNOWN; }
    if (catalogue->command[command].container != ACL_NO_CONTAINER) { return ACL_FAULT_FIRST_ARG; }
    if (arg.len == 0) { return ACL_FAULT_SYNTAX; }
    if (rule.data[0] == '-' || catalogue->command[command].has_subcommands) {
        return ACL_FAULT_UNKNOWN;
    }
    if (!is_allowed(selector, command)) { first_args_add(selector, command, arg); }
    rules_add(selector, rule);
    return ACL_FAULT_NONE;
}

static enum acl_fault apply_command(struct acl_selector *selector,
                                    const struct acl_catalogue *catalogue, struct slice rule)
{
    if (rule.len < 2) { return ACL_FAULT_SYNTAX; }
    if (rule.data[1] == '@') { return apply_category(selector, catalogue, rule); }
    uint32_t command = find_command(catalogue, slice_of(rule.data + 1, rule.len - 1));
    if (command == catalogue->command_count) {
        const char *bar = memrchr(rule.data, '|', rule.len);
        return bar == NULL ? ACL_FAULT_UNKNOWN
                           : apply_first_arg(selector, catalogue, rule, (size_t)(bar - rule.data));
    }
    bool allows = rule.data[0] == '+';
    allow(selector, catalogue, command, allows);
    selector->has_all = selector->has_all && allows;
    rules_add(selector, rule);
    return ACL_FAULT_NONE;
}

static enum acl_fault add_key(struct acl_selector *selector, struct slice pattern, uint8_t access)
{
    if (selector->keys.is_all) { return ACL_FAULT_ALL_KEYS; }
    if (slice_equal(pattern, SLICE("*")) && access == (ACL_READS | ACL_WRITES)) {
        patterns_set_all(&selector->keys);
    } else {
        patterns_add(&selector->keys, pattern, access);
    }
    return ACL_FAULT_NONE;
}

/* "%R~pattern", "%W~", "%RW~". */
static enum acl_fault apply_access(struct acl_selector *selector, struct slice rule)
{
    uint8_t access = 0;
    size_t at = 1;
    for (; at < rule.len && rule.data[at] != '~'; at++) {
        char c = rule.data[at];
        uint8_t one = c == 'R' || c == 'r' ? ACL_READS : c == 'W' || c == 'w' ? ACL_WRITES : 0;
        if (one == 0 || access & one) { return ACL_FAULT_SYNTAX; }
        access |= one;
    }
    if (at == rule.len || access == 0) { return ACL_FAULT_SYNTAX; }
    return add_key(selector, slice_of(rule.data + at + 1, rule.len - at - 1), access);
}

static enum acl_fault add_channel(struct acl_selector *selector, struct slice pattern)
{
    if (selector->channels.is_all) { return ACL_FAULT_ALL_CHANNELS; }
    if (slice_equal(pattern, SLICE("*"))) {
        patterns_set_all(&selector->channels);
    } else {
        patterns_add(&selector->channels, pattern, 0);
    }
    return ACL_FAULT_NONE;
}

static bool has_blank(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == ' ' || (c >= '\t' && c <= '\r') || c == '\0') { return true; }
    }
    return false;
}

/* Rules that are a word. False: it is none of them. */
static bool apply_word(struct acl_selector *selector, struct slice rule)
{
    if (slice_equal_nocase(rule, SLICE("allcommands"))) {
        set_all_commands(selector, true);
    } else if (slice_equal_nocase(rule, SLICE("nocommands"))) {
        set_all_commands(selector, false);
    } else if (slice_equal_nocase(rule, SLICE("allkeys")) || slice_equal(rule, SLICE("~*"))) {
        patterns_set_all(&selector->keys);
    } else if (slice_equal_nocase(rule, SLICE("resetkeys"))) {
        patterns_clear(&selector->keys);
    } else if (slice_equal_nocase(rule, SLICE("allchannels")) || slice_equal(rule, SLICE("&*"))) {
        patterns_set_all(&selector->channels);
    } else if (slice_equal_nocase(rule, SLICE("resetchannels"))) {
        patterns_clear(&selector->channels);
    } else {
        return false;
    }
    return true;
}

enum acl_fault acl_selector_apply(struct acl_selector *selector,
                                  const struct acl_catalogue *catalogue, struct slice rule)
{
    if (rule.len == 0 || has_blank(rule)) { return ACL_FAULT_SYNTAX; }
    if (apply_word(selector, rule)) { return ACL_FAULT_NONE; }
    struct slice rest = slice_of(rule.data + 1, rule.len - 1);
    switch (rule.data[0]) {
    case '+':
    case '-': return apply_command(selector, catalogue, rule);
    case '~': return add_key(selector, rest, ACL_READS | ACL_WRITES);
    case '%': return apply_access(selector, rule);
    case '&': return add_channel(selector, rest);
    default: return ACL_FAULT_SYNTAX;
    }
}

/* ---- life ---- */

void acl_selector_copy(struct acl_selector *to, const struct acl_selector *from)
{
    *to = *from;
    to->rule = NULL;
    to->rule_count = 0;
    to->first_arg = NULL;
    to->first_arg_count = 0;
    for (uint32_t i = 0; i < from->rule_count; i++) {
        rules_add(to, from->rule[i]);
    }
    for (uint32_t i = 0; i < from->first_arg_count; i++) {
        first_args_add(to, from->first_arg[i].command, from->first_arg[i].arg);
    }
    patterns_copy(&to->keys, &from->keys);
    patterns_copy(&to->channels, &from->channels);
}

void acl_selector_fini(struct acl_selector *selector)
{
    set_all_commands(selector, false);
    mem_free(selector->first_arg);
    selector->first_arg = NULL;
    patterns_clear(&selector->keys);
    patterns_clear(&selector->channels);
}

/* ---- questions ---- */

static bool may_run(const struct acl_selector *selector, const struct acl_question *question)
{
    if (selector->has_all || is_allowed(selector, question->command)) { return true; }
    for (uint32_t i = 0; i < selector->first_arg_count && question->argc > 1; i++) {
        const struct acl_first_arg *one = &selector->first_arg[i];
        if (one->command == question->command && slice_equal_nocase(one->arg, question->argv[1])) {
            return true;
        }
    }
    return false;
}

/* One pattern has to allow all that is done with the key. */
static bool may_use_key(const struct acl_selector *selector, struct slice key, uint8_t access)
{
    for (uint32_t i = 0; i < selector->keys.count; i++) {
        const struct acl_pattern *pattern = &selector->keys.at[i];
        if ((pattern->access & access) == access && pattern_matches(pattern, key)) { return true; }
    }
    return selector->keys.is_all;
}

bool acl_selector_reads_all(const struct acl_selector *selector)
{
    for (uint32_t i = 0; i < selector->keys.count; i++) {
        const struct acl_pattern *pattern = &selector->keys.at[i];
        if (pattern->access & ACL_READS && slice_equal(pattern->text, SLICE("*"))) { return true; }
    }
    return selector->keys.is_all;
}

bool acl_selector_may_hear(const struct acl_selector *selector, struct slice channel,
                           bool is_pattern)
{
    if (selector->channels.is_all) { return true; }
    for (uint32_t i = 0; i < selector->channels.count; i++) {
        const struct acl_pattern *pattern = &selector->channels.at[i];
        if (is_pattern ? slice_equal(pattern->text, channel) : pattern_matches(pattern, channel)) {
            return true;
        }
    }
    return false;
}

enum acl_verdict acl_selector_may(const struct acl_selector *selector,
                                  const struct acl_question *question, uint32_t *at)
{
    *at = 0;
    if (!may_run(selector, question)) { return ACL_NO_COMMAND; }
    for (uint32_t i = 0; i < question->range_count; i++) {
        const struct acl_range *range = &question->range[i];
        if (range->is_channel ? selector->channels.is_all : selector->keys.is_all) { continue; }
        for (uint32_t j = 0; j < range->count; j++) {
            *at = range->first + j * range->step;
            struct slice word = question->argv[*at];
            if (range->is_channel && !acl_selector_may_hear(selector, word, range->is_pattern)) {
                return ACL_NO_CHANNEL;
            }
            if (!range->is_channel && !may_use_key(selector, word, range->access)) {
                return ACL_NO_KEY;
            }
        }
    }
    return ACL_ALLOWED;
}

/* ---- in words ---- */

static void print_word(struct buf *out, size_t begun, const char *head, struct slice text)
{
    if (out->len > begun) { buf_append(out, SLICE(" ")); }
    buf_append_str(out, head);
    buf_append(out, text);
}

void acl_selector_print_commands(const struct acl_selector *selector, struct buf *out)
{
    buf_append_str(out, selector->began_full ? "+@all" : "-@all");
    for (uint32_t i = 0; i < selector->rule_count; i++) {
        print_word(out, 0, "", selector->rule[i]);
    }
}

void acl_selector_print_keys(const struct acl_selector *selector, struct buf *out)
{
    static const char *const head[] = {"~", "%R~", "%W~", "~"};
    size_t begun = out->len;
    if (selector->keys.is_all) { buf_append(out, SLICE("~*")); }
    for (uint32_t i = 0; i < selector->keys.count; i++) {
        const struct acl_pattern *pattern = &selector->keys.at[i];
        print_word(out, begun, head[pattern->access], pattern->text);
    }
}

void acl_selector_print_channels(const struct acl_selector *selector, struct buf *out)
{
    size_t begun = out->len;
    if (selector->channels.is_all) { buf_append(out, SLICE("&*")); }
    for (uint32_t i = 0; i < selector->channels.count; i++) {
        print_word(out, begun, "&", selector->channels.at[i].text);
    }
}
