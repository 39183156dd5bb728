#!/usr/bin/env bash
# Runs everyday operations against ringfort through the clients that people use: redis-cli, redis-py,
# ioredis and redis-rs; and through their cluster-aware forms against the cluster port. Each client has its program under scripts/clients/.
#
#   scripts/clients.sh
#
# Needs redis-cli, Python 3 with venv, node and npm, cargo, and the package registries. The libraries are
# installed under target/clients, in versions that are written down. RINGFORT_BIN names another program.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
need_python
need "${REDIS_CLI:-redis-cli}" "On Debian: apt-get install redis-tools"
need node "On Debian: apt-get install nodejs"
need npm "On Debian: apt-get install npm"
need cargo "See https://rustup.rs"
use_ringfort

clients="$ROOT/scripts/clients"
home="${CARGO_TARGET_DIR:-$ROOT/target}/clients"
mkdir -p "$home"

[ -x "$home/venv/bin/pip" ] || python3 -m venv "$home/venv" ||
    die "python3 -m venv failed. On Debian: apt-get install python3-venv"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check redis==6.4.0 || die "pip could not install redis-py"

mkdir -p "$home/ioredis"
cp "$clients/ioredis/"* "$home/ioredis/"
(cd "$home/ioredis" && npm ci --silent --no-audit --no-fund) || die "npm could not install ioredis"

(cd "$clients/redis-rs" && CARGO_TARGET_DIR="$home/redis-rs" cargo build --quiet --locked) ||
    die "cargo could not build the redis-rs program"

exec python3 "$clients/clients.py" \
    "redis-cli=$clients/redis_cli.sh" \
    "redis-cli-cluster=$clients/redis_cli_cluster.sh" \
    "redis-py=env -u PYTHONPATH $home/venv/bin/python $clients/redis_py.py" \
    "redis-py-cluster=env -u PYTHONPATH $home/venv/bin/python $clients/redis_py_cluster.py" \
    "ioredis=node $home/ioredis/main.mjs" \
    "ioredis-cluster=node $home/ioredis/cluster.mjs" \
    "redis-rs=$home/redis-rs/debug/redis-rs-client" \
    "redis-rs-cluster=$home/redis-rs/debug/redis-rs-client cluster"
