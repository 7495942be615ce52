/*
 * histogram.h
 *		Latencies counted in buckets whose width grows with the latency.
 *
 * Bucket i counts latencies in [2^(i/2), 2^((i+1)/2)) µs, so that a percentile is known
 * to within 41 %, from 1 µs to over an hour, in 64 counters. Pure but for the atomics.
 */
#ifndef EDW_STATS_HISTOGRAM_H
#define EDW_STATS_HISTOGRAM_H

#include "worker/slots.h"

/* which bucket counts a latency; negative ones (clocks differ) count as 0 */
extern int	EdwHistogramBucket(int64 us);

/* Count n latencies. One process writes a histogram; others may read meanwhile. */
extern void EdwHistogramAdd(pg_atomic_uint64 *buckets, int64 us, uint64 n);

/*
 * The latency in µs that a share q (0 … 1) of those counted does not exceed, interpolated
 * within its bucket; -1 when nothing was counted. q = 1: the last bucket's upper bound.
 */
extern double EdwHistogramQuantile(const uint64 *counts, double q);

#endif							/* EDW_STATS_HISTOGRAM_H */
