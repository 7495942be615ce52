/*
 * position.h
 *		Source positions as bytes whose plain comparison is the source's order.
 *
 * Pure: no memory, no catalog, no errors raised. A position is
 *
 *		epoch	4 bytes, big-endian; put in front by the pipeline (pipeline/epoch)
 *		phase	1 byte: 0 a snapshot's row, 1 a streamed change (rule O5)
 *		kind	1 byte: EdwPositionKind
 *		payload	what the kind says, order-preserving (rules O2, O3)
 *		half	1 byte: 0 for a delete, 1 otherwise, so that the two halves of a key's
 *				update that meet on one target key (same lsn) stay in order;
 *				2 marks a stored row that displaced another one of its key within one source
 *				transaction (rule P3; see apply/README.md)
 *
 * Kinds that the source cannot make unique per key and change (a user's own sequence,
 * MongoDB, plain offsets) end their payload with the Kafka offset (rule O6).
 * The stored form is the bytea column _edw_seq.
 */
#ifndef EDW_POSITION_H
#define EDW_POSITION_H

typedef enum EdwPositionKind
{
	EDW_POSITION_NONE = 0,		/* stored for a row of an incremental snapshot that had none */
	EDW_POSITION_POSTGRESQL = 1,	/* last commit lsn, lsn */
	EDW_POSITION_MYSQL = 2,		/* binlog file number, pos, row */
	EDW_POSITION_SQLSERVER = 3, /* commit_lsn, change_lsn, event_serial_no */
	EDW_POSITION_ORACLE = 4,	/* commit_scn, scn, rs_id, ssn */
	EDW_POSITION_MONGODB = 5,	/* ts_sec, ord, Kafka offset */
	EDW_POSITION_NUMBER = 6,	/* a user's numeric sequence, Kafka offset */
	EDW_POSITION_TEXT = 7,		/* a user's textual sequence (ISO times …), Kafka offset */
	EDW_POSITION_OFFSET = 8		/* the Kafka offset alone */
} EdwPositionKind;

typedef enum EdwSnapshotKind
{
	EDW_NOT_SNAPSHOT,
	EDW_SNAPSHOT,
	EDW_SNAPSHOT_INCREMENTAL
} EdwSnapshotKind;

#define EDW_EPOCH_BYTES		4
#define EDW_POSITION_MAX	192

/* bytes from the phase on: the epoch is not in here */
typedef struct EdwPosition
{
	int			len;
	uint8		bytes[EDW_POSITION_MAX];
} EdwPosition;

/* memcmp order, the shorter first when one is a prefix of the other */
extern int	EdwPositionCompare(const uint8 *a, int alen, const uint8 *b, int blen);

/*
 * Builders. Each starts a position over: EdwPositionPostgres(&p, phase_streamed, …).
 * They return false when a part does not parse; p is then unusable.
 * Text arguments need not be NUL-terminated.
 */
extern bool EdwPositionPostgres(EdwPosition *p, bool streamed, bool is_delete,
								uint64 last_commit_lsn, uint64 lsn);
extern bool EdwPositionMysql(EdwPosition *p, bool streamed, bool is_delete,
							 const char *file, int file_len, uint64 pos, uint64 row);
extern bool EdwPositionSqlServer(EdwPosition *p, bool streamed, bool is_delete,
								 const char *commit_lsn, int commit_len,
								 const char *change_lsn, int change_len, uint64 serial);
extern bool EdwPositionOracle(EdwPosition *p, bool streamed, bool is_delete,
							  const char *commit_scn, int commit_len,
							  const char *scn, int scn_len,
							  const char *rs_id, int rs_len, uint64 ssn);
extern bool EdwPositionMongo(EdwPosition *p, bool streamed, bool is_delete,
							 uint64 ts_sec, uint64 ord, int64 kafka_offset);
extern bool EdwPositionNumber(EdwPosition *p, bool streamed, bool is_delete,
							  const char *digits, int len, int64 kafka_offset);
extern bool EdwPositionText(EdwPosition *p, bool streamed, bool is_delete,
							const char *text, int len, int64 kafka_offset);
extern bool EdwPositionOffset(EdwPosition *p, bool streamed, bool is_delete,
							  int64 kafka_offset);

/* Is this a position of PostgreSQL without the last commit? Those after a snapshot are, until the next commit. */
extern bool EdwPositionLacksCommit(const EdwPosition *p);

/* a stored position (epoch first) in words: "epoch 1, streamed, postgresql 0/19A2B30 0/19A2C18" */
extern void EdwPositionDescribe(const uint8 *stored, int len, char *out, int out_size);

#endif							/* EDW_POSITION_H */
