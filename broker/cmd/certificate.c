/* certificate: from a certificate's names to a user. */
#include "cmd/certificate.h"

#include "cmd/caller.h"
#include "cmd/permission.h"
#include "net/tls.h"
#include "session/users.h"

/* The words of the option, in their order. */
enum { BY_NOTHING, BY_CN, BY_URI, BY_DNS };

/* Of the names, the first that is a user's who is on. Else: *first is the first one. */
static struct acl_user *find_user(const struct session *session, enum tls_name kind,
                                  struct buf *first)
{
    struct buf name = {0};
    struct acl_user *found = NULL;
    for (unsigned at = 0; found == NULL; at++) {
        name.len = 0;
        if (!tls_client_name(session->conn.tls, kind, at, &name)) { break; }
        struct acl_user *user = acl_users_find(sessions_of(session)->users, buf_slice(&name));
        if (user != NULL && acl_user_is_on(user)) { found = user; }
        if (first->len == 0) { buf_append(first, buf_slice(&name)); }
    }
    buf_fini(&name);
    return found;
}

void certificate_login(const struct caller *caller)
{
    static const enum tls_name kind[] = {
        [BY_CN] = TLS_NAME_CN, [BY_URI] = TLS_NAME_URI, [BY_DNS] = TLS_NAME_DNS};
    int64_t by = config_number(caller->broker->config, CONFIG_tls_auth_clients_user);
    if (by == BY_NOTHING) { return; }
    struct buf first = {0};
    struct acl_user *user = find_user(caller->session, kind[by], &first);
    if (user != NULL) {
        session_login(caller->session, user);
    } else if (first.len > 0) {
        const struct call call = {.caller = caller};
        permission_note(&call, ACL_NO_CERTIFICATE, "toplevel", SLICE(""), buf_slice(&first));
    }
    buf_fini(&first);
}
