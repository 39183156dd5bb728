#!/usr/bin/env bash
# Three ringfort nodes, a load of mixed commands, and faults one after the other: kills, pauses, wiped and damaged
# data, a full disk, cuts and slow lines between the nodes. What the clients saw is judged at the end: an order must
# explain every reply, key by key, and all that was acknowledged must be there, through every node.
#
#   scripts/faults.sh [SECONDS] [SEED] [--scenario NAME] [--clients N] [--no-network] ...   (--help shows all)
#   scripts/faults.sh --failover 20        kills of the node that leads most: gaps, lost writes, stale reads
#
# Needs Python 3 and cargo; network faults need root and `ip` (Debian: iproute2), a full disk needs root. `--no-network` does
# without, `--network-if-possible` where it must. RINGFORT_BIN names another program. The data lies under target/scripts (RINGFORT_WORK_DIR), kept when something fails.
# Exit code 1 on any violation, when a key cannot be judged within --judge-seconds, and when the cluster does not answer again in time after a
# fault. Histories that are not in order, or undecided, are kept: python3 scripts/lib/history.py FILE judges them again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need_python
use_ringfort
# The judge must tell good histories from bad ones before its word counts.
python3 "$ROOT/scripts/lib/history_test.py"
exec python3 "$ROOT/scripts/faults.py" "$@"
