/* backup: see the header. */
#include "partition/backup.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "data/data_dump.h"
#include "partition/store_file.h"
#include "partition/store_thread.h"
#include "rdb/rdb_file.h"
#include "resp/resp_write.h"
#include "store/store_script.h"

enum {
    PULSE_MS = 500, /* so long a reader waits for bytes, then it is told that there are none yet */
    LOOK_MS = 250,  /* how often a walk looks at what the store has become */
    WALK_KEYS = 16, /* between two looks at whether it is wanted */
    ID_DIGITS = 16,
};

struct backup {
    struct partition *partition;
    struct list link; /* partition's backups, until it has ended */
    uint64_t id;
    uint64_t index;
    uint64_t began_ns;
    struct thread thread;
    struct task ended_task;
    bool is_joined;

    /* The walk's. */
    struct store_file *file;
    struct store_txn *reader; /* NULL: the walk is over */
    struct data_dump_sink sink;
    struct buf out;
    uint64_t keys;
    uint64_t file_bytes_max;
    uint64_t looked_ns;

    struct buf ready; /* written and not read, from `ready_from` on */
    size_t ready_from;
    struct buf last; /* what was read last, in case its reader has to ask again */
    uint64_t last_at;

    /* The store thread looks at these, too. */
    atomic_uint_fast64_t given;  /* bytes that were read: the offset of the next one */
    atomic_uint_fast64_t walked; /* keys, once it is whole */
    atomic_bool is_whole;        /* nothing is added to `ready` any more */
    atomic_bool is_cancelled;
    _Atomic(const char *) why; /* it ends before its end */

    /* Held for a moment: the store thread would wait for whoever has less of the processors than others. */
    struct condition condition;
    struct asked { /* a READ that waits; request NULL: none */
        struct partition_request *request;
        uint64_t at;
        uint32_t bytes;
        uint64_t asked_ns;
    } asked;
    uint64_t heard_ns; /* of the last one */
};

/* ---- answers ---- */

static struct reply reply_to(struct partition_request *request)
{
    return (struct reply){.out = &request->reply, .version = request->resp_version == 3 ? 3 : 2};
}

static void refuse(struct partition_request *request, const char *why)
{
    struct reply reply = reply_to(request);
    reply_errorf(&reply, "ERR %s", why);
    request_answer(request, ERR_OK);
}

static size_t ready_bytes(const struct backup *b)
{
    return b->ready.len - b->ready_from;
}

/* The bytes that are asked for, out of `ready`, or once more. */
static bool take_ready(struct backup *b, const struct asked *asked)
{
    uint64_t given = atomic_load(&b->given);
    if (asked->at != given) { return asked->at == b->last_at && b->last.len > 0; }
    size_t bytes = ready_bytes(b) < asked->bytes ? ready_bytes(b) : asked->bytes;
    b->last.len = 0;
    if (bytes > 0) { buf_append(&b->last, slice_of(b->ready.data + b->ready_from, bytes)); }
    b->last_at = given;
    atomic_store(&b->given, given + bytes);
    b->ready_from += bytes;
    if (b->ready_from == b->ready.len) { b->ready.len = b->ready_from = 0; }
    if (b->ready_from > BACKUP_READY_BYTES) {
        buf_consume(&b->ready, b->ready_from);
        b->ready_from = 0;
    }
    return true;
}

/* Is there somebody to be answered now: is there enough, or has the wait been long? */
static bool next_asked(struct backup *b, struct asked *out)
{
    condition_take(&b->condition);
    *out = b->asked;
    bool is_due =
        out->request != NULL &&
        (out->at != atomic_load(&b->given) || atomic_load(&b->is_whole) ||
         ready_bytes(b) >= out->bytes || clock_mono_ns() - out->asked_ns >= PULSE_MS * NS_PER_MS);
    if (is_due) { b->asked.request = NULL; }
    condition_release(&b->condition);
    return is_due;
}

static void serve(struct backup *b)
{
    struct asked asked;
    if (!next_asked(b, &asked)) { return; }
    if (!take_ready(b, &asked)) {
        refuse(asked.request, "the offset is none that can be read next");
        return;
    }
    struct reply reply = reply_to(asked.request);
    reply_array(&reply, 3);
    reply_int(&reply, atomic_load(&b->is_whole) && ready_bytes(b) == 0);
    reply_int(&reply, crc32c(0, b->last.data, b->last.len));
    reply_bulk(&reply, buf_slice(&b->last));
    request_answer(asked.request, ERR_OK);
}

