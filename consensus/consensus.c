/* consensus: the facade over loop, engine and link.
 * Owns: all three. Thread: start and stop on the caller's, posting on any, the rest on the raft
 * thread.
 * Always: the process stops when the log's disk fails: after that nothing this node says can be
 * trusted. */
#include "consensus/consensus.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/loop.h"
#include "consensus/link/message.h"

struct consensus {
    struct loop loop;
    struct consensus_opts opts;
    bool is_running;
};

struct consensus_opts consensus_opts_default(void)
{
    return (struct consensus_opts){
        .engine = engine_opts_default(),
        .peer_bytes_max = 32 << 20,
        .silence_ms_max = 5000,
    };
}

static uint64_t now_ms(void *arg)
{
    (void)arg;
    return clock_boot_ns() / NS_PER_MS;
}

static void send_frame(void *arg, const char *node_name, struct slice frame, bool is_bulk)
{
    struct consensus *c = arg;
    if (!c->loop.is_stopping) { link_send(c->loop.link, node_name, frame, is_bulk); }
}

static void on_fatal(void *arg, const char *what)
{
    (void)arg;
    LOG_ERROR("the process stops", LOG_STR("reason", what));
    _Exit(70); /* no clean-up: nothing more may be written */
}

struct contact {
    struct consensus *consensus;
    const char *shown_name;
};

static void on_contact_note(void *arg, struct slice note)
{
    struct contact *contact = arg;
    const struct consensus_opts *opts = &contact->consensus->opts;
    if (opts->on_contact_note != NULL) {
        opts->on_contact_note(opts->arg, contact->shown_name, note);
    }
}

static void on_frame(void *arg, const char *from_name, const char *shown_name, struct slice frame,
                     bool *is_garbage)
{
    static const struct message_handler handler = {NULL, NULL, on_contact_note};
    struct consensus *c = arg;
    struct contact contact = {c, shown_name};
    enum err err = from_name != NULL ? engine_receive(c->loop.engine, from_name, frame)
                                     : message_decode(frame, &handler, &contact);
    *is_garbage = err != ERR_OK;
}

static bool address_of(void *arg, const char *node_name, char host[LINK_HOST_BYTES], uint16_t *port)
{
    struct consensus *c = arg;
    return c->opts.address_of(c->opts.arg, node_name, host, port);
}

static enum err open_parts(struct consensus *c, struct wal_report *report)
{
    const struct consensus_opts *opts = &c->opts;
    enum err err = loop_init(&c->loop, opts->dir);
    if (err != ERR_OK) { return err; }
    struct engine_world world = {c, &c->loop.disk.disk, now_ms, send_frame, on_fatal};
    err = engine_open(&c->loop.engine, &opts->engine, &world, report);
    if (err != ERR_OK) { return err; }
    engine_note_handler(c->loop.engine, opts->on_note, opts->arg);
    struct link_opts link_opts = {
        .loop = &c->loop.uv,
        .cluster_id = opts->cluster_id,
        .node_id = opts->engine.node_id,
        .node_name = opts->engine.node_name,
        .listen_host = opts->listen_host,
        .listen_port = opts->listen_port,
        .peer_bytes_max = opts->peer_bytes_max,
        .silence_ms_max = opts->silence_ms_max,
        .trust = opts->trust,
        .address_of = address_of,
        .on_frame = on_frame,
        .arg = c,
    };
    return link_open(&c->loop.link, &link_opts);
}

enum err consensus_open(struct consensus **out, const struct consensus_opts *opts,
                        struct wal_report *report)
{
    struct consensus *c = mem_new0(sizeof *c);
    c->opts = *opts;
    enum err err = open_parts(c, report);
    if (err != ERR_OK) {
        engine_free(c->loop.engine);
        loop_fini(&c->loop);
        mem_free(c);
        return err;
    }
    *out = c;
    return ERR_OK;
}

void consensus_run(struct consensus *c)
{
    c->is_running = true;
    loop_start(&c->loop);
}

enum err consensus_start(struct consensus **out, const struct consensus_opts *opts,
                         struct wal_report *report)
{
    enum err err = consensus_open(out, opts, report);
    if (err == ERR_OK) { consensus_run(*out); }
    return err;
}

void consensus_abandon(struct consensus *c)
{
    consensus_run(c); /* its end is the loop's */
    consensus_stop(c);
}

void consensus_stop(struct consensus *c)
{
    loop_stop(&c->loop);
    loop_fini(&c->loop);
    mem_free(c);
}

void consensus_push(struct consensus *c, struct task *task)
{
    mailbox_push(&c->loop.mailbox, task);
}

void consensus_wake(struct consensus *c)
{
    mailbox_wake(&c->loop.mailbox);
}

void consensus_post(struct consensus *c, struct task *task)
{
    mailbox_post(&c->loop.mailbox, task);
}

static void check_thread(const struct consensus *c)
{
    if (c->is_running) { ON_THREAD(&c->loop.thread); }
}

struct engine *consensus_engine(struct consensus *c)
{
    check_thread(c);
    return c->loop.engine;
}

uv_loop_t *consensus_loop(struct consensus *c)
{
    check_thread(c);
    return &c->loop.uv;
}

void consensus_send_note(struct consensus *c, const char *node_name, struct slice note)
{
    check_thread(c);
    struct buf frame = {0};
    note_frame_encode(&frame, note);
    send_frame(c, node_name, buf_slice(&frame), false);
    buf_fini(&frame);
}

void consensus_send_contact(struct consensus *c, const char *host, uint16_t port, struct slice note)
{
    check_thread(c);
    struct buf frame = {0};
    note_frame_encode(&frame, note);
    if (!c->loop.is_stopping) { link_send_contact(c->loop.link, host, port, buf_slice(&frame)); }
    buf_fini(&frame);
}

void consensus_set_cluster(struct consensus *c, uint64_t cluster_id)
{
    check_thread(c);
    if (!c->loop.is_stopping) { link_set_cluster(c->loop.link, cluster_id); }
}

void consensus_redial(struct consensus *c, const char *node_name)
{
    check_thread(c);
    if (!c->loop.is_stopping) { link_redial(c->loop.link, node_name); }
}

void consensus_fail(struct consensus *c, const char *what)
{
    on_fatal(c, what);
}

uint16_t consensus_port(const struct consensus *c)
{
    return link_port(c->loop.link);
}

struct consensus_turns consensus_turns(const struct consensus *c)
{
    return (struct consensus_turns){
        .slow_count = atomic_load_explicit(&c->loop.slow_turn_count, memory_order_relaxed),
        .late_count = atomic_load_explicit(&c->loop.late_turn_count, memory_order_relaxed),
        .longest_us = atomic_load_explicit(&c->loop.longest_turn_us, memory_order_relaxed),
    };
}
