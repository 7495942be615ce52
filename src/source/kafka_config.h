/*
 * kafka_config.h
 *		From a server and a user mapping to a librdkafka configuration.
 */
#ifndef EDW_SOURCE_KAFKA_CONFIG_H
#define EDW_SOURCE_KAFKA_CONFIG_H

#include <librdkafka/rdkafka.h>

#include "nodes/pg_list.h"
#include "source/source.h"

typedef struct EdwKafkaConfig
{
	rd_kafka_conf_t *conf;		/* NULL once rd_kafka_new has taken it */
	int			refresh_ms;		/* how often topics are asked for (K4) */
	bool		read_committed;
	bool		pace_fetches;	/* fetch.wait.max.ms is ours to choose */
	bool		oauthbearer;	/* needs librdkafka's own thread for tokens */

	/*
	 * librdkafka before 2.2 lets a broker thread sleep for up to a second after
	 * the fetch queue was full; setting the credentials to what they are wakes it.
	 */
	bool		wake_fetchers;
	const char *username;
	const char *password;

	List	   *secrets;		/* char *: never in a message */
} EdwKafkaConfig;

/*
 * Resolve the connection and build its configuration, in the current context.
 * NULL and *error when something is missing or refused. The caller owns conf.
 */
extern EdwKafkaConfig *EdwKafkaConfigBuild(const EdwSourceConfig *config,
										   EdwSourceError *error);

/*
 * Copy what librdkafka says for a person to read: without secrets, on one line, plain ASCII.
 */
extern void EdwKafkaSanitize(const EdwKafkaConfig *config, const char *text,
							 char *out, Size out_size);

#endif							/* EDW_SOURCE_KAFKA_CONFIG_H */
