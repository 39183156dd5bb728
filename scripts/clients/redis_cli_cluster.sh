#!/usr/bin/env bash
# Everyday operations through redis-cli -c, redis-cli --cluster check and, of several nodes, redis-benchmark --cluster. Takes CLUSTER_PORT and
# PASSWORD from the environment and ends with an error at the first reply that is not what a Redis Cluster would answer.
set -euo pipefail
export REDISCLI_AUTH="$PASSWORD"

cli() {
    "${REDIS_CLI:-redis-cli}" -c -p "$CLUSTER_PORT" "$@"
}

fail() {
    echo "$*" >&2
    exit 1
}

# expect REPLY COMMAND...: the raw reply must be REPLY.
expect() {
    local wanted="$1" found
    shift
    found="$(cli "$@")" || true
    [ "$found" = "$wanted" ] || fail "redis-cli -c $*: '$found' instead of '$wanted'"
}

for number in $(seq 20); do
    expect OK SET "key:$number" "$number"
    expect "$number" GET "key:$number"
done
expect "CROSSSLOT Keys in request don't hash to the same slot" MGET key:1 key:2
expect OK MSET '{tag}a' 1 '{tag}b' 2
expect $'1\n2' MGET '{tag}a' '{tag}b'
[[ "$(cli CLUSTER INFO)" == cluster_state:ok* ]] || fail "CLUSTER INFO: $(cli CLUSTER INFO)"

check="$("${REDIS_CLI:-redis-cli}" --cluster check "127.0.0.1:$CLUSTER_PORT" 2>&1)" || fail "--cluster check: $check"
[[ "$check" == *"All 16384 slots covered"* ]] || fail "--cluster check: $check"

# redis-benchmark takes one node for no cluster at all.
mode=--cluster
[[ "$(cli CLUSTER INFO)" != *cluster_known_nodes:1$'\r'* ]] || mode=
benchmark="$("${REDIS_BENCHMARK:-redis-benchmark}" $mode -p "$CLUSTER_PORT" -a "$PASSWORD" -q -n 20000 -P 16 \
    -t set,get,incr,lpush 2>&1)" || fail "redis-benchmark $mode: $benchmark"
[[ "$benchmark" != *rror* ]] || fail "redis-benchmark $mode: $benchmark"
for test in SET GET INCR LPUSH; do
    [[ "$benchmark" == *"$test: "*"requests per second"* ]] || fail "redis-benchmark $mode has no $test: $benchmark"
done
echo "$("${REDIS_CLI:-redis-cli}" --version), -c, and redis-benchmark${mode:+ $mode}: ok"
