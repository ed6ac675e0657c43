/* Any bytes behind a right checksum as what RESTORE gets: an error that leaves nothing, or a key whose DUMP says the same again. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "data/data_call.h"
#include "rdb/rdb_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct store *store;
    struct store_txn *txn;
    struct buf out;
};

static void must(enum err err)
{
    if (err != ERR_OK) { abort(); }
}

static void world_begin(struct world *world)
{
    char path[64];
    char lock[80];
    snprintf(path, sizeof path, "/dev/shm/fuzz_data_restore.%d", getpid());
    snprintf(lock, sizeof lock, "%s-lock", path);
    unlink(path);
    const struct store_opts opts = {
        .path = path, .map_bytes = 1 << 26, .readers_max = 4, .hash_seed = {7, 11}};
    must(store_open(&world->store, &opts));
    unlink(path);
    unlink(lock);
    must(store_begin(world->store, &world->txn));
    store_txn_entry(world->txn, 1000, 42);
}

/* Run a command. Gives: its reply, in world->out. */
static void run(struct world *world, data_handler *handler, const struct slice *argv, uint32_t argc)
{
    world->out.len = 0;
    struct reply reply = {.out = &world->out, .version = 2};
    struct data_call call = {.argc = argc, .argv = argv, .txn = world->txn, .reply = &reply};
    handler(&call);
}

/* The payload in the bulk string that was replied. */
static struct slice payload_of(const struct world *world)
{
    const char *end = memchr(world->out.data, '\n', world->out.len);
    if (world->out.data[0] != '$' || end == NULL) { abort(); }
    size_t head = (size_t)(end + 1 - world->out.data);
    return slice_of(end + 1, world->out.len - head - 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = {.store = NULL};
    struct buf payload = {0};
    struct buf again = {0};
    world_begin(&world);
    buf_append(&payload, slice_of(data, size));
    rdb_payload_end(&payload, RDB_VERSION_WRITTEN);
    const struct slice restore[] = {SLICE("restore"), SLICE("k"), SLICE("0"), buf_slice(&payload)};
    run(&world, data_restore, restore, 4);
    bool is_there = world.out.data[0] == '+';
    if (is_there != (store_db_count(world.txn, 0).keys == 1)) { abort(); }
    if (is_there) {
        const struct slice dump[] = {SLICE("dump"), SLICE("k")};
        run(&world, data_dump, dump, 2);
        buf_append(&again, payload_of(&world));
        const struct slice twice[] = {SLICE("restore"), SLICE("k"), SLICE("0"), buf_slice(&again),
                                      SLICE("REPLACE")};
        run(&world, data_restore, twice, 5);
        if (world.out.data[0] != '+') { abort(); }
        run(&world, data_dump, dump, 2);
        if (!slice_equal(payload_of(&world), buf_slice(&again))) { abort(); }
    }
    if (store_txn_err(world.txn) != ERR_OK && store_txn_err(world.txn) != ERR_FULL) { abort(); }
    store_abort(world.txn);
    store_close(world.store);
    buf_fini(&payload);
    buf_fini(&again);
    buf_fini(&world.out);
    return 0;
}
