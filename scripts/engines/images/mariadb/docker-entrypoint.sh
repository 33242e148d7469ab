#!/bin/bash
set -eo pipefail
shopt -s nullglob
if [ "$1" = mariadbd ]; then
	if [ "$(id -u)" = 0 ]; then
		find /var/lib/mysql \! -user mysql -exec chown mysql: '{}' +
		exec gosu mysql "${BASH_SOURCE[0]}" "$@"
	fi
	if [ ! -d /var/lib/mysql/mysql ]; then
		mariadb-install-db --datadir=/var/lib/mysql --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve
	fi
fi
exec "$@"
