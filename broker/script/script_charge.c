/* script_charge: the work of a script, counted: Lua's instructions by a hook, and what functions of the sandbox do in one
 * instruction by what they are given. The count is the same on all replicas. */
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

void script_charge_begin(struct script_state *state)
{
    state->over = OVER_NOT;
    state->instructions = 0;
    state->worked = 0;
    uint64_t max = state->run->instructions_max;
    state->instructions_max = max > 0 ? max : SCRIPT_INSTRUCTIONS_DEFAULT;
    lua_sethook(state->lua, on_count, LUA_MASKCOUNT, HOOK_COUNT);
}

void script_charge_end(struct script_state *state)
{
    lua_sethook(state->lua, NULL, 0, 0);
}

void script_stop_if_over(lua_State *lua)
{
    const struct script_state *state = state_of(lua);
    if (UNLIKELY(state->over != OVER_NOT)) { raise_over(lua, state); }
}
