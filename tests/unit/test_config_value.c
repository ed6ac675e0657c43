/* Single values: what each kind accepts, refuses and prints. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "config/config_int.h"

/* Parse into a fresh value and print it again; "!reason" if it is refused. */
static const char *round_trip(enum config_option option, const char *text, enum print_style style)
{
    static char shown[512];
    struct value value = {0};
    struct buf out = {0};
    if (!value_parse(&option_rows[option], slice_of_str(text), &value, &out)) {
        snprintf(shown, sizeof shown, "!%.*s", SLICE_ARG(buf_slice(&out)));
    } else {
        value_print(&option_rows[option], &value, style, &out);
        snprintf(shown, sizeof shown, "%.*s", SLICE_ARG(buf_slice(&out)));
    }
    buf_fini(&out);
    value_fini(&value);
    return shown;
}

#define EXPECT(option, text, shown) \
    cr_expect_str_eq(round_trip(CONFIG_##option, text, PRINT_PLAIN), shown)

Test(config_value, numbers_keep_to_their_range)
{
    EXPECT(max_clients, "1", "1");
    EXPECT(max_clients, "4000000", "4000000");
    EXPECT(max_clients, "0", "!argument must be between 1 and 4000000 inclusive");
    EXPECT(max_clients, "4000001", "!argument must be between 1 and 4000000 inclusive");
    EXPECT(slowlog_log_slower_than, "-1", "-1");
    EXPECT(slowlog_log_slower_than, "-2",
           "!argument must be between -1 and 9223372036854775807 inclusive");
}

Test(config_value, what_is_no_number_is_refused)
{
    static const char *const bad[] = {"", " 1", "1 ", "0x10", "1e3", "+1", "9223372036854775808"};
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        EXPECT(max_clients, bad[i], "!argument couldn't be parsed into an integer");
    }
}

Test(config_value, sizes_have_redis_units)
{
    EXPECT(query_buffer_limit, "1048576", "1048576");
    EXPECT(query_buffer_limit, "1048576b", "1048576");
    EXPECT(query_buffer_limit, "2000k", "2000000");
    EXPECT(query_buffer_limit, "2000KB", "2048000");
    EXPECT(query_buffer_limit, "2m", "2000000");
    EXPECT(query_buffer_limit, "2mb", "2097152");
    EXPECT(query_buffer_limit, "2g", "2000000000");
    EXPECT(query_buffer_limit, "2Gb", "2147483648");
}

Test(config_value, bad_sizes_are_refused)
{
    static const char *const bad[] = {
        "", "mb", "-1mb", "1.5gb", "1tb", "1 mb", "99999999999999999999", "9223372036854775807kb"};
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        EXPECT(query_buffer_limit, bad[i], "!argument must be a memory value");
    }
    EXPECT(query_buffer_limit, "1kb",
           "!argument must be between 1048576 and 1099511627776 inclusive");
}

Test(config_value, a_file_line_shows_a_size_in_its_largest_whole_unit)
{
    cr_expect_str_eq(round_trip(CONFIG_query_buffer_limit, "1gb", PRINT_FILE), "1gb");
    cr_expect_str_eq(round_trip(CONFIG_query_buffer_limit, "1536kb", PRINT_FILE), "1536kb");
    cr_expect_str_eq(round_trip(CONFIG_query_buffer_limit, "1048577", PRINT_FILE), "1048577");
}

Test(config_value, booleans_are_yes_and_no)
{
    EXPECT(protected_mode, "yes", "yes");
    EXPECT(protected_mode, "NO", "no");
    EXPECT(protected_mode, "true", "!argument must be 'yes' or 'no'");
    EXPECT(protected_mode, "", "!argument must be 'yes' or 'no'");
}

Test(config_value, choices_know_redis_synonyms_and_print_their_first_word)
{
    EXPECT(log_level, "debug", "debug");
    EXPECT(log_level, "verbose", "debug");
    EXPECT(log_level, "Notice", "info");
    EXPECT(log_level, "warning", "warn");
    EXPECT(log_level, "loud",
           "!argument(s) must be one of the following: error, warn, info, debug");
    EXPECT(log_level, "warn,warning",
           "!argument(s) must be one of the following: error, warn, info, debug");
    EXPECT(log_level, "", "!argument(s) must be one of the following: error, warn, info, debug");
}

Test(config_value, file_modes_are_octal)
{
    EXPECT(unix_socket_mode, "770", "770");
    EXPECT(unix_socket_mode, "0007", "007");
    EXPECT(unix_socket_mode, "1777", "!argument must be between 0 and 777 inclusive");
    EXPECT(unix_socket_mode, "8", "!argument couldn't be parsed as an octal number");
    EXPECT(unix_socket_mode, "", "!argument must be between 0 and 777 inclusive");
}

