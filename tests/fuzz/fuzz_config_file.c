/* Any text is a config file: it is read or refused with a line for people. What was read prints as
 * a file that reads back to the same settings; and every line of the text, as a value, is accepted
 * or refused by every option. */
#include "base/check.h"
#include "config/config_int.h"

static void settings_begin(struct settings *settings)
{
    struct buf problem = {0};
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        CHECK(value_parse(&option_rows[i], slice_of_str(option_rows[i].fallback),
                          &settings->value[i], &problem));
    }
    buf_fini(&problem);
}

static void file_round_trip(struct slice text)
{
    struct settings first = {0}, second = {0};
    struct buf problem = {0}, printed = {0};
    settings_begin(&first);
    settings_begin(&second);
    if (settings_read_text(&first, text, "file", &problem)) {
        settings_print(&first, &printed);
        CHECK(settings_read_text(&second, buf_slice(&printed), "printed", &problem));
        for (unsigned i = 0; i < CONFIG_COUNT; i++) {
            /* Secrets are not printed, nor is what nothing here means. */
            if (option_rows[i].kind != KIND_SECRET && option_rows[i].kind != KIND_OUTPUT_LIMITS) {
                CHECK(value_equal(&option_rows[i], &first.value[i], &second.value[i]));
            }
        }
    } else {
        CHECK(problem.len > 0);
    }
    buf_fini(&printed);
    buf_fini(&problem);
    settings_fini(&second);
    settings_fini(&first);
}

static void value_round_trip(const struct option_row *row, struct slice text)
{
    struct value first = {0}, second = {0};
    struct buf printed = {0}, why = {0};
    if (value_parse(row, text, &first, &why)) {
        CHECK(why.len == 0);
        value_print(row, &first, PRINT_REDIS, &printed);
        CHECK(value_parse(row, buf_slice(&printed), &second, &why));
        CHECK(value_equal(row, &first, &second));
    } else {
        CHECK(why.len > 0);
    }
    buf_fini(&why);
    buf_fini(&printed);
    value_fini(&second);
    value_fini(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    file_round_trip(text);
    struct slice line;
    while (text_next_line(&text, &line)) {
        for (unsigned i = 0; i < CONFIG_COUNT; i++) {
            value_round_trip(&option_rows[i], line);
        }
        (void)option_guess(line);
    }
    return 0;
}
