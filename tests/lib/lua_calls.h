/* lua_calls: scripts of one result, a string, for tests of what they are given. */
#ifndef FANFARE_TESTS_LIB_LUA_CALLS_H
#define FANFARE_TESTS_LIB_LUA_CALLS_H

#include <stdlib.h>

#include "base/check.h"
#include "script/script.h"

enum { LUA_CALLS_INSTRUCTIONS_MAX = 10000000 };

static inline void lua_calls_on_call(void *arg, uint32_t argc, const struct slice *argv,
                                     struct reply *reply)
{
    (void)arg;
    (void)argc;
    (void)argv;
    reply_error(reply, "ERR there is nothing to be called");
}

static inline bool lua_calls_on_knows(void *arg, uint32_t argc, const struct slice *argv)
{
    (void)arg;
    (void)argc;
    (void)argv;
    return false;
}

static inline void lua_calls_on_work(void *arg)
{
    (void)arg;
}

/* What the reply says: a string, or an error's text without its code and without the place and the script's name. */
static inline struct slice lua_calls_text(struct slice reply)
{
    char kind = reply.len > 0 ? *reply.data : '\0';
    const char *end = memchr(reply.data, '\r', reply.len);
    CHECK(end != NULL && (kind == '-' || kind == '$' || kind == ':'));
    if (kind == '$') {
        long len = strtol(reply.data + 1, NULL, 10);
        return slice_of(end + 2, len < 0 ? 0 : (size_t)len);
    }
    struct slice text = slice_of(reply.data + 1, (size_t)(end - reply.data - 1));
    if (kind == '-' && slice_starts_with(text, SLICE("ERR "))) {
        text = slice_of(text.data + 4, text.len - 4);
    }
    const char *name = memmem(text.data, text.len, " script: ", 9);
    if (kind == '-' && name != NULL) { text.len = (size_t)(name - text.data); }
    return text;
}

/* Run the text with these as its ARGV. The result is in `out`, which is emptied before. */
static inline struct slice lua_calls_run_all(struct scripts *scripts, struct slice text,
                                             const struct slice *args, uint32_t count,
                                             struct buf *out)
{
    static const struct script_ops ops = {lua_calls_on_call, lua_calls_on_knows, lua_calls_on_knows,
                                          lua_calls_on_work};
    const struct script_run run = {.ops = &ops,
                                   .args = args,
                                   .arg_count = count,
                                   .instructions_max = LUA_CALLS_INSTRUCTIONS_MAX};
    unsigned char sha[SHA1_BYTES];
    sha1(text, sha);
    enum script_end end = SCRIPT_AGAIN;
    for (int is_alone = 0; is_alone <= 1 && end == SCRIPT_AGAIN; is_alone++) {
        out->len = 0;
        struct reply reply = {.out = out, .version = 2};
        struct script_state *state = scripts_enter(scripts, is_alone);
        struct script *script = script_find(state, sha);
        end = SCRIPT_DONE;
        if (script == NULL) { script = script_compile(state, sha, text, &reply, &end); }
        if (script != NULL) { end = script_run(state, script, &run, &reply); }
        scripts_leave(scripts, state);
    }
    CHECK(end == SCRIPT_DONE);
    return lua_calls_text(buf_slice(out));
}

/* Run the text with the bytes as its ARGV[1]. */
static inline struct slice lua_calls_run(struct scripts *scripts, struct slice text,
                                         struct slice argument, struct buf *out)
{
    return lua_calls_run_all(scripts, text, &argument, 1, out);
}

#endif