/* Until somebody asks, or it is time to look. */
static void wait_for_asked(struct backup *b)
{
    condition_take(&b->condition);
    bool has_asked =
        b->asked.request != NULL && (atomic_load(&b->is_whole) || ready_bytes(b) >= b->asked.bytes);
    if (!has_asked && !atomic_load(&b->is_cancelled)) { condition_wait(&b->condition, LOOK_MS); }
    condition_release(&b->condition);
    serve(b);
}

/* ---- the walk ---- */

/* Has it to end? */
static bool is_over(struct backup *b)
{
    uint64_t now_ns = clock_mono_ns();
    if (atomic_load(&b->is_cancelled) || atomic_load(&b->why) != NULL) { return true; }
    if (now_ns - b->looked_ns < LOOK_MS * NS_PER_MS) { return false; }
    b->looked_ns = now_ns;
    condition_take(&b->condition);
    uint64_t heard_ns = b->heard_ns;
    condition_release(&b->condition);
    if (now_ns > heard_ns &&
        now_ns - heard_ns > b->partition->all->opts.backup_idle_ms * NS_PER_MS) {
        atomic_store(&b->why, "nobody has read it for too long");
    }
    if (b->reader != NULL && store_txn_size(b->reader).file_bytes > b->file_bytes_max) {
        atomic_store(&b->why,
                     "the partition's file has grown too much while it was read: read it faster");
    }
    return atomic_load(&b->why) != NULL;
}

static bool on_go_on(void *arg)
{
    struct backup *b = arg;
    serve(b);
    return !is_over(b);
}

/* What is written becomes ready; then wait until less is. */
static bool on_take(void *arg, struct buf *out)
{
    struct backup *b = arg;
    buf_append(&b->ready, buf_slice(out));
    out->len = 0;
    serve(b);
    while (!is_over(b) && ready_bytes(b) >= BACKUP_READY_BYTES) {
        wait_for_asked(b);
    }
    return !is_over(b);
}

static void note_number(struct backup *b, const char *name, uint64_t v)
{
    char digits[20];
    rdb_put_note(&b->out, slice_of_str(name), slice_of(digits, uint64_to_text(v, digits)));
}

static void on_script(void *arg, struct slice text)
{
    struct backup *b = arg;
    rdb_put_note(&b->out, SLICE("fanfare-script"), text);
}

static void on_key(void *arg, struct slice name, const struct store_object *object)
{
    struct backup *b = arg;
    data_dump_key(b->reader, name, object, &b->sink, &b->out);
    b->keys++;
}

/* Of a database. False: it ends. */
static bool walk_keys(struct backup *b, uint16_t db)
{
    uint64_t cursor = 0;
    struct store_count count = store_db_count(b->reader, db);
    if (count.keys == 0) { return true; }
    rdb_put_db(&b->out, db, count.keys, count.expiring);
    do {
        cursor = store_key_scan(b->reader, db, cursor, WALK_KEYS, on_key, b);
        if (!(b->out.len > 0 ? on_take(b, &b->out) : on_go_on(b))) { return false; }
    } while (cursor != 0);
    return true;
}

/* Texts of scripts are kept by all partitions: one is enough. */
static bool walk(struct backup *b)
{
    rdb_put_file_begin(&b->out);
    note_number(b, "fanfare-partition", b->partition->id);
    note_number(b, "fanfare-index", b->index);
    if (b->partition->id == 0) { store_scripts_each(b->reader, on_script, b); }
    bool goes_on = true;
    for (uint16_t db = 0; goes_on && db < STATUS_DATABASES; db++) {
        goes_on = walk_keys(b, db);
    }
    if (goes_on) { rdb_put_file_end(&b->out); }
    return goes_on;
}

/* The transaction ends, and what was walked is there to be read. */
static void walk_end(struct backup *b, bool is_through)
{
    enum err err = store_txn_err(b->reader);
    store_reader_end(b->reader);
    store_reader_free(b->reader);
    b->reader = NULL;
    if (err != ERR_OK) { atomic_store(&b->why, "the partition cannot be read"); }
    if (!is_through || err != ERR_OK) { return; }
    buf_append(&b->ready, buf_slice(&b->out));
    atomic_store(&b->walked, b->keys);
    atomic_store(&b->is_whole, true);
}

static const char *end_reason(struct backup *b)
{
    const char *why = atomic_load(&b->why);
    return why != NULL ? why : "the backup has ended";
}

