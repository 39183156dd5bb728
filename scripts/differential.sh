#!/usr/bin/env bash
# Sends the same random commands to redis-server and to ringfort and compares the replies.
#
#   scripts/differential.sh [COMMANDS] [SEED]        (200,000 commands and a new seed by default)
#
# Needs redis-server 7.0 (Debian: redis-server) and cargo. RINGFORT_BIN and REDIS_SERVER name other
# programs; DIFFERENTIAL_THREADS is ringfort's --threads (default 2), DIFFERENTIAL_PIPELINE
# how many commands are sent at once at most (default 150). tests/differential/README.md lists the
# differences that are meant. Exit code 1 and a short stream to repeat it at any other difference.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need "${REDIS_SERVER:-redis-server}" "On Debian: apt-get install redis-server"
need cargo "See https://rustup.rs"
use_ringfort
options=(--commands "${1:-200000}" --threads "${DIFFERENTIAL_THREADS:-2}")
options+=(--pipeline "${DIFFERENTIAL_PIPELINE:-150}")
if [ -n "${2:-}" ]; then
    options+=(--seed "$2")
fi
cd "$ROOT"
exec cargo test --quiet --test differential -- "${options[@]}"
