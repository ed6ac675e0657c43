/* script: states, the scripts compiled in them, a run from its arguments to its reply. */
#include "script/script.h"

#include <stdlib.h>

#include "base/mem.h"
#include "script/script_int.h"

struct scripts {
    struct script_state *kept[SCRIPT_STATES_MAX]; /* made when first needed */
    uint32_t depth;                               /* of them that are in use */
};

enum { SLACK_BYTES = 256 << 10 }; /* for the end of a script that has had its share */

/* ---- memory ---- */

static void *allocate(void *state_arg, void *ptr, size_t before, size_t bytes)
{
    struct script_state *state = state_arg;
    if (bytes == 0) {
        state->bytes -= before;
        mem_free(ptr);
        return NULL;
    }
    size_t max = state->bytes_max + (state->over != OVER_NOT ? SLACK_BYTES : 0);
    if (bytes > before && state->bytes + (bytes - before) > max) {
        if (state->over == OVER_NOT) { state->over = OVER_MEMORY; }
        return NULL;
    }
    state->bytes = state->bytes - before + bytes;
    return mem_resize(ptr, bytes);
}

/* ---- states ---- */

static int open_protected(lua_State *lua)
{
    script_sandbox_open(lua_touserdata(lua, 1));
    return 0;
}

static struct script_state *state_new(bool is_alone)
{
    struct script_state *state = mem_new0(sizeof *state);
    state->is_alone = is_alone;
    state->bytes_max = is_alone ? SCRIPT_ALONE_BYTES : SCRIPT_SHARED_BYTES;
    state->objects = LUA_NOREF;
    state->lua = lua_newstate(allocate, state);
    CHECK(state->lua != NULL);
    CHECK(lua_cpcall(state->lua, open_protected, state) == 0);
    if (is_alone) { /* it takes its memory back sooner than one that is kept: see the header */
        (void)lua_gc(state->lua, LUA_GCSETPAUSE, 120);
        (void)lua_gc(state->lua, LUA_GCSETSTEPMUL, 400);
    } else { /* there is room for four times what is in use, as long as that is little */
        (void)lua_gc(state->lua, LUA_GCSETPAUSE, 400);
    }
    return state;
}

static void state_free(struct script_state *state)
{
    if (state == NULL) { return; }
    lua_close(state->lua);
    struct map_node *next;
    for (struct map_node *node = map_next(&state->compiled, NULL); node != NULL; node = next) {
        next = map_next(&state->compiled, node);
        mem_free(CONTAINER_OF(node, struct script, node));
    }
    map_fini(&state->compiled);
    buf_fini(&state->reply);
    buf_fini(&state->error);
    mem_free(state->word);
    mem_free(state->number);
    mem_free(state);
}

struct scripts *scripts_new(void)
{
    return mem_new0(sizeof(struct scripts));
}

void scripts_free(struct scripts *scripts)
{
    if (scripts == NULL) { return; }
    CHECK(scripts->depth == 0);
    for (uint32_t i = 0; i < SCRIPT_STATES_MAX; i++) {
        state_free(scripts->kept[i]);
    }
    mem_free(scripts);
}

struct script_state *scripts_enter(struct scripts *scripts, bool is_alone)
{
    CHECK(scripts->depth < SCRIPT_STATES_MAX);
    struct script_state **kept = &scripts->kept[scripts->depth++];
    if (is_alone) { return state_new(true); }
    if (*kept == NULL) { *kept = state_new(false); }
    return *kept;
}

/* Has it grown, or was it changed? */
static bool is_worn(struct script_state *state)
{
    if (state->is_spoiled || state->compiled.count >= SCRIPTS_COMPILED_MAX) { return true; }
    if (state->bytes <= SCRIPT_BASE_BYTES) { return false; }
    (void)lua_gc(state->lua, LUA_GCCOLLECT, 0);
    return state->bytes > SCRIPT_BASE_BYTES / 2;
}

