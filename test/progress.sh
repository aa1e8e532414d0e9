#!/usr/bin/env bash
# progress.sh TOTAL: pass on the output of go test, with the number of packages that are done before each package's line.
total=$1 done=0
while IFS= read -r line || [ -n "$line" ]; do
  case $line in
    "ok  "*$'\t'* | "FAIL"$'\t'* | "?   "*$'\t'*) done=$((done + 1)); printf '[%d/%d] %s\n' "$done" "$total" "$line" ;;
    *) printf '%s\n' "$line" ;;
  esac
done
