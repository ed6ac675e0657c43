/* script_match: see the header. */
#include "script/script_match_int.h"

#include <ctype.h>

#include "script/script_int.h"

enum { STEPS_CHARGED = 1000 }; /* together */

/* ---- steps ---- */

void script_match_settle(struct match *m)
{
    uint64_t steps = m->steps;
    m->steps = 0;
    if (steps > 0) { script_charge(m->lua, steps); }
}

void script_match_charge(struct match *m, uint64_t steps)
{
    m->steps += steps;
    if (UNLIKELY(m->steps >= STEPS_CHARGED)) { script_match_settle(m); }
}

/* ---- an item: one character of a class ---- */

static bool is_in_class(unsigned char c, unsigned char class)
{
    bool is_in;
    switch (class | 0x20) {
    case 'a': is_in = isalpha(c); break;
    case 'c': is_in = iscntrl(c); break;
    case 'd': is_in = isdigit(c); break;
    case 'l': is_in = islower(c); break;
    case 'p': is_in = ispunct(c); break;
    case 's': is_in = isspace(c); break;
    case 'u': is_in = isupper(c); break;
    case 'w': is_in = isalnum(c); break;
    case 'x': is_in = isxdigit(c); break;
    case 'z': is_in = c == '\0'; break;
    default: return class == c;
    }
    return isupper(class) ? !is_in : is_in;
}

/* The set from '[' to what is behind its ']'. */
static bool is_in_set(unsigned char c, const char *set, const char *set_end)
{
    const char *at = set + 1;
    const char *last = set_end - 1; /* the ']' */
    bool is_negated = *at == '^';
    at += is_negated;
    while (at < last) {
        if (*at == '%') {
            if (is_in_class(c, (unsigned char)at[1])) { return !is_negated; }
            at += 2;
        } else if (at[1] == '-' && at + 2 < last) {
            if ((unsigned char)at[0] <= c && c <= (unsigned char)at[2]) { return !is_negated; }
            at += 3;
        } else {
            if ((unsigned char)*at == c) { return !is_negated; }
            at++;
        }
    }
    return is_negated;
}

static const char *set_end(struct match *m, const char *set)
{
    const char *at = set + 1;
    at += *at == '^';
    do { /* the first one may be a ']' */
        if (at == m->pattern_end) { luaL_error(m->lua, "malformed pattern (missing ']')"); }
        at += *at == '%' && at + 1 < m->pattern_end ? 2 : 1;
    } while (*at != ']');
    script_match_charge(m, (uint64_t)(at - set) / 8);
    return at + 1;
}

static const char *item_end(struct match *m, const char *item)
{
    switch (*item) {
    case '%':
        if (item + 1 == m->pattern_end) {
            luaL_error(m->lua, "malformed pattern (ends with '%%')");
        }
        return item + 2;
    case '[': return set_end(m, item);
    default: return item + 1;
    }
}

/* Is there a character at `at`, and is it one of the item's? */
static bool fits(struct match *m, const char *at, const char *item, const char *end)
{
    if (at == m->text_end) { return false; }
    unsigned char c = (unsigned char)*at;
    switch (*item) {
    case '.': return true;
    case '%': return is_in_class(c, (unsigned char)item[1]);
    case '[': script_match_charge(m, (uint64_t)(end - item) / 8); return is_in_set(c, item, end);
    default: return (unsigned char)*item == c;
    }
}

/* ---- choices ---- */

static void grow(struct match *m)
{
    if (m->choice_cap == SCRIPT_MATCH_CHOICES_MAX) { luaL_error(m->lua, "pattern too complex"); }
    uint32_t cap = m->choice_cap * 4;
    struct choice *more = lua_newuserdata(m->lua, cap * sizeof *more);
    memcpy(more, m->choice, m->choice_count * sizeof *more);
    lua_replace(m->lua, m->slot);
    m->choice = more;
    m->choice_cap = cap;
}

static struct choice *note(struct match *m, enum choice_kind kind)
{
    if (UNLIKELY(m->choice_count == m->choice_cap)) { grow(m); }
    struct choice *choice = &m->choice[m->choice_count++];
    choice->kind = kind;
    return choice;
}

