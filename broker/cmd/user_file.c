/* user_file: a file of "user NAME rule ..." lines. */
#include "cmd/user_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "acl/acl.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd/permission.h"

enum { FILE_BYTES_MAX = 64 << 20 };

static void path_of(const struct broker *broker, struct buf *out)
{
    config_text(broker->config, CONFIG_aclfile, out);
    buf_append(out, slice_of("", 1));
}

bool user_file_is_set(const struct broker *broker)
{
    return !config_text_is_empty(broker->config, CONFIG_aclfile);
}

/* ---- load ---- */

static bool read_all(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return false; }
    ssize_t n;
    while ((n = read(fd, buf_reserve(out, 65536), 65536)) > 0 && out->len <= FILE_BYTES_MAX) {
        out->len += (size_t)n;
    }
    int error = n < 0 ? errno : out->len > FILE_BYTES_MAX ? EFBIG : 0;
    CHECK(close(fd) == 0);
    errno = error;
    return error == 0;
}

bool user_file_read(const struct broker *broker, struct buf *text, struct buf *why)
{
    struct buf path = {0};
    path_of(broker, &path);
    bool is_good = read_all(path.data, text);
    if (!is_good) {
        buf_appendf(why, "Error loading ACLs, opening file '%s': %s", path.data, strerror(errno));
    }
    buf_fini(&path);
    return is_good;
}

void user_file_say(const struct broker *broker, struct slice fault, struct buf *why)
{
    config_text(broker->config, CONFIG_aclfile, why);
    buf_append(why, SLICE(": "));
    buf_append(why, fault);
    buf_append(why, SLICE(". WARNING: ACL errors detected, no change to the previously active ACL "
                          "rules was performed"));
}

bool user_file_load(struct broker *broker, struct buf *why)
{
    struct buf text = {0};
    bool is_good = user_file_read(broker, &text, why);
    if (is_good) {
        struct buf fault = {0};
        is_good = acl_replace(broker->acl, buf_slice(&text), &fault);
        if (!is_good) { user_file_say(broker, buf_slice(&fault), why); }
        buf_fini(&fault);
    }
    buf_fini(&text);
    return is_good;
}

/* ---- save ---- */

static bool write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) { return false; }
        text = slice_of(text.data + n, text.len - (size_t)n);
    }
    return fsync(fd) == 0;
}

/* Readable by the owner only: hashes can be guessed at. */
static bool write_file(const char *path, struct slice text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) { return false; }
    bool is_good = write_all(fd, text);
    int error = errno;
    is_good = close(fd) == 0 && is_good;
    if (!is_good) { errno = error; }
    return is_good;
}

bool user_file_save(struct broker *broker, struct buf *why)
{
    struct buf path = {0};
    struct buf temporary = {0};
    struct buf text = {0};
    path_of(broker, &path);
    buf_appendf(&temporary, "%s.%d.tmp", path.data, (int)getpid());
    buf_append(&temporary, slice_of("", 1));
    struct acl_users *users = acl_users_now(broker->acl);
    acl_users_print(users, &text);
    acl_users_unref(users);
    bool is_good =
        write_file(temporary.data, buf_slice(&text)) && rename(temporary.data, path.data) == 0;
    if (!is_good) {
        LOG_ERROR("cannot write the ACL file", LOG_STR("file", path.data),
                  LOG_STR("why", strerror(errno)));
        buf_append(why, SLICE("There was an error trying to save the ACLs. Please check the server "
                              "logs for more information"));
        (void)unlink(temporary.data);
    }
    buf_fini(&text);
    buf_fini(&temporary);
    buf_fini(&path);
    return is_good;
}

/* ---- life ---- */

void user_file_refresh(struct broker *broker)
{
    acl_log_limit(acl_log(broker->acl),
                  (uint32_t)config_number(broker->config, CONFIG_acllog_max_len));
    acl_set_hear_all(broker->acl, config_number(broker->config, CONFIG_acl_pubsub_default) != 0);
    struct buf password = {0};
    config_text(broker->config, CONFIG_requirepass, &password);
    acl_set_standard_password(broker->acl, buf_slice(&password));
    buf_fini(&password);
}

void user_file_to_config(struct broker *broker)
{
    if (user_file_is_set(broker)) { return; }
    struct buf lines = {0};
    acl_print_lines(broker->acl, &lines);
    config_set_users(broker->config, buf_slice(&lines));
    buf_fini(&lines);
}

static bool load_lines(struct broker *broker, struct slice lines, struct buf *why)
{
    struct buf fault = {0};
    bool is_good = acl_replace(broker->acl, lines, &fault);
    if (!is_good) {
        buf_append_str(why, "of the configuration's users, ");
        buf_append(why, buf_slice(&fault));
    }
    buf_fini(&fault);
    return is_good;
}

static bool load_users(struct broker *broker, struct buf *why)
{
    struct buf lines = {0};
    config_text(broker->config, CONFIG_user, &lines);
    bool has_file = user_file_is_set(broker);
    bool is_good = true;
    if (has_file && lines.len > 0) {
        buf_append_str(why, "Configuring Redis with users defined in redis.conf and at the same "
                            "setting an ACL file path is invalid. This setup is very likely to "
                            "lead to configuration errors and security holes, please define either "
                            "an ACL file or declare users directly in your redis.conf, but not "
                            "both.");
        is_good = false;
    } else if (has_file) {
        is_good = user_file_load(broker, why);
    } else if (lines.len > 0) {
        is_good = load_lines(broker, buf_slice(&lines), why);
    }
    buf_fini(&lines);
    return is_good;
}

enum err user_file_begin(struct broker *broker)
{
    bool hear_all = config_number(broker->config, CONFIG_acl_pubsub_default);
    broker->acl_catalogue = permission_catalogue();
    broker->acl = acl_new(broker->acl_catalogue, hear_all);
    user_file_refresh(broker);
    struct buf why = {0};
    bool is_good = load_users(broker, &why);
    if (!is_good) { LOG_ERROR("the users cannot be read", LOG_SLICE("why", buf_slice(&why))); }
    buf_fini(&why);
    return is_good ? ERR_OK : ERR_INVALID;
}

void user_file_end(struct broker *broker)
{
    acl_free(broker->acl);
    broker->acl = NULL;
    mem_free(broker->acl_catalogue);
    broker->acl_catalogue = NULL;
}
