/* The promise of data/data_call.h: each command is found by its name, in whatever case, and nothing else is. */
#include <criterion/criterion.h>
#include <ctype.h>

#include "data/data_call.h"

static const char *const names[] = {
#define DATA(name, arity, access) #name,
#include "data/data.def"
#undef DATA
};

static bool is_name(struct slice word)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (slice_equal(word, slice_of_str(names[i]))) { return true; }
    }
    return false;
}

static void expect_like(const char *bytes, size_t len)
{
    const struct data_command *command = data_command_find(slice_of(bytes, len));
    cr_assert_eq(command != NULL, is_name(slice_of(bytes, len)), "%.*s", (int)len, bytes);
    if (command != NULL) {
        cr_assert(slice_equal(slice_of_str(command->name), slice_of(bytes, len)));
    }
}

Test(data_command, each_is_found_in_any_case_and_no_other_word)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char word[40] = {0};
        size_t len = strlen(names[i]);
        memcpy(word, names[i], len);
        for (size_t part = 0; part <= len + 2; part++) {
            expect_like(word, part); /* also with bytes of 0 behind it */
        }
        for (const char *end = "az_{1"; *end != 0; end++) {
            word[len] = *end;
            expect_like(word, len + 1);
            word[len] = 0;
        }
        for (size_t at = 0; at < len; at++) {
            word[at] = (char)toupper((unsigned char)word[at]);
        }
        const struct data_command *command = data_command_find(slice_of(word, len));
        cr_assert_not_null(command, "%s", word);
        cr_assert_str_eq(command->name, names[i]);
    }
    cr_assert_null(data_command_find(SLICE("")));
    cr_assert_null(data_command_find(SLICE("georadiusbymember_ro_and_more")));
}
