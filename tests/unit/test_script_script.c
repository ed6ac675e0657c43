/* Scripts without data: what they see, what they may not, what they are answered, and that it is the same everywhere. */
#include "script/script.h"

#include <criterion/criterion.h>

#include "base/mem.h"

/* What a script calls is answered with its words; `err TEXT` with an error, `int N`, `null`, `bulk N` (so many bytes) and
 * `raw REPLY` with what they say. */
struct fake {
    uint32_t calls;
    uint32_t works;
};

static void on_call(void *arg, uint32_t argc, const struct slice *argv, struct reply *reply)
{
    struct fake *fake = arg;
    fake->calls++;
    if (slice_equal(argv[0], SLICE("err"))) {
        reply_error_slice(reply, argv[1]);
    } else if (slice_equal(argv[0], SLICE("int"))) {
        reply_int(reply, atoll(argv[1].data));
    } else if (slice_equal(argv[0], SLICE("null"))) {
        reply_null(reply);
    } else if (slice_equal(argv[0], SLICE("bulk"))) {
        size_t len = (size_t)atoll(argv[1].data);
        char *bytes = mem_new0(len + 1);
        reply_bulk(reply, slice_of(bytes, len));
        mem_free(bytes);
    } else if (slice_equal(argv[0], SLICE("raw"))) {
        buf_append(reply->out, argv[1]);
    } else {
        reply_array(reply, argc);
        for (uint32_t i = 0; i < argc; i++) {
            reply_bulk(reply, argv[i]);
        }
    }
}

static bool on_knows(void *arg, uint32_t argc, const struct slice *argv)
{
    (void)arg;
    (void)argc;
    return slice_equal(argv[0], SLICE("echo"));
}

static bool on_may(void *arg, uint32_t argc, const struct slice *argv)
{
    (void)arg;
    (void)argv;
    return argc < 3;
}

static void on_work(void *arg)
{
    ((struct fake *)arg)->works++;
}

static const struct script_ops ops = {on_call, on_knows, on_may, on_work};

struct bench {
    struct scripts *scripts;
    struct fake fake;
    struct buf out;
    uint64_t instructions_max;
    bool is_alone;
    uint8_t version;
};

static struct bench bench_new(void)
{
    return (struct bench){.scripts = scripts_new(), .version = 2};
}

static void bench_free(struct bench *b)
{
    scripts_free(b->scripts);
    buf_fini(&b->out);
}

static enum script_end run(struct bench *b, const char *text)
{
    unsigned char sha[SHA1_BYTES];
    const struct slice keys[] = {SLICE("k1"), SLICE("k2")};
    const struct slice args[] = {SLICE("a1"), SLICE("12"), SLICE("")};
    const struct script_run run = {.ops = &ops,
                                   .arg = &b->fake,
                                   .keys = keys,
                                   .key_count = 2,
                                   .args = args,
                                   .arg_count = 3,
                                   .now_ms = 1700000000123,
                                   .instructions_max = b->instructions_max};
    enum script_end end;
    b->out.len = 0;
    struct reply reply = {.out = &b->out, .version = b->version};
    sha1(slice_of_str(text), sha);
    struct script_state *state = scripts_enter(b->scripts, b->is_alone);
    struct script *script = script_find(state, sha);
    if (script == NULL) { script = script_compile(state, sha, slice_of_str(text), &reply, &end); }
    if (script != NULL) { end = script_run(state, script, &run, &reply); }
    scripts_leave(b->scripts, state);
    return end;
}

#define EXPECT(b, text, answer)                                                              \
    do {                                                                                     \
        cr_expect_eq(run(b, text), SCRIPT_DONE);                                             \
        cr_expect(slice_equal(buf_slice(&(b)->out), SLICE(answer)), "%s\n gives %.*s", text, \
                  SLICE_ARG(buf_slice(&(b)->out)));                                          \
    } while (0)
/* The answer holds this text. */
#define EXPECT_HAS(b, text, part)                                                             \
    do {                                                                                      \
        cr_expect_eq(run(b, text), SCRIPT_DONE);                                              \
        buf_append(&(b)->out, slice_of("", 1));                                               \
        cr_expect(strstr((b)->out.data, part) != NULL, "%s\n gives %s", text, (b)->out.data); \
    } while (0)

