/* slowlog: the ring and its copies. */
#include "cmd/slowlog.h"

#include <string.h>

#include "base/mem.h"

static void entry_fini(struct slowlog_entry *entry)
{
    mem_free((void *)(uintptr_t)entry->argv);
    *entry = (struct slowlog_entry){0};
}

static void resize(struct slowlog *log, uint32_t cap)
{
    struct slowlog_entry *entry = mem_new0(cap * sizeof *entry);
    uint32_t kept = log->count < cap ? log->count : cap;
    for (uint32_t i = 0; i < log->count; i++) { /* from the oldest on; those that do not fit go */
        struct slowlog_entry *old = &log->entry[(log->first + i) % log->cap];
        if (i < log->count - kept) {
            entry_fini(old);
        } else {
            entry[i - (log->count - kept)] = *old;
        }
    }
    mem_free(log->entry);
    *log = (struct slowlog){.entry = entry, .cap = cap, .count = kept};
}

/* What is kept of argument i: all of it, its beginning with a note of how much is missing, or a
 * note in its place. */
static void append_arg(struct buf *out, const struct slowlog_entry *entry, uint32_t i)
{
    struct slice arg = entry->argv[i];
    if (entry->argc > SLOWLOG_ARGS_MAX && i == SLOWLOG_ARGS_MAX - 1) {
        buf_appendf(out, "... (%u more arguments)", entry->argc - SLOWLOG_ARGS_MAX + 1);
    } else if (arg.len > SLOWLOG_ARG_BYTES_MAX) {
        buf_append(out, slice_of(arg.data, SLOWLOG_ARG_BYTES_MAX));
        buf_appendf(out, "... (%zu more bytes)", arg.len - SLOWLOG_ARG_BYTES_MAX);
    } else {
        buf_append(out, arg);
    }
}

/* A copy in one allocation: the slices, then the bytes that they name. */
static struct slowlog_entry entry_copy(const struct slowlog_entry *from)
{
    uint32_t argc = from->argc < SLOWLOG_ARGS_MAX ? from->argc : SLOWLOG_ARGS_MAX;
    size_t end[SLOWLOG_ARGS_MAX];
    struct buf text = {0};
    for (uint32_t i = 0; i < argc; i++) {
        append_arg(&text, from, i);
        end[i] = text.len;
    }
    size_t args_len = text.len;
    buf_append(&text, from->address);
    buf_append(&text, from->name);
    struct slice *argv = mem_new(argc * sizeof *argv + text.len + 1);
    char *bytes = (char *)&argv[argc];
    if (text.len > 0) { memcpy(bytes, text.data, text.len); }
    for (uint32_t i = 0; i < argc; i++) {
        size_t begin = i > 0 ? end[i - 1] : 0;
        argv[i] = slice_of(bytes + begin, end[i] - begin);
    }
    buf_fini(&text);
    struct slowlog_entry copy = *from;
    copy.argc = argc;
    copy.argv = argv;
    copy.address = slice_of(bytes + args_len, from->address.len);
    copy.name = slice_of(bytes + args_len + from->address.len, from->name.len);
    return copy;
}

void slowlog_add(struct slowlog *log, uint32_t entries_max, const struct slowlog_entry *entry)
{
    if (entries_max == 0) {
        slowlog_clear(log);
        return;
    }
    if (log->cap != entries_max) { resize(log, entries_max); }
    if (log->count == log->cap) {
        entry_fini(&log->entry[log->first]);
        log->first = (log->first + 1) % log->cap;
        log->count--;
    }
    log->entry[(log->first + log->count) % log->cap] = entry_copy(entry);
    log->count++;
}

const struct slowlog_entry *slowlog_newest(const struct slowlog *log, uint32_t i)
{
    CHECK(i < log->count);
    return &log->entry[(log->first + log->count - 1 - i) % log->cap];
}

void slowlog_clear(struct slowlog *log)
{
    for (uint32_t i = 0; i < log->count; i++) {
        entry_fini(&log->entry[(log->first + i) % log->cap]);
    }
    mem_free(log->entry);
    *log = (struct slowlog){0};
}
