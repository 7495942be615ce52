# common.sh: what test/run, demo/run and bench/run share. Sourced by bash.
#
# Sets	EDW_ROOT	the repository
#	PG_CONFIG	(default pg_config), PG_BINDIR, PG_PGXS
#	EDW_CACHE	(default .cache in the repository): jars and compiled tools
#	EDW_USER	who servers run as: PostgreSQL refuses to be root

EDW_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export EDW_ROOT
export EDW_CACHE=${EDW_CACHE:-$EDW_ROOT/.cache}
export PG_CONFIG=${PG_CONFIG:-pg_config}

# After the packages are there: where PostgreSQL is.
edw_find_postgres()
{
	PG_BINDIR=$("$PG_CONFIG" --bindir)
	PG_PGXS=$(dirname "$(dirname "$(dirname "$("$PG_CONFIG" --pgxs)")")")
	export PG_BINDIR PG_PGXS
	if [ "$(id -u)" -ne 0 ]; then
		EDW_USER=$(id -un)
	elif id postgres >/dev/null 2>&1; then
		EDW_USER=postgres
	else
		EDW_USER=nobody
	fi
	export EDW_USER
}

# Run a command as the user that servers run as.
as_user()
{
	if [ "$(id -u)" -ne 0 ]; then
		"$@"
	else
		setpriv --reuid="$EDW_USER" --regid="$(id -g "$EDW_USER")" --clear-groups \
			env HOME="${EDW_STAGE:-/tmp}" USER="$EDW_USER" LOGNAME="$EDW_USER" "$@"
	fi
}

# Make EDW_STAGE: a folder that the servers' user may write, removed by
# edw_remove_stage. The clone may be where that user cannot go.
edw_make_stage()
{
	EDW_STAGE=$(mktemp -d "${TMPDIR:-/tmp}/edw_$1.XXXXXX")
	export EDW_STAGE EDW_PIDS=$EDW_STAGE/pids
	mkdir "$EDW_PIDS" "$EDW_STAGE/tmp"
	chmod 755 "$EDW_STAGE"
	[ "$(id -u)" -ne 0 ] || chown -R "$EDW_USER:" "$EDW_STAGE"
}

# Copy the repository into the stage, and the cache too if the servers' user cannot
# read it, and go there: a program whose folder is closed to its user may fail.
edw_fill_stage()
{
	mkdir "$EDW_STAGE/repo"
	tar -C "$EDW_ROOT" --exclude=./.git --exclude=./.cache --exclude='*.o' --exclude='*.so' \
		-cf - . | tar -C "$EDW_STAGE/repo" -xf -
	[ "$(id -u)" -ne 0 ] || chown -R "$EDW_USER:" "$EDW_STAGE/repo"
	if ! as_user test -x "$EDW_CACHE"; then
		mkdir "$EDW_STAGE/cache"
		cp -a "$EDW_CACHE"/*-* "$EDW_CACHE/bin" "$EDW_STAGE/cache/" 2>/dev/null || true
		chmod -R a+rX "$EDW_STAGE/cache"
		export EDW_CACHE=$EDW_STAGE/cache
	fi
	cd "$EDW_STAGE/repo" || exit 1
}

# End what was started from the stage and is still there (a test that was killed
# cannot clean up), and remove the stage.
edw_remove_stage()
{
	local note pid i
	[ -n "${EDW_STAGE:-}" ] && [ -d "$EDW_STAGE" ] || return 0
	cd /
	for note in "$EDW_PIDS"/*; do
		[ -e "$note" ] || continue
		pid=${note##*.}
		# only if it still is what was started
		if grep -qsF "$(cat "$note")" "/proc/$pid/cmdline"; then
			kill -KILL "$pid" 2>/dev/null || true
		fi
	done
	for note in "$EDW_STAGE"/*/postmaster.pid "$EDW_STAGE"/repo/tmp_check/*/pgdata/postmaster.pid; do
		[ -e "$note" ] || continue
		as_user "$PG_BINDIR/pg_ctl" -D "$(dirname "$note")" -m immediate -w stop >/dev/null 2>&1 || true
	done
	for ((i = 0; i < 10; i++)); do
		rm -rf "$EDW_STAGE" 2>/dev/null && break
		sleep 0.5
	done
}

# Build and install; says nothing if all is well. Writes the log to $1.
edw_build()
{
	make -C "$EDW_ROOT" -s -j2 PG_CONFIG="$PG_CONFIG" >"$1" 2>&1 </dev/null &&
		make -C "$EDW_ROOT" -s install PG_CONFIG="$PG_CONFIG" >>"$1" 2>&1 </dev/null
}

# edw_postgres NAME [SETTING…]: a fresh server in $EDW_STAGE/NAME, socket in
# $EDW_STAGE/NAME.socket, TCP on 127.0.0.1, superuser postgres without a password.
# Sets PORT_NAME. fsync is on unless said otherwise.
edw_postgres()
{
	local name=$1 port setting dir=$EDW_STAGE/$1
	shift
	port=$("$EDW_ROOT/test/lib/free_port")
	as_user "$PG_BINDIR/initdb" -D "$dir" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N \
		>"$EDW_STAGE/$name.initdb.log" 2>&1 || { cat "$EDW_STAGE/$name.initdb.log" >&2; return 1; }
	as_user mkdir -p "$dir.socket"
	{
		echo "port = $port"
		echo "listen_addresses = '127.0.0.1'"
		echo "unix_socket_directories = '$dir.socket'"
		for setting; do echo "$setting"; done
	} | as_user tee -a "$dir/postgresql.conf" >/dev/null
	as_user "$PG_BINDIR/pg_ctl" -D "$dir" -l "$dir.log" -w -t 120 start >/dev/null 2>&1 9>&- ||
		{ tail -20 "$dir.log" >&2; return 1; }
	printf -v "PORT_$name" %s "$port"
}
