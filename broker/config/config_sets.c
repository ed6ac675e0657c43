/* config_sets: values that are sets, kept as bits: classes of keyspace events, databases. */
#include "config/config_int.h"

#include <inttypes.h>

/* Redis's letter of each bit; the order is that of config.h. */
static const char event_letters[] = "g$lshztxnedmKE";
static const char event_all[] = "g$lshztxed"; /* A */

static int64_t bit_of(char letter)
{
    const char *at = letter != '\0' ? strchr(event_letters, letter) : NULL;
    return at != NULL ? 1LL << (at - event_letters) : 0;
}

static int64_t all_bits(void)
{
    int64_t bits = 0;
    for (const char *at = event_all; *at != '\0'; at++) {
        bits |= bit_of(*at);
    }
    return bits;
}

bool events_parse(struct slice text, int64_t *out, struct buf *why)
{
    int64_t bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int64_t bit = text.data[i] == 'A' ? all_bits() : bit_of(text.data[i]);
        if (bit == 0) {
            buf_append(why, SLICE("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."));
            return false;
        }
        bits |= bit;
    }
    *out = bits;
    return true;
}

void events_print(int64_t bits, struct buf *out)
{
    static const char order[] = "g$lshzxetdKEmn"; /* as Redis prints them */
    bool has_all = (bits & all_bits()) == all_bits();
    if (has_all) { buf_append(out, SLICE("A")); }
    for (const char *at = order; *at != '\0'; at++) {
        bool is_shown = (bits & bit_of(*at)) != 0 && !(has_all && (all_bits() & bit_of(*at)) != 0);
        if (is_shown) { buf_append(out, slice_of(at, 1)); }
    }
}

enum { DATABASES_MAX = 16 };

bool databases_parse(struct slice text, int64_t *out, struct buf *why)
{
    int64_t bits = 0;
    struct slice rest = text;
    struct slice word;
    bool is_optional;
    int64_t number;
    while (config_list_next(&rest, &word, &is_optional)) {
        bool is_good =
            !is_optional && slice_to_int64(word, &number) && number >= 0 && number < DATABASES_MAX;
        if (!is_good) {
            buf_appendf(why, "argument must be a list of databases, 0 to %d", DATABASES_MAX - 1);
            return false;
        }
        bits |= 1LL << number;
    }
    *out = bits;
    return true;
}

void databases_print(int64_t bits, struct buf *out)
{
    const char *between = "";
    for (unsigned i = 0; i < DATABASES_MAX; i++) {
        if ((bits >> i & 1) == 0) { continue; }
        buf_appendf(out, "%s%u", between, i);
        between = " ";
    }
}
