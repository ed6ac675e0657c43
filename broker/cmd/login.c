/* login: ask, and delay what is wrong. */
#include "cmd/login.h"

#include <arpa/inet.h>

#include "acl/acl.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cmd/caller.h"
#include "cmd/permission.h"
#include "session/users.h"

/* A wrong answer on its way. */
struct delay {
    struct worker_timer timer;
    struct session *session;
};

static void say_wrong(struct call *call)
{
    reply_error(call->reply, "WRONGPASS invalid username-password pair or user is disabled.");
}

static void on_due(struct worker_timer *timer)
{
    wait_over(CONTAINER_OF(timer, struct delay, timer)->session);
}

static void forget(void *question)
{
    struct delay *delay = question;
    worker_timer_cancel(&delay->timer);
    mem_free(delay);
}

static void finish(void *question, struct call *call)
{
    forget(question);
    say_wrong(call);
}

/* Who goes meanwhile is not kept. */
static void interrupt(void *question, enum wait_end why)
{
    struct delay *delay = question;
    if (why != WAIT_REVIEWED) { wait_over(delay->session); }
}

static void say_later(struct call *call, uint32_t delay_ms)
{
    static const struct wait_ops ops = {.finish = finish, .forget = forget, .interrupt = interrupt};
    struct delay *delay = mem_new0(sizeof *delay);
    delay->session = call->caller->session;
    metric_add(METRIC_auth_delays_total, 1);
    call_wait(call, &ops, delay);
    worker_timer_start(call->caller->service->worker, &delay->timer, delay_ms, on_due);
}

static struct slice key_text(const unsigned char *key, char text[INET6_ADDRSTRLEN])
{
    const struct slice mapped = SLICE("::ffff:");
    CHECK(inet_ntop(AF_INET6, key, text, INET6_ADDRSTRLEN) != NULL);
    struct slice shown = slice_of_str(text);
    bool is_ipv4 = slice_starts_with(shown, mapped);
    return is_ipv4 ? slice_of(text + mapped.len, shown.len - mapped.len) : shown;
}

uint32_t login_failed(struct broker *broker, const unsigned char key[ADDRESS_KEY_BYTES])
{
    uint32_t delay_ms_max = (uint32_t)config_number(broker->config, CONFIG_auth_failure_delay);
    const struct acl_failure failure =
        acl_failures_add(acl_failures(broker->acl), key, clock_mono_ns(), delay_ms_max);
    bool is_power_of_two = (failure.count & (failure.count - 1)) == 0;
    if (failure.count > ACL_FAILURES_FREE && is_power_of_two) {
        char text[INET6_ADDRSTRLEN];
        LOG_LIMITED(LOG_LEVEL_WARN, "many logins from one address have failed",
                    LOG_SLICE("address", key_text(key, text)), LOG_UINT("failures", failure.count),
                    LOG_UINT("answer_delay_ms", failure.delay_ms));
    }
    return failure.delay_ms;
}

bool login(struct call *call, struct slice name, struct slice password)
{
    struct session *session = call->caller->session;
    struct acl_user *user = acl_users_find(sessions_of(session)->users, name);
    if (user != NULL && acl_user_is_on(user) && acl_user_knows(user, password)) {
        session_login(session, user);
        return true;
    }
    unsigned char key[ADDRESS_KEY_BYTES];
    address_key(session->conn.fd, key);
    permission_note(call, ACL_NO_AUTH, "toplevel", SLICE("AUTH"), name);
    uint32_t delay_ms = login_failed(call->caller->broker, key);
    if (delay_ms > 0) {
        say_later(call, delay_ms);
    } else {
        say_wrong(call);
    }
    return false;
}
