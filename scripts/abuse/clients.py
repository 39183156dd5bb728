"""Clients that are too many, too slow, or never read."""

import random
import resource
import select
import socket
import time

import server as servers
from checks import ANSWER_SECONDS_MAX, Failure, answer_seconds, is_ringfort, megabytes, require, still_serves
from resp import Client, ProtocolError, encode

IDLE = 10_000
# What a connection that does nothing may cost.
IDLE_BYTES_MAX = 16 * 1024
BIG_BYTES = 1 << 20
# Replies of 4 GB: far more than socket buffers and any sound limit.
UNREAD_REPLIES = 4000
UNREAD_BYTES_MAX = 400 << 20
CROWD = 300


def ten_thousand_idle_connections(directory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + 700
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, PermissionError):
            raise Failure(f"needs {wanted} open files, the hard limit is {hard}: raise it (ulimit -Hn)")
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    server = servers.ringfort(directory, threads=2, extra=["--maxclients", str(IDLE + 100)]).start()
    before = server.rss_bytes()
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(IDLE)]
    with server.client() as client:
        slowest = max(answer_seconds(client) for _ in range(200))
        info = client.call("INFO", "clients").decode()
        growth = server.rss_bytes() - before
        connected = int(info.split("connected_clients:")[1].split()[0])
        require(connected >= IDLE, f"connected_clients is {connected}")
    require(slowest < ANSWER_SECONDS_MAX, f"an answer took {slowest:.1f} s")
    require(growth < IDLE * IDLE_BYTES_MAX, f"{IDLE} idle connections take {megabytes(growth)}")
    for connection in random.sample(connections, 200):
        connection.sendall(b"PING\r\n")
        require(connection.recv(64) == b"+PONG\r\n", "an idle connection was forgotten")
    for connection in connections:
        connection.close()
    still_serves(server, "after 10,000 connections were closed")
    return f"{megabytes(growth)} for {IDLE:,} connections, slowest answer {slowest * 1e3:.0f} ms"


def one_client_too_many(directory):
    server = servers.ringfort(directory, extra=["--maxclients", "40"]).start()
    connections = []
    refused = 0
    for _ in range(60):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        connections.append(connection)
        try:
            connection.sendall(b"PING\r\n")
            reply = connection.recv(200)
        except ConnectionError:
            # Refused and closed before the PING was sent.
            refused += 1
            continue
        if reply != b"+PONG\r\n":
            require(reply in (b"", b"-ERR max number of clients reached\r\n"), f"refused with {reply!r}")
            refused += 1
    require(refused == 20, f"{60 - refused} clients at once where 40 are allowed")
    for connection in connections:
        connection.close()
    time.sleep(0.2)
    still_serves(server, "after too many clients")
    return "20 of 60 refused"


def a_client_that_never_reads(directory):
    server = servers.ringfort(directory, threads=1).start()
    with server.client() as client:
        client.call("SET", "big", "x" * BIG_BYTES)
        before = server.rss_bytes()
        silent = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        silent.setblocking(False)
        requests = encode(["GET", "big"]) * UNREAD_REPLIES
        sent, peak, slowest = 0, 0, 0.0
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline and sent < len(requests):
            _, writable, _ = select.select([], [silent], [], 0.05)
            try:
                sent += silent.send(requests[sent:sent + 4096]) if writable else 0
            except ConnectionError:
                break
            peak = max(peak, server.rss_bytes() - before)
            slowest = max(slowest, answer_seconds(client))
        # What has been sent may still be worked off.
        for _ in range(40):
            time.sleep(0.05)
            peak = max(peak, server.rss_bytes() - before)
            slowest = max(slowest, answer_seconds(client))
    if is_ringfort():
        require(peak < UNREAD_BYTES_MAX, f"{megabytes(peak)} are kept for a client that does not read")
    require(slowest < ANSWER_SECONDS_MAX, f"others waited {slowest:.1f} s")
    whole, while_reading = read_what_is_left(silent, server)
    peak = max(peak, while_reading - before)
    if is_ringfort():
        require(peak < UNREAD_BYTES_MAX, f"{megabytes(peak)} more once the client reads on, {whole} replies read")
    silent.close()
    still_serves(server, "after a client that did not read")
    return f"at most {megabytes(peak)} more, others waited at most {slowest * 1e3:.0f} ms, {whole} replies in the end"


def read_what_is_left(connection, server):
    """Reads on until the server has nothing more: only whole, correct replies, or a closed connection.

    Returns how many replies were whole, and the largest resident memory meanwhile.
    """
    connection.settimeout(10)
    reply = b"$%d\r\n%s\r\n" % (BIG_BYTES, b"x" * BIG_BYTES)
    buffered, whole, peak = bytearray(), 0, 0
    while whole < UNREAD_REPLIES:
        try:
            data = connection.recv(1 << 20)
        except (socket.timeout, ConnectionError):
            break
        if not data:
            break
        buffered += data
        while len(buffered) >= len(reply):
            require(buffered[:len(reply)] == reply, "a reply was damaged while its client did not read")
            del buffered[:len(reply)]
            whole += 1
            peak = max(peak, server.rss_bytes())
    return whole, peak


def a_crowd_that_sends_byte_by_byte(directory):
    server = servers.ringfort(directory, threads=1).start()
    crowd = [Client(server.port) for _ in range(CROWD)]
    request = encode(["SET", "slow", "loris"])
    slowest = 0.0
    with server.client() as client:
        for at in range(len(request)):
            for slow in crowd:
                slow.send_raw(request[at:at + 1])
            slowest = max(slowest, answer_seconds(client))
        for slow in crowd:
            require(slow.read() == b"OK", "a request that came byte by byte was not answered")
    require(slowest < ANSWER_SECONDS_MAX, f"others waited {slowest:.1f} s")
    for slow in crowd:
        slow.close()
    still_serves(server, "after the crowd")
    return f"{CROWD} clients, others waited at most {slowest * 1e3:.0f} ms"


def a_command_without_end(directory):
    """A command that never gets whole is cut at client-query-buffer-limit."""
    server = servers.ringfort(directory, extra=["--client-query-buffer-limit", "16mb"]).start()
    before = server.rss_bytes()
    sent, argument = 0, b"$1000000\r\n" + b"x" * 1_000_000 + b"\r\n"
    with Client(server.port, timeout=5) as client:
        client.send_raw(b"*1000\r\n")
        try:
            while sent < 200 << 20:
                client.send_raw(argument)
                sent += len(argument)
            client.read()
            cut = False
        except (ConnectionError, ProtocolError):
            cut = True
        except socket.timeout:
            cut = False
    growth = server.rss_bytes() - before
    if is_ringfort():
        require(cut, f"{megabytes(sent)} of one command were taken, the limit is 16 MB")
        require(growth < 100 << 20, f"the server has grown by {megabytes(growth)}")
    still_serves(server, "after a command without end")
    return f"cut after {megabytes(sent)}"
