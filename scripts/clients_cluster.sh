#!/usr/bin/env bash
# Three nodes, all of which lead, and the clients that people use, plain and cluster-aware, all at once: redis-py and its RedisCluster,
# ioredis and its Cluster, redis-rs (blocking, asynchronous, cluster, asynchronous cluster) and valkey-glide, over RESP2 and RESP3.
# Each does everyday operations, then writes and reads on while nodes are killed, paused and stopped, with the one client it has: it must
# be right again by itself, and nothing acknowledged may be missing. Then redis-benchmark with its default tests, against each node.
#
#   scripts/clients_cluster.sh
#
# Needs redis-benchmark, Python 3 with venv, node and npm, cargo, and the package registries. The libraries are
# installed under target/clients, in versions that are written down. RINGFORT_BIN names another program.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/clients.sh"
prepare_clients "${REDIS_BENCHMARK:-redis-benchmark}"

redis_py="$PYTHON_OF_CLIENTS $CLIENTS/three_nodes/redis_py.py"
glide="$PYTHON_OF_CLIENTS $CLIENTS/three_nodes/valkey_glide.py"
exec python3 "$CLIENTS/three_nodes.py" \
    "redis-py RESP2=$redis_py plain 2" \
    "redis-py RESP3=$redis_py plain 3" \
    "RedisCluster RESP2=$redis_py cluster 2" \
    "RedisCluster RESP3=$redis_py cluster 3" \
    "ioredis=node $CLIENTS_HOME/ioredis/follow.mjs plain" \
    "ioredis Cluster=node $CLIENTS_HOME/ioredis/follow.mjs cluster" \
    "redis-rs=$REDIS_RS follow sync" \
    "redis-rs async=$REDIS_RS follow async" \
    "redis-rs cluster=$REDIS_RS follow cluster" \
    "redis-rs cluster async=$REDIS_RS follow cluster-async" \
    "valkey-glide RESP2=$glide plain 2" \
    "valkey-glide RESP3=$glide plain 3" \
    "valkey-glide cluster RESP2=$glide cluster 2" \
    "valkey-glide cluster RESP3=$glide cluster 3"
