"""Clients in numbers, and clients that do not read: memory stays bounded, others are served."""

import os
import resource
import socket
import threading
import time

from checks import MIB, Failed, Skipped, check, expect, expect_alive, info, raw, read_to_close, wait_until
from resp import Client, encode

IDLE = int(os.environ.get("ABUSE_IDLE", "10000"))
IDLE_BYTES_MAX = 32 << 10
VALUE = b"v" * 100_000
GETS_MAX = 5_000
TOO_MANY = b"-ERR max number of clients reached\r\n"


def open_files(needed):
    """The soft limit as far up as it goes; servers started from now on inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed <= hard or (soft < needed and hard == resource.RLIM_INFINITY):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    elif soft < needed:
        raise Skipped(f"needs {needed} open files, the hard limit is {hard}: ulimit -Hn")


@check
def ten_thousand_idle_connections_are_cheap(bench):
    open_files(IDLE + 500)
    server = bench.server("--maxclients", "20000")
    with server.client() as client:
        client.call("PING")
        before = server.rss_bytes()
        connections = []
        for _ in range(IDLE):
            connection = raw(server)
            connection.sendall(b"PING\r\n")
            connections.append(connection)
        for number, connection in enumerate(connections):
            expect(connection.recv(100) == b"+PONG\r\n", f"connection {number} of {IDLE} is not answered")
        expect_alive(server)
        expect(int(info(client, "connected_clients")) >= IDLE, "INFO counts fewer clients")
        each = (server.rss_bytes() - before) / IDLE
        cpu = server.cpu_seconds()
        time.sleep(2)
        idle_cpu = (server.cpu_seconds() - cpu) / 2
        print(f"  {IDLE} connections: {each:.0f} bytes each, {idle_cpu * 100:.1f} % of a core while idle", flush=True)
        expect(each < IDLE_BYTES_MAX, f"{each:.0f} bytes a connection")
        expect(idle_cpu < 0.25, f"{idle_cpu * 100:.0f} % of a core for idle connections")
        for connection in connections:
            connection.close()
        wait_until(lambda: int(info(client, "connected_clients")) == 1, 20,
                   lambda: f"{info(client, 'connected_clients')} clients are left")
        allowed = before + IDLE * each / 4 + 16 * MIB
        wait_until(lambda: server.rss_bytes() <= allowed, 30,
                   lambda: f"{before // MIB} MiB before, {server.rss_bytes() // MIB} MiB after all have closed")


@check
def one_connection_more_than_maxclients_is_refused(bench):
    server = bench.server("--maxclients", "50")
    wait_until(lambda: _clients(server) == 1, 5, "the first client is still counted")
    connections = [raw(server) for _ in range(50)]
    for connection in connections:
        connection.sendall(b"PING\r\n")
        expect(connection.recv(100) == b"+PONG\r\n", "one of 50 is not answered")
    with raw(server) as connection:
        received, closed = read_to_close(connection)
        expect(received == TOO_MANY and closed, f"number 51 got {received!r}, closed: {closed}")
    connections.pop().close()
    wait_until(lambda: _served(server), 5, "a place that became free is not given away")
    for connection in connections:
        connection.close()


def _clients(server):
    with server.client() as client:
        return int(info(client, "connected_clients"))


def _served(server):
    with raw(server) as connection:
        try:
            connection.sendall(b"PING\r\n")
            return connection.recv(100) == b"+PONG\r\n"
        except OSError:
            return False


@check
def the_limit_of_open_files_follows_maxclients(bench):
    """As Redis does: the soft limit is raised, so that a shell's 1024 do not undo --maxclients."""
    open_files(2_500)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        server = bench.server("--maxclients", "2000")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    connections = [raw(server, timeout=5) for _ in range(1_500)]
    for number, connection in enumerate(connections):
        connection.sendall(b"PING\r\n")
        try:
            answer = connection.recv(100)
        except socket.timeout:
            raise Failed(f"connection {number} is never answered; soft limit 1024, hard {hard}") from None
        expect(answer == b"+PONG\r\n", f"connection {number} got {answer!r}")
    for connection in connections:
        connection.close()


