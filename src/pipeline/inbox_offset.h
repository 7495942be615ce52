/*
 * inbox_offset.h
 *		Offsets for push(): taken one by one, written once per transaction.
 */
#ifndef EDW_PIPELINE_INBOX_OFFSET_H
#define EDW_PIPELINE_INBOX_OFFSET_H

/*
 * The next offset of a partition of the inbox. Its row stays locked until the transaction
 * ends, so that offsets become visible in their order.
 */
extern int64 EdwInboxTakeOffset(const char *stream, const char *topic, int32 partition);

#endif							/* EDW_PIPELINE_INBOX_OFFSET_H */
