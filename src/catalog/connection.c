/*
 * connection.c
 *		Foreign servers and user mappings of the wrappers edw_kafka and edw_registry.
 *
 * Reads PostgreSQL's catalogs through the syscache and files through fd.c; owns
 * nothing, takes no lock (a server that is altered is noticed at the next open).
 * What a server may hold is the validators' business: edw_stream_kafka_validator
 * in source/kafka_properties.c, and the registry's here.
 */
#include "postgres.h"

#include "edw_stream.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/connection.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

/* a password or a PEM key with its chain is far smaller */
#define MAX_SECRET_FILE		(64 * 1024)

PG_FUNCTION_INFO_V1(edw_stream_registry_validator);

static void pg_attribute_printf(4, 5)
fail(EdwSourceError *error, int sqlerrcode, const char *hint, const char *fmt,...)
{
	va_list		args;

	error->sqlerrcode = sqlerrcode;
	va_start(args, fmt);
	vsnprintf(error->message, sizeof(error->message), fmt, args);
	va_end(args);
	strlcpy(error->hint, hint, sizeof(error->hint));
}

bool
EdwMayReadServerFiles(void)
{
	return superuser() ||
		has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
}

/* the tuple of a role's own mapping, or of PUBLIC's; invalid when there is neither */
static HeapTuple
find_mapping(Oid role, Oid serverid)
{
	HeapTuple	tuple = SearchSysCache2(USERMAPPINGUSERSERVER,
										ObjectIdGetDatum(role), ObjectIdGetDatum(serverid));

	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER,
								ObjectIdGetDatum(InvalidOid), ObjectIdGetDatum(serverid));
	return tuple;
}

/* The checks that both entry points make; the server, or NULL with the error. */
static ForeignServer *
find_server(const char *name, const char *wrapper, Oid role, EdwSourceError *error)
{
	ForeignServer *server = GetForeignServerByName(name, true);
	ForeignDataWrapper *fdw;
	const char *rolename;
	HeapTuple	mapping;
	char		hint[sizeof(error->hint)];

	if (server == NULL)
	{
		snprintf(hint, sizeof(hint), "Create it with CREATE SERVER %s FOREIGN DATA WRAPPER %s.",
				 quote_identifier(name), wrapper);
		fail(error, ERRCODE_UNDEFINED_OBJECT, hint, "server \"%s\" does not exist", name);
		return NULL;
	}
	fdw = GetForeignDataWrapper(server->fdwid);
	if (strcmp(fdw->fdwname, wrapper) != 0)
	{
		snprintf(hint, sizeof(hint), "It belongs to the foreign-data wrapper \"%s\".", fdw->fdwname);
		fail(error, ERRCODE_WRONG_OBJECT_TYPE, hint,
			 "server \"%s\" is not a server of the foreign-data wrapper \"%s\"", name, wrapper);
		return NULL;
	}
	rolename = GetUserNameFromId(role, true);
	if (rolename == NULL)
	{
		fail(error, ERRCODE_UNDEFINED_OBJECT, "", "the stream's owner does not exist");
		return NULL;
	}
	if (EdwServerAclCheck(server->serverid, role, ACL_USAGE) != ACLCHECK_OK)
	{
		snprintf(hint, sizeof(hint), "GRANT USAGE ON FOREIGN SERVER %s TO %s.",
				 quote_identifier(name), quote_identifier(rolename));
		fail(error, ERRCODE_INSUFFICIENT_PRIVILEGE, hint,
			 "role \"%s\" has no USAGE privilege on server \"%s\"", rolename, name);
		return NULL;
	}
	mapping = find_mapping(role, server->serverid);
	if (!HeapTupleIsValid(mapping))
	{
		snprintf(hint, sizeof(hint),
				 "Create one with CREATE USER MAPPING FOR %s SERVER %s; it may be without options.",
				 quote_identifier(rolename), quote_identifier(name));
		fail(error, ERRCODE_UNDEFINED_OBJECT, hint,
			 "role \"%s\" has no user mapping for server \"%s\"", rolename, name);
		return NULL;
	}
	ReleaseSysCache(mapping);
	return server;
}

void
EdwConnectionCheck(const char *server, const char *wrapper, Oid role)
{
	EdwSourceError error;

	if (find_server(server, wrapper, role, &error) == NULL)
		ereport(ERROR,
				(errcode(error.sqlerrcode),
				 errmsg("%s", error.message),
				 error.hint[0] ? errhint("%s", error.hint) : 0));
}

