/* data_stream_refs: entries that groups still want: XDELEX, XACKDEL, and trimming that heeds them. */
#include "data/data_stream_refs.h"

#include "base/mem.h"
#include "data/data_args.h"

enum { TRIM_BATCH = 128 }; /* entries that are looked at before some of them are removed */

bool arg_is_refs(const struct data_call *call, uint32_t i, enum refs *refs)
{
    static const char *const words[] = {"KEEPREF", "DELREF", "ACKED"};
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        if (!arg_is(call, i, words[w])) { continue; }
        *refs = (enum refs)w;
        return true;
    }
    return false;
}

/* ---- groups ---- */

void groups_begin(struct stream_groups *groups, struct data_key *key)
{
    *groups = (struct stream_groups){.key = key};
    uint32_t count = key->is_there ? key->object.stream.groups : 0;
    if (count == 0) { return; }
    groups->group = mem_new0(count * sizeof *groups->group);
    struct store_walk walk;
    bool any = store_groups_walk(&walk, key->call->txn, &key->object);
    for (; any && groups->count < count; any = store_walk_next(&walk)) {
        struct slice name = store_groups_name(&walk);
        groups->group[groups->count++] = (struct stream_group){
            .group = store_groups_group(&walk), .name_at = groups->names.len, .name_len = name.len};
        buf_append(&groups->names, name);
    }
    store_walk_end(&walk);
}

static struct slice group_name(const struct stream_groups *groups, const struct stream_group *group)
{
    return slice_of(groups->names.data + group->name_at, group->name_len);
}

void groups_end(struct stream_groups *groups)
{
    const struct data_key *key = groups->key;
    for (uint32_t i = 0; i < groups->count; i++) {
        const struct stream_group *one = &groups->group[i];
        if (!one->is_dirty) { continue; }
        store_group_save(key->call->txn, &key->object, group_name(groups, one), &one->group);
    }
    mem_free(groups->group);
    buf_fini(&groups->names);
}

struct stream_group *stream_groups_find(const struct stream_groups *groups, struct slice name)
{
    for (uint32_t i = 0; i < groups->count; i++) {
        struct stream_group *one = &groups->group[i];
        if (slice_equal(group_name(groups, one), name)) { return one; }
    }
    return NULL;
}

bool groups_acknowledge(struct stream_groups *groups, struct stream_group *group,
                        struct store_id id)
{
    const struct data_key *key = groups->key;
    bool was_pending = store_pending_delete(key->call->txn, &key->object, &group->group, id);
    group->is_dirty = group->is_dirty || was_pending;
    return was_pending;
}

bool groups_want(const struct stream_groups *groups, struct store_id id)
{
    const struct data_key *key = groups->key;
    for (uint32_t i = 0; i < groups->count; i++) {
        const struct store_group *group = &groups->group[i].group;
        struct store_pending pending;
        if (store_id_compare(group->last, id) < 0 ||
            store_pending_find(key->call->txn, &key->object, group, id, &pending)) {
            return true;
        }
    }
    return false;
}

void groups_forget(struct stream_groups *groups, struct store_id id)
{
    for (uint32_t i = 0; i < groups->count; i++) {
        (void)groups_acknowledge(groups, &groups->group[i], id);
    }
}

/* ---- trimming ---- */

/* The first pending id of a group at or above *from and below `end`. False: there is none. */
static bool pending_before(const struct stream_groups *groups, const struct stream_group *group,
                           struct store_id *from, struct store_id end)
{
    const struct data_key *key = groups->key;
    struct store_walk walk;
    bool any = store_pending_walk(&walk, key->call->txn, &key->object, &group->group, 0, *from);
    if (any) { *from = store_pending_of(&walk, &key->object, &group->group).id; }
    store_walk_end(&walk);
    return any && store_id_compare(*from, end) < 0;
}

/* What lay below `end` is gone: nothing of it is pending any more. */
static void forget_before(struct stream_groups *groups, struct store_id begin, struct store_id end)
{
    for (uint32_t i = 0; i < groups->count; i++) {
        struct store_id id = begin;
        while (pending_before(groups, &groups->group[i], &id, end)) {
            (void)groups_acknowledge(groups, &groups->group[i], id);
        }
    }
}

