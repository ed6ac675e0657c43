/* data_stream: entries of streams: adding, ranges, removing. */
#include "data/data_stream.h"

#include "data/data_args.h"
#include "data/data_stream_refs.h"

enum { TRIM_LIMIT = 10000 }; /* entries that a loose trim takes at once unless it is told */

/* ---- trimming ---- */

struct trim_options {
    bool has_trim;
    bool has_limit;
    struct store_trim trim;
    int64_t maxlen;
    bool has_refs;
    enum refs refs;
};

/* KEEPREF, DELREF or ACKED, once. False: argument `i` is none of them. */
static bool trim_refs(const struct data_call *call, uint32_t i, struct trim_options *options)
{
    if (options->has_refs || !arg_is_refs(call, i, &options->refs)) { return false; }
    options->has_refs = true;
    return true;
}

/* MAXLEN or MINID at argument *i: the option with all its words. False: the reply says why. */
static bool trim_strategy(const struct data_call *call, uint32_t *i, struct trim_options *options)
{
    bool is_by_id = arg_is(call, *i, "MINID");
    if (options->has_trim) {
        reply_error(call->reply, options->trim.is_by_id != is_by_id
                                     ? "ERR syntax error, MAXLEN and MINID options at the same "
                                       "time are not compatible"
                                     : data_syntax_error);
        return false;
    }
    options->has_trim = true;
    options->trim.is_by_id = is_by_id;
    bool is_loose = arg_is_with_value(call, *i + 1, "~");
    if (is_loose || arg_is_with_value(call, *i + 1, "=")) { ++*i; }
    options->trim.is_loose = is_loose;
    ++*i;
    if (is_by_id) { return arg_id(call, *i, 0, &options->trim.min); }
    if (!arg_int_in(call, *i, INT64_MIN, INT64_MAX, data_not_an_integer, &options->maxlen)) {
        return false;
    }
    if (options->maxlen < 0) {
        reply_error(call->reply, "ERR The MAXLEN argument must be >= 0.");
        return false;
    }
    options->trim.keep = (uint64_t)options->maxlen;
    return true;
}

static bool trim_limit(const struct data_call *call, uint32_t i, struct trim_options *options)
{
    int64_t limit;
    if (!arg_int_in(call, i, 0, INT64_MAX, "ERR The LIMIT argument must be >= 0.", &limit)) {
        return false;
    }
    options->trim.limit = (uint64_t)limit;
    options->has_limit = true;
    return true;
}

/* Do the options go together? */
static bool trim_is_good(const struct data_call *call, struct trim_options *options)
{
    if (options->has_limit && !options->has_trim) {
        reply_error(call->reply, "ERR syntax error, LIMIT cannot be used without specifying a "
                                 "trimming strategy");
        return false;
    }
    if (options->has_limit && !options->trim.is_loose) {
        reply_error(call->reply,
                    "ERR syntax error, LIMIT cannot be used without the special ~ option");
        return false;
    }
    if (options->trim.is_loose && !options->has_limit) { options->trim.limit = TRIM_LIMIT; }
    return true;
}

/* ---- XADD ---- */

enum id_form { ID_GIVEN, ID_AUTO, ID_AUTO_SEQ };

struct xadd {
    bool needs_stream;
    struct trim_options trim;
    enum id_form form;
    struct store_id id;
    uint32_t fields_at;
};

static bool xadd_id(const struct data_call *call, uint32_t i, struct xadd *xadd)
{
    struct slice text = call->argv[i];
    bool is_auto_seq = text.len > 2 && memcmp(text.data + text.len - 2, "-*", 2) == 0;
    if (slice_equal(text, SLICE("*"))) {
        xadd->form = ID_AUTO;
        return true;
    }
    if (is_auto_seq) {
        xadd->form = ID_AUTO_SEQ;
        text.len -= 2;
    }
    if (!text_to_id(text, 0, &xadd->id)) {
        reply_error(call->reply, data_invalid_id);
        return false;
    }
    return true;
}

