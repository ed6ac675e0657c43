/* command: the table of all commands, one row per command and per subcommand (commands.def), and
 * the lookup by name.
 * Owns: the index. The rows are constant. Thread: any, once command_index_new has returned. */
#ifndef FANFARE_CMD_COMMAND_H
#define FANFARE_CMD_COMMAND_H

#include <stdint.h>

#include "base/slice.h"
#include "cmd/keys.h"

struct call;

/* A handler writes one reply (or, for SUBSCRIBE and its kin, one per argument) and returns. The
 * client's mistakes are replies.
 * Thread: the worker of the session. */
typedef void command_handler(struct call *call);

/* FLAG(name, word): properties of a row that clients see in COMMAND INFO, as they know them from
 * Redis. */
#define COMMAND_FLAGS(FLAG)                            \
    FLAG(WRITE, "write")                               \
    FLAG(READONLY, "readonly")                         \
    FLAG(DENYOOM, "denyoom")                           \
    FLAG(ADMIN, "admin")                               \
    FLAG(PUBSUB, "pubsub")                             \
    FLAG(NOSCRIPT, "noscript")                         \
    FLAG(BLOCKING, "blocking")                         \
    FLAG(LOADING, "loading")                           \
    FLAG(STALE, "stale")                               \
    FLAG(SKIP_SLOWLOG, "skip_slowlog")                 \
    FLAG(FAST, "fast")                                 \
    FLAG(NO_AUTH, "no_auth") /* may run before AUTH */ \
    FLAG(NO_MULTI, "no_multi")                         \
    FLAG(ALLOW_BUSY, "allow_busy")                     \
    FLAG(MOVABLEKEYS, "movablekeys")                   \
    FLAG(SKIP_MONITOR, "skip_monitor")                 \
    FLAG(NO_MANDATORY_KEYS, "no_mandatory_keys")

/* FLAG(name, word): what only the pipeline looks at. */
#define COMMAND_INNER_FLAGS(FLAG)                                                              \
    FLAG(PUBLISHES, "")     /* in flight with its neighbours; the fan-out brings its answer */ \
    FLAG(MAY_REPLICATE, "") /* it may write, or publish: CLIENT PAUSE WRITE holds it back */   \
    FLAG(LOGGED, "") /* goes into the log, although it is no write by its flags: a script */   \
    FLAG(DATA, "")   /* its keys' partition answers it; in flight with its neighbours there */ \
    FLAG(PUSHES, "") /* its answers are pushes: CLIENT REPLY OFF does not silence them */      \
    FLAG(SUBSCRIBE_MODE, "") /* a RESP2 client with subscriptions may run it */                \
    FLAG(NOT_QUEUED, "")     /* runs at once inside MULTI */                                   \
    FLAG(VARIES, "")         /* tip: the same question may be answered differently */          \
    FLAG(VARIES_ORDER, "")   /* tip: or in another order */

/* CATEGORY(name, word): ACL categories. Those that follow from flags are added by command_acl. */
#define COMMAND_CATEGORIES(CATEGORY)      \
    CATEGORY(KEYSPACE, "@keyspace")       \
    CATEGORY(READ, "@read")               \
    CATEGORY(WRITE, "@write")             \
    CATEGORY(SET, "@set")                 \
    CATEGORY(SORTEDSET, "@sortedset")     \
    CATEGORY(LIST, "@list")               \
    CATEGORY(HASH, "@hash")               \
    CATEGORY(STRING, "@string")           \
    CATEGORY(BITMAP, "@bitmap")           \
    CATEGORY(HYPERLOGLOG, "@hyperloglog") \
    CATEGORY(GEO, "@geo")                 \
    CATEGORY(STREAM, "@stream")           \
    CATEGORY(PUBSUB, "@pubsub")           \
    CATEGORY(ADMIN, "@admin")             \
    CATEGORY(FAST, "@fast")               \
    CATEGORY(SLOW, "@slow")               \
    CATEGORY(BLOCKING, "@blocking")       \
    CATEGORY(DANGEROUS, "@dangerous")     \
    CATEGORY(CONNECTION, "@connection")   \
    CATEGORY(TRANSACTION, "@transaction") \
    CATEGORY(SCRIPTING, "@scripting")

enum command_flag_at {
#define FLAG(name, word) COMMAND_FLAG_AT_##name,
    COMMAND_FLAGS(FLAG) COMMAND_INNER_FLAGS(FLAG)
#undef FLAG
};

enum command_flag {
#define FLAG(name, word) CMD_##name = 1 << COMMAND_FLAG_AT_##name,
    COMMAND_FLAGS(FLAG) COMMAND_INNER_FLAGS(FLAG)
#undef FLAG
};

enum command_category_at {
#define CATEGORY(name, word) COMMAND_CATEGORY_AT_##name,
    COMMAND_CATEGORIES(CATEGORY)
#undef CATEGORY
};

