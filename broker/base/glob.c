/* glob: a pattern is segments with stars between them.
 * Every token of a segment takes exactly one byte. The first segment must match where the text starts,
 * the last one where it ends, and each in between is taken where it matches first: if it did so as
 * early as it could, no later place for it can help what follows. So nothing is ever tried again but
 * one segment at the next byte, and where that goes on for too long its tokens are tried 64 at a time. */
#include "base/glob.h"

#include <limits.h>

#include "base/mem.h"

enum {
    BYTES = 256,
    CLASS_SHORT_BYTES = 32, /* a bracket up to this length is read each time */
    SEARCH_STEPS_MIN =
        64, /* tokens tried before a search is too slow, and per byte it has passed */
    SEARCH_STEPS_PER_BYTE = 8,
    WORD_TOKENS = 64,
};

static const size_t nowhere = SIZE_MAX;

static bool is_special(char c)
{
    return c == '*' || c == '?' || c == '[' || c == '\\';
}

/* ---- brackets ---- */

/* A set of bytes; they are in the order of signed numbers, as in ranges. */
struct byte_set {
    uint64_t word[BYTES / 64];
};

static unsigned byte_rank(char c)
{
    return (unsigned)((signed char)c - SCHAR_MIN);
}

static uint8_t rank_byte(unsigned rank)
{
    return (uint8_t)((int)rank + SCHAR_MIN);
}

static bool set_has(const struct byte_set *set, char c)
{
    return set->word[byte_rank(c) / 64] >> byte_rank(c) % 64 & 1;
}

/* Ranks first..last. */
struct range {
    unsigned first;
    unsigned last;
};

static void set_add(struct byte_set *set, struct range range)
{
    for (unsigned i = 0; i < COUNT_OF(set->word); i++) {
        unsigned base = i * 64;
        if (range.last < base || range.first >= base + 64) { continue; }
        uint64_t from = range.first > base ? UINT64_MAX << (range.first - base) : UINT64_MAX;
        uint64_t to = range.last < base + 63 ? UINT64_MAX >> (base + 63 - range.last) : UINT64_MAX;
        set->word[i] |= from & to;
    }
}

/* Read what the bracket has at *at, and move *at behind it; false at the bracket's end. As in Redis: `]`
 * ends it even as the first byte, the pattern's end closes an open one, a range may be written backwards
 * and takes any byte as its end, and `\` quotes unless it is the pattern's last byte. */
static bool bracket_next(struct slice pattern, size_t *at, struct range *range)
{
    const char *p = pattern.data + *at;
    size_t left = pattern.len - *at;
    if (left == 0 || *p == ']') { return false; }
    if (*p == '\\' && left >= 2) {
        range->first = range->last = byte_rank(p[1]);
        *at += 2;
    } else if (left >= 3 && p[1] == '-') {
        unsigned a = byte_rank(p[0]), b = byte_rank(p[2]);
        *range = a < b ? (struct range){a, b} : (struct range){b, a};
        *at += 3;
    } else {
        range->first = range->last = byte_rank(*p);
        *at += 1;
    }
    return true;
}

static bool bracket_is_negated(struct slice pattern, size_t at)
{
    return at < pattern.len && pattern.data[at] == '^';
}

/* Behind the bracket whose text ends at `at`. */
static size_t bracket_behind(struct slice pattern, size_t at)
{
    return at < pattern.len ? at + 1 : at;
}

/* Read the bracket whose text starts at `at`: does it take `c`? Returns where the next token starts. */
static size_t bracket_read(struct slice pattern, size_t at, char c, bool *takes)
{
    bool is_negated = bracket_is_negated(pattern, at), is_found = false;
    struct range range;
    at += is_negated;
    while (bracket_next(pattern, &at, &range)) {
        is_found |= range.first <= byte_rank(c) && byte_rank(c) <= range.last;
    }
    *takes = is_found != is_negated;
    return bracket_behind(pattern, at);
}

