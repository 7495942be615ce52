/*
 * stream_topics.h
 *		What create_stream demands of topics: well-formed names, and that they exist.
 */
#ifndef EDW_CATALOG_STREAM_TOPICS_H
#define EDW_CATALOG_STREAM_TOPICS_H

#include "nodes/pg_list.h"

/* ERROR unless it is a name that Kafka allows */
extern void EdwCheckTopicName(const char *topic);

/* ERROR unless all are names or regexes (^…), without repetition, at least one */
extern void EdwCheckTopicList(List *topics);

/*
 * Ask the server whether the topics exist, as the current user; ERROR if not, or if it
 * does not answer. Waits up to 15 s, interruptible.
 */
extern void EdwCheckTopicsExist(const char *stream, const char *server, List *topics);

#endif							/* EDW_CATALOG_STREAM_TOPICS_H */
