/* recover: the majority of a cluster's disks is gone, and an operator says to go on without it.
 * Owns: nothing; it writes the cluster file. Thread: any; blocks.
 * Always: a node that was never a member is refused; the new id keeps those who still belong to the
 * old cluster out. */
#include "consensus/membership/recover.h"

#include <inttypes.h>
#include <sys/random.h>

#include "base/mem.h"
#include "consensus/membership/membership_file.h"

static const char *obstacle(const struct cluster_file *file)
{
    if (file->state == CLUSTER_RECOVERING) { return "it was told so already: start it"; }
    return file->state != CLUSTER_MEMBER ? "this node is no member of a cluster" : NULL;
}

int recover_force(const char *dir, FILE *out)
{
    struct cluster_file *file = mem_new0(sizeof *file);
    bool is_done = false;
    if (cluster_file_load(dir, file) == ERR_OK) {
        const char *why = obstacle(file);
        if (why != NULL) { fprintf(out, "refused: %s\n", why); }
        uint64_t old_id = file->cluster_id;
        CHECK(getrandom(&file->cluster_id, sizeof file->cluster_id, 0) == sizeof file->cluster_id);
        file->cluster_id |= 1;
        file->state = CLUSTER_RECOVERING;
        file->peer_count = 0;
        is_done = why == NULL && cluster_file_save(dir, file) == ERR_OK;
        if (is_done) {
            fprintf(out,
                    "cluster %016" PRIx64 " is given up: at its next start this node goes on "
                    "alone as cluster %016" PRIx64 ", with what its own log holds.\nDo this on "
                    "one node only. Empty the data directories of all the others before they "
                    "start again: they join as new.\n",
                    old_id, file->cluster_id);
        }
    }
    mem_free(file);
    return is_done ? 0 : 1;
}
