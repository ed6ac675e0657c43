/* script_redis: redis.call and its kin. */
#include <math.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/script_int.h"

enum { NUMBER_BYTES = 32 }; /* of "%.17g" */

/* ---- arguments ---- */

static void reserve_words(struct script_state *state, uint32_t count)
{
    if (count <= state->word_cap) { return; }
    state->word_cap = count < 32 ? 32 : count * 2;
    state->word = mem_resize(state->word, state->word_cap * sizeof *state->word);
    state->number = mem_resize(state->number, (size_t)state->word_cap * NUMBER_BYTES);
}

/* As many digits as tell it from every other number. */
static size_t number_text(double v, char out[NUMBER_BYTES])
{
    const double exact = 1e15;
    if (v >= 0 && v < exact && v == (double)(uint64_t)v && !(v == 0 && signbit(v))) {
        return uint64_to_text((uint64_t)v, out);
    }
    return (size_t)snprintf(out, NUMBER_BYTES, "%.17g", v);
}

/* All arguments as words, which stay on the stack. False: an error is pushed. */
static bool take_words(lua_State *lua, struct script_state *state, uint32_t *argc)
{
    int count = lua_gettop(lua);
    if (count == 0) {
        script_push_error(
            lua, SLICE("ERR Please specify at least one argument for this redis lib call"));
        return false;
    }
    reserve_words(state, (uint32_t)count);
    for (int i = 0; i < count; i++) {
        struct slice *word = &state->word[i];
        switch (lua_type(lua, i + 1)) {
        case LUA_TSTRING: word->data = lua_tolstring(lua, i + 1, &word->len); break;
        case LUA_TNUMBER:
            word->data = state->number + (size_t)i * NUMBER_BYTES;
            word->len =
                number_text(lua_tonumber(lua, i + 1), state->number + (size_t)i * NUMBER_BYTES);
            break;
        default:
            script_push_error(
                lua, SLICE("ERR Lua redis lib command arguments must be strings or integers"));
            return false;
        }
    }
    *argc = (uint32_t)count;
    return true;
}

/* ---- calls ---- */

/* Push the answer. True: it is an error. */
static bool call_command(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    uint32_t argc;
    if (!take_words(lua, state, &argc)) { return true; }
    state->reply.len = 0;
    struct reply reply = {.out = &state->reply, .version = state->resp_version};
    state->run->ops->call(state->run->arg, argc, state->word, &reply);
    CHECK(state->reply.len > 0);
    script_charge(lua, 10 + state->reply.len / 64);
    lua_settop(lua, 0);
    bool is_error = state->reply.data[0] == '-';
    (void)script_push_reply(lua, state->reply.data);
    if (UNLIKELY(state->reply.cap > SCRIPT_BASE_BYTES)) { buf_fini(&state->reply); }
    return is_error;
}

static int on_call(lua_State *lua)
{
    return call_command(lua) ? lua_error(lua) : 1;
}

static int on_pcall(lua_State *lua)
{
    (void)call_command(lua);
    return 1;
}

/* ---- replies ---- */

static bool is_one_text(lua_State *lua)
{
    if (lua_gettop(lua) == 1 && lua_type(lua, 1) == LUA_TSTRING) { return true; }
    script_push_error(lua, SLICE("ERR wrong number or type of arguments"));
    return false;
}

/* "CODE text", or "text" of which ERR is the code. */
static int on_error_reply(lua_State *lua)
{
    if (!is_one_text(lua)) { return 1; }
    const char *text = lua_tostring(lua, 1);
    struct slice rest = slice_of_str(text + (text[0] == '-' ? 1 : 0));
    while (rest.len > 0 && (rest.data[rest.len - 1] == '\n' || rest.data[rest.len - 1] == '\r')) {
        rest.len--;
    }
    bool has_code = rest.len > 0 && memchr(rest.data, ' ', rest.len) != NULL;
    lua_createtable(lua, 0, 1);
    lua_pushstring(lua, has_code ? "" : "ERR ");
    lua_pushlstring(lua, rest.data, rest.len);
    lua_concat(lua, 2);
    lua_setfield(lua, -2, "err");
    return 1;
}

static int on_status_reply(lua_State *lua)
{
    if (!is_one_text(lua)) { return 1; }
    lua_createtable(lua, 0, 1);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "ok");
    return 1;
}

/* ---- the rest ---- */

static int raise(lua_State *lua, struct slice text)
{
    script_push_error(lua, text);
    return lua_error(lua);
}

