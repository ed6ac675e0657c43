/* backup_file: see the header. */
#include "backup/backup_file.h"

#include <endian.h>
#include <errno.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "rdb/rdb_write.h"

enum { MAGIC_BYTES = 8, TAIL_BYTES = 32, CRC_BYTES = 4 };

static const char begin_magic[MAGIC_BYTES + 1] = "FFBACK1\n";
static const char end_magic[MAGIC_BYTES + 1] = "FFBKEND1";

void backup_directory_init(struct backup_directory *directory, uint32_t partition_count)
{
    *directory = (struct backup_directory){.partition_count = partition_count};
    directory->section = mem_new0(partition_count * sizeof *directory->section);
}

void backup_directory_fini(struct backup_directory *directory)
{
    mem_free(directory->section);
    directory->section = NULL;
}

/* ---- written ---- */

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR) { continue; }
        if (n <= 0) { return false; }
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return true;
}

static void block_end(struct backup_out *out)
{
    uint32_t crc = htole32(out->crc);
    buf_append(&out->crcs, slice_of(&crc, sizeof crc));
    out->crc = 0;
}

bool backup_out_write(struct backup_out *out, struct slice bytes)
{
    if (!write_all(out->fd, bytes)) { return false; }
    while (bytes.len > 0) {
        size_t left = BACKUP_BLOCK_BYTES - out->at % BACKUP_BLOCK_BYTES;
        size_t part = bytes.len < left ? bytes.len : left;
        out->crc = crc32c(out->crc, bytes.data, part);
        out->at += part;
        if (part == left) { block_end(out); }
        bytes = slice_of(bytes.data + part, bytes.len - part);
    }
    return true;
}

bool backup_out_begin(struct backup_out *out, int fd)
{
    *out = (struct backup_out){.fd = fd};
    return backup_out_write(out, slice_of_str(begin_magic));
}

static void put_text(struct buf *to, const char *text)
{
    rdb_put_u64(to, strlen(text));
    buf_append_str(to, text);
}

bool backup_out_end(struct backup_out *out, const struct backup_directory *directory)
{
    struct buf bytes = {0};
    if (out->at % BACKUP_BLOCK_BYTES != 0) { block_end(out); }
    const uint64_t head[] = {BACKUP_FORMAT, directory->begun_ms, directory->partition_count,
                             directory->sharded, directory->partition_count};
    for (size_t i = 0; i < COUNT_OF(head); i++) {
        rdb_put_u64(&bytes, head[i]);
    }
    for (uint32_t i = 0; i < directory->partition_count; i++) {
        const struct backup_section *section = &directory->section[i];
        const uint64_t word[] = {section->partition, section->index, section->clock_ms,
                                 section->at,        section->bytes, section->keys};
        for (size_t j = 0; j < COUNT_OF(word); j++) {
            rdb_put_u64(&bytes, word[j]);
        }
    }
    rdb_put_u64(&bytes, directory->users_at);
    rdb_put_u64(&bytes, directory->users_bytes);
    rdb_put_u64(&bytes, out->crcs.len / CRC_BYTES);
    buf_append(&bytes, buf_slice(&out->crcs));
    put_text(&bytes, directory->node);
    put_text(&bytes, directory->version);
    size_t directory_bytes = bytes.len;
    rdb_put_u64(&bytes, out->at);
    rdb_put_u64(&bytes, directory_bytes);
    rdb_put_u64(&bytes, crc32c(0, bytes.data, bytes.len));
    buf_append_str(&bytes, end_magic);
    bool is_written = write_all(out->fd, buf_slice(&bytes));
    buf_fini(&bytes);
    return is_written;
}

void backup_out_fini(struct backup_out *out)
{
    buf_fini(&out->crcs);
}

/* ---- read ---- */

struct look {
    struct rdb_in in; /* of the directory */
    struct slice file;
    uint64_t directory_at;
    const char *why;
    uint64_t at;
};

static bool bad(struct look *look, const char *why, uint64_t at)
{
    look->why = why;
    look->at = at;
    return false;
}

/* Where is the directory? */
static bool look_tail(struct look *look)
{
    struct slice file = look->file;
    if (file.len < MAGIC_BYTES + TAIL_BYTES || memcmp(file.data, begin_magic, MAGIC_BYTES) != 0) {
        return bad(look, "this is no backup of fanfare", 0);
    }
    const char *tail = file.data + file.len - TAIL_BYTES;
    struct rdb_in in = rdb_in_of(slice_of(tail, TAIL_BYTES));
    uint64_t bytes;
    uint64_t crc;
    bool is_taken = rdb_take_u64(&in, &look->directory_at) && rdb_take_u64(&in, &bytes) &&
                    rdb_take_u64(&in, &crc);
    CHECK(is_taken);
    if (memcmp(in.at, end_magic, MAGIC_BYTES) != 0) {
        return bad(look, "its end is missing: it was not finished, or was cut", file.len);
    }
    uint64_t before_tail = file.len - TAIL_BYTES;
    if (look->directory_at < MAGIC_BYTES || look->directory_at > before_tail ||
        bytes != before_tail - look->directory_at ||
        crc32c(0, file.data + look->directory_at, bytes + 16) != crc) {
        return bad(look, "its directory is damaged", before_tail);
    }
    look->in = rdb_in_of(slice_of(file.data + look->directory_at, bytes));
    return true;
}

