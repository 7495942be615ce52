/*
 * mapping_group.c
 *		map_table's option "group" (see mapping_group.h).
 */
#include "postgres.h"

#include "apply/target.h"
#include "catalog/mapping_group.h"
#include "catalog/mapping_target.h"
#include "catalog/options.h"

/* what a column's name leaves for that of a group */
#define LONGEST_GROUP	(NAMEDATALEN - 1 - (int) strlen(EDW_SEQ_COLUMN "_"))

char *
EdwGroupOptionParse(Jsonb *options)
{
	char	   *group = EdwOptionText(options, "group");
	JsonbValue	value;

	if (group == NULL)
		return NULL;
	getKeyJsonValueFromContainer(&options->root, "group", strlen("group"), &value);
	if (value.type != jbvString || group[0] == '\0' || (int) strlen(group) > LONGEST_GROUP ||
		strspn(group, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(group))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value \"%s\" for option \"%s\"", group, "group"),
				 errdetail("It becomes part of a column's name."),
				 errhint("Use 1 to %d lower case letters, digits and underscores.", LONGEST_GROUP)));
	return group;
}

char *
EdwGroupSeqColumn(const char *group)
{
	return group == NULL ? pstrdup(EDW_SEQ_COLUMN) : psprintf(EDW_SEQ_COLUMN "_%s", group);
}

AttrNumber
EdwGroupNextColumn(TupleDesc desc, AttrNumber attnum)
{
	while (attnum++ < desc->natts)
	{
		Form_pg_attribute att = TupleDescAttr(desc, attnum - 1);

		if (!att->attisdropped &&
			strncmp(NameStr(att->attname), EDW_SEQ_COLUMN "_", strlen(EDW_SEQ_COLUMN "_")) == 0)
			return attnum;
	}
	return 0;
}

static bool
same_group(const EdwMappingDef *a, const EdwMappingDef *b)
{
	return a->group == NULL || b->group == NULL ? a->group == b->group : strcmp(a->group, b->group) == 0;
}

/* Keys are what they have in common. */
static void
check_pair(const EdwTarget *a, const EdwTarget *b)
{
	for (int i = 0; i < a->ncolumns; i++)
		for (int k = 0; k < b->ncolumns; k++)
			if (a->columns[i].attnum != 0 && a->columns[i].attnum == b->columns[k].attnum &&
				!(a->columns[i].is_key && b->columns[k].is_key))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("column \"%s\" of table %s is written by topic \"%s\" as well, in another group",
								a->columns[i].name, a->relation, a->def->topic),
						 errdetail("Positions of different groups do not compare, so that neither would be known to be newer."),
						 errhint("Give each mapping columns of its own with columns, or the same option \"group\" to both.")));
}

void
EdwGroupCheckColumns(Oid target, List *mappings)
{
	List	   *mine = NIL;
	bool		any = false;
	ListCell   *lc;
	ListCell   *other;

	foreach(lc, mappings)
	{
		const EdwMappingDef *def = lfirst(lc);

		if (def->target == target)
			any |= def->group != NULL;
	}
	foreach(lc, any ? mappings : NIL)
		if (((EdwMappingDef *) lfirst(lc))->target == target)
			mine = lappend(mine, EdwTargetDescribe(lfirst(lc), mappings));
	foreach(lc, mine)
		foreach(other, mine)
		{
			const EdwTarget *a = lfirst(lc);
			const EdwTarget *b = lfirst(other);

			if (a->def->mapping_id < b->def->mapping_id && !same_group(a->def, b->def))
				check_pair(a, b);
		}
}
