/* blocked_undo: read the reply, write the words. Replies are: BLPOP, BRPOP [key, element]; BLMPOP [key, [element ...]];
 * BZPOPMIN, BZPOPMAX [key, member, score]; BZMPOP [key, [[member, score] ...]]. */
#include "cmd/blocked_undo.h"

#include "cmd/data_wait.h"

enum { WORDS_FIRST = 16 };

/* The texts of a reply, in order, whatever arrays they are in. */
struct texts {
    struct slice *text;
    uint32_t count;
    uint32_t cap;
};

static void texts_add(struct texts *texts, struct slice text)
{
    if (texts->count == texts->cap) {
        texts->cap = texts->cap > 0 ? texts->cap * 2 : WORDS_FIRST;
        texts->text = mem_resize(texts->text, texts->cap * sizeof *texts->text);
    }
    texts->text[texts->count++] = text;
}

/* Arrays ("*2"), strings ("$3") and doubles (",1.5"); the reply is this broker's own. False: it is something else, an
 * error or a null. */
static bool texts_read(struct texts *texts, struct slice reply)
{
    for (size_t at = 0; at < reply.len;) {
        const char *end = memchr(reply.data + at, '\r', reply.len - at);
        CHECK(end != NULL);
        struct slice line = slice_of(reply.data + at + 1, (size_t)(end - reply.data) - at - 1);
        char kind = reply.data[at];
        at += line.len + 3;
        int64_t len;
        if (kind == ',') {
            texts_add(texts, line);
        } else if (kind == '$' && slice_to_int64(line, &len) && len >= 0) {
            texts_add(texts, slice_of(reply.data + at, (size_t)len));
            at += (size_t)len + 2;
        } else if (kind != '*' || line.data[0] == '-') {
            return false;
        }
    }
    return texts->count > 1;
}

/* Which end a list's pop was at. BLMPOP's word stands behind the keys, where COUNT may follow. */
static bool is_left(const struct partition_call *call)
{
    struct slice name = call->argv[0];
    if (slice_equal_nocase(name, SLICE("blpop"))) { return true; }
    if (slice_equal_nocase(name, SLICE("brpop"))) { return false; }
    int64_t keys;
    CHECK(slice_to_int64(call->argv[2], &keys)); /* it was executed */
    return slice_equal_nocase(call->argv[3 + keys], SLICE("left"));
}

/* PUSH key element ...: the last one that was taken goes back first. */
static void undo_list(struct texts *words, const struct texts *taken, bool left)
{
    texts_add(words, left ? SLICE("LPUSH") : SLICE("RPUSH"));
    texts_add(words, taken->text[0]);
    for (uint32_t i = taken->count - 1; i > 0; i--) {
        texts_add(words, taken->text[i]);
    }
}

/* ZADD key score member ... */
static void undo_zset(struct texts *words, const struct texts *taken)
{
    texts_add(words, SLICE("ZADD"));
    texts_add(words, taken->text[0]);
    for (uint32_t i = 1; i + 1 < taken->count; i += 2) {
        texts_add(words, taken->text[i + 1]);
        texts_add(words, taken->text[i]);
    }
}

struct partition_call *blocked_undo(const struct partition_call *call, struct slice reply)
{
    struct slice name = call->argv[0];
    bool is_list = slice_equal_nocase(name, SLICE("blpop")) ||
                   slice_equal_nocase(name, SLICE("brpop")) ||
                   slice_equal_nocase(name, SLICE("blmpop"));
    bool is_zset = slice_equal_nocase(name, SLICE("bzpopmin")) ||
                   slice_equal_nocase(name, SLICE("bzpopmax")) ||
                   slice_equal_nocase(name, SLICE("bzmpop"));
    struct texts taken = {0};
    struct texts words = {0};
    struct partition_call *undo = NULL;
    if ((is_list || is_zset) && texts_read(&taken, reply)) {
        if (is_list) {
            undo_list(&words, &taken, is_left(call));
        } else {
            undo_zset(&words, &taken);
        }
        undo = data_call_copy(words.text, words.count, call->db);
    }
    mem_free(taken.text);
    mem_free(words.text);
    return undo;
}
