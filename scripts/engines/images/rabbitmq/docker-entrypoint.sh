#!/usr/bin/env bash
set -euo pipefail
# allow the container to be started with `--user`
if [[ "$1" == */rabbitmq* ]] && [ "$(id -u)" = '0' ]; then
	find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq '{}' +
	exec gosu rabbitmq "${BASH_SOURCE[0]}" "$@"
fi
exec "$@"
