/* fuzz_pubsub_patterns: lines of `+pattern`, `-pattern`, `?channel` drive the index beside a plain
 * array; both must always name the same matches. */
#include "pubsub/patterns.h"

#include <stdint.h>

#include "base/glob.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SUBJECTS_MAX = 64 };

struct subject {
    struct pattern_node node;
    char *text;
    unsigned visits;
};

struct fixture {
    struct patterns *patterns;
    struct subject subject[SUBJECTS_MAX]; /* text is NULL in a free one */
};

static void on_match(void *arg, struct pattern_node *node)
{
    (void)arg;
    CONTAINER_OF(node, struct subject, node)->visits++;
}

static void add(struct fixture *f, struct slice text)
{
    for (int i = 0; i < SUBJECTS_MAX; i++) {
        struct subject *s = &f->subject[i];
        if (s->text == NULL) {
            s->text = mem_copy(text.data, text.len);
            s->node.by_text.key = slice_of(s->text, text.len);
            patterns_insert(f->patterns, &s->node);
            return;
        }
    }
}

static void drop(struct fixture *f, struct pattern_node *node)
{
    struct subject *s = CONTAINER_OF(node, struct subject, node);
    patterns_remove(f->patterns, node);
    mem_free(s->text);
    s->text = NULL;
}

static void check(struct fixture *f, struct slice channel)
{
    patterns_match(f->patterns, channel, on_match, NULL);
    for (int i = 0; i < SUBJECTS_MAX; i++) {
        struct subject *s = &f->subject[i];
        CHECK(s->visits == (s->text != NULL && glob_match(s->node.by_text.key, channel)));
        s->visits = 0;
    }
}

static void run_line(struct fixture *f, struct slice line)
{
    struct slice rest = slice_of(line.data + 1, line.len - 1);
    struct pattern_node *node = patterns_find(f->patterns, rest);
    switch (line.data[0]) {
    case '+':
        if (node == NULL) { add(f, rest); }
        break;
    case '-':
        if (node != NULL) { drop(f, node); }
        break;
    default: check(f, rest); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f = {.patterns = patterns_new()};
    const char *at = (const char *)data, *end = at + size;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;
        if (line_end > at) { run_line(&f, slice_of(at, (size_t)(line_end - at))); }
        at = line_end + 1;
    }
    for (int i = 0; i < SUBJECTS_MAX; i++) {
        if (f.subject[i].text != NULL) { drop(&f, &f.subject[i].node); }
    }
    CHECK(patterns_count(f.patterns) == 0);
    patterns_free(f.patterns);
    return 0;
}
