#!/usr/bin/env bash
# Compares ringfort with redis-server on this machine and prints the table that the README quotes.
#
#   scripts/bench.sh [--quick] [--rows p1,p16,p64,always,memory,restart,tests,full] [--rounds N] [--no-check]
#   scripts/bench.sh --cluster [--rows c1,c16,c64,cget] ...     three nodes against a redis with two replicas
#
# Needs redis-server and redis-benchmark (Debian: redis-server, redis-tools), Python 3 and cargo.
# RINGFORT_BIN, REDIS_SERVER and REDIS_BENCHMARK name other programs; RINGFORT_WORK_DIR is where the
# servers keep their data (default: target/scripts; both on the same disk). Nothing else should run
# meanwhile. Exit code 1 when a row is above its limit, unless --no-check.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need_python
need_redis
use_ringfort
exec python3 "$ROOT/scripts/bench.py" "$@"
