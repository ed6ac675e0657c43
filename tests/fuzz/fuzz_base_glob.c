/* fuzz_base_glob: a pattern and a text, separated by the first newline. The matcher must stay
 * inside both, and what the literal parts promise must hold for every match. */
#include "base/glob.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy without a byte to spare, so that the sanitizer sees a read past its end. */
static struct slice copy_exact(const uint8_t *from, size_t len)
{
    char *to = malloc(len > 0 ? len : 1);
    CHECK(to != NULL);
    if (len > 0) { memcpy(to, from, len); }
    return slice_of(to, len);
}

static void check_literals(struct slice pattern, struct slice text)
{
    size_t prefix = glob_literal_prefix(pattern), suffix = glob_literal_suffix(pattern);
    struct slice inner = glob_literal_inner(pattern);
    CHECK(text.len >= prefix + suffix + inner.len);
    CHECK(slice_equal(slice_of(pattern.data, prefix), slice_of(text.data, prefix)));
    CHECK(slice_equal(slice_of(pattern.data + pattern.len - suffix, suffix),
                      slice_of(text.data + text.len - suffix, suffix)));
    CHECK(memmem(text.data + prefix, text.len - prefix - suffix, inner.data, inner.len) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t pattern_len = newline != NULL ? (size_t)(newline - data) : size;
    size_t text_at = newline != NULL ? pattern_len + 1 : size;
    struct slice pattern = copy_exact(data, pattern_len);
    struct slice text = copy_exact(data + text_at, size - text_at);
    if (glob_match(pattern, text)) {
        check_literals(pattern, text);
    } else {
        (void)glob_literal_suffix(pattern);
        (void)glob_literal_inner(pattern);
    }
    free((void *)(uintptr_t)pattern.data);
    free((void *)(uintptr_t)text.data);
    return 0;
}
