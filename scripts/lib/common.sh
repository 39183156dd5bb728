# What the scripts share: where the program is, and what must be installed. Sourced, never run.
#
# RINGFORT_BIN names a built program; without it a release build is made (or brought up to date).

# The repository, wherever the script was called from.
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export PYTHONPATH="$ROOT/scripts/lib${PYTHONPATH:+:$PYTHONPATH}"
# Compiled files beside the sources would only be clutter.
export PYTHONDONTWRITEBYTECODE=1

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# need PROGRAM HINT: ends the script, saying how to get PROGRAM, when it is missing.
need() {
    command -v "$1" >/dev/null 2>&1 || die "needs $1, which is not installed. $2"
}

need_python() {
    need python3 "Install Python 3.8 or newer."
}

need_redis() {
    need "${REDIS_SERVER:-redis-server}" "On Debian: apt-get install redis-server"
    need "${REDIS_CLI:-redis-cli}" "On Debian: apt-get install redis-tools"
    need "${REDIS_BENCHMARK:-redis-benchmark}" "On Debian: apt-get install redis-tools"
}

# Sets and exports RINGFORT_BIN, building the release when the caller named no program.
use_ringfort() {
    if [ -z "${RINGFORT_BIN:-}" ]; then
        need cargo "See https://rustup.rs"
        (cd "$ROOT" && cargo build --release --quiet --bin ringfort) || die "the release build failed"
        RINGFORT_BIN="${CARGO_TARGET_DIR:-$ROOT/target}/release/ringfort"
    fi
    command -v "$RINGFORT_BIN" >/dev/null 2>&1 || die "RINGFORT_BIN=$RINGFORT_BIN is not a program"
    export RINGFORT_BIN
}