Test(script, values_become_replies)
{
    struct bench b = bench_new();
    EXPECT(&b, "return 1", ":1\r\n");
    EXPECT(&b, "return -3.99", ":-3\r\n");
    EXPECT(&b, "return 'hello'", "$5\r\nhello\r\n");
    EXPECT(&b, "return {KEYS[1],KEYS[2],ARGV[1],ARGV[2],ARGV[3]}",
           "*5\r\n$2\r\nk1\r\n$2\r\nk2\r\n$2\r\na1\r\n$2\r\n12\r\n$0\r\n\r\n");
    EXPECT(&b, "return {1,2,nil,4}", "*2\r\n:1\r\n:2\r\n");
    EXPECT(&b, "return nil", "$-1\r\n");
    EXPECT(&b, "return", "$-1\r\n");
    EXPECT(&b, "return true", ":1\r\n");
    EXPECT(&b, "return false", "$-1\r\n");
    EXPECT(&b, "return {ok='fine'}", "+fine\r\n");
    EXPECT(&b, "return {err='MY error'}", "-MY error\r\n");
    EXPECT(&b, "return redis.error_reply('oops')", "-ERR oops\r\n");
    EXPECT(&b, "return redis.error_reply('-MY oops')", "-MY oops\r\n");
    EXPECT(&b, "return redis.status_reply('yes')", "+yes\r\n");
    EXPECT(&b, "return {double=3.5}", "$3\r\n3.5\r\n");
    EXPECT(&b, "return {map={a=1}}", "*2\r\n$1\r\na\r\n:1\r\n");
    b.version = 3;
    EXPECT(&b, "return {double=3.5}", ",3.5\r\n");
    EXPECT(&b, "return {map={a=1}}", "%1\r\n$1\r\na\r\n:1\r\n");
    EXPECT(&b, "return {set={a=true}}", "~1\r\n$1\r\na\r\n");
    EXPECT(&b, "return {big_number='123'}", "(123\r\n");
    EXPECT(&b, "return {verbatim_string={format='mkd',string='x'}}", "=5\r\nmkd:x\r\n");
    EXPECT(&b, "redis.setresp(3) return true", "#t\r\n");
    EXPECT(&b, "return nil", "_\r\n");
    bench_free(&b);
}

Test(script, numbers_become_text_as_in_lua)
{
    struct bench b = bench_new();
    EXPECT(&b,
           "local z, t = 0, {} for i, n in ipairs({z, -z, 1, -1, 7.5, 99999999999999, 1e14, "
           "123456789012345, 0.1, -3, 1/z, 2^53, 1e-5}) do t[i] = tostring(n) end "
           "return table.concat(t, ' ')",
           "$90\r\n0 -0 1 -1 7.5 99999999999999 1e+14 1.2345678901234e+14 0.1 -3 inf "
           "9.007199254741e+15 1e-05\r\n");
    EXPECT(&b, "return string.format('%d %s %5.1f|%q', 12, 'x', 2.25, 'y')",
           "$14\r\n12 x   2.2|\"y\"\r\n");
    bench_free(&b);
}

Test(script, replies_become_values)
{
    struct bench b = bench_new();
    EXPECT(&b, "return redis.call('echo','a',1,1.5,-0.25,1e17)",
           "*6\r\n$4\r\necho\r\n$1\r\na\r\n$1\r\n1\r\n$3\r\n1.5\r\n$5\r\n-0.25\r\n$5\r\n1e+17\r\n");
    EXPECT(&b, "return redis.call('int','-7') + 8", ":1\r\n");
    EXPECT(&b, "return type(redis.call('null'))", "$7\r\nboolean\r\n");
    EXPECT(&b, "return redis.call('raw','+QUEUED\\r\\n').ok", "$6\r\nQUEUED\r\n");
    EXPECT(&b, "return redis.pcall('err','WRONGTYPE no').err", "$12\r\nWRONGTYPE no\r\n");
    EXPECT(&b, "return redis.call('raw','%1\\r\\n+a\\r\\n:1\\r\\n').map ~= nil", ":1\r\n");
    EXPECT(&b, "return redis.call('raw','~1\\r\\n$1\\r\\na\\r\\n').set.a", ":1\r\n");
    EXPECT(&b, "return tostring(redis.call('raw',',3.25\\r\\n').double)", "$4\r\n3.25\r\n");
    EXPECT(&b, "return redis.call('raw','=5\\r\\ntxt:x\\r\\n').verbatim_string.string",
           "$1\r\nx\r\n");
    EXPECT(&b, "return redis.call('raw','(99\\r\\n').big_number", "$2\r\n99\r\n");
    bench_free(&b);
}

