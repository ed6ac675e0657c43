/* partition/entry.h writes and reads what protobuf-c does, and nothing breaks it. */
#include "partition/entry.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/mem.h"
#include "proto/log.pb-c.h"

struct sample {
    struct partition_request request;
    struct partition_call call[3];
    struct partition_check check[2];
    struct slice word[3][4];
    uint64_t acked[3];
};

static void fill(struct sample *s)
{
    static const char large[300] = "value";
    *s = (struct sample){.acked = {7, 300, 1ULL << 40}};
    for (uint16_t i = 0; i < 3; i++) {
        s->word[i][0] = SLICE("SET");
        s->word[i][1] = SLICE("");
        s->word[i][2] = slice_of(large, sizeof large);
        s->word[i][3] = SLICE("XX");
        s->call[i] =
            (struct partition_call){.db = i, .argc = 2U + (i > 0) + (i > 1), .argv = s->word[i]};
    }
    s->check[0] = (struct partition_check){0, SLICE("key"), 0};
    s->check[1] = (struct partition_check){15, SLICE(""), 1ULL << 50};
    s->request = (struct partition_request){
        .resp_version = 3,
        .is_lent = true,
        .origin = {.node_id = 0xfedcba9876543210,
                   .incarnation = 77,
                   .worker = 300,
                   .is_parking = true,
                   .seq = 12345678901,
                   .acked_low = 9},
        .acked = s->acked,
        .acked_count = 3,
        .call = s->call,
        .call_count = 3,
        .check = s->check,
        .check_count = 2,
    };
}

static struct buf entry_of(struct sample *s)
{
    struct buf out = {0};
    const struct entry_head head = {.level = 1,
                                    .clock_ms = 1790000000000,
                                    .seed = 42,
                                    .has_digest = true,
                                    .digest_index = 99,
                                    .digest = 0xdeadbeef};
    entry_begin(&out, &head);
    entry_add_request(&out, ENTRY_WRITE, &s->request, entry_request_bytes(&s->request));
    entry_add_count(&out, ENTRY_EXPIRE, 1000);
    entry_add_request(&out, ENTRY_SERVE, &s->request, entry_request_bytes(&s->request));
    entry_add_forget(&out, 5, 6);
    entry_add_count(&out, ENTRY_TICK, 0);
    return out;
}

static bool is_same(ProtobufCBinaryData data, struct slice slice)
{
    return slice_equal(slice_of(data.data, data.len), slice);
}

Test(entry, protobuf_reads_what_is_written)
{
    struct sample s;
    fill(&s);
    struct buf out = entry_of(&s);
    Fanfare__Log__Command *c =
        fanfare__log__command__unpack(NULL, out.len, (const uint8_t *)out.data);
    cr_assert_not_null(c);
    cr_assert(c->level == 1 && c->clock_ms == 1790000000000 && c->seed == 42);
    cr_assert(c->digest->index == 99 && c->digest->value == 0xdeadbeef);
    cr_assert_eq(c->n_batches, 5);
    for (unsigned k = 0; k < 3; k += 2) {
        const Fanfare__Log__Batch *b = c->batches[k];
        cr_assert_eq(b->kind, k == 0 ? FANFARE__LOG__KIND__WRITE : FANFARE__LOG__KIND__SERVE);
        cr_assert(b->origin->node_id == 0xfedcba9876543210 && b->origin->incarnation == 77);
        cr_assert(b->origin->worker == 300 && b->origin->is_parking);
        cr_assert(b->origin->seq == 12345678901 && b->origin->acked_low == 9);
        cr_assert(b->origin->n_acked == 3 && b->origin->acked[2] == 1ULL << 40);
        cr_assert(b->n_calls == 3 && b->n_checks == 2 && b->resp_version == 3);
        cr_assert(b->is_lent);
        for (unsigned i = 0; i < 3; i++) {
            cr_assert(b->calls[i]->db == i && b->calls[i]->n_words == s.call[i].argc);
            for (unsigned w = 0; w < s.call[i].argc; w++) {
                cr_assert(is_same(b->calls[i]->words[w], s.word[i][w]));
            }
        }
        cr_assert(b->checks[1]->db == 15 && b->checks[1]->version == 1ULL << 50);
        cr_assert(is_same(b->checks[0]->key, SLICE("key")));
    }
    cr_assert(c->batches[1]->kind == FANFARE__LOG__KIND__EXPIRE && c->batches[1]->count == 1000);
    cr_assert(c->batches[3]->origin->node_id == 5 && c->batches[3]->origin->incarnation == 6);
    cr_assert_eq(c->batches[4]->kind, FANFARE__LOG__KIND__TICK);
    fanfare__log__command__free_unpacked(c, NULL);
    buf_fini(&out);
}

