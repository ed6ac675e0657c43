/* patterns: three stages of radix trees over what a pattern cannot match without.
 * A pattern is filed under its literal prefix. Where a place already holds a few patterns, further
 * ones go into the place's own tree by literal suffix (read from the end), and there, once more,
 * into a tree by their longest inner literal. A match walks the first tree along the channel and so
 * meets every prefix that fits; at each such place it walks the second tree along the reversed
 * channel, and there the third from every byte in between. glob_matches decides about what is met.
 * Always: a place other than a tree's root holds patterns, or leads to a deeper tree, or has two or
 * more children; a deeper tree that became empty is freed. So memory follows the live patterns. */
#include "pubsub/patterns.h"

#include "base/mem.h"

/* By which literal part a tree is ordered. */
enum stage { STAGE_PREFIX, STAGE_SUFFIX, STAGE_INNER, STAGE_COUNT };

enum {
    KEY_BYTES_MAX = 255, /* longer literal parts are cut; glob_matches sees to the rest */
    FILED_BEFORE_DEEPER = 2,
    BRANCH_MIN = 2,
    MET_FEW = 32, /* a power of two */
};

/* One node of a radix tree: what is reached by the labels from the root to here. Has no parent
 * pointer and no pattern points to it, so that it may move when its label changes. */
struct place {
    struct branch *branch;      /* NULL without children */
    struct place *deeper;       /* the next stage's tree for the patterns filed here, or NULL */
    struct pattern_node *filed; /* first of those that are filed here */
    uint8_t label_len;          /* 0 for a root only */
    char label[];
};

/* The children of a place, in no order. Their first bytes follow child[cap]. */
struct branch {
    uint16_t count;
    uint16_t cap;
    struct place *child[];
};

struct patterns {
    struct map by_text;
    struct place *root;
};

/* ---- literal parts ---- */

/* The literal parts of one pattern, the suffix reversed. */
struct keys {
    struct slice part[STAGE_COUNT];
    char reversed[KEY_BYTES_MAX];
};

static struct slice cut(struct slice key)
{
    return slice_of(key.data, key.len < KEY_BYTES_MAX ? key.len : KEY_BYTES_MAX);
}

/* The last bytes of `text`, last one first. */
static struct slice reverse(struct slice text, char out[KEY_BYTES_MAX])
{
    size_t len = cut(text).len;
    for (size_t i = 0; i < len; i++) {
        out[i] = text.data[text.len - 1 - i];
    }
    return slice_of(out, len);
}

static void keys_read(struct keys *keys, struct slice text)
{
    size_t suffix_len = glob_literal_suffix(text);
    struct slice suffix = slice_of(text.data + text.len - suffix_len, suffix_len);
    keys->part[STAGE_PREFIX] = cut(slice_of(text.data, glob_literal_prefix(text)));
    keys->part[STAGE_SUFFIX] = reverse(suffix, keys->reversed);
    keys->part[STAGE_INNER] = cut(glob_literal_inner(text));
}

/* Is there a literal part left that could tell patterns of one place apart? */
static bool keys_go_deeper(const struct keys *keys, enum stage stage)
{
    for (unsigned later = stage + 1; later < STAGE_COUNT; later++) {
        if (keys->part[later].len > 0) { return true; }
    }
    return false;
}

/* ---- branches ---- */

static uint8_t *branch_bytes(const struct branch *branch)
{
    return (uint8_t *)(uintptr_t)&branch->child[branch->cap];
}

/* The slot of the child whose label starts with `byte`, or NULL. */
static struct place **branch_slot(struct branch *branch, char byte)
{
    if (branch == NULL) { return NULL; }
    const uint8_t *bytes = branch_bytes(branch);
    const uint8_t *at = memchr(bytes, (uint8_t)byte, branch->count);
    return at != NULL ? &branch->child[at - bytes] : NULL;
}

static struct branch *branch_resize(struct branch *old, uint16_t cap)
{
    struct branch *branch =
        mem_new(sizeof *branch + cap * (sizeof(struct place *) + sizeof(uint8_t)));
    branch->count = 0;
    branch->cap = cap;
    if (old != NULL) {
        branch->count = old->count;
        memcpy(branch->child, old->child, old->count * sizeof(struct place *));
        memcpy(branch_bytes(branch), branch_bytes(old), old->count);
        mem_free(old);
    }
    return branch;
}

