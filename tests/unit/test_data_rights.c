/* What users of scripts may do is made of text once, and some of it is kept. */
#include "data/data_rights.h"

#include <criterion/criterion.h>

#include "base/mem.h"

struct fake {
    uint32_t opened;
    uint32_t closed;
};

struct opened {
    struct fake *fake;
    char first;
};

static void *on_open(void *arg, struct slice text)
{
    struct fake *fake = arg;
    if (text.len == 0) { return NULL; }
    struct opened *opened = mem_new0(sizeof *opened);
    *opened = (struct opened){fake, text.data[0]};
    fake->opened++;
    return opened;
}

static void on_close(void *rights)
{
    struct opened *opened = rights;
    opened->fake->closed++;
    mem_free(opened);
}

static bool on_allow(void *arg, const void *rights, uint32_t argc, const struct slice *argv,
                     struct buf *why)
{
    (void)arg;
    (void)argc;
    (void)why;
    return ((const struct opened *)rights)->first == argv[0].data[0];
}

static const struct data_rights_ops ops = {on_open, on_close, on_allow};

Test(data_rights, the_last_that_were_used_are_kept)
{
    struct fake fake = {0};
    struct data_rights *rights = data_rights_new(&ops, &fake);
    static char text[DATA_RIGHTS_BYTES_MAX + 1];
    const struct slice word = SLICE("a");
    for (char c = 'a'; c < 'a' + DATA_RIGHTS_KEPT; c++) {
        cr_assert_not_null(data_rights_find(rights, slice_of(&c, 1)));
    }
    cr_assert_eq(fake.opened, DATA_RIGHTS_KEPT);
    const void *a = data_rights_find(rights, SLICE("a"));
    cr_assert_eq(fake.opened, DATA_RIGHTS_KEPT, "it was kept");
    cr_assert(data_rights_allow(rights, a, 1, &word, NULL));
    const void *other = data_rights_find(rights, SLICE("z"));
    cr_assert_eq(fake.closed, 1);
    cr_assert(!data_rights_allow(rights, other, 1, &word, NULL));
    cr_assert_eq(data_rights_find(rights, SLICE("a")), a, "another one went");
    cr_assert_null(data_rights_find(rights, SLICE("")), "it makes no sense");
    cr_assert_null(data_rights_find(rights, slice_of(text, sizeof text)), "it is too long");
    cr_assert_eq(fake.opened, DATA_RIGHTS_KEPT + 1);
    data_rights_free(rights);
    cr_assert_eq(fake.opened, fake.closed);
}
