/*
 * source_probe.c
 *		A library for a test's backend: what a session or worker cannot do to a source as
 *		quickly as a test wants. Loaded beside edw_stream, whose source it calls.
 *
 * source_reassign(server, topic, partitions, times): assigns all partitions so many times,
 * each time from where it has read to, sometimes after looking for messages, then reads
 * on to the ends. Returns "MESSAGES read, GAPS gaps, ASSIGNED assignments"; every partition is
 * taken to begin at offset 0 and to have no gaps. Needs a transaction, keeps nothing.
 */
#include "postgres.h"

#include "edw_stream.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "source/source.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(source_reassign);

#define MESSAGES	50

typedef struct Probe
{
	EdwSource  *source;
	EdwPartitionPosition *positions;
	bool	   *ended;
	int			n;
	int64		read;
	int64		gaps;
} Probe;

static void
open_source(Probe *probe, char *server, char *topic, int partitions)
{
	EdwSourceError error = {0};
	EdwSourceConfig config = {
		.stream = "probe",
		.owner = GetUserId(),
		.server = server,
		.topics = list_make1(topic),
		.workers = 1,
		.fetch_memory = 1024 * 1024,
		.group_id = "edw_stream-probe",
	};

	probe->source = EdwKafkaSourceOps.open(&config, &error);
	if (probe->source == NULL)
		elog(ERROR, "%s", error.message);
	probe->n = partitions;
	probe->positions = palloc0(sizeof(EdwPartitionPosition) * partitions);
	probe->ended = palloc0(sizeof(bool) * partitions);
	for (int i = 0; i < partitions; i++)
	{
		probe->positions[i].topic = topic;
		probe->positions[i].partition = i;
	}
}

static void
assign(Probe *probe)
{
	EdwSourceError error = {0};

	if (probe->source->ops->assign(probe->source, probe->positions, probe->n, &error) != EDW_SOURCE_OK)
		elog(ERROR, "%s", error.message);
}

/* Take what is there; each message must be the next one of its partition. */
static void
read_some(Probe *probe)
{
	EdwMessage	messages[MESSAGES];
	EdwSourceNotice notice;
	int			got = probe->source->ops->poll(probe->source, messages, MESSAGES, 1024 * 1024);

	for (int i = 0; i < got; i++)
	{
		EdwPartitionPosition *position = &probe->positions[messages[i].partition];

		if (messages[i].offset != position->offset)
			probe->gaps++;
		position->offset = messages[i].offset + 1;
		probe->read++;
	}
	probe->source->ops->release(probe->source, messages, got);
	while (probe->source->ops->next_notice(probe->source, &notice))
	{
		if (notice.kind == EDW_NOTICE_REACHED_END)
			probe->ended[notice.partition] = true;
		else if (notice.kind == EDW_NOTICE_FATAL || notice.kind == EDW_NOTICE_OFFSET_LOST)
			elog(ERROR, "%s", notice.error.message);
	}
}

static bool
all_ended(Probe *probe)
{
	for (int i = 0; i < probe->n; i++)
		if (!probe->ended[i])
			return false;
	return true;
}

Datum
source_reassign(PG_FUNCTION_ARGS)
{
	int			times = PG_GETARG_INT32(3);
	Probe		probe = {0};

	open_source(&probe, text_to_cstring(PG_GETARG_TEXT_PP(0)),
				text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_INT32(2));
	/* the first fetchers start when the brokers are known */
	assign(&probe);
	while (probe.read == 0)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
		read_some(&probe);
	}
	for (int i = 0; i < times; i++)
	{
		CHECK_FOR_INTERRUPTS();
		assign(&probe);
		if (i % 7 == 0)
			read_some(&probe);
		if (i % 50 == 0)
			pg_usleep(5000);	/* so that some fetchers get to fetch */
	}
	memset(probe.ended, 0, sizeof(bool) * probe.n);
	assign(&probe);
	while (!all_ended(&probe))
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
		read_some(&probe);
	}
	probe.source->ops->close(probe.source);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf(INT64_FORMAT " read, " INT64_FORMAT " gaps, %d assignments",
											  probe.read, probe.gaps, times)));
}
