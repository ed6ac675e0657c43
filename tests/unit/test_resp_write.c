/* Replies of both protocol versions, byte for byte. */
#include "resp/resp_write.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>

struct fixture {
    struct buf out;
    struct reply reply;
};

static struct fixture *fixture_new(uint8_t version)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->reply = (struct reply){.out = &f->out, .version = version};
    return f;
}

static void fixture_free(struct fixture *f)
{
    buf_fini(&f->out);
    free(f);
}

/* What has been written must be exactly `bytes`; begin anew. */
static void expect_bytes(struct fixture *f, struct slice bytes)
{
    cr_assert(slice_equal(buf_slice(&f->out), bytes), "got '%.*s', expected '%.*s'",
              SLICE_ARG(buf_slice(&f->out)), SLICE_ARG(bytes));
    f->out.len = 0;
}

#define EXPECT(f, literal) expect_bytes((f), SLICE(literal))

Test(resp_write, replies_known_to_both_versions_are_the_same_in_both)
{
    for (uint8_t version = 2; version <= 3; version++) {
        struct fixture *f = fixture_new(version);
        reply_ok(&f->reply);
        reply_status(&f->reply, "QUEUED");
        reply_status(&f->reply, "");
        EXPECT(f, "+OK\r\n+QUEUED\r\n+\r\n");
        reply_bulk(&f->reply, SLICE("a\r\nb\0c"));
        reply_bulk(&f->reply, slice_of(NULL, 0));
        reply_bulk_str(&f->reply, "news");
        EXPECT(f, "$6\r\na\r\nb\0c\r\n$0\r\n\r\n$4\r\nnews\r\n");
        reply_array(&f->reply, 0);
        reply_array(&f->reply, 3);
        EXPECT(f, "*0\r\n*3\r\n");
        cr_assert_eq(f->reply.error_count, 0);
        fixture_free(f);
    }
}

Test(resp_write, an_integer_is_written_over_its_whole_range)
{
    struct fixture *f = fixture_new(2);
    reply_int(&f->reply, 0);
    reply_int(&f->reply, 1);
    reply_int(&f->reply, -1);
    reply_int(&f->reply, 1234567890);
    EXPECT(f, ":0\r\n:1\r\n:-1\r\n:1234567890\r\n");
    reply_int(&f->reply, INT64_MAX);
    reply_int(&f->reply, INT64_MIN);
    EXPECT(f, ":9223372036854775807\r\n:-9223372036854775808\r\n");
    fixture_free(f);
}

Test(resp_write, a_double_is_a_bulk_string_in_resp2_and_a_double_in_resp3)
{
    struct fixture *f = fixture_new(2);
    reply_double(&f->reply, 3.141);
    reply_double(&f->reply, INFINITY);
    reply_double(&f->reply, -INFINITY);
    EXPECT(f, "$5\r\n3.141\r\n$3\r\ninf\r\n$4\r\n-inf\r\n");
    f->reply.version = 3;
    reply_double(&f->reply, 3.141);
    reply_double(&f->reply, INFINITY);
    reply_double(&f->reply, -INFINITY);
    reply_double(&f->reply, NAN);
    reply_double(&f->reply, -NAN);
    EXPECT(f, ",3.141\r\n,inf\r\n,-inf\r\n,nan\r\n,nan\r\n");
    reply_double(&f->reply, 0.1);
    reply_double(&f->reply, 10);
    reply_double(&f->reply, -0.0);
    reply_double(&f->reply, -DBL_TRUE_MIN);
    reply_double(&f->reply, -DBL_MAX);
    EXPECT(f, ",0.10000000000000001\r\n,10\r\n,-0\r\n,-4.9406564584124654e-324\r\n"
              ",-1.7976931348623157e+308\r\n");
    fixture_free(f);
}

