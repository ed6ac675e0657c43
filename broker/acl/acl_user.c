/* acl_user: flags, passwords and selectors of a user; the grammar of rules. */
#include "acl/acl_user.h"

#include <stdatomic.h>
#include <string.h>

#include "acl/acl_password.h"
#include "acl/acl_selector.h"
#include "base/mem.h"

enum user_flag { USER_ON = 1 << 0, USER_NOPASS = 1 << 1, USER_SKIPS_SANITIZE = 1 << 2 };

struct hash {
    char hex[ACL_HASH_HEX + 1];
};

struct acl_user {
    atomic_uint refs;
    const struct acl_catalogue *catalogue;
    struct slice name; /* owned */
    uint32_t flags;
    struct hash *password;
    uint32_t password_count;
    struct acl_selector *selector; /* the first is the user's own */
    uint32_t selector_count;
    bool hears_all_anew; /* all channels, after `reset` */
};

static const char *const fault_text[ACL_FAULTS] = {
    [ACL_FAULT_NONE] = "",
    [ACL_FAULT_UNKNOWN] = "Unknown command or category name in ACL",
    [ACL_FAULT_SYNTAX] = "Syntax error",
    [ACL_FAULT_ALL_KEYS] =
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not "
        "have any effect. Try 'resetkeys' to start with an empty list of patterns",
    [ACL_FAULT_ALL_CHANNELS] =
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does "
        "not have any effect. Try 'resetchannels' to start with an empty list of channels",
    [ACL_FAULT_NO_PASSWORD] = "The password you are trying to remove from the user does not exist",
    [ACL_FAULT_HASH] = "The password hash must be exactly 64 characters and contain only "
                       "lowercase hexadecimal characters",
    [ACL_FAULT_FIRST_ARG] = "Allowing first-arg of a subcommand is not supported",
};

/* ---- life ---- */

static struct acl_user *user_new(const struct acl_catalogue *catalogue, struct slice name,
                                 uint32_t selectors)
{
    struct acl_user *user = mem_new0(sizeof *user);
    atomic_init(&user->refs, 1);
    user->catalogue = catalogue;
    user->name = slice_of(mem_copy(name.data, name.len), name.len);
    user->selector = mem_new0(selectors * sizeof *user->selector);
    user->selector_count = selectors;
    return user;
}

struct acl_user *acl_user_new(const struct acl_catalogue *catalogue, struct slice name)
{
    CHECK(catalogue->command_count <= ACL_COMMANDS_MAX);
    return user_new(catalogue, name, 1);
}

struct acl_user *acl_user_copy(const struct acl_user *user)
{
    struct acl_user *copy = user_new(user->catalogue, user->name, user->selector_count);
    copy->flags = user->flags;
    copy->hears_all_anew = user->hears_all_anew;
    copy->password = mem_copy(user->password, user->password_count * sizeof *user->password);
    copy->password_count = user->password_count;
    for (uint32_t i = 0; i < user->selector_count; i++) {
        acl_selector_copy(&copy->selector[i], &user->selector[i]);
    }
    return copy;
}

struct acl_user *acl_user_ref(struct acl_user *user)
{
    atomic_fetch_add_explicit(&user->refs, 1, memory_order_relaxed);
    return user;
}

void acl_user_unref(struct acl_user *user)
{
    if (user == NULL || atomic_fetch_sub_explicit(&user->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (uint32_t i = 0; i < user->selector_count; i++) {
        acl_selector_fini(&user->selector[i]);
    }
    mem_free(user->selector);
    mem_free(user->password);
    mem_free((void *)(uintptr_t)user->name.data);
    mem_free(user);
}

/* ---- passwords ---- */

/* Looks at all of them: the time tells nothing about which one it is. */
static uint32_t find_password(const struct acl_user *user, const char *hex)
{
    uint32_t found = user->password_count;
    for (uint32_t i = 0; i < user->password_count; i++) {
        if (acl_password_equal(user->password[i].hex, hex)) { found = i; }
    }
    return found;
}

static void add_password(struct acl_user *user, const char *hex)
{
    user->flags &= ~(uint32_t)USER_NOPASS;
    if (find_password(user, hex) < user->password_count) { return; }
    user->password =
        mem_resize(user->password, (user->password_count + 1) * sizeof *user->password);
    memcpy(user->password[user->password_count++].hex, hex, ACL_HASH_HEX + 1);
}

static enum acl_fault remove_password(struct acl_user *user, const char *hex)
{
    uint32_t at = find_password(user, hex);
    if (at == user->password_count) { return ACL_FAULT_NO_PASSWORD; }
    user->password_count--;
    memmove(&user->password[at], &user->password[at + 1],
            (user->password_count - at) * sizeof *user->password);
    return ACL_FAULT_NONE;
}

static bool is_hash(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) { return false; }
    }
    return text.len == ACL_HASH_HEX;
}

