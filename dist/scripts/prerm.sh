#!/bin/sh
# Before removal, not before an upgrade: the daemon ends. Debian calls it with "remove", rpm with 0.
set -e
case "$1" in remove | 0) ;; *) exit 0 ;; esac
[ -d /run/systemd/system ] || exit 0
systemctl disable --now pipelined.service
# Programs of bridges outlive the daemon: frames would go on past nobody. Those that are pinned elsewhere (bpffs) are not found here.
/usr/bin/pipelined detach || echo "pipelined: what a bridge has left on interfaces is still there: see pipelined detach --help" >&2
