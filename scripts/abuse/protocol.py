"""Requests that are not RESP, or announce more than they bring."""

import random
import socket

import server as servers
from checks import megabytes, refusal, require, still_serves
from resp import Client, ProtocolError, encode

TOO_LONG = b"1" * (70 * 1024)

# What is sent, and the error that Redis answers with before it closes the connection.
MALFORMED = [
    (b"*2147483648\r\n", "Protocol error: invalid multibulk length"),
    (b"*abc\r\n", "Protocol error: invalid multibulk length"),
    (b"*" + TOO_LONG, "Protocol error: too big mbulk count string"),
    (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
    (b"*1\r\n$abc\r\n", "Protocol error: invalid bulk length"),
    (b"*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
    (b"*1\r\n$99999999999999999999\r\n", "Protocol error: invalid bulk length"),
    (b"*1\r\n$" + TOO_LONG, "Protocol error: too big bulk count string"),
    (b"*1\r\nPING\r\n", "Protocol error: expected '$', got 'P'"),
    (b"*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
    (b"SET \"open\r\n", "Protocol error: unbalanced quotes in request"),
    (TOO_LONG, "Protocol error: too big inline request"),
]

# Harmless: Redis answers nothing, or goes on.
TOLERATED = [b"\r\n", b"*0\r\n", b"*-1\r\n", b"   \r\n", b"*-99999\r\n"]

ANNOUNCED_CLIENTS = 400
ANNOUNCED_BYTES_MAX = 200 << 20


def malformed_requests(directory):
    server = servers.ringfort(directory).start()
    for data, expected in MALFORMED:
        text, closed = refusal(server.port, data)
        require(text == "ERR " + expected, f"{data[:40]!r} was answered with {text!r}, not {expected!r}")
        require(closed, f"the connection stayed open after {data[:40]!r}")
    for data in TOLERATED:
        with server.client() as client:
            client.send_raw(data + b"PING\r\n")
            require(client.read() == b"PONG", f"{data!r} was not tolerated")
    # What came whole before the mistake is answered first.
    with server.client() as client:
        client.send_raw(encode(["PING"]) + b"*1\r\n!")
        require(client.read() == b"PONG", "a whole request before a mistake was not answered")
    still_serves(server, "after malformed requests")
    return f"{len(MALFORMED)} mistakes"


def limits_before_the_password(directory):
    server = servers.ringfort(directory, extra=["--requirepass", "secret"]).start()
    for data, expected in [
        (b"*11\r\n", "Protocol error: unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "Protocol error: unauthenticated bulk length"),
    ]:
        text, closed = refusal(server.port, data)
        require(text == "ERR " + expected, f"{data!r} was answered with {text!r}, not {expected!r}")
        require(closed, f"the connection stayed open after {data!r}")
    text, _ = refusal(server.port, encode(["GET", "x"]), timeout=2)
    require(text == "NOAUTH Authentication required.", f"GET without a password: {text!r}")
    with server.client() as client:
        client.call("AUTH", "secret")
        require(client.call("SET", "x", "y" * 100_000) == b"OK", "no SET after AUTH")
    return "strangers are kept short"


def lengths_that_are_only_announced(directory):
    """Memory is taken for what has come, not for what was announced."""
    server = servers.ringfort(directory).start()
    before = server.rss_bytes()
    connections = []
    for number in range(ANNOUNCED_CLIENTS):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        if number % 2:
            connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$536870912\r\nonly this")
        else:
            connection.sendall(b"*1000000\r\n$4\r\nMSET\r\n")
        connections.append(connection)
    still_serves(server, "while lengths were only announced")
    growth = server.rss_bytes() - before
    require(growth < ANNOUNCED_BYTES_MAX, f"{ANNOUNCED_CLIENTS} announcements take {megabytes(growth)}")
    for connection in connections:
        connection.close()
    still_serves(server, "after the announcements")
    return f"{ANNOUNCED_CLIENTS} announcements, {megabytes(growth)}"


def arrays_in_arrays(directory):
    server = servers.ringfort(directory).start()
    text, closed = refusal(server.port, b"*1\r\n" * 200_000)
    # A reset may overtake the error: the server closed while more was coming.
    require(text in ("", "ERR Protocol error: expected '$', got '*'") and closed, f"nested arrays: {text!r}")
    still_serves(server, "after 200,000 nested arrays")
    return "refused"


def half_frames(directory):
    """Every way to cut a pipeline in two: nothing is answered early, nothing is lost."""
    server = servers.ringfort(directory).start()
    data = encode(["SET", "half", "a\r\n$5\r\nb"]) + b"GET half\r\n" + encode(["APPEND", "half", ""])
    with server.client() as client:
        for cut in range(1, len(data)):
            client.send_raw(data[:cut])
            client.send_raw(data[cut:])
            replies = [client.read() for _ in range(3)]
            require(replies == [b"OK", b"a\r\n$5\r\nb", 8], f"cut at {cut}: {replies}")
    for cut in range(1, len(data), 3):
        with Client(server.port) as client:
            client.send_raw(data[:cut])
    still_serves(server, "after half frames")
    return f"{len(data) - 1} cuts"


def garbage(directory):
    server = servers.ringfort(directory, threads=2).start()
    pieces = [b"*1\r\n", b"$4\r\n", b"\r\n", b"PING", b"*", b"$", b"-1", b"\0", b"\"", b"SET a b\r\n", b"99999999999"]
    for _ in range(2000):
        if random.random() < 0.5:
            data = random.randbytes(random.randint(1, 3000))
        else:
            data = b"".join(random.choices(pieces, k=random.randint(1, 60)))
        # SHUTDOWN and the like do not come about by chance.
        with Client(server.port) as client:
            try:
                client.send_raw(data)
                client.socket.shutdown(socket.SHUT_WR)
                while client.stream.read(65536):
                    pass
            except (ConnectionError, ProtocolError):
                pass
    still_serves(server, "after garbage")
    return "2,000 connections"
