/* main: argv, signals and exit codes; nothing else. `wal-check`, `recover`, `import`, `backup` and `restore` are no brokers: they end.
 * Signals are blocked in every thread and taken here: SIGTERM and SIGINT drain, a second one ends
 * at once; SIGHUP reloads. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "backup/backup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/config.h"
#include "consensus/log/wal_check.h"
#include "consensus/membership/recover.h"
#include "import/import.h"
#include "node_dir.h"
#include "server.h"

enum { TICK_MS = 1000, DRAIN_POLL_MS = 10, ABORT_MS = 2000, PATH_BYTES = 4096 };

static void signals_prepare(sigset_t *waited)
{
    sigemptyset(waited);
    sigaddset(waited, SIGTERM);
    sigaddset(waited, SIGINT);
    sigaddset(waited, SIGHUP);
    CHECK(sigprocmask(SIG_BLOCK, waited, NULL) == 0);
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0);
}

/* The next signal, or 0 after `wait_ms`. */
static int signal_wait(const sigset_t *waited, int wait_ms)
{
    const struct timespec wait = {wait_ms / 1000, wait_ms % 1000 * (long)NS_PER_MS};
    int got = sigtimedwait(waited, NULL, &wait);
    CHECK(got > 0 || errno == EAGAIN || errno == EINTR);
    return got > 0 ? got : 0;
}

/* Returns once a signal, or a client's SHUTDOWN, asks for the end. */
static void serve(struct server *server, struct config *config, const sigset_t *waited)
{
    int got;
    while ((got = signal_wait(waited, TICK_MS)) == 0 || got == SIGHUP) {
        if (got == 0) {
            server_tick(server);
            continue;
        }
        if (config_reload(config) == ERR_OK) {
            LOG_INFO("options reloaded", LOG_STR("file", config_file(config)));
        }
        server_reread(server);
    }
    LOG_INFO("stopping", LOG_STR("reason", got == SIGINT ? "SIGINT" : "SIGTERM"),
             LOG_UINT("clients", server_client_count(server)));
}

static bool has_no_clients(const struct server *server)
{
    return server_client_count(server) == 0;
}

/* Wait until `is_done`. False: `timeout_ms` have passed. A second signal to end does not return. */
static bool wait_until(bool (*is_done)(const struct server *server), const struct server *server,
                       const sigset_t *waited, uint64_t timeout_ms)
{
    uint64_t deadline_ns = clock_mono_ns() + timeout_ms * NS_PER_MS;
    while (!is_done(server)) {
        if (clock_mono_ns() >= deadline_ns) { return false; }
        int got = signal_wait(waited, DRAIN_POLL_MS);
        if (got == SIGTERM || got == SIGINT) {
            LOG_WARN("ended by a second signal", LOG_UINT("clients", server_client_count(server)));
            _exit(EXIT_FAILURE);
        }
    }
    return true;
}

/* First other nodes take over, while clients are served as ever; then the clients are let go. */
static void drain(struct server *server, struct config *config, const sigset_t *waited)
{
    uint64_t timeout_ms = (uint64_t)config_number(config, CONFIG_shutdown_timeout) * 1000;
    if (server_shutdown_is_urgent(server)) { timeout_ms = 0; }
    server_hand_over(server);
    if (!wait_until(server_has_handed_over, server, waited, timeout_ms)) {
        LOG_WARN("other nodes have not taken over everything in time");
    }
    server_log_left_short(server);
    server_drain(server);
    if (wait_until(server_is_settled, server, waited, timeout_ms)) { return; }
    LOG_WARN("closing clients that did not take their data in time",
             LOG_UINT("clients", server_client_count(server)));
    server_abort(server);
    if (!wait_until(has_no_clients, server, waited, ABORT_MS)) {
        LOG_ERROR("a worker does not answer, ended anyway");
        _exit(EXIT_FAILURE);
    }
}

/* fanfare wal-check DIR */
static int wal_check_main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: fanfare wal-check DIR\n");
        return EX_USAGE;
    }
    return wal_check_print(argv[2], stdout);
}

/* fanfare recover --force-new-cluster DIR */
static int recover_main(int argc, char **argv)
{
    if (argc != 4 || strcmp(argv[2], "--force-new-cluster") != 0) {
        fprintf(stderr, "usage: fanfare recover --force-new-cluster DIR\n");
        return EX_USAGE;
    }
    int lock_fd;
    uint64_t node_id;
    struct stat st;
    if (stat(argv[3], &st) != 0) {
        fprintf(stderr, "fanfare recover: %s: %s\n", argv[3], strerror(errno));
        return EXIT_FAILURE;
    }
    if (node_dir_open(argv[3], &lock_fd, &node_id) != ERR_OK) { return EXIT_FAILURE; }
    char path[PATH_BYTES];
    bool fits = snprintf(path, sizeof path, "%s/raft", argv[3]) < (int)sizeof path;
    int status = fits ? wal_check_print(path, stdout) : EXIT_FAILURE;
    if (status == 0) { status = recover_force(argv[3], stdout); }
    close(lock_fd);
    return status;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "wal-check") == 0) { return wal_check_main(argc, argv); }
    if (argc > 1 && strcmp(argv[1], "recover") == 0) { return recover_main(argc, argv); }
    if (argc > 1 && strcmp(argv[1], "import") == 0) { return import_main(argc, argv); }
    if (argc > 1 && strcmp(argv[1], "backup") == 0) { return backup_main(argc, argv); }
    if (argc > 1 && strcmp(argv[1], "restore") == 0) { return restore_main(argc, argv); }
    struct config *config = NULL;
    switch (config_load(&config, argc, argv, environ)) {
    case CONFIG_EXIT_OK: return EXIT_SUCCESS;
    case CONFIG_EXIT_USAGE: return EX_USAGE;
    case CONFIG_RUN: break;
    }
    struct thread main_thread;
    thread_adopt(&main_thread, "main");
    sigset_t waited;
    signals_prepare(&waited);
    struct server *server = NULL;
    enum err err = server_start(&server, config);
    if (err == ERR_OK) {
        err = server_join(server);
        if (err == ERR_OK) { serve(server, config, &waited); }
        drain(server, config, &waited);
        server_free(server);
        LOG_INFO("stopped");
    }
    config_free(config);
    return err == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
