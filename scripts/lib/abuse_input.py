"""Bad input: frames that are no frames, sizes beyond bounds, senders that are slow or not let in.

The expected texts are those of Redis 7.2; `RINGFORT_BIN=redis-server` shows them.
"""

import socket
import time

from checks import MIB, check, expect, expect_alive, raw, read_to_close
from resp import Client, encode

GARBAGE_ROUNDS = 400
HALF = [b"*", b"*3", b"*3\r", b"*3\r\n", b"*3\r\n$3\r\nSE", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nabc",
        b"*1000000000\r\n$4\r\n", b"PIN", b"*2\r\n$3\r\nGET\r\n$1\r\nk\r", b"*1\r\n$400000000\r\n"]


def answered(server, sent, error):
    """Sends bytes, and expects this protocol error as the only answer, then the close."""
    with raw(server) as connection:
        try:
            connection.sendall(sent)
        except (ConnectionResetError, BrokenPipeError):
            pass
        received, closed = read_to_close(connection)
    shown = sent[:40]
    # What a server has not read when it closes may turn the close into a reset that eats the answer.
    if not (received == b"" and closed and len(sent) > 64 << 10):
        expect(received == b"-ERR Protocol error: " + error + b"\r\n", f"{shown!r} got {received[:200]!r}")
    expect(closed, f"{shown!r}: the connection stays open")
    expect_alive(server)


@check
def oversized_lengths_get_the_error_of_redis(bench):
    server = bench.server()
    for sent, error in [
        (b"*2147483648\r\n", b"invalid multibulk length"),
        (b"*99999999999999999999\r\n", b"invalid multibulk length"),
        (b"*abc\r\n", b"invalid multibulk length"),
        (b"*1\r\n$99999999999\r\n", b"invalid bulk length"),
        (b"*1\r\n$536870913\r\n", b"invalid bulk length"),
        (b"*3\r\n$-5\r\n", b"invalid bulk length"),
        (b"*3\r\n$-1\r\n", b"invalid bulk length"),
        (b"*1\r\n$x\r\n", b"invalid bulk length"),
        (b"*1\r\n:5\r\n", b"expected '$', got ':'"),
    ]:
        answered(server, sent, error)


@check
def endless_lines_are_cut_at_64_kib(bench):
    server = bench.server()
    # Just over the bound, so that the server has read everything when it closes.
    answered(server, b"*" + b"1" * (64 << 10), b"too big mbulk count string")
    answered(server, b"*1\r\n$" + b"1" * (64 << 10), b"too big bulk count string")
    answered(server, b"P" * ((64 << 10) + 1), b"too big inline request")


@check
def an_inline_request_of_100_kib_is_refused(bench):
    server = bench.server()
    answered(server, b"P" * (100 << 10), b"too big inline request")


@check
def inline_requests_with_open_quotes_are_refused(bench):
    answered(bench.server(), b'SET k "abc\r\n', b"unbalanced quotes in request")


@check
def nested_arrays_are_refused(bench):
    server = bench.server()
    answered(server, b"*1\r\n*1\r\n$4\r\nPING\r\n", b"expected '$', got '*'")
    answered(server, b"*1\r\n" * 10_000, b"expected '$', got '*'")


@check
def a_promised_billion_arguments_costs_no_memory(bench):
    server = bench.server()
    before = server.rss_bytes()
    connections = [raw(server) for _ in range(200)]
    for number, connection in enumerate(connections):
        connection.sendall(b"*1000000000\r\n" if number % 2 else b"*2\r\n$3\r\nGET\r\n$500000000\r\nabc")
    time.sleep(0.5)
    expect_alive(server)
    grown = server.rss_bytes() - before
    expect(grown < 64 * MIB, f"200 unfinished requests took {grown // MIB} MiB")
    for connection in connections:
        connection.close()


@check
def empty_and_negative_arrays_are_passed_over(bench):
    with raw(bench.server()) as connection:
        connection.sendall(b"*0\r\n*-1\r\n*-10\r\n\r\n\r\n*1\r\n$4\r\nPING\r\nPING\r\n")
        connection.shutdown(socket.SHUT_WR)
        received, _ = read_to_close(connection)
        expect(received == b"+PONG\r\n+PONG\r\n", f"got {received!r}")


@check
def commands_before_the_error_are_answered(bench):
    with raw(bench.server()) as connection:
        connection.sendall(b"*1\r\n$4\r\nPING\r\n*1\r\n$-7\r\n*1\r\n$4\r\nPING\r\n")
        received, closed = read_to_close(connection)
        expect(received == b"+PONG\r\n-ERR Protocol error: invalid bulk length\r\n", f"got {received!r}")
        expect(closed, "the connection stays open")