/* ">password" "<password" "#hash" "!hash" */
static enum acl_fault apply_password(struct acl_user *user, struct slice rule)
{
    char hex[ACL_HASH_HEX + 1];
    struct slice rest = slice_of(rule.data + 1, rule.len - 1);
    if (rule.data[0] == '>' || rule.data[0] == '<') {
        acl_password_hash(rest, hex);
    } else if (is_hash(rest)) {
        memcpy(hex, rest.data, ACL_HASH_HEX);
        hex[ACL_HASH_HEX] = '\0';
    } else {
        return ACL_FAULT_HASH;
    }
    if (rule.data[0] == '<' || rule.data[0] == '!') { return remove_password(user, hex); }
    add_password(user, hex);
    return ACL_FAULT_NONE;
}

bool acl_user_knows(const struct acl_user *user, struct slice password)
{
    char hex[ACL_HASH_HEX + 1];
    acl_password_hash(password, hex);
    return user->flags & USER_NOPASS || find_password(user, hex) < user->password_count;
}

/* ---- one rule ---- */

static void clear_selectors(struct acl_user *user)
{
    while (user->selector_count > 1) {
        acl_selector_fini(&user->selector[--user->selector_count]);
    }
}

static void reset(struct acl_user *user)
{
    clear_selectors(user);
    acl_selector_fini(&user->selector[0]);
    user->selector[0] = (struct acl_selector){0};
    user->selector[0].channels.is_all = user->hears_all_anew;
    user->flags = 0;
    user->password_count = 0;
}

void acl_user_hear_all_anew(struct acl_user *user, bool hears_all)
{
    user->hears_all_anew = hears_all;
}

/* Rules that are a word about the user. False: it is none of them. */
static bool apply_word(struct acl_user *user, struct slice rule)
{
    if (slice_equal_nocase(rule, SLICE("on"))) {
        user->flags |= USER_ON;
    } else if (slice_equal_nocase(rule, SLICE("off"))) {
        user->flags &= ~(uint32_t)USER_ON;
    } else if (slice_equal_nocase(rule, SLICE("nopass"))) {
        user->flags |= USER_NOPASS;
        user->password_count = 0;
    } else if (slice_equal_nocase(rule, SLICE("resetpass"))) {
        user->flags &= ~(uint32_t)USER_NOPASS;
        user->password_count = 0;
    } else if (slice_equal_nocase(rule, SLICE("skip-sanitize-payload"))) {
        user->flags |= USER_SKIPS_SANITIZE;
    } else if (slice_equal_nocase(rule, SLICE("sanitize-payload"))) {
        user->flags &= ~(uint32_t)USER_SKIPS_SANITIZE;
    } else if (slice_equal_nocase(rule, SLICE("clearselectors"))) {
        clear_selectors(user);
    } else if (slice_equal_nocase(rule, SLICE("reset"))) {
        reset(user);
    } else {
        return false;
    }
    return true;
}

/* The next word of a line. False: there is none. */
static bool next_word(struct slice *line, struct slice *word)
{
    while (line->len > 0 && line->data[0] == ' ') {
        *line = slice_of(line->data + 1, line->len - 1);
    }
    const char *blank = memchr(line->data, ' ', line->len);
    size_t len = blank == NULL ? line->len : (size_t)(blank - line->data);
    *word = slice_of(line->data, len);
    *line = slice_of(line->data + len, line->len - len);
    return len > 0;
}

/* "(rule rule ...)" */
static enum acl_fault apply_selector(struct acl_user *user, struct slice rule)
{
    struct acl_selector selector = {0};
    struct slice rest = slice_of(rule.data + 1, rule.len - 2);
    struct slice word;
    enum acl_fault fault = ACL_FAULT_NONE;
    while (fault == ACL_FAULT_NONE && next_word(&rest, &word)) {
        fault = acl_selector_apply(&selector, user->catalogue, word);
    }
    if (fault != ACL_FAULT_NONE) {
        acl_selector_fini(&selector);
        return fault;
    }
    user->selector =
        mem_resize(user->selector, (user->selector_count + 1) * sizeof *user->selector);
    user->selector[user->selector_count++] = selector;
    return ACL_FAULT_NONE;
}

