/*
 * histogram.c
 *		Latencies counted in buckets whose width grows with the latency.
 */
#include "postgres.h"

#include <math.h>

#include "port/pg_bitutils.h"
#include "stats/histogram.h"

int
EdwHistogramBucket(int64 us)
{
	int			power;
	bool		upper_half;

	if (us <= 1)
		return 0;
	if (us >= INT64CONST(1) << (EDW_LATENCY_BUCKETS / 2))
		return EDW_LATENCY_BUCKETS - 1;
	power = pg_leftmost_one_pos64((uint64) us);
	/* us >= sqrt(2) * 2^power, without a square root */
	upper_half = (uint64) us * (uint64) us >= UINT64CONST(2) << (2 * power);
	return 2 * power + (upper_half ? 1 : 0);
}

void
EdwHistogramAdd(pg_atomic_uint64 *buckets, int64 us, uint64 n)
{
	pg_atomic_uint64 *bucket = &buckets[EdwHistogramBucket(us)];

	/* the only writer: no need for an atomic addition */
	pg_atomic_write_u64(bucket, pg_atomic_read_u64(bucket) + n);
}

static double
lower_bound(int bucket)
{
	return bucket == 0 ? 0 : exp2(bucket / 2.0);
}

double
EdwHistogramQuantile(const uint64 *counts, double q)
{
	uint64		total = 0;
	double		below = 0;
	double		wanted;

	for (int i = 0; i < EDW_LATENCY_BUCKETS; i++)
		total += counts[i];
	if (total == 0)
		return -1;

	wanted = q * (double) total;
	for (int i = 0; i < EDW_LATENCY_BUCKETS; i++)
	{
		if (counts[i] > 0 && below + counts[i] >= wanted)
		{
			double		share = (wanted - below) / counts[i];
			double		low = lower_bound(i);

			return low + share * (exp2((i + 1) / 2.0) - low);
		}
		below += counts[i];
	}
	return exp2(EDW_LATENCY_BUCKETS / 2.0);
}
