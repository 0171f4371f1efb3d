#!/bin/bash
# Entry point of the stand-in for the PostgreSQL image, see private-images.sh: makes
# the cluster in a new volume and runs the server. Of the official image's contract
# it keeps what is used here: POSTGRES_PASSWORD or its _FILE, POSTGRES_USER,
# POSTGRES_DB, POSTGRES_INITDB_ARGS, and the log lines that tests wait for.
set -euo pipefail

case ${1:-} in
-*) set -- postgres "$@" ;;
postgres) ;;
*) exec "$@" ;;
esac
: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"

if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" /var/run/postgresql
	chown postgres: "$PGDATA" /var/run/postgresql
	chmod 700 "$PGDATA"
	exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	password=${POSTGRES_PASSWORD:-}
	[ -z "${POSTGRES_PASSWORD_FILE:-}" ] || password=$(<"$POSTGRES_PASSWORD_FILE")
	if [ -z "$password" ]; then
		echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
		exit 1
	fi
	# shellcheck disable=SC2086 # the arguments are words
	initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$password") \
		--auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
	echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
	pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses=''" --wait start
	if [ "$POSTGRES_DB" != postgres ]; then
		createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
	fi
	pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
	printf '\nPostgreSQL init process complete; ready for start up.\n\n'
fi
exec "$@"
