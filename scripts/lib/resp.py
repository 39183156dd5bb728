"""A small RESP2/RESP3 client for the scripts: one socket, blocking, no dependencies.

It trusts the server as far as a test may: a reply that is not RESP ends in a ProtocolError.
"""

import socket


class ReplyError(Exception):
    """An error reply; raised by `call`, returned as a value by `read` and `pipeline`."""


class ProtocolError(Exception):
    """The server sent something that is not RESP, or closed the connection."""


def encode(args):
    """One command as RESP. Arguments are bytes, str or int."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        if isinstance(arg, str):
            arg = arg.encode()
        elif isinstance(arg, int):
            arg = b"%d" % arg
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)


class Client:
    def __init__(self, port, host="127.0.0.1", timeout=30.0):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb", buffering=1 << 16)

    def call(self, *args):
        """Sends one command and returns its reply; an error reply is raised."""
        self.socket.sendall(encode(args))
        reply = self.read()
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def pipeline(self, commands):
        """Sends all commands at once and returns all replies; error replies are values."""
        self.socket.sendall(b"".join(encode(args) for args in commands))
        return [self.read() for _ in commands]

    def send_raw(self, data):
        self.socket.sendall(data)

    def read(self):
        """The next reply: bytes, int, float, bool, None, list, dict, or a ReplyError."""
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ProtocolError("the connection was closed" if not line else f"torn line {line!r}")
        kind, rest = line[:1], line[1:-2]
        if kind in b"+":
            return rest
        if kind in b"-":
            return ReplyError(rest.decode(errors="replace"))
        if kind in b":(":
            return int(rest)
        if kind in b"$=":
            return self._bulk(int(rest))
        if kind in b"*~>":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind in b"%":
            return {_hashable(self.read()): self.read() for _ in range(int(rest))}
        if kind in b"_":
            return None
        if kind in b",":
            return float(rest)
        if kind in b"#":
            return rest == b"t"
        raise ProtocolError(f"unknown reply type in {line!r}")

    def _bulk(self, length):
        if length < 0:
            return None
        data = self.stream.read(length + 2)
        if len(data) != length + 2:
            raise ProtocolError("the connection was closed inside a bulk string")
        return data[:-2]

    def close(self):
        self.stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _hashable(key):
    return tuple(key) if isinstance(key, list) else key
