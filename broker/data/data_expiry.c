/* data_expiry: deadlines as arguments give them. */
#include "data/data_expiry.h"

#include "data/data_args.h"

bool arg_is_expiry(const struct data_call *call, uint32_t i, struct expiry_unit *unit)
{
    static const struct {
        const char *word;
        struct expiry_unit unit;
    } words[] = {{"EX", {true, false}},
                 {"PX", {false, false}},
                 {"EXAT", {true, true}},
                 {"PXAT", {false, true}}};
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        if (!arg_is_with_value(call, i, words[w].word)) { continue; }
        *unit = words[w].unit;
        return true;
    }
    return false;
}

bool arg_expiry(const struct data_call *call, uint32_t i, struct expiry_unit unit, uint64_t *at_ms)
{
    int64_t v;
    if (!arg_int(call, i, &v)) { return false; }
    int64_t now = unit.is_at ? 0 : (int64_t)store_txn_now_ms(call->txn);
    bool is_good = v > 0 && (!unit.is_seconds || v <= INT64_MAX / 1000);
    if (is_good && unit.is_seconds) { v *= 1000; }
    if (!is_good || v > INT64_MAX - now) {
        char name[32];
        size_t len = call->argv[0].len < sizeof name ? call->argv[0].len : sizeof name - 1;
        for (size_t c = 0; c < len; c++) {
            char letter = call->argv[0].data[c];
            name[c] = letter >= 'A' && letter <= 'Z' ? (char)(letter + 32) : letter;
        }
        name[len] = 0;
        reply_errorf(call->reply, "ERR invalid expire time in '%s' command", name);
        return false;
    }
    *at_ms = (uint64_t)(v + now);
    return true;
}
