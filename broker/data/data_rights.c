/* data_rights: see the header. */
#include "data/data_rights.h"

#include "base/mem.h"

struct kept {
    struct buf text;
    void *opened;
    uint64_t used; /* when, in finds */
};

struct data_rights {
    const struct data_rights_ops *ops;
    void *arg;
    uint64_t finds;
    struct kept kept[DATA_RIGHTS_KEPT];
};

struct data_rights *data_rights_new(const struct data_rights_ops *ops, void *arg)
{
    struct data_rights *rights = mem_new0(sizeof *rights);
    rights->ops = ops;
    rights->arg = arg;
    return rights;
}

static void drop(const struct data_rights *rights, struct kept *kept)
{
    if (kept->opened != NULL) { rights->ops->close(kept->opened); }
    buf_fini(&kept->text);
    *kept = (struct kept){0};
}

void data_rights_free(struct data_rights *rights)
{
    if (rights == NULL) { return; }
    for (uint32_t i = 0; i < DATA_RIGHTS_KEPT; i++) {
        drop(rights, &rights->kept[i]);
    }
    mem_free(rights);
}

const void *data_rights_find(struct data_rights *rights, struct slice text)
{
    struct kept *oldest = &rights->kept[0];
    if (text.len > DATA_RIGHTS_BYTES_MAX) { return NULL; }
    rights->finds++;
    for (uint32_t i = 0; i < DATA_RIGHTS_KEPT; i++) {
        struct kept *kept = &rights->kept[i];
        if (kept->opened != NULL && slice_equal(buf_slice(&kept->text), text)) {
            kept->used = rights->finds;
            return kept->opened;
        }
        if (kept->used < oldest->used) { oldest = kept; }
    }
    void *opened = rights->ops->open(rights->arg, text);
    if (opened == NULL) { return NULL; }
    drop(rights, oldest);
    buf_append(&oldest->text, text);
    oldest->opened = opened;
    oldest->used = rights->finds;
    return opened;
}

bool data_rights_allow(const struct data_rights *rights, const void *found, uint32_t argc,
                       const struct slice *argv, struct buf *why)
{
    return rights->ops->allow(rights->arg, found, argc, argv, why);
}
