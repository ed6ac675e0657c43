/* Images: what comes in is what went out, whatever is written meanwhile; and nothing else comes in. */
#include "store/store_image.h"

#include "store/store_list.h"
#include "store/store_string.h"
#include "store/store_zset.h"
#include "store_scratch.h"

enum { KEYS = 500 };

static void fill(struct scratch *s)
{
    char name[32];
    char text[5000];
    memset(text, 't', sizeof text);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "key:%u", i);
        const struct store_ref ref = {(uint16_t)(i % 3), 0, slice_of_str(name)};
        struct store_object object;
        if (i % 4 == 0) {
            store_key_create(s->txn, STORE_LIST, &object);
            for (unsigned j = 0; j < i * 4; j++) {
                store_list_push(s->txn, &object, STORE_TAIL, slice_of(text, j % 90));
            }
        } else {
            store_key_create(s->txn, STORE_STRING, &object);
            store_string_set(s->txn, &object, slice_of(text, i * 10));
        }
        if (i % 4 != 0 || object.count > 0) { store_key_save(s->txn, &ref, &object); }
    }
    store_set_applied(s->txn, 4711);
    scratch_next(s);
}

static struct buf image_of(struct scratch *s)
{
    struct buf bytes = {0};
    struct store_image *image;
    size_t count;
    char part[5000];
    cr_assert_eq(store_image_begin(s->store, &image), ERR_OK);
    do {
        size_t room =
            STORE_IMAGE_BYTES_MIN + scratch_random(s) % (sizeof part - STORE_IMAGE_BYTES_MIN);
        cr_assert_eq(store_image_read(image, part, room, &count), ERR_OK);
        buf_append(&bytes, slice_of(part, count));
        if (scratch_random(s) % 16 == 0) { /* writing goes on */
            const struct store_ref ref = {9, 0, SLICE("meanwhile")};
            struct store_object object;
            if (!store_key_find(s->txn, &ref, &object)) {
                store_key_create(s->txn, STORE_LIST, &object);
            }
            store_list_push(s->txn, &object, STORE_TAIL, SLICE("element"));
            store_key_save(s->txn, &ref, &object);
            scratch_next(s);
        }
    } while (count > 0);
    store_image_end(image);
    return bytes;
}

/* In parts of any size. */
static enum err load(struct scratch *s, struct slice bytes, struct store **store)
{
    char path[100];
    snprintf(path, sizeof path, "%s/loaded", s->dir);
    const struct store_opts opts = {.path = path, .map_bytes = 1 << 28, .readers_max = 4};
    struct store_load *loading;
    cr_assert_eq(store_load_begin(&loading, &opts), ERR_OK);
    enum err err = ERR_OK;
    while (bytes.len > 0 && err == ERR_OK) {
        size_t part = 1 + scratch_random(s) % 3000;
        if (part > bytes.len) { part = bytes.len; }
        err = store_load_write(loading, slice_of(bytes.data, part));
        bytes = slice_of(bytes.data + part, bytes.len - part);
    }
    if (err == ERR_OK) { err = store_load_end(loading, store); }
    if (err != ERR_OK) { store_load_abort(loading); }
    return err;
}

static void expect_same_digest(struct store *a, uint32_t digest)
{
    struct store_txn *reader;
    cr_assert_eq(store_reader_new(a, &reader), ERR_OK);
    cr_assert_eq(store_reader_begin(reader, 0, 0), ERR_OK);
    cr_assert_eq(store_digest(reader), digest);
    cr_assert_eq(store_applied(reader), 4711);
    store_reader_end(reader);
    store_reader_free(reader);
}

static void remove_loaded(struct scratch *s)
{
    char path[100];
    snprintf(path, sizeof path, "%s/loaded", s->dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/loaded-lock", s->dir);
    unlink(path);
}

Test(store_image, what_comes_in_is_what_went_out)
{
    struct scratch s;
    scratch_init(&s, 1);
    fill(&s);
    uint32_t digest = store_digest(s.txn);
    struct buf first = image_of(&s);
    struct store *loaded;
    cr_assert_eq(load(&s, buf_slice(&first), &loaded), ERR_OK);
    expect_same_digest(loaded, digest);
    struct store_image *image; /* the loaded one's: byte by byte the same */
    struct buf second = {0};
    size_t count;
    char part[4096];
    cr_assert_eq(store_image_begin(loaded, &image), ERR_OK);
    do {
        cr_assert_eq(store_image_read(image, part, sizeof part, &count), ERR_OK);
        buf_append(&second, slice_of(part, count));
    } while (count > 0);
    store_image_end(image);
    cr_assert(slice_equal(buf_slice(&first), buf_slice(&second)));
    buf_fini(&first);
    buf_fini(&second);
    store_close(loaded);
    remove_loaded(&s);
    scratch_fini(&s);
}

Test(store_image, a_damaged_or_cut_one_is_refused_and_leaves_nothing)
{
    struct scratch s;
    scratch_init(&s, 2);
    fill(&s);
    struct buf bytes = image_of(&s);
    struct store *loaded;
    for (unsigned i = 0; i < 60; i++) {
        size_t at = i < 8 ? i : scratch_random(&s) % bytes.len;
        bytes.data[at] ^= 0x10;
        cr_assert_eq(load(&s, buf_slice(&bytes), &loaded), ERR_CORRUPT, "byte %zu", at);
        bytes.data[at] ^= 0x10;
        size_t cut = i < 20 ? bytes.len - 1 - i : scratch_random(&s) % bytes.len;
        cr_assert_eq(load(&s, slice_of(bytes.data, cut), &loaded), ERR_CORRUPT, "cut at %zu", cut);
    }
    buf_append(&bytes, SLICE("x"));
    cr_assert_eq(load(&s, buf_slice(&bytes), &loaded), ERR_CORRUPT);
    buf_fini(&bytes);
    scratch_fini(&s); /* its folder is empty */
}