/* Nobody is answered here from now on. */
static void refuse_from_now(struct backup *b)
{
    condition_take(&b->condition);
    struct partition_request *request = b->asked.request;
    b->asked.request = NULL;
    if (atomic_load(&b->why) == NULL) { atomic_store(&b->is_cancelled, true); }
    condition_release(&b->condition);
    if (request != NULL) { refuse(request, end_reason(b)); }
}

static void on_ended(struct task *task);

static void main_of(void *arg)
{
    struct backup *b = arg;
    thread_yield_to_others();
    walk_end(b, walk(b));
    while (atomic_load(&b->is_whole) && !is_over(b)) {
        serve(b);
        wait_for_asked(b);
    }
    refuse_from_now(b);
    store_file_unref(b->file);
    b->ended_task.run = on_ended;
    mailbox_post(&b->partition->thread->mailbox, &b->ended_task);
}

/* ---- the store thread ---- */

static void join(struct backup *b)
{
    if (!b->is_joined) { thread_join(&b->thread); }
    b->is_joined = true;
}

static void log_end(const struct backup *b)
{
    uint64_t ms = (clock_mono_ns() - b->began_ns) / NS_PER_MS;
    if (b->why != NULL) {
        LOG_WARN("a backup of a partition was cut off", LOG_UINT("partition", b->partition->id),
                 LOG_STR("why", b->why), LOG_UINT("bytes", b->given), LOG_UINT("ms", ms));
        metric_add(METRIC_partition_backups_failed_total, 1);
    } else if (b->is_whole && ready_bytes(b) == 0) {
        LOG_INFO("a partition was read for a backup", LOG_UINT("partition", b->partition->id),
                 LOG_UINT("index", b->index), LOG_UINT("bytes", b->given), LOG_UINT("ms", ms));
    } else {
        LOG_INFO("a backup of a partition was given up", LOG_UINT("partition", b->partition->id),
                 LOG_UINT("bytes", b->given), LOG_UINT("ms", ms));
    }
}

static void on_ended(struct task *task)
{
    struct backup *b = CONTAINER_OF(task, struct backup, ended_task);
    join(b);
    log_end(b);
    metric_add(METRIC_partition_backup_bytes_total, b->given);
    metric_sub(METRIC_partition_backups, 1);
    list_remove(&b->link);
    atomic_fetch_sub(&b->partition->all->backup_count, 1);
    condition_fini(&b->condition);
    buf_fini(&b->out);
    buf_fini(&b->ready);
    buf_fini(&b->last);
    mem_free(b);
}

static void cancel(struct backup *b, enum err err)
{
    condition_take(&b->condition);
    struct partition_request *request = b->asked.request;
    b->asked.request = NULL;
    atomic_store(&b->is_cancelled, true);
    condition_tell(&b->condition);
    condition_release(&b->condition);
    if (request != NULL) { request_answer(request, err); }
}

void backups_cancel(struct partition *p)
{
    LIST_EACH (at, &p->backups) {
        cancel(CONTAINER_OF(at, struct backup, link), ERR_NOT_LEADER);
    }
}

void backups_stop(struct partition *p)
{
    backups_cancel(p);
    LIST_EACH (at, &p->backups) {
        join(CONTAINER_OF(at, struct backup, link));
    }
}

/* One that is under way; NULL: none has this id. */
static struct backup *find(struct partition *p, struct slice text)
{
    char digits[ID_DIGITS + 1];
    LIST_EACH (at, &p->backups) {
        struct backup *b = CONTAINER_OF(at, struct backup, link);
        snprintf(digits, sizeof digits, "%016lx", b->id);
        if (slice_equal(text, slice_of(digits, ID_DIGITS))) { return b; }
    }
    return NULL;
}

static void read_next(struct backup *b, const struct asked *asked)
{
    condition_take(&b->condition);
    struct partition_request *before = b->asked.request;
    bool is_ended = atomic_load(&b->why) != NULL || atomic_load(&b->is_cancelled);
    b->heard_ns = asked->asked_ns;
    b->asked = *asked;
    if (is_ended) { b->asked.request = NULL; }
    condition_tell(&b->condition);
    condition_release(&b->condition);
    if (before != NULL) { refuse(before, "it is asked for again"); }
    if (is_ended) { refuse(asked->request, end_reason(b)); }
}

static void end(struct partition *p, struct backup *b, struct partition_request *request)
{
    struct reply reply = reply_to(request);
    reply_array(&reply, 2);
    reply_int(&reply, (int64_t)atomic_load(&b->walked));
    reply_int(&reply, (int64_t)atomic_load(&b->given));
    cancel(b, ERR_NOT_LEADER);
    store_thread_answer(p, request, ERR_OK);
}