/* Returns the new child's slot. */
static struct place **branch_add(struct branch **branch, struct place *child)
{
    if (*branch == NULL) {
        *branch = branch_resize(NULL, BRANCH_MIN);
    } else if ((*branch)->count == (*branch)->cap) {
        *branch = branch_resize(*branch, (*branch)->cap * 2);
    }
    uint16_t at = (*branch)->count++;
    (*branch)->child[at] = child;
    branch_bytes(*branch)[at] = (uint8_t)child->label[0];
    return &(*branch)->child[at];
}

/* Drop the child in `slot`. The branch is freed with its last child, halved when a quarter full. */
static void branch_drop(struct branch **branch, struct place **slot)
{
    size_t at = (size_t)(slot - (*branch)->child);
    uint16_t last = --(*branch)->count;
    (*branch)->child[at] = (*branch)->child[last];
    branch_bytes(*branch)[at] = branch_bytes(*branch)[last];
    if (last == 0) {
        mem_free(*branch);
        *branch = NULL;
    } else if (last <= (*branch)->cap / 4) {
        *branch = branch_resize(*branch, (*branch)->cap / 2);
    }
}

/* ---- places ---- */

static struct place *place_new(struct slice label)
{
    CHECK(label.len <= KEY_BYTES_MAX);
    struct place *place = mem_new(sizeof *place + label.len);
    *place = (struct place){.label_len = (uint8_t)label.len};
    if (label.len > 0) { memcpy(place->label, label.data, label.len); }
    return place;
}

/* Move all that `from` leads to into the fresh place `to`; frees `from`. */
static void place_move(struct place *to, struct place *from)
{
    to->branch = from->branch;
    to->deeper = from->deeper;
    to->filed = from->filed;
    if (to->filed != NULL) { to->filed->back = &to->filed; }
    mem_free(from);
}

static bool place_is_needed(const struct place *place)
{
    return place->filed != NULL || place->deeper != NULL;
}

/* Does the place hold so many patterns that the next one had better go deeper? */
static bool place_is_full(const struct place *place)
{
    unsigned count = 0;
    for (struct pattern_node *node = place->filed; node != NULL; node = node->next) {
        if (++count == FILED_BEFORE_DEEPER) { return true; }
    }
    return false;
}

/* The child that `rest` leads to, which loses the child's label; NULL if none does. */
static struct place *place_next(const struct place *place, struct slice *rest)
{
    if (rest->len == 0) { return NULL; }
    struct place **slot = branch_slot(place->branch, rest->data[0]);
    if (slot == NULL || !slice_starts_with(*rest, slice_of((*slot)->label, (*slot)->label_len))) {
        return NULL;
    }
    rest->data += (*slot)->label_len;
    rest->len -= (*slot)->label_len;
    return *slot;
}

/* Cut the label of the place in `slot` after `len` bytes: a new place takes the slot, the old one
 * becomes its child. */
static void place_split(struct place **slot, size_t len)
{
    struct place *old = *slot;
    struct place *upper = place_new(slice_of(old->label, len));
    struct place *lower = place_new(slice_of(old->label + len, old->label_len - len));
    place_move(lower, old);
    branch_add(&upper->branch, lower);
    *slot = upper;
}

/* The opposite: the place in `slot`, not needed, and its only child become one. */
static void place_join(struct place **slot)
{
    struct place *upper = *slot, *lower = upper->branch->child[0];
    struct place *joined = mem_new(sizeof *joined + upper->label_len + lower->label_len);
    CHECK(upper->label_len + lower->label_len <= KEY_BYTES_MAX);
    joined->label_len = (uint8_t)(upper->label_len + lower->label_len);
    memcpy(joined->label, upper->label, upper->label_len);
    memcpy(joined->label + upper->label_len, lower->label, lower->label_len);
    place_move(joined, lower);
    mem_free(upper->branch);
    mem_free(upper);
    *slot = joined;
}

/* Where a key led in one tree: the slots of the root, of the place, and of its parent (NULL if the
 * place is the root). */
struct path {
    struct place **root;
    struct place **parent;
    struct place **at;
};

/* The place of `key`, which exists. */
static struct path path_find(struct place **root, struct slice key)
{
    struct path path = {.root = root, .at = root};
    while (key.len > 0) {
        struct place **next = branch_slot((*path.at)->branch, key.data[0]);
        CHECK(next != NULL && (*next)->label_len <= key.len);
        key.data += (*next)->label_len;
        key.len -= (*next)->label_len;
        path.parent = path.at;
        path.at = next;
    }
    return path;
}

