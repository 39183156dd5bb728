# What scripts/clients*.sh begin with: the program, and the clients that they drive, in versions that are written down. Sourced, never run.
#
# The clients lie under target/clients: a venv, node_modules, and the redis-rs program.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# prepare_clients TOOL: looks for that program of Redis, finds ringfort and installs the clients. Sets CLIENTS (their programs),
# CLIENTS_HOME (what was installed), PYTHON_OF_CLIENTS and REDIS_RS.
prepare_clients() {
    need "$1" "On Debian: apt-get install redis-tools"
    use_ringfort
    need_python
    need node "On Debian: apt-get install nodejs"
    need npm "On Debian: apt-get install npm"
    need cargo "See https://rustup.rs"
    CLIENTS="$ROOT/scripts/clients"
    CLIENTS_HOME="${CARGO_TARGET_DIR:-$ROOT/target}/clients"
    mkdir -p "$CLIENTS_HOME/ioredis"

    [ -x "$CLIENTS_HOME/venv/bin/pip" ] || python3 -m venv "$CLIENTS_HOME/venv" ||
        die "python3 -m venv failed. On Debian: apt-get install python3-venv"
    "$CLIENTS_HOME/venv/bin/pip" install --quiet --disable-pip-version-check redis==6.4.0 valkey-glide==2.6.0 ||
        die "pip could not install redis-py and valkey-glide"

    cp "$CLIENTS/ioredis/"* "$CLIENTS_HOME/ioredis/"
    (cd "$CLIENTS_HOME/ioredis" && npm ci --silent --no-audit --no-fund) || die "npm could not install ioredis"

    (cd "$CLIENTS/redis-rs" && CARGO_TARGET_DIR="$CLIENTS_HOME/redis-rs" cargo build --quiet --locked) ||
        die "cargo could not build the redis-rs program"
    # Without the scripts' own modules in its way.
    PYTHON_OF_CLIENTS="env -u PYTHONPATH $CLIENTS_HOME/venv/bin/python"
    REDIS_RS="$CLIENTS_HOME/redis-rs/debug/redis-rs-client"
}
