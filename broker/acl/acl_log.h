/* acl_log: what was refused to whom, as ACL LOG tells it: the same again within a minute is counted, not listed twice.
 * Owns: the entries. Bound: acl_log_limit. Thread: any; it has a lock of its own. */
#ifndef FANFARE_ACL_ACL_LOG_H
#define FANFARE_ACL_ACL_LOG_H

#include "acl/acl_user.h"

struct acl_log;

struct acl_log_entry {
    uint64_t id;
    uint64_t count;
    enum acl_verdict reason;
    const char *context; /* "toplevel", "multi", "lua"; a literal */
    struct slice object; /* the command, key or channel; of ACL_NO_AUTH the word "AUTH"; of
                            ACL_NO_CERTIFICATE empty */
    struct slice user;
    struct slice client; /* as CLIENT INFO shows it */
    uint64_t created_ms; /* wall clock */
    uint64_t updated_ms;
};

MUST_USE struct acl_log *acl_log_new(void);
void acl_log_free(struct acl_log *log); /* NULL is allowed */

/* Keep at most so many; the oldest go when the next one comes. */
void acl_log_limit(struct acl_log *log, uint32_t entries_max);

/* Note a refusal now; id, count and times are the log's. Borrows the texts; of each at most ACL_LOG_TEXT_BYTES are kept. */
enum { ACL_LOG_TEXT_BYTES = 512 };
void acl_log_add(struct acl_log *log, const struct acl_log_entry *entry, uint64_t now_ms);

void acl_log_clear(struct acl_log *log);

/* Visit the newest `count` of them, newest first, under the lock; `begin` hears how many there will be. */
struct acl_log_visitor {
    void (*begin)(void *arg, uint32_t count);
    void (*entry)(void *arg, const struct acl_log_entry *entry);
    void *arg;
};
void acl_log_each(struct acl_log *log, uint32_t count, const struct acl_log_visitor *visitor);

#endif
