/* store_file: see the header. */
#include "partition/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/store_key.h"

enum { PATH_BYTES = 4096, IMAGES_MAX = 16, TRUST_BYTES = 64 };

static const char clean[] = "clean";

/* ---- the folder ---- */

static void path_of(const struct partition *p, const char *name, char out[PATH_BYTES])
{
    int len = snprintf(out, PATH_BYTES, "%s/%u%s%s", p->all->dir, p->id, name[0] ? "/" : "", name);
    CHECK(len > 0 && len < PATH_BYTES);
}

static void remove_one(const struct partition *p, const char *name)
{
    char path[PATH_BYTES];
    path_of(p, name, path);
    (void)unlink(path);
}

static void remove_store(const struct partition *p)
{
    remove_one(p, "trust");
    remove_one(p, "data");
    remove_one(p, "data-lock");
}

static void remove_loaded(const struct partition *p)
{
    remove_one(p, "data.new");
    remove_one(p, "data.new-lock");
}

static enum err failed(const struct partition *p, const char *what, enum err err)
{
    LOG_ERROR("a partition's store cannot be opened", LOG_UINT("partition", p->id),
              LOG_STR("step", what), LOG_STR("err", err_word(err)), LOG_INT("errno", errno));
    return err;
}

static enum err err_of_errno(void)
{
    return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_SYSTEM;
}

/* ---- trust ---- */

void store_file_boot_id(char out[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, out, 36) : 0;
    out[len > 0 ? len : 0] = 0;
    if (fd >= 0) { close(fd); }
}

static bool is_trusted(const struct partition *p)
{
    char path[PATH_BYTES];
    char text[TRUST_BYTES];
    path_of(p, "trust", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return false; }
    ssize_t len = read(fd, text, sizeof text);
    close(fd);
    if (len <= 0) { return false; }
    struct slice word = slice_of(text, (size_t)len);
    const char *boot_id = p->all->boot_id;
    return slice_equal(word, slice_of_str(clean)) ||
           (boot_id[0] != 0 && slice_equal(word, slice_of_str(boot_id)));
}

/* On the disk before anything is written to the store. */
static enum err trust_write(const struct partition *p, const char *word)
{
    char path[PATH_BYTES];
    size_t len = strlen(word);
    path_of(p, "trust", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) { return err_of_errno(); }
    bool is_good = write(fd, word, len) == (ssize_t)len && fsync(fd) == 0;
    enum err err = is_good ? ERR_OK : err_of_errno();
    close(fd);
    return err;
}

static enum err folder_make(const struct partition *p)
{
    char path[PATH_BYTES];
    path_of(p, "", path);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) { return err_of_errno(); }
    int fd = open(p->all->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) { return ERR_SYSTEM; }
    enum err err = fsync(fd) == 0 ? ERR_OK : ERR_SYSTEM;
    close(fd);
    return err;
}

/* ---- the store ---- */

static struct store_opts opts_of(const struct partition *p, const char *path)
{
    return (struct store_opts){
        .path = path,
        .map_bytes = p->all->opts.map_bytes,
        .readers_max = p->all->opts.worker_count + 2 + IMAGES_MAX + ASIDE_MAX + BACKUPS_MAX,
    };
}

static enum err store_make(struct partition *p, struct store **store)
{
    char path[PATH_BYTES];
    path_of(p, "data", path);
    const struct store_opts opts = opts_of(p, path);
    enum err err = store_open(store, &opts);
    if (err != ERR_CORRUPT) { return err; }
    LOG_ERROR("a partition's store is damaged and is made anew", LOG_UINT("partition", p->id));
    remove_one(p, "data");
    remove_one(p, "data-lock");
    return store_open(store, &opts);
}

static uint32_t slot_count(const struct partition *p)
{
    return p->all->opts.worker_count + 2;
}

/* The store is let go of, too. */
static void readers_close(struct partition *p)
{
    metric_sub(METRIC_store_reserved_bytes, store_reserved_bytes());
    for (uint32_t i = 0; i < slot_count(p); i++) {
        struct reader_slot *slot = &p->slot[i];
        lock_take(&slot->lock);
        store_reader_free(slot->reader);
        slot->reader = NULL;
        lock_release(&slot->lock);
    }
}

static enum err readers_open(struct partition *p, struct store *store)
{
    for (uint32_t i = 0; i < slot_count(p); i++) {
        struct store_txn *reader;
        enum err err = store_reader_new(store, &reader);
        if (err != ERR_OK) { return err; }
        lock_take(&p->slot[i].lock);
        p->slot[i].reader = reader;
        lock_release(&p->slot[i].lock);
    }
    return ERR_OK;
}

