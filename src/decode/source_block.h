/*
 * source_block.h
 *		What an event says about where it comes from.
 *
 * The source block of a Debezium envelope, or the metadata fields of a flattened record
 * (__source_lsn, __lsn …), read only for what orders events and names their source:
 * position, snapshot state, identity of the server, transaction, time (rules O2 to O5,
 * P7).
 */
#ifndef EDW_SOURCE_BLOCK_H
#define EDW_SOURCE_BLOCK_H

#include "decode/decoder.h"
#include "decode/fields.h"

/* the fields that count, in the order of the table in source_block.c */
typedef enum EdwSourceField
{
	EDW_SRC_CONNECTOR,
	EDW_SRC_NAME,
	EDW_SRC_DB,
	EDW_SRC_TABLE,
	EDW_SRC_SNAPSHOT,
	EDW_SRC_TS_MS,
	EDW_SRC_TS_US,
	EDW_SRC_TS_NS,
	EDW_SRC_TXID,
	EDW_SRC_SEQUENCE,			/* PostgreSQL */
	EDW_SRC_LSN,
	EDW_SRC_SERVER_ID,			/* MySQL, MariaDB */
	EDW_SRC_GTID,
	EDW_SRC_FILE,
	EDW_SRC_POS,
	EDW_SRC_ROW,
	EDW_SRC_COMMIT_LSN,			/* SQL Server */
	EDW_SRC_CHANGE_LSN,
	EDW_SRC_EVENT_SERIAL_NO,
	EDW_SRC_COMMIT_SCN,			/* Oracle */
	EDW_SRC_SCN,
	EDW_SRC_RS_ID,
	EDW_SRC_SSN,
	EDW_SRC_ORD,				/* MongoDB */
	EDW_SRC_RS,
	EDW_SRC_FIELDS
} EdwSourceField;

typedef enum EdwConnector
{
	EDW_CONNECTOR_UNKNOWN,
	EDW_CONNECTOR_POSTGRESQL,
	EDW_CONNECTOR_MYSQL,
	EDW_CONNECTOR_SQLSERVER,
	EDW_CONNECTOR_ORACLE,
	EDW_CONNECTOR_MONGODB
} EdwConnector;

#define EDW_IDENTITY_MAX	256

/* one per decoder; the tokens are of the message at hand */
typedef struct EdwSourceBlock
{
	EdwFieldSet *fields;
	EdwJsonToken tokens[EDW_SRC_FIELDS];	/* EDW_JSON_NO_TOKEN: not there */

	/* the identity computed last, and of what */
	int			identity_len;
	char		identity_of[EDW_IDENTITY_MAX];
	uint64		identity;
} EdwSourceBlock;

extern EdwSourceBlock *EdwSourceBlockMake(void);

/* the name of a field; code from 0 to EDW_SRC_FIELDS - 1 */
extern const char *EdwSourceFieldName(int code);

/* Forget the last message's. */
extern void EdwSourceBlockClear(EdwSourceBlock *block);

/* Note where the fields of the object at token are; returns the token after it. */
extern EdwJsonToken EdwSourceBlockRead(EdwSourceBlock *block, const EdwJson *json,
									   EdwJsonToken token, EdwJsonError *error);

/*
 * Fill in snapshot, identity, source_ts_us, txid (unless it is set) and position of a change
 * whose op is set. With want_position false the position stays empty (the user
 * named a sequence).
 */
extern EdwDecodeResult EdwSourceBlockApply(EdwSourceBlock *block, const EdwJson *json,
										   bool want_position, int64 kafka_offset,
										   EdwChange *change, EdwReason *reason);

extern bool EdwSourceBlockIsSignal(const EdwSourceBlock *block, const EdwJson *json);

/* Text of a string or number, raw; length 0 for null, nothing, and anything else. */
extern int	EdwTokenText(const EdwJson *json, EdwJsonToken token, const char **text);
extern int64 EdwTokenInt(const EdwJson *json, EdwJsonToken token, int64 dflt);

/* Unix µs out of the first of three tokens that is there. */
extern int64 EdwTokenTime(const EdwJson *json, EdwJsonToken us, EdwJsonToken ns,
						  EdwJsonToken ms);

/* A transaction's id into txid[EDW_TXID_MAX]: of "753:26868256" the part before the colon. */
extern void EdwSetTransactionId(char *txid, const char *text, int len);

#endif							/* EDW_SOURCE_BLOCK_H */