/* The same for all bytes. */
static size_t bracket_read_set(struct slice pattern, size_t at, struct byte_set *set)
{
    bool is_negated = bracket_is_negated(pattern, at);
    struct range range;
    *set = (struct byte_set){0};
    at += is_negated;
    while (bracket_next(pattern, &at, &range)) {
        set_add(set, range);
    }
    for (unsigned i = 0; i < COUNT_OF(set->word); i++) {
        set->word[i] ^= is_negated ? UINT64_MAX : 0;
    }
    return bracket_behind(pattern, at);
}

/* A bracket that is too long to be read each time. */
struct glob_class {
    size_t at;  /* of its text */
    size_t end; /* where the next token starts */
    struct byte_set set;
};

struct glob_classes {
    size_t count;
    struct glob_class class[]; /* ascending */
};

static const struct glob_class *class_find(const struct glob *glob, size_t at)
{
    if (LIKELY(glob->classes == NULL)) { return NULL; }
    const struct glob_class *class = glob->classes->class;
    size_t first = 0, end = glob->classes->count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (class[middle].at == at) { return &class[middle]; }
        if (class[middle].at < at) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return NULL;
}

/* Does the bracket whose text starts at `at` take `c`? Returns where the next token starts. */
static size_t class_takes(const struct glob *glob, size_t at, char c, bool *takes)
{
    const struct glob_class *class = class_find(glob, at);
    if (class == NULL) { return bracket_read(glob->pattern, at, c, takes); }
    *takes = set_has(&class->set, c);
    return class->end;
}

static size_t class_set(const struct glob *glob, size_t at, struct byte_set *set)
{
    const struct glob_class *class = class_find(glob, at);
    if (class == NULL) { return bracket_read_set(glob->pattern, at, set); }
    *set = class->set;
    return class->end;
}

/* Where the token at `at` ends, for a pattern whose long brackets are not known yet. */
static size_t token_end(struct slice pattern, size_t at)
{
    struct range ignored;
    switch (pattern.data[at]) {
    case '[':
        at++;
        at += bracket_is_negated(pattern, at);
        while (bracket_next(pattern, &at, &ignored)) {}
        return bracket_behind(pattern, at);
    case '\\': return at + 2 <= pattern.len ? at + 2 : pattern.len;
    default: return at + 1;
    }
}

/* The next bracket with a long text at or behind `at`: its `[`; the pattern's length if there is none. */
static size_t long_bracket(struct slice pattern, size_t at)
{
    while (at < pattern.len) {
        size_t end = token_end(pattern, at);
        if (pattern.data[at] == '[' && end - at > CLASS_SHORT_BYTES) { return at; }
        at = end;
    }
    return at;
}

static size_t long_brackets_count(struct slice pattern)
{
    size_t count = 0;
    if (pattern.len <= CLASS_SHORT_BYTES || memchr(pattern.data, '[', pattern.len) == NULL) {
        return 0;
    }
    for (size_t at = long_bracket(pattern, 0); at < pattern.len; count++) {
        at = long_bracket(pattern, token_end(pattern, at));
    }
    return count;
}

void glob_init(struct glob *glob, struct slice pattern)
{
    *glob = (struct glob){.pattern = pattern};
    size_t count = long_brackets_count(pattern);
    if (count == 0) { return; }
    glob->classes = mem_new(sizeof *glob->classes + count * sizeof(struct glob_class));
    glob->classes->count = count;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct glob_class *class = &glob->classes->class[i];
        class->at = long_bracket(pattern, at) + 1;
        class->end = bracket_read_set(pattern, class->at, &class->set);
        at = class->end;
    }
}

void glob_fini(struct glob *glob)
{
    mem_free(glob->classes);
    *glob = (struct glob){0};
}

/* ---- segments ---- */

/* Does the token at *at, which is not a star, take `c`? If so *at moves behind it. */
static bool token_takes(const struct glob *glob, size_t *at, char c)
{
    struct slice pattern = glob->pattern;
    bool takes = true;
    size_t next = *at + 1;
    switch (pattern.data[*at]) {
    case '?': break;
    case '[': next = class_takes(glob, next, c, &takes); break;
    case '\\':
        if (next < pattern.len) {
            takes = pattern.data[next] == c;
            next++;
            break;
        }
        takes = c == '\\'; /* the last byte quotes nothing */
        break;
    default: takes = pattern.data[*at] == c; break;
    }
    if (takes) { *at = next; }
    return takes;
}

