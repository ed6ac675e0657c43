/* server_pages: Basic credentials (RFC 7617) to a user, and the one question about him: may he run INFO? */
#include "server_pages.h"

#include <string.h>

#include "acl/acl.h"
#include "base/address.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "cmd/login.h"
#include "cmd/permission.h"
#include "cmd/service.h"

/* "Basic base64(name:password)". False: it is something else. Slices of *out. */
static bool read_credentials(const char *header, struct buf *out, struct slice *name,
                             struct slice *password)
{
    static const char scheme[] = "Basic ";
    enum { SCHEME_LEN = sizeof scheme - 1 };
    if (header == NULL || strncasecmp(header, scheme, SCHEME_LEN) != 0 ||
        !base64_decode(slice_of_str(header + SCHEME_LEN), out) || out->len == 0) {
        return false;
    }
    const char *colon = memchr(out->data, ':', out->len);
    if (colon == NULL) { return false; }
    size_t len = (size_t)(colon - out->data);
    *name = slice_of(out->data, len);
    *password = slice_of(colon + 1, out->len - len - 1);
    return true;
}

static enum admin_verdict refuse(struct broker *broker, const unsigned char *key, struct slice name)
{
    const struct acl_log_entry entry = {
        .reason = ACL_NO_AUTH,
        .context = "toplevel",
        .object = SLICE("HTTP"),
        .user = name,
        .client = SLICE("http-listen"),
    };
    metric_add(METRIC_redis_acl_access_denied_auth_total, 1);
    acl_log_add(acl_log(broker->acl), &entry, clock_wall_us() / 1000);
    (void)login_failed(broker, key);
    return ADMIN_UNKNOWN;
}

static enum admin_verdict judge_user(struct broker *broker, const unsigned char *key,
                                     struct slice name, struct slice password)
{
    const struct slice info = SLICE("info");
    struct acl_users *users = acl_users_now(broker->acl);
    const struct acl_user *user = acl_users_find(users, name);
    enum admin_verdict verdict = ADMIN_SERVED;
    if (user == NULL || !acl_user_is_on(user) || !acl_user_knows(user, password)) {
        verdict = refuse(broker, key, name);
    } else if (permission_would_lack(user, &command_table[COMMAND_info], &info, 1)) {
        verdict = ADMIN_FORBIDDEN;
    }
    acl_users_unref(users);
    return verdict;
}

enum admin_verdict server_pages_judge(struct broker *broker, const struct admin_visitor *visitor)
{
    const struct config *config = broker->config;
    if (config_number(config, CONFIG_http_auth) == 0) {
        bool is_protected = config_number(config, CONFIG_protected_mode) != 0 &&
                            !address_is_local(visitor->fd) && service_is_open_to_all(broker);
        return is_protected ? ADMIN_PROTECTED : ADMIN_SERVED;
    }
    unsigned char key[ADDRESS_KEY_BYTES];
    address_key(visitor->fd, key);
    uint32_t delay_ms_max = (uint32_t)config_number(config, CONFIG_auth_failure_delay);
    if (acl_failures_left_ms(acl_failures(broker->acl), key, clock_mono_ns(), delay_ms_max) > 0) {
        return ADMIN_TOO_OFTEN;
    }
    struct buf text = {0};
    struct slice name;
    struct slice password;
    enum admin_verdict verdict = ADMIN_UNKNOWN;
    if (read_credentials(visitor->authorization, &text, &name, &password)) {
        verdict = judge_user(broker, key, name, password);
    }
    buf_fini(&text);
    return verdict;
}
