/* store_lane: see the header. */
#include "store/store_lane.h"

#include "store/store_int.h"

enum { LANE_BYTES = 8 + 8 + 2 + 1, ANSWER_HEAD_BYTES = 8 + 4 };

static void lane_key(struct store_key_bytes *key, char tag, const struct store_lane_id *id)
{
    key_begin(key, tag);
    key_u64(key, id->node_id);
    key_u64(key, id->incarnation);
    key_u16(key, id->worker);
    key_u8(key, id->is_parking);
}

static void row_key(struct store_key_bytes *key, const struct store_lane_id *id, uint64_t seq)
{
    lane_key(key, 'r', id);
    key_u64(key, seq);
}

static bool id_equal(const struct store_lane_id *a, const struct store_lane_id *b)
{
    return a->node_id == b->node_id && a->incarnation == b->incarnation && a->worker == b->worker &&
           a->is_parking == b->is_parking;
}

/* ---- rows ---- */

/* The next answer of a row. False: that was the last. */
static bool row_take(struct slice *row, uint64_t *seq, struct slice *answer)
{
    if (row->len < ANSWER_HEAD_BYTES) { return false; }
    size_t len = read_u32(row->data + 8);
    if (row->len - ANSWER_HEAD_BYTES < len) { return false; }
    *seq = read_u64(row->data);
    *answer = slice_of(row->data + ANSWER_HEAD_BYTES, len);
    *row = slice_of(row->data + ANSWER_HEAD_BYTES + len, row->len - ANSWER_HEAD_BYTES - len);
    return true;
}

static bool row_find(struct slice row, uint64_t seq, struct slice *answer)
{
    uint64_t at;
    while (row_take(&row, &at, answer)) {
        if (at == seq) { return true; }
    }
    return false;
}

static bool row_is_below(struct slice row, uint64_t low)
{
    uint64_t seq;
    struct slice answer;
    while (row_take(&row, &seq, &answer)) {
        if (seq >= low) { return false; }
    }
    return true;
}

static void bounds_get(struct store_txn *txn, const struct store_lane_id *id, uint64_t *low,
                       uint64_t *high)
{
    struct store_key_bytes key;
    struct slice value;
    lane_key(&key, 'u', id);
    bool is_there = txn_get(txn, key_slice(&key), &value) && value.len == 16;
    *low = is_there ? read_u64(value.data) : 0;
    *high = is_there ? read_u64(value.data + 8) : 0;
}

/* A number may stand behind higher ones, in a row that begins above it: then it is found among the rows behind. */
static bool rows_find(struct store_txn *txn, const struct store_lane_id *id, uint64_t seq,
                      struct slice *answer)
{
    struct store_key_bytes prefix;
    struct store_key_bytes key;
    struct store_cursor cursor;
    lane_key(&prefix, 'r', id);
    row_key(&key, id, seq);
    cursor_begin(&cursor, txn, key_slice(&prefix));
    bool is_found = false;
    for (bool any = cursor_seek_back(&cursor, key_slice(&key)); any && !is_found;
         any = cursor_previous(&cursor)) {
        is_found = row_find(cursor.value, seq, answer);
        if (id->is_parking) { break; }
    }
    cursor_end(&cursor);
    return is_found;
}

/* Rows below `low`, which come first, go. */
static void rows_remove(struct store_txn *txn, const struct store_lane_id *id, uint64_t low)
{
    struct store_key_bytes prefix;
    struct store_cursor cursor;
    lane_key(&prefix, 'r', id);
    cursor_begin(&cursor, txn, key_slice(&prefix));
    bool any = cursor_first(&cursor);
    while (any && row_is_below(cursor.value, low)) {
        cursor_delete(&cursor);
        any = cursor_next(&cursor);
    }
    cursor_end(&cursor);
}

static void row_write(struct store_txn *txn, struct store_lane *lane)
{
    if (lane->seq_first == 0) { return; }
    struct store_key_bytes key;
    row_key(&key, &lane->id, lane->seq_first);
    txn_put(txn, key_slice(&key), buf_slice(&lane->row));
    lane->seq_first = 0;
    lane->row.len = 0;
}

static void lane_write(struct store_txn *txn, struct store_lane *lane)
{
    row_write(txn, lane);
    if (lane->low == lane->low_kept && lane->high == lane->high_kept) { return; }
    struct store_key_bytes key;
    struct store_key_bytes bounds = {0};
    lane_key(&key, 'u', &lane->id);
    key_u64(&bounds, lane->low);
    key_u64(&bounds, lane->high);
    txn_put(txn, key_slice(&key), key_slice(&bounds));
    if (lane->low != lane->low_kept) { rows_remove(txn, &lane->id, lane->low); }
    lane->low_kept = lane->low;
    lane->high_kept = lane->high;
}

/* ---- an entry ---- */

void store_lanes_begin(struct store_lanes *lanes, struct store_txn *txn)
{
    lanes->txn = txn;
    lanes->count = 0;
    lanes->next = 0;
}

void store_lanes_end(struct store_lanes *lanes)
{
    for (uint32_t i = 0; i < lanes->count; i++) {
        lane_write(lanes->txn, &lanes->lane[i]);
    }
    lanes->count = 0;
}

