/* data_scan: SCAN and its kin. */
#include "data/data_scan.h"

#include "data/data_args.h"
#include "data/data_type.h"

enum { SCAN_COUNT = 10, SCAN_WHOLE = 128, CURSOR_DIGITS_MAX = 20 };

static bool cursor_parse(struct slice text, uint64_t *cursor)
{
    if (text.len == 0 || text.len > CURSOR_DIGITS_MAX) { return false; }
    *cursor = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(text.data[i] - '0');
        bool is_over = __builtin_mul_overflow(*cursor, 10, cursor) ||
                       __builtin_add_overflow(*cursor, digit, cursor);
        if (digit > 9 || is_over) { return false; }
    }
    return true;
}

void scan_set_pattern(struct scan *scan, struct slice pattern)
{
    if (scan->has_pattern) { glob_fini(&scan->pattern); }
    scan->has_pattern = !slice_equal(pattern, SLICE("*")); /* which takes an empty name here, too */
    if (scan->has_pattern) { glob_init(&scan->pattern, pattern); }
}

static bool scan_option(struct scan *scan, uint32_t *i)
{
    struct data_call *call = scan->call;
    bool is_keys = slice_equal_nocase(call->argv[0], SLICE("scan"));
    int64_t count;
    if (arg_is_with_value(call, *i, "MATCH")) {
        scan_set_pattern(scan, call->argv[++*i]);
    } else if (arg_is_with_value(call, *i, "COUNT")) {
        if (!arg_int(call, ++*i, &count)) { return false; }
        if (count < 1) {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
        scan->count = (uint64_t)count;
    } else if (is_keys && arg_is_with_value(call, *i, "TYPE")) {
        scan->has_type = true;
        scan->type = type_of_word(call->argv[++*i]);
    } else if (slice_equal_nocase(call->argv[0], SLICE("hscan")) && arg_is(call, *i, "NOVALUES")) {
        scan->has_no_values = true;
    } else {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    return true;
}

bool scan_begin(struct scan *scan, struct data_call *call, uint32_t at)
{
    *scan = (struct scan){.call = call, .count = SCAN_COUNT};
    if (!cursor_parse(call->argv[at], &scan->cursor)) {
        reply_error(call->reply, "ERR invalid cursor");
        return false;
    }
    scan->reply = (struct reply){.out = &scan->found, .version = call->reply->version};
    return true;
}

static void scan_drop(struct scan *scan)
{
    buf_fini(&scan->found);
    if (scan->has_pattern) { glob_fini(&scan->pattern); }
}

bool scan_options(struct scan *scan, uint32_t at)
{
    for (uint32_t i = at; i < scan->call->argc; i++) {
        if (scan_option(scan, &i)) { continue; }
        scan_drop(scan);
        return false;
    }
    return true;
}

bool scan_begin_key(struct scan *scan, struct data_call *call, enum store_type type,
                    struct data_key *key)
{
    if (!scan_begin(scan, call, 2)) { return false; }
    if (!key_open(call, call->argv[1], type, key)) { return false; }
    if (!key->is_there) {
        scan_end(scan, 0);
        return false;
    }
    return scan_options(scan, 3);
}

bool scan_matches(const struct scan *scan, struct slice name)
{
    return !scan->has_pattern || glob_matches(&scan->pattern, name);
}

uint64_t scan_count(const struct scan *scan, const struct store_object *object)
{
    return object->count <= SCAN_WHOLE ? UINT64_MAX : scan->count;
}

void scan_end(struct scan *scan, uint64_t next)
{
    struct reply *reply = scan->call->reply;
    char cursor[CURSOR_DIGITS_MAX];
    reply_array(reply, 2);
    reply_bulk(reply, slice_of(cursor, uint64_to_text(next, cursor)));
    reply_array(reply, scan->found_count);
    buf_append(reply->out, buf_slice(&scan->found));
    scan_drop(scan);
}
