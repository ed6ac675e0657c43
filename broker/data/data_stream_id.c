/* data_stream_id: ids of entries, and entries as replies. */
#include "data/data_stream.h"

const char data_invalid_id[] = "ERR Invalid stream ID specified as stream command argument";

static bool to_uint64(struct slice text, uint64_t *v)
{
    *v = 0;
    if (text.len == 0 || text.len > 20) { return false; }
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(text.data[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(*v, 10, v) ||
            __builtin_add_overflow(*v, digit, v)) {
            return false;
        }
    }
    return true;
}

bool text_to_id(struct slice text, uint64_t seq, struct store_id *id)
{
    const char *dash = text.len > 0 ? memchr(text.data, '-', text.len) : NULL;
    size_t head = dash != NULL ? (size_t)(dash - text.data) : text.len;
    id->seq = seq;
    if (!to_uint64(slice_of(text.data, head), &id->ms)) { return false; }
    return dash == NULL || to_uint64(slice_of(dash + 1, text.len - head - 1), &id->seq);
}

bool arg_id(const struct data_call *call, uint32_t i, uint64_t seq, struct store_id *id)
{
    struct slice text = call->argv[i];
    if (slice_equal(text, SLICE("-"))) {
        *id = (struct store_id){0, 0};
    } else if (slice_equal(text, SLICE("+"))) {
        *id = STORE_ID_MAX;
    } else if (!text_to_id(text, seq, id)) {
        reply_error(call->reply, data_invalid_id);
        return false;
    }
    return true;
}

bool id_next(struct store_id *id)
{
    if (id->seq == UINT64_MAX && id->ms == UINT64_MAX) { return false; }
    if (++id->seq == 0) { id->ms++; }
    return true;
}

bool id_previous(struct store_id *id)
{
    if (id->seq == 0 && id->ms == 0) { return false; }
    if (id->seq-- == 0) { id->ms--; }
    return true;
}

/* An end behind a "(": its text alone. */
static bool is_exclusive(const struct data_call *call, uint32_t i, struct slice *text)
{
    *text = call->argv[i];
    if (text->len < 2 || text->data[0] != '(') { return false; }
    *text = slice_of(text->data + 1, text->len - 1);
    return true;
}

bool arg_range_start(const struct data_call *call, uint32_t i, struct store_id *id)
{
    struct slice text;
    if (!is_exclusive(call, i, &text)) { return arg_id(call, i, 0, id); }
    if (!text_to_id(text, 0, id)) {
        reply_error(call->reply, data_invalid_id);
        return false;
    }
    if (id_next(id)) { return true; }
    reply_error(call->reply, "ERR invalid start ID for the interval");
    return false;
}

bool arg_range_end(const struct data_call *call, uint32_t i, struct store_id *id)
{
    struct slice text;
    if (!is_exclusive(call, i, &text)) { return arg_id(call, i, UINT64_MAX, id); }
    if (!text_to_id(text, UINT64_MAX, id)) {
        reply_error(call->reply, data_invalid_id);
        return false;
    }
    if (id_previous(id)) { return true; }
    reply_error(call->reply, "ERR invalid end ID for the interval");
    return false;
}

size_t id_to_text(struct store_id id, char out[STREAM_ID_TEXT_MAX])
{
    size_t len = uint64_to_text(id.ms, out);
    out[len++] = '-';
    return len + uint64_to_text(id.seq, out + len);
}

void reply_id(struct reply *reply, struct store_id id)
{
    char text[STREAM_ID_TEXT_MAX];
    reply_bulk(reply, slice_of(text, id_to_text(id, text)));
}

void entry_parts_reply(struct reply *reply, struct store_entries *entries)
{
    reply_id(reply, entries->id);
    reply_array(reply, entries->part_count);
    for (uint32_t i = 0; i < entries->part_count; i++) {
        reply_bulk(reply, store_entries_part(entries));
    }
}

void entry_reply(struct reply *reply, struct store_entries *entries)
{
    reply_array(reply, 2);
    entry_parts_reply(reply, entries);
}

size_t entries_collect(const struct data_key *key, const struct entry_range *range,
                       struct reply *out)
{
    struct store_entries entries;
    size_t count = 0;
    if (!key->is_there || store_id_compare(range->from, range->to) > 0) { return 0; }
    bool any = store_entries_begin(&entries, key->call->txn, &key->object,
                                   range->is_reverse ? range->to : range->from,
                                   range->is_reverse ? STORE_DOWN : STORE_UP);
    for (; any; any = store_entries_next(&entries)) {
        int order = range->is_reverse ? store_id_compare(range->from, entries.id)
                                      : store_id_compare(entries.id, range->to);
        if (order > 0) { break; }
        entry_reply(out, &entries);
        count++;
        if (range->count > 0 && count == range->count) { break; }
    }
    store_entries_end(&entries);
    return count;
}