Test(script, errors_say_what_redis_says)
{
    struct bench b = bench_new();
    EXPECT(&b, "redis.call('err','WRONGTYPE Operation')",
           "-WRONGTYPE Operation script: 1beeea571a0d600058310073d6506c4754e41328, on "
           "@user_script:1.\r\n");
    EXPECT_HAS(&b, "error('boom')", "-ERR user_script:1: boom script: ");
    EXPECT_HAS(&b, "\nerror({err='MY boom'})", "-MY boom script: ");
    EXPECT_HAS(&b, "return 1 +", "-ERR Error compiling script (new function): user_script:1: ");
    EXPECT_HAS(&b, "x = 1", "ERR user_script:1: Attempt to modify a readonly table script: ");
    EXPECT_HAS(&b, "return nope",
               "ERR user_script:1: Script attempted to access nonexistent global variable 'nope'");
    EXPECT(&b, "local ok, e = pcall(redis.call, 'err', 'WRONGTYPE x') return e",
           "$11\r\nWRONGTYPE x\r\n");
    EXPECT(&b, "return redis.acl_check_cmd('echo', 1)", ":1\r\n");
    EXPECT(&b, "return redis.acl_check_cmd('echo', 1, 2)", "$-1\r\n");
    EXPECT_HAS(&b, "return redis.acl_check_cmd('no')",
               "Invalid command passed to redis.acl_check_cmd()");
    EXPECT_HAS(&b, "redis.call()", "Please specify at least one argument");
    EXPECT_HAS(&b, "redis.call({})", "arguments must be strings or integers");
    bench_free(&b);
}

Test(script, nothing_is_left_for_the_next_script)
{
    struct bench b = bench_new();
    static const char *const attempts[] = {
        "string.sub = 1",
        "redis.call = nil",
        "rawset(_G, 'x', 1)",
        "rawset(redis, 'x', 1)",
        "setmetatable(_G, {})",
        "getmetatable(_G).__index = {}",
        "getmetatable('').__index = {}",
        "_G._G = 1",
        "KEYS = 1",
        "table.insert(string, 1)",
        "setfenv(0, {})",
        "local _, t = pairs(string) t.sub = 1",
        "math.random = nil",
        "cjson.encode = nil",
        "setmetatable(getmetatable(_G), {})",
    };
    for (size_t i = 0; i < COUNT_OF(attempts); i++) {
        EXPECT_HAS(&b, attempts[i], "Attempt to modify a readonly table");
    }
    EXPECT(&b, "setfenv(1, {}) return 1", ":1\r\n");
    EXPECT(&b, "setfenv(1, {}) return 1", ":1\r\n");
    EXPECT(&b, "cjson.encode_max_depth(1) return 1", ":1\r\n");
    EXPECT(&b, "return cjson.encode({{{1}}})", "$7\r\n[[[1]]]\r\n");
    EXPECT(&b, "math.randomseed(7) return math.random(1000)", ":267\r\n");
    bench_free(&b);
}

Test(script, it_ends_at_its_instructions_whatever_it_catches)
{
    struct bench b = bench_new();
    b.instructions_max = 1000000;
    EXPECT_HAS(&b, "while true do end", "limit of 1000000 instructions");
    EXPECT_HAS(&b, "while true do pcall(function() while true do end end) end",
               "limit of 1000000 instructions");
    EXPECT_HAS(&b, "local f = coroutine.wrap(function() while true do end end) pcall(f) return 1",
               "limit of 1000000 instructions");
    EXPECT_HAS(&b, "while true do xpcall(function() error() end, function() end) end",
               "limit of 1000000 instructions");
    EXPECT_HAS(&b,
               "while true do local c = coroutine.create(function() end) coroutine.resume(c) end",
               "limit of 1000000 instructions");
    EXPECT_HAS(&b, "local t = {} for i=1,100 do t = {t,t} end return cjson.encode(t)",
               "limit of 1000000 instructions");
    cr_expect(b.fake.works > 1000);
    EXPECT(&b, "return 1", ":1\r\n");
    bench_free(&b);
}