/* The content of a file that holds a secret, without the newline at its end. */
static char *
read_secret_file(const char *option, const char *path, EdwSourceError *error)
{
	FILE	   *file = AllocateFile(path, PG_BINARY_R);
	StringInfoData buf;
	size_t		got;
	bool		bad;

	if (file == NULL)
	{
		fail(error, errno == EACCES ? ERRCODE_INSUFFICIENT_PRIVILEGE : ERRCODE_UNDEFINED_FILE,
			 "The file is read by the operating system user that runs the database server.",
			 "could not open the file of option \"%s\": %s", option, strerror(errno));
		return NULL;
	}
	initStringInfo(&buf);
	enlargeStringInfo(&buf, MAX_SECRET_FILE + 1);
	got = fread(buf.data, 1, MAX_SECRET_FILE + 1, file);
	bad = ferror(file) != 0;
	FreeFile(file);
	if (bad || got > MAX_SECRET_FILE || memchr(buf.data, '\0', got) != NULL)
	{
		fail(error, ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
			 "It must be a text file of at most 64 kB.",
			 "could not use the file of option \"%s\"", option);
		return NULL;
	}
	while (got > 0 && (buf.data[got - 1] == '\n' || buf.data[got - 1] == '\r'))
		got--;
	buf.data[got] = '\0';
	return buf.data;
}

/* Add the options of a DefElem list; false with the error when a file cannot be read. */
static bool
add_options(EdwConnection *connection, List *defs, bool secret, EdwSourceError *error)
{
	ListCell   *lc;

	foreach(lc, defs)
	{
		DefElem    *def = lfirst_node(DefElem, lc);
		EdwConnectionOption *option = palloc(sizeof(EdwConnectionOption));
		size_t		len = strlen(def->defname);
		size_t		suffix = strlen(EDW_FILE_SUFFIX);

		option->name = pstrdup(def->defname);
		option->value = defGetString(def);
		option->secret = secret;
		if (secret && len > suffix && strcmp(def->defname + len - suffix, EDW_FILE_SUFFIX) == 0)
		{
			option->name[len - suffix] = '\0';
			option->value = read_secret_file(def->defname, option->value, error);
			if (option->value == NULL)
				return false;
		}
		connection->options = lappend(connection->options, option);
	}
	return true;
}

EdwConnection *
EdwConnectionResolve(const char *name, const char *wrapper, Oid role, EdwSourceError *error)
{
	ForeignServer *server = find_server(name, wrapper, role, error);
	EdwConnection *connection;
	HeapTuple	tuple;
	Datum		datum;
	bool		isnull;
	List	   *mapping_options = NIL;

	if (server == NULL)
		return NULL;
	tuple = find_mapping(role, server->serverid);
	if (HeapTupleIsValid(tuple))
	{
		datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
								Anum_pg_user_mapping_umoptions, &isnull);
		if (!isnull)
			mapping_options = untransformRelOptions(datum);
		ReleaseSysCache(tuple);
	}

	connection = palloc0(sizeof(EdwConnection));
	connection->server = pstrdup(server->servername);
	if (!add_options(connection, server->options, false, error) ||
		!add_options(connection, mapping_options, true, error))
		return NULL;
	return connection;
}

/* the options of the wrapper edw_registry, and to what they belong */
static const struct
{
	const char *name;
	Oid			catalog;
	bool		reads_file;
}			registry_options[] =
{
	{"url", ForeignServerRelationId, false},
	{"timeout_ms", ForeignServerRelationId, false},
	{"ca_file", ForeignServerRelationId, true},
	{"username", UserMappingRelationId, false},
	{"password", UserMappingRelationId, false},
	{"password.file", UserMappingRelationId, true},
	{"bearer_token", UserMappingRelationId, false},
	{"bearer_token.file", UserMappingRelationId, true},
};

static void
check_registry_option(const char *name, const char *value, Oid catalog)
{
	StringInfoData names;

	initStringInfo(&names);
	for (size_t i = 0; i < lengthof(registry_options); i++)
	{
		if (registry_options[i].catalog != catalog)
			continue;
		if (strcmp(registry_options[i].name, name) != 0)
		{
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "", registry_options[i].name);
			continue;
		}
		if (registry_options[i].reads_file && !EdwMayReadServerFiles())
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to set option \"%s\"", name),
					 errdetail("The option makes the server read a file."),
					 errhint("Only superusers and members of pg_read_server_files may set it.")));
		if (strcmp(name, "url") == 0 &&
			strncmp(value, "http://", 7) != 0 && strncmp(value, "https://", 8) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					 errmsg("invalid value for option \"url\""),
					 errhint("A registry's address begins with http:// or https://.")));
		if (strcmp(name, "url") == 0 && strchr(value, '@') != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
					 errmsg("invalid value for option \"url\""),
					 errdetail("Everybody may read a server's options."),
					 errhint("Give name and password to CREATE USER MAPPING."),
					 errhidestmt(true)));
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("unknown option \"%s\"", name),
			 errhidestmt(true),
			 names.len > 0 ? errhint("The options here are: %s.", names.data) :
			 errhint("There are no options here.")));
}

Datum
edw_stream_registry_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		check_registry_option(def->defname, defGetString(def), catalog);
	}
	PG_RETURN_VOID();
}