@check
def half_frames_followed_by_close_leave_nothing(bench):
    server = bench.server()
    before = server.rss_bytes()
    for number in range(2_000):
        with raw(server) as connection:
            connection.sendall(HALF[number % len(HALF)])
            if number % 3 == 0:
                connection.shutdown(socket.SHUT_WR)
    expect_alive(server)
    with server.client() as client:
        expect(client.call("EXISTS", "k") == 0, "half a SET was executed")
    grown = server.rss_bytes() - before
    expect(grown < 64 * MIB, f"memory grew by {grown // MIB} MiB")


def garbage(random):
    """Noise, or commands with bytes changed, dropped and repeated."""
    if random.random() < 0.3:
        return random.randbytes(random.randrange(1, 5_000))
    commands = [("SET", "k", "v" * random.randrange(200)), ("GET", "k"), ("PING",), ("LPUSH", "l", "a", "b"),
                ("ZADD", "z", "1", "m"), ("HSET", "h", "f", "v"), ("SETRANGE", "s", "10", "x")]
    data = bytearray(b"".join(encode(random.choice(commands)) for _ in range(random.randrange(1, 20))))
    for _ in range(random.randrange(1, 6)):
        place = random.randrange(len(data))
        kind = random.randrange(3)
        if kind == 0:
            data[place] = random.choice(b"*$-+:\r\n0123456789\x00\xff\"' ")
        elif kind == 1:
            del data[place:place + random.randrange(1, 8)]
        else:
            data[place:place] = data[max(0, place - 9):place]
        if not data:
            data = bytearray(b"*")
    return bytes(data)


@check
def garbage_bytes_never_stop_the_server(bench):
    server = bench.server()
    for number in range(GARBAGE_ROUNDS):
        sent = garbage(bench.random)
        with raw(server) as connection:
            try:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            _, closed = read_to_close(connection)
            expect(closed, f"round {number}: not closed after our end of {sent[:200]!r}")
        expect(server.running(), f"round {number} ended the server with {sent[:400]!r}\n{server.log_tail()}")
    expect_alive(server)


@check
def slow_senders_are_answered_and_hold_up_nobody(bench):
    server = bench.server()
    frame = encode(("SET", "slow", "loris")) + b"GET slow\r\n" + encode(("GET", "slow"))
    connections = [raw(server) for _ in range(50)]
    with server.client(timeout=5) as other:
        for place in range(len(frame)):
            for connection in connections:
                connection.sendall(frame[place:place + 1])
            expect(other.call("PING") == b"PONG", "another client is not answered")
    wanted = b"+OK\r\n" + b"$5\r\nloris\r\n" * 2
    for connection in connections:
        connection.shutdown(socket.SHUT_WR)
        received, _ = read_to_close(connection)
        expect(received == wanted, f"got {received!r}")
        connection.close()


@check
def without_the_password_big_requests_are_refused(bench):
    server = bench.server("--requirepass", "secret")

    for sent, error in [(b"*11\r\n", b"unauthenticated multibulk length"),
                        (b"*1\r\n$16385\r\n", b"unauthenticated bulk length")]:
        with raw(server) as connection:
            connection.sendall(sent)
            received, closed = read_to_close(connection)
            expect(received == b"-ERR Protocol error: " + error + b"\r\n", f"{sent!r} got {received!r}")
            expect(closed, f"{sent!r}: the connection stays open")
    with raw(server) as connection:
        connection.sendall(b"*10\r\n" + b"$4\r\nPING\r\n" * 10)
        connection.shutdown(socket.SHUT_WR)
        received, _ = read_to_close(connection)
        expect(received == b"-NOAUTH Authentication required.\r\n", f"a small one got {received!r}")
    with server.client() as client:
        client.call("AUTH", "secret")
        big = "x" * 100_000
        expect(client.call("ECHO", big) == big.encode(), "a big request after AUTH is not answered")


@check
def an_http_request_is_cut_off(bench):
    server = bench.server()
    for sent in [b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET attack 1\r\n", b"Host: x\r\nSET attack 1\r\n"]:
        with raw(server) as connection:
            connection.sendall(sent)
            received, closed = read_to_close(connection)
            expect(closed and b"OK" not in received, f"{sent!r} got {received!r}, closed: {closed}")
    with Client(server.port) as client:
        expect(client.call("EXISTS", "attack") == 0, "a command inside an HTTP request was executed")
