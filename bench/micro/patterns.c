/* patterns: what a publish to a new channel pays for patterns that do not match, what a pattern
 * costs to add and to remove, and its memory.  usage: micro_patterns [PATTERNS] */
#include "pubsub/patterns.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/mem.h"

enum { TEXT_BYTES = 40, CHANNELS = 4096, ROUNDS = 5 };

/* Pattern i is before, i, after. The channels, of 20 bytes or so, carry larger numbers in the same
 * place: they look alike and match only patterns of the last shape. */
static const struct shape {
    const char *before;
    const char *after;
    const char *channel_before;
    const char *channel_after;
} shapes[] = {
    {"user:", ":*", "user:", ":abcdefgh"}, {"*:", "", "abcdefghijkl:", ""},
    {"news.*.", "", "news.abcdefg.", ""},  {"", "?x", "", "-abcdefghijkl"},
    {"*foo", ">*", "abfoo", "-cdefgh"},    {"*", "*", "abcdefgh", ".ijk"},
};

struct entry {
    struct pattern_node node;
    char text[TEXT_BYTES];
};

static void on_match(void *arg, struct pattern_node *node)
{
    (void)node;
    ++*(size_t *)arg;
}

/* The fastest of some rounds, per match in ns; adds the matches of all rounds to *hits. */
static double time_matches(const struct patterns *patterns, const struct slice *channels,
                           size_t *hits)
{
    uint64_t best_ns = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start_ns = clock_mono_ns();
        for (int i = 0; i < CHANNELS; i++) {
            patterns_match(patterns, channels[i], on_match, hits);
        }
        uint64_t took_ns = clock_mono_ns() - start_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    return (double)best_ns / CHANNELS;
}

static void run(const struct shape *shape, struct entry *entry, int count)
{
    static char text[CHANNELS][TEXT_BYTES];
    struct slice channel[CHANNELS];
    for (int i = 0; i < CHANNELS; i++) {
        long number = count + random() % (9L * count);
        int len = snprintf(text[i], TEXT_BYTES, "%s%ld%s", shape->channel_before, number,
                           shape->channel_after);
        channel[i] = slice_of(text[i], (size_t)len);
    }
    for (int i = 0; i < count; i++) {
        int len = snprintf(entry[i].text, TEXT_BYTES, "%s%d%s", shape->before, i, shape->after);
        entry[i].node.by_text.key = slice_of(entry[i].text, (size_t)len);
    }
    size_t before_bytes = heap_used_bytes(), hits = 0;
    struct patterns *patterns = patterns_new();
    uint64_t start_ns = clock_mono_ns();
    for (int i = 0; i < count; i++) {
        patterns_insert(patterns, &entry[i].node);
    }
    uint64_t inserted_ns = clock_mono_ns();
    size_t index_bytes = heap_used_bytes() - before_bytes;
    double match_ns = time_matches(patterns, channel, &hits);
    uint64_t matched_ns = clock_mono_ns();
    for (int i = 0; i < count; i++) {
        patterns_remove(patterns, &entry[i].node);
    }
    uint64_t removed_ns = clock_mono_ns();
    patterns_free(patterns);
    printf("%7s<n>%-4s %-22s %8.0f %8.2f %8.0f %8.0f %8zu\n", shape->before, shape->after, text[0],
           match_ns, (double)hits / (CHANNELS * ROUNDS), (double)(inserted_ns - start_ns) / count,
           (double)(removed_ns - matched_ns) / count,
           index_bytes / (size_t)count + sizeof(struct pattern_node));
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 100000;
    if (count <= 0) {
        fprintf(stderr, "usage: micro_patterns [PATTERNS]\n");
        return 64;
    }
    struct entry *entry = mem_new0((size_t)count * sizeof *entry);
    printf("%d patterns; ns, and bytes per pattern\n%-14s %-22s %8s %8s %8s %8s %8s\n", count,
           "pattern", "channel", "match", "matches", "insert", "remove", "bytes");
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        run(&shapes[i], entry, count);
    }
    mem_free(entry);
    return 0;
}
