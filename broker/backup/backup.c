/* backup: `fanfare backup`: one partition after the other, each from whoever leads it. */
#include "backup/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/backup_file.h"
#include "backup/backup_options.h"
#include "backup/backup_signals.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "import/import_progress.h"
#include "import/import_target.h"

enum {
    READ_BYTES = 1 << 20,
    SILENCE_S = 60,    /* an answer does not come: the connection is lost */
    ATTEMPTS_S = 60,   /* so long a partition is begun anew and anew without a byte of it */
    ATTEMPTS_MAX = 10, /* of a partition of which some of the bytes came */
    AGAIN_MS = 500,
    PATH_BYTES = 4096,
    ID_BYTES = 64,
};

struct backup {
    struct backup_options options;
    struct import_target source;
    struct import_idle idle;
    struct import_progress progress;
    struct backup_directory directory;
    struct backup_out out;
    struct buf ask;
    struct buf replies;
    char part[PATH_BYTES]; /* the file, while it is not whole */
    int stop_fd;
    bool is_stopped;
    bool is_out_bad; /* it cannot be written to: errno */
    uint64_t asked_ns;
    uint64_t began_ns;
};

static int complain(const char *what, const char *why, int exit)
{
    fprintf(stderr, "fanfare backup: %s%s%s\n", what, *why != 0 ? ": " : "", why);
    return exit;
}

/* While an answer is waited for. */
static bool on_idle(void *arg, bool is_readable)
{
    struct backup *backup = arg;
    (void)is_readable;
    progress_transfer(&backup->progress, backup->out.at);
    if (backup->stop_fd >= 0 && backup_signals_have_come(backup->stop_fd)) {
        backup->is_stopped = true;
    }
    return !backup->is_stopped && clock_mono_ns() - backup->asked_ns < SILENCE_S * NS_PER_S;
}

/* ---- questions ---- */

/* Gives: the reply, good until the next question. False: an error, or none: source.why. */
static bool ask(struct backup *backup, const struct slice *word, uint32_t count,
                struct slice *reply)
{
    struct slice error;
    struct import_target *source = &backup->source;
    backup->ask.len = backup->replies.len = 0;
    backup->asked_ns = clock_mono_ns();
    if (source->state != TARGET_GOOD && !target_connect(source)) { return false; }
    import_command_words(&backup->ask, word, count);
    if (target_ask(source, buf_slice(&backup->ask), 1, &backup->replies) != TARGET_GOOD) {
        return false;
    }
    *reply = buf_slice(&backup->replies);
    if (!import_reply_error(*reply, &error)) { return true; }
    source->why.len = 0;
    buf_append(&source->why, error);
    buf_append(&source->why, slice_of("", 1));
    return false;
}

/* The next element of an array; *rest: what follows. False: there is none of that kind. */
static bool element(struct slice *rest, char kind, struct import_reply *out)
{
    size_t bytes = import_reply_bytes(*rest);
    if (bytes == 0 || bytes == SIZE_MAX || *rest->data != kind) { return false; }
    *out = import_reply_read(slice_of(rest->data, bytes));
    *rest = slice_of(rest->data + bytes, rest->len - bytes);
    return true;
}

/* Of an array of so many. Gives: where its elements begin. */
static bool elements(struct slice reply, int64_t count, struct slice *rest)
{
    const char *end = memchr(reply.data, '\n', reply.len);
    if (*reply.data != '*' || end == NULL || import_reply_read(reply).number != count) {
        return false;
    }
    *rest = slice_of(end + 1, reply.len - (size_t)(end + 1 - reply.data));
    return true;
}

static void text_copy(char out[BACKUP_TEXT_BYTES_MAX + 1], struct slice text)
{
    size_t len = text.len < BACKUP_TEXT_BYTES_MAX ? text.len : BACKUP_TEXT_BYTES_MAX;
    memcpy(out, text.data, len);
    out[len] = 0;
}

