/*
 * event.h
 *		A change as Debezium's PostgreSQL connector writes it: key and value in JSON.
 */
#ifndef EVENT_H
#define EVENT_H

#include "history.h"

typedef struct EventForm
{
	bool		schema;			/* as JsonConverter with schemas.enable=true */
	bool		stamped;		/* with columns day and sent_us */
	char	   *body;			/* contents of a column body, or NULL */
} EventForm;

extern size_t EventSize(const EventForm *form);
extern int	FormatKey(const EventForm *form, long id, char *out, size_t size);
extern int	FormatEvent(const EventForm *form, const History *h, char op, long id, int64_t sent,
						char *out, size_t size);

#endif							/* EVENT_H */
