/* store_image: a store as bytes, and a store made of them. */
#include "store/store_image.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/store_int.h"

enum {
    MAGIC_BYTES = 8,
    ROW_HEAD_BYTES = 2 + 4,
    TRAILER_BYTES = 2 + 8 + 4,
    LOAD_BATCH_BYTES = 16 << 20, /* rows put in one transaction */
    READ_AHEAD_BYTES = 1 << 20,  /* read before what is encoded moves down */
    VALUE_BYTES_MAX =
        1 << 30, /* no row is so large: a name of 512 MB is the largest thing in one */
};

static const char magic[MAGIC_BYTES + 1] = "FFSTORE1";

/* ---- out ---- */

struct store_image {
    struct store_txn *txn;
    struct store_cursor cursor;
    bool any; /* the cursor is on a row that is not written yet */
    bool is_done;
    struct buf out; /* what is encoded and not read yet, from `at` on */
    size_t at;
    uint64_t rows;
    uint32_t crc;
};

enum err store_image_begin(struct store *store, struct store_image **out)
{
    struct store_image *image = mem_new0(sizeof *image);
    enum err err = store_reader_new(store, &image->txn);
    if (err == ERR_OK) { err = store_reader_begin(image->txn, 0, 0); }
    if (err != ERR_OK) {
        store_reader_free(image->txn);
        mem_free(image);
        return err;
    }
    store_reader_read_ahead(image->txn);
    cursor_begin(&image->cursor, image->txn, SLICE(""));
    image->any = cursor_seek(&image->cursor, SLICE("!"));
    buf_append_str(&image->out, magic);
    *out = image;
    return ERR_OK;
}

static void put_u64(struct buf *out, uint64_t v, size_t bytes)
{
    v = htobe64(v << (64 - 8 * bytes));
    buf_append(out, slice_of(&v, bytes));
}

/* One more row, or the trailer, behind what is encoded. */
static void image_encode(struct store_image *image)
{
    struct buf *out = &image->out;
    if (image->any) {
        put_u64(out, image->cursor.key.len, 2);
        put_u64(out, image->cursor.value.len, 4);
        buf_append(out, image->cursor.key);
        buf_append(out, image->cursor.value);
        image->rows++;
        image->any = cursor_next(&image->cursor);
        return;
    }
    put_u64(out, 0, 2);
    put_u64(out, image->rows, 8);
    image->crc = crc32c(image->crc, out->data + image->at, out->len - image->at);
    put_u64(out, image->crc, 4);
    image->is_done = true;
}

enum err store_image_read(struct store_image *image, char *out, size_t bytes_max, size_t *bytes)
{
    CHECK(bytes_max >= STORE_IMAGE_BYTES_MIN);
    while (!image->is_done && image->out.len - image->at < bytes_max) {
        image_encode(image);
    }
    enum err err = store_txn_err(image->txn);
    if (err != ERR_OK) { return err; }
    size_t left = image->out.len - image->at;
    *bytes = left < bytes_max ? left : bytes_max;
    if (*bytes > 0) { memcpy(out, image->out.data + image->at, *bytes); }
    if (!image->is_done) { image->crc = crc32c(image->crc, out, *bytes); }
    image->at += *bytes;
    if (image->at > READ_AHEAD_BYTES || image->at == image->out.len) {
        buf_consume(&image->out, image->at);
        image->at = 0;
    }
    return ERR_OK;
}

void store_image_end(struct store_image *image)
{
    if (image == NULL) { return; }
    cursor_end(&image->cursor);
    store_reader_end(image->txn);
    store_reader_free(image->txn);
    buf_fini(&image->out);
    mem_free(image);
}

/* ---- in ---- */

struct store_load {
    char *path;
    struct store_opts opts;
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *txn; /* NULL: none is open */
    size_t txn_bytes;
    struct buf in; /* what is not a whole row yet */
    bool has_magic;
    bool has_end;
    uint64_t rows;
    uint32_t crc; /* of what was taken out of `in` */
};

enum err store_load_begin(struct store_load **out, const struct store_opts *opts)
{
    struct store_load *load = mem_new0(sizeof *load);
    load->path = mem_copy(opts->path, strlen(opts->path) + 1);
    load->opts = *opts;
    load->opts.path = load->path;
    int rc = access(load->path, F_OK) == 0 ? EEXIST : mdb_env_create(&load->env);
    const unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC;
    if (rc == 0) { rc = mdb_env_set_mapsize(load->env, opts->map_bytes); }
    if (rc == 0) { rc = mdb_env_open(load->env, load->path, flags, 0600); }
    if (rc != 0) {
        enum err err = store_err_of(rc);
        if (load->env != NULL) { mdb_env_close(load->env); }
        mem_free(load->path);
        mem_free(load);
        return err;
    }
    *out = load;
    return ERR_OK;
}

