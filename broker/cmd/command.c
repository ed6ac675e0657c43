/* command: the rows, and an open-addressing index over their names folded to lower case, eight
 * bytes at a time. */
#include "cmd/command.h"

#include "base/mem.h"

/* The places of a row's keys: none; rules; or shard channels, from one place to another, below 0: counted
 * from the end. */
#define NO_KEYS \
    {           \
        {       \
            0   \
        }       \
    }
#define RULES(...)  \
    {               \
        __VA_ARGS__ \
    }
#define CHANNELS(first, end, each) RULES(PLACES(first, end, each, KEY_NOT_KEY))

/* One rule: from one place to another; as many as the number at a place says; or behind a word. */
#define PLACES(first, end, each, use)                                                          \
    {                                                                                          \
        .from = first, .last = (end) < 0 ? (end) : (end) - (first), .step = each, .flags = use \
    }
#define COUNTED(at, use)                                        \
    {                                                           \
        .from = at, .is_counted = true, .step = 1, .flags = use \
    }
#define PAIRS(at, use)                                          \
    {                                                           \
        .from = at, .is_counted = true, .step = 2, .flags = use \
    }
#define BEHIND(before, at, end, parts, use)                                              \
    {                                                                                    \
        .word = before, .from = at, .last = end, .step = 1, .limit = parts, .flags = use \
    }

const struct command command_table[COMMAND_COUNT] = {
#define COMMAND(id, word, run, words, key_places, flag_set, acl, in_group, from, cost, text, args) \
    {.name = word,                                                                                 \
     .full_name = word,                                                                            \
     .handler = run,                                                                               \
     .arity = words,                                                                               \
     .keys = key_places,                                                                           \
     .flags = flag_set,                                                                            \
     .categories = acl,                                                                            \
     .group = GROUP_##in_group,                                                                    \
     .since = from,                                                                                \
     .complexity = cost,                                                                           \
     .summary = text,                                                                              \
     .syntax = args,                                                                               \
     .container = COMMAND_COUNT},
#define CONTAINER(id, word, in_group, from, text) \
    {.name = word,                                \
     .full_name = word,                           \
     .arity = -2,                                 \
     .group = GROUP_##in_group,                   \
     .since = from,                               \
     .complexity = "Depends on the subcommand",   \
     .summary = text,                             \
     .syntax = "",                                \
     .container = COMMAND_COUNT},
#define SUBCOMMAND(of, id, word, run, words, key_places, flag_set, acl, in_group, from, cost, \
                   text, args)                                                                \
    {.name = word,                                                                            \
     .full_name = #of "|" word,                                                               \
     .handler = run,                                                                          \
     .arity = words,                                                                          \
     .keys = key_places,                                                                      \
     .flags = flag_set,                                                                       \
     .categories = acl,                                                                       \
     .group = GROUP_##in_group,                                                               \
     .since = from,                                                                           \
     .complexity = cost,                                                                      \
     .summary = text,                                                                         \
     .syntax = args,                                                                          \
     .container = COMMAND_##of},
#include "cmd/commands.def"
#undef COMMAND
#undef CONTAINER
#undef SUBCOMMAND
};

const char *const command_full_names[COMMAND_COUNT] = {
#define COMMAND(id, word, ...) word,
#define CONTAINER(id, word, ...) word,
#define SUBCOMMAND(of, id, word, ...) #of "|" word,
#include "cmd/commands.def"
#undef COMMAND
#undef CONTAINER
#undef SUBCOMMAND
};

const char *const command_flag_word[COMMAND_FLAG_COUNT] = {
#define FLAG(name, word) word,
    COMMAND_FLAGS(FLAG) COMMAND_INNER_FLAGS(FLAG)
#undef FLAG
};

const char *const command_category_word[COMMAND_CATEGORY_COUNT] = {
#define CATEGORY(name, word) word,
    COMMAND_CATEGORIES(CATEGORY)
#undef CATEGORY
};

const char *const command_group_word[COMMAND_GROUPS] = {
    [GROUP_BITMAP] = "bitmap",
    [GROUP_CLUSTER] = "cluster",
    [GROUP_CONNECTION] = "connection",
    [GROUP_GENERIC] = "generic",
    [GROUP_GEO] = "geo",
    [GROUP_HASH] = "hash",
    [GROUP_HYPERLOGLOG] = "hyperloglog",
    [GROUP_LIST] = "list",
    [GROUP_PUBSUB] = "pubsub",
    [GROUP_SCRIPTING] = "scripting",
    [GROUP_SERVER] = "server",
    [GROUP_SET] = "set",
    [GROUP_SORTED_SET] = "sorted-set",
    [GROUP_STREAM] = "stream",
    [GROUP_STRING] = "string",
    [GROUP_TRANSACTIONS] = "transactions",
};

