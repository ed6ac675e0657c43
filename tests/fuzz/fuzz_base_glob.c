/* fuzz_base_glob: a pattern and a text, separated by the first newline. The matcher must stay
 * inside both and agree with one that tries every token at every byte, and what the literal parts
 * promise must hold for every match. */
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

/* Does the token at `at`, which is not a star, take `c`? Sets *end behind it. */
static bool plain_takes(struct slice p, size_t at, char c, size_t *end)
{
    bool is_quoting = p.data[at] == '\\' && at + 1 < p.len;
    *end = at + 1 + is_quoting;
    if (p.data[at] != '[') { return p.data[at] == '?' || p.data[at + is_quoting] == c; }
    bool is_negated = at + 1 < p.len && p.data[at + 1] == '^', is_found = false;
    for (at += 1 + is_negated; at < p.len && p.data[at] != ']'; at++) {
        signed char from = (signed char)p.data[at], to = from;
        if (p.data[at] == '\\' && at + 1 < p.len) {
            from = to = (signed char)p.data[++at];
        } else if (at + 2 < p.len && p.data[at + 1] == '-') {
            to = (signed char)p.data[at += 2];
        }
        signed char low = from < to ? from : to, high = from < to ? to : from;
        is_found |= low <= (signed char)c && (signed char)c <= high;
    }
    *end = at < p.len ? at + 1 : at;
    return is_found != is_negated;
}

/* reached[i]: what of the pattern has been read can take the first i bytes of the text. */
static bool plain_match(struct slice pattern, struct slice text)
{
    if (text.len == 0) { return pattern.len == 0; }
    bool *reached = calloc(text.len + 1, sizeof *reached);
    CHECK(reached != NULL);
    reached[0] = true;
    for (size_t at = 0, end = 0; at < pattern.len; at = end) {
        if (pattern.data[at] == '*') {
            end = at + 1;
            for (size_t i = 0; i < text.len; i++) {
                reached[i + 1] |= reached[i];
            }
            continue;
        }
        for (size_t i = text.len; i-- > 0;) {
            reached[i + 1] = plain_takes(pattern, at, text.data[i], &end) && reached[i];
        }
        reached[0] = false;
    }
    bool matches = reached[text.len];
    free(reached);
    return matches;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t pattern_len = newline != NULL ? (size_t)(newline - data) : size;
    size_t text_at = newline != NULL ? pattern_len + 1 : size;
    struct slice pattern = copy_exact(data, pattern_len);
    struct slice text = copy_exact(data + text_at, size - text_at);
    bool matches = glob_match(pattern, text);
    CHECK(matches == plain_match(pattern, text));
    if (matches) {
        check_literals(pattern, text);
    } else {
        (void)glob_literal_suffix(pattern);
        (void)glob_literal_inner(pattern);
    }
    free((void *)(uintptr_t)pattern.data);
    free((void *)(uintptr_t)text.data);
    return 0;
}