Test(script, memory_has_no_verdict_but_alone)
{
    struct bench b = bench_new();
    const char *const hungry = "local t = {} for i = 1, 1e7 do t[i] = {i} end return #t";
    cr_expect_eq(run(&b, hungry), SCRIPT_AGAIN);
    cr_expect_eq(b.out.len, 0);
    b.is_alone = true;
    EXPECT_HAS(&b, hungry, "not enough memory");
    b.is_alone = false;
    const char *const fits = "local s = string.rep('x', 20000000) return #(s .. s)";
    cr_expect_eq(run(&b, fits), SCRIPT_AGAIN);
    b.is_alone = true;
    EXPECT(&b, fits, ":40000000\r\n");
    bench_free(&b);
}

Test(script, what_depends_on_addresses_is_refused)
{
    struct bench b = bench_new();
    EXPECT_HAS(&b, "for k in pairs({[{}]=1}) do end", "no order");
    EXPECT_HAS(&b, "return next({[print == nil and 1 or 2]=1, [function() end]=2})", "");
    EXPECT_HAS(&b, "return {map={[{}]=1}}", "no order");
    EXPECT_HAS(&b, "return setmetatable({}, {__mode='k'})", "weak tables");
    EXPECT(&b, "local a, c = {}, {} return {tostring(a), tostring(c), tostring(a)}",
           "*3\r\n$21\r\ntable: 0x000000000001\r\n$21\r\ntable: 0x000000000002\r\n$21\r\n"
           "table: 0x000000000001\r\n");
    bench_free(&b);
}

Test(script, the_first_line_has_flags)
{
    struct bench b = bench_new();
    EXPECT(&b, "#!lua flags=no-writes,allow-stale\nreturn 1", ":1\r\n");
    EXPECT(&b, "#!lua\nreturn 1", ":1\r\n");
    EXPECT(&b, "#!lua return 1", "-ERR Invalid script shebang\r\n");
    EXPECT(&b, "#!not-lua\nreturn 1", "-ERR Unexpected engine in script shebang: #!not-lua\r\n");
    EXPECT(&b, "#!lua badger=data\nreturn 1", "-ERR Unknown lua shebang option: badger=data\r\n");
    EXPECT(&b, "#!lua flags=bad\nreturn 1", "-ERR Unexpected flag in script shebang: bad\r\n");
    EXPECT_HAS(&b, "#!lua\nerror('x')", "user_script:2: x");
    bench_free(&b);
}

Test(script, what_ran_before_is_not_to_be_seen)
{
    static const char *const scripts[] = {
        "local t = {} for i = 1, 40 do t['k' .. i * 7 % 41] = i end local s = '' "
        "for k, v in pairs(t) do s = s .. k .. '=' .. v .. ';' end return s",
        "local t = {} for i = 1, 20 do t[i / 3] = tostring({}) end return cjson.encode({t[1], #t, "
        "t[2]})",
        "return {tostring(math.random()), math.random(1000), tostring({}), tostring(print == nil)}",
        "local t = {3, 1, 2, 9, 7} table.sort(t, function(a, b) return a > b end) return t",
        "return cjson.encode({a = 1, b = {1, 2, {c = 'x'}}, [\"long key\"] = 0.1})",
        "local s = {} for w in string.gmatch('the quick brown fox', '%a+') do s[w] = #w end return "
        "cjson.encode(s)",
        "local n = 0 while true do n = n + 1 redis.call('echo', n) end",
        "cjson.encode_sparse_array(true) return cjson.encode({[1000] = 1})",
        "return cmsgpack.pack({a = 1, b = 2, c = 3, [1] = 'x'})",
    };
    enum { COUNT = COUNT_OF(scripts) };
    struct bench one = bench_new();
    one.instructions_max = 200000;
    for (size_t shift = 1; shift < COUNT;
         shift++) { /* the other one has met them in another order */
        struct bench other = bench_new();
        other.instructions_max = 200000;
        for (size_t i = 0; i < 2 * COUNT; i++) {
            (void)run(&other, scripts[i * shift % COUNT]);
        }
        for (size_t i = 0; i < COUNT; i++) {
            other.is_alone = i % 3 == 0;
            cr_expect_eq(run(&one, scripts[i]), run(&other, scripts[i]));
            cr_expect(slice_equal(buf_slice(&one.out), buf_slice(&other.out)), "%s\n%.*s\n%.*s",
                      scripts[i], SLICE_ARG(buf_slice(&one.out)), SLICE_ARG(buf_slice(&other.out)));
        }
        bench_free(&other);
    }
    bench_free(&one);
}
