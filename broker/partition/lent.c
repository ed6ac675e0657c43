/* lent: read the reply, write the words. Replies are: BLPOP, BRPOP [key, element]; BLMPOP [key, [element ...]];
 * BZPOPMIN, BZPOPMAX [key, member, score]; BZMPOP [key, [[member, score] ...]]. */
#include "partition/lent.h"

#include "base/mem.h"

enum { WORDS_FIRST = 16 };

static void words_add(struct lent_words *words, struct slice text)
{
    if (words->count == words->cap) {
        words->cap = words->cap > 0 ? words->cap * 2 : WORDS_FIRST;
        words->word = mem_resize(words->word, words->cap * sizeof *words->word);
    }
    words->word[words->count++] = text;
}

void lent_words_fini(struct lent_words *words)
{
    mem_free(words->word);
}

/* The texts of a reply, in order, whatever arrays they are in: arrays ("*2"), strings ("$3") and doubles (",1.5"); the reply
 * is this broker's own. False: it is something else, an error or a null. */
static bool texts_read(struct lent_words *texts, struct slice reply)
{
    for (size_t at = 0; at < reply.len;) {
        const char *end = memchr(reply.data + at, '\r', reply.len - at);
        CHECK(end != NULL);
        struct slice line = slice_of(reply.data + at + 1, (size_t)(end - reply.data) - at - 1);
        char kind = reply.data[at];
        at += line.len + 3;
        int64_t len;
        if (kind == ',') {
            words_add(texts, line);
        } else if (kind == '$' && slice_to_int64(line, &len) && len >= 0) {
            words_add(texts, slice_of(reply.data + at, (size_t)len));
            at += (size_t)len + 2;
        } else if (kind != '*' || line.data[0] == '-') {
            return false;
        }
    }
    return texts->count > 1;
}

/* BLMPOP's word stands behind the keys, where COUNT may follow. */
static enum lent end_of_blmpop(const struct partition_call *call)
{
    int64_t keys;
    bool is_good = call->argc > 3 && slice_to_int64(call->argv[2], &keys) && keys > 0 &&
                   keys < (int64_t)call->argc - 3;
    if (!is_good) { return LENT_NOTHING; } /* it is refused */
    return slice_equal_nocase(call->argv[3 + keys], SLICE("left")) ? LENT_LEFT : LENT_RIGHT;
}

enum lent lent_by(const struct partition_call *call)
{
    static const struct {
        struct slice name;
        enum lent lent;
    } pops[] = {
        {{"blpop", 5}, LENT_LEFT},      {{"brpop", 5}, LENT_RIGHT},
        {{"bzpopmin", 8}, LENT_SCORED}, {{"bzpopmax", 8}, LENT_SCORED},
        {{"bzmpop", 6}, LENT_SCORED},
    };
    struct slice name = call->argv[0];
    for (size_t i = 0; i < COUNT_OF(pops); i++) {
        if (slice_equal_nocase(name, pops[i].name)) { return pops[i].lent; }
    }
    return slice_equal_nocase(name, SLICE("blmpop")) ? end_of_blmpop(call) : LENT_NOTHING;
}

/* PUSH key element ...: the last one that was taken goes back first. */
static void undo_list(struct lent_words *words, const struct lent_words *taken, bool left)
{
    words_add(words, left ? SLICE("LPUSH") : SLICE("RPUSH"));
    words_add(words, taken->word[0]);
    for (uint32_t i = taken->count - 1; i > 0; i--) {
        words_add(words, taken->word[i]);
    }
}

/* ZADD key score member ... */
static void undo_zset(struct lent_words *words, const struct lent_words *taken)
{
    words_add(words, SLICE("ZADD"));
    words_add(words, taken->word[0]);
    for (uint32_t i = 1; i + 1 < taken->count; i += 2) {
        words_add(words, taken->word[i + 1]);
        words_add(words, taken->word[i]);
    }
}

bool lent_undo(enum lent lent, struct slice reply, struct lent_words *out)
{
    struct lent_words taken = {0};
    bool is_any = lent != LENT_NOTHING && texts_read(&taken, reply);
    if (is_any && lent == LENT_SCORED) {
        undo_zset(out, &taken);
    } else if (is_any) {
        undo_list(out, &taken, lent == LENT_LEFT);
    }
    lent_words_fini(&taken);
    return is_any;
}