Test(config_value, listen_takes_every_kind_of_address)
{
    static const char *const good[] = {
        "127.0.0.1:0", "[::1]:6379",  "*:6379",      "host.example:65535",      "unix:/run/f.sock",
        "-[::1]:1",    "a:1,b:2 c:3", " a:1 , b:2 ", "tls://a:1 -tls://[::1]:2"};
    for (unsigned i = 0; i < COUNT_OF(good); i++) {
        EXPECT(listen, good[i], good[i]);
    }
}

Test(config_value, what_others_connect_to_is_no_wildcard)
{
    EXPECT(advertise, "", "");
    EXPECT(advertise, "node-1.example", "node-1.example");
    EXPECT(advertise, "[::1]:7000", "[::1]:7000");
    EXPECT(join, "", "");
    EXPECT(join, "a:16380, [::1]:2", "a:16380, [::1]:2");
    static const char *const bad[] = {"*", "*:1", "0.0.0.0", "[::]", "::1", "a b", "a:x"};
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        EXPECT(advertise, bad[i],
               "!argument must be a host that others can reach, with or without a port");
    }
    static const char *const bad_join[] = {"a", "a:0", "*:1", "-a:1", "a:1,b"};
    for (unsigned i = 0; i < COUNT_OF(bad_join); i++) {
        EXPECT(join, bad_join[i], "!argument must be a list of at most 64 host:port");
    }
    EXPECT(peer_listen, "*:1", "*:1");
    EXPECT(peer_listen, "*:0", "!argument must be an address");
    EXPECT(raft_listen, "off", "!argument must be an address");
}

Test(config_value, bad_addresses_are_refused)
{
    static const char *const bad[] = {
        "",      " , ",    "6379",          ":6379",   "a:",         "a:65536",
        "a:-1",  "a:x",    "::1:6379",      "[]:1",    "unix:",      "-",
        "a:1 b", "tls://", "tls://unix:/a", "tls://a", "https://a:1"};
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        cr_expect(round_trip(CONFIG_listen, bad[i], PRINT_PLAIN)[0] == '!', "'%s'", bad[i]);
    }
    cr_expect(
        round_trip(CONFIG_listen,
                   "a:1 a:2 a:3 a:4 a:5 a:6 a:7 a:8 a:9 a:10 a:11 a:12 a:13 a:14 a:15 a:16 a:17",
                   PRINT_PLAIN)[0] == '!');
}

Test(config_value, http_listen_can_be_off)
{
    EXPECT(http_listen, "off", "off");
    EXPECT(http_listen, "[::]:9121", "[::]:9121");
    EXPECT(http_listen, "https://*:9121", "https://*:9121");
    EXPECT(http_listen, "https://off", "!argument must be an address or 'off'");
    EXPECT(http_listen, "no", "!argument must be an address or 'off'");
}

Test(config_value, names_are_plain)
{
    EXPECT(name, "fanfare-0.eu_1", "fanfare-0.eu_1");
    EXPECT(name, "a b", "!argument must be at most 63 letters, digits, '.', '_' or '-'");
    EXPECT(dir, "", "!argument can't be empty");
}

Test(config_value, output_limits_that_are_not_named_stay)
{
    const struct option_row *row = &option_rows[CONFIG_output_buffer_limit];
    struct value value = {0};
    struct buf out = {0};
    cr_assert(value_parse(row, SLICE("normal 1mb 2mb 60 replica 3mb 4mb 70 pubsub 5mb 6mb 80"),
                          &value, &out));
    cr_assert(value_parse(row, SLICE("pubsub 7kb 0 0"), &value, &out));
    value_print(row, &value, PRINT_REDIS, &out);
    buf_append_str(&out, "|");
    value_print(row, &value, PRINT_FILE, &out);
    cr_expect(slice_equal(
        buf_slice(&out), SLICE("normal 1048576 2097152 60 slave 3145728 4194304 70 pubsub 7168 0 0|"
                               "normal 1mb 2mb 60 pubsub 7kb 0 0")));
    buf_fini(&out);
    value_fini(&value);
}

