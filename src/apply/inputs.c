/*
 * inputs.c
 *		What a route wants of its topic's events: the columns that the decoder delivers.
 *
 * Several mappings may want a field, in several types; each is a column of its own. Metadata are
 * columns that the decoder passes over.
 */
#include "postgres.h"

#include "apply/metadata.h"
#include "apply/target.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"

static const EdwSourceType *
declared_source_type(const EdwMappingDef *def, const char *field)
{
	ListCell   *lc;

	foreach(lc, def->source_types)
	{
		EdwSourceType *type = lfirst(lc);

		if (strcmp(type->field, field) == 0)
			return type;
	}
	return NULL;
}

/* The index of an input column like this one, added when there is none yet. */
static int
want_input(EdwInputDesc *input, const EdwInputColumn *column)
{
	for (int i = 0; i < input->ncolumns; i++)
	{
		EdwInputColumn *have = &input->columns[i];

		if (strcmp(have->name, column->name) == 0 &&
			have->type == column->type && have->typmod == column->typmod &&
			have->source_type == column->source_type &&
			have->source_typmod == column->source_typmod &&
			have->source_declared == column->source_declared && have->metadata == column->metadata)
		{
			have->is_key |= column->is_key;
			return i;
		}
	}
	input->columns = input->columns == NULL ? palloc(sizeof(EdwInputColumn))
		: repalloc(input->columns, (input->ncolumns + 1) * sizeof(EdwInputColumn));
	input->columns[input->ncolumns] = *column;
	if (column->metadata != EDW_METADATA_NONE)
		input->metadata |= 1 << column->metadata;
	return input->ncolumns++;
}

static int
want_metadata(EdwInputDesc *input, const char *name, EdwMetadata metadata)
{
	EdwInputColumn column = {0};

	column.name = pstrdup(name);
	column.type = column.source_type = EdwMetadataType(metadata);
	column.typmod = column.source_typmod = -1;
	column.metadata = metadata;
	return want_input(input, &column);
}

bool
EdwInputsAreMetadata(const EdwInputDesc *input, const Bitmapset *columns)
{
	int			i = -1;

	while ((i = bms_next_member(columns, i)) >= 0)
		if (input->columns[i].metadata == EDW_METADATA_NONE)
			return false;
	return !bms_is_empty(columns);
}

/* A field as the decoder is to deliver it, its source's type given or taken from the column. */
int
EdwWantField(EdwInputDesc *input, const EdwMappingDef *def, const char *field,
		   Oid type, int32 typmod, bool is_key)
{
	const EdwSourceType *declared = declared_source_type(def, field);
	EdwInputColumn column = {0};

	column.name = pstrdup(field);
	column.type = type;
	column.typmod = typmod;
	column.source_type = declared ? declared->type : type;
	column.source_typmod = declared ? declared->typmod : typmod;
	column.source_declared = declared != NULL;
	column.is_key = is_key;
	return want_input(input, &column);
}

/* What an expression uses: metadata, or a field, in its declared type, else its namesake's, else text. */
int
EdwWantExpressionField(EdwInputDesc *input, const EdwMappingDef *def, TupleDesc desc,
					  const char *field, bool is_key)
{
	const EdwSourceType *declared = declared_source_type(def, field);
	Oid			type = TEXTOID;
	int32		typmod = -1;

	if (EdwMetadataFind(field) != EDW_METADATA_NONE)
		return want_metadata(input, field, EdwMetadataFind(field));
	if (declared)
	{
		type = declared->type;
		typmod = declared->typmod;
	}
	else
	{
		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			if (!att->attisdropped && strcmp(NameStr(att->attname), field) == 0)
			{
				typmod = att->atttypmod;
				type = getBaseTypeAndTypmod(att->atttypid, &typmod);
			}
		}
	}
	return EdwWantField(input, def, field, type, typmod, is_key);
}

/*
 * The field that an expression only gives another name, if nothing says of what type it is: then it is of the
 * column's, as one of the column's own name would be.
 */
const char *
EdwRenamedField(const EdwMappingDef *def, TupleDesc desc, const char *expression)
{
	char	   *field = expression ? EdwExpressionField(expression) : NULL;

	if (field == NULL || declared_source_type(def, field) != NULL)
		return NULL;
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped &&
			strcmp(NameStr(TupleDescAttr(desc, i)->attname), field) == 0)
			return NULL;
	return field;
}
