/*
 * prefetch.h
 *		Asking for memory before it is read.
 *
 * Where rows or messages are all over the memory, the processor does not know which one comes next, but we
 * do. Include "postgres.h" first.
 */
#ifndef EDW_PREFETCH_H
#define EDW_PREFETCH_H

/* a line of the processor's cache */
#define EDW_CACHE_LINE	64

/*
 * Let the lines that hold these bytes come; nothing is read, so that any address will do. Inlined always: gcc takes a
 * function that does nothing else for one that does nothing. So its callers that do nothing else must be, too.
 */
static pg_attribute_always_inline void
EdwPrefetch(const void *begin, int bytes)
{
	for (int at = 0; at < bytes; at += EDW_CACHE_LINE)
		__builtin_prefetch((const char *) begin + at);
}

#endif							/* EDW_PREFETCH_H */
