/* store: CPU per operation of the data structures at size, by batches of 1 and 100 operations a transaction.
 * usage: micro_store FILE [MEMBERS]   (FILE is made, and removed) */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/store_list.h"
#include "store/store_stream.h"
#include "store/store_string.h"
#include "store/store_zset.h"

enum { OPERATIONS = 20000, PAYLOAD_BYTES = 100, RANGE = 100 };

struct world {
    struct store *store;
    struct store_txn *txn;
    uint64_t members;
    uint64_t next;
    uint64_t random;
    uint64_t id;
    struct store_object zset;
    struct store_object list;
    struct store_object stream;
    char payload[PAYLOAD_BYTES];
};

static const struct store_ref zset_ref = {0, 0, {"zset", 4}};
static const struct store_ref list_ref = {0, 0, {"list", 4}};
static const struct store_ref stream_ref = {0, 0, {"stream", 6}};

static void must(enum err err, const char *what)
{
    if (err == ERR_OK) { return; }
    fprintf(stderr, "micro_store: %s: %s\n", what, err_word(err));
    exit(1);
}

static uint64_t draw(struct world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void begin(struct world *w)
{
    must(store_begin(w->store, &w->txn), "begin");
    store_txn_entry(w->txn, 1, 1);
}

static void commit(struct world *w)
{
    store_key_save(w->txn, &zset_ref, &w->zset);
    store_key_save(w->txn, &list_ref, &w->list);
    store_key_save(w->txn, &stream_ref, &w->stream);
    must(store_commit(w->txn), "commit");
}

static struct slice member(uint64_t number, char out[32])
{
    return slice_of(out, (size_t)snprintf(out, 32, "member:%lu", number));
}

static void zset_add(struct world *w)
{
    char text[32];
    (void)store_zset_put(w->txn, &w->zset, member(w->next++, text), (double)(draw(w) >> 20));
}

static void zset_rescore(struct world *w)
{
    char text[32];
    (void)store_zset_put(w->txn, &w->zset, member(draw(w) % w->members, text),
                         (double)(draw(w) >> 20));
}

static void zset_rank(struct world *w)
{
    char text[32];
    uint64_t rank;
    (void)store_zset_rank(w->txn, &w->zset, member(draw(w) % w->members, text), &rank);
}

static void zset_pop_min(struct world *w)
{
    struct store_walk walk;
    char text[32];
    (void)store_zset_walk(&walk, w->txn, &w->zset, 0, STORE_UP);
    struct slice first = store_walk_name(&walk);
    memcpy(text, first.data, first.len);
    store_walk_end(&walk);
    (void)store_zset_delete(w->txn, &w->zset, slice_of(text, first.len));
}

static void zset_range(struct world *w)
{
    struct store_walk walk;
    bool any = store_zset_walk(&walk, w->txn, &w->zset, draw(w) % (w->members / 2), STORE_UP);
    for (unsigned i = 0; any && i < RANGE; i++) {
        (void)store_walk_score(&walk);
        any = store_walk_next(&walk);
    }
    store_walk_end(&walk);
}

static void list_push(struct world *w)
{
    store_list_push(w->txn, &w->list, STORE_TAIL, slice_of(w->payload, PAYLOAD_BYTES));
}

static void list_pop(struct world *w)
{
    struct buf out = {0};
    store_list_pop(w->txn, &w->list, STORE_HEAD, &out);
    buf_fini(&out);
}

static void list_index(struct world *w)
{
    struct buf out = {0};
    (void)store_list_get(w->txn, &w->list, draw(w) % w->list.count, &out);
    buf_fini(&out);
}

static void stream_add(struct world *w)
{
    const struct slice part[2] = {SLICE("field"), slice_of(w->payload, PAYLOAD_BYTES)};
    store_stream_add(w->txn, &w->stream, (struct store_id){++w->id, 0}, part, 2);
}

static void stream_range(struct world *w)
{
    struct store_entries entries;
    const struct store_id from = {1 + draw(w) % w->id, 0};
    bool any = store_entries_begin(&entries, w->txn, &w->stream, from, STORE_UP);
    for (unsigned i = 0; any && i < RANGE; i++) {
        (void)store_entries_part(&entries);
        any = store_entries_next(&entries);
    }
    store_entries_end(&entries);
}

static void string_set(struct world *w)
{
    char text[32];
    const struct store_ref ref = {1, 0, member(draw(w) % 100000, text)};
    struct store_object string;
    if (!store_key_find(w->txn, &ref, &string)) { store_key_create(w->txn, STORE_STRING, &string); }
    store_string_set(w->txn, &string, slice_of(w->payload, PAYLOAD_BYTES));
    store_key_save(w->txn, &ref, &string);
}

static void string_get(struct world *w)
{
    char text[32];
    const struct store_ref ref = {1, 0, member(draw(w) % 100000, text)};
    struct store_object string;
    (void)store_key_find(w->txn, &ref, &string);
}

/* Microseconds of CPU per operation, commits included. */
static double measure(struct world *w, void (*operation)(struct world *w), unsigned batch)
{
    unsigned count = batch == 1 ? OPERATIONS / 4 : OPERATIONS;
    uint64_t begun_ns = cpu_ns();
    for (unsigned i = 0; i < count; i += batch) {
        begin(w);
        for (unsigned j = 0; j < batch; j++) {
            operation(w);
        }
        commit(w);
    }
    return (double)(cpu_ns() - begun_ns) / 1000 / count;
}

static void fill(struct world *w)
{
    begin(w);
    store_key_create(w->txn, STORE_ZSET, &w->zset);
    store_key_create(w->txn, STORE_LIST, &w->list);
    store_key_create(w->txn, STORE_STREAM, &w->stream);
    for (uint64_t i = 0; i < w->members; i++) {
        zset_add(w);
        list_push(w);
        if (i % 10 == 0) { stream_add(w); }
        if (i % 1000 != 999) { continue; }
        commit(w);
        begin(w);
    }
    commit(w);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*operation)(struct world *w);
    } rows[] = {
        {"sorted set: add", zset_add},
        {"sorted set: re-score", zset_rescore},
        {"sorted set: rank", zset_rank},
        {"sorted set: pop the lowest", zset_pop_min},
        {"sorted set: range of 100", zset_range},
        {"list: push", list_push},
        {"list: pop", list_pop},
        {"list: index", list_index},
        {"stream: add 100 B", stream_add},
        {"stream: range of 100", stream_range},
        {"string: set 100 B", string_set},
        {"string: get", string_get},
    };
    if (argc < 2) {
        fprintf(stderr, "usage: micro_store FILE [MEMBERS]\n");
        return 64;
    }
    struct world *w = mem_new0(sizeof *w);
    w->members = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    w->random = 88172645463325252;
    memset(w->payload, 'p', sizeof w->payload);
    const struct store_opts opts = {
        .path = argv[1], .map_bytes = 64ULL << 30, .readers_max = 4, .hash_seed = {1, 2}};
    must(store_open(&w->store, &opts), "open");
    fill(w);
    printf("%lu members and elements; us of CPU per operation, commits included\n", w->members);
    printf("%-28s %12s %12s\n", "", "batch of 1", "batch of 100");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        double one = measure(w, rows[i].operation, 1);
        double many = measure(w, rows[i].operation, 100);
        printf("%-28s %12.2f %12.2f\n", rows[i].name, one, many);
    }
    printf("file: %lu MB\n", store_size(w->store).file_bytes >> 20);
    store_close(w->store);
    mem_free(w);
    char lock[4096];
    snprintf(lock, sizeof lock, "%s-lock", argv[1]);
    unlink(argv[1]);
    unlink(lock);
    return 0;
}
