/* data_sort: SORT. Texts are compared by their bytes, whatever the locale, so that every replica stores the same. */
#include <stdlib.h>

#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_encoding.h"
#include "data/data_text.h"
#include "store/store_hash.h"
#include "store/store_list.h"
#include "store/store_set.h"
#include "store/store_zset.h"

struct sort {
    struct data_call *call;
    bool is_descending;
    bool is_alpha;
    bool has_by;
    bool is_unsorted; /* BY something without a star */
    struct slice by;
    bool has_limit;
    int64_t offset;
    int64_t count;
    uint32_t *get; /* places of patterns in argv */
    uint32_t get_count;
    bool has_store;
    struct slice store;
};

struct sort_item {
    struct buf element;
    struct buf weight; /* with is_alpha and has_by */
    bool has_weight;
    double score;
    const struct sort *sort;
};

/* ---- options ---- */

static bool sort_option(struct sort *sort, uint32_t *i, bool may_store)
{
    struct data_call *call = sort->call;
    if (arg_is(call, *i, "ASC")) {
        sort->is_descending = false;
    } else if (arg_is(call, *i, "DESC")) {
        sort->is_descending = true;
    } else if (arg_is(call, *i, "ALPHA")) {
        sort->is_alpha = true;
    } else if (arg_is(call, *i, "LIMIT") && *i + 2 < call->argc) {
        if (!arg_int(call, *i + 1, &sort->offset) || !arg_int(call, *i + 2, &sort->count)) {
            return false;
        }
        sort->has_limit = true;
        *i += 2;
    } else if (may_store && arg_is_with_value(call, *i, "STORE")) {
        sort->has_store = true;
        sort->store = call->argv[++*i];
    } else if (arg_is_with_value(call, *i, "BY")) {
        sort->has_by = true;
        sort->by = call->argv[++*i];
        sort->is_unsorted = memchr(sort->by.data, '*', sort->by.len) == NULL;
    } else if (arg_is_with_value(call, *i, "GET")) {
        sort->get[sort->get_count++] = ++*i;
    } else {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    return true;
}

/* ---- patterns ---- */

/* The value that a pattern names for an element: a string's, or with "->" a hash's field's. False: there is none. */
static bool pattern_value(const struct sort *sort, struct slice pattern, struct slice element,
                          struct buf *out)
{
    struct data_call *call = sort->call;
    out->len = 0;
    if (slice_equal(pattern, SLICE("#"))) {
        buf_append(out, element);
        return true;
    }
    const char *star = pattern.len > 0 ? memchr(pattern.data, '*', pattern.len) : NULL;
    if (star == NULL) { return false; }
    size_t before = (size_t)(star - pattern.data);
    struct slice behind = slice_of(star + 1, pattern.len - before - 1);
    struct slice field = SLICE("");
    for (size_t at = 0; at + 2 < behind.len; at++) {
        if (memcmp(behind.data + at, "->", 2) != 0) { continue; }
        field = slice_of(behind.data + at + 2, behind.len - at - 2);
        behind.len = at;
    }
    struct buf name = {0};
    buf_append(&name, slice_of(pattern.data, before));
    buf_append(&name, element);
    buf_append(&name, behind);
    struct data_key key = key_find(call, buf_slice(&name));
    bool is_there = false;
    if (key.is_there && field.len > 0 && key.object.type == STORE_HASH) {
        is_there = store_hash_get(call->txn, &key.object, field, out);
    } else if (key.is_there && field.len == 0 && key.object.type == STORE_STRING) {
        struct buf scratch = {0};
        buf_append(out, text_of(&key, &scratch));
        buf_fini(&scratch);
        is_there = true;
    }
    buf_fini(&name);
    return is_there;
}

/* ---- items ---- */

/* The elements, in the collection's own order. */
static struct sort_item *items_read(const struct sort *sort, const struct data_key *key,
                                    size_t *count)
{
    struct store_walk walk;
    struct store_txn *txn = sort->call->txn;
    struct sort_item *items = mem_new0((key->object.count + 1) * sizeof *items);
    bool any = false;
    *count = 0;
    if (!key->is_there) { return items; }
    bool is_down = sort->is_unsorted && sort->is_descending && key->object.type == STORE_ZSET;
    if (key->object.type == STORE_LIST) {
        any = store_list_walk(&walk, txn, &key->object, 0, STORE_UP);
    } else if (key->object.type == STORE_SET) {
        any = store_set_walk(&walk, txn, &key->object, 0);
    } else {
        any = store_zset_walk(&walk, txn, &key->object, is_down ? key->object.count - 1 : 0,
                              is_down ? STORE_DOWN : STORE_UP);
    }
    for (; any; any = store_walk_next(&walk)) {
        struct sort_item *item = &items[(*count)++];
        item->sort = sort;
        buf_append(&item->element, key->object.type == STORE_LIST ? store_walk_value(&walk)
                                                                  : store_walk_name(&walk));
    }
    store_walk_end(&walk);
    return items;
}

/* A number ends at a zero byte, as it does for Redis. */
static size_t text_length(const struct buf *text)
{
    return text->len > 0 ? strnlen(text->data, text->len) : 0;
}

/* What each item is compared by. False: a text is no number, and the reply says so. */
static bool items_weigh(const struct sort *sort, struct sort_item *items, size_t count)
{
    for (size_t i = 0; i < count && !sort->is_unsorted; i++) {
        struct sort_item *item = &items[i];
        store_txn_work(sort->call->txn);
        item->has_weight = true;
        if (sort->has_by) {
            item->has_weight =
                pattern_value(sort, sort->by, buf_slice(&item->element), &item->weight);
        } else {
            buf_append(&item->weight, buf_slice(&item->element));
        }
        if (sort->is_alpha || !item->has_weight) { continue; }
        struct slice text = slice_of(item->weight.data, text_length(&item->weight));
        if (text.len > 0 && !text_to_double(text, &item->score)) {
            reply_error(sort->call->reply, "ERR One or more scores can't be converted into double");
            return false;
        }
    }
    return true;
}

static int compare_items(const void *a, const void *b)
{
    const struct sort_item *one = a;
    const struct sort_item *other = b;
    const struct sort *sort = one->sort;
    int order = 0;
    store_txn_work(sort->call->txn);
    if (!sort->is_alpha) {
        order = one->score < other->score ? -1 : one->score > other->score;
    } else if (one->has_weight && other->has_weight) {
        order = slice_compare(buf_slice(&one->weight), buf_slice(&other->weight));
    } else {
        order = (int)one->has_weight - (int)other->has_weight;
    }
    if (order == 0 && !(sort->has_by && sort->is_alpha)) {
        order = slice_compare(buf_slice(&one->element), buf_slice(&other->element));
    }
    return sort->is_descending ? -order : order;
}

static void items_free(const struct sort *sort, struct sort_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        store_txn_work(sort->call->txn);
        buf_fini(&items[i].element);
        buf_fini(&items[i].weight);
    }
    mem_free(items);
}

