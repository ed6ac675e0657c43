/* script_charge: the work of a script, counted: Lua's instructions by a hook, and what functions of the sandbox do in one
 * instruction by what they are given. The count is the same on all replicas.
 *
 * Two instructions have no bound of their own: `..` makes a text of any length, and `<` reads two. Lua makes all text in one
 * function, luaS_newlstr, and compares it with strcoll; ours are put in their places (CMakeLists.txt), which charge what is
 * long. */
#include "script/script_int.h"

enum { HOOK_COUNT = 1000 };

static void raise_over(lua_State *lua, const struct script_state *state)
{
    if (state->over == OVER_MEMORY) { luaL_error(lua, "not enough memory"); }
    luaL_error(lua, "Script reached the limit of %f instructions", (double)state->instructions_max);
}

static void on_count(lua_State *lua, lua_Debug *ar)
{
    (void)ar;
    script_charge(lua, HOOK_COUNT);
}

void script_charge(lua_State *lua, uint64_t instructions)
{
    struct script_state *state = state_of(lua);
    state->instructions += instructions;
    state->worked += instructions;
    if (state->worked >= HOOK_COUNT) {
        state->worked = 0;
        state->run->ops->work(state->run->arg);
    }
    if (LIKELY(state->over == OVER_NOT && state->instructions <= state->instructions_max)) {
        return;
    }
    if (state->over == OVER_NOT) { state->over = OVER_INSTRUCTIONS; }
    lua_sethook(lua, on_count, LUA_MASKCOUNT, 1); /* whoever catches this gets no further */
    raise_over(lua, state);
}

/* ---- long texts ---- */

enum {
    LONG_BYTES = 1024,
    BYTES_CHARGED = 64, /* for one instruction */
};

static _Thread_local lua_State *running; /* the script that this thread is in; it has a run */

/* The function of these names is called from within an instruction: it is the next one that raises. */
static void note_text(lua_State *lua, struct script_state *state, size_t len)
{
    state->instructions += len / BYTES_CHARGED;
    state->worked += len / BYTES_CHARGED;
    if (UNLIKELY(state->instructions > state->instructions_max)) {
        lua_sethook(lua, on_count, LUA_MASKCOUNT, 1);
    }
}

struct TString; /* Lua's */
struct TString *__real_luaS_newlstr(lua_State *lua, const char *text, size_t len);
struct TString *__wrap_luaS_newlstr(lua_State *lua, const char *text, size_t len);
int script_strcoll(const char *a, const char *b);

struct TString *__wrap_luaS_newlstr(lua_State *lua, const char *text, size_t len)
{
    if (UNLIKELY(len >= LONG_BYTES && running != NULL)) { note_text(lua, state_of(lua), len); }
    return __real_luaS_newlstr(lua, text, len);
}

/* As in the C locale, which is the broker's. */
int script_strcoll(const char *a, const char *b)
{
    int order;
    while ((order = strncmp(a, b, LONG_BYTES)) == 0 && strnlen(a, LONG_BYTES) == LONG_BYTES) {
        if (running != NULL) { note_text(running, state_of(running), LONG_BYTES); }
        a += LONG_BYTES;
        b += LONG_BYTES;
    }
    return order;
}

/* ---- a run ---- */

void script_charge_begin(struct script_state *state)
{
    state->over = OVER_NOT;
    state->instructions = 0;
    state->worked = 0;
    uint64_t max = state->run->instructions_max;
    state->instructions_max = max > 0 ? max : SCRIPT_INSTRUCTIONS_DEFAULT;
    state->outer = running;
    running = state->lua;
    lua_sethook(state->lua, on_count, LUA_MASKCOUNT, HOOK_COUNT);
}

void script_charge_end(struct script_state *state)
{
    if (running == state->lua) { running = state->outer; }
    lua_sethook(state->lua, NULL, 0, 0);
}

void script_stop_if_over(lua_State *lua)
{
    const struct script_state *state = state_of(lua);
    if (UNLIKELY(state->over != OVER_NOT)) { raise_over(lua, state); }
}