uint32_t command_acl(const struct command *command)
{
    static const struct {
        uint32_t flag;
        uint32_t categories;
    } implied[] = {
        {CMD_WRITE, ACL_WRITE},
        {CMD_READONLY, ACL_READ},
        {CMD_ADMIN, ACL_ADMIN | ACL_DANGEROUS},
        {CMD_PUBSUB, ACL_PUBSUB},
        {CMD_BLOCKING, ACL_BLOCKING},
    };
    uint32_t categories = command->categories;
    for (size_t i = 0; i < COUNT_OF(implied); i++) {
        if (command->flags & implied[i].flag) { categories |= implied[i].categories; }
    }
    return categories | (command->flags & CMD_FAST ? ACL_FAST : ACL_SLOW);
}

enum {
    NAME_WORDS = 3,     /* no name is longer than 24 bytes */
    INDEX_SLOTS = 2048, /* a power of two, several times the rows */
    INDEX_SHIFT = 64 - 11,
};
_Static_assert(COMMAND_COUNT * 3 < INDEX_SLOTS, "the command index is too full");
_Static_assert(1 << (64 - INDEX_SHIFT) == INDEX_SLOTS, "the shift leaves a slot number");

/* A name in lower case, padded with zero bytes; and its length and the container in which it is
 * looked up. */
struct folded {
    uint64_t word[NAME_WORDS];
    uint64_t scope;
};

struct index_slot {
    struct folded name;
    const struct command *command; /* NULL: free */
};

struct command_index {
    struct index_slot slot[INDEX_SLOTS];
};

/* ASCII capital letters of eight bytes to small ones, all at once. */
static inline uint64_t lower(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101ULL;
    uint64_t low7 = word & 0x7f * ones;
    uint64_t from_a = low7 + (0x80 - 'A') * ones;     /* top bit: the byte is 'A' or more */
    uint64_t past_z = low7 + (0x80 - 'Z' - 1) * ones; /* top bit: it is more than 'Z' */
    uint64_t capitals = from_a & ~past_z & ~word & 0x80 * ones;
    return word | capitals >> 2;
}

/* Up to eight bytes, the rest zero. */
static inline uint64_t load(const char *at, size_t len)
{
    if (len >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        return word;
    }
    if (len >= 4) {
        uint32_t head, tail;
        memcpy(&head, at, 4);
        memcpy(&tail, at + len - 4, 4);
        return head | (uint64_t)tail << (len - 4) * 8;
    }
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        word |= (uint64_t)(unsigned char)at[i] << i * 8;
    }
    return word;
}

/* False: longer than any name. */
static inline bool fold(struct slice name, uint32_t container, struct folded *out)
{
    if (name.len > NAME_WORDS * 8) { return false; }
    *out = (struct folded){.scope = container | (uint64_t)name.len << 32};
    for (size_t i = 0; i * 8 < name.len; i++) {
        out->word[i] = lower(load(name.data + i * 8, name.len - i * 8));
    }
    return true;
}

static inline bool folded_equal(const struct folded *a, const struct folded *b)
{
    return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
           a->scope == b->scope;
}

static inline size_t first_slot(const struct folded *name)
{
    uint64_t mixed = name->word[0] ^ (name->word[1] ^ name->word[2] << 7 ^ name->scope << 24) *
                                         0x9e3779b97f4a7c15ULL;
    return (size_t)(mixed * 0xd6e8feb86659fd93ULL >> INDEX_SHIFT);
}

/* The slot of that name, or the free one where it would be. */
static inline const struct index_slot *probe(const struct command_index *index,
                                             const struct folded *name)
{
    size_t at = first_slot(name);
    while (index->slot[at].command != NULL && !folded_equal(&index->slot[at].name, name)) {
        at = (at + 1) % INDEX_SLOTS;
    }
    return &index->slot[at];
}

struct command_index *command_index_new(void)
{
    struct command_index *index = mem_new0(sizeof *index);
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        const struct command *command = &command_table[id];
        struct folded name;
        CHECK(fold(slice_of_str(command->name), command->container, &name));
        struct index_slot *slot = &index->slot[probe(index, &name) - index->slot];
        CHECK(slot->command == NULL); /* no name twice */
        *slot = (struct index_slot){name, command};
    }
    return index;
}

void command_index_free(struct command_index *index)
{
    mem_free(index);
}

const struct command *command_find(const struct command_index *index, struct slice name)
{
    struct folded folded;
    return fold(name, COMMAND_COUNT, &folded) ? probe(index, &folded)->command : NULL;
}

const struct command *command_find_sub(const struct command_index *index,
                                       const struct command *container, struct slice name)
{
    struct folded folded;
    return fold(name, command_id(container), &folded) ? probe(index, &folded)->command : NULL;
}