static uint64_t trim_dropping(struct stream_groups *groups, const struct store_trim *trim)
{
    struct store_object *stream = &groups->key->object;
    struct store_id begin = stream->stream.first;
    struct store_id end = stream->stream.last;
    uint64_t trimmed = store_stream_trim(groups->key->call->txn, stream, trim);
    if (trimmed == 0) { return 0; }
    if (stream->count > 0) {
        end = stream->stream.first;
    } else if (!id_next(&end)) {
        end = STORE_ID_MAX;
    }
    forget_before(groups, begin, end);
    return trimmed;
}

/* Ids of the next entries that the trim would take, up to a batch of them, from *from on, which becomes the place behind
 * them. `left` is how many may go. False: there are no more behind these. */
static bool trim_batch(const struct stream_groups *groups, const struct store_trim *trim,
                       struct store_id *from, struct buf *ids)
{
    struct store_entries entries;
    uint32_t count = 0;
    ids->len = 0;
    bool any = store_entries_begin(&entries, groups->key->call->txn, &groups->key->object, *from,
                                   STORE_UP);
    for (; any && count < TRIM_BATCH; any = store_entries_next(&entries), count++) {
        if (trim->is_by_id && store_id_compare(entries.id, trim->min) >= 0) {
            any = false;
            break;
        }
        buf_append(ids, slice_of(&entries.id, sizeof entries.id));
        *from = entries.id;
    }
    store_entries_end(&entries);
    return any && id_next(from);
}

/* Entry by entry: those that a group wants stay, wherever they stand. */
static uint64_t trim_acknowledged(struct stream_groups *groups, const struct store_trim *trim)
{
    struct store_object *stream = &groups->key->object;
    struct store_id from = stream->stream.first;
    struct buf ids = {0};
    uint64_t trimmed = 0;
    uint64_t looked = 0;
    bool any = stream->count > 0;
    bool is_over = false;
    while (any && !is_over) {
        any = trim_batch(groups, trim, &from, &ids);
        for (size_t at = 0; at < ids.len && !is_over; at += sizeof(struct store_id)) {
            struct store_id id;
            memcpy(&id, ids.data + at, sizeof id);
            is_over = (!trim->is_by_id && stream->count <= trim->keep) ||
                      (trim->limit > 0 && looked++ >= trim->limit);
            if (is_over || groups_want(groups, id)) { continue; }
            trimmed += store_stream_delete(groups->key->call->txn, stream, id);
        }
    }
    buf_fini(&ids);
    return trimmed;
}

uint64_t refs_trim(struct data_key *key, const struct store_trim *trim, enum refs refs)
{
    if (refs == REFS_KEEP || key->object.stream.groups == 0) {
        return store_stream_trim(key->call->txn, &key->object, trim);
    }
    struct stream_groups groups;
    groups_begin(&groups, key);
    uint64_t trimmed =
        refs == REFS_DROP ? trim_dropping(&groups, trim) : trim_acknowledged(&groups, trim);
    groups_end(&groups);
    return trimmed;
}

/* ---- XDELEX, XACKDEL ---- */

/* What an id is answered. */
enum { ID_ABSENT = -1, ID_DELETED = 1, ID_WANTED = 2 };

struct idlist {
    enum refs refs;
    uint32_t at; /* of the first id */
    uint32_t end;
};

static bool ids_read(const struct data_call *call, uint32_t *i, struct idlist *list)
{
    int64_t count;
    if (!arg_int_in(call, *i + 1, 1, INT32_MAX, "ERR Number of IDs must be a positive integer",
                    &count)) {
        return false;
    }
    if (count > call->argc - *i - 2) {
        reply_error(call->reply, "ERR The `numids` parameter must match the number of arguments");
        return false;
    }
    list->at = *i + 2;
    list->end = (uint32_t)(list->at + count);
    *i = list->end - 1;
    for (uint32_t k = list->at; k < list->end; k++) {
        struct store_id id;
        if (text_to_id(call->argv[k], 0, &id)) { continue; }
        reply_error(call->reply, data_invalid_id);
        return false;
    }
    return true;
}

