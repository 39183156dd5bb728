#!/usr/bin/env bash
# Everyday operations through redis-cli. Takes PORT and PASSWORD from the environment and ends with an
# error at the first reply that is not what Redis would answer.
set -euo pipefail

cli() {
    REDISCLI_AUTH="$PASSWORD" "${REDIS_CLI:-redis-cli}" -p "$PORT" "$@"
}

# expect REPLY COMMAND...: the raw reply must be REPLY.
expect() {
    local wanted="$1" found
    shift
    found="$(cli "$@")" || true
    if [ "$found" != "$wanted" ]; then
        echo "redis-cli $*: '$found' instead of '$wanted'" >&2
        exit 1
    fi
}

expect OK FLUSHALL
expect OK SET name ringfort
expect ringfort GET name
expect 8 STRLEN name
expect 3 RPUSH list a b c
expect $'a\nb\nc' LRANGE list 0 -1
expect 2 HSET hash x 1 y 2
expect $'x\n1\ny\n2' HGETALL hash
expect 2 ZADD scores 1.5 one 2 two
expect $'one\n1.5\ntwo\n2' ZRANGE scores 0 -1 WITHSCORES
expect 1 EXPIRE name 1000
expect PONG PING
expect $'1) "one"\n2) (double) 1.5' --no-raw -3 ZPOPMIN scores
expect 1 -n 3 SADD elsewhere member
expect 0 EXISTS elsewhere
expect 'WRONGTYPE Operation against a key holding the wrong kind of value' LPUSH name x
[ "$(env -u REDISCLI_AUTH "${REDIS_CLI:-redis-cli}" -p "$PORT" GET name)" = "NOAUTH Authentication required." ] || {
    echo "redis-cli without the password was served" >&2
    exit 1
}
[ "$(printf 'SET piped 1\r\nINCR piped\r\n' | cli)" = $'OK\n2' ] || {
    echo "redis-cli with commands from a pipe" >&2
    exit 1
}
mass="$(for number in $(seq 1000); do printf '*3\r\n$3\r\nSET\r\n$9\r\nmass:%04d\r\n$1\r\nx\r\n' "$number"; done |
    cli --pipe)"
[[ "$mass" == *"errors: 0, replies: 1000"* ]] || {
    echo "redis-cli --pipe: $mass" >&2
    exit 1
}
[ "$(cli --scan --pattern 'mass:*' | sort -u | wc -l)" = 1000 ] || {
    echo "redis-cli --scan did not find all keys" >&2
    exit 1
}
cli --bigkeys >/dev/null
echo "$("${REDIS_CLI:-redis-cli}" --version): ok"