static void databases_read(struct backup_directory *directory, struct slice text)
{
    uint32_t db = 0;
    for (size_t i = 0; i <= text.len && text.len > 0; i++) {
        bool is_digit = i < text.len && text.data[i] >= '0' && text.data[i] <= '9';
        if (is_digit) {
            db = db * 10 + (uint32_t)(text.data[i] - '0');
        } else {
            directory->sharded |= db < 64 ? 1ULL << db : 0;
            db = 0;
        }
    }
}

/* How is the data divided there? */
static bool ask_layout(struct backup *backup)
{
    const struct slice word[] = {SLICE("BACKUP"), SLICE("LAYOUT")};
    struct slice reply;
    struct slice rest;
    struct import_reply name;
    struct import_reply value[4];
    if (!ask(backup, word, COUNT_OF(word), &reply)) { return false; }
    bool is_good = elements(reply, 8, &rest);
    for (size_t i = 0; i < COUNT_OF(value); i++) {
        is_good =
            is_good && element(&rest, '$', &name) && element(&rest, i == 0 ? ':' : '$', &value[i]);
    }
    if (!is_good || value[0].number <= 0 || value[0].number > BACKUP_PARTITIONS_MAX) {
        return false;
    }
    backup_directory_init(&backup->directory, (uint32_t)value[0].number);
    databases_read(&backup->directory, value[1].text);
    text_copy(backup->directory.node, value[2].text);
    text_copy(backup->directory.version, value[3].text);
    backup->directory.begun_ms = clock_wall_us() / 1000;
    return true;
}

/* ---- a partition ---- */

enum step { STEP_MORE, STEP_END, STEP_LOST };

static bool begin(struct backup *backup, struct backup_section *section, char id[ID_BYTES])
{
    char number[12];
    struct slice reply;
    struct slice rest;
    struct import_reply value[4];
    snprintf(number, sizeof number, "%u", section->partition);
    const struct slice word[] = {SLICE("BACKUP"), SLICE("BEGIN"), slice_of_str(number)};
    if (!ask(backup, word, COUNT_OF(word), &reply)) { return false; }
    bool is_good =
        elements(reply, 4, &rest) && element(&rest, '$', &value[0]) && value[0].text.len < ID_BYTES;
    for (size_t i = 1; i < COUNT_OF(value); i++) {
        is_good = is_good && element(&rest, ':', &value[i]);
    }
    if (!is_good) { return false; }
    memcpy(id, value[0].text.data, value[0].text.len);
    id[value[0].text.len] = 0;
    section->index = (uint64_t)value[1].number;
    section->clock_ms = (uint64_t)value[2].number;
    section->keys = (uint64_t)value[3].number;
    section->at = backup->out.at;
    section->bytes = 0;
    return true;
}

/* Not faster than was asked for. */
static void slow_down(struct backup *backup)
{
    uint64_t rate = backup->options.bytes_per_s;
    if (rate == 0) { return; }
    double due_ns = (double)backup->out.at / (double)rate * (double)NS_PER_S;
    double now_ns = (double)(clock_mono_ns() - backup->began_ns);
    struct pollfd wait = {.fd = backup->stop_fd, .events = POLLIN};
    if (due_ns > now_ns) { (void)poll(&wait, 1, (int)((due_ns - now_ns) / (double)NS_PER_MS)); }
}

static enum step read_some(struct backup *backup, struct backup_section *section, const char *id)
{
    char number[12];
    char at[24];
    char bytes[12];
    struct slice reply;
    struct slice rest;
    struct import_reply is_end;
    struct import_reply crc;
    struct import_reply part;
    snprintf(number, sizeof number, "%u", section->partition);
    snprintf(at, sizeof at, "%lu", section->bytes);
    snprintf(bytes, sizeof bytes, "%d", READ_BYTES);
    const struct slice word[] = {SLICE("BACKUP"),  SLICE("READ"),    slice_of_str(number),
                                 slice_of_str(id), slice_of_str(at), slice_of_str(bytes)};
    if (!ask(backup, word, COUNT_OF(word), &reply)) { return STEP_LOST; }
    bool is_good = elements(reply, 3, &rest) && element(&rest, ':', &is_end) &&
                   element(&rest, ':', &crc) && element(&rest, '$', &part) &&
                   crc32c(0, part.text.data, part.text.len) == (uint32_t)crc.number;
    if (!is_good) {
        backup->source.state = TARGET_LOST; /* what comes on this connection is not to be trusted */
        return STEP_LOST;
    }
    if (!backup_out_write(&backup->out, part.text)) {
        backup->is_out_bad = true;
        return STEP_LOST;
    }
    section->bytes += part.text.len;
    slow_down(backup);
    return is_end.number != 0 ? STEP_END : STEP_MORE;
}

