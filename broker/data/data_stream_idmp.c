/* data_stream_idmp: entries that a producer may send more than once: XADD's IDMP and IDMPAUTO, XCFGSET. */
#include "data/data_stream_idmp.h"

#include "base/buf.h"
#include "data/data_args.h"
#include "store/store_idmp.h"

enum { DURATION_MAX_S = 86400, MAXSIZE_MAX = 10000 };

bool arg_is_idmp(const struct data_call *call, uint32_t *i, struct idmp *idmp)
{
    if (idmp->is_given) { return false; }
    if (arg_is_with_value(call, *i, "IDMPAUTO")) {
        *idmp = (struct idmp){.is_given = true, .is_auto = true, .pid = call->argv[*i + 1]};
        *i += 1;
    } else if (*i + 2 < call->argc && arg_is(call, *i, "IDMP")) {
        *idmp =
            (struct idmp){.is_given = true, .pid = call->argv[*i + 1], .iid = call->argv[*i + 2]};
        *i += 2;
    }
    return idmp->is_given;
}

bool idmp_is_good(const struct data_call *call, const struct idmp *idmp, bool is_auto_id)
{
    const char *error = NULL;
    if (idmp->is_given && !is_auto_id) {
        error = "ERR IDMP/IDMPAUTO can be used only with auto-generated IDs";
    } else if (idmp->is_given && (idmp->pid.len == 0 || (!idmp->is_auto && idmp->iid.len == 0))) {
        error = "ERR producer id and idempotent id must not be empty";
    }
    if (error != NULL) { reply_error(call->reply, error); }
    return error == NULL;
}

/* What it is called: its own id, or its fields with their lengths; a byte tells which. */
static void iid_make(const struct data_call *call, const struct idmp *idmp, uint32_t fields_at,
                     struct buf *out)
{
    buf_append(out, idmp->is_auto ? SLICE("a") : SLICE("i"));
    if (!idmp->is_auto) { buf_append(out, idmp->iid); }
    for (uint32_t i = fields_at; idmp->is_auto && i < call->argc; i++) {
        buf_appendf(out, "%zu:", call->argv[i].len);
        buf_append(out, call->argv[i]);
    }
}

bool idmp_find(const struct data_key *key, const struct idmp *idmp, uint32_t fields_at,
               struct store_id *id)
{
    if (!idmp->is_given || !key->is_there) { return false; }
    struct buf iid = {0};
    iid_make(key->call, idmp, fields_at, &iid);
    bool is_found = store_idmp_find(key->call->txn, &key->object, idmp->pid, buf_slice(&iid), id);
    buf_fini(&iid);
    return is_found;
}

void idmp_add(struct data_key *key, const struct idmp *idmp, uint32_t fields_at, struct store_id id)
{
    if (!idmp->is_given) { return; }
    struct buf iid = {0};
    iid_make(key->call, idmp, fields_at, &iid);
    store_idmp_add(key->call->txn, &key->object, idmp->pid, buf_slice(&iid), id);
    buf_fini(&iid);
}

/* ---- XCFGSET ---- */

struct xcfgset {
    int64_t duration_s; /* 0: not told */
    int64_t maxsize;
};

static bool xcfgset_read(const struct data_call *call, struct xcfgset *set)
{
    for (uint32_t i = 2; i < call->argc; i++) {
        if (set->duration_s == 0 && arg_is_with_value(call, i, "IDMP-DURATION")) {
            if (!arg_int_in(call, ++i, 1, DURATION_MAX_S, "ERR invalid duration",
                            &set->duration_s)) {
                return false;
            }
        } else if (set->maxsize == 0 && arg_is_with_value(call, i, "IDMP-MAXSIZE")) {
            if (!arg_int_in(call, ++i, 1, MAXSIZE_MAX, "ERR invalid maxsize", &set->maxsize)) {
                return false;
            }
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    if (set->duration_s != 0 || set->maxsize != 0) { return true; }
    reply_error(call->reply, data_syntax_error);
    return false;
}

void data_xcfgset(struct data_call *call)
{
    struct xcfgset set = {0};
    struct data_key key;
    if (!xcfgset_read(call, &set)) { return; }
    if (!key_open(call, call->argv[1], STORE_STREAM, &key)) { return; }
    if (!key.is_there) {
        reply_error(call->reply, "ERR no such key");
        return;
    }
    struct store_idmp *idmp = &key.object.stream.idmp;
    store_idmp_clear(call->txn, &key.object);
    uint32_t duration_s = idmp->duration_s != 0 ? idmp->duration_s : STORE_IDMP_DURATION_S;
    uint32_t maxsize = idmp->maxsize != 0 ? idmp->maxsize : STORE_IDMP_MAXSIZE;
    idmp->duration_s = set.duration_s != 0 ? (uint32_t)set.duration_s : duration_s;
    idmp->maxsize = set.maxsize != 0 ? (uint32_t)set.maxsize : maxsize;
    store_key_save(call->txn, &key.ref, &key.object);
    reply_ok(call->reply);
}
