#!/usr/bin/env bash
# Kills ringfort with SIGKILL while clients write, and checks after each restart that every
# acknowledged write is there and no MSET was half done.
#
#   scripts/crash.sh [KILLS] [SEED]        (50 kills in each of the modes `always` and `everysec`)
#
# Needs Python 3 and cargo. RINGFORT_BIN names another program; CRASH_THREADS is ringfort's --threads
# (default 1: only then do all shards of an MSET lie on one worker); CRASH_MODES is a list of modes.
# The data lies in a directory under target/scripts (RINGFORT_WORK_DIR), kept when a check fails.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need_python
use_ringfort
exec python3 "$ROOT/scripts/crash.py" "$@"