static void end(struct backup *backup, const struct backup_section *section, const char *id)
{
    char number[12];
    struct slice ignored;
    snprintf(number, sizeof number, "%u", section->partition);
    const struct slice word[] = {SLICE("BACKUP"), SLICE("END"), slice_of_str(number),
                                 slice_of_str(id)};
    bool is_told = ask(backup, word, COUNT_OF(word), &ignored);
    (void)is_told; /* else it ends there by itself, since nobody reads it */
}

/* One attempt. */
static bool take(struct backup *backup, struct backup_section *section)
{
    char id[ID_BYTES];
    enum step step = STEP_MORE;
    if (!begin(backup, section, id)) { return false; }
    while (step == STEP_MORE && !backup->is_stopped) {
        step = read_some(backup, section, id);
    }
    if (step == STEP_END || backup->is_stopped || backup->is_out_bad) { end(backup, section, id); }
    return step == STEP_END;
}

/* Whole, from one leader at one index: if that goes in the middle, from the beginning, from the next one. */
static bool take_partition(struct backup *backup, uint32_t partition)
{
    struct backup_section *section = &backup->directory.section[partition];
    uint64_t tried_ns = clock_mono_ns();
    uint32_t attempts = 0;
    *section = (struct backup_section){.partition = partition};
    while (!take(backup, section)) {
        struct pollfd wait = {.fd = backup->stop_fd, .events = POLLIN};
        if (backup->is_stopped || backup->is_out_bad) { return false; }
        if (section->bytes > 0) {
            if (++attempts == ATTEMPTS_MAX) { return false; }
            tried_ns = clock_mono_ns();
            fprintf(stderr, "fanfare backup: partition %u is begun anew: %s\n", partition,
                    backup->source.why.data);
        }
        if (clock_mono_ns() - tried_ns > ATTEMPTS_S * NS_PER_S) { return false; }
        (void)poll(&wait, 1, AGAIN_MS);
        (void)on_idle(backup, false);
    }
    return true;
}

/* ---- users ---- */

/* Ask again while no node answers. False: none does. */
static bool ask_users(struct backup *backup, struct slice *reply)
{
    const struct slice word[] = {SLICE("ACL"), SLICE("LIST")};
    uint64_t tried_ns = clock_mono_ns();
    while (!ask(backup, word, COUNT_OF(word), reply)) {
        if (backup->source.state == TARGET_GOOD) { /* it refuses: they are not in the backup */
            fprintf(stderr, "fanfare backup: without users: %s\n", backup->source.why.data);
            *reply = SLICE("*0\r\n");
            return true;
        }
        if (backup->is_stopped || clock_mono_ns() - tried_ns > ATTEMPTS_S * NS_PER_S) {
            return false;
        }
    }
    return true;
}

/* As they are written to an ACL file. */
static bool take_users(struct backup *backup)
{
    struct backup_directory *directory = &backup->directory;
    struct slice reply;
    struct slice rest;
    struct import_reply line;
    directory->users_at = backup->out.at;
    if (!ask_users(backup, &reply) || !elements(reply, import_reply_read(reply).number, &rest)) {
        return false;
    }
    while (rest.len > 0 && element(&rest, '$', &line)) {
        backup->is_out_bad = !backup_out_write(&backup->out, line.text) ||
                             !backup_out_write(&backup->out, SLICE("\n"));
        if (backup->is_out_bad) { return false; }
    }
    directory->users_bytes = backup->out.at - directory->users_at;
    return true;
}

