/* interest_snapshot: names copied one behind the other, and entries that point to them. */
#include "cluster/interest_snapshot.h"

#include "base/mem.h"

enum { ENTRIES_MIN = 16, ENTRY_BYTES = 16 /* of a name's entry in a frame, beside the name */ };

void interest_snapshot_add(void *arg, enum topic_kind kind, struct slice name, uint64_t count)
{
    struct interest_snapshot *snapshot = arg;
    if (snapshot->count == snapshot->cap) {
        snapshot->cap = snapshot->cap > 0 ? snapshot->cap * 2 : ENTRIES_MIN;
        snapshot->entry = mem_resize(snapshot->entry, snapshot->cap * sizeof *snapshot->entry);
    }
    /* Only its length for now: `names` may still move. */
    snapshot->entry[snapshot->count++] = (struct wire_sync_entry){
        .kind = kind, .name = slice_of(NULL, name.len), .count = (uint32_t)count};
    buf_append(&snapshot->names, name);
}

void interest_snapshot_seal(struct interest_snapshot *snapshot)
{
    size_t at = 0;
    for (size_t i = 0; i < snapshot->count; i++) {
        snapshot->entry[i].name.data = snapshot->names.data + at;
        at += snapshot->entry[i].name.len;
    }
}

size_t interest_snapshot_part(const struct interest_snapshot *snapshot, size_t begun,
                              size_t bytes_max)
{
    size_t bytes = 0;
    size_t end = begun;
    while (end < snapshot->count && bytes < bytes_max) {
        bytes += snapshot->entry[end++].name.len + ENTRY_BYTES;
    }
    return end;
}

void interest_snapshot_fini(struct interest_snapshot *snapshot)
{
    buf_fini(&snapshot->names);
    mem_free(snapshot->entry);
}
