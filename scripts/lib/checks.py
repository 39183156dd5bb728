"""Named checks: what a check may use, how it fails, and how all of them are run and counted."""

import contextlib
import os
import random
import socket
import subprocess
import time
import traceback
import urllib.error
import urllib.request

import server as servers
from resp import Client

CHECKS = []
MIB = 1 << 20


class Failed(Exception):
    """Why a check failed."""


class Skipped(Exception):
    """Why a check cannot run here. It counts as failed: nothing was shown."""


def check(function):
    """Registers a check under its function's name."""
    CHECKS.append(function)
    return function


def expect(condition, why):
    if not condition:
        raise Failed(why)


class Bench:
    """What one check works with: a directory, a seed, and servers that end with it."""

    def __init__(self, name, seed):
        self.directory = servers.work_dir("abuse-" + name)
        self.random = random.Random(f"{seed}/{name}")
        self.exits = contextlib.ExitStack()

    def server(self, *extra, data_dir=None, durability="everysec", start=True):
        """A server with these flags; the same flags are given to a redis-server that stands in."""
        binary = servers.ringfort_binary()
        if servers.is_redis(binary):
            server = servers.redis(self.directory, extra=extra)
        else:
            server = servers.ringfort(self.directory, durability, 1, extra, data_dir)
        self.exits.callback(server.kill)
        return server.start() if start else server

    def finish(self, keep):
        self.exits.close()
        if not keep:
            servers.remove(self.directory)


def raw(server, timeout=10.0):
    """A bare connection, for bytes that are no commands."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout)


def read_to_close(connection, seconds=10.0):
    """All that comes until the server closes: (bytes, whether it closed)."""
    received = b""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            data = connection.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            return received, True
        except socket.timeout:
            break
        if not data:
            return received, True
        received += data
    return received, False


def expect_alive(server):
    """The process runs, and another client is answered at once."""
    expect(server.running(), f"the server ended:\n{server.log_tail()}")
    started = time.monotonic()
    with Client(server.port, timeout=5) as client:
        expect(client.call("PING") == b"PONG", "PING is not answered")
    expect(time.monotonic() - started < 2, "PING took longer than 2 s")


def wait_until(condition, seconds, why):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds:.0f} s: {why() if callable(why) else why}")
        time.sleep(0.05)


def http_get(server, path):
    """(status, body) of the admin port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def info(client, field):
    for line in client.call("INFO").decode().splitlines():
        if line.startswith(field + ":"):
            return line.split(":", 1)[1]
    raise Failed(f"INFO has no {field}")


def refused_start(server, *extra, seconds=30):
    """Starts a server that must refuse: returns all it said."""
    offset = server.log_size()
    server.spawn(extra)
    try:
        code = server.process.wait(seconds)
    except subprocess.TimeoutExpired:
        server.kill()
        raise Failed("it started (or hung) instead of refusing") from None
    text = server.log_since(offset)
    expect(code != 0, f"it ended with 0 and said: {text!r}")
    expect(code > 0, f"it was ended by signal {-code}: {text!r}")
    expect("panicked" not in text, f"it panicked: {text!r}")
    return text


def expect_text(text, *parts):
    missing = [part for part in parts if part.lower() not in text.lower()]
    expect(not missing, f"{missing} not in the message {text.strip()!r}")


def run(prefixes, seed):
    """Runs the checks whose names begin with one of `prefixes` (all without); returns (passed, failed)."""
    passed = failed = 0
    for function in CHECKS:
        name = function.__name__
        if prefixes and not name.startswith(tuple(prefixes)):
            continue
        bench = Bench(name, seed)
        why = attempt(function, bench)
        bench.finish(keep=why is not None)
        if why is None:
            passed += 1
            print(f"ok {name}", flush=True)
        else:
            failed += 1
            print(f"FAILED {name}: {why}", flush=True)
            print(f"  kept: {os.path.relpath(bench.directory)}", flush=True)
    return passed, failed


def attempt(function, bench):
    """None, or why the check failed. Whatever it raises is a failure, not the end of the run."""
    try:
        function(bench)
    except (Failed, Skipped, servers.StartError) as error:
        return str(error)
    except Exception as error:  # a broken connection, a reply error, a fault of the check itself
        frames = traceback.extract_tb(error.__traceback__)[1:]
        way = " > ".join(f"{frame.name}:{frame.lineno}" for frame in frames)
        return f"{type(error).__name__}: {error} ({way})"
    return None