/* Rows come in the order of their keys: each goes behind the last one. */
static enum err load_row(struct store_load *load, struct slice key, struct slice value)
{
    int rc = 0;
    if (load->txn == NULL) {
        rc = mdb_txn_begin(load->env, NULL, 0, &load->txn);
        if (rc == 0) { rc = mdb_dbi_open(load->txn, NULL, 0, &load->dbi); }
        if (rc != 0) { return store_err_of(rc); }
    }
    MDB_val k = {key.len, (void *)(uintptr_t)key.data};
    MDB_val v = {value.len, (void *)(uintptr_t)value.data};
    rc = mdb_put(load->txn, load->dbi, &k, &v, MDB_APPEND);
    if (rc == MDB_KEYEXIST) { return ERR_CORRUPT; }
    if (rc != 0) { return store_err_of(rc); }
    load->rows++;
    load->txn_bytes += key.len + value.len;
    if (load->txn_bytes < LOAD_BATCH_BYTES) { return ERR_OK; }
    rc = mdb_txn_commit(load->txn);
    load->txn = NULL;
    load->txn_bytes = 0;
    return rc == 0 ? ERR_OK : store_err_of(rc);
}

static void load_taken(struct store_load *load, size_t *at, size_t bytes)
{
    load->crc = crc32c(load->crc, load->in.data + *at, bytes);
    *at += bytes;
}

static enum err load_trailer(struct store_load *load, size_t *at)
{
    const char *trailer = load->in.data + *at;
    load_taken(load, at, 2 + 8);
    bool is_good = read_u64(trailer + 2) == load->rows && read_u32(trailer + 10) == load->crc &&
                   load->in.len - *at == 4;
    *at += 4;
    load->has_end = true;
    return is_good ? ERR_OK : ERR_CORRUPT;
}

/* What is whole in `in`, from *at on. */
static enum err load_rows(struct store_load *load, size_t *at)
{
    enum err err = ERR_OK;
    while (err == ERR_OK && load->in.len - *at >= 2) {
        const char *row = load->in.data + *at;
        size_t left = load->in.len - *at;
        size_t key_len = read_u16(row);
        if (key_len == 0) { return left < TRAILER_BYTES ? ERR_OK : load_trailer(load, at); }
        if (key_len > STORE_KEY_MAX) { return ERR_CORRUPT; }
        if (left < ROW_HEAD_BYTES) { break; }
        size_t value_len = read_u32(row + 2);
        if (value_len > VALUE_BYTES_MAX) { return ERR_CORRUPT; }
        if (left < ROW_HEAD_BYTES + key_len + value_len) { break; }
        err = load_row(load, slice_of(row + ROW_HEAD_BYTES, key_len),
                       slice_of(row + ROW_HEAD_BYTES + key_len, value_len));
        load_taken(load, at, ROW_HEAD_BYTES + key_len + value_len);
    }
    return err;
}

enum err store_load_write(struct store_load *load, struct slice bytes)
{
    if (load->has_end) { return bytes.len == 0 ? ERR_OK : ERR_CORRUPT; }
    buf_append(&load->in, bytes);
    size_t at = 0;
    if (!load->has_magic) {
        if (load->in.len < MAGIC_BYTES) { return ERR_OK; }
        if (memcmp(load->in.data, magic, MAGIC_BYTES) != 0) { return ERR_CORRUPT; }
        load->has_magic = true;
        load_taken(load, &at, MAGIC_BYTES);
    }
    enum err err = load_rows(load, &at);
    buf_consume(&load->in, at);
    return err;
}

static void load_free(struct store_load *load)
{
    if (load->txn != NULL) { mdb_txn_abort(load->txn); }
    if (load->env != NULL) { mdb_env_close(load->env); }
    buf_fini(&load->in);
    mem_free(load->path);
    mem_free(load);
}

enum err store_load_end(struct store_load *load, struct store **out)
{
    if (!load->has_end) { return ERR_CORRUPT; }
    int rc = load->txn != NULL ? mdb_txn_commit(load->txn) : 0;
    load->txn = NULL;
    if (rc != 0) { return store_err_of(rc); }
    mdb_env_close(load->env);
    load->env = NULL;
    enum err err = store_open(out, &load->opts);
    if (err == ERR_OK) { load_free(load); }
    return err;
}

void store_load_abort(struct store_load *load)
{
    char lock[4096];
    bool fits = (size_t)snprintf(lock, sizeof lock, "%s-lock", load->path) < sizeof lock;
    (void)unlink(load->path);
    if (fits) { (void)unlink(lock); }
    load_free(load);
}
