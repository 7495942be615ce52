# measure.sh: clocks, processes' CPU time and memory, and how busy others kept the machine. Sourced by
# bench/run.

hertz=$(getconf CLK_TCK)

# clock ticks that a process, all its threads, has used so far; 0 if there is none
ticks() { awk '{sub(/^.*\) /, ""); t = $12 + $13} END {print t + 0}' "/proc/$1/stat" 2>/dev/null || echo 0; }

# ticks of several processes together
sum_ticks()
{
	local pid sum=0
	for pid; do sum=$((sum + $(ticks "$pid"))); done
	echo $sum
}

# ticks of the main thread alone
own_ticks() { ticks "$1/task/$1"; }

# µs an event of so many ticks
cpu_us() { awk -v t="$1" -v hz="$hertz" -v n="$2" 'BEGIN {printf "%.2f", t / hz * 1e6 / n}'; }

status_kb() { awk -v name="$2:" '$1 == name {print $2}' "/proc/$1/status" 2>/dev/null || true; }

# Ticks of all that this run has started: processes and those of their children that have ended.
run_ticks()
{
	local roots=$$ file
	for file in "$EDW_STAGE"/*/postmaster.pid "$EDW_STAGE"/kafka/pid "$EDW_STAGE"/connect/pid; do
		[ ! -s "$file" ] || roots="$roots $(head -1 "$file")"
	done
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v roots="$roots" '
		{pid = $1; sub(/^.*\) /, ""); parent[pid] = $2; used[pid] = $12 + $13 + $14 + $15}
		END {
			n = split(roots, r, " ")
			for (i = 1; i <= n; i++) ours[r[i]] = 1
			do {
				more = 0
				for (p in parent)
					if (!(p in ours) && parent[p] in ours) {ours[p] = 1; more = 1}
			} while (more)
			for (p in ours) sum += used[p]
			print sum + 0
		}'
}

# busy and stolen ticks of all cores, ours, time
machine_now() { echo "$(awk '$1 == "cpu" {print $2 + $3 + $4 + $7 + $8, $9}' /proc/stat) $(run_ticks) $EPOCHREALTIME"; }

# machine_since THEN: percent of all cores that other processes had, and that the host took
machine_since()
{
	awk -v then="$1" -v now="$(machine_now)" -v hz="$hertz" -v cores="$(nproc)" 'BEGIN {
		split(then, a, " "); split(now, b, " ")
		all = (b[4] - a[4]) * hz * cores
		others = (b[1] - a[1]) - (b[3] - a[3])
		printf "%.0f %.0f", (others > 0 ? others : 0) / all * 100, (b[2] - a[2]) / all * 100}'
}

# watch WAITER PID [INTERVAL]: until process WAITER has ended, look at the private memory of PID;
# sets peak_kb. Fails as WAITER does.
watch()
{
	local now
	peak_kb=0
	while kill -0 "$1" 2>/dev/null; do
		now=$(status_kb "$2" RssAnon)
		[ "${now:-0}" -le "$peak_kb" ] || peak_kb=$now
		sleep "${3:-0.2}"
	done
	wait "$1"
}

# start to wait in the warehouse until a query gives true; sets waiter. $EDW_STAGE/waited
# becomes the time at which it was.
start_waiting()
{
	as_user "$PG_BINDIR/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PORT_warehouse" -U postgres -d postgres \
		-c "CALL wait_until(\$q\$$1\$q\$, ${2:-1800}, NULL)" >"$EDW_STAGE/waited" &
	waiter=$!
}

wait_until() { sql -c "CALL wait_until(\$q\$$1\$q\$, ${2:-1800}, NULL)"; }

# processes below this shell, the deepest first
descendants()
{
	local pid
	for pid in $(cat /proc/[0-9]*/stat 2>/dev/null | awk -v of="$1" '{pid = $1; sub(/^.*\) /, "")} $2 == of {print pid}'); do
		descendants "$pid"
		echo "$pid"
	done
}

# from TIME: seconds to TIME
seconds_between() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.3f", b - a}'; }

# ---- the machine, in words -----------------------------------------------------
version_of() { (cd "$(test/lib/jars "$1")" && ls) | sed -n "s/^$2-\([0-9].*\)\.jar\$/\1/p" | head -1; }

facts()
{
	local memory cpu fsync
	memory=$(awk '$1 == "MemTotal:" {printf "%.0f", $2 / 1048576}' /proc/meminfo)
	cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
	fsync=$(LC_ALL=C dd if=/dev/zero of="$EDW_STAGE/fsync" bs=8k count=100 oflag=dsync 2>&1 |
		sed -n 's/.* copied, \([0-9.e+-]*\) s.*/\1/p' | awk '{printf "%.2f", $1 * 10}')
	rm -f "$EDW_STAGE/fsync"
	echo "$(nproc) cores (${cpu:-unknown}), $memory GiB, $(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r);" \
		"a write and fsync of 8 kB takes $fsync ms."
	echo "$("$PG_BINDIR/postgres" --version | sed 's/postgres (\([A-Za-z]*\))/\1/; s/ (.*//'), fsync on; librdkafka $(sed -n \
		's/.*#define RD_KAFKA_VERSION  *0x\(..\)\(..\)\(..\).*/\1 \2 \3/p' /usr/include/librdkafka/rdkafka.h |
		{ read -r a b c; echo "$((16#$a)).$((16#$b)).$((16#$c))"; });" \
		"Kafka $(version_of kafka kafka_2.13), $(java -version 2>&1 | head -1 | sed 's/"//g'); all on this machine."
}