/* ---- all of it ---- */

static int open_out(struct backup *backup)
{
    if (backup->options.file == NULL) {
        return isatty(STDOUT_FILENO) == 1 ? -1 : dup(STDOUT_FILENO);
    }
    if (snprintf(backup->part, sizeof backup->part, "%s.part", backup->options.file) >=
        (int)sizeof backup->part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(backup->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* It is on the disk before it has its name. A pipe has no disk. */
static bool finish_out(struct backup *backup)
{
    if (!backup_out_end(&backup->out, &backup->directory)) { return false; }
    if (fsync(backup->out.fd) != 0 && errno != EINVAL && errno != EROFS) { return false; }
    return backup->options.file == NULL || rename(backup->part, backup->options.file) == 0;
}

static int failed(struct backup *backup)
{
    int error = errno;
    if (backup->is_stopped) { return complain("stopped: this is no backup", "", BACKUP_FAILED); }
    if (backup->is_out_bad) {
        return complain("the backup cannot be written", strerror(error), BACKUP_FAILED);
    }
    return complain("the cluster", backup->source.why.len > 0 ? backup->source.why.data : "",
                    BACKUP_FAILED);
}

static int run(struct backup *backup)
{
    uint64_t keys = 0;
    if (!target_connect(&backup->source) || !ask_layout(backup)) { return failed(backup); }
    backup->is_out_bad = !backup_out_begin(&backup->out, backup->out.fd);
    for (uint32_t i = 0; i < backup->directory.partition_count; i++) {
        if (backup->is_out_bad || !take_partition(backup, i)) { return failed(backup); }
        keys += backup->directory.section[i].keys;
    }
    if (!take_users(backup)) { return failed(backup); }
    backup->is_out_bad = !finish_out(backup);
    if (backup->is_out_bad) { return failed(backup); }
    progress_end(&backup->progress);
    double seconds = (double)(clock_mono_ns() - backup->began_ns) / (double)NS_PER_S;
    double megabytes = (double)backup->out.at / 1e6;
    fprintf(stderr, "%u partitions, %lu keys, %.1f MB in %.1f s, %.1f MB/s\n",
            backup->directory.partition_count, keys, megabytes, seconds, megabytes / seconds);
    return BACKUP_DONE;
}

int backup_main(int argc, char **argv)
{
    struct backup backup = {.stop_fd = -1};
    if (!backup_options_read(&backup.options, argc, argv)) { return BACKUP_USAGE; }
    (void)signal(SIGPIPE, SIG_IGN);
    backup.out.fd = open_out(&backup);
    if (backup.out.fd < 0) {
        bool is_terminal = backup.options.file == NULL;
        return complain(is_terminal ? "a terminal is no place for it (--to FILE, or > FILE)"
                                    : backup.options.file,
                        is_terminal ? "" : strerror(errno), BACKUP_FAILED);
    }
    /* Who waits for a pipe to be read just ends; a file that is not whole is removed first. */
    if (backup.options.file != NULL) { backup.stop_fd = backup_signals_take(); }
    backup.idle = (struct import_idle){.fd = -1, .run = on_idle, .arg = &backup};
    backup.asked_ns = backup.began_ns = clock_mono_ns();
    target_init(&backup.source, &backup.options.server, &backup.idle);
    progress_begin(&backup.progress);
    int exit = run(&backup);
    if (exit != BACKUP_DONE && backup.part[0] != 0) { (void)unlink(backup.part); }
    close(backup.out.fd);
    if (backup.stop_fd >= 0) { close(backup.stop_fd); }
    target_fini(&backup.source);
    backup_out_fini(&backup.out);
    backup_directory_fini(&backup.directory);
    buf_fini(&backup.ask);
    buf_fini(&backup.replies);
    return exit;
}
