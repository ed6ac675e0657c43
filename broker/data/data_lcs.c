/* data_lcs: LCS, the longest common subsequence of two strings.
 *
 * The table of lengths is kept one row at a time; of each cell one bit stays: whether the way back goes up, to a shorter
 * first string, or left. Where the bytes are equal it goes both ways at once, which the strings tell. */
#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_text.h"

enum { WORK_CELLS = 1024 }; /* that take about as long as a read in the store */

/* Of the table: 256 MiB of bits, some seconds. */
static const uint64_t cells_max = 1ULL << 31;

struct lcs {
    struct data_call *call;
    struct slice a;
    struct slice b;
    bool is_index;
    bool is_len;
    bool has_match_len;
    int64_t match_len_min;
    uint64_t len;
    uint64_t *up; /* a bit for each cell; NULL: nobody goes back */
};

/* ---- the table ---- */

static bool goes_up(const struct lcs *lcs, size_t i, size_t j)
{
    uint64_t cell = (uint64_t)(i - 1) * lcs->b.len + (j - 1);
    return lcs->up[cell / 64] >> (cell % 64) & 1;
}

/* The row of the first `i` bytes of a, from that of one less. */
static void fill_row(struct lcs *lcs, size_t i, const uint32_t *above, uint32_t *row)
{
    uint64_t cell = (uint64_t)(i - 1) * lcs->b.len;
    for (size_t j = 1; j <= lcs->b.len; j++, cell++) {
        if (cell % WORK_CELLS == 0) { store_txn_work(lcs->call->txn); }
        if (lcs->a.data[i - 1] == lcs->b.data[j - 1]) {
            row[j] = above[j - 1] + 1;
        } else if (above[j] > row[j - 1]) {
            row[j] = above[j];
            if (lcs->up != NULL) { lcs->up[cell / 64] |= 1ULL << (cell % 64); }
        } else {
            row[j] = row[j - 1];
        }
    }
}

static void fill(struct lcs *lcs)
{
    uint64_t cells = (uint64_t)lcs->a.len * lcs->b.len;
    if (!lcs->is_len && cells > 0) {
        lcs->up = mem_new0((size_t)(cells / 64 + 1) * sizeof(uint64_t));
    }
    uint32_t *rows = mem_new0(2 * (lcs->b.len + 1) * sizeof *rows);
    uint32_t *above = rows;
    uint32_t *row = rows + lcs->b.len + 1;
    for (size_t i = 1; i <= lcs->a.len; i++) {
        fill_row(lcs, i, above, row);
        uint32_t *kept = above;
        above = row;
        row = kept;
    }
    lcs->len = above[lcs->b.len];
    mem_free(rows);
}

/* ---- the way back ---- */

/* A run of bytes that both strings have in one piece: [a, a + len) and [b, b + len). */
struct run {
    size_t a;
    size_t b;
    size_t len;
};

/* Visit the runs from the last to the first. */
static void runs_visit(const struct lcs *lcs, void (*visit)(void *arg, const struct run *run),
                       void *arg)
{
    struct run run = {0};
    size_t i = lcs->a.len;
    size_t j = lcs->b.len;
    while (i > 0 && j > 0) {
        bool is_equal = lcs->a.data[i - 1] == lcs->b.data[j - 1];
        if (is_equal) {
            i--;
            j--;
            run = (struct run){i, j, run.len + 1};
        } else {
            if (run.len > 0) { visit(arg, &run); }
            run.len = 0;
            if (goes_up(lcs, i, j)) {
                i--;
            } else {
                j--;
            }
        }
    }
    if (run.len > 0) { visit(arg, &run); }
}

struct matches {
    const struct lcs *lcs;
    struct buf found;
    struct reply reply; /* into it */
    size_t count;
};

static void range_out(struct reply *reply, size_t first, size_t len)
{
    reply_array(reply, 2);
    reply_int(reply, (int64_t)first);
    reply_int(reply, (int64_t)(first + len - 1));
}

