/* damage: see the header. */
#include "partition/damage.h"

#include "base/log.h"
#include "partition/store_thread.h"

void damage_found(struct partition *p, const struct store_file *file)
{
    if (p->file != file || p->is_broken || p->thread->is_stopped) { return; }
    LOG_LIMITED(LOG_LEVEL_ERROR, "a partition's store is damaged where it was read",
                LOG_UINT("partition", p->id), LOG_UINT("applied", atomic_load(&p->applied)));
    if (p->rebuilds == REBUILDS_MAX) { return; }
    p->is_broken = true;
    store_thread_touch(p);
}
