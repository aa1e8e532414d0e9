#!/bin/sh
# After removal. Logs stay; a purge (Debian) removes what the daemon has kept for its next run.
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
if [ "$1" = purge ]; then rm -rf /var/lib/pipelined; fi
