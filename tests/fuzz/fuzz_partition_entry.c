/* fuzz: a log entry's command, as apply takes it apart. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "partition/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_batch(struct entry_batch *batch, struct entry_words *words)
{
    struct partition_call call;
    struct partition_check check;
    uint64_t number;
    uint32_t calls = 0;
    struct slice body = batch->body;
    while (entry_take_call(&body, &call, words)) {
        calls++;
    }
    CHECK(calls <= batch->call_count);
    body = batch->body;
    while (entry_take_check(&body, &check)) {}
    while (entry_take_number(&batch->acked, &number)) {}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entry_head head;
    struct slice batches;
    struct entry_batch batch;
    struct entry_words words = {0};
    bool is_good;
    if (!entry_open(slice_of(data, size), &head, &batches)) { return 0; }
    while (entry_take_batch(&batches, &batch, &is_good)) {
        read_batch(&batch, &words);
    }
    mem_free(words.word);
    return 0;
}
