#!/usr/bin/env bash
# Runs everyday operations against ringfort through the clients that people use: redis-cli, redis-py,
# ioredis and redis-rs; and through their cluster-aware forms against the cluster port. Each client has its program under scripts/clients/.
#
#   scripts/clients.sh
#
# Needs redis-cli, Python 3 with venv, node and npm, cargo, and the package registries. The libraries are
# installed under target/clients, in versions that are written down. RINGFORT_BIN names another program.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/clients.sh"
prepare_clients "${REDIS_CLI:-redis-cli}"

exec python3 "$CLIENTS/clients.py" \
    "redis-cli=$CLIENTS/redis_cli.sh" \
    "redis-cli-cluster=$CLIENTS/redis_cli_cluster.sh" \
    "redis-py=$PYTHON_OF_CLIENTS $CLIENTS/redis_py.py" \
    "redis-py-cluster=$PYTHON_OF_CLIENTS $CLIENTS/redis_py_cluster.py" \
    "ioredis=node $CLIENTS_HOME/ioredis/main.mjs" \
    "ioredis-cluster=node $CLIENTS_HOME/ioredis/cluster.mjs" \
    "redis-rs=$REDIS_RS" \
    "redis-rs-cluster=$REDIS_RS cluster"
