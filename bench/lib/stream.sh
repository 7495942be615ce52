# stream.sh: one stream of edw_stream from a topic to its end, measured. Sourced by bench/run.

# make_stream NAME TOPIC TABLE [OPTIONS [WORKERS]]: a stream that is to fill the table
make_stream()
{
	local options=${4:-'{}'}
	sql -c "SELECT edw_stream.create_stream('$1', 'k', ARRAY['$2'], workers => ${5:-1},
			options => '$stream_options'::jsonb || '$options')" \
		-c "SELECT edw_stream.map_table('$1', '$3', options => '{\"source_types\": {\"amount\": \"numeric(12,2)\"}}')" >/dev/null
}

# start the stream; sets started (Unix time of the commit) and workers (pids, once all run)
start_stream()
{
	local name=$1 want=${2:-1}
	started=$(sql -c "SELECT edw_stream.start('$name')" -c "SELECT extract(epoch FROM clock_timestamp())" | tail -1)
	wait_until "SELECT count(pid) = $want FROM edw_stream.worker_status() WHERE stream = '$name'" 60 >/dev/null
	workers=$(sql -c "SELECT string_agg(pid::text, ' ') FROM edw_stream.worker_status() WHERE stream = '$name'")
}

# what it is waited for: the offsets of all messages are committed
all_applied() { echo "SELECT coalesce(sum(next_offset), 0) >= $2 FROM edw_stream.partition_offset WHERE stream = '$1'"; }

# consume NAME MESSAGES [WORKERS]: from start() to the topic's end. Sets seconds, worker_ticks,
# own_worker_ticks, waited_s (for a core), peak_kb (of the first worker), busy (others, steal) and decode_us.
consume()
{
	local name=$1 n=$2 before pid perf_pid
	sql -c CHECKPOINT
	before=$(machine_now)
	start_stream "$name" "${3:-1}"
	start_waiting "$(all_applied "$name" "$n")"
	if [ "$perf" = yes ]; then
		perf record -q -g -p "${workers%% *}" -o "$EDW_STAGE/perf.data" >/dev/null 2>&1 &
		perf_pid=$!
	fi
	watch $waiter "${workers%% *}" "${watch_interval:-0.2}"
	busy=$(machine_since "$before")
	seconds=$(seconds_between "$started" "$(cat "$EDW_STAGE/waited")")
	worker_ticks=$(sum_ticks $workers)
	own_worker_ticks=0 waited_s=0
	for pid in $workers; do
		own_worker_ticks=$((own_worker_ticks + $(own_ticks "$pid")))
		waited_s=$(awk -v s="$waited_s" '{printf "%.2f", s + $2 / 1e9}' "/proc/$pid/task/$pid/schedstat")
	done
	decode_us=$(sql -c "SELECT round(sum(decode_us) / $n.0, 2) FROM edw_stream.batch WHERE stream = '$name'")
	if [ "$perf" = yes ]; then
		kill -INT $perf_pid
		wait $perf_pid || true
	fi
}