/* Do they lie between the beginning and the directory? */
static bool is_within(const struct look *look, uint64_t at, uint64_t bytes)
{
    return at >= MAGIC_BYTES && at <= look->directory_at && bytes <= look->directory_at - at;
}

static bool take_section(struct look *look, struct backup_directory *directory)
{
    uint64_t word[6];
    for (size_t i = 0; i < COUNT_OF(word); i++) {
        if (!rdb_take_u64(&look->in, &word[i])) { return false; }
    }
    uint64_t partition = word[0];
    if (partition >= directory->partition_count || directory->section[partition].bytes != 0 ||
        word[4] == 0 || !is_within(look, word[3], word[4])) {
        return false;
    }
    directory->section[partition] =
        (struct backup_section){(uint32_t)partition, word[1], word[2], word[3], word[4], word[5]};
    return true;
}

static bool take_users(struct look *look, struct backup_directory *directory)
{
    return rdb_take_u64(&look->in, &directory->users_at) &&
           rdb_take_u64(&look->in, &directory->users_bytes) &&
           (directory->users_bytes == 0 ||
            is_within(look, directory->users_at, directory->users_bytes));
}

static bool take_text(struct look *look, char out[BACKUP_TEXT_BYTES_MAX + 1])
{
    uint64_t len;
    struct slice text;
    if (!rdb_take_u64(&look->in, &len) || len > BACKUP_TEXT_BYTES_MAX ||
        !rdb_take(&look->in, len, &text) || memchr(text.data, 0, text.len) != NULL) {
        return false;
    }
    memcpy(out, text.data, text.len);
    out[text.len] = 0;
    return true;
}

/* Gives: the blocks' checksums, where they stand. */
static bool take_blocks(struct look *look, struct slice *crcs)
{
    uint64_t count;
    uint64_t needed = (look->directory_at + BACKUP_BLOCK_BYTES - 1) / BACKUP_BLOCK_BYTES;
    return rdb_take_u64(&look->in, &count) && count == needed &&
           rdb_take(&look->in, count * CRC_BYTES, crcs);
}

static bool look_directory(struct look *look, struct backup_directory *directory,
                           struct slice *crcs)
{
    uint64_t head[5];
    bool is_good = true;
    for (size_t i = 0; i < COUNT_OF(head); i++) {
        is_good = is_good && rdb_take_u64(&look->in, &head[i]);
    }
    if (is_good && head[0] != BACKUP_FORMAT) {
        return bad(look, "it is of a format that this version does not read", look->directory_at);
    }
    is_good = is_good && head[2] > 0 && head[2] <= BACKUP_PARTITIONS_MAX && head[4] == head[2];
    if (is_good) { backup_directory_init(directory, (uint32_t)head[2]); }
    directory->begun_ms = head[1];
    directory->sharded = head[3];
    for (uint64_t i = 0; is_good && i < head[4]; i++) {
        is_good = take_section(look, directory);
    }
    is_good = is_good && take_users(look, directory) && take_blocks(look, crcs) &&
              take_text(look, directory->node) && take_text(look, directory->version) &&
              rdb_left(&look->in) == 0;
    return is_good || bad(look, "its directory makes no sense", look->directory_at);
}

static bool look_blocks(struct look *look, struct slice crcs)
{
    for (size_t i = 0; i < crcs.len / CRC_BYTES; i++) {
        uint32_t crc;
        uint64_t at = (uint64_t)i * BACKUP_BLOCK_BYTES;
        uint64_t left = look->directory_at - at;
        memcpy(&crc, crcs.data + i * CRC_BYTES, sizeof crc);
        size_t bytes = left < BACKUP_BLOCK_BYTES ? left : BACKUP_BLOCK_BYTES;
        if (crc32c(0, look->file.data + at, bytes) != le32toh(crc)) {
            return bad(look, "it is damaged in the 1 MiB from here on", at);
        }
    }
    return true;
}

bool backup_file_read(struct backup_directory *directory, struct slice file, const char **why,
                      uint64_t *at)
{
    struct look look = {.file = file};
    struct slice crcs = {0};
    *directory = (struct backup_directory){.section = NULL};
    bool is_good =
        look_tail(&look) && look_directory(&look, directory, &crcs) && look_blocks(&look, crcs);
    if (!is_good) { backup_directory_fini(directory); }
    *why = look.why;
    *at = look.at;
    return is_good;
}
