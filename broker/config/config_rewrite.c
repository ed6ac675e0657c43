/* config_rewrite: CONFIG REWRITE: edits the config file line by line and replaces it in one step,
 * so that a crash leaves the old file or the new one. Only what CONFIG SET changed is touched. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config_state_int.h"

static void append_setting(const struct settings *settings, enum config_option option,
                           const char *name, struct buf *out)
{
    line_print(name, &option_rows[option], &settings->value[option], out);
    buf_append_str(out, "\n");
}

/* The new text: each line that sets a changed option is replaced, the first time, and dropped,
 * after that; changed options without a line come at the end. */
static void rewrite_text(const struct settings *settings, struct slice text, struct buf *out)
{
    bool is_written[CONFIG_COUNT] = {false};
    struct buf name = {0}, value = {0};
    struct slice line;
    while (text_next_line(&text, &line)) {
        enum config_option option = line_split(line, &name, &value) == LINE_SETTING
                                        ? option_find(buf_slice(&name))
                                        : CONFIG_COUNT;
        if (option == CONFIG_COUNT || settings->source[option] != SOURCE_RUN_TIME) {
            buf_append(out, line);
            buf_append_str(out, "\n");
        } else if (!is_written[option]) {
            is_written[option] = true;
            append_setting(settings, option, option_rows[option].name, out);
        }
    }
    bool is_first = true;
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        if (settings->source[i] == SOURCE_RUN_TIME && !is_written[i]) {
            buf_append_str(out, is_first ? "\n# Set while running, by CONFIG REWRITE\n" : "");
            is_first = false;
            append_setting(settings, (enum config_option)i, option_rows[i].name, out);
        }
    }
    buf_fini(&value);
    buf_fini(&name);
}

static bool write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno != EINTR) { return false; }
        if (n > 0) { text = slice_of(text.data + n, text.len - (size_t)n); }
    }
    return true;
}

static bool sync_folder(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) { return false; }
    bool is_synced = fsync(fd) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return is_synced;
}

/* Replace the file by `text`, with the owner and the permissions it has. False: errno. */
static bool file_replace(const char *path, struct slice text)
{
    char temporary[PATH_MAX];
    struct stat st;
    if (stat(path, &st) != 0) { return false; }
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) { return false; }
    bool is_good = (fchown(fd, st.st_uid, st.st_gid) == 0 || errno == EPERM) &&
                   fchmod(fd, st.st_mode & 07777) == 0 && write_all(fd, text) && fsync(fd) == 0 &&
                   rename(temporary, path) == 0;
    int error = errno;
    close(fd);
    if (!is_good) { unlink(temporary); }
    errno = error;
    return is_good && sync_folder(path);
}

enum err config_rewrite(struct config *config)
{
    if (config->line.file == NULL) { return ERR_INVALID; }
    char path[PATH_MAX]; /* a link stays a link: what it points to is replaced */
    if (realpath(config->line.file, path) == NULL) { return ERR_SYSTEM; }
    struct buf old = {0}, text = {0};
    pthread_mutex_lock(&config->lock);
    bool is_good = file_read(path, &old);
    if (is_good) {
        rewrite_text(&config->settings, buf_slice(&old), &text);
        is_good = file_replace(path, buf_slice(&text));
    }
    int error = errno;
    for (unsigned i = 0; is_good && i < CONFIG_COUNT; i++) {
        if (config->settings.source[i] == SOURCE_RUN_TIME) {
            config->settings.source[i] = SOURCE_FILE;
        }
    }
    pthread_mutex_unlock(&config->lock);
    buf_fini(&text);
    buf_fini(&old);
    errno = error;
    return is_good ? ERR_OK : ERR_SYSTEM;
}