static bool xadd_read(struct data_call *call, struct xadd *xadd)
{
    uint32_t i = 2;
    for (; i < call->argc; i++) {
        if (arg_is(call, i, "NOMKSTREAM")) {
            xadd->needs_stream = true;
        } else if (arg_is_with_value(call, i, "MAXLEN") || arg_is_with_value(call, i, "MINID")) {
            if (!trim_strategy(call, &i, &xadd->trim)) { return false; }
        } else if (arg_is_with_value(call, i, "LIMIT")) {
            if (!trim_limit(call, ++i, &xadd->trim)) { return false; }
        } else if (!trim_refs(call, i, &xadd->trim)) {
            break;
        }
    }
    if (i < call->argc && !xadd_id(call, i, xadd)) { return false; }
    if (!trim_is_good(call, &xadd->trim)) { return false; }
    xadd->fields_at = i + 1;
    if (i + 3 > call->argc || (call->argc - xadd->fields_at) % 2 != 0) {
        reply_error(call->reply, "ERR wrong number of arguments for 'xadd' command");
        return false;
    }
    if (xadd->form == ID_GIVEN && xadd->id.ms == 0 && xadd->id.seq == 0) {
        reply_error(call->reply, "ERR The ID specified in XADD must be greater than 0-0");
        return false;
    }
    return true;
}

/* The new entry's id, from what was asked for. False: the reply says why. */
static bool xadd_resolve(const struct data_call *call, struct xadd *xadd, struct store_id last)
{
    struct store_id next = last;
    bool has_next = id_next(&next);
    if (!has_next) {
        reply_error(call->reply, "ERR The stream has exhausted the last possible ID, unable to add "
                                 "more items");
        return false;
    }
    if (xadd->form == ID_AUTO) {
        uint64_t now_ms = store_txn_now_ms(call->txn);
        xadd->id = now_ms > last.ms ? (struct store_id){now_ms, 0} : next;
    } else if (xadd->form == ID_AUTO_SEQ && xadd->id.ms == last.ms) {
        xadd->id.seq = last.seq + 1;
        if (last.seq == UINT64_MAX) { xadd->id.seq = 0; }
    }
    if (store_id_compare(xadd->id, last) <= 0) {
        reply_error(call->reply, "ERR The ID specified in XADD is equal or smaller than the target "
                                 "stream top item");
        return false;
    }
    return true;
}

void data_xadd(struct data_call *call)
{
    struct xadd xadd = {.needs_stream = false};
    struct data_key key;
    if (!xadd_read(call, &xadd)) { return; }
    if (!key_open(call, call->argv[1], STORE_STREAM, &key)) { return; }
    if (!key.is_there && xadd.needs_stream) {
        reply_null(call->reply);
        return;
    }
    if (!xadd_resolve(call, &xadd, key.object.stream.last)) { return; }
    struct store_object *stream = key_make(&key, STORE_STREAM);
    store_stream_add(call->txn, stream, xadd.id, call->argv + xadd.fields_at,
                     call->argc - xadd.fields_at);
    uint64_t trimmed = 0;
    if (xadd.trim.has_trim) { trimmed = refs_trim(&key, &xadd.trim.trim, xadd.trim.refs); }
    key_save(&key, "xadd", EVENT_STREAM);
    if (trimmed > 0) { key_changed(call, call->argv[1], "xtrim", EVENT_STREAM); }
    reply_id(call->reply, xadd.id);
}

void data_xtrim(struct data_call *call)
{
    struct trim_options options = {.has_trim = false};
    struct data_key key;
    for (uint32_t i = 2; i < call->argc; i++) {
        if (arg_is_with_value(call, i, "MAXLEN") || arg_is_with_value(call, i, "MINID")) {
            if (!trim_strategy(call, &i, &options)) { return; }
        } else if (arg_is_with_value(call, i, "LIMIT")) {
            if (!trim_limit(call, ++i, &options)) { return; }
        } else if (!trim_refs(call, i, &options)) {
            reply_error(call->reply, data_syntax_error);
            return;
        }
    }
    if (!trim_is_good(call, &options)) { return; }
    if (!options.has_trim) {
        reply_error(call->reply, "ERR syntax error, XTRIM must be called with a trimming strategy");
        return;
    }
    if (!key_open(call, call->argv[1], STORE_STREAM, &key)) { return; }
    uint64_t trimmed = 0;
    if (key.is_there) { trimmed = refs_trim(&key, &options.trim, options.refs); }
    if (trimmed > 0) { key_save(&key, "xtrim", EVENT_STREAM); }
    reply_int(call->reply, (int64_t)trimmed);
}

/* ---- looking and removing ---- */

void data_xlen(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STREAM, &key)) { return; }
    reply_int(call->reply, (int64_t)key.object.count);
}

