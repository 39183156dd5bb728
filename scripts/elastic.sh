#!/usr/bin/env bash
# Nodes come and go under load: 3 -> 4 -> 5 -> 4 -> 3 while clients write evenly at half of what the cluster can do.
# Prints what they felt in each phase, and judges: no error at a client that tries again, no acknowledged write lost, a linearizable
# history, throughput of any second at least 70 % and p99 below 10 times of what they were before.
#
#   scripts/elastic.sh [--seconds-per-phase N] [--data BYTES] [--kill] [--seed N] ...   (--help shows all)
#   scripts/elastic.sh --kill              and a random node is killed in the middle of each move
#   scripts/elastic.sh --one-shard         one shard with all the data moves to another node: how long is it unavailable?
#
# Needs Python 3 and cargo. RINGFORT_BIN names another program, ELASTIC_LOAD another load. The data lies under target/scripts
# (RINGFORT_WORK_DIR), kept when something fails. Exit code 1 with the reason when a limit is missed; with --report-only only
# for lost writes, errors and histories that nothing explains or that cannot be judged within --judge-seconds (they are kept for
# scripts/lib/history.py).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need_python
use_ringfort
if [ -z "${ELASTIC_LOAD:-}" ]; then
    need cargo "See https://rustup.rs"
    (cd "$ROOT" && cargo build --release --quiet -p elastic-load) || die "the build of the load failed"
    ELASTIC_LOAD="${CARGO_TARGET_DIR:-$ROOT/target}/release/elastic-load"
fi
export ELASTIC_LOAD
# The judge must tell good histories from bad ones before its word counts.
python3 "$ROOT/scripts/lib/history_test.py"
exec python3 "$ROOT/scripts/elastic.py" "$@"
