/*
 * connection.h
 *		How a stream reaches the outside: foreign servers and user mappings.
 *
 * A connection is a server of one of our wrappers plus the user mapping of the
 * stream's owner (or PUBLIC's). The server's options say where, the mapping's say who:
 * secrets belong to the mapping only, and an option NAME.file there names a
 * file of the server that holds the value of NAME.
 */
#ifndef EDW_CATALOG_CONNECTION_H
#define EDW_CATALOG_CONNECTION_H

#include "nodes/pg_list.h"
#include "source/source.h"

#define EDW_KAFKA_WRAPPER		"edw_kafka"
#define EDW_REGISTRY_WRAPPER	"edw_registry"

/* what an option's name ends in when its value is to be read from a file */
#define EDW_FILE_SUFFIX			".file"

typedef struct EdwConnectionOption
{
	char	   *name;			/* without .file */
	char	   *value;			/* with the file's content, if it had .file */
	bool		secret;			/* came from the user mapping: never show it */
} EdwConnectionOption;

typedef struct EdwConnection
{
	char	   *server;
	List	   *options;		/* EdwConnectionOption *, the server's first */
} EdwConnection;

/*
 * ERROR unless role may use the server for a stream: the server exists and belongs
 * to the wrapper, role has USAGE on it, and there is a mapping for role or for
 * PUBLIC. For create_stream.
 */
extern void EdwConnectionCheck(const char *server, const char *wrapper, Oid role);

/*
 * The same checks without raising, and then all options, files read. Needs a
 * transaction. The result lives in the current context; NULL with *error filled
 * in when role may not use it or a file cannot be read.
 */
extern EdwConnection *EdwConnectionResolve(const char *server, const char *wrapper,
										   Oid role, EdwSourceError *error);

/* may the current user make the server read files (superuser, pg_read_server_files)? */
extern bool EdwMayReadServerFiles(void);

#endif							/* EDW_CATALOG_CONNECTION_H */
