/* script_match: does a text hold what a pattern of Lua 5.1 describes (its manual, 5.4.1, and %f)? Every step is charged
 * (script_charge.c), so that a search ends where the script has to end, at the same step on every replica: Lua's own search
 * is one instruction, and can take longer than anybody waits.
 *
 * There is no recursion: whatever may be tried otherwise later is noted in a stack, of at most SCRIPT_MATCH_CHOICES_MAX
 * choices; each stands for another item of the pattern.
 * Owns: nothing but the Lua value at `slot`. Thread: whichever runs the state.
 * Errors, in Lua's wording, are raised where the search meets what is wrong. */
#ifndef FANFARE_SCRIPT_SCRIPT_MATCH_INT_H
#define FANFARE_SCRIPT_SCRIPT_MATCH_INT_H

#include <lua.h>

#include "base/slice.h"

enum {
    SCRIPT_MATCH_CHOICES_MAX = 1 << 16,
    SCRIPT_MATCH_CHOICES_NEAR = 16, /* they need no memory of Lua's */
};

enum choice_kind {
    CHOICE_WITHOUT, /* the item that was taken is not taken */
    CHOICE_FEWER,   /* fewer of them */
    CHOICE_MORE,    /* one more of them */
    CHOICE_OPENED,  /* no choice: a capture was begun */
    CHOICE_CLOSED,  /* and was ended */
};

struct choice {
    enum choice_kind kind;
    uint32_t capture;
    const char *text; /* where the item begins in it */
    size_t count;     /* how often it was taken */
    const char *item;
    const char *item_end; /* there its sign is */
};

struct capture {
    const char *begin;
    ptrdiff_t len; /* or one of these */
};
enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

struct match {
    lua_State *lua;
    int slot; /* of the stack, for choices that are not near */
    struct slice text;
    const char *text_end;
    const char *pattern; /* without '^' */
    const char *pattern_end;
    uint64_t steps; /* not charged yet */
    const char *at; /* in the text */
    const char *item;
    uint32_t capture_count;
    uint32_t choice_count;
    uint32_t choice_cap;
    struct choice *choice;
    struct capture capture[LUA_MAXCAPTURES];
    struct choice near[SCRIPT_MATCH_CHOICES_NEAR];
};

/* Both strings live as long as the match. The slot is the caller's, who leaves it alone. */
void script_match_init(struct match *m, lua_State *lua, int slot, struct slice text,
                       struct slice pattern);
/* Does what is at `from` fit? Gives: where it ends; NULL: it does not. */
const char *script_match_at(struct match *m, const char *from);
/* So much was done, in instructions. */
void script_match_charge(struct match *m, uint64_t steps);
/* Charge what is not charged yet. */
void script_match_settle(struct match *m);

/* Push a capture; without captures the first is the whole. */
void script_match_push(struct match *m, uint32_t index, const char *begin, const char *end);
/* Push all of them; the whole if there are none and it is asked for. Gives: how many. */
int script_match_push_all(struct match *m, bool or_whole, const char *begin, const char *end);

#endif
