/* encoding_limits: the options that OBJECT ENCODING goes by, handed to the partitions of this node. */
#ifndef FANFARE_CMD_ENCODING_LIMITS_H
#define FANFARE_CMD_ENCODING_LIMITS_H

struct broker;

/* The options may have changed. Thread: any. */
void encoding_limits_set(struct broker *broker);

#endif