Test(resp_write, what_resp2_lacks_is_written_as_resp2_clients_know_it)
{
    struct fixture *f = fixture_new(2);
    reply_bool(&f->reply, true);
    reply_bool(&f->reply, false);
    reply_null(&f->reply);
    reply_null_array(&f->reply);
    EXPECT(f, ":1\r\n:0\r\n$-1\r\n*-1\r\n");
    reply_map(&f->reply, 3);
    reply_set(&f->reply, 3);
    reply_push(&f->reply, 3);
    reply_verbatim(&f->reply, SLICE("text"));
    EXPECT(f, "*6\r\n*3\r\n*3\r\n$4\r\ntext\r\n");
    fixture_free(f);
}

Test(resp_write, resp3_has_a_type_for_each)
{
    struct fixture *f = fixture_new(3);
    reply_bool(&f->reply, true);
    reply_bool(&f->reply, false);
    reply_null(&f->reply);
    reply_null_array(&f->reply);
    EXPECT(f, "#t\r\n#f\r\n_\r\n_\r\n");
    reply_map(&f->reply, 3);
    reply_set(&f->reply, 3);
    reply_push(&f->reply, 3);
    reply_verbatim(&f->reply, SLICE("text"));
    EXPECT(f, "%3\r\n~3\r\n>3\r\n=8\r\ntxt:text\r\n");
    fixture_free(f);
}

Test(resp_write, heads_of_aggregates_take_any_count)
{
    struct fixture *f = fixture_new(3);
    reply_map(&f->reply, 10000000000);
    reply_array(&f->reply, SIZE_MAX);
    EXPECT(f, "%10000000000\r\n*18446744073709551615\r\n");
    f->reply.version = 2;
    reply_map(&f->reply, 10000000000);
    EXPECT(f, "*20000000000\r\n");
    fixture_free(f);
}

Test(resp_write, an_error_stays_one_line_and_is_counted)
{
    struct fixture *f = fixture_new(2);
    reply_error(&f->reply, "ERR a\r\nb\nc\r");
    EXPECT(f, "-ERR a  b c \r\n");
    reply_error_slice(&f->reply, SLICE("WRONGTYPE x\ny"));
    EXPECT(f, "-WRONGTYPE x y\r\n");
    reply_errorf(&f->reply, "ERR unknown command '%s', %d", "a\r\n+OK", 7);
    EXPECT(f, "-ERR unknown command 'a  +OK', 7\r\n");
    cr_assert_eq(f->reply.error_count, 3);
    fixture_free(f);
}

Test(resp_write, a_formatted_error_may_be_longer_than_the_room_that_was_guessed)
{
    char text[5000];
    memset(text, 'x', sizeof text);
    for (size_t len = 0; len < sizeof text; len += len < 300 ? 1 : 977) {
        struct fixture *f = fixture_new(2);
        struct buf expected = {0};
        buf_appendf(&expected, "-ERR %.*s!\r\n", (int)len, text);
        reply_errorf(&f->reply, "ERR %.*s!", (int)len, text);
        expect_bytes(f, buf_slice(&expected));
        buf_fini(&expected);
        fixture_free(f);
    }
}

Test(resp_write, replies_follow_what_the_buffer_already_holds)
{
    struct fixture *f = fixture_new(3);
    buf_append_str(&f->out, "\r\n");
    reply_error(&f->reply, "ERR no");
    reply_push(&f->reply, 2);
    reply_bulk_str(&f->reply, "message");
    reply_null(&f->reply);
    EXPECT(f, "\r\n-ERR no\r\n>2\r\n$7\r\nmessage\r\n_\r\n");
    fixture_free(f);
}

Test(resp_write, a_large_bulk_string_is_whole)
{
    struct fixture *f = fixture_new(2);
    size_t len = (size_t)3 << 20;
    char *bytes = malloc(len);
    memset(bytes, '\r', len);
    reply_bulk(&f->reply, slice_of(bytes, len));
    struct slice head = SLICE("$3145728\r\n");
    cr_assert_eq(f->out.len, head.len + len + 2);
    cr_assert(slice_starts_with(buf_slice(&f->out), head));
    cr_assert_eq(memcmp(f->out.data + head.len, bytes, len), 0);
    cr_assert_eq(memcmp(f->out.data + head.len + len, "\r\n", 2), 0);
    free(bytes);
    fixture_free(f);
}
