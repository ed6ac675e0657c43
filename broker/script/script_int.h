/* script_int: a Lua state as this module's files see it. */
#ifndef FANFARE_SCRIPT_SCRIPT_INT_H
#define FANFARE_SCRIPT_SCRIPT_INT_H

#include <lauxlib.h>
#include <lua.h>

#include "base/buf.h"
#include "base/map.h"
#include "script/script.h"

enum { SCRIPT_STATES_MAX = 8 }; /* within each other, in one thread */

enum script_over {
    OVER_NOT,
    OVER_INSTRUCTIONS,
    OVER_MEMORY,
};

struct script {
    struct map_node node; /* state's compiled, by sha */
    unsigned char sha[SHA1_BYTES];
    char hex[SHA1_HEX];
    uint32_t flags;
    int function; /* in the registry */
};

struct script_state {
    lua_State *lua;
    size_t bytes;
    size_t bytes_max;
    bool is_alone;
    bool is_spoiled; /* it is not as it was made: to be thrown away behind the run */
    struct map compiled;
    int env;     /* in the registry: the globals as scripts see them */
    int globals; /* and the table behind */
    int names;   /* and the names of fields in replies */

    /* Of the run. */
    const struct script_run *run;
    const struct script *script;
    enum script_over over; /* once it is, nothing of the script is executed any more */
    uint64_t instructions;
    uint64_t instructions_max;
    uint64_t worked;
    lua_State *outer;     /* whose call it runs in */
    uint64_t random;      /* 48 bits */
    uint8_t resp_version; /* of what its calls are answered */
    int objects;          /* in the registry: numbers of objects that were made text; LUA_NOREF */
    uint32_t object_count;
    size_t reply_begin; /* of the script, in what is written */
    struct buf reply;   /* of a call */
    struct buf error;   /* that ended it */
    struct slice *word; /* of a call */
    uint32_t word_cap;
    char *number; /* of words that are numbers */
    uint32_t number_cap;
};

/* The state of a Lua thread in it. */
static inline struct script_state *state_of(lua_State *lua)
{
    void *state;
    (void)lua_getallocf(lua, &state);
    return state;
}

/* script_shebang.c: take the first line off. False: it is no good, and the reply says why. */
MUST_USE bool script_shebang(struct slice *text, uint32_t *flags, struct reply *reply);

/* script_charge.c: so much work was done, or is about to be, in instructions. Raises at the limit. */
void script_charge(lua_State *lua, uint64_t instructions);
void script_charge_begin(struct script_state *state);
void script_charge_end(struct script_state *state);
/* Raises again what a script has caught, if it may not go on. */
void script_stop_if_over(lua_State *lua);

/* script_sandbox.c: the globals. Inside a protected call, of a new state. */
void script_sandbox_open(struct script_state *state);
/* Is the value at `index` a table of the sandbox? Then what is behind it is pushed. */
bool script_protected(lua_State *lua, int index);

/* Into the table at the top of the stack: a function; and one through which the function of that name is called
 * (script_wrapped), in its place in every way: with its upvalue, if it has one. */
void script_set_function(lua_State *lua, const char *name, lua_CFunction function);
void script_wrap(lua_State *lua, const char *name, lua_CFunction by);
static inline int script_wrapped(lua_State *lua)
{
    return lua_tocfunction(lua, lua_upvalueindex(2))(lua);
}

/* script_text.c, script_tables.c, script_base.c, script_libraries.c, script_redis.c: what they put in place of Lua's own, or
 * beside. The table of globals is at the top of the stack. */
void script_open_base(lua_State *lua);
void script_open_tables(lua_State *lua);
void script_open_text(lua_State *lua);
void script_open_libraries(lua_State *lua);
void script_open_redis(lua_State *lua);

/* script_search.c: find, match, gmatch, gsub. The table of string's functions is at the top of the stack. */
void script_open_search(lua_State *lua);

/* script_tables.c: raises if the table at `index` has a key whose place in the table depends on an address. */
void script_check_order(lua_State *lua, int index);

/* script_reply.c */
/* Push what a reply says. Gives: where it ends. */
const char *script_push_reply(lua_State *lua, const char *reply);
/* Push an error as redis.pcall gives it: the text without '-'. */
void script_push_error(lua_State *lua, struct slice text);
/* The names of fields that are looked at, for `names`. */
void script_push_names(lua_State *lua);
/* Write the value at the top of the stack, and pop it. */
void script_write_reply(lua_State *lua, struct reply *reply);

#endif
