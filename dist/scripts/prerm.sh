#!/bin/sh
# Before removal, not before an upgrade: the daemon ends. Debian calls it with "remove", rpm with 0.
set -e
case "$1" in remove | 0) ;; *) exit 0 ;; esac
[ -d /run/systemd/system ] || exit 0
systemctl disable --now pipelined.service
# Programs of bridges outlive the daemon: frames would go on past nobody.
/usr/bin/pipelined detach 2> /dev/null || true
