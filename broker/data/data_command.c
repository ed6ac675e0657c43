/* data_command: the table of data commands. */
#include "data/data_call.h"

enum { NAME_MAX_BYTES = 16 };

/* A name's letters as two numbers, which are ordered as names are: each call of an entry looks its command up. */
struct packed {
    uint64_t first;
    uint64_t second;
};

#define LETTER(name, i) ((uint64_t) #name[(i) < sizeof #name ? (i) : sizeof #name - 1])
#define PACKED(name, i)                                                                        \
    (LETTER(name, i) << 56 | LETTER(name, (i) + 1) << 48 | LETTER(name, (i) + 2) << 40 |       \
     LETTER(name, (i) + 3) << 32 | LETTER(name, (i) + 4) << 24 | LETTER(name, (i) + 5) << 16 | \
     LETTER(name, (i) + 6) << 8 | LETTER(name, (i) + 7))

static const struct packed packed[] = {
#define DATA(name, arity, access) {PACKED(name, 0), PACKED(name, 8)},
#include "data/data.def"
#undef DATA
};

static const struct data_command table[] = {
#define DATA(name, arity, access) {#name, data_##name, arity, DATA_##access},
#include "data/data.def"
#undef DATA
};

#define DATA(name, arity, access) \
    _Static_assert(sizeof #name - 1 <= NAME_MAX_BYTES, "it can be packed");
#include "data/data.def"
#undef DATA

static uint64_t pack(const char *bytes, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < 8; i++) {
        char c = i < len ? bytes[i] : 0;
        word = word << 8 | (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    return word;
}

const struct data_command *data_command_find(struct slice name)
{
    if (name.len > NAME_MAX_BYTES || memchr(name.data, 0, name.len) != NULL) { return NULL; }
    const struct packed wanted = {pack(name.data, name.len),
                                  name.len > 8 ? pack(name.data + 8, name.len - 8) : 0};
    size_t from = 0;
    for (size_t count = COUNT_OF(table); count > 1;) {
        size_t half = count / 2;
        const struct packed *at = &packed[from + half];
        bool is_below =
            wanted.first < at->first || (wanted.first == at->first && wanted.second < at->second);
        from += is_below ? 0 : half;
        count -= half;
    }
    bool is_it = packed[from].first == wanted.first && packed[from].second == wanted.second;
    return is_it ? &table[from] : NULL;
}
