/* fuzz_script_struct: any format on any bytes is unpacked or refused; what was unpacked can be packed by the same format.
 * The first byte says how long the format is. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/lib/lua_calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] = "local input = ARGV[1]\n"
                           "local cut = input:byte(1)\n"
                           "local format, bytes = input:sub(2, cut + 1), input:sub(cut + 2)\n"
                           "pcall(struct.size, format)\n"
                           "for position = 1, 2 do\n"
                           "  local results = {pcall(struct.unpack, format, bytes, position)}\n"
                           "  if results[1] and not format:find('c') then\n"
                           "    struct.pack(format, unpack(results, 2))\n"
                           "  end\n"
                           "end\n"
                           "return 'done'";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scripts *scripts;
    static struct buf out;
    if (size == 0) { return 0; }
    if (scripts == NULL) { scripts = scripts_new(); }
    struct slice result =
        lua_calls_run(scripts, slice_of(text, sizeof text - 1), slice_of(data, size), &out);
    if (!slice_equal(result, SLICE("done"))) { abort(); }
    return 0;
}