/* [KEEPREF | DELREF | ACKED] IDS numids id ... from argument `at` to the end, in any order. */
static bool idlist_read(const struct data_call *call, uint32_t at, struct idlist *list)
{
    bool has_refs = false;
    *list = (struct idlist){.refs = REFS_KEEP};
    for (uint32_t i = at; i < call->argc; i++) {
        if (list->at == 0 && arg_is_with_value(call, i, "IDS")) {
            if (!ids_read(call, &i, list)) { return false; }
        } else if (!has_refs && arg_is_refs(call, i, &list->refs)) {
            has_refs = true;
        } else if (list->at != 0) {
            reply_error(call->reply,
                        "ERR The `numids` parameter must match the number of arguments");
            return false;
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    if (list->at != 0) { return true; }
    reply_error(call->reply, data_syntax_error);
    return false;
}

static void all_absent(const struct data_call *call, const struct idlist *list)
{
    reply_array(call->reply, list->end - list->at);
    for (uint32_t i = list->at; i < list->end; i++) {
        reply_int(call->reply, ID_ABSENT);
    }
}

static bool has_entry(const struct data_key *key, struct store_id id)
{
    struct store_entries entries;
    bool has = store_entries_begin(&entries, key->call->txn, &key->object, id, STORE_UP) &&
               store_id_compare(entries.id, id) == 0;
    store_entries_end(&entries);
    return has;
}

static int delete_one(struct stream_groups *groups, enum refs refs, struct store_id id)
{
    struct data_key *key = groups->key;
    if (refs == REFS_DROP) { groups_forget(groups, id); }
    if (refs == REFS_ACKED && has_entry(key, id) &&
        (groups->count == 0 || groups_want(groups, id))) {
        return ID_WANTED;
    }
    return store_stream_delete(key->call->txn, &key->object, id) ? ID_DELETED : ID_ABSENT;
}

void data_xdelex(struct data_call *call)
{
    struct idlist list;
    struct data_key key;
    struct stream_groups groups;
    if (!key_open(call, call->argv[1], STORE_STREAM, &key)) { return; }
    if (!idlist_read(call, 2, &list)) { return; }
    if (!key.is_there) {
        all_absent(call, &list);
        return;
    }
    uint64_t before = key.object.count;
    groups_begin(&groups, &key);
    reply_array(call->reply, list.end - list.at);
    for (uint32_t i = list.at; i < list.end; i++) {
        struct store_id id;
        (void)text_to_id(call->argv[i], 0, &id);
        reply_int(call->reply, delete_one(&groups, list.refs, id));
    }
    groups_end(&groups);
    if (key.object.count < before) {
        key_save(&key, "xdel", EVENT_STREAM);
    } else if (list.refs == REFS_DROP) {
        store_key_save(call->txn, &key.ref, &key.object);
    }
}

static int acknowledge_one(struct stream_groups *groups, struct stream_group *group, enum refs refs,
                           struct store_id id)
{
    struct data_key *key = groups->key;
    bool was_pending = groups_acknowledge(groups, group, id);
    if (refs == REFS_DROP) { groups_forget(groups, id); }
    if (!was_pending) { return ID_ABSENT; }
    if (refs == REFS_ACKED && groups_want(groups, id)) { return ID_WANTED; }
    (void)store_stream_delete(key->call->txn, &key->object, id);
    return ID_DELETED;
}

void data_xackdel(struct data_call *call)
{
    struct idlist list;
    struct data_key key;
    struct stream_groups groups;
    if (!key_open(call, call->argv[1], STORE_STREAM, &key)) { return; }
    if (!idlist_read(call, 3, &list)) { return; }
    groups_begin(&groups, &key);
    struct stream_group *group = stream_groups_find(&groups, call->argv[2]);
    if (group == NULL) {
        all_absent(call, &list);
        groups_end(&groups);
        return;
    }
    uint64_t before = key.object.count;
    reply_array(call->reply, list.end - list.at);
    for (uint32_t i = list.at; i < list.end; i++) {
        struct store_id id;
        (void)text_to_id(call->argv[i], 0, &id);
        reply_int(call->reply, acknowledge_one(&groups, group, list.refs, id));
    }
    groups_end(&groups);
    if (key.object.count < before) {
        key_save(&key, "xdel", EVENT_STREAM);
    } else {
        store_key_save(call->txn, &key.ref, &key.object);
    }
}