/* What the store says of itself. */
static enum err counters_show(struct partition *p)
{
    struct store_txn *reader = partition_own_slot(p)->reader;
    enum err err = store_reader_begin(reader, 0, 0);
    if (err != ERR_OK) { return err; }
    p->executed = store_applied(reader);
    p->is_broken = false;
    p->broken_task.run = NULL;
    atomic_store(&p->applied, p->executed);
    for (uint16_t db = 0; db < STATUS_DATABASES; db++) {
        struct store_count count = store_db_count(reader, db);
        atomic_store(&p->shown[db].keys, count.keys);
        atomic_store(&p->shown[db].expiring, count.expiring);
    }
    p->clock_ms = store_clock_ms(reader);
    p->next_expiry_ms = store_key_next_expiry(reader);
    p->purge_is_due = store_purge_is_due(reader);
    store_reader_end(reader);
    return ERR_OK;
}

static enum err file_show(struct partition *p, struct store *store)
{
    struct store_file *file = mem_new0(sizeof *file);
    atomic_init(&file->refs, 1);
    file->partition = p;
    file->store = store;
    p->file = file;
    metric_add(METRIC_store_reserved_bytes, store_reserved_bytes());
    enum err err = readers_open(p, store);
    return err == ERR_OK ? counters_show(p) : err;
}

enum err store_file_open(struct partition *p, bool is_new)
{
    enum err err = folder_make(p);
    if (err != ERR_OK) { return failed(p, "folder", err); }
    remove_loaded(p);
    char path[PATH_BYTES];
    path_of(p, "data", path);
    bool is_there = access(path, F_OK) == 0;
    if (is_there && !is_new && !is_trusted(p)) {
        LOG_WARN("the machine has stopped since a partition's store was open: it is made anew from "
                 "snapshot and log",
                 LOG_UINT("partition", p->id));
        is_new = true;
    }
    if (is_new) { remove_store(p); }
    err = trust_write(p, p->all->boot_id);
    if (err != ERR_OK) { return failed(p, "trust", err); }
    struct store *store;
    err = store_make(p, &store);
    if (err != ERR_OK) { return failed(p, "store", err); }
    atomic_store(&p->is_file_open, true);
    err = file_show(p, store);
    if (err != ERR_OK) {
        store_file_close(p, STORE_FILE_KEEP);
        return failed(p, "read", err);
    }
    return ERR_OK;
}

struct store_file *store_file_ref(struct store_file *file)
{
    atomic_fetch_add(&file->refs, 1);
    return file;
}

void store_file_unref(struct store_file *file)
{
    if (atomic_fetch_sub(&file->refs, 1) != 1) { return; }
    struct partition *p = file->partition;
    bool is_kept_open = file->is_kept_open;
    store_close(file->store);
    mem_free(file);
    if (!is_kept_open) { atomic_store(&p->is_file_open, false); }
}

void store_file_close(struct partition *p, enum store_file_end end)
{
    struct store_file *file = p->file;
    p->file = NULL;
    readers_close(p);
    if (end == STORE_FILE_REMOVE) {
        remove_store(p);
    } else if (store_sync(file->store) == ERR_OK) {
        enum err err = trust_write(p, clean);
        if (err != ERR_OK) { remove_one(p, "trust"); }
    }
    store_file_unref(file);
}

/* ---- another one ---- */

enum err store_file_load_begin(struct partition *p, struct store_load **out)
{
    char path[PATH_BYTES];
    remove_loaded(p);
    path_of(p, "data.new", path);
    const struct store_opts opts = opts_of(p, path);
    return store_load_begin(out, &opts);
}

static enum err rename_one(const struct partition *p, const char *from, const char *to)
{
    char old[PATH_BYTES];
    char new[PATH_BYTES];
    path_of(p, from, old);
    path_of(p, to, new);
    return rename(old, new) == 0 ? ERR_OK : err_of_errno();
}

enum err store_file_load_end(struct partition *p, struct store_load *load)
{
    struct store *store;
    enum err err = store_load_end(load, &store);
    if (err != ERR_OK) {
        store_load_abort(load);
        return err;
    }
    struct store_file *old = p->file;
    readers_close(p);
    old->is_kept_open = true; /* the file is another from now on */
    store_file_unref(old);
    /* The lock file first: whoever opens the new data with the old one's readers would not mind. */
    err = rename_one(p, "data.new-lock", "data-lock");
    if (err == ERR_OK) { err = rename_one(p, "data.new", "data"); }
    enum err shown = file_show(p, store);
    return err != ERR_OK ? err : shown;
}
