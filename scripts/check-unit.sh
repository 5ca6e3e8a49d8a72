#!/usr/bin/env bash
# Lets systemd judge the shipped unit. The binary need not be installed: any program stands in for it.
set -euo pipefail

unit=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/systemd/csflowd.service
if ! command -v systemd-analyze >/dev/null; then
    echo "skipped: no systemd-analyze here"
    exit
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed "s|/usr/bin/csflowd|$(command -v true)|" "$unit" >"$folder/csflowd.service"
# An unknown key is but a warning to systemd; to us it is a mistake.
if complaints=$(systemd-analyze verify --man=no "$folder/csflowd.service" 2>&1) &&
    [[ $complaints != *csflowd.service* ]]; then
    echo "ok: $unit"
else
    echo "$complaints" >&2
    exit 1
fi
