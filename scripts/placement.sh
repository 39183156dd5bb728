#!/usr/bin/env bash
# The placement of a large cluster, simulated: steps, copies, bytes moved and time of computation when it is formed, when a node
# joins, is removed or is lost, and when a whole zone is lost.
#
#   scripts/placement.sh [NODES [SHARDS [MIB]]]     1000 nodes, 8192 shards of 128 MiB each, unless told otherwise
#
# The functions that decide are those of a node; the cluster is the model of the placement's tests, in which a copy takes one round.
# Needs cargo. Optimized as a release is, without its slow linking. Checks after every part that every shard has its copies on
# distinct nodes in distinct zones, and none on a node that is gone.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need cargo "See https://rustup.rs"

[ $# -le 3 ] || die "usage: scripts/placement.sh [NODES [SHARDS [MIB]]]"
for number in "$@"; do
    [[ "$number" =~ ^[1-9][0-9]*$ ]] || die "'$number' is not a number"
done
cd "$ROOT"
exec cargo bench --quiet --profile "${RINGFORT_SIM_PROFILE:-quick}" --package ringfort-cluster --bench placement -- \
    "${1:-1000}" "${2:-8192}" "${3:-128}"