static enum acl_fault apply(struct acl_user *user, struct slice rule)
{
    if (rule.len == 0) { return ACL_FAULT_SYNTAX; }
    if (apply_word(user, rule)) { return ACL_FAULT_NONE; }
    if (memchr("><#!", rule.data[0], 4) != NULL) { return apply_password(user, rule); }
    if (rule.data[0] == '(') { return apply_selector(user, rule); }
    return acl_selector_apply(&user->selector[0], user->catalogue, rule);
}

/* What is in brackets may have come in several words. False: the bracket is not closed. */
static bool join(const struct slice *rule, uint32_t count, uint32_t *at, struct buf *joined)
{
    joined->len = 0;
    for (uint32_t i = *at; i < count; i++) {
        if (i > *at) { buf_append(joined, SLICE(" ")); }
        buf_append(joined, rule[i]);
        if (rule[i].len > 0 && rule[i].data[rule[i].len - 1] == ')') {
            *at = i;
            return true;
        }
    }
    return false;
}

/* A password is not shown, nor is a hash. */
static void say_fault(struct buf *why, struct slice rule, enum acl_fault fault)
{
    buf_append(why, SLICE("Error in ACL SETUSER modifier '"));
    if (rule.len > 0 && memchr("><#!", rule.data[0], 4) != NULL) {
        buf_append(why, slice_of(rule.data, 1));
        buf_append(why, SLICE("(redacted)"));
    } else {
        buf_append(why, slice_of(rule.data, rule.len < 256 ? rule.len : 256));
    }
    buf_append(why, SLICE("': "));
    buf_append_str(why, fault_text[fault]);
}

static bool is_too_large(const struct acl_user *user, struct buf *why)
{
    struct buf text = {0};
    acl_user_print(user, &text);
    bool is_too = text.len > ACL_USER_BYTES_MAX;
    buf_fini(&text);
    if (is_too) { buf_appendf(why, "the user's rules exceed %d bytes", ACL_USER_BYTES_MAX); }
    return is_too;
}

bool acl_user_apply(struct acl_user *user, const struct slice *rule, uint32_t count,
                    struct buf *why)
{
    struct buf joined = {0};
    enum acl_fault fault = ACL_FAULT_NONE;
    for (uint32_t i = 0; i < count && fault == ACL_FAULT_NONE; i++) {
        struct slice one = rule[i];
        if (one.len > 0 && one.data[0] == '(') {
            if (!join(rule, count, &i, &joined)) {
                buf_append(why, SLICE("Unmatched parenthesis in acl selector starting at '"));
                buf_append(why, slice_of(one.data, one.len < 256 ? one.len : 256));
                buf_append(why, SLICE("'."));
                buf_fini(&joined);
                return false;
            }
            one = buf_slice(&joined);
        }
        fault = apply(user, one);
        if (fault != ACL_FAULT_NONE) { say_fault(why, one, fault); }
    }
    buf_fini(&joined);
    return fault == ACL_FAULT_NONE && !is_too_large(user, why);
}

bool acl_user_parse(struct acl_user *user, struct slice line, struct buf *why)
{
    enum { WORDS_AT_ONCE = 64 };
    uint32_t count = 0;
    uint32_t cap = WORDS_AT_ONCE;
    struct slice *rule = mem_new(cap * sizeof *rule);
    while (next_word(&line, &rule[count])) {
        if (++count == cap) {
            cap *= 2;
            rule = mem_resize(rule, cap * sizeof *rule);
        }
    }
    bool is_good = acl_user_apply(user, rule, count, why);
    mem_free(rule);
    return is_good;
}

/* ---- questions ---- */

struct slice acl_user_name(const struct acl_user *user)
{
    return user->name;
}

bool acl_user_is_on(const struct acl_user *user)
{
    return user->flags & USER_ON;
}

bool acl_user_has_nopass(const struct acl_user *user)
{
    return user->flags & USER_NOPASS;
}

bool acl_user_is_free(const struct acl_user *user)
{
    const struct acl_selector *own = &user->selector[0];
    return own->has_all && own->keys.is_all && own->channels.is_all;
}