void scripts_leave(struct scripts *scripts, struct script_state *state)
{
    struct script_state **kept = &scripts->kept[--scripts->depth];
    if (state->is_alone) {
        state_free(state);
    } else if (UNLIKELY(is_worn(state))) {
        state_free(state);
        *kept = NULL;
    }
}

/* ---- compiled scripts ---- */

static struct slice sha_slice(const unsigned char sha[SHA1_BYTES])
{
    return slice_of(sha, SHA1_BYTES);
}

/* A sha is a hash. */
static uint64_t sha_hash(const unsigned char sha[SHA1_BYTES])
{
    uint64_t hash;
    memcpy(&hash, sha, sizeof hash);
    return hash;
}

struct script *script_find(const struct script_state *state, const unsigned char sha[SHA1_BYTES])
{
    struct map_node *node = map_find(&state->compiled, sha_slice(sha), sha_hash(sha));
    return node != NULL ? CONTAINER_OF(node, struct script, node) : NULL;
}

struct compiling {
    struct script_state *state;
    struct script *script;
    struct slice text;
    struct reply *reply;
};

static int compile_protected(lua_State *lua)
{
    struct compiling *c = lua_touserdata(lua, 1);
    bool is_bytecode = c->text.len > 0 && c->text.data[0] == LUA_SIGNATURE[0];
    if (is_bytecode) { luaL_error(lua, "it is no text"); }
    lua_pushliteral(lua, "@user_script"); /* the compiler does not hold it */
    if (luaL_loadbuffer(lua, c->text.data, c->text.len, "@user_script") != 0) { lua_error(lua); }
    c->script->function = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

struct script *script_compile(struct script_state *state, const unsigned char sha[SHA1_BYTES],
                              struct slice text, struct reply *reply, enum script_end *end)
{
    uint32_t flags;
    *end = SCRIPT_DONE;
    if (text.len > SCRIPT_TEXT_BYTES_MAX) {
        reply_errorf(reply, "ERR a script is at most %d bytes long", SCRIPT_TEXT_BYTES_MAX);
        return NULL;
    }
    if (!script_shebang(&text, &flags, reply)) { return NULL; }
    struct script *script = mem_new0(sizeof *script);
    memcpy(script->sha, sha, SHA1_BYTES);
    sha1_to_hex(sha, script->hex);
    script->flags = flags;
    struct compiling compiling = {state, script, text, reply};
    state->over = OVER_NOT;
    if (lua_cpcall(state->lua, compile_protected, &compiling) != 0) {
        if (state->over == OVER_MEMORY && !state->is_alone) {
            *end = SCRIPT_AGAIN;
        } else {
            const char *why = lua_tostring(state->lua, -1);
            reply_errorf(reply, "ERR Error compiling script (new function): %s",
                         why != NULL ? why : "it cannot be read");
        }
        lua_settop(state->lua, 0);
        mem_free(script);
        return NULL;
    }
    script->node.key = sha_slice(script->sha);
    map_insert(&state->compiled, &script->node, sha_hash(sha));
    return script;
}

uint32_t script_flags(const struct script *script)
{
    return script->flags;
}

/* ---- a run ---- */

struct running {
    struct script_state *state;
    struct reply *reply;
};

static void push_words(lua_State *lua, const struct slice *words, uint32_t count)
{
    lua_createtable(lua, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        lua_pushlstring(lua, words[i].len > 0 ? words[i].data : "", words[i].len);
        lua_rawseti(lua, -2, (int)i + 1);
    }
}

/* The text of an error that nothing catches, and where it was raised. */
static int on_error(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    struct buf *out = &state->error;
    lua_Debug at;
    bool has_place = lua_getstack(lua, 1, &at) != 0 && lua_getinfo(lua, "Sl", &at) != 0;
    if (has_place && *at.what == 'C') {
        has_place = lua_getstack(lua, 2, &at) != 0 && lua_getinfo(lua, "Sl", &at) != 0;
    }
    out->len = 0;
    if (lua_type(lua, 1) == LUA_TTABLE) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, 1);
    } else {
        buf_append(out, SLICE("ERR "));
        lua_pushvalue(lua, 1);
    }
    const char *text = lua_tostring(lua, -1);
    if (text != NULL) {
        buf_append_str(out, text);
    } else {
        buf_append_str(out, lua_type(lua, 1) == LUA_TTABLE ? "ERR unknown error"
                                                           : luaL_typename(lua, 1));
    }
    if (has_place) {
        buf_appendf(out, " script: %.*s, on ", SHA1_HEX, state->script->hex);
        buf_append_str(out, at.source);
        buf_appendf(out, ":%d.", at.currentline);
    }
    return 1;
}

