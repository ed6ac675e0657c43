/* acl_users: a sorted array of users; changes are rare and copy it. */
#include "acl/acl_users.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

struct acl_users {
    atomic_uint refs;
    const struct acl_catalogue *catalogue;
    bool hear_all;
    struct acl_user **user; /* a reference each, by name */
    uint32_t count;
    struct acl_user *standard; /* the one of them whose name is default */
};

static const struct slice default_name = {"default", 7};

/* ---- life ---- */

static struct acl_users *users_new(const struct acl_catalogue *catalogue, bool hear_all,
                                   uint32_t cap)
{
    struct acl_users *users = mem_new0(sizeof *users);
    atomic_init(&users->refs, 1);
    users->catalogue = catalogue;
    users->hear_all = hear_all;
    users->user = mem_new0(cap * sizeof *users->user);
    return users;
}

struct acl_users *acl_users_ref(struct acl_users *users)
{
    atomic_fetch_add_explicit(&users->refs, 1, memory_order_relaxed);
    return users;
}

void acl_users_unref(struct acl_users *users)
{
    if (users == NULL || atomic_fetch_sub_explicit(&users->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (uint32_t i = 0; i < users->count; i++) {
        acl_user_unref(users->user[i]);
    }
    mem_free(users->user);
    mem_free(users);
}

/* ---- lookup ---- */

/* The place of the name, or where it would be. */
static uint32_t place_of(const struct acl_users *users, struct slice name, bool *is_there)
{
    uint32_t low = 0;
    uint32_t high = users->count;
    *is_there = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = slice_compare(acl_user_name(users->user[middle]), name);
        if (order == 0) {
            *is_there = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct acl_user *acl_users_find(const struct acl_users *users, struct slice name)
{
    bool is_there;
    uint32_t at = place_of(users, name, &is_there);
    return is_there ? users->user[at] : NULL;
}

struct acl_user *acl_users_default(const struct acl_users *users)
{
    return users->standard;
}

uint32_t acl_users_count(const struct acl_users *users)
{
    return users->count;
}

struct acl_user *acl_users_at(const struct acl_users *users, uint32_t at)
{
    return users->user[at];
}

/* ---- changes ---- */

/* A copy of the table, with room for one more. */
static struct acl_users *copy(const struct acl_users *users)
{
    struct acl_users *to = users_new(users->catalogue, users->hear_all, users->count + 1);
    for (uint32_t i = 0; i < users->count; i++) {
        to->user[i] = acl_user_ref(users->user[i]);
    }
    to->count = users->count;
    to->standard = users->standard;
    return to;
}

/* Takes: user. In the place of one with this name, or beside the others; there is room. */
static void put(struct acl_users *users, struct acl_user *user)
{
    bool is_there;
    uint32_t at = place_of(users, acl_user_name(user), &is_there);
    if (is_there) {
        acl_user_unref(users->user[at]);
    } else {
        memmove(&users->user[at + 1], &users->user[at],
                (users->count - at) * sizeof users->user[0]);
        users->count++;
    }
    users->user[at] = user;
    if (slice_equal(acl_user_name(user), default_name)) { users->standard = user; }
}

static struct acl_user *with_rules(struct acl_user *user, struct slice rules)
{
    struct buf why = {0};
    bool is_good = acl_user_parse(user, rules, &why);
    CHECK(is_good);
    buf_fini(&why);
    return user;
}

/* One who has no rules yet. */
static struct acl_user *fresh_user(const struct acl_users *users, struct slice name)
{
    struct acl_user *user = acl_user_new(users->catalogue, name);
    acl_user_hear_all_anew(user, users->hear_all);
    return with_rules(user, users->hear_all ? SLICE("&*") : SLICE(""));
}

static struct acl_user *make_user(const struct acl_users *users, struct slice name)
{
    struct acl_user *user = fresh_user(users, name);
    bool is_default = slice_equal(name, default_name);
    return is_default ? with_rules(user, SLICE("on nopass ~* &* +@all")) : user;
}

struct acl_users *acl_users_new(const struct acl_catalogue *catalogue, bool hear_all)
{
    struct acl_users *users = users_new(catalogue, hear_all, 1);
    put(users, make_user(users, default_name));
    return users;
}

struct acl_users *acl_users_of(const struct acl_catalogue *catalogue, bool hear_all,
                               struct acl_user *const *user, uint32_t count)
{
    struct acl_users *users = users_new(catalogue, hear_all, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        put(users, user[i]);
    }
    if (users->standard == NULL) { put(users, acl_user_new(catalogue, default_name)); }
    return users;
}

static bool is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (c == ' ' || (c >= '\t' && c <= '\r') || c == '\0') { return false; }
    }
    return name.len > 0 && name.len <= ACL_NAME_BYTES_MAX;
}

/* May there be a user of this name? */
static bool is_name_good(const struct acl_users *users, struct slice name, struct buf *why)
{
    if (!is_name(name)) {
        buf_append(why, SLICE("Usernames can't contain spaces or null characters"));
        return false;
    }
    if (users->count < ACL_USERS_MAX || acl_users_find(users, name) != NULL) { return true; }
    buf_appendf(why, "there are %d users already", ACL_USERS_MAX);
    return false;
}

/* Gives: the user as the rules make it of the present one, or of a new one; NULL: *why. */
static struct acl_user *changed_user(const struct acl_users *users, struct slice name,
                                     const struct slice *rule, uint32_t count, struct buf *why)
{
    if (!is_name_good(users, name, why)) { return NULL; }
    const struct acl_user *present = acl_users_find(users, name);
    struct acl_user *user = present != NULL ? acl_user_copy(present) : make_user(users, name);
    acl_user_hear_all_anew(user, users->hear_all);
    if (acl_user_apply(user, rule, count, why)) { return user; }
    acl_user_unref(user);
    return NULL;
}

struct acl_users *acl_users_set(const struct acl_users *users, struct slice name,
                                const struct slice *rule, uint32_t count, struct buf *why)
{
    struct acl_user *user = changed_user(users, name, rule, count, why);
    if (user == NULL) { return NULL; }
    struct acl_users *to = copy(users);
    put(to, user);
    return to;
}

struct acl_users *acl_users_hearing(const struct acl_users *users, bool hear_all)
{
    struct acl_users *to = copy(users);
    to->hear_all = hear_all;
    return to;
}

struct acl_users *acl_users_without(struct acl_users *users, struct slice name)
{
    CHECK(!slice_equal(name, default_name));
    bool is_there;
    uint32_t at = place_of(users, name, &is_there);
    if (!is_there) { return acl_users_ref(users); }
    struct acl_users *to = copy(users);
    acl_user_unref(to->user[at]);
    to->count--;
    memmove(&to->user[at], &to->user[at + 1], (to->count - at) * sizeof to->user[0]);
    return to;
}

/* ---- text ---- */

/* The next line, without its end. False: there is none. */
static bool next_line(struct slice *text, struct slice *line)
{
    if (text->len == 0) { return false; }
    const char *end = memchr(text->data, '\n', text->len);
    size_t len = end == NULL ? text->len : (size_t)(end - text->data);
    *line = slice_of(text->data, len);
    size_t used = end == NULL ? len : len + 1;
    *text = slice_of(text->data + used, text->len - used);
    while (line->len > 0 &&
           (line->data[line->len - 1] == '\r' || line->data[line->len - 1] == ' ')) {
        line->len--;
    }
    while (line->len > 0 && line->data[0] == ' ') {
        *line = slice_of(line->data + 1, line->len - 1);
    }
    return true;
}

/* Gives: the user of a line "user NAME rule ..."; NULL: *why. */
static struct acl_user *parse_line(const struct acl_users *users, struct slice line,
                                   struct buf *why)
{
    const struct slice head = SLICE("user ");
    if (!slice_starts_with(line, head)) {
        buf_append(why, SLICE("the line does not begin with 'user'"));
        return NULL;
    }
    struct slice rest = slice_of(line.data + head.len, line.len - head.len);
    while (rest.len > 0 && rest.data[0] == ' ') {
        rest = slice_of(rest.data + 1, rest.len - 1);
    }
    const char *blank = memchr(rest.data, ' ', rest.len);
    struct slice name = slice_of(rest.data, blank == NULL ? rest.len : (size_t)(blank - rest.data));
    if (!is_name_good(users, name, why)) { return NULL; }
    struct acl_user *user = fresh_user(users, name);
    struct slice rules = slice_of(name.data + name.len, rest.len - name.len);
    if (acl_user_parse(user, rules, why)) { return user; }
    acl_user_unref(user);
    return NULL;
}

/* Add the user of a line; *has_default: that one had a line. */
static bool add_line(struct acl_users *users, struct slice line, bool *has_default, struct buf *why)
{
    struct acl_user *user = parse_line(users, line, why);
    if (user == NULL) { return false; }
    struct slice name = acl_user_name(user);
    bool is_default = slice_equal(name, default_name);
    if (is_default ? *has_default : acl_users_find(users, name) != NULL) {
        buf_append(why, SLICE("Duplicate user '"));
        buf_append(why, name);
        buf_append(why, SLICE("' found. A user can only be defined once in config files"));
        acl_user_unref(user);
        return false;
    }
    *has_default = *has_default || is_default;
    users->user = mem_resize(users->user, (users->count + 1) * sizeof users->user[0]);
    put(users, user);
    return true;
}

struct acl_users *acl_users_parse(const struct acl_catalogue *catalogue, bool hear_all,
                                  struct slice text, bool *has_default, struct buf *why)
{
    struct acl_users *users = acl_users_new(catalogue, hear_all);
    struct buf fault = {0};
    struct slice line;
    bool is_good = true;
    *has_default = false;
    for (uint32_t number = 1; is_good && next_line(&text, &line); number++) {
        if (line.len == 0 || line.data[0] == '#') { continue; }
        is_good = add_line(users, line, has_default, &fault);
        if (!is_good) { buf_appendf(why, "line %u: %.*s", number, SLICE_ARG(buf_slice(&fault))); }
    }
    buf_fini(&fault);
    if (is_good) { return users; }
    acl_users_unref(users);
    return NULL;
}

void acl_users_print_one(const struct acl_user *user, struct buf *out)
{
    buf_append(out, SLICE("user "));
    buf_append(out, acl_user_name(user));
    buf_append(out, SLICE(" "));
    acl_user_print(user, out);
}

void acl_users_print(const struct acl_users *users, struct buf *out)
{
    for (uint32_t i = 0; i < users->count; i++) {
        acl_users_print_one(users->user[i], out);
        buf_append(out, SLICE("\n"));
    }
}
