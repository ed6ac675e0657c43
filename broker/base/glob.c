/* glob: one pass over the text that goes back to the last star only.
 * A pattern is a row of tokens. Every token but `*` takes exactly one byte, and where a token ends
 * depends on the pattern alone. So if the tokens up to a star matched once, as early as they could,
 * no later place for them can help what follows the star: earlier stars are never tried again. */
#include "base/glob.h"

static bool is_special(char c)
{
    return c == '*' || c == '?' || c == '[' || c == '\\';
}

/* Read the bracket whose `[` is at `at - 1`; *matched says whether it takes `c`. Returns where the
 * next token starts. As in Redis: `]` ends it even as the first byte, the pattern's end closes an
 * open one, a range may be written backwards and takes any byte as its end, its bytes compare as
 * signed numbers, and `\` quotes unless it is the pattern's last byte. */
static size_t bracket_read(struct slice pattern, size_t at, char c, bool *matched)
{
    const char *p = pattern.data;
    bool negated = at < pattern.len && p[at] == '^';
    bool found = false;
    at += negated;
    while (at < pattern.len && p[at] != ']') {
        size_t left = pattern.len - at;
        if (p[at] == '\\' && left >= 2) {
            found |= p[at + 1] == c;
            at += 2;
        } else if (left >= 3 && p[at + 1] == '-') {
            signed char from = (signed char)p[at], to = (signed char)p[at + 2],
                        byte = (signed char)c;
            found |= from <= to ? from <= byte && byte <= to : to <= byte && byte <= from;
            at += 3;
        } else {
            found |= p[at] == c;
            at++;
        }
    }
    *matched = found != negated;
    return at < pattern.len ? at + 1 : at;
}

/* Does the token at *at, which is not a star, take `c`? If so *at moves behind it. */
static bool token_takes(struct slice pattern, size_t *at, char c)
{
    bool matched = true;
    size_t next = *at + 1;
    switch (pattern.data[*at]) {
    case '?': break;
    case '[': next = bracket_read(pattern, next, c, &matched); break;
    case '\\':
        if (next < pattern.len) {
            matched = pattern.data[next] == c;
            next++;
            break;
        }
        matched = c == '\\'; /* the last byte quotes nothing */
        break;
    default: matched = pattern.data[*at] == c; break;
    }
    if (matched) { *at = next; }
    return matched;
}

/* From which byte of the text on can the token at `at`, which follows a star, match? */
static size_t star_seek(struct slice pattern, size_t at, struct slice text, size_t from)
{
    if (is_special(pattern.data[at])) { return from; }
    const char *hit = memchr(text.data + from, pattern.data[at], text.len - from);
    return hit != NULL ? (size_t)(hit - text.data) : text.len;
}

bool glob_match(struct slice pattern, struct slice text)
{
    if (text.len == 0) {
        return pattern.len == 0; /* not even `*` matches the empty name in Redis 7.0 */
    }
    bool starred = false;
    size_t at = 0, text_at = 0;
    size_t star_next = 0,
           star_text = 0; /* what follows the last star, and where it is being tried */
    while (text_at < text.len) {
        if (at < pattern.len && pattern.data[at] == '*') {
            at++;
            if (at == pattern.len) { return true; }
            starred = true;
            star_next = at;
            text_at = star_text = star_seek(pattern, star_next, text, text_at);
        } else if (at < pattern.len && token_takes(pattern, &at, text.data[text_at])) {
            text_at++;
        } else if (starred) {
            at = star_next;
            text_at = star_text = star_seek(pattern, star_next, text, star_text + 1);
        } else {
            return false;
        }
    }
    while (at < pattern.len && pattern.data[at] == '*') {
        at++;
    }
    return at == pattern.len;
}

/* Where the special token at `at` ends. */
static size_t special_end(struct slice pattern, size_t at)
{
    bool ignored;
    switch (pattern.data[at]) {
    case '[': return bracket_read(pattern, at + 1, 0, &ignored);
    case '\\': return at + 2 <= pattern.len ? at + 2 : pattern.len;
    default: return at + 1;
    }
}

/* The length of the literal run that starts at `at`. */
static size_t literal_run(struct slice pattern, size_t at)
{
    size_t end = at;
    while (end < pattern.len && !is_special(pattern.data[end])) {
        end++;
    }
    return end - at;
}

size_t glob_literal_prefix(struct slice pattern)
{
    return literal_run(pattern, 0);
}

size_t glob_literal_suffix(struct slice pattern)
{
    size_t at = literal_run(pattern, 0), run = 0;
    while (at < pattern.len) {
        at = special_end(pattern, at);
        run = literal_run(pattern, at);
        at += run;
    }
    return run;
}

struct slice glob_literal_inner(struct slice pattern)
{
    struct slice longest = {pattern.data, 0};
    size_t at = literal_run(pattern, 0);
    while (at < pattern.len) {
        at = special_end(pattern, at);
        size_t run = literal_run(pattern, at);
        if (run > longest.len && at + run < pattern.len) {
            longest = (struct slice){pattern.data + at, run};
        }
        at += run;
    }
    return longest;
}
