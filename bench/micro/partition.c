/* micro_partition: what a data command costs from partition_ask to its answer, without clients: one node, one partition, so
 * many requests in flight; and a read by a worker itself.
 * usage: TMPDIR=folder micro_partition [SECONDS] */
#define RIG_PLAIN
#include <sys/resource.h>

#include "../../tests/unit/partition_rig.h"

enum { FLIGHT_MAX = 4096 };

static struct rig_ask *asks;

static uint64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void send_one(struct rig *rig, struct rig_ask *ask, unsigned flight, const char *text)
{
    rig_begin(rig, ask, PARTITION_WRITE, 0);
    ask->request.origin.acked_low =
        ask->request.origin.seq > flight ? ask->request.origin.seq - flight : 1;
    rig_call(ask, 0, text);
    rig_ask(&rig->node[0], ask);
}

static void measure(struct rig *rig, const char *text, unsigned flight, uint64_t seconds)
{
    uint64_t count = 0;
    struct partition_status before;
    struct partition_status after;
    partition_status(rig->node[0].partitions, 0, &before);
    uint64_t cpu = cpu_us();
    uint64_t began = clock_mono_ns();
    uint64_t until = began + seconds * NS_PER_S;
    for (unsigned i = 0; i < flight; i++) {
        send_one(rig, &asks[i], flight, text);
    }
    for (unsigned left = flight; left > 0;) {
        rig_poll(rig, 100);
        bool is_over = clock_mono_ns() >= until;
        for (unsigned i = 0; i < flight; i++) {
            if (!asks[i].is_done) { continue; }
            CHECK(asks[i].request.err == ERR_OK);
            count++;
            rig_free(&asks[i]);
            asks[i].is_done = false;
            if (is_over) {
                left--;
            } else {
                send_one(rig, &asks[i], flight, text);
            }
        }
    }
    uint64_t ns = clock_mono_ns() - began;
    cpu = cpu_us() - cpu;
    partition_status(rig->node[0].partitions, 0, &after);
    printf("%-44.44s %6u %10.0f %10.2f %10.1f\n", text, flight, (double)count * 1e9 / (double)ns,
           (double)cpu / (double)count,
           (double)count / (double)(after.applied_batches - before.applied_batches));
}

static void measure_read(struct rig *rig, const char *text, uint64_t seconds)
{
    uint64_t count = 0;
    uint64_t cpu = cpu_us();
    uint64_t until = clock_mono_ns() + seconds * NS_PER_S;
    while (clock_mono_ns() < until) {
        struct rig_ask *ask = &asks[0];
        rig_begin(rig, ask, PARTITION_READ, 0);
        rig_call(ask, 0, text);
        count += partition_read(rig->node[0].partitions, 0, &ask->request);
        rig_free(ask);
    }
    cpu = cpu_us() - cpu;
    printf("%-44.44s %6s %10.0f %10.2f\n", text, "read", (double)count / (double)seconds,
           (double)cpu / (double)count);
}

int main(int argc, char **argv)
{
    static const unsigned flights[] = {1, 16, 256};
    char value[128];
    char set[192];
    char push[192];
    uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 2;
    struct rig rig = {0};
    asks = mem_new0(FLIGHT_MAX * sizeof *asks);
    memset(value, 'v', 100);
    value[100] = 0;
    snprintf(set, sizeof set, "SET key %s", value);
    snprintf(push, sizeof push, "RPUSH list %s", value);
    rig_init(&rig, 1, 1);
    rig_start(&rig.node[0]);
    rig_create(&rig.node[0]);
    rig_until_leads(&rig.node[0], 0);
    printf("%-44s %6s %10s %10s %10s\n", "", "flight", "ops/s", "us CPU/op", "per commit");
    for (size_t i = 0; i < COUNT_OF(flights); i++) {
        measure(&rig, set, flights[i], seconds);
        measure(&rig, push, flights[i], seconds);
    }
    measure_read(&rig, "GET key", seconds);
    measure_read(&rig, "LRANGE list 0 99", seconds);
    rig_fini(&rig);
    mem_free(asks);
    return 0;
}
