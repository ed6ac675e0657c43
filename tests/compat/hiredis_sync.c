/* hiredis_sync: the blocking API of hiredis against a running broker. Usage: hiredis_sync HOST PORT.
 * Owns: its connections. Prints one line per promise that holds; ends with status 1 at the first that does not. */
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINE_DEPTH 1000
#define TIMEOUT_S 20

/* End the program with a message unless `holds`. */
static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "not ok - %s\n", what);
        exit(1);
    }
}

static void passed(const char *sentence)
{
    printf("ok - %s\n", sentence);
}

static redisContext *connect_to(char **argv)
{
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    redisContext *c = redisConnectWithTimeout(argv[1], atoi(argv[2]), timeout);
    require(c != NULL && c->err == 0, "connect");
    require(redisSetTimeout(c, timeout) == REDIS_OK, "set a timeout");
    return c;
}

/* Send a command and return its reply, which the caller frees. */
static redisReply *ask(redisContext *c, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    redisReply *reply = redisvCommand(c, format, ap);
    va_end(ap);
    require(reply != NULL, c->errstr);
    return reply;
}

static redisReply *next_reply(redisContext *c)
{
    void *reply = NULL;
    require(redisGetReply(c, &reply) == REDIS_OK && reply != NULL, "a reply arrives");
    return reply;
}

/* Is it an array whose first two elements are these strings? */
static bool is_event(const redisReply *reply, const char *kind, const char *name)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements >= 3 &&
           strcmp(reply->element[0]->str, kind) == 0 && strcmp(reply->element[1]->str, name) == 0;
}

static void check_simple_commands(char **argv)
{
    redisContext *c = connect_to(argv);
    redisReply *reply = ask(c, "PING");
    require(reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "PONG") == 0,
            "PING is a status");
    freeReplyObject(reply);
    reply = ask(c, "ECHO %b", "a\0b", (size_t)3);
    require(reply->type == REDIS_REPLY_STRING && reply->len == 3 &&
                memcmp(reply->str, "a\0b", 3) == 0,
            "ECHO is binary-safe");
    freeReplyObject(reply);
    reply = ask(c, "CLIENT GETNAME");
    require(reply->type == REDIS_REPLY_NIL, "no name is nil");
    freeReplyObject(reply);
    reply = ask(c, "NOSUCH a b");
    require(reply->type == REDIS_REPLY_ERROR &&
                strstr(reply->str, "unknown command 'NOSUCH'") != NULL,
            "an unknown command is an error reply");
    freeReplyObject(reply);
    redisFree(c);
    passed("simple commands answer the types that hiredis knows");
}

static void check_pipeline(char **argv)
{
    redisContext *c = connect_to(argv);
    for (int i = 0; i < PIPELINE_DEPTH; i++) {
        require(redisAppendCommand(c, "ECHO %d", i) == REDIS_OK, "append");
    }
    for (int i = 0; i < PIPELINE_DEPTH; i++) {
        redisReply *reply = next_reply(c);
        require(reply->type == REDIS_REPLY_STRING && atoi(reply->str) == i,
                "replies keep their order");
        freeReplyObject(reply);
    }
    redisFree(c);
    passed("a deep pipeline is answered in order");
}

static void check_transaction(char **argv)
{
    redisContext *c = connect_to(argv);
    freeReplyObject(ask(c, "MULTI"));
    redisReply *reply = ask(c, "PUBLISH %s %s", "c:tx", "x");
    require(reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "QUEUED") == 0,
            "commands are queued");
    freeReplyObject(reply);
    reply = ask(c, "EXEC");
    require(reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
                reply->element[0]->type == REDIS_REPLY_INTEGER,
            "EXEC answers an array");
    freeReplyObject(reply);
    redisFree(c);
    passed("a transaction answers an array");
}

static void check_pubsub(char **argv)
{
    redisContext *sub = connect_to(argv);
    redisContext *pub = connect_to(argv);
    redisReply *reply = ask(sub, "SUBSCRIBE c:one");
    require(is_event(reply, "subscribe", "c:one") && reply->element[2]->integer == 1, "subscribe");
    freeReplyObject(reply);
    reply = ask(sub, "PSUBSCRIBE c:*");
    require(is_event(reply, "psubscribe", "c:*") && reply->element[2]->integer == 2, "psubscribe");
    freeReplyObject(reply);
    for (int i = 0; i < 100; i++) {
        reply = ask(pub, "PUBLISH c:one %d", i);
        require(reply->type == REDIS_REPLY_INTEGER && reply->integer == 2, "two receivers");
        freeReplyObject(reply);
    }
    for (int i = 0; i < 100; i++) {
        reply = next_reply(sub);
        require(is_event(reply, "message", "c:one") && atoi(reply->element[2]->str) == i,
                "message");
        freeReplyObject(reply);
        reply = next_reply(sub);
        require(is_event(reply, "pmessage", "c:*") && atoi(reply->element[3]->str) == i,
                "pmessage");
        freeReplyObject(reply);
    }
    redisFree(sub);
    redisFree(pub);
    passed("a blocking subscriber reads messages as replies");
}

int main(int argc, char **argv)
{
    require(argc == 3, "usage: hiredis_sync HOST PORT");
    check_simple_commands(argv);
    check_pipeline(argv);
    check_transaction(argv);
    check_pubsub(argv);
    return 0;
}
