/*
 * image.c
 *		Values told apart by their bytes (see image.h).
 */
#include "postgres.h"

#include "view/image.h"

#include "access/tupmacs.h"
#include "common/hashfn.h"
#include "compat.h"
#include "fmgr.h"
#include "utils/datum.h"

static uint64
hash_varlena(Datum value, uint64 seed)
{
	struct varlena *plain = PG_DETOAST_DATUM_PACKED(value);
	uint64		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(plain),
										   VARSIZE_ANY_EXHDR(plain), seed);

	if ((Pointer) plain != DatumGetPointer(value))
		pfree(plain);
	return hash;
}

uint64
EdwImageHash(Datum value, bool isnull, const FormData_pg_attribute *attr, uint64 seed)
{
	if (isnull)
		return hash_bytes_extended((const unsigned char *) "", 0, ~seed);
	if (attr->attbyval)
	{
		Datum		stored = 0; /* as a tuple has it: unused bytes of a Datum may hold anything */

		store_att_byval(&stored, value, attr->attlen);
		return hash_bytes_extended((unsigned char *) &stored, attr->attlen, seed);
	}
	if (attr->attlen == -1)
		return hash_varlena(value, seed);
	return hash_bytes_extended((unsigned char *) DatumGetPointer(value),
							   datumGetSize(value, false, attr->attlen), seed);
}

bool
EdwImageEqual(Datum a, bool a_isnull, Datum b, bool b_isnull,
						  const FormData_pg_attribute *attr)
{
	if (a_isnull || b_isnull)
		return a_isnull && b_isnull;
	return datum_image_eq(a, b, attr->attbyval, attr->attlen);
}
