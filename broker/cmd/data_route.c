/* data_route: by database, by slot, and the few commands that name another database. */
#include "cmd/data_route.h"

#include "base/slot.h"

bool data_arg_database(struct slice text, uint16_t *database)
{
    int64_t number;
    if (!slice_to_int64(text, &number) || number < 0 || number >= DATABASES) { return false; }
    *database = (uint16_t)number;
    return true;
}

static struct data_place whole(const struct broker *broker, uint16_t database)
{
    return (struct data_place){database % broker->partition_count, SLOT_COUNT};
}

struct data_place data_place_of(const struct broker *broker, uint16_t database, struct slice key)
{
    if (!data_is_sharded(broker, database)) { return whole(broker, database); }
    uint32_t slot = slot_of(key);
    return (struct data_place){slot_partition(broker->partition_count, slot), slot};
}

/* ---- two databases ---- */

/* The other database that the command names, or its own. */
static uint16_t other_database(const struct command *command, const struct slice *argv,
                               uint32_t argc, uint16_t database)
{
    uint16_t other = database;
    uint32_t id = command_id(command);
    if (id == COMMAND_move) {
        (void)data_arg_database(argv[2], &other);
    } else if (id == COMMAND_copy) {
        for (uint32_t i = 3; i + 1 < argc; i++) {
            if (slice_equal_nocase(argv[i], SLICE("db"))) {
                (void)data_arg_database(argv[i + 1], &other);
            }
        }
    }
    return other;
}

static enum data_route refuse_pair(const struct broker *broker, const struct command *command,
                                   uint16_t a, uint16_t b, struct buf *why)
{
    buf_appendf(why,
                "ERR %s between databases %u and %u is not possible: they are not in the same "
                "partition. Database n is in partition n modulo %u (the option partitions)",
                command->name, a, b, broker->partition_count);
    return DATA_REFUSED;
}

static enum data_route route_swap(const struct broker *broker, const struct command *command,
                                  const struct slice *argv, struct data_place *place,
                                  struct buf *why)
{
    uint16_t a = 0;
    uint16_t b = 0;
    bool are_good = data_arg_database(argv[1], &a) && data_arg_database(argv[2], &b);
    *place = whole(broker, a);
    if (!are_good || a == b) { return DATA_ONE; }
    bool is_spread = data_is_sharded(broker, a) || data_is_sharded(broker, b);
    return is_spread || whole(broker, b).partition != place->partition
               ? refuse_pair(broker, command, a, b, why)
               : DATA_ONE;
}

/* ---- slots ---- */

static enum data_route refuse_slots(struct buf *why)
{
    buf_append(why,
               SLICE("CROSSSLOT Keys in request don't hash to the same slot: give them a common "
                     "{tag}, or use a database that is not in sharded-databases"));
    return DATA_REFUSED;
}

/* All keys must be in one slot. */
static enum data_route route_keys(const struct broker *broker, const struct command *command,
                                  const struct slice *argv, uint32_t argc, uint16_t database,
                                  struct data_place *place, struct buf *why)
{
    bool is_first = true;
    *place = (struct data_place){0, 0};
    for (uint32_t r = 0; r < KEY_RULES; r++) {
        struct key_range range;
        if (!key_rule_find(&command->keys[r], argv, argc, &range)) { continue; }
        for (uint32_t i = 0; i < range.count; i++) {
            struct data_place at =
                data_place_of(broker, database, argv[range.first + i * range.step]);
            if (!is_first && at.slot != place->slot) { return refuse_slots(why); }
            *place = at;
            is_first = false;
        }
    }
    return DATA_ONE;
}

enum data_route data_route(const struct broker *broker, const struct command *command,
                           const struct slice *argv, uint32_t argc, uint16_t database,
                           struct data_place *place, struct buf *why)
{
    uint32_t id = command_id(command);
    if (UNLIKELY(id == COMMAND_flushall)) { return DATA_ALL; }
    if (UNLIKELY(id == COMMAND_script_load || id == COMMAND_script_flush)) {
        *place = whole(broker, 0);
        return broker->partition_count > 1 ? DATA_ALL : DATA_ONE;
    }
    if (UNLIKELY(id == COMMAND_swapdb)) { return route_swap(broker, command, argv, place, why); }
    if (UNLIKELY(id == COMMAND_move || id == COMMAND_copy)) {
        uint16_t other = other_database(command, argv, argc, database);
        bool is_spread = data_is_sharded(broker, other) != data_is_sharded(broker, database);
        if (is_spread || (!data_is_sharded(broker, database) &&
                          whole(broker, other).partition != whole(broker, database).partition)) {
            return refuse_pair(broker, command, database, other, why);
        }
    }
    if (LIKELY(!data_is_sharded(broker, database))) {
        *place = whole(broker, database);
        return DATA_ONE;
    }
    if (command->keys[0].from == 0) { return DATA_ALL; } /* of the whole database */
    return route_keys(broker, command, argv, argc, database, place, why);
}