static void note_item(struct match *m, enum choice_kind kind, const char *end, size_t count)
{
    struct choice *choice = note(m, kind);
    choice->text = m->at;
    choice->count = count;
    choice->item = m->item;
    choice->item_end = end;
}

/* Go on from here instead: behind the item's sign. */
static void resume(struct match *m, const struct choice *choice, const char *at)
{
    m->at = at;
    m->item = choice->item_end + 1;
}

/* What did not fit is undone up to a choice. False: there is none left. */
static bool choose_otherwise(struct match *m)
{
    while (m->choice_count > 0) {
        struct choice *choice = &m->choice[m->choice_count - 1];
        script_match_charge(m, 1);
        switch (choice->kind) {
        case CHOICE_WITHOUT:
            m->choice_count--;
            resume(m, choice, choice->text);
            return true;
        case CHOICE_FEWER:
            choice->count--;
            if (choice->count == 0) { m->choice_count--; } /* the last of them */
            resume(m, choice, choice->text + choice->count);
            return true;
        case CHOICE_MORE:
            if (!fits(m, choice->text, choice->item, choice->item_end)) { break; }
            choice->text++;
            resume(m, choice, choice->text);
            return true;
        case CHOICE_OPENED: m->capture_count--; break;
        case CHOICE_CLOSED: m->capture[choice->capture].len = CAPTURE_OPEN; break;
        }
        m->choice_count--;
    }
    return false;
}

/* ---- captures ---- */

static bool open_capture(struct match *m)
{
    bool is_position = m->item[1] == ')';
    if (m->capture_count == LUA_MAXCAPTURES) { luaL_error(m->lua, "too many captures"); }
    (void)note(m, CHOICE_OPENED);
    m->capture[m->capture_count++] =
        (struct capture){m->at, is_position ? CAPTURE_POSITION : CAPTURE_OPEN};
    m->item += is_position ? 2 : 1;
    return true;
}

static bool close_capture(struct match *m)
{
    uint32_t i = m->capture_count;
    while (i > 0 && m->capture[i - 1].len != CAPTURE_OPEN) {
        i--;
    }
    if (i == 0) { luaL_error(m->lua, "invalid pattern capture"); }
    note(m, CHOICE_CLOSED)->capture = i - 1;
    m->capture[i - 1].len = m->at - m->capture[i - 1].begin;
    m->item++;
    return true;
}

/* %1 to %9: what was captured, once more. */
static bool take_again(struct match *m)
{
    int i = m->item[1] - '1';
    if (i < 0 || i >= (int)m->capture_count || m->capture[i].len == CAPTURE_OPEN) {
        luaL_error(m->lua, "invalid capture index");
    }
    const struct capture *capture = &m->capture[i];
    if (capture->len == CAPTURE_POSITION || m->text_end - m->at < capture->len) { return false; }
    script_match_charge(m, (uint64_t)capture->len / 64);
    if (memcmp(m->at, capture->begin, (size_t)capture->len) != 0) { return false; }
    m->at += capture->len;
    m->item += 2;
    return true;
}

/* ---- items ---- */

/* %bxy */
static bool take_balanced(struct match *m)
{
    const char *sign = m->item + 2;
    if (m->pattern_end - sign < 2) { luaL_error(m->lua, "unbalanced pattern"); }
    if (m->at == m->text_end || *m->at != sign[0]) { return false; }
    size_t open = 1;
    const char *at = m->at + 1;
    for (; at < m->text_end && open > 0; at++) {
        if (*at == sign[1]) {
            open--;
        } else if (*at == sign[0]) {
            open++;
        }
    }
    script_match_charge(m, (uint64_t)(at - m->at) / 4);
    if (open > 0) { return false; }
    m->at = at;
    m->item += 4;
    return true;
}

/* %f[set]: here the set begins. Before the text and behind it there is a zero byte. */
static bool take_frontier(struct match *m)
{
    const char *set = m->item + 2;
    if (*set != '[') { luaL_error(m->lua, "missing '[' after '%%f' in pattern"); }
    const char *end = set_end(m, set);
    char before = m->at == m->text.data ? '\0' : m->at[-1];
    char behind = m->at == m->text_end ? '\0' : *m->at;
    script_match_charge(m, (uint64_t)(end - set) / 4);
    if (is_in_set((unsigned char)before, set, end) || !is_in_set((unsigned char)behind, set, end)) {
        return false;
    }
    m->item = end;
    return true;
}

