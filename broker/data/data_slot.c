/* data_slot: the keys of a slot, for CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT. Where a database is whole its keys are not
 * kept by slot: all of them are looked at. No client has this command by its own name. */
#include "base/buf.h"
#include "base/slot.h"
#include "data/data_args.h"
#include "data/data_key.h"

enum { LOOKED_AT_ONCE = 256 };

struct slot_keys {
    uint32_t slot;
    uint64_t wanted; /* names; UINT64_MAX: their number alone */
    uint64_t found;
    bool is_behind; /* a key of a later slot has come */
    struct reply out;
};

static void on_key(void *arg, struct slice name, const struct store_object *object)
{
    (void)object;
    struct slot_keys *keys = arg;
    uint32_t slot = slot_of(name);
    keys->is_behind = keys->is_behind || slot > keys->slot;
    if (slot != keys->slot || keys->found >= keys->wanted) { return; }
    keys->found++;
    if (keys->wanted != UINT64_MAX) { reply_bulk(&keys->out, name); }
}

/* slotkeys slot count: count below 0: how many there are; else so many of their names. */
void data_slotkeys(struct data_call *call)
{
    int64_t slot;
    int64_t count;
    if (!arg_int_in(call, 1, 0, SLOT_COUNT - 1, "ERR Invalid slot", &slot) ||
        !arg_int(call, 2, &count)) {
        return;
    }
    struct buf names = {0};
    struct slot_keys keys = {.slot = (uint32_t)slot,
                             .wanted = count < 0 ? UINT64_MAX : (uint64_t)count,
                             .out = {.out = &names, .version = call->reply->version}};
    uint64_t cursor = call->is_sharded ? (uint64_t)slot << STORE_SCAN_OID_BITS : 0;
    bool is_done = keys.wanted == 0;
    while (!is_done) {
        cursor = store_key_scan(call->txn, call->db, cursor, LOOKED_AT_ONCE, on_key, &keys);
        is_done = cursor == 0 || keys.found >= keys.wanted || (call->is_sharded && keys.is_behind);
    }
    if (count < 0) {
        reply_int(call->reply, (int64_t)keys.found);
    } else {
        reply_array(call->reply, keys.found);
        buf_append(call->reply->out, buf_slice(&names));
    }
    buf_fini(&names);
}
