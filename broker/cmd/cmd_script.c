/* cmd_script: SCRIPT KILL; the other commands about scripts are data's. */
#include "cmd/caller.h"
#include "partition/partition.h"

/* It is in the log: whoever executes that has to come to the same end, and the script has a limit of its own. */
void cmd_script_kill(struct call *call)
{
    const struct partitions *partitions = broker_partitions(call->caller->broker);
    if (partitions != NULL && partitions_run_scripts(partitions)) {
        reply_error(
            call->reply,
            "UNKILLABLE Sorry the script is executed by every replica, from the log, and runs "
            "to its end, or to its limit of instructions.");
    } else {
        reply_error(call->reply, "NOTBUSY No scripts in execution right now.");
    }
}