@check
def running_out_of_open_files_does_not_stop_the_server(bench):
    """The hard limit is lowered from inside the server's process, where no root can raise it unasked."""
    server = bench.server("--maxclients", "1000")
    used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + 100, used + 100))
    with server.client() as client:
        connections = [raw(server, timeout=2) for _ in range(300)]
        time.sleep(0.5)
        expect(client.call("SET", "k", "v") == b"OK", "the first client is not served")
        cpu = server.cpu_seconds()
        time.sleep(1)
        spun = server.cpu_seconds() - cpu
        for connection in connections:
            connection.close()
        expect(server.running(), f"the server ended:\n{server.log_tail()}")
        wait_until(lambda: _served(server), 10, "no new connection is served after all others closed")
        lines = server.log_tail(100_000).count("\n")
        expect(spun < 0.5, f"{spun * 100:.0f} % of a core while it could accept nobody")
        expect(lines < 1_000, f"{lines} lines of log about it")


def stuffed(server, count):
    """A client that sends GETs and never reads: (connection, commands that fitted, whether it was cut)."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
    connection.connect(("127.0.0.1", server.port))
    frame = encode(("GET", "big"))
    unsent, sent = frame * count, 0
    connection.settimeout(1.0)
    try:
        while sent < len(unsent):
            sent += connection.send(unsent[sent:sent + 65536])
    except socket.timeout:
        pass
    except OSError:
        return connection, sent // len(frame), True
    return connection, sent // len(frame), False


class Pinger(threading.Thread):
    """Another client meanwhile; keeps the slowest answer."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.client = Client(server.port, timeout=10)
        self.slowest = 0.0
        self.done = False
        self.error = None

    def run(self):
        try:
            while not self.done:
                started = time.monotonic()
                self.client.call("SET", "other", "x")
                self.slowest = max(self.slowest, time.monotonic() - started)
                time.sleep(0.005)
        except Exception as error:  # carried to the check
            self.error = error

    def finish(self):
        self.done = True
        self.join()
        self.client.close()
        expect(self.error is None, f"another client failed: {self.error}")
        expect(self.slowest < 1.0, f"another client waited {self.slowest:.2f} s")


@check
def clients_that_never_read_are_not_buffered_without_end(bench):
    server = bench.server()
    with server.client() as client:
        client.call("SET", "big", VALUE)
    before = server.rss_bytes()
    pinger = Pinger(server)
    pinger.start()
    connection, sent, _ = stuffed(server, GETS_MAX)
    peak = 0
    for _ in range(20):
        time.sleep(0.05)
        peak = max(peak, server.rss_bytes() - before)
    expect(peak < 64 * MIB, f"{sent} GETs of 100 kB unread: memory grew by {peak // MIB} MiB")
    # It was only paused: what it asked for comes when it reads.
    wanted = sent * len(b"$100000\r\n" + VALUE + b"\r\n")
    received = 0
    connection.settimeout(10)
    while received < wanted:
        data = connection.recv(1 << 20)
        expect(data, f"closed after {received} of {wanted} bytes")
        received += len(data)
        peak = max(peak, server.rss_bytes() - before)
    connection.close()
    pinger.finish()
    print(f"  {sent} GETs of 100 kB unread: {peak // MIB} MiB more, others waited {pinger.slowest * 1e3:.0f} ms", flush=True)
    expect(peak < 64 * MIB, f"memory grew by {peak // MIB} MiB while it was read")


def _cut(bench, limit, seconds):
    server = bench.server("--client-output-buffer-limit", limit)
    with server.client() as client:
        client.call("SET", "big", VALUE)
        before = server.rss_bytes()
        connection, sent, _ = stuffed(server, GETS_MAX)
        wait_until(lambda: int(info(client, "connected_clients")) == 1, seconds,
                   f"a client with {sent} unread GETs of 100 kB is not cut by '{limit}'")
        connection.close()
        grown = server.rss_bytes() - before
        expect(grown < 64 * MIB, f"memory grew by {grown // MIB} MiB")


@check
def a_client_beyond_its_hard_output_limit_is_cut(bench):
    _cut(bench, "normal 1mb 0 0", 5)


@check
def a_client_beyond_its_soft_output_limit_is_cut_in_time(bench):
    _cut(bench, "normal 0 256kb 1", 10)
