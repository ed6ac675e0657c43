/* roster: one block of memory: the struct, the users, their texts.
 * Always: users by name; bytes is what they are counted as. */
#include "consensus/map/roster.h"

#include <string.h>

#include "base/mem.h"
#include "base/unconst.h"

/* ---- the value ---- */

struct block {
    struct roster roster;
    char *text; /* behind the users: where the next text goes, */
    char *text_end;
};

static struct block *block_of(struct roster *roster)
{
    return CONTAINER_OF(roster, struct block, roster);
}

struct roster *roster_new(uint32_t count, size_t bytes)
{
    size_t users_bytes = count * sizeof(struct roster_user);
    struct block *block = mem_new(sizeof *block + users_bytes + bytes);
    memset(block, 0, sizeof *block);
    atomic_init(&block->roster.refs, 1);
    block->roster.user = (struct roster_user *)(block + 1);
    block->text = (char *)(block + 1) + users_bytes;
    block->text_end = block->text + bytes;
    return &block->roster;
}

struct roster *roster_ref(const struct roster *roster)
{
    struct roster *counted = unconst(roster);
    CHECK(atomic_fetch_add_explicit(&counted->refs, 1, memory_order_relaxed) > 0);
    return counted;
}

void roster_unref(const struct roster *roster)
{
    if (roster == NULL) { return; }
    struct roster *counted = unconst(roster);
    unsigned before = atomic_fetch_sub_explicit(&counted->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1) { mem_free(block_of(counted)); }
}

static struct slice keep(struct block *block, struct slice text)
{
    CHECK(text.len <= (size_t)(block->text_end - block->text));
    struct slice kept = slice_of(block->text, text.len);
    if (text.len > 0) { memcpy(block->text, text.data, text.len); }
    block->text += text.len;
    return kept;
}

bool roster_add(struct roster *roster, const struct roster_user *user)
{
    struct slice last = roster->count > 0 ? roster->user[roster->count - 1].name : slice_of("", 0);
    size_t bytes = roster->bytes + user->name.len + user->rules.len + ROSTER_USER_BYTES;
    if (user->name.len == 0 || user->name.len > ROSTER_NAME_BYTES_MAX ||
        user->rules.len > ROSTER_RULES_BYTES_MAX || bytes > ROSTER_BYTES_MAX ||
        roster->count == ROSTER_USERS_MAX || slice_compare(last, user->name) >= 0) {
        return false;
    }
    struct block *block = block_of(roster);
    roster->user[roster->count++] = (struct roster_user){
        .name = keep(block, user->name),
        .rules = keep(block, user->rules),
        .version = user->version,
    };
    roster->bytes = bytes;
    return true;
}

