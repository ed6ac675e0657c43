/* fuzz_script_match: any pattern on any text finds what Lua 5.1's own library finds, or fails with the same error. The first
 * two bytes say how long the pattern and what is put in place of it are; both and the text are short, because Lua's own
 * search takes as long as it likes. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/lib/lua_patterns.h"

enum { PATTERN_BYTES_MAX = 10, REPLACEMENT_BYTES_MAX = 7, TEXT_BYTES_MAX = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice take(struct slice *rest, size_t bytes)
{
    struct slice taken = slice_of(rest->data, bytes < rest->len ? bytes : rest->len);
    *rest = slice_of(rest->data + taken.len, rest->len - taken.len);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scripts *scripts;
    static lua_State *lua;
    static struct buf out;
    struct slice words[LUA_PATTERNS_WORDS];
    char begin[] = "1";
    if (size < 2) { return 0; }
    if (scripts == NULL) {
        scripts = scripts_new();
        lua = lua_patterns_open();
    }
    struct slice rest = slice_of(data + 2, size - 2);
    begin[0] = (char)('0' + (data[0] >> 6));
    words[1] = take(&rest, data[0] % (PATTERN_BYTES_MAX + 1));
    words[2] = take(&rest, data[1] % (REPLACEMENT_BYTES_MAX + 1));
    words[0] = take(&rest, TEXT_BYTES_MAX);
    words[3] = slice_of(begin, 1);
    struct slice plain = lua_patterns_plain(lua, words);
    struct slice ours =
        lua_calls_run_all(scripts, slice_of(lua_patterns_text, sizeof lua_patterns_text - 1), words,
                          LUA_PATTERNS_WORDS, &out);
    if (!slice_equal(plain, ours)) { abort(); }
    return 0;
}
