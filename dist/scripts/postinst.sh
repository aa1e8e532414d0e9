#!/bin/sh
# After installation and upgrade: the user, the unit, and a restart if the daemon runs and takes its configuration still.
# Debian calls it with "configure [OLD-VERSION]", rpm with the number of versions installed.
set -e
case "$1" in abort-*) exit 0 ;; esac

systemd-sysusers /usr/lib/sysusers.d/pipelined.conf 2> /dev/null ||
  getent passwd pipelined > /dev/null || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin pipelined

[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if systemctl is-active --quiet pipelined.service; then
  # The unit checks before it starts; checking here leaves the running daemon alone if the new version finds a mistake.
  if /usr/bin/pipelined check --for run --config /etc/pipelined/pipeline.toml > /dev/null; then
    systemctl restart pipelined.service
  else
    echo "pipelined: the daemon was not restarted: see pipelined check --for run --config /etc/pipelined/pipeline.toml" >&2
  fi
elif [ ! -e /etc/pipelined/pipeline.toml ]; then
  echo "pipelined: write /etc/pipelined/pipeline.toml (pipelined init makes one for this machine; examples are in"
  echo "/usr/share/doc/pipelined/examples), then: systemctl enable --now pipelined"
fi
