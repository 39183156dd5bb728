#!/usr/bin/env bash
# What a node must endure: thousands of idle connections, clients that never read, frames that are no
# frames, a full disk, damaged files, wrong settings. Each check prints `ok NAME` or `FAILED NAME: why`.
#
#   scripts/abuse.sh [NAME ...]            (only the checks whose names begin so)
#
# Needs Python 3 and cargo; the full disk needs root, because it mounts a small tmpfs. RINGFORT_BIN names
# another program, ABUSE_SEED repeats a run's garbage, ABUSE_IDLE is the number of idle connections
# (default 10000). The data lies under target/scripts (RINGFORT_WORK_DIR); what a failed check used is kept.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need_python
use_ringfort
# Two descriptors a connection are not needed, but as many in the server as in the client are.
ulimit -n 40000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec python3 "$ROOT/scripts/abuse.py" "$@"
