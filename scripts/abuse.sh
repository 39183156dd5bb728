#!/usr/bin/env bash
# Treats ringfort badly and checks that it lives, serves others, stays small and says what is wrong.
#
#   scripts/abuse.sh [TEST...]        (all of them by default; --list names them)
#
# Needs Python 3, cargo, a hard limit of at least 10,700 open files (`ulimit -Hn`), and root for the full
# disk, which is a small tmpfs. RINGFORT_BIN names another program.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need_python
use_ringfort
exec python3 "$ROOT/scripts/abuse/main.py" "$@"