/* Tokens from `at` to `end`: a star or the pattern's end. */
struct segment {
    size_t at;
    size_t end;
    size_t token_count;
    bool is_literal;
};

static struct segment segment_read(const struct glob *glob, size_t at)
{
    struct slice pattern = glob->pattern;
    struct segment segment = {.at = at, .is_literal = true};
    while (at < pattern.len && pattern.data[at] != '*') {
        const struct glob_class *class = pattern.data[at] == '[' ? class_find(glob, at + 1) : NULL;
        segment.is_literal &= !is_special(pattern.data[at]);
        at = class != NULL ? class->end : token_end(pattern, at);
        segment.token_count++;
    }
    segment.end = at;
    return segment;
}

/* How many tokens of the segment take the text from text_at on; all: it matches there. The text is long
 * enough. */
static size_t segment_try(const struct glob *glob, const struct segment *segment, struct slice text,
                          size_t text_at)
{
    size_t count = 0;
    for (size_t at = segment->at; count < segment->token_count; count++) {
        if (!token_takes(glob, &at, text.data[text_at + count])) { break; }
    }
    return count;
}

/* From which byte of the text on can the token at `at` take one? */
static size_t token_seek(struct slice pattern, size_t at, struct slice text, size_t from)
{
    if (is_special(pattern.data[at])) { return from; }
    const char *hit = memchr(text.data + from, pattern.data[at], text.len - from);
    return hit != NULL ? (size_t)(hit - text.data) : text.len;
}

static void word_take_set(uint64_t takes[BYTES], const struct byte_set *set, uint64_t bit)
{
    for (unsigned i = 0; i < COUNT_OF(set->word); i++) {
        for (uint64_t left = set->word[i]; left != 0; left &= left - 1) {
            takes[rank_byte(i * 64 + (unsigned)__builtin_ctzll(left))] |= bit;
        }
    }
}

/* Which of up to 64 tokens, from *at on, take a byte: a bit each. Moves *at behind them. */
static void word_read(const struct glob *glob, size_t *at, unsigned token_count,
                      uint64_t takes[BYTES])
{
    uint64_t takes_any = 0;
    memset(takes, 0, BYTES * sizeof *takes);
    for (unsigned i = 0; i < token_count; i++) {
        const char *p = glob->pattern.data + *at;
        uint64_t bit = 1ULL << i;
        struct byte_set set;
        switch (*p) {
        case '?': takes_any |= bit; break;
        case '[':
            *at = class_set(glob, *at + 1, &set);
            word_take_set(takes, &set, bit);
            continue;
        case '\\': takes[(uint8_t)p[*at + 1 < glob->pattern.len]] |= bit; break;
        default: takes[(uint8_t)*p] |= bit; break;
        }
        *at = token_end(glob->pattern, *at);
    }
    for (unsigned c = 0; c < BYTES; c++) {
        takes[c] |= takes_any;
    }
}

/* Is it too much for what is left of the match's steps? */
static bool is_too_much(const struct segment *segment, size_t len, size_t *steps_left)
{
    size_t words = (segment->token_count + WORD_TOKENS - 1) / WORD_TOKENS;
    if (words > *steps_left / (len + 1)) { return true; }
    *steps_left -= words * (len + 1);
    return false;
}

/* segment_find whatever the text: word by word of 64 tokens. `reached[i]` says whether the tokens of the
 * words before take the bytes that end in front of from + i. */
