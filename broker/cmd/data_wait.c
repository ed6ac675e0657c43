/* data_wait: ask all, count the answers. */
#include "cmd/data_wait.h"

#include "base/mem.h"
#include "cluster/commands.h"

void data_write_error(struct reply *reply, enum err err)
{
    switch (err) {
    case ERR_FULL:
        reply_error(reply, "MISCONF not executed: the disks that this key is kept on are full");
        break;
    case ERR_LIMIT:
        reply_error(reply,
                    "INDOUBT the command was executed, and its answer was too long to be kept "
                    "while its node failed");
        break;
    case ERR_INVALID:
        reply_error(reply, "ERR not executed: the command is too long to be written at once");
        break;
    case ERR_INDOUBT:
    case ERR_CLUSTER_DOWN:
    case ERR_OK:
    case ERR_CLOSED:
    case ERR_SLOW:
    case ERR_SYSTEM:
    case ERR_CORRUPT:
    case ERR_NOT_LEADER: reply_error(reply, err_wire(err)); break;
    }
}

struct partition_call *data_call_copy(const struct slice *argv, uint32_t argc, uint16_t database)
{
    size_t bytes = sizeof(struct partition_call) + argc * sizeof(struct slice);
    for (uint32_t i = 0; i < argc; i++) {
        bytes += argv[i].len;
    }
    struct partition_call *copy = mem_new(bytes);
    struct slice *words = (struct slice *)(copy + 1);
    char *at = (char *)(words + argc);
    for (uint32_t i = 0; i < argc; i++) {
        if (argv[i].len > 0) { memcpy(at, argv[i].data, argv[i].len); }
        words[i] = slice_of(at, argv[i].len);
        at += argv[i].len;
    }
    *copy = (struct partition_call){.db = database, .argc = argc, .argv = words};
    return copy;
}

struct data_wait *data_wait_new(const struct call *call, const struct data_wait_ops *ops,
                                uint32_t part_count)
{
    struct data_wait *wait = mem_new0(sizeof *wait + part_count * sizeof(struct data_part));
    wait->ops = ops;
    wait->session = call->caller->session;
    wait->service = call->caller->service;
    wait->part_count = part_count;
    for (uint32_t i = 0; i < part_count; i++) {
        wait->part[i].wait = wait;
    }
    return wait;
}

static void wait_free(struct data_wait *wait)
{
    if (wait->ops->free != NULL) { wait->ops->free(wait); }
    for (uint32_t i = 0; i < wait->part_count; i++) {
        buf_fini(&wait->part[i].request.reply);
        mem_free(wait->part[i].request.reply_end);
    }
    mem_free(wait);
}

static void finish(void *question, struct call *call)
{
    struct data_wait *wait = question;
    wait->ops->finish(wait, call);
    wait_free(wait);
}

static void forget(void *question)
{
    struct data_wait *wait = question;
    wait->session = NULL;
    if (wait->ops->orphan != NULL) { wait->ops->orphan(wait); }
    if (wait->left == 0) { wait_free(wait); }
}

static void on_done(struct partition_request *request)
{
    struct data_wait *wait = CONTAINER_OF(request, struct data_part, request)->wait;
    CHECK(wait->left > 0);
    if (--wait->left > 0) { return; }
    if (wait->session != NULL) {
        wait_over(wait->session);
    } else {
        wait_free(wait);
    }
}

void data_wait_begin(struct call *call, struct data_wait *wait)
{
    static const struct wait_ops ops = {.finish = finish, .forget = forget};
    call_wait(call, &ops, wait);
    wait->left = wait->part_count;
    for (uint32_t i = 0; i < wait->part_count; i++) {
        struct partition_request *request = &wait->part[i].request;
        request->resp_version = call->reply->version;
        request->on_done = on_done;
        commands_ask(wait->service->sessions.commands, request);
    }
}

bool data_wait_failed(const struct data_wait *wait, struct reply *reply)
{
    for (uint32_t i = 0; i < wait->part_count; i++) {
        if (wait->part[i].request.err == ERR_OK) { continue; }
        data_write_error(reply, wait->part[i].request.err);
        return true;
    }
    return false;
}