static void write_error(const struct script_state *state, int status, struct reply *reply)
{
    if (state->error.len > 0) {
        reply_error_slice(reply, buf_slice(&state->error));
    } else if (state->over == OVER_INSTRUCTIONS) { /* a coroutine met it */
        reply_errorf(reply, "ERR Script reached the limit of %llu instructions script: %.*s.",
                     (unsigned long long)state->instructions_max, SHA1_HEX, state->script->hex);
    } else {
        reply_errorf(reply, "ERR Error running script %.*s, %s", SHA1_HEX, state->script->hex,
                     status == LUA_ERRMEM ? "not enough memory" : "execution failure");
    }
}

static int run_protected(lua_State *lua)
{
    struct running *running = lua_touserdata(lua, 1);
    struct script_state *state = running->state;
    const struct script_run *run = state->run;
    lua_settop(lua, 0);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->globals);
    push_words(lua, run->keys, run->key_count);
    lua_setfield(lua, 1, "KEYS");
    push_words(lua, run->args, run->arg_count);
    lua_setfield(lua, 1, "ARGV");
    lua_settop(lua, 0);
    lua_pushcfunction(lua, on_error);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->script->function);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->env); /* the last run may have given it another */
    (void)lua_setfenv(lua, -2);
    script_charge_begin(state);
    int status = lua_pcall(lua, 0, 1, 1);
    script_charge_end(state);
    if (status != 0 || state->over != OVER_NOT) {
        write_error(state, status, running->reply);
    } else {
        script_write_reply(lua, running->reply);
    }
    return 0;
}

static void run_begin(struct script_state *state, const struct script *script,
                      const struct script_run *run)
{
    state->run = run;
    state->script = script;
    state->over = OVER_NOT;
    state->random = run->seed & 0xFFFFFFFFFFFF;
    state->resp_version = 2;
    state->object_count = 0;
    state->error.len = 0;
}

static void run_end(struct script_state *state)
{
    lua_settop(state->lua, 0);
    luaL_unref(state->lua, LUA_REGISTRYINDEX, state->objects);
    state->objects = LUA_NOREF;
    state->run = NULL;
    state->script = NULL;
}

/* What it returned cannot be written. */
static void note_failure(struct script_state *state)
{
    const char *why = lua_tostring(state->lua, -1);
    if (state->over != OVER_NOT || why == NULL) { return; }
    state->error.len = 0;
    buf_appendf(&state->error, "ERR %.200s script: %.*s.", why, SHA1_HEX, state->script->hex);
}

enum script_end script_run(struct script_state *state, const struct script *script,
                           const struct script_run *run, struct reply *reply)
{
    struct running running = {state, reply};
    size_t before = reply->out->len;
    uint32_t errors_before = reply->error_count;
    run_begin(state, script, run);
    int status = lua_cpcall(state->lua, run_protected, &running);
    script_charge_end(state);
    enum script_end end = SCRIPT_DONE;
    if (state->over == OVER_MEMORY && !state->is_alone) {
        reply->out->len = before;
        reply->error_count = errors_before;
        state->is_spoiled = true;
        end = SCRIPT_AGAIN;
    } else if (status != 0) {
        reply->out->len = before;
        reply->error_count = errors_before;
        note_failure(state);
        write_error(state, status, reply);
    }
    run_end(state);
    return end;
}
