#!/usr/bin/env bash
# setup.sh - the official client, and a Node new enough for it, into tests/api/node_modules.
# Costs nothing when they are there and the lock file has not changed since.
set -euo pipefail
cd "$(dirname "$0")"
[ node_modules/.installed -nt package-lock.json ] && exit 0
npm ci --no-audit --no-fund --loglevel=error >/dev/null
node_modules/.bin/node --version >/dev/null
touch node_modules/.installed
