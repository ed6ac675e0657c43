/* data_command: the table of data commands. */
#include "data/data_call.h"

enum { NAME_MAX_BYTES = 24, NAME_WORDS = NAME_MAX_BYTES / 8 };

/* A name's letters as numbers, which are ordered as names are: each call of an entry looks its command up. */
struct packed {
    uint64_t word[NAME_WORDS];
};

#define LETTER(name, i) ((uint64_t) #name[(i) < sizeof #name ? (i) : sizeof #name - 1])
#define PACKED(name, i)                                                                        \
    (LETTER(name, i) << 56 | LETTER(name, (i) + 1) << 48 | LETTER(name, (i) + 2) << 40 |       \
     LETTER(name, (i) + 3) << 32 | LETTER(name, (i) + 4) << 24 | LETTER(name, (i) + 5) << 16 | \
     LETTER(name, (i) + 6) << 8 | LETTER(name, (i) + 7))

static const struct packed packed[] = {
#define DATA(name, arity, access) {{PACKED(name, 0), PACKED(name, 8), PACKED(name, 16)}},
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

static struct packed pack(struct slice name)
{
    struct packed out = {{0}};
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        uint64_t letter = (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        out.word[i / 8] |= letter << (56 - i % 8 * 8);
    }
    return out;
}

static int compare(const struct packed *a, const struct packed *b)
{
    for (size_t i = 0; i < NAME_WORDS; i++) {
        if (a->word[i] != b->word[i]) { return a->word[i] < b->word[i] ? -1 : 1; }
    }
    return 0;
}

const struct data_command *data_command_find(struct slice name)
{
    if (name.len > NAME_MAX_BYTES || memchr(name.data, 0, name.len) != NULL) { return NULL; }
    const struct packed wanted = pack(name);
    size_t from = 0;
    for (size_t count = COUNT_OF(table); count > 1;) {
        size_t half = count / 2;
        from += compare(&wanted, &packed[from + half]) >= 0 ? half : 0;
        count -= half;
    }
    return compare(&wanted, &packed[from]) == 0 ? &table[from] : NULL;
}
