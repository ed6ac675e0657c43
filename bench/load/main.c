/* main: reads the options, runs what they ask for, prints the result, tells it by the exit code. */
#include <stdlib.h>

#include "fatal.h"
#include "run.h"
#include "selftest.h"

int main(int argc, char **argv)
{
    struct opts opts;
    opts_parse(&opts, argc, argv);
    if (opts.self_test) { return self_test() ? EXIT_SUCCESS : EXIT_VIOLATION; }

    struct tally *tally = alloc_or_die(1, sizeof *tally);
    struct report report = {0};
    if (opts.idle) {
        run_idle(&opts, tally, &report);
    } else if (opts.handshakes) {
        run_handshakes(&opts, &report);
    } else {
        run_load(&opts, tally, &report);
    }
    report_print(&report, &opts, tally);
    int exit_code = tally->violation_count == 0 ? EXIT_SUCCESS : EXIT_VIOLATION;
    free(tally);
    return exit_code;
}
