/*
 * options.h
 *		Reading arguments and options given as jsonb, with errors that help.
 *
 * Every unknown option is an ERROR that names the nearest known one (rule H1).
 */
#ifndef EDW_CATALOG_OPTIONS_H
#define EDW_CATALOG_OPTIONS_H

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* ERROR null_value_not_allowed when argument n of a SQL function, called name, is null */
extern void EdwRequireArgument(FunctionCallInfo fcinfo, int n, const char *name);

/* the nearest of n names to a misspelt one, or NULL when none is near */
extern const char *EdwNearestName(const char *given, const char *const *names, int n);

/* "a", "b", "c" */
extern char *EdwNameList(const char *const *names, int n);

/* For use inside ereport: a hint with the nearest name, else with all of them. */
extern int	EdwHintNames(const char *given, const char *const *names, int n);

/* The index of given among the choices; else ERROR that says what ("on_delete") is wrong. */
extern int	EdwChoice(const char *given, const char *const *choices, int n,
					  const char *what);

/*
 * ERROR invalid_parameter_value unless each top-level key of options is one of
 * names; what ("stream option", …) goes into the message.
 */
extern void EdwCheckOptionNames(Jsonb *options, const char *const *names, int n,
								const char *what);

/*
 * The value of an option as text (numbers and booleans in their JSON form,
 * objects and arrays as JSON); NULL when it is not there or null.
 */
extern char *EdwOptionText(Jsonb *options, const char *name);

/* ERROR when the value is not one of the choices; returns its index, dflt when it is absent */
extern int	EdwOptionChoice(Jsonb *options, const char *name,
							const char *const *choices, int n, int dflt);

extern bool EdwOptionBool(Jsonb *options, const char *name, bool dflt);
extern int64 EdwOptionInt(Jsonb *options, const char *name, int64 dflt, int64 min, int64 max);
extern double EdwOptionReal(Jsonb *options, const char *name, double dflt, double min, double max);

/* "5s", "1 minute": an interval in ms */
extern int64 EdwOptionIntervalMs(Jsonb *options, const char *name, int64 dflt);

#endif							/* EDW_CATALOG_OPTIONS_H */
