#!/bin/sh
# Checks the alert rules with promtool (of Debian's package `prometheus`), where there is one.
set -eu
cd "$(dirname "$0")/.."
if ! command -v promtool >/dev/null 2>&1; then
    echo "SKIPPED: no promtool; apt-get install prometheus brings it"
    exit 0
fi
promtool check rules deploy/prometheus/grapevine.rules.yml
