/*
 * inbox_headers.h
 *		Headers of a pushed message.
 */
#ifndef EDW_SOURCE_INBOX_HEADERS_H
#define EDW_SOURCE_INBOX_HEADERS_H

#include "source/source.h"
#include "utils/jsonb.h"

/* a message's headers, as parsed from its jsonb: EdwMessage.native of the inbox */
typedef struct EdwInboxHeaderList
{
	int			n;
	EdwHeader  *headers;
} EdwInboxHeaderList;

/* {"name": "value", …} or [["name", "value"], …], into the current context */
extern EdwInboxHeaderList *EdwInboxParseHeaders(Jsonb *jsonb);

/* EdwSourceOps.headers of the inbox */
extern int	EdwInboxHeaders(const EdwMessage *message, EdwHeader *headers, int max);

#endif							/* EDW_SOURCE_INBOX_HEADERS_H */
