#!/usr/bin/env bash
# The deb under a real systemd: a Debian that is this machine's own root, read-only with an overlay over it, is booted in a container
# (systemd-nspawn). There the package is installed, configured and started, upgraded while the daemon runs, and removed. make packages-test.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "this needs root"; exit 1; }
command -v systemd-nspawn > /dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq systemd systemd-container dbus > /dev/null; }

deb=$(ls bin/packages/*.deb)
work=$(mktemp -d)
pid= # of the container
cleanup() {
  set +e # whatever there is not, the rest is removed
  if [ -n "$pid" ]; then kill "$pid"; wait "$pid"; fi 2> /dev/null
  umount -q "$work/root" "$work/upper"
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
cp "$deb" "$work/old.deb"

# The same package with a later version is the upgrade.
dpkg-deb -R "$deb" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
dpkg-deb -Zgzip -z1 -b "$work/next" "$work/new.deb" > /dev/null

cat > "$work/test.sh" << 'INSIDE'
#!/bin/bash
# Runs in the container, and writes what came of it to /packages/result.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
say() { echo "$@" >> /packages/result; }
trap 'say "failed in line $LINENO: $BASH_COMMAND"; journalctl -u pipelined --no-pager | tail -n 40 >> /packages/result; poweroff' ERR
main() { systemctl show -p MainPID --value pipelined; }
# A command behind ! or before && does not end the script when it fails: each check is a command of its own.
stopped() { if systemctl is-active -q pipelined; then return 1; fi; }

dpkg -i /packages/old.deb >> /packages/log 2>&1
id pipelined > /dev/null
stopped
man 5 pipeline.toml 2> /dev/null | grep "One file, pipeline.toml" > /dev/null
cat > /etc/pipelined/pipeline.toml << 'TOML'
[pipeline]
sources = ["live"]
hooks   = ["policies"]
sinks   = ["events"]
[zones.here]
prefixes = ["127.0.0.0/8"]
[sources.live]
plugin     = "afpacket"
interfaces = ["lo"]
[hooks.policies]
plugin  = "policydeny"
default = "permit"
[sinks.events]
plugin = "file"
path   = "/var/log/pipelined/events.log"
TOML
systemctl enable -q --now pipelined
systemctl is-active -q pipelined
[ "$(stat -c %U /proc/"$(main)")" = pipelined ]
ping -c 2 -i 0.2 127.0.0.1 > /dev/null
pipelined status > /packages/status
say "installed and started: $(systemctl show -p ActiveState,SubState,Type pipelined | tr '\n' ' ')"

before=$(main)
systemctl reload pipelined
[ "$(main)" = "$before" ]
say "reloaded: the same process"

dpkg -i /packages/new.deb >> /packages/log 2>&1
systemctl is-active -q pipelined
[ "$(main)" != "$before" ]
ping -c 2 -i 0.2 127.0.0.1 > /dev/null
say "upgraded while it ran: another process"

sed -i 's/plugin = "file"/plugin = "fiel"/' /etc/pipelined/pipeline.toml
before=$(main)
dpkg -i /packages/new.deb >> /packages/log 2>&1
[ "$(main)" = "$before" ]
say "upgraded with a mistake in the configuration: the daemon was left alone"
sed -i 's/plugin = "fiel"/plugin = "file"/' /etc/pipelined/pipeline.toml

systemctl stop pipelined
grep -c RT_FLOW_SESSION /var/log/pipelined/events.log > /packages/records
say "records: $(cat /packages/records)"
dpkg -r pipelined >> /packages/log 2>&1
stopped
[ ! -e /usr/bin/pipelined ]
[ -d /var/lib/pipelined ]
[ -s /var/log/pipelined/events.log ]
say "removed: logs and state stay"
dpkg -P pipelined >> /packages/log 2>&1
[ ! -d /var/lib/pipelined ]
[ -s /var/log/pipelined/events.log ]
say "purged: logs stay"
say "passed"
poweroff
INSIDE
chmod +x "$work/test.sh"
cat > "$work/packages-test.service" << 'EOU'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/packages/test.sh
TimeoutStartSec=180
EOU

# What the container writes is in memory.
mkdir "$work/upper" "$work/root"
mount -t tmpfs -o mode=0755 packages "$work/upper"
mkdir "$work/upper/changes" "$work/upper/work"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper/changes,workdir=$work/upper/work" packages "$work/root"
rm -f "$work/root/etc/machine-id"

timeout 300 systemd-nspawn --quiet --directory="$work/root" --private-network --bind="$work:/packages" --machine="packages-$$" --register=no --keep-unit --link-journal=no \
  --bind-ro="$work/packages-test.service:/etc/systemd/system/packages-test.service" \
  --boot systemd.unit=multi-user.target systemd.wants=packages-test.service > "$work/console" 2>&1 &
pid=$!
wait "$pid" || true
cat "$work/result" 2> /dev/null || { echo "the container did not come so far:"; tail -n 40 "$work/console"; exit 1; }
grep -qx passed "$work/result" || { tail -n 20 "$work/log"; exit 1; }
