#!/usr/bin/env bash
# The long fuzz runs: the request parser against its oracle, the log and the snapshots on a failing disk.
#
#   scripts/fuzz.sh [SECONDS] [SEED]       (600 seconds for each of the two)
#
# Needs cargo. A failure prints the seed of its round and the command that repeats it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need cargo "See https://rustup.rs"

seconds="${1:-600}"
seed="${2:-$((RANDOM * 32768 + RANDOM))}"
[[ "$seconds" =~ ^[0-9]+$ ]] || die "SECONDS must be a number, not '$seconds'"
[[ "$seed" =~ ^[0-9]+$ ]] || die "SEED must be a number, not '$seed'"
export RINGFORT_FUZZ_SECONDS="$seconds" RINGFORT_FUZZ_SEED="$seed"

cd "$ROOT"
failed=0
for test in fuzz_protocol fuzz_durability; do
    echo "fuzz: $test for $seconds s, seed $seed"
    if cargo test --quiet --test "$test" -- --nocapture; then
        echo "ok $test"
    else
        echo "FAILED $test: seed $seed; again: scripts/fuzz.sh $seconds $seed"
        failed=$((failed + 1))
    fi
done
echo "fuzz: $((2 - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
