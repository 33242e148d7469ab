#!/bin/bash
set -e
mkdir -p /var/log/squid
chmod -R 755 /var/log/squid
chown -R proxy:proxy /var/log/squid
mkdir -p /var/spool/squid
chown -R proxy:proxy /var/spool/squid
if [[ ! -d /var/spool/squid/00 ]]; then
	/usr/sbin/squid -N -f /etc/squid/squid.conf -z
fi
exec /usr/sbin/squid "$@"