static bool is_word(const struct partition_request *request, const char *word)
{
    return slice_equal_nocase(request->call[0].argv[1], slice_of_str(word));
}

static void answer_error(struct partition *p, struct partition_request *request, const char *why)
{
    struct reply reply = reply_to(request);
    reply_errorf(&reply, "ERR %s", why);
    store_thread_answer(p, request, ERR_OK);
}

bool backup_is(const struct partition_request *request)
{
    return request->ask == PARTITION_READ && request->call_count == 1 &&
           request->call[0].argc >= 3 &&
           slice_equal_nocase(request->call[0].argv[0], SLICE("backup"));
}

bool backup_go_on(struct partition *p, struct partition_request *request)
{
    const struct partition_call *call = &request->call[0];
    int64_t at;
    int64_t bytes;
    if (is_word(request, "begin")) { return false; }
    struct backup *b = call->argc >= 4 ? find(p, call->argv[3]) : NULL;
    if (b == NULL) {
        answer_error(p, request,
                     "no such backup here: it was ended, or another node leads the partition now");
    } else if (is_word(request, "end")) {
        end(p, b, request);
    } else if (is_word(request, "read") && call->argc == 6 && slice_to_int64(call->argv[4], &at) &&
               at >= 0 && slice_to_int64(call->argv[5], &bytes) && bytes > 0 &&
               bytes <= BACKUP_READ_BYTES_MAX) {
        read_next(b, &(struct asked){request, (uint64_t)at, (uint32_t)bytes, clock_mono_ns()});
    } else {
        answer_error(p, request, "syntax error");
    }
    return true;
}

/* False: the store cannot be read. */
static bool reader_begin(struct backup *b)
{
    if (store_reader_new(b->file->store, &b->reader) != ERR_OK) { return false; }
    if (store_reader_begin(b->reader, 0, 0) != ERR_OK) {
        store_reader_free(b->reader);
        return false;
    }
    store_reader_set_now(b->reader, store_clock_ms(b->reader));
    store_reader_read_ahead(b->reader);
    b->index = store_applied(b->reader);
    struct store_size size = store_txn_size(b->reader);
    uint64_t growth_bytes = b->partition->all->opts.backup_growth_bytes;
    if (growth_bytes == 0) {
        growth_bytes =
            size.used_bytes / 2 > BACKUP_GROWTH_BYTES ? size.used_bytes / 2 : BACKUP_GROWTH_BYTES;
    }
    b->file_bytes_max = size.file_bytes + growth_bytes;
    return true;
}

static void reply_begun(struct partition_request *request, struct backup *b)
{
    char digits[ID_DIGITS + 1];
    struct reply reply = reply_to(request);
    uint64_t keys = 0;
    for (uint16_t db = 0; db < STATUS_DATABASES; db++) {
        keys += store_db_count(b->reader, db).keys;
    }
    snprintf(digits, sizeof digits, "%016lx", b->id);
    reply_array(&reply, 4);
    reply_bulk_str(&reply, digits);
    reply_int(&reply, (int64_t)b->index);
    reply_int(&reply, (int64_t)store_clock_ms(b->reader));
    reply_int(&reply, (int64_t)keys);
}

void backup_begin(struct partition *p, struct partition_request *request)
{
    struct partitions *all = p->all;
    if (p->thread->is_stopped || atomic_fetch_add(&all->backup_count, 1) >= BACKUPS_MAX) {
        if (!p->thread->is_stopped) { atomic_fetch_sub(&all->backup_count, 1); }
        answer_error(p, request, "too many backups are under way on the partition's node");
        return;
    }
    struct backup *b = mem_new0(sizeof *b);
    *b = (struct backup){.partition = p,
                         .id = store_thread_random(p->thread),
                         .began_ns = clock_mono_ns(),
                         .file = store_file_ref(p->file),
                         .sink = {on_take, on_go_on, b}};
    b->heard_ns = b->looked_ns = b->began_ns;
    if (!reader_begin(b)) {
        atomic_fetch_sub(&all->backup_count, 1);
        store_file_unref(b->file);
        mem_free(b);
        answer_error(p, request, "the partition cannot be read");
        return;
    }
    reply_begun(request, b);
    condition_init(&b->condition);
    list_push_back(&p->backups, &b->link);
    metric_add(METRIC_partition_backups, 1);
    thread_start(&b->thread, "backup", main_of, b);
    store_thread_answer(p, request, ERR_OK);
}
