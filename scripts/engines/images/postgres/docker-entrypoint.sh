#!/usr/bin/env bash
set -Eeo pipefail
# After the official image's.
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA"
	chmod 00700 "$PGDATA" || :
	mkdir -p /var/run/postgresql || :
	chmod 03775 /var/run/postgresql || :
	find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
	find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
	exec gosu postgres "$BASH_SOURCE" "$@"
fi
if [ "$1" = postgres ]; then
	mkdir -p "$PGDATA"
	chmod 00700 "$PGDATA" || :
	if [ ! -s "$PGDATA/PG_VERSION" ]; then
		# Without an entry of its own in the list of users initdb does not start.
		if ! getent passwd "$(id -u)" &> /dev/null; then
			echo "uid $(id -u) has no name" >&2
		fi
		initdb --username=postgres --pwfile=<(echo secret) -D "$PGDATA"
		echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >> "$PGDATA/pg_hba.conf"
	fi
	set -- "$@" -c listen_addresses='*'
fi
exec "$@"
