/* Tests of the form of a backup's file: whatever is done to it, it is refused. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backup/backup_file.h"

enum { PARTITIONS = 3, SECTION_BYTES = 700000 };

static char path[64];

/* Three partitions, the second of them begun twice. */
static struct buf make(void)
{
    struct backup_directory directory;
    struct backup_out out;
    struct buf bytes = {0};
    struct buf section = {0};
    snprintf(path, sizeof path, "/tmp/test_backup.XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert(backup_out_begin(&out, fd));
    backup_directory_init(&directory, PARTITIONS);
    directory.begun_ms = 1700000000000;
    directory.sharded = 5;
    snprintf(directory.node, sizeof directory.node, "node-a");
    snprintf(directory.version, sizeof directory.version, "1.2.3");
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        section.len = 0;
        for (uint32_t at = 0; at < SECTION_BYTES + i; at++) {
            char c = (char)(at * 31 + i);
            buf_append(&section, slice_of(&c, 1));
        }
        if (i == 1) { cr_assert(backup_out_write(&out, slice_of(section.data, 1234))); }
        directory.section[i] = (struct backup_section){i, 10 + i, 20, out.at, section.len, 30};
        cr_assert(backup_out_write(&out, buf_slice(&section)));
    }
    directory.users_at = out.at;
    directory.users_bytes = 5;
    cr_assert(backup_out_write(&out, SLICE("user\n")));
    cr_assert(backup_out_end(&out, &directory));
    size_t whole = (size_t)lseek(fd, 0, SEEK_END);
    cr_assert_eq(pread(fd, buf_reserve(&bytes, whole + 1), whole, 0), (ssize_t)whole);
    bytes.len = whole;
    close(fd);
    unlink(path);
    backup_out_fini(&out);
    backup_directory_fini(&directory);
    buf_fini(&section);
    return bytes;
}

static bool is_refused(struct slice bytes)
{
    struct backup_directory directory;
    const char *why = NULL;
    uint64_t at = UINT64_MAX;
    if (backup_file_read(&directory, bytes, &why, &at)) {
        backup_directory_fini(&directory);
        return false;
    }
    cr_assert_not_null(why);
    cr_assert_leq(at, bytes.len);
    return true;
}

Test(backup_file, what_is_written_is_read)
{
    struct buf bytes = make();
    struct backup_directory directory;
    const char *why;
    uint64_t at;
    cr_assert(backup_file_read(&directory, buf_slice(&bytes), &why, &at));
    cr_assert_eq(directory.partition_count, PARTITIONS);
    cr_assert_eq(directory.begun_ms, 1700000000000);
    cr_assert_eq(directory.sharded, 5);
    cr_assert(slice_equal(slice_of(bytes.data + directory.users_at, directory.users_bytes),
                          SLICE("user\n")));
    cr_assert_str_eq(directory.node, "node-a");
    cr_assert_str_eq(directory.version, "1.2.3");
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        const struct backup_section *section = &directory.section[i];
        cr_assert_eq(section->partition, i);
        cr_assert_eq(section->index, 10 + i);
        cr_assert_eq(section->bytes, SECTION_BYTES + i);
        cr_assert_eq(bytes.data[section->at + 1], (char)(31 + i));
    }
    backup_directory_fini(&directory);
    buf_fini(&bytes);
}

/* Each bit of what is not the sections' own bytes, and of those some. */
Test(backup_file, one_bit_that_is_another_is_enough_to_refuse_it)
{
    struct buf bytes = make();
    size_t sections = 8 + 1234 + PARTITIONS * SECTION_BYTES + 3;
    for (size_t at = 0; at < bytes.len; at += at < 16 || at >= sections ? 1 : 70001) {
        for (int bit = 0; bit < 8; bit += at < sections ? 7 : 1) {
            bytes.data[at] = (char)(bytes.data[at] ^ 1 << bit);
            cr_assert(is_refused(buf_slice(&bytes)), "byte %zu, bit %d", at, bit);
            bytes.data[at] = (char)(bytes.data[at] ^ 1 << bit);
        }
    }
    cr_assert_not(is_refused(buf_slice(&bytes)));
    buf_fini(&bytes);
}

Test(backup_file, one_that_was_cut_or_goes_on_is_refused)
{
    struct buf bytes = make();
    for (size_t len = 0; len < bytes.len; len += len < 64 || len + 600 > bytes.len ? 1 : 50021) {
        cr_assert(is_refused(slice_of(bytes.data, len)), "%zu bytes", len);
    }
    buf_append_str(&bytes, "x");
    cr_assert(is_refused(buf_slice(&bytes)));
    buf_fini(&bytes);
}

/* Parts that are whole each, but belong to two files. */
Test(backup_file, the_end_of_another_one_is_refused)
{
    struct buf bytes = make();
    size_t len = bytes.len;
    struct buf both = {0};
    buf_append(&both, buf_slice(&bytes));
    buf_append(&both, buf_slice(&bytes));
    cr_assert(is_refused(buf_slice(&both)));
    buf_consume(&both, 1 << 20);
    cr_assert(is_refused(buf_slice(&both)));
    cr_assert_eq(bytes.len, len);
    buf_fini(&both);
    buf_fini(&bytes);
}
