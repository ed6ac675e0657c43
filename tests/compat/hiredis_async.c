/* hiredis_async: the asynchronous API of hiredis on libevent. Usage: hiredis_async HOST PORT.
 * Owns: one event loop, one subscriber, one publisher. A message must arrive for every publish, in order, and the
 * unsubscribe must end the subscription. Ends with status 1 if anything is missing after TIMEOUT_S. */
#include <hiredis/async.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 2000
#define TIMEOUT_S 30

struct run {
    struct event_base *base;
    redisAsyncContext *sub;
    redisAsyncContext *pub;
    int received_count;
    int pattern_count;
    int answered_count;
    int closed_count;
    bool is_unsubscribed;
};

/* End the program with a message unless `holds`. */
static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "not ok - %s\n", what);
        exit(1);
    }
}

static void finish_if_done(struct run *run)
{
    if (run->received_count == MESSAGES && run->pattern_count == MESSAGES &&
        run->answered_count == MESSAGES && !run->is_unsubscribed) {
        run->is_unsubscribed = true;
        redisAsyncCommand(run->sub, NULL, NULL, "UNSUBSCRIBE");
        redisAsyncCommand(run->sub, NULL, NULL, "PUNSUBSCRIBE");
    }
}

static void on_published(redisAsyncContext *c, void *r, void *arg)
{
    (void)c;
    struct run *run = arg;
    redisReply *reply = r;
    require(reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer == 2,
            "two receivers");
    run->answered_count++;
    finish_if_done(run);
}

static void publish_all(struct run *run)
{
    for (int i = 0; i < MESSAGES; i++) {
        redisAsyncCommand(run->pub, on_published, run, "PUBLISH a:one %d", i);
    }
}

/* The last confirmation of an unsubscribe ends the run. */
static void on_unsubscribed(struct run *run, const redisReply *reply)
{
    if (reply->element[2]->integer == 0) {
        redisAsyncDisconnect(run->sub);
        redisAsyncDisconnect(run->pub);
    }
}

static void on_event(redisAsyncContext *c, void *r, void *arg)
{
    (void)c;
    struct run *run = arg;
    redisReply *reply = r;
    if (reply == NULL) { return; /* the connection is being closed */ }
    require(reply->type == REDIS_REPLY_ARRAY && reply->elements >= 3, "events are arrays");
    const char *kind = reply->element[0]->str;
    if (strcmp(kind, "psubscribe") == 0) {
        publish_all(run);
    } else if (strcmp(kind, "message") == 0) {
        require(atoi(reply->element[2]->str) == run->received_count++, "messages come in order");
        finish_if_done(run);
    } else if (strcmp(kind, "pmessage") == 0) {
        require(atoi(reply->element[3]->str) == run->pattern_count++,
                "pattern messages come in order");
        finish_if_done(run);
    } else if (strstr(kind, "unsubscribe") != NULL) {
        on_unsubscribed(run, reply);
    }
}

static void on_closed(const redisAsyncContext *c, int status)
{
    struct run *run = c->data;
    require(status == REDIS_OK, "connections end without an error");
    if (++run->closed_count == 2) { event_base_loopbreak(run->base); }
}

static redisAsyncContext *connect_to(struct run *run, char **argv)
{
    redisAsyncContext *c = redisAsyncConnect(argv[1], atoi(argv[2]));
    require(c != NULL && c->err == 0, "connect");
    require(redisLibeventAttach(c, run->base) == REDIS_OK, "attach");
    c->data = run;
    redisAsyncSetDisconnectCallback(c, on_closed);
    return c;
}

int main(int argc, char **argv)
{
    require(argc == 3, "usage: hiredis_async HOST PORT");
    signal(SIGPIPE, SIG_IGN);
    struct run run = {.base = event_base_new()};
    run.sub = connect_to(&run, argv);
    run.pub = connect_to(&run, argv);
    redisAsyncCommand(run.sub, on_event, &run, "SUBSCRIBE a:one");
    redisAsyncCommand(run.sub, on_event, &run, "PSUBSCRIBE a:*");
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    event_base_loopexit(run.base, &timeout);
    event_base_dispatch(run.base);
    require(run.closed_count == 2, "all messages and both ends of subscriptions arrive in time");
    event_base_free(run.base);
    printf("ok - an asynchronous subscriber gets everything in order\n");
    return 0;
}