const struct roster_user *roster_find(const struct roster *roster, struct slice name)
{
    uint32_t low = 0;
    uint32_t high = roster->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = slice_compare(roster->user[middle].name, name);
        if (order == 0) { return &roster->user[middle]; }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

bool roster_has_done(const struct roster *roster, uint64_t id)
{
    for (uint32_t i = 0; roster != NULL && i < roster->done_count; i++) {
        if (roster->done[i] == id) { return true; }
    }
    return false;
}

/* ---- changes ---- */

struct roster_change *roster_change_new(uint64_t id)
{
    struct roster_change *change = mem_new0(sizeof *change);
    change->id = id;
    return change;
}

static void edit_fini(struct roster_edit *edit)
{
    mem_free(unconst(edit->name.data));
    mem_free(unconst(edit->rules.data));
}

void roster_change_free(struct roster_change *change)
{
    if (change == NULL) { return; }
    for (uint32_t i = 0; i < change->count; i++) {
        edit_fini(&change->edit[i]);
    }
    mem_free(change->edit);
    mem_free(change);
}

static struct slice copy(struct slice text)
{
    return slice_of(mem_copy(text.data, text.len), text.len);
}

void roster_change_add(struct roster_change *change, const struct roster_edit *edit)
{
    uint32_t at = change->count; /* mostly they come in order */
    while (at > 0 && slice_compare(change->edit[at - 1].name, edit->name) >= 0) {
        at--;
    }
    bool is_again = at < change->count && slice_equal(change->edit[at].name, edit->name);
    struct roster_edit own = *edit;
    own.name = copy(edit->name);
    own.rules = copy(edit->rules);
    if (is_again) {
        edit_fini(&change->edit[at]);
        change->edit[at] = own;
        return;
    }
    if (change->count == change->cap) {
        change->cap = change->cap > 0 ? 2 * change->cap : 4;
        change->edit = mem_resize(change->edit, change->cap * sizeof *change->edit);
    }
    memmove(&change->edit[at + 1], &change->edit[at],
            (change->count - at) * sizeof change->edit[0]);
    change->edit[at] = own;
    change->count++;
}

/* ---- the next one ---- */

/* Users of `before` and edits, both by name, as one walk. */
struct merge {
    const struct roster *before; /* NULL: none */
    const struct roster_change *change;
    uint32_t user;
    uint32_t edit;
};

/* The next name's present user and its edit; either may be NULL, both are at the end. */
static bool merge_next(struct merge *m, const struct roster_user **user,
                       const struct roster_edit **edit)
{
    uint32_t user_count = m->before != NULL ? m->before->count : 0;
    *user = m->user < user_count ? &m->before->user[m->user] : NULL;
    *edit = m->edit < m->change->count ? &m->change->edit[m->edit] : NULL;
    if (*user != NULL && *edit != NULL) {
        int order = slice_compare((*user)->name, (*edit)->name);
        if (order < 0) { *edit = NULL; }
        if (order > 0) { *user = NULL; }
    }
    m->user += *user != NULL;
    m->edit += *edit != NULL;
    return *user != NULL || *edit != NULL;
}

/* Does the change still fit what there is? */
static bool is_stale(const struct roster *before, const struct roster_change *change)
{
    struct merge m = {.before = before, .change = change};
    const struct roster_user *user;
    const struct roster_edit *edit;
    if ((before == NULL) != change->is_first) { return true; }
    while (!change->is_all && merge_next(&m, &user, &edit)) {
        if (edit != NULL && edit->base != (user != NULL ? user->version : 0)) { return true; }
    }
    return false;
}

static void remember(struct roster *next, const struct roster *before, uint64_t id)
{
    uint32_t kept = before != NULL ? before->done_count : 0;
    uint32_t skipped = kept == ROSTER_DONE_MAX ? 1 : 0;
    for (uint32_t i = skipped; i < kept; i++) {
        next->done[next->done_count++] = before->done[i];
    }
    next->done[next->done_count++] = id;
}

enum roster_fate roster_next(const struct roster *before, const struct roster_change *change,
                             uint64_t version, struct roster **out)
{
    if (is_stale(before, change) || roster_has_done(before, change->id)) { return ROSTER_STALE; }
    size_t bytes = before != NULL ? before->bytes : 0;
    uint32_t count = (before != NULL ? before->count : 0) + change->count;
    for (uint32_t i = 0; i < change->count; i++) {
        bytes += change->edit[i].name.len + change->edit[i].rules.len;
    }
    struct roster *next = roster_new(count, bytes);
    struct merge m = {.before = before, .change = change};
    const struct roster_user *user;
    const struct roster_edit *edit;
    while (merge_next(&m, &user, &edit)) {
        struct roster_user kept = {.version = version};
        if (edit == NULL ? change->is_all : edit->is_removal) { continue; }
        bool is_same = edit == NULL ||
                       (user != NULL && change->is_all && slice_equal(user->rules, edit->rules));
        if (is_same) {
            kept = *user;
        } else {
            kept.name = edit->name;
            kept.rules = edit->rules;
        }
        if (!roster_add(next, &kept)) {
            roster_unref(next);
            return ROSTER_FULL;
        }
    }
    next->version = version;
    remember(next, before, change->id);
    *out = next;
    return ROSTER_DONE;
}
