/* check: assertions that stay on in release, and the few compiler attributes we use.
 * A failing CHECK is our own bug: it logs the place and aborts, because a broken invariant that
 * runs on corrupts state. */
#ifndef FANFARE_BASE_CHECK_H
#define FANFARE_BASE_CHECK_H

#include <stddef.h>

#define MUST_USE __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define PRINTF_LIKE(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define LIKELY(cond) __builtin_expect(!!(cond), 1)
#define UNLIKELY(cond) __builtin_expect(!!(cond), 0)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define CHECK(cond) (LIKELY(cond) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))
#define UNREACHABLE() check_failed(__FILE__, __LINE__, "unreachable")

/* Log where and what, then abort. Any thread. */
NORETURN void check_failed(const char *file, int line, const char *what);

#endif
