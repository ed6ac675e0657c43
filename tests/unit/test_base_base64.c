/* What base/base64.h promises. */
#include "base/base64.h"

#include <criterion/criterion.h>

static bool decodes_to(struct slice text, struct slice meant)
{
    struct buf out = {0};
    bool is_good = base64_decode(text, &out) && slice_equal(buf_slice(&out), meant);
    buf_fini(&out);
    return is_good;
}

Test(base64, texts_of_every_length_come_back_with_padding_and_without)
{
    cr_expect(decodes_to(SLICE(""), SLICE("")));
    cr_expect(decodes_to(SLICE("Zg=="), SLICE("f")));
    cr_expect(decodes_to(SLICE("Zg"), SLICE("f")));
    cr_expect(decodes_to(SLICE("Zm8="), SLICE("fo")));
    cr_expect(decodes_to(SLICE("Zm9v"), SLICE("foo")));
    cr_expect(decodes_to(SLICE("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), SLICE("Aladdin:open sesame")));
    cr_expect(decodes_to(SLICE("/+8A"), SLICE("\xff\xef\0")));
}

Test(base64, what_is_none_is_refused)
{
    struct buf out = {0};
    static const struct slice wrong[] = {{"Z", 1},    {"Zm9vZ", 5}, {"Zm 9v", 5}, {"Zm9v\n", 5},
                                         {"====", 4}, {"Z\0==", 4}, {"-_-_", 4},  {"Zg==Zg==", 8}};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_not(base64_decode(wrong[i], &out), "%u", i);
    }
    buf_fini(&out);
}
