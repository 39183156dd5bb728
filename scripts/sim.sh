#!/usr/bin/env bash
# The deterministic simulation: many seeds on all cores, or the deliberate bugs that it must find.
#
#   scripts/sim.sh SEEDS [FIRST]     so many seeds from FIRST on (1); a single seed is told as a story
#   scripts/sim.sh --bugs            puts each known mistake in on purpose; all must be found within 1,000 seeds
#
# Prints seeds a second, faults by kind, and every failure with the command that repeats it. Needs cargo.
# Optimized as a release is, without its slow linking (profile `quick`; RINGFORT_SIM_PROFILE=release for the real one).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need cargo "See https://rustup.rs"

[ $# -ge 1 ] || die "usage: scripts/sim.sh SEEDS [FIRST] | --bugs"
cd "$ROOT"
run() {
    cargo test --quiet --profile "${RINGFORT_SIM_PROFILE:-quick}" --test simulation "$1" -- --exact --nocapture
}
if [ "$1" = --bugs ]; then
    run each_deliberate_bug_is_found
    exit
fi
[[ "$1" =~ ^[1-9][0-9]*$ ]] || die "SEEDS must be a number, not '$1'"
[[ "${2:-1}" =~ ^[0-9]+$ ]] || die "FIRST must be a number, not '$2'"
export RINGFORT_SIM_SEEDS="$1" RINGFORT_SIM_FIRST="${2:-1}"
run no_seed_loses_an_acknowledged_write_or_shows_a_stale_one