static void match_out(void *arg, const struct run *run)
{
    struct matches *matches = arg;
    const struct lcs *lcs = matches->lcs;
    if ((int64_t)run->len < lcs->match_len_min) { return; }
    reply_array(&matches->reply, lcs->has_match_len ? 3 : 2);
    range_out(&matches->reply, run->a, run->len);
    range_out(&matches->reply, run->b, run->len);
    if (lcs->has_match_len) { reply_int(&matches->reply, (int64_t)run->len); }
    matches->count++;
}

static void index_reply(const struct lcs *lcs)
{
    struct reply *reply = lcs->call->reply;
    struct matches matches = {.lcs = lcs};
    matches.reply = (struct reply){.out = &matches.found, .version = reply->version};
    runs_visit(lcs, match_out, &matches);
    reply_map(reply, 2);
    reply_bulk_str(reply, "matches");
    reply_array(reply, matches.count);
    buf_append(reply->out, buf_slice(&matches.found));
    reply_bulk_str(reply, "len");
    reply_int(reply, (int64_t)lcs->len);
    buf_fini(&matches.found);
}

struct text_out {
    const struct lcs *lcs;
    char *begin;
    size_t left; /* it is filled from its end */
};

static void text_out(void *arg, const struct run *run)
{
    struct text_out *out = arg;
    CHECK(run->len <= out->left);
    out->left -= run->len;
    memcpy(out->begin + out->left, out->lcs->a.data + run->a, run->len);
}

static void text_of_lcs_reply(const struct lcs *lcs)
{
    struct text_out out = {lcs, mem_new(lcs->len + 1), lcs->len};
    runs_visit(lcs, text_out, &out);
    reply_bulk(lcs->call->reply, slice_of(out.begin, lcs->len));
    mem_free(out.begin);
}

/* ---- the command ---- */

static bool options_read(struct lcs *lcs)
{
    struct data_call *call = lcs->call;
    for (uint32_t i = 3; i < call->argc; i++) {
        if (arg_is(call, i, "IDX")) {
            lcs->is_index = true;
        } else if (arg_is(call, i, "LEN")) {
            lcs->is_len = true;
        } else if (arg_is(call, i, "WITHMATCHLEN")) {
            lcs->has_match_len = true;
        } else if (arg_is_with_value(call, i, "MINMATCHLEN")) {
            if (!arg_int(call, ++i, &lcs->match_len_min)) { return false; }
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    if (!lcs->is_index || !lcs->is_len) { return true; }
    reply_error(call->reply, "ERR If you want both the length and indexes, please just use IDX.");
    return false;
}

static void run(struct lcs *lcs)
{
    bool is_empty = lcs->a.len == 0 || lcs->b.len == 0;
    if (!is_empty && lcs->a.len > cells_max / lcs->b.len) {
        reply_error(lcs->call->reply, "ERR String too long for LCS");
        return;
    }
    fill(lcs);
    if (lcs->is_len) {
        reply_int(lcs->call->reply, (int64_t)lcs->len);
    } else if (lcs->is_index) {
        index_reply(lcs);
    } else {
        text_of_lcs_reply(lcs);
    }
    mem_free(lcs->up);
}

void data_lcs(struct data_call *call)
{
    struct lcs lcs = {.call = call};
    struct data_key a = key_find(call, call->argv[1]);
    struct data_key b = key_find(call, call->argv[2]);
    if ((a.is_there && a.object.type != STORE_STRING) ||
        (b.is_there && b.object.type != STORE_STRING)) {
        reply_error(call->reply, "ERR The specified keys must contain string values");
        return;
    }
    if (!options_read(&lcs)) { return; }
    struct buf scratch[2] = {{0}, {0}};
    lcs.a = text_of(&a, &scratch[0]);
    lcs.b = text_of(&b, &scratch[1]);
    run(&lcs);
    buf_fini(&scratch[0]);
    buf_fini(&scratch[1]);
}
