/*
 * histogram.c
 *		Percentiles of latencies are known to within a bucket, from 1 µs to over an hour (H1).
 *
 * build: src/stats/histogram.c -lm
 */
#include "postgres.h"

#include <math.h>

#include "stats/histogram.h"

/* a plain program: not the port library's */
#undef printf

static int	failures = 0;

static void
check(bool ok, const char *what, int64 us)
{
	if (ok)
		return;
	failures++;
	printf("%s: " INT64_FORMAT "\n", what, us);
}

/* a latency lies within its bucket: 2^(i/2) <= us < 2^((i+1)/2) */
static void
check_bucket(int64 us)
{
	int			bucket = EdwHistogramBucket(us);

	check(bucket >= 0 && bucket < EDW_LATENCY_BUCKETS, "bucket out of range", us);
	if (us <= 1)
		check(bucket == 0, "not in the first bucket", us);
	else if (us < INT64CONST(1) << 32)
		check(us >= exp2(bucket / 2.0) * 0.999999999 &&
			  us <= exp2((bucket + 1) / 2.0) * 1.000000001, "wrong bucket", us);
	else
		check(bucket == EDW_LATENCY_BUCKETS - 1, "not in the last bucket", us);
}

static void
check_quantiles(void)
{
	pg_atomic_uint64 buckets[EDW_LATENCY_BUCKETS];
	uint64		counts[EDW_LATENCY_BUCKETS] = {0};

	check(EdwHistogramQuantile(counts, 0.5) == -1, "a quantile of nothing", 0);
	for (int i = 0; i < EDW_LATENCY_BUCKETS; i++)
		pg_atomic_init_u64(&buckets[i], 0);
	/* 1 … 100,000 µs, each ten times */
	for (int64 us = 1; us <= 100000; us++)
		EdwHistogramAdd(buckets, us, 10);
	for (int i = 0; i < EDW_LATENCY_BUCKETS; i++)
		counts[i] = pg_atomic_read_u64(&buckets[i]);
	for (int percent = 1; percent <= 100; percent++)
	{
		double		found = EdwHistogramQuantile(counts, percent / 100.0);

		check(found >= percent * 1000 / M_SQRT2 && found <= percent * 1000 * M_SQRT2,
			  "a percentile that is off by more than a bucket", percent);
	}
}

int
main(void)
{
	check_bucket(-5);
	for (int64 us = 0; us < 100000; us++)
		check_bucket(us);
	for (int power = 10; power < 63; power++)
	{
		check_bucket((INT64CONST(1) << power) - 1);
		check_bucket(INT64CONST(1) << power);
		check_bucket((int64) (exp2(power + 0.5) * 1.001));
		check_bucket((int64) (exp2(power + 0.5) * 0.999));
	}
	check_quantiles();
	return failures == 0 ? 0 : 1;
}