static size_t segment_find_by_words(const struct glob *glob, const struct segment *segment,
                                    struct slice text, size_t from)
{
    size_t len = text.len - from, found = nowhere, at = segment->at;
    const uint8_t *bytes = (const uint8_t *)text.data + from;
    uint8_t *reached = mem_new(len + 1);
    memset(reached, 1, len + 1);
    for (size_t done = 0; done < segment->token_count && found == nowhere; done += WORD_TOKENS) {
        size_t left = segment->token_count - done;
        unsigned count = left < WORD_TOKENS ? (unsigned)left : WORD_TOKENS;
        uint64_t takes[BYTES], state = 0, last = 1ULL << (count - 1);
        word_read(glob, &at, count, takes);
        size_t stop = len - (left - count); /* later words need the rest */
        bool is_end = false;
        for (size_t i = done; i < stop && found == nowhere; i++) {
            bool is_begun = reached[i] != 0;
            reached[i] = is_end;
            state = (state << 1 | is_begun) & takes[bytes[i]];
            is_end = (state & last) != 0;
            if (is_end && left <= WORD_TOKENS) { found = from + i + 1 - segment->token_count; }
        }
        reached[stop] = is_end;
    }
    mem_free(reached);
    return found;
}

static size_t segment_find_literal(const struct glob *glob, const struct segment *segment,
                                   struct slice text, size_t from)
{
    const char *literal = glob->pattern.data + segment->at;
    const char *hit = memmem(text.data + from, text.len - from, literal, segment->token_count);
    return hit != NULL ? (size_t)(hit - text.data) : nowhere;
}

/* The first place in the text, at or behind `from`, where the segment matches, or nowhere. */
static size_t segment_find(const struct glob *glob, const struct segment *segment,
                           struct slice text, size_t from, size_t *steps_left)
{
    if (text.len - from < segment->token_count) { return nowhere; }
    size_t last = text.len - segment->token_count, steps = 0;
    for (size_t at = from; at <= last; at++) {
        at = token_seek(glob->pattern, segment->at, text, at);
        if (at > last) { break; }
        size_t count = segment_try(glob, segment, text, at);
        if (count == segment->token_count) { return at; }
        steps += count;
        if (steps > SEARCH_STEPS_MIN + SEARCH_STEPS_PER_BYTE * (at - from)) {
            if (segment->is_literal) { return segment_find_literal(glob, segment, text, at + 1); }
            if (is_too_much(segment, text.len - at - 1, steps_left)) { return nowhere; }
            return segment_find_by_words(glob, segment, text, at + 1);
        }
    }
    return nowhere;
}

/* ---- the whole ---- */

/* Match what begins with the star at `at` against the text from text_at on. */
static bool match_behind_star(const struct glob *glob, size_t at, struct slice text, size_t text_at)
{
    struct slice pattern = glob->pattern;
    size_t steps_left = GLOB_STEPS_MAX;
    while (at < pattern.len) {
        if (pattern.data[at] == '*') {
            at++;
            continue;
        }
        struct segment segment = segment_read(glob, at);
        if (segment.end == pattern.len) {
            return text.len - text_at >= segment.token_count &&
                   segment_try(glob, &segment, text, text.len - segment.token_count) ==
                       segment.token_count;
        }
        size_t found = segment_find(glob, &segment, text, text_at, &steps_left);
        if (found == nowhere) { return false; }
        text_at = found + segment.token_count;
        at = segment.end;
    }
    return true;
}

bool glob_matches(const struct glob *glob, struct slice text)
{
    struct slice pattern = glob->pattern;
    if (text.len == 0) {
        return pattern.len == 0; /* not even `*` matches the empty name in Redis 7.0 */
    }
    size_t at = 0, text_at = 0;
    while (at < pattern.len && pattern.data[at] != '*') {
        if (text_at == text.len || !token_takes(glob, &at, text.data[text_at])) { return false; }
        text_at++;
    }
    if (at == pattern.len) { return text_at == text.len; }
    return match_behind_star(glob, at, text, text_at);
}

bool glob_match(struct slice pattern, struct slice text)
{
    struct glob glob;
    glob_init(&glob, pattern);
    bool matches = glob_matches(&glob, text);
    glob_fini(&glob);
    return matches;
}

/* ---- literal parts ---- */

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
        at = token_end(pattern, at);
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
        at = token_end(pattern, at);
        size_t run = literal_run(pattern, at);
        if (run > longest.len && at + run < pattern.len) {
            longest = (struct slice){pattern.data + at, run};
        }
        at += run;
    }
    return longest;
}