static size_t common_len(struct slice a, struct slice b)
{
    size_t len = 0;
    while (len < a.len && len < b.len && a.data[len] == b.data[len]) {
        len++;
    }
    return len;
}

/* The place of `key`, made if there is none. */
static struct place *place_reach(struct place **root, struct slice key)
{
    if (*root == NULL) { *root = place_new(SLICE("")); }
    struct place **at = root;
    while (key.len > 0) {
        struct place **next = branch_slot((*at)->branch, key.data[0]);
        if (next == NULL) { return *branch_add(&(*at)->branch, place_new(key)); }
        size_t len = common_len(key, slice_of((*next)->label, (*next)->label_len));
        if (len < (*next)->label_len) { place_split(next, len); }
        key.data += len;
        key.len -= len;
        at = next;
    }
    return *at;
}

/* Restore what is always true after the place at the path's end may have lost its last use. */
static void path_tidy(struct path path)
{
    struct place *place = *path.at;
    if (place_is_needed(place)) { return; }
    if (path.at != path.root && place->branch == NULL) {
        branch_drop(&(*path.parent)->branch, path.at);
        mem_free(place);
        path.at = path.parent;
        place = *path.at;
        if (place_is_needed(place)) { return; }
    }
    if (path.at == path.root) {
        if (place->branch == NULL) {
            mem_free(place);
            *path.root = NULL;
        }
    } else if (place->branch->count == 1) {
        place_join(path.at);
    }
}

/* Free a tree and those below it without recursion: each place hands its children and its deeper
 * tree to a chain, linked through `deeper`, of places still to be freed. */
static void tree_free(struct place *root)
{
    struct place *chain = root;
    while (chain != NULL) {
        struct place *place = chain;
        chain = place->deeper;
        for (uint16_t i = 0; place->branch != NULL && i < place->branch->count; i++) {
            struct place *child = place->branch->child[i], *last = child;
            while (last->deeper != NULL) { /* at most one step per later stage */
                last = last->deeper;
            }
            last->deeper = chain;
            chain = child;
        }
        mem_free(place->branch);
        mem_free(place);
    }
}

/* ---- the set ---- */

struct patterns *patterns_new(void)
{
    return mem_new0(sizeof(struct patterns));
}

void patterns_free(struct patterns *patterns)
{
    if (patterns != NULL) {
        tree_free(patterns->root);
        map_fini(&patterns->by_text);
        mem_free(patterns);
    }
}

void patterns_insert(struct patterns *patterns, struct pattern_node *node)
{
    struct slice text = node->by_text.key;
    map_insert(&patterns->by_text, &node->by_text, slice_hash(text));
    glob_init(&node->glob, text);
    struct keys keys;
    keys_read(&keys, text);
    enum stage stage = STAGE_PREFIX;
    struct place *place = place_reach(&patterns->root, keys.part[stage]);
    while (keys_go_deeper(&keys, stage) && place_is_full(place)) {
        stage++;
        place = place_reach(&place->deeper, keys.part[stage]);
    }
    node->stage = stage;
    node->next = place->filed;
    node->back = &place->filed;
    if (node->next != NULL) { node->next->back = &node->next; }
    place->filed = node;
}

void patterns_remove(struct patterns *patterns, struct pattern_node *node)
{
    map_remove(&patterns->by_text, &node->by_text);
    struct keys keys;
    keys_read(&keys, node->by_text.key);
    struct path path[STAGE_COUNT];
    struct place **root = &patterns->root;
    for (unsigned stage = 0; stage <= node->stage; stage++) {
        path[stage] = path_find(root, keys.part[stage]);
        root = &(*path[stage].at)->deeper;
    }
    *node->back = node->next;
    if (node->next != NULL) { node->next->back = node->back; }
    for (unsigned stage = node->stage + 1; stage-- > 0;) {
        path_tidy(path[stage]);
    }
    glob_fini(&node->glob);
}

static struct pattern_node *node_of(struct map_node *by_text)
{
    return by_text != NULL ? CONTAINER_OF(by_text, struct pattern_node, by_text) : NULL;
}

