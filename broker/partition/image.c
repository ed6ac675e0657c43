/* image: see the header. */
#include "partition/image.h"

#include "base/log.h"
#include "base/mem.h"
#include "partition/apply.h"
#include "partition/damage.h"
#include "partition/pending.h"
#include "partition/store_file.h"
#include "partition/store_thread.h"

struct image {
    struct store_file *file; /* NULL: it could not be begun */
    struct store_image *rows;
    enum err err; /* it could not be begun, or read */
    struct task failed_task;
};

/* ---- out ---- */

static void on_begun(struct task *task) /* raft */
{
    struct partition *p = CONTAINER_OF(task, struct partition, image_task);
    engine_snapshot_begun(consensus_engine(p->all->opts.consensus), p->group, p->image);
}

static void on_begin(struct task *task) /* store */
{
    struct partition *p = CONTAINER_OF(task, struct partition, image_task);
    if (store_thread_keeps(p, task)) { return; }
    struct image *image = mem_new0(sizeof *image);
    image->err = apply_commit(p); /* it is of what was executed */
    if (image->err == ERR_OK) { image->err = store_image_begin(p->file->store, &image->rows); }
    if (image->err == ERR_OK) { image->file = store_file_ref(p->file); }
    p->image = image;
    p->image_task.run = on_begun;
    store_thread_to_raft(p, &p->image_task);
}

void *image_begin(void *fsm)
{
    struct partition *p = fsm;
    p->image_task.run = on_begin;
    mailbox_post(&p->thread->mailbox, &p->image_task);
    return NULL;
}

enum err image_read(void *arg, char *out, size_t bytes_max, size_t *bytes)
{
    struct image *image = arg;
    if (image->err == ERR_OK) { image->err = store_image_read(image->rows, out, bytes_max, bytes); }
    return image->err;
}

static void image_free(struct image *image)
{
    store_image_end(image->rows);
    if (image->file != NULL) { store_file_unref(image->file); }
    mem_free(image);
}

static void on_failed(struct task *task) /* store */
{
    struct image *image = CONTAINER_OF(task, struct image, failed_task);
    struct partition *p = image->file->partition;
    if (store_thread_keeps(p, task)) { return; }
    damage_found(p, image->file);
    image_free(image);
}

void image_end(void *arg)
{
    struct image *image = arg;
    if (image->file == NULL || image->err == ERR_OK) {
        image_free(image);
        return;
    }
    image->failed_task.run = on_failed;
    mailbox_post(&image->file->partition->thread->mailbox, &image->failed_task);
}

/* ---- in ---- */

void image_drop(struct partition *p)
{
    if (p->load != NULL) { store_load_abort(p->load); }
    p->load = NULL;
}

static void on_restored(struct task *task) /* raft */
{
    struct partition *p = CONTAINER_OF(task, struct partition, restore_task);
    engine_restored(consensus_engine(p->all->opts.consensus), p->group, p->restore_err);
}

static enum err restore_part(struct partition *p)
{
    enum err err = ERR_OK;
    if (p->restore_is_begun) { image_drop(p); }
    p->restore_is_begun = false;
    if (p->load == NULL) { err = store_file_load_begin(p, &p->load); }
    return err == ERR_OK ? store_load_write(p->load, p->restore_bytes) : err;
}

static enum err restore_last(struct partition *p)
{
    struct store_load *load = p->load;
    p->load = NULL;
    if (load == NULL) { return ERR_CORRUPT; }
    pending_drop(p);
    enum err err = store_file_load_end(p, load);
    if (err != ERR_OK) { return err; }
    memset(p->digests, 0, DIGESTS_KEPT * sizeof *p->digests);
    p->digest_index = 0;
    return atomic_load(&p->applied) == p->restore_index ? ERR_OK : ERR_CORRUPT;
}

static void on_restore(struct task *task) /* store */
{
    struct partition *p = CONTAINER_OF(task, struct partition, restore_task);
    if (store_thread_keeps(p, task)) { return; }
    p->restore_err = p->restore_is_end ? restore_last(p) : restore_part(p);
    if (p->restore_err != ERR_OK) {
        LOG_ERROR("a snapshot of a partition cannot be restored", LOG_UINT("partition", p->id),
                  LOG_STR("err", err_word(p->restore_err)));
    }
    p->restore_task.run = on_restored;
    store_thread_to_raft(p, &p->restore_task);
}

static enum err restore_hand(struct partition *p)
{
    p->restore_task.run = on_restore;
    mailbox_post(&p->thread->mailbox, &p->restore_task);
    return ERR_SLOW; /* it is on its way */
}

void image_restore_begin(void *fsm)
{
    struct partition *p = fsm;
    p->restore_is_begun = true;
}

enum err image_restore_write(void *fsm, struct slice bytes)
{
    struct partition *p = fsm;
    p->restore_bytes = bytes;
    p->restore_is_end = false;
    return restore_hand(p);
}

enum err image_restore_end(void *fsm, uint64_t index)
{
    struct partition *p = fsm;
    p->restore_is_end = true;
    p->restore_index = index;
    return restore_hand(p);
}