Test(config_value, bad_output_limits_are_refused_in_redis_words_and_change_nothing)
{
    static const struct {
        const char *text;
        const char *why;
    } bad[] = {
        {"normal 1", "Wrong number of arguments in buffer limit configuration."},
        {"pubsub 1mb 1mb 1 normal", "Wrong number of arguments in buffer limit configuration."},
        {"master 1mb 1mb 60", "Invalid client class specified in buffer limit configuration."},
        {"normal -1mb 0 0",
         "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
        {"pubsub 1mb 1mb 1 normal 0 0 -1",
         "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
    };
    const struct option_row *row = &option_rows[CONFIG_output_buffer_limit];
    for (unsigned i = 0; i < COUNT_OF(bad); i++) {
        struct value value = {.limit = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}};
        struct value before = value;
        struct buf why = {0};
        cr_expect_not(value_parse(row, slice_of_str(bad[i].text), &value, &why));
        cr_expect(slice_equal(buf_slice(&why), slice_of_str(bad[i].why)), "'%s'", bad[i].text);
        cr_expect(value_equal(row, &value, &before));
        buf_fini(&why);
    }
}

Test(config_value, a_refused_text_leaves_the_old_one)
{
    struct value value = {0};
    struct buf why = {0};
    cr_assert(value_parse(&option_rows[CONFIG_listen], SLICE("a:1"), &value, &why));
    cr_assert_not(value_parse(&option_rows[CONFIG_listen], SLICE("a"), &value, &why));
    cr_expect(slice_equal(buf_slice(&value.text), SLICE("a:1")));
    buf_fini(&why);
    value_fini(&value);
}

Test(config_value, every_default_is_a_valid_value)
{
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        struct value value = {0};
        struct buf why = {0};
        cr_expect(value_parse(&option_rows[i], slice_of_str(option_rows[i].fallback), &value, &why),
                  "%s", option_rows[i].name);
        buf_fini(&why);
        value_fini(&value);
    }
}

Test(config_value, near_misses_are_guessed_and_others_are_not)
{
    cr_expect_str_eq(option_guess(SLICE("max-client")), "max-clients");
    cr_expect_str_eq(option_guess(SLICE("LOGLEVL")), "loglevel");
    cr_expect_str_eq(option_guess(SLICE("lisen")), "listen");
    cr_expect_null(option_guess(SLICE("save")));
    cr_expect_null(option_guess(SLICE("x")));
    cr_expect_null(option_guess(SLICE("")));
}

Test(config_value, a_line_is_split_as_redis_does)
{
    static const struct {
        const char *line;
        enum line_status status;
        const char *name;
        const char *value;
    } rows[] = {
        {"", LINE_EMPTY, "", ""},
        {"  \t\r", LINE_EMPTY, "", ""},
        {"# name value", LINE_EMPTY, "", ""},
        {"name", LINE_NO_VALUE, "name", ""},
        {" name  a\r", LINE_SETTING, "name", "a"},
        {"name a   b\tc", LINE_SETTING, "name", "a b c"},
        {"name \"\"", LINE_SETTING, "name", ""},
        {"name \"a b\"  'c d'", LINE_SETTING, "name", "a b c d"},
        {"name \"\\x41\\n\\\"\\\\\\q\"", LINE_SETTING, "name", "A\n\"\\q"},
        {"name 'it\\'s \\n'", LINE_SETTING, "name", "it's \\n"},
        {"name a#b", LINE_SETTING, "name", "a#b"},
        {"name \"a", LINE_BAD_QUOTES, "", ""},
        {"name 'a'b", LINE_BAD_QUOTES, "", ""},
        {"\"name", LINE_BAD_QUOTES, "", ""},
    };
    for (unsigned i = 0; i < COUNT_OF(rows); i++) {
        struct buf name = {0}, value = {0};
        cr_expect_eq(line_split(slice_of_str(rows[i].line), &name, &value), rows[i].status, "'%s'",
                     rows[i].line);
        if (rows[i].status == LINE_SETTING) {
            cr_expect(slice_equal(buf_slice(&name), slice_of_str(rows[i].name)), "'%s'",
                      rows[i].line);
            cr_expect(slice_equal(buf_slice(&value), slice_of_str(rows[i].value)), "'%s'",
                      rows[i].line);
        }
        buf_fini(&name);
        buf_fini(&value);
    }
}

Test(config_value, classes_of_events_are_printed_as_redis_prints_them)
{
    EXPECT(notify_keyspace_events, "", "");
    EXPECT(notify_keyspace_events, "KEA", "AKE");
    EXPECT(notify_keyspace_events, "g$lshzxetdK", "AK");
    EXPECT(notify_keyspace_events, "Kxgl", "glxK");
    EXPECT(notify_keyspace_events, "AnmE", "AEmn");
    EXPECT(notify_keyspace_events, "KQ", "!Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
}

Test(config_value, databases_are_a_set_of_numbers)
{
    EXPECT(sharded_databases, "", "");
    EXPECT(sharded_databases, "3 0,15", "0 3 15");
    EXPECT(sharded_databases, "16", "!argument must be a list of databases, 0 to 15");
    EXPECT(sharded_databases, "-1", "!argument must be a list of databases, 0 to 15");
    EXPECT(sharded_databases, "x", "!argument must be a list of databases, 0 to 15");
}
