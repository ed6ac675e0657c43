/* rdb_file: what stands in an RDB file, and how it is put there. */
#include "rdb/rdb_file.h"

#include <endian.h>

#include "rdb/rdb_crc64.h"
#include "rdb/rdb_write.h"

/* Bytes before what is no key; below them are the types. */
enum {
    OP_SLOT = 244, /* three numbers, of a cluster's slot */
    OP_FUNCTION = 245,
    OP_FUNCTION_DRAFT = 246,
    OP_MODULE_DATA = 247,
    OP_IDLE = 248,
    OP_FREQUENCY = 249,
    OP_NOTE = 250,
    OP_SIZES = 251,
    OP_EXPIRE_MS = 252,
    OP_EXPIRE_S = 253,
    OP_DB = 254,
    OP_END = 255,
};
enum { HEAD_BYTES = 9, VERSION_DIGITS = 4, SUM_SINCE = 5 };

bool rdb_file_begin(struct rdb_file *file, struct slice bytes, bool checks_sum)
{
    *file = (struct rdb_file){.in = rdb_in_of(bytes), .bytes = bytes, .checks_sum = checks_sum};
    struct slice head;
    if (!rdb_take(&file->in, HEAD_BYTES, &head) || memcmp(head.data, "REDIS", 5) != 0) {
        return rdb_fail(&file->in, "this is no RDB file");
    }
    for (size_t i = HEAD_BYTES - VERSION_DIGITS; i < HEAD_BYTES; i++) {
        if (head.data[i] < '0' || head.data[i] > '9') {
            return rdb_fail(&file->in, "this is no RDB file");
        }
        file->version = file->version * 10 + (uint32_t)(head.data[i] - '0');
    }
    return (file->version > 0 && file->version <= RDB_VERSION_READ_MAX) ||
           rdb_fail(&file->in, "the RDB file is of a version that cannot be read");
}

void rdb_file_end(struct rdb_file *file)
{
    buf_fini(&file->scratch[0]);
    buf_fini(&file->scratch[1]);
}

static enum rdb_step step_if(bool is_good, enum rdb_step step)
{
    return is_good ? step : RDB_STEP_BAD;
}

static bool check_end(struct rdb_file *file)
{
    if (file->version < SUM_SINCE) { return true; }
    uint64_t summed = rdb_file_at(file);
    uint64_t sum;
    if (!rdb_take_u64(&file->in, &sum)) { return false; }
    /* 0: written with rdbchecksum no */
    if (!file->checks_sum || sum == 0) { return true; }
    return rdb_crc64(0, file->bytes.data, summed) == sum ||
           rdb_fail(&file->in, "the checksum is wrong: the file is damaged");
}

static bool take_db(struct rdb_file *file)
{
    uint64_t db;
    if (!rdb_take_length(&file->in, &db)) { return false; }
    if (db >= RDB_DATABASES_MAX) { return rdb_fail(&file->in, "a database's number is too high"); }
    file->db = (uint32_t)db;
    file->expected = 0;
    file->expected_expiring = 0;
    return true;
}

/* What belongs to the key that follows. Gives: false: it is bad. */
static bool take_attribute(struct rdb_file *file, uint8_t op)
{
    uint64_t number;
    uint32_t seconds;
    uint8_t byte;
    switch (op) {
    case OP_EXPIRE_MS: return rdb_take_u64(&file->in, &file->expire_ms);
    case OP_EXPIRE_S:
        if (!rdb_take_u32(&file->in, &seconds)) { return false; }
        file->expire_ms = (uint64_t)seconds * 1000;
        return true;
    case OP_IDLE: return rdb_take_length(&file->in, &number);
    case OP_FREQUENCY: return rdb_take_u8(&file->in, &byte);
    case OP_SLOT:
        return rdb_take_length(&file->in, &number) && rdb_take_length(&file->in, &number) &&
               rdb_take_length(&file->in, &number);
    default: return rdb_fail(&file->in, "the file has something of an unknown kind");
    }
}

static enum rdb_step take_step(struct rdb_file *file, uint8_t op)
{
    struct rdb_in *in = &file->in;
    switch (op) {
    case OP_DB: return step_if(take_db(file), RDB_STEP_DB);
    case OP_SIZES:
        return step_if(rdb_take_length(in, &file->expected) &&
                           rdb_take_length(in, &file->expected_expiring),
                       RDB_STEP_DB);
    case OP_NOTE:
        return step_if(rdb_take_text(in, &file->scratch[0], &file->key) &&
                           rdb_take_text(in, &file->scratch[1], &file->value),
                       RDB_STEP_NOTE);
    case OP_FUNCTION:
        return step_if(rdb_take_text(in, &file->scratch[1], &file->value), RDB_STEP_FUNCTION);
    case OP_MODULE_DATA:
        /* Where in the file it was saved has the form of a part of it. */
        if (!rdb_module_skip(in, file->module)) { return RDB_STEP_BAD; }
        file->key = slice_of_str(file->module);
        return RDB_STEP_MODULE_DATA;
    case OP_FUNCTION_DRAFT:
        return step_if(rdb_fail(in, "functions in the form of a release candidate"), RDB_STEP_BAD);
    case OP_END: return step_if(check_end(file), RDB_STEP_END);
    default: break;
    }
    file->type = op;
    return step_if(rdb_take_text(in, &file->scratch[0], &file->key), RDB_STEP_KEY);
}

enum rdb_step rdb_file_next(struct rdb_file *file)
{
    uint8_t op;
    file->expire_ms = 0;
    while (rdb_take_u8(&file->in, &op)) {
        bool is_attribute = op == OP_SLOT || op == OP_IDLE || op == OP_FREQUENCY ||
                            op == OP_EXPIRE_MS || op == OP_EXPIRE_S;
        if (!is_attribute) { return take_step(file, op); }
        if (!take_attribute(file, op)) { return RDB_STEP_BAD; }
    }
    return RDB_STEP_BAD;
}

/* ---- written ---- */

void rdb_put_file_begin(struct buf *out)
{
    buf_appendf(out, "REDIS%0*d", VERSION_DIGITS, RDB_VERSION_READ_MAX);
}

void rdb_put_note(struct buf *out, struct slice key, struct slice value)
{
    rdb_put_u8(out, OP_NOTE);
    rdb_put_text(out, key);
    rdb_put_text(out, value);
}

void rdb_put_db(struct buf *out, uint32_t db, uint64_t keys, uint64_t expiring)
{
    rdb_put_u8(out, OP_DB);
    rdb_put_length(out, db);
    rdb_put_u8(out, OP_SIZES);
    rdb_put_length(out, keys);
    rdb_put_length(out, expiring);
}

void rdb_put_expiry(struct buf *out, uint64_t expire_ms)
{
    rdb_put_u8(out, OP_EXPIRE_MS);
    rdb_put_u64(out, expire_ms);
}

void rdb_put_file_end(struct buf *out)
{
    rdb_put_u8(out, OP_END);
    rdb_put_u64(out, 0);
}
