#!/usr/bin/env bash
# Unpacks rsyslog and syslog-ng from Debian, with the libraries they need, into the folder that is named: their packages
# replace each other, so they cannot both be installed. Nothing of the system is changed but, for root, the package lists.
set -euo pipefail
to=${1:?folder}
[ -x "$to/usr/sbin/rsyslogd" ] && [ -x "$to/usr/sbin/syslog-ng" ] && exit 0
packages=(
  rsyslog rsyslog-relp rsyslog-gnutls rsyslog-openssl syslog-ng-core
  libestr0 libfastjson4 liblognorm5 librelp0 libivykis0 libjson-c5 libnet1 libpcre3 libwrap0 libglib2.0-0 libnsl2 libtirpc3
  libgnutls30 libp11-kit0 libidn2-0 libunistring2 libtasn1-6 libnettle8 libhogweed6 libgmp10 libffi8
)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
download() { (cd "$work" && apt-get download -qq "${packages[@]}" 2>"$work/log" >/dev/null); }
download || { [ "$(id -u)" = 0 ] && apt-get update -qq && download; } || { cat "$work/log"; exit 1; }
mkdir -p "$to"
for deb in "$work"/*.deb; do dpkg -x "$deb" "$to"; done
test -x "$to/usr/sbin/rsyslogd" && test -x "$to/usr/sbin/syslog-ng"
