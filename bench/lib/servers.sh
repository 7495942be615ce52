# servers.sh: what the benchmark runs on: Kafka, PostgreSQL, topics with events in
# them. Sourced by bench/run, in the stage.
#
# Sets	kafka		the broker's address
#	program		the generator
#	PORT_warehouse	and others by start_postgres

# psql in a server, one value: psql_in NAME OPTION…
psql_in()
{
	local port=PORT_$1
	shift
	PGOPTIONS=-cclient_min_messages=warning as_user "$PG_BINDIR/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "${!port}" -U postgres -d postgres "$@"
}

# the same in the warehouse
sql() { psql_in warehouse "$@"; }

start_kafka()
{
	# the broker gets its full compiler: it must not be what is measured
	kafka=$(EDW_KAFKA_JAVA_OPTS= EDW_KAFKA_HEAP=1g as_user test/lib/kafka start "$EDW_STAGE/kafka")
}

create_topic() { as_user "$(test/lib/ctool kafka_tool)" "$kafka" create "$@"; }
delete_topic() { as_user "$(test/lib/ctool kafka_tool)" "$kafka" delete "$1"; }

# start_postgres NAME [SETTING…]
start_postgres()
{
	local name=$1
	shift
	edw_postgres "$name" "shared_buffers = '512MB'" "max_wal_size = '8GB'" "checkpoint_timeout = '30min'" \
		"max_worker_processes = 16" "autovacuum = on" "$@"
}

# start_warehouse [SETTING…]: with the extension, server k, and what the modes share
start_warehouse()
{
	start_postgres warehouse "shared_preload_libraries = 'edw_stream'" "$@" ${settings[@]+"${settings[@]}"}
	sql -c 'CREATE EXTENSION edw_stream' \
		-c "CREATE SERVER k FOREIGN DATA WRAPPER edw_kafka OPTIONS (\"bootstrap.servers\" '$kafka')" \
		-c 'CREATE USER MAPPING FOR CURRENT_USER SERVER k' \
		-f bench/lib/wait.sql
}

# columns of the table
columns='id, customer_id, product_id, status, amount, updated_at'
table='(id bigint PRIMARY KEY, customer_id bigint, product_id bigint, status text,
	amount numeric(12,2), updated_at timestamptz)'

# generate TOPIC OPTION…: events into the topic, which exists. Sets topic_events,
# last_id and last_at [TOPIC], and prints what it did.
declare -A topic_events last_id last_at
generate()
{
	local topic=$1 about=$EDW_STAGE/about.$1 n bytes seconds id at
	shift
	# waited for, as a signal interrupts waiting, but not a command
	as_user "$program" "$kafka" "$topic" --seed "$seed" "$@" ${producer[@]+"${producer[@]}"} >"$about" &
	wait $!
	read -r n bytes seconds id at <"$about"
	topic_events[$topic]=$n last_id[$topic]=$id last_at[$topic]=$at
	awk -v t="$topic" -v n="$n" -v b="$bytes" -v s="$seconds" \
		'BEGIN {printf "produced   %s: %d events, %d bytes each, %.0f events/s\n", t, n, b, n / s}'
}

# load_oracle TABLE FILE: the rows that the warehouse must end with
load_oracle()
{
	sql -c "CREATE TABLE $1 $table" -c "\\copy $1 FROM '$2'" -c "VACUUM ANALYZE $1"
}

# rows in which the tables differ
differences()
{
	sql -c "SELECT count(*) FROM ((SELECT $columns FROM $1 EXCEPT SELECT $columns FROM $2)
		UNION ALL (SELECT $columns FROM $2 EXCEPT SELECT $columns FROM $1)) d"
}
