/* handshakes: what a client costs that comes, asks once and goes: with --tls mostly the handshake. One after the other, so the
 * figure is the server's CPU time; each connection counts as a publish. */
#include "conn.h"
#include "link.h"
#include "run.h"

void run_handshakes(const struct opts *opts, struct report *report)
{
    uint64_t end_ns = probe_now_ns() + (uint64_t)opts->warmup_ms * 1000000U;
    while (probe_now_ns() < end_ns) {
        link_close(conn_open(opts, opts->port));
    }
    uint64_t begin_ns = probe_now_ns();
    uint64_t server_ns = probe_cpu_ns(&opts->pids);
    uint64_t own_ns = probe_own_cpu_ns();
    end_ns = begin_ns + (uint64_t)opts->measure_ms * 1000000U;
    while (probe_now_ns() < end_ns) {
        link_close(conn_open(opts, opts->port));
        report->published++;
    }
    report->server_cpu_ns = probe_cpu_ns(&opts->pids) - server_ns;
    report->own_cpu_ns = probe_own_cpu_ns() - own_ns;
    report->seconds = (double)(probe_now_ns() - begin_ns) / 1e9;
    report->is_sustained = true;
}
