"""What the abuse tests ask of a server again and again."""

import time

import server as servers
from resp import Client, ProtocolError, ReplyError

# The slowest answer that another client may see while one misbehaves.
ANSWER_SECONDS_MAX = 1.0


class Failure(Exception):
    """The server did what it must not; the text says what."""


def require(condition, what):
    if not condition:
        raise Failure(what)


def still_serves(server, what):
    """The process lives, has logged no panic, and a new client can write and read."""
    require(server.running(), f"the server ended {what}:\n{server.log_tail()}")
    require("panicked" not in server.log_since(0), f"a panic in the log {what}:\n{server.log_tail()}")
    started = time.monotonic()
    with server.client(timeout=20) as client:
        require(client.call("SET", "still", what) == b"OK", f"no SET {what}")
        require(client.call("GET", "still") == what.encode(), f"no GET {what}")
    took = time.monotonic() - started
    require(took < ANSWER_SECONDS_MAX, f"an answer took {took:.1f} s {what}")


def answer_seconds(client):
    started = time.monotonic()
    client.call("PING")
    return time.monotonic() - started


def refusal(port, data, timeout=20):
    """Sends `data`; returns the error reply and whether the connection was closed after it."""
    with Client(port, timeout=timeout) as client:
        try:
            client.send_raw(data)
        except OSError:
            pass
        try:
            reply = client.read()
        except (ProtocolError, OSError):
            return "", True
        text = str(reply) if isinstance(reply, ReplyError) else repr(reply)
        try:
            client.read()
            closed = False
        except (ProtocolError, ConnectionError):
            closed = True
        except OSError:
            closed = False
        return text, closed


def megabytes(size):
    return f"{size / 1e6:.0f} MB"


def is_ringfort():
    """False where a redis-server stands in: what only ringfort promises is then not asked for."""
    return not servers.is_redis(servers.ringfort_binary())