enum command_category {
    ACL_NONE = 0,
#define CATEGORY(name, word) ACL_##name = 1 << COMMAND_CATEGORY_AT_##name,
    COMMAND_CATEGORIES(CATEGORY)
#undef CATEGORY
};

enum command_group {
    GROUP_BITMAP,
    GROUP_CLUSTER,
    GROUP_CONNECTION,
    GROUP_GENERIC,
    GROUP_GEO,
    GROUP_HASH,
    GROUP_HYPERLOGLOG,
    GROUP_LIST,
    GROUP_PUBSUB,
    GROUP_SCRIPTING,
    GROUP_SERVER,
    GROUP_SET,
    GROUP_SORTED_SET,
    GROUP_STREAM,
    GROUP_STRING,
    GROUP_TRANSACTIONS,
    COMMAND_GROUPS
};

/* COMMAND_publish, COMMAND_client, COMMAND_client_list, ...: a row's place in the table, in the
 * order of commands.def: a container is followed by its subcommands. */
enum command_id {
#define COMMAND(id, ...) COMMAND_##id,
#define CONTAINER(id, ...) COMMAND_##id,
#define SUBCOMMAND(container, id, ...) COMMAND_##container##_##id,
#include "cmd/commands.def"
#undef COMMAND
#undef CONTAINER
#undef SUBCOMMAND
    COMMAND_COUNT
};

struct command {
    const char *name;         /* lower case; of a subcommand, its second word: "list" */
    const char *full_name;    /* "client|list" */
    command_handler *handler; /* NULL for a container */
    const char *since;        /* the Redis version that brought it */
    const char *complexity;
    const char *summary;
    const char *syntax;  /* the arguments, for people: "channel [channel ...]" */
    uint32_t flags;      /* enum command_flag, or-ed */
    uint32_t categories; /* enum command_category; see command_acl */
    int16_t arity;       /* words including the name(s); below 0: at least that many */
    uint16_t container; /* enum command_id of a subcommand's container; COMMAND_COUNT: it is none */
    struct key_rule keys[KEY_RULES]; /* of its keys or shard channels */
    uint8_t group;                   /* enum command_group */
};

/* Every row by its id. */
extern const struct command command_table[COMMAND_COUNT];

static inline uint32_t command_id(const struct command *command)
{
    return (uint32_t)(command - command_table);
}

static inline bool command_is_subcommand(const struct command *command)
{
    return command->container != COMMAND_COUNT;
}

/* Its subcommands are the rows right behind it that have it as container. */
static inline bool command_has_subcommands(const struct command *command)
{
    uint32_t next = command_id(command) + 1;
    return next < COMMAND_COUNT && command_table[next].container == command_id(command);
}

/* Does it go into the log, to be executed on every replica? */
static inline bool command_is_logged(const struct command *command)
{
    return (command->flags & (CMD_WRITE | CMD_LOGGED)) != 0;
}

static inline bool command_arity_fits(const struct command *command, uint32_t argc)
{
    return command->arity >= 0 ? argc == (uint32_t)command->arity
                               : argc >= (uint32_t)-command->arity;
}

/* Lookup by name, ASCII case ignored. */
struct command_index;
MUST_USE struct command_index *command_index_new(void);
void command_index_free(struct command_index *index); /* NULL is allowed */

/* The command, or NULL; never a subcommand. */
const struct command *command_find(const struct command_index *index, struct slice name);

/* The container's subcommand, or NULL. */
const struct command *command_find_sub(const struct command_index *index,
                                       const struct command *container, struct slice name);

/* All categories of a row: the given ones and those that its flags imply. */
uint32_t command_acl(const struct command *command);

/* Words for COMMAND INFO and DOCS: the word of flag or category number `at` ("" for an inner flag),
 * and of a group. */
enum {
    COMMAND_FLAG_COUNT = COMMAND_FLAG_AT_VARIES_ORDER + 1,
    COMMAND_CATEGORY_COUNT = COMMAND_CATEGORY_AT_SCRIPTING + 1
};
extern const char *const command_flag_word[COMMAND_FLAG_COUNT];
extern const char *const command_category_word[COMMAND_CATEGORY_COUNT];
extern const char *const command_group_word[COMMAND_GROUPS];

/* The full name of each row, for metrics_family_labels. */
extern const char *const command_full_names[COMMAND_COUNT];

/* Every handler that a row names, declared; commands.def tells the file of each. cmd_help serves
 * the HELP of every container from the table. */
#define COMMAND(id, name, handler, ...) command_handler handler;
#define CONTAINER(id, ...)
#define SUBCOMMAND(container, id, name, handler, ...) command_handler handler;
#include "cmd/commands.def"
#undef COMMAND
#undef CONTAINER
#undef SUBCOMMAND

#endif