/* ---- what becomes of them ---- */

/* Append one value to the list that is stored. */
static void store_value(struct data_key *target, struct slice value)
{
    struct store_object *list = key_make(target, STORE_LIST);
    store_list_push(target->call->txn, list, STORE_TAIL, value);
    encoding_note(list, value);
}

static void item_out(const struct sort *sort, const struct sort_item *item, struct data_key *target)
{
    struct reply *reply = sort->call->reply;
    struct buf value = {0};
    store_txn_work(sort->call->txn);
    if (sort->get_count == 0 && target != NULL) {
        store_value(target, buf_slice(&item->element));
    } else if (sort->get_count == 0) {
        reply_bulk(reply, buf_slice(&item->element));
    }
    for (uint32_t g = 0; g < sort->get_count; g++) {
        struct slice pattern = sort->call->argv[sort->get[g]];
        bool is_there = pattern_value(sort, pattern, buf_slice(&item->element), &value);
        if (target != NULL) {
            store_value(target, buf_slice(&value));
        } else if (is_there) {
            reply_bulk(reply, buf_slice(&value));
        } else {
            reply_null(reply);
        }
    }
    buf_fini(&value);
}

static void items_out(const struct sort *sort, const struct sort_item *items, size_t count)
{
    struct data_call *call = sort->call;
    int64_t first = sort->has_limit && sort->offset > 0 ? sort->offset : 0;
    int64_t end = (int64_t)count;
    if (sort->has_limit && sort->count >= 0 && sort->count < end - first) {
        end = first + sort->count;
    }
    size_t width = sort->get_count > 0 ? sort->get_count : 1;
    size_t told = first < end ? (size_t)(end - first) * width : 0;
    if (!sort->has_store) {
        reply_array(call->reply, told);
        for (int64_t i = first; i < end; i++) {
            item_out(sort, &items[i], NULL);
        }
        return;
    }
    struct data_key target = key_find(call, sort->store);
    bool had = target.is_there;
    struct store_object old = target.object;
    target.is_there = false;
    for (int64_t i = first; i < end; i++) {
        item_out(sort, &items[i], &target);
    }
    if (had) { store_key_remove(call->txn, &target.ref, &old); }
    if (told > 0) {
        key_save(&target, "sortstore", EVENT_LIST);
    } else if (had) {
        key_changed(call, sort->store, "del", EVENT_GENERIC);
    }
    reply_int(call->reply, (int64_t)told);
}

static void sort_key(struct data_call *call, bool may_store)
{
    struct sort sort = {.call = call, .count = -1};
    sort.get = mem_new0(call->argc * sizeof *sort.get);
    bool is_good = true;
    for (uint32_t i = 2; is_good && i < call->argc; i++) {
        is_good = sort_option(&sort, &i, may_store);
    }
    struct data_key key = key_find(call, call->argv[1]);
    bool is_wrong = key.is_there && key.object.type != STORE_LIST && key.object.type != STORE_SET &&
                    key.object.type != STORE_ZSET;
    if (is_good && is_wrong) { reply_error(call->reply, data_wrong_type); }
    if (is_good && !is_wrong) {
        if (sort.is_unsorted && (sort.has_store || call->is_scripted) &&
            key.object.type == STORE_SET) {
            sort.is_unsorted = false; /* as Redis, which has no order of its own there */
            sort.has_by = false;
            sort.is_alpha = true;
        }
        size_t count;
        struct sort_item *items = items_read(&sort, &key, &count);
        if (items_weigh(&sort, items, count)) {
            if (!sort.is_unsorted) { qsort(items, count, sizeof *items, compare_items); }
            items_out(&sort, items, count);
        }
        items_free(&sort, items, count);
    }
    mem_free(sort.get);
}

void data_sort(struct data_call *call)
{
    sort_key(call, true);
}

void data_sort_ro(struct data_call *call)
{
    sort_key(call, false);
}
