/* partition_types: what partition.h and the files behind it speak of; partition.h says what is done with it. */
#ifndef FANFARE_PARTITION_PARTITION_TYPES_H
#define FANFARE_PARTITION_PARTITION_TYPES_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/slice.h"
#include "data/data_script.h"

struct consensus;

/* ---- calls ---- */

struct partition_call {
    uint16_t db;
    uint32_t argc;
    const struct slice *argv;
};

/* WATCH: the key had this version (0: it was not there). */
struct partition_check {
    uint16_t db;
    struct slice key;
    uint64_t version;
};

enum partition_ask {
    PARTITION_READ, /* calls that write nothing, answered from one state that holds all that was acknowledged anywhere */
    PARTITION_WRITE,    /* calls that are executed together, in one entry, if the checks hold */
    PARTITION_PARK,     /* one blocking call: executed as soon as it finds something */
    PARTITION_VERSIONS, /* of the checks' keys: request->check[i].version is the answer */
    PARTITION_CONFIRM, /* no call: the numbers `acked` of the origin's parking lane are confirmed */
};

/* Whose number it is. Parked calls have a lane of their own, whose numbers are confirmed one by one, because one of them may
 * take hours. */
struct partition_origin {
    uint64_t node_id;
    uint64_t incarnation; /* of the node's life */
    uint16_t worker;
    bool is_parking;
    uint64_t seq;       /* from 1 */
    uint64_t acked_low; /* all below it are confirmed */
};

/* Bytes of answers that an asker, one that has many requests under way, has got and not got rid of yet. */
struct partition_owed {
    atomic_size_t answered; /* added when they are answered; the asker subtracts */
    atomic_size_t queued;   /* the asker's: what it has passed on and is not gone */
};

/* A request. The asker's until partition_ask and again from on_done on; what it points to lives as long. */
struct partition_request {
    enum partition_ask ask;
    uint32_t partition;
    uint64_t
        term; /* in which it leads whom the asker takes for the leader; in another one it refuses. 0: in any */
    uint8_t resp_version; /* of the replies */
    struct partition_origin origin;
    const uint64_t *acked; /* parking, confirming: numbers that are confirmed, of this lane */
    uint32_t acked_count;
    const struct partition_call *call;
    uint32_t call_count;
    struct partition_check *check;
    uint32_t check_count;
    /* Parking: the place in the queue, in the whole cluster: its arrival by the entry node's clock, in us; and which words of
     * the call are the keys that it waits for. An id that means "from now on" ($) is the asker's to replace: here the call is
     * run anew each time. */
    uint64_t ticket;
    const uint32_t *wait_key;
    uint32_t wait_key_count;
    /* Parking: what it pops is put back where it was, if the origin's life ends before the number is confirmed. */
    bool is_lent;
    struct partition_owed
        *owed; /* above PARTITION_OWED_BYTES_MAX it is refused: ERR_SLOW; NULL: it is not counted */

    struct mailbox *home; /* on_done runs there */
    void (*on_done)(struct partition_request *request);

    /* The answer. ERR_OK; ERR_NOT_LEADER, ERR_SLOW, ERR_FULL: certainly not executed under this number here, ask again
     * (ERR_FULL: or say so); ERR_INVALID: not executed, too long
     * to be written at once (PARTITION_REQUEST_BYTES_MAX); ERR_INDOUBT: ask the next leader under the same number; ERR_LIMIT: it was executed, and its
     * answer was too long to be kept until now. */
    enum err err;
    bool is_aborted;  /* a check does not hold: nothing was executed */
    bool is_unparked; /* taken back by partition_unpark: nothing was executed */
    /* The replies of the calls, one behind the other, and where each of them ends, NULL if there is one call. The asker
     * frees them (buf_fini, mem_free). */
    struct buf reply;
    uint32_t *reply_end;

    /* the module's */
    struct task task;
    struct list link;
    void *inner;
    uint64_t number;
    uint64_t need;
    uint64_t script_instructions; /* it runs scripts, with that limit; 0: the default */
    uint32_t level;               /* of entries, that it needs for scripts; 0: it has none */
};

enum {
    PARTITION_CALLS_MAX = 1 << 16,          /* of a request */
    PARTITION_BYTES_MAX = 32 << 20,         /* proposed and not applied, of a partition */
    PARTITION_PARKED_MAX = 1 << 20,         /* calls, at a partition */
    PARTITION_REQUEST_BYTES_MAX = 16 << 20, /* of a write */
    PARTITION_RECORD_BYTES_MAX = 64 << 10,  /* of an answer that is kept for its origin */
    PARTITION_OWED_BYTES_MAX = 64 << 20,
};

/* What a key's change or a leadership's is told to; on a store thread, may be NULL. */
struct partitions_ops {
    /* This node leads from now on (term > 0; all that was acknowledged before is applied), or no more (0). */
    void (*leads)(void *arg, uint32_t partition, uint64_t term);
    /* Keyspace events of what was applied, on the leader only; those of enum data_event that are wanted:
     * partitions_set_events. The key is good inside it only. */
    void (*changed)(void *arg, uint16_t db, struct slice key, const char *event, uint32_t class);
};

struct partitions_opts {
    const char *dir;       /* exists; a folder in it per partition */
    const char *node_name; /* this node's in the groups, as the consensus has it */
    const char *boot_id;   /* of the machine; NULL: as the kernel says. Tests have other ones */
    struct consensus *consensus;
    uint32_t partition_count;
    uint32_t thread_count; /* store threads */
    uint32_t worker_count;
    uint64_t map_bytes;           /* of each store's address space */
    uint64_t sharded_databases;   /* bits: databases whose keys are spread by slot */
    uint64_t script_instructions; /* of a script that this node proposes; 0: the default */
    data_script_find *find; /* where a command of a script goes; NULL: all is in one partition */
    void *find_arg;
    /* A backup ends when nobody has read it for so long, or when the partition's file has grown so much meanwhile; 0: the usual
     * (backup.h). */
    uint64_t backup_idle_ms;
    uint64_t backup_growth_bytes;
    const struct data_rights_ops
        *rights_ops; /* NULL: scripts of users with less than all rights are not run */
    void *rights_arg;
    const struct partitions_ops *ops;
    void *arg;
};

/* For INFO, metrics, DBSIZE over all partitions. */
struct partition_status {
    bool is_open;    /* the rest is 0 where it is not */
    bool is_damaged; /* its store differs from the others', or is corrupt: being made anew */
    uint64_t term;   /* in which it leads, or 0 */
    uint64_t applied, commit;
    uint64_t applied_batches, applied_calls;
    uint64_t proposed_bytes;
    uint64_t parked;
    uint64_t used_bytes, file_bytes, reader_lag;
    uint32_t digest; /* at `digest_index` */
    uint64_t digest_index;
    uint64_t keys[16], expiring[16];
};

#endif
