/* Log lines, read back from where stderr goes. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

/* From now on stderr is a file of its own, deleted already. Criterion runs each test in its own
 * process. */
static int stderr_to_file(void)
{
    char path[] = "/tmp/test_base_log.XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC | O_APPEND);
    cr_assert(fd >= 0);
    unlink(path);
    cr_assert_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    return fd;
}

/* What has been written since the last call, with a NUL behind it. */
static char *written(int fd, struct buf *out)
{
    static off_t at;
    out->len = 0;
    for (;;) {
        char *room = buf_reserve(out, 4096);
        ssize_t got = pread(fd, room, 4095, at);
        cr_assert(got >= 0);
        if (got == 0) {
            *room = '\0';
            return out->data;
        }
        out->len += (size_t)got;
        at += got;
    }
}

/* The line without its time stamp, whose form is checked. */
static char *after_stamp(char *line, const char *before)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    cr_assert_eq(strncmp(line, before, strlen(before)), 0, "%s", line);
    line += strlen(before);
    for (size_t i = 0; i < sizeof form - 1; i++) {
        bool is_digit = line[i] >= '0' && line[i] <= '9';
        cr_assert(form[i] == 'd' ? is_digit : line[i] == form[i], "%s", line);
    }
    return line + sizeof form - 1;
}

Test(base_log, a_text_line_is_logfmt)
{
    int fd = stderr_to_file();
    struct buf out = {0};
    LOG_WARN("client closed", LOG_STR("reason", "backlog"), LOG_UINT("id", UINT64_MAX),
             LOG_INT("left", -7));
    cr_assert_str_eq(
        after_stamp(written(fd, &out), "ts="),
        " level=warn msg=\"client closed\" reason=backlog id=18446744073709551615 left=-7\n");
    LOG_ERROR("x");
    cr_assert_str_eq(after_stamp(written(fd, &out), "ts="), " level=error msg=\"x\"\n");
    buf_fini(&out);
}

Test(base_log, values_that_are_not_plain_words_are_quoted_and_escaped)
{
    int fd = stderr_to_file();
    struct buf out = {0};
    LOG_INFO("m", LOG_STR("a", ""), LOG_STR("b", "x y"), LOG_STR("c", "\"\\"), LOG_STR("d", "k=v"),
             LOG_SLICE("e", SLICE("\0\n\x7f\xff")));
    cr_assert_str_eq(after_stamp(written(fd, &out), "ts="),
                     " level=info msg=\"m\" a=\"\" b=\"x y\" c=\"\\\"\\\\\" d=\"k=v\""
                     " e=\"\\u0000\\u000a\\u007f\\u00ff\"\n");
    buf_fini(&out);
}

Test(base_log, a_json_line_is_an_object)
{
    int fd = stderr_to_file();
    struct buf out = {0};
    log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    LOG_INFO("client \"closed\"", LOG_STR("reason", "back\nlog"), LOG_UINT("id", 7),
             LOG_INT("n", -1));
    cr_assert_str_eq(
        after_stamp(written(fd, &out), "{\"ts\":\""),
        "\",\"level\":\"info\",\"msg\":\"client \\\"closed\\\"\",\"reason\":\"back\\u000alog\""
        ",\"id\":7,\"n\":-1}\n");
    buf_fini(&out);
}

static unsigned evaluated_count;

static int64_t evaluated(void)
{
    evaluated_count++;
    return 0;
}

Test(base_log, lines_above_the_level_are_neither_written_nor_evaluated)
{
    int fd = stderr_to_file();
    struct buf out = {0};
    log_configure(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
    cr_assert(log_is_on(LOG_LEVEL_WARN) && !log_is_on(LOG_LEVEL_INFO));
    LOG_INFO("no", LOG_INT("v", evaluated()));
    LOG_DEBUG("no");
    cr_assert_str_eq(written(fd, &out), "");
    cr_assert_eq(evaluated_count, 0);
    LOG_WARN("yes", LOG_INT("v", evaluated()));
    cr_assert_eq(evaluated_count, 1);
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    LOG_DEBUG("yes");
    cr_assert_neq(strstr(written(fd, &out), "level=debug"), NULL);
    buf_fini(&out);
}

Test(base_log, a_long_value_is_cut_and_the_line_stays_one_line)
{
    int fd = stderr_to_file();
    struct buf out = {0};
    static char value[5000];
    memset(value, 'x', sizeof value);
    LOG_INFO("m", LOG_SLICE("v", slice_of(value, sizeof value)), LOG_INT("after", 1));
    char *line = strstr(written(fd, &out), " v=");
    cr_assert_not_null(line);
    cr_assert_eq(strspn(line + 3, "x"), 1024);
    cr_assert_str_eq(line + 3 + 1024, " after=1\n");
    memset(value, '\n', sizeof value);
    for (unsigned i = 0; i < 3; i++) {
        struct slice v = slice_of(value, sizeof value);
        LOG_INFO("m", LOG_SLICE("a", v), LOG_SLICE("b", v), LOG_SLICE("c", v));
    }
    line = written(fd, &out);
    unsigned line_count = 0;
    for (size_t i = 0; i < out.len; i++) {
        line_count += line[i] == '\n';
    }
    cr_assert_eq(line_count, 3);
    buf_fini(&out);
}

static void count_words(const char *text, const char *word, unsigned *count)
{
    *count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        ++*count;
    }
}

Test(base_log, a_site_that_clients_drive_has_a_budget_and_tells_what_it_left_out)
{
    int fd = stderr_to_file();
    struct buf out = {0};
    struct log_site site = {0};
    unsigned count;
    for (unsigned i = 0; i < 100; i++) {
        log_write_limited(&site, LOG_LEVEL_INFO, "again", LOG_FIELDS(LOG_UINT("i", i)));
    }
    count_words(written(fd, &out), "again", &count);
    /* A second may have ended meanwhile. */
    cr_assert(count >= LOG_LIMITED_PER_S && count < 100, "%u", count);
    uint64_t suppressed = atomic_load(&site.suppressed_count);
    cr_assert_gt(suppressed, 0);
    atomic_fetch_sub(&site.window_start_ns, NS_PER_S); /* a second passes */
    log_write_limited(&site, LOG_LEVEL_INFO, "again", LOG_FIELDS());
    char expected[64];
    snprintf(expected, sizeof expected, " suppressed=%llu\n", (unsigned long long)suppressed);
    cr_assert_not_null(strstr(written(fd, &out), expected), "%s", out.data);
    buf_fini(&out);
}