static int on_sha1hex(lua_State *lua)
{
    unsigned char sha[SHA1_BYTES];
    char hex[SHA1_HEX];
    size_t len = 0;
    if (lua_gettop(lua) != 1) { return raise(lua, SLICE("ERR wrong number of arguments")); }
    const char *text = lua_tolstring(lua, 1, &len);
    script_charge(lua, len / 16);
    sha1(slice_of(text, len), sha);
    sha1_to_hex(sha, hex);
    lua_pushlstring(lua, hex, SHA1_HEX);
    return 1;
}

static int on_log(lua_State *lua)
{
    static const enum log_level levels[] = {LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG, LOG_LEVEL_INFO,
                                            LOG_LEVEL_WARN};
    int argc = lua_gettop(lua);
    if (argc < 2) { return raise(lua, SLICE("ERR redis.log() requires two arguments or more.")); }
    if (!lua_isnumber(lua, 1)) {
        return raise(lua, SLICE("ERR First argument must be a number (log level)."));
    }
    int level = (int)lua_tonumber(lua, 1);
    if (level < 0 || level >= (int)COUNT_OF(levels)) {
        return raise(lua, SLICE("ERR Invalid debug level."));
    }
    if (!state_of(lua)->run->may_log) { return 0; }
    struct buf text = {0};
    for (int i = 2; i <= argc; i++) {
        size_t len;
        const char *word = lua_tolstring(lua, i, &len);
        if (word == NULL) { continue; }
        if (i > 2) { buf_append(&text, SLICE(" ")); }
        buf_append(&text, slice_of(word, len));
    }
    LOG_LIMITED(levels[level], "a script says", LOG_SLICE("text", buf_slice(&text)));
    buf_fini(&text);
    return 0;
}

static int on_setresp(lua_State *lua)
{
    if (lua_gettop(lua) != 1) {
        return raise(lua, SLICE("ERR redis.setresp() requires one argument."));
    }
    int version = (int)lua_tonumber(lua, 1);
    if (version != 2 && version != 3) {
        return raise(lua, SLICE("ERR RESP version must be 2 or 3."));
    }
    state_of(lua)->resp_version = (uint8_t)version;
    return 0;
}

/* Accepted: every replica runs the script. */
static int on_set_repl(lua_State *lua)
{
    if (lua_gettop(lua) != 1) {
        return raise(lua, SLICE("ERR redis.set_repl() requires one argument."));
    }
    int flags = (int)lua_tonumber(lua, 1);
    if ((flags & ~3) != 0) {
        return raise(lua, SLICE("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, "
                                "REPL_ALL or REPL_NONE."));
    }
    return 0;
}

static int on_replicate_commands(lua_State *lua)
{
    lua_pushboolean(lua, true);
    return 1;
}

static int on_acl_check_cmd(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    uint32_t argc;
    if (!take_words(lua, state, &argc)) { return lua_error(lua); }
    if (!state->run->ops->knows(state->run->arg, argc, state->word)) {
        return raise(lua, SLICE("ERR Invalid command passed to redis.acl_check_cmd()"));
    }
    lua_pushboolean(lua, state->run->ops->may(state->run->arg, argc, state->word));
    return 1;
}

void script_open_redis(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"call", on_call},
        {"pcall", on_pcall},
        {"error_reply", on_error_reply},
        {"status_reply", on_status_reply},
        {"sha1hex", on_sha1hex},
        {"log", on_log},
        {"setresp", on_setresp},
        {"set_repl", on_set_repl},
        {"replicate_commands", on_replicate_commands},
        {"acl_check_cmd", on_acl_check_cmd},
    };
    static const struct {
        const char *name;
        int value;
    } numbers[] = {
        {"LOG_DEBUG", 0},  {"LOG_VERBOSE", 1},
        {"LOG_NOTICE", 2}, {"LOG_WARNING", 3},
        {"REPL_NONE", 0},  {"REPL_AOF", 1},
        {"REPL_SLAVE", 2}, {"REPL_REPLICA", 2},
        {"REPL_ALL", 3},   {"REDIS_VERSION_NUM", 0x00070200},
    };
    lua_newtable(lua);
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        script_set_function(lua, functions[i].name, functions[i].func);
    }
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        lua_pushinteger(lua, numbers[i].value);
        lua_setfield(lua, -2, numbers[i].name);
    }
    lua_pushliteral(lua, "7.2.0");
    lua_setfield(lua, -2, "REDIS_VERSION");
    lua_setfield(lua, -2, "redis");
}
