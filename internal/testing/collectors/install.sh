#!/usr/bin/env bash
# Unpacks rsyslog, syslog-ng, ulogd and promtool from Debian, with the libraries they need, into the folder that is named: the packages of
# the first two replace each other, so they cannot both be installed, and those of the others start a daemon. Nothing of the system is changed but,
# for root, the package lists.
set -euo pipefail
to=${1:?folder}
have() { [ -x "$to/usr/sbin/rsyslogd" ] && [ -x "$to/usr/sbin/syslog-ng" ] && [ -x "$to/usr/sbin/ulogd" ]; }
have_promtool() { [ -x "$to/usr/bin/promtool" ] || command -v promtool > /dev/null; }
have && have_promtool && exit 0
packages=()
have_promtool || packages+=(prometheus)
have || packages+=(
  rsyslog rsyslog-relp rsyslog-gnutls rsyslog-openssl syslog-ng-core
  libestr0 libfastjson4 liblognorm5 librelp0 libivykis0 libjson-c5 libnet1 libpcre3 libwrap0 libglib2.0-0 libnsl2 libtirpc3
  libgnutls30 libp11-kit0 libidn2-0 libunistring2 libtasn1-6 libnettle8 libhogweed6 libgmp10 libffi8
  ulogd2 libnetfilter-log1 libnetfilter-conntrack3 libnetfilter-acct1 libnfnetlink0 libmnl0
)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
download() { (cd "$work" && apt-get download -qq "${packages[@]}" 2>"$work/log" >/dev/null); }
download || { [ "$(id -u)" = 0 ] && apt-get update -qq && download; } || { cat "$work/log"; exit 1; }
mkdir -p "$to"
for deb in "$work"/*.deb; do
  case $deb in
    */prometheus_*) dpkg --fsys-tarfile "$deb" | tar -x -C "$to" ./usr/bin/promtool ;;
    *) dpkg -x "$deb" "$to" ;;
  esac
done
have && have_promtool