bool acl_user_reads_all(const struct acl_user *user)
{
    for (uint32_t i = 0; i < user->selector_count; i++) {
        if (acl_selector_reads_all(&user->selector[i])) { return true; }
    }
    return false;
}

enum acl_verdict acl_user_may(const struct acl_user *user, const struct acl_question *question,
                              uint32_t *at)
{
    enum acl_verdict worst = ACL_ALLOWED;
    *at = 0;
    for (uint32_t i = 0; i < user->selector_count; i++) {
        uint32_t place;
        enum acl_verdict verdict = acl_selector_may(&user->selector[i], question, &place);
        if (verdict == ACL_ALLOWED) { return ACL_ALLOWED; }
        if (verdict > worst || (verdict == worst && place > *at)) {
            worst = verdict;
            *at = place;
        }
    }
    return worst;
}

bool acl_user_may_hear(const struct acl_user *user, struct slice channel, bool is_pattern)
{
    for (uint32_t i = 0; i < user->selector_count; i++) {
        if (acl_selector_may_hear(&user->selector[i], channel, is_pattern)) { return true; }
    }
    return false;
}

/* ---- in words ---- */

const char *acl_user_flag(const struct acl_user *user, uint32_t at)
{
    const char *word[3];
    uint32_t count = 0;
    word[count++] = user->flags & USER_ON ? "on" : "off";
    if (user->flags & USER_NOPASS) { word[count++] = "nopass"; }
    word[count++] =
        user->flags & USER_SKIPS_SANITIZE ? "skip-sanitize-payload" : "sanitize-payload";
    return at < count ? word[at] : NULL;
}

uint32_t acl_user_password_count(const struct acl_user *user)
{
    return user->password_count;
}

const char *acl_user_password(const struct acl_user *user, uint32_t at)
{
    return user->password[at].hex;
}

uint32_t acl_user_selector_count(const struct acl_user *user)
{
    return user->selector_count;
}

void acl_user_print_commands(const struct acl_user *user, uint32_t selector, struct buf *out)
{
    acl_selector_print_commands(&user->selector[selector], out);
}

void acl_user_print_keys(const struct acl_user *user, uint32_t selector, struct buf *out)
{
    acl_selector_print_keys(&user->selector[selector], out);
}

void acl_user_print_channels(const struct acl_user *user, uint32_t selector, struct buf *out)
{
    acl_selector_print_channels(&user->selector[selector], out);
}

static void print_selector(const struct acl_selector *selector, struct buf *out)
{
    size_t begun = out->len;
    acl_selector_print_keys(selector, out);
    if (out->len > begun) { buf_append(out, SLICE(" ")); }
    if (!selector->channels.is_all) { buf_append(out, SLICE("resetchannels ")); }
    begun = out->len;
    acl_selector_print_channels(selector, out);
    if (out->len > begun) { buf_append(out, SLICE(" ")); }
    acl_selector_print_commands(selector, out);
}

static void print_selectors(const struct acl_user *user, struct buf *out)
{
    for (uint32_t i = 0; i < user->selector_count; i++) {
        if (i > 0) { buf_append(out, SLICE(" (")); }
        print_selector(&user->selector[i], out);
        if (i > 0) { buf_append(out, SLICE(")")); }
    }
}

void acl_user_print(const struct acl_user *user, struct buf *out)
{
    const char *flag;
    for (uint32_t i = 0; (flag = acl_user_flag(user, i)) != NULL; i++) {
        buf_append_str(out, flag);
        buf_append(out, SLICE(" "));
    }
    for (uint32_t i = 0; i < user->password_count; i++) {
        buf_appendf(out, "#%s ", user->password[i].hex);
    }
    print_selectors(user, out);
}

void acl_user_print_rights(const struct acl_user *user, struct buf *out)
{
    buf_append(out, acl_user_name(user));
    buf_append(out, SLICE(" "));
    print_selectors(user, out);
}

struct acl_user *acl_user_of_rights(const struct acl_catalogue *catalogue, struct slice rights)
{
    struct slice name;
    struct buf why = {0};
    if (!next_word(&rights, &name) || name.len > ACL_NAME_BYTES_MAX) { return NULL; }
    struct acl_user *user = acl_user_new(catalogue, name);
    bool is_good = acl_user_parse(user, rights, &why);
    buf_fini(&why);
    if (is_good) { return user; }
    acl_user_unref(user);
    return NULL;
}