struct pattern_node *patterns_find(const struct patterns *patterns, struct slice text)
{
    return node_of(map_find(&patterns->by_text, text, slice_hash(text)));
}

size_t patterns_count(const struct patterns *patterns)
{
    return patterns->by_text.count;
}

const struct map *patterns_by_text(const struct patterns *patterns)
{
    return &patterns->by_text;
}

struct pattern_node *patterns_next(const struct patterns *patterns, const struct pattern_node *node)
{
    return node_of(map_next(&patterns->by_text, node != NULL ? &node->by_text : NULL));
}

/* ---- matching ---- */

struct match {
    struct slice channel;
    struct slice backward; /* the channel's end, reversed */
    void (*visit)(void *arg, struct pattern_node *node);
    void *arg;
    char reversed[KEY_BYTES_MAX];
};

static void match_filed(const struct match *match, const struct place *place)
{
    struct pattern_node *next;
    for (struct pattern_node *node = place->filed; node != NULL; node = next) {
        next = node->next;
        if (glob_matches(&node->glob, match->channel)) { match->visit(match->arg, node); }
    }
}

/* The places that a walk has met: open addressing, linear probing, at most half full. */
struct met {
    const struct place **slot;
    size_t slot_count;
    size_t count;
    const struct place *few[MET_FEW];
};

/* The slot that holds the place, or the empty one where it belongs. */
static const struct place **met_slot(const struct met *met, const struct place *place)
{
    uint64_t hash = ((uintptr_t)place >> 4) * 0x9e3779b97f4a7c15ULL;
    size_t at = (size_t)(hash >> 32) & (met->slot_count - 1);
    while (met->slot[at] != NULL && met->slot[at] != place) {
        at = (at + 1) & (met->slot_count - 1);
    }
    return &met->slot[at];
}

static void met_grow(struct met *met)
{
    struct met old = *met;
    if (met->slot == met->few) { old.slot = old.few; }
    met->slot_count *= 2;
    met->slot = mem_new0(met->slot_count * sizeof(struct place *));
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.slot[i] != NULL) { *met_slot(met, old.slot[i]) = old.slot[i]; }
    }
    if (old.slot != old.few) { mem_free(old.slot); }
}

/* False: it has been added before. */
static bool met_add(struct met *met, const struct place *place)
{
    const struct place **slot = met_slot(met, place);
    if (*slot != NULL) { return false; }
    *slot = place;
    if (++met->count > met->slot_count / 2) { met_grow(met); }
    return true;
}

/* The patterns of a tree by inner literal, which must lie in `text`. One that occurs twice leads to
 * its place twice: the first time counts. */
static void match_inner(const struct match *match, const struct place *root, struct slice text)
{
    struct met met = {.slot_count = MET_FEW};
    met.slot = met.few;
    for (size_t at = 0; at < text.len; at++) {
        struct slice rest = slice_of(text.data + at, text.len - at);
        for (struct place *place = place_next(root, &rest); place != NULL;
             place = place_next(place, &rest)) {
            if (place->filed != NULL && met_add(&met, place)) { match_filed(match, place); }
        }
    }
    if (met.slot != met.few) { mem_free(met.slot); }
}

/* The patterns of a tree by suffix, which must follow `prefix_len` bytes of the channel. */
static void match_suffix(const struct match *match, const struct place *root, size_t prefix_len)
{
    struct slice channel = match->channel;
    size_t left = channel.len - prefix_len;
    struct slice rest = match->backward;
    rest.len = rest.len < left ? rest.len : left;
    for (const struct place *place = root; place != NULL; place = place_next(place, &rest)) {
        match_filed(match, place);
        if (place->deeper != NULL) {
            size_t suffix_len = (size_t)(rest.data - match->reversed);
            match_inner(match, place->deeper,
                        slice_of(channel.data + prefix_len, left - suffix_len));
        }
    }
}

void patterns_match(const struct patterns *patterns, struct slice channel,
                    void (*visit)(void *arg, struct pattern_node *node), void *arg)
{
    struct match match;
    match.channel = channel;
    match.backward = reverse(channel, match.reversed);
    match.visit = visit;
    match.arg = arg;
    struct slice rest = channel;
    for (const struct place *place = patterns->root; place != NULL;
         place = place_next(place, &rest)) {
        match_filed(&match, place);
        if (place->deeper != NULL) { match_suffix(&match, place->deeper, channel.len - rest.len); }
    }
}