/* As many as there are, and at least so many. */
static bool take_most(struct match *m, const char *end, size_t min)
{
    const char *at = m->at;
    if (*m->item == '.') {
        at = m->text_end;
        script_match_charge(m, 1);
    }
    while (fits(m, at, m->item, end)) {
        at++;
        script_match_charge(m, 1);
    }
    size_t count = (size_t)(at - m->at);
    if (count < min) { return false; }
    m->at += min;
    if (count > min) { note_item(m, CHOICE_FEWER, end, count - min); }
    m->at = at;
    m->item = end + 1;
    return true;
}

static bool take_item(struct match *m)
{
    const char *end = item_end(m, m->item);
    switch (*end) {
    case '*': return take_most(m, end, 0);
    case '+': return take_most(m, end, 1);
    case '-':
        note_item(m, CHOICE_MORE, end, 0);
        m->item = end + 1;
        return true;
    case '?':
        if (fits(m, m->at, m->item, end)) {
            note_item(m, CHOICE_WITHOUT, end, 0);
            m->at++;
        }
        m->item = end + 1;
        return true;
    default:
        if (!fits(m, m->at, m->item, end)) { return false; }
        m->at++;
        m->item = end;
        return true;
    }
}

/* The next item of the pattern, and what it stands for in the text. False: it does not fit. */
static bool take_next(struct match *m)
{
    switch (*m->item) {
    case '(': return open_capture(m);
    case ')': return close_capture(m);
    case '$':
        if (m->item + 1 != m->pattern_end) { return take_item(m); }
        m->item++;
        return m->at == m->text_end;
    case '%':
        if (m->item[1] == 'b') { return take_balanced(m); }
        if (m->item[1] == 'f') { return take_frontier(m); }
        return isdigit((unsigned char)m->item[1]) ? take_again(m) : take_item(m);
    default: return take_item(m);
    }
}

/* ---- a match ---- */

/* A pattern ends at a zero byte, as in Lua 5.1. */
void script_match_init(struct match *m, lua_State *lua, int slot, struct slice text,
                       struct slice pattern)
{
    m->lua = lua;
    m->slot = slot;
    m->text = text;
    m->text_end = text.data + text.len;
    m->pattern = pattern.data;
    m->pattern_end = pattern.data + strlen(pattern.data);
    m->steps = 0;
    m->choice = m->near;
    m->choice_cap = SCRIPT_MATCH_CHOICES_NEAR;
}

const char *script_match_at(struct match *m, const char *from)
{
    m->at = from;
    m->item = m->pattern;
    m->capture_count = 0;
    m->choice_count = 0;
    while (m->item != m->pattern_end) {
        script_match_charge(m, 1);
        if (!take_next(m) && !choose_otherwise(m)) { return NULL; }
    }
    return m->at;
}

void script_match_push(struct match *m, uint32_t index, const char *begin, const char *end)
{
    if (index >= m->capture_count) {
        if (index > 0) { luaL_error(m->lua, "invalid capture index"); }
        lua_pushlstring(m->lua, begin, (size_t)(end - begin));
        return;
    }
    const struct capture *capture = &m->capture[index];
    if (capture->len == CAPTURE_OPEN) { luaL_error(m->lua, "unfinished capture"); }
    if (capture->len == CAPTURE_POSITION) {
        lua_pushinteger(m->lua, capture->begin - m->text.data + 1);
    } else {
        lua_pushlstring(m->lua, capture->begin, (size_t)capture->len);
    }
}

int script_match_push_all(struct match *m, bool or_whole, const char *begin, const char *end)
{
    uint32_t count = m->capture_count == 0 && or_whole ? 1 : m->capture_count;
    luaL_checkstack(m->lua, (int)count, "too many captures");
    for (uint32_t i = 0; i < count; i++) {
        script_match_push(m, i, begin, end);
    }
    return (int)count;
}
