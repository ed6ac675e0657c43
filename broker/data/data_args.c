/* data_args: arguments as numbers and words. */
#include "data/data_args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NUMBER_TEXT_MAX = 512 };

const char data_not_an_integer[] = "ERR value is not an integer or out of range";
const char data_not_a_float[] = "ERR value is not a valid float";
const char data_syntax_error[] = "ERR syntax error";

bool arg_is(const struct data_call *call, uint32_t i, const char *word)
{
    return i < call->argc && slice_equal_nocase(call->argv[i], slice_of_str(word));
}

bool arg_is_with_value(const struct data_call *call, uint32_t i, const char *word)
{
    return i + 1 < call->argc && arg_is(call, i, word);
}

bool arg_int(const struct data_call *call, uint32_t i, int64_t *out)
{
    return arg_int_in(call, i, INT64_MIN, INT64_MAX, data_not_an_integer, out);
}

bool arg_int_in(const struct data_call *call, uint32_t i, int64_t low, int64_t high,
                const char *error, int64_t *out)
{
    if (slice_to_int64(call->argv[i], out) && *out >= low && *out <= high) { return true; }
    reply_error(call->reply, error);
    return false;
}

/* The text, ended by a NUL, in `out`. False: it is too long, or begins with what strtod would skip. */
static bool text_copy(struct slice text, char out[NUMBER_TEXT_MAX])
{
    if (text.len == 0 || text.len >= NUMBER_TEXT_MAX) { return false; }
    if (text.data[0] == ' ' || (text.data[0] >= '\t' && text.data[0] <= '\r')) { return false; }
    memcpy(out, text.data, text.len);
    out[text.len] = 0;
    return true;
}

bool text_to_double(struct slice text, double *out)
{
    char copy[NUMBER_TEXT_MAX];
    char *end;
    if (!text_copy(text, copy)) { return false; }
    errno = 0;
    double v = strtod(copy, &end);
    if (end != copy + text.len || isnan(v)) { return false; }
    if (errno == ERANGE && (v == HUGE_VAL || v == -HUGE_VAL || fpclassify(v) == FP_ZERO)) {
        return false;
    }
    *out = v;
    return true;
}

bool text_to_long_double(struct slice text, long double *out)
{
    char copy[NUMBER_TEXT_MAX];
    char *end;
    if (!text_copy(text, copy)) { return false; }
    errno = 0;
    long double v = strtold(copy, &end);
    if (end != copy + text.len || isnan(v)) { return false; }
    if (errno == ERANGE && (v == HUGE_VALL || v == -HUGE_VALL || fpclassify(v) == FP_ZERO)) {
        return false;
    }
    *out = v;
    return true;
}

size_t long_double_to_text(long double v, char *out)
{
    size_t len = (size_t)snprintf(out, FLOAT_TEXT_MAX, "%.17Lf", v);
    while (out[len - 1] == '0') {
        len--;
    }
    if (out[len - 1] == '.') { len--; }
    if (len == 2 && memcmp(out, "-0", 2) == 0) {
        out[0] = '0';
        len = 1;
    }
    return len;
}

bool arg_count(const struct data_call *call, uint32_t i, int64_t *out)
{
    static const char not_positive[] = "ERR value is out of range, must be positive";
    return i >= call->argc || arg_int_in(call, i, 0, INT64_MAX, not_positive, out);
}

bool arg_double(const struct data_call *call, uint32_t i, double *out)
{
    if (text_to_double(call->argv[i], out)) { return true; }
    reply_error(call->reply, data_not_a_float);
    return false;
}

bool arg_timeout(const struct data_call *call, uint32_t i, uint64_t *ms)
{
    long double seconds;
    if (!text_to_long_double(call->argv[i], &seconds)) {
        reply_error(call->reply, "ERR timeout is not a float or out of range");
        return false;
    }
    long double v = ceill(seconds * 1000);
    if (v > (long double)(INT64_MAX / 2)) {
        reply_error(call->reply, "ERR timeout is out of range");
        return false;
    }
    if (v < 0) {
        reply_error(call->reply, "ERR timeout is negative");
        return false;
    }
    *ms = (uint64_t)v;
    return true;
}

bool arg_pop_of_many(const struct data_call *call, uint32_t at, const char *const words[2],
                     struct pop_of_many *out)
{
    int64_t numkeys;
    int64_t count = 1;
    if (!arg_int_in(call, at, 1, INT32_MAX, "ERR numkeys should be greater than 0", &numkeys)) {
        return false;
    }
    uint64_t where = at + 1 + (uint64_t)numkeys;
    bool is_second = where < call->argc && arg_is(call, (uint32_t)where, words[1]);
    bool is_good = is_second || (where < call->argc && arg_is(call, (uint32_t)where, words[0]));
    bool has_count = is_good && where + 1 < call->argc;
    is_good = is_good && (!has_count || (where + 3 == call->argc &&
                                         arg_is_with_value(call, (uint32_t)where + 1, "COUNT")));
    if (!is_good) {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    if (has_count && !arg_int_in(call, (uint32_t)where + 2, 1, INT64_MAX,
                                 "ERR count should be greater than 0", &count)) {
        return false;
    }
    *out = (struct pop_of_many){at + 1, (uint32_t)where, is_second, (uint64_t)count};
    return true;
}

bool range_clamp(int64_t *start, int64_t *end, uint64_t count)
{
    int64_t len = (int64_t)count;
    if (*start < 0) { *start += len; }
    if (*end < 0) { *end += len; }
    if (*start < 0) { *start = 0; }
    if (*end >= len) { *end = len - 1; }
    return *start <= *end && *start < len;
}

int subcommand_find(const struct data_call *call, const char *container,
                    const struct subcommand *subcommands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct subcommand *found = &subcommands[i];
        if (!arg_is(call, 1, found->name)) { continue; }
        bool fits = call->argc >= found->argc_min &&
                    (found->argc_max == 0 || call->argc <= found->argc_max);
        if (fits) { return (int)i; }
        reply_errorf(call->reply, "ERR wrong number of arguments for '%s|%s' command", container,
                     found->name);
        return -1;
    }
    struct slice word = call->argv[1];
    if (word.len > 128) { word.len = 128; }
    char upper[16] = "";
    for (size_t i = 0; container[i] != 0 && i + 1 < sizeof upper; i++) {
        upper[i] = (char)(container[i] - 'a' + 'A');
        upper[i + 1] = 0;
    }
    reply_errorf(call->reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", SLICE_ARG(word),
                 upper);
    return -1;
}
