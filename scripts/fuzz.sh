#!/usr/bin/env bash
# Fuzzes the request parser (redis-protocol's decoder is the oracle) and the readers of the write-ahead
# log and of snapshots.
#
#   scripts/fuzz.sh [SECONDS] [SEED]        (600 seconds for each of the two, a new seed by default)
#
# Needs cargo. A failure prints the seed and the command that repeats it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need cargo "See https://rustup.rs"
export RINGFORT_FUZZ_SECONDS="${1:-600}"
export RINGFORT_FUZZ_SEED="${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}"
echo "fuzz: $RINGFORT_FUZZ_SECONDS s each, seed $RINGFORT_FUZZ_SEED"
cd "$ROOT"
for test in fuzz_protocol fuzz_durability; do
    cargo test --quiet --test "$test" -- --nocapture
    echo "fuzz: $test: ok"
done