static void check_batch(const struct sample *s, struct entry_batch *batch,
                        struct entry_words *words)
{
    uint64_t number;
    struct partition_call call;
    struct partition_check check;
    struct slice body = batch->body;
    cr_assert(batch->has_origin && batch->origin.node_id == s->request.origin.node_id);
    cr_assert(batch->origin.seq == 12345678901 && batch->origin.is_parking && batch->is_lent);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(entry_take_number(&batch->acked, &number) && number == s->acked[i]);
    }
    cr_assert(!entry_take_number(&batch->acked, &number));
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(entry_take_call(&body, &call, words));
        cr_assert(call.db == i && call.argc == s->call[i].argc);
        for (unsigned w = 0; w < call.argc; w++) {
            cr_assert(slice_equal(call.argv[w], s->word[i][w]));
        }
    }
    cr_assert(!entry_take_call(&body, &call, words));
    body = batch->body;
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(entry_take_check(&body, &check));
        cr_assert(check.version == s->check[i].version && slice_equal(check.key, s->check[i].key));
    }
}

Test(entry, what_protobuf_writes_is_read)
{
    struct sample s;
    fill(&s);
    struct buf out = entry_of(&s);
    Fanfare__Log__Command *c =
        fanfare__log__command__unpack(NULL, out.len, (const uint8_t *)out.data);
    size_t len = fanfare__log__command__get_packed_size(c);
    uint8_t *packed = mem_new(len);
    cr_assert_eq(fanfare__log__command__pack(c, packed), len);
    struct entry_head head;
    struct slice batches;
    struct entry_batch batch;
    struct entry_words words = {0};
    bool is_good;
    cr_assert(entry_open(slice_of(packed, len), &head, &batches));
    cr_assert(head.level == 1 && head.clock_ms == 1790000000000 && head.seed == 42);
    cr_assert(head.has_digest && head.digest_index == 99 && head.digest == 0xdeadbeef);
    for (unsigned k = 0; entry_take_batch(&batches, &batch, &is_good); k++) {
        if (k == 0 || k == 2) { check_batch(&s, &batch, &words); }
        if (k == 1) { cr_assert(batch.kind == ENTRY_EXPIRE && batch.count == 1000); }
        if (k == 3) { cr_assert(batch.kind == ENTRY_FORGET && batch.origin.incarnation == 6); }
        if (k == 4) { cr_assert_eq(batch.kind, ENTRY_TICK); }
    }
    cr_assert(is_good);
    mem_free(packed);
    mem_free(words.word);
    fanfare__log__command__free_unpacked(c, NULL);
    buf_fini(&out);
}

static void read_all(struct slice bytes, struct entry_words *words)
{
    struct entry_head head;
    struct slice batches;
    struct entry_batch batch;
    struct partition_call call;
    struct partition_check check;
    uint64_t number;
    bool is_good;
    if (!entry_open(bytes, &head, &batches)) { return; }
    while (entry_take_batch(&batches, &batch, &is_good)) {
        struct slice body = batch.body;
        while (entry_take_call(&body, &call, words)) {}
        body = batch.body;
        while (entry_take_check(&body, &check)) {}
        while (entry_take_number(&batch.acked, &number)) {}
    }
}

Test(entry, damage_is_noticed_or_harmless)
{
    struct sample s;
    fill(&s);
    struct entry_words words = {0};
    struct buf out = entry_of(&s);
    srand(11);
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = (size_t)rand() % (out.len + 1);
        char *copy = mem_copy(out.data, len); /* of its own size, for the sanitizer */
        for (unsigned k = (unsigned)rand() % 4; k > 0 && len > 0; k--) {
            copy[(size_t)rand() % len] = (char)rand();
        }
        read_all(slice_of(copy, len), &words);
        mem_free(copy);
    }
    mem_free(words.word);
    buf_fini(&out);
}