void store_lanes_fini(struct store_lanes *lanes)
{
    for (uint32_t i = 0; i < STORE_LANES_OPEN; i++) {
        buf_fini(&lanes->lane[i].row);
    }
}

struct store_lane *store_lane_open(struct store_lanes *lanes, const struct store_lane_id *id)
{
    for (uint32_t i = 0; i < lanes->count; i++) {
        if (id_equal(&lanes->lane[i].id, id)) { return &lanes->lane[i]; }
    }
    uint32_t at = lanes->count;
    if (at == STORE_LANES_OPEN) {
        at = lanes->next;
        lanes->next = (lanes->next + 1) % STORE_LANES_OPEN;
        lane_write(lanes->txn, &lanes->lane[at]);
    } else {
        lanes->count++;
    }
    struct store_lane *lane = &lanes->lane[at];
    struct buf row = lane->row;
    row.len = 0;
    *lane = (struct store_lane){.id = *id, .row = row};
    bounds_get(lanes->txn, id, &lane->low, &lane->high);
    lane->low_kept = lane->low;
    lane->high_kept = lane->high;
    return lane;
}

void store_lane_raise(struct store_lane *lane, uint64_t low)
{
    if (low > lane->low) { lane->low = low; }
}

void store_lane_confirm(struct store_lanes *lanes, const struct store_lane *lane, uint64_t seq)
{
    struct store_key_bytes key;
    row_key(&key, &lane->id, seq);
    (void)txn_delete(lanes->txn, key_slice(&key));
}

enum store_lane_state store_lane_find(struct store_lanes *lanes, const struct store_lane *lane,
                                      uint64_t seq, struct slice *answer)
{
    if (seq < lane->low) { return STORE_LANE_BELOW; }
    if (seq > lane->high) { return STORE_LANE_NEW; }
    if (lane->seq_first != 0 && row_find(buf_slice(&lane->row), seq, answer)) {
        return STORE_LANE_KNOWN;
    }
    return rows_find(lanes->txn, &lane->id, seq, answer) ? STORE_LANE_KNOWN : STORE_LANE_NEW;
}

void store_lane_keep(struct store_lanes *lanes, struct store_lane *lane, uint64_t seq,
                     struct slice answer)
{
    struct store_key_bytes head = {0};
    key_u64(&head, seq);
    key_u32(&head, (uint32_t)answer.len);
    if (lane->seq_first == 0 || seq < lane->seq_first) { lane->seq_first = seq; }
    if (seq > lane->high) { lane->high = seq; }
    buf_append(&lane->row, key_slice(&head));
    buf_append(&lane->row, answer);
    if (lane->id.is_parking || lane->row.len > STORE_LANE_ROW_BYTES) {
        row_write(lanes->txn, lane);
    }
}

enum store_lane_state store_lane_look(struct store_txn *txn, const struct store_lane_id *id,
                                      uint64_t seq, struct slice *answer)
{
    uint64_t low;
    uint64_t high;
    bounds_get(txn, id, &low, &high);
    if (seq < low) { return STORE_LANE_BELOW; }
    if (seq > high) { return STORE_LANE_NEW; }
    return rows_find(txn, id, seq, answer) ? STORE_LANE_KNOWN : STORE_LANE_NEW;
}

/* ---- lives that are over ---- */

/* Of a row of a parking lane, which has one answer. */
static void keep_answer(const struct store_cursor *cursor, struct buf *answers)
{
    enum { PARKING_AT = 1 + 8 + 8 + 2, ANSWER_AT = 8 + 4 };
    if (cursor->key.data[PARKING_AT] == 0 || cursor->value.len < ANSWER_AT) { return; }
    uint32_t len = (uint32_t)(cursor->value.len - ANSWER_AT);
    buf_append(answers, slice_of(cursor->value.data + ANSWER_AT, len));
    buf_append(answers, slice_of(&len, sizeof len));
}

static bool forget_rows(struct store_txn *txn, char tag, uint64_t node_id, uint64_t below,
                        uint64_t *budget, struct buf *answers)
{
    struct store_key_bytes prefix;
    struct store_cursor cursor;
    key_begin(&prefix, tag);
    key_u64(&prefix, node_id);
    cursor_begin(&cursor, txn, key_slice(&prefix));
    bool any = cursor_first(&cursor);
    while (any && *budget > 0 && read_u64(cursor.key.data + 9) < below) {
        if (tag == 'r') { keep_answer(&cursor, answers); }
        cursor_delete(&cursor);
        *budget = answers->len < STORE_LANE_FORGET_BYTES ? *budget - 1 : 0;
        any = cursor_next(&cursor);
    }
    bool is_done = !any || read_u64(cursor.key.data + 9) >= below;
    cursor_end(&cursor);
    return is_done;
}

bool store_lanes_forget(struct store_txn *txn, uint64_t node_id, uint64_t incarnation_below,
                        struct buf *answers)
{
    uint64_t budget = STORE_LANE_FORGET_MAX;
    return forget_rows(txn, 'r', node_id, incarnation_below, &budget, answers) &&
           forget_rows(txn, 'u', node_id, incarnation_below, &budget, answers);
}
