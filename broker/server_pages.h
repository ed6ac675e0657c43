/* server_pages: who may see the pages of http-listen that are not health: by protected mode, or by http-auth's users. Thread: admin. */
#ifndef FANFARE_SERVER_PAGES_H
#define FANFARE_SERVER_PAGES_H

#include "admin/admin.h"
#include "cmd/broker.h"

MUST_USE enum admin_verdict server_pages_judge(struct broker *broker,
                                               const struct admin_visitor *visitor);

#endif
