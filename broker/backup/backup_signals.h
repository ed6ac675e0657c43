/* backup_signals: SIGINT and SIGTERM, seen between two pieces of work. Owns: a descriptor. Thread: main. */
#ifndef FANFARE_BACKUP_BACKUP_SIGNALS_H
#define FANFARE_BACKUP_BACKUP_SIGNALS_H

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"

/* Gives: the descriptor. */
static inline int backup_signals_take(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

/* Has one come since? */
static inline bool backup_signals_have_come(int fd)
{
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == sizeof info;
}

#endif
