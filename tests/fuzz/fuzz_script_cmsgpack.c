/* fuzz_script_cmsgpack: any bytes are unpacked or refused. What was unpacked and is packed, unpacked and packed again is
 * the same bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/lib/lua_calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] = "local bytes = ARGV[1]\n"
                           "pcall(cmsgpack.unpack, bytes)\n"
                           "local offset = 0\n"
                           "while offset ~= -1 do\n"
                           "  local ok, next, value = pcall(cmsgpack.unpack_one, bytes, offset)\n"
                           "  if not ok then return 'refused' end\n"
                           "  assert(next == -1 or next > offset)\n"
                           "  offset = next\n"
                           "  local ok, packed = pcall(cmsgpack.pack, value)\n"
                           "  if ok and type(value) ~= 'table' then\n"
                           "    assert(cmsgpack.pack((cmsgpack.unpack(packed))) == packed)\n"
                           "  elseif ok then pcall(cmsgpack.unpack, packed) end\n"
                           "end\n"
                           "return 'taken'";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scripts *scripts;
    static struct buf out;
    if (scripts == NULL) { scripts = scripts_new(); }
    struct slice result =
        lua_calls_run(scripts, slice_of(text, sizeof text - 1), slice_of(data, size), &out);
    if (!slice_equal(result, SLICE("refused")) && !slice_equal(result, SLICE("taken"))) { abort(); }
    return 0;
}
