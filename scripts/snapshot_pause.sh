#!/usr/bin/env bash
# Fills a node with a GiB and measures how long snapshots hold requests up (limit: 5 ms).
#
#   scripts/snapshot_pause.sh [MIB] [SECONDS]     (1024 MiB, 20 seconds a phase)
#
# Needs Python 3 and cargo, and about four times MIB of memory and disk. RINGFORT_BIN names another program.
# Fails when clearly more GETs are late with snapshots than without: a machine that does other things too delays some anyway.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need_python
use_ringfort
exec python3 "$ROOT/scripts/snapshot_pause.py" "$@"
