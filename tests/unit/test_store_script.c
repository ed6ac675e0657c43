/* The texts of scripts: found as they were kept, bounded, and gone when they are flushed. */
#include "store/store_script.h"

#include <criterion/criterion.h>

#include "base/mem.h"
#include "unit/store_scratch.h"

static void sha_of(unsigned n, unsigned char sha[SHA1_BYTES])
{
    sha1(slice_of(&n, sizeof n), sha);
}

static bool is_there(struct scratch *s, unsigned n, struct store_script *script)
{
    unsigned char sha[SHA1_BYTES];
    sha_of(n, sha);
    return store_script_find(s->txn, sha, script);
}

static bool keep(struct scratch *s, unsigned n, struct slice text, bool is_loaded)
{
    unsigned char sha[SHA1_BYTES];
    sha_of(n, sha);
    return store_script_keep(s->txn, sha, text, is_loaded);
}

Test(store_script, a_text_of_every_size_is_read_as_it_was_kept)
{
    static const size_t sizes[] = {0, 1, 4079, 4080, 4081, 100000, 1 << 20};
    struct scratch s;
    scratch_init(&s, 1);
    char *bytes = mem_new(1 << 20);
    for (size_t i = 0; i < 1 << 20; i++) {
        bytes[i] = (char)(i * 31 % 251);
    }
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        cr_assert(keep(&s, i, slice_of(bytes, sizes[i]), i % 2 == 0));
    }
    scratch_next(&s);
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        struct store_script script;
        struct buf text = {0};
        unsigned char sha[SHA1_BYTES];
        sha_of(i, sha);
        cr_assert(is_there(&s, i, &script));
        cr_expect(script.len == sizes[i] && script.is_loaded == (i % 2 == 0));
        store_script_read(s.txn, sha, &script, &text);
        cr_expect(slice_equal(buf_slice(&text), slice_of(bytes, sizes[i])));
        buf_fini(&text);
    }
    mem_free(bytes);
    scratch_fini(&s);
}

Test(store_script, the_oldest_that_came_with_a_call_goes_and_what_is_loaded_stays)
{
    struct scratch s;
    struct store_script script;
    scratch_init(&s, 2);
    cr_assert(keep(&s, 0, SLICE("called, then loaded"), false));
    cr_assert(keep(&s, 1, SLICE("called"), false));
    cr_assert(keep(&s, 0, SLICE("called, then loaded"), true));
    cr_assert(keep(&s, 0, SLICE("called, then loaded"), false));
    for (unsigned n = 2; n < STORE_SCRIPTS_CALLED_MAX + 10; n++) {
        cr_assert(keep(&s, n, SLICE("called"), false));
    }
    cr_expect(is_there(&s, 0, &script) && script.is_loaded);
    cr_expect_not(is_there(&s, 1, &script));
    cr_expect_not(is_there(&s, 9, &script));
    cr_expect(is_there(&s, 10, &script));
    store_script_flush(s.txn);
    cr_expect_not(is_there(&s, 0, &script));
    cr_expect_not(is_there(&s, 10, &script));
    cr_expect(keep(&s, 1, SLICE("again"), false) && is_there(&s, 1, &script));
    scratch_fini(&s);
}

Test(store_script, loaded_texts_are_bounded)
{
    struct scratch s;
    scratch_init(&s, 3);
    char *bytes = mem_new0(1 << 20);
    unsigned count = 0;
    while (count < 100 && keep(&s, count, slice_of(bytes, 1 << 20), true)) {
        count++;
    }
    cr_expect_eq(count, STORE_SCRIPTS_BYTES_MAX >> 20);
    cr_expect(keep(&s, 1000, SLICE("called"), false), "what comes with its call always has room");
    store_script_flush(s.txn);
    cr_expect(keep(&s, 1000, slice_of(bytes, 1 << 20), true));
    mem_free(bytes);
    scratch_fini(&s);
}