static void xrange(struct data_call *call, bool is_reverse)
{
    struct entry_range range = {.is_reverse = is_reverse};
    int64_t count = -1;
    if (!arg_range_start(call, is_reverse ? 3 : 2, &range.from) ||
        !arg_range_end(call, is_reverse ? 2 : 3, &range.to)) {
        return;
    }
    for (uint32_t i = 4; i < call->argc; i += 2) {
        if (!arg_is_with_value(call, i, "COUNT")) {
            reply_error(call->reply, data_syntax_error);
            return;
        }
        if (!arg_int(call, i + 1, &count)) { return; }
        if (count < 0) { count = 0; }
    }
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STREAM, &key)) { return; }
    if (key.is_there && count == 0) {
        reply_null_array(call->reply);
        return;
    }
    struct buf found = {0};
    struct reply out = {.out = &found, .version = call->reply->version};
    range.count = count > 0 ? (uint64_t)count : 0;
    reply_array(call->reply, entries_collect(&key, &range, &out));
    buf_append(call->reply->out, buf_slice(&found));
    buf_fini(&found);
}

void data_xrange(struct data_call *call)
{
    xrange(call, false);
}

void data_xrevrange(struct data_call *call)
{
    xrange(call, true);
}

void data_xdel(struct data_call *call)
{
    struct data_key key;
    struct store_id id;
    for (uint32_t i = 2; i < call->argc; i++) {
        if (!text_to_id(call->argv[i], 0, &id)) {
            reply_error(call->reply, data_invalid_id);
            return;
        }
    }
    if (!key_open(call, call->argv[1], STORE_STREAM, &key)) { return; }
    int64_t deleted = 0;
    for (uint32_t i = 2; key.is_there && i < call->argc; i++) {
        (void)text_to_id(call->argv[i], 0, &id);
        deleted += store_stream_delete(call->txn, &key.object, id);
    }
    if (deleted > 0) { key_save(&key, "xdel", EVENT_STREAM); }
    reply_int(call->reply, deleted);
}

struct xsetid {
    struct store_id last;
    bool has_added;
    int64_t added;
    bool has_max_deleted;
    struct store_id max_deleted;
};

static bool xsetid_read(struct data_call *call, struct xsetid *set)
{
    if (!text_to_id(call->argv[2], 0, &set->last)) {
        reply_error(call->reply, data_invalid_id);
        return false;
    }
    for (uint32_t i = 3; i < call->argc; i += 2) {
        if (arg_is_with_value(call, i, "ENTRIESADDED")) {
            if (!arg_int(call, i + 1, &set->added)) { return false; }
            if (set->added < 0) {
                reply_error(call->reply, "ERR entries_added must be positive");
                return false;
            }
            set->has_added = true;
        } else if (arg_is_with_value(call, i, "MAXDELETEDID")) {
            if (!text_to_id(call->argv[i + 1], 0, &set->max_deleted)) {
                reply_error(call->reply, data_invalid_id);
                return false;
            }
            set->has_max_deleted = true;
            if (store_id_compare(set->last, set->max_deleted) < 0) {
                reply_error(call->reply, "ERR The ID specified in XSETID is smaller than the "
                                         "provided max_deleted_entry_id");
                return false;
            }
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    return true;
}

void data_xsetid(struct data_call *call)
{
    struct xsetid set = {.has_added = false};
    if (!xsetid_read(call, &set)) { return; }
    struct data_key key = key_find(call, call->argv[1]);
    if (!key.is_there) {
        reply_error(call->reply, "ERR no such key");
        return;
    }
    if (key.object.type != STORE_STREAM) {
        reply_error(call->reply, data_wrong_type);
        return;
    }
    struct store_object *stream = &key.object;
    if (store_id_compare(set.last, stream->stream.max_deleted) < 0) {
        reply_error(call->reply,
                    "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id");
        return;
    }
    struct store_entries entries;
    bool is_below_top =
        store_entries_begin(&entries, call->txn, stream, STORE_ID_MAX, STORE_DOWN) &&
        store_id_compare(set.last, entries.id) < 0;
    store_entries_end(&entries);
    if (is_below_top) {
        reply_error(call->reply,
                    "ERR The ID specified in XSETID is smaller than the target stream top item");
        return;
    }
    if (set.has_added && (uint64_t)set.added < stream->count) {
        reply_error(call->reply, "ERR The entries_added specified in XSETID is smaller than the "
                                 "target stream length");
        return;
    }
    stream->stream.last = set.last;
    if (set.has_added) { stream->stream.added = (uint64_t)set.added; }
    if (set.has_max_deleted && (set.max_deleted.ms | set.max_deleted.seq) != 0) {
        stream->stream.max_deleted = set.max_deleted;
    }
    key_save(&key, "xsetid", EVENT_STREAM);
    reply_ok(call->reply);
}
