"""Starts, measures and ends the servers that the scripts work on.

Every server runs on 127.0.0.1 and a free port, in a directory of its own, and is ended by its process
id. A RINGFORT_BIN whose file name begins with `redis-server` is run with redis' own flags: so a script
can be tried where no ringfort is built, and shows what Redis itself would answer.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from resp import Client, ProtocolError, ReplyError

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0


class StartError(Exception):
    """The server ended, or did not answer in time; the text carries the end of its log."""


# Below the ports that the system gives to outgoing connections: with ten thousand of those, one would soon have taken a port that was free
# when it was asked for.
PORTS = range(12000, 32000)
_handed_out = set()
_draw = random.SystemRandom()


def free_port():
    """A port that nobody has, and that this process has not been given before."""
    while True:
        port = _draw.choice(PORTS)
        if port in _handed_out:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _handed_out.add(port)
        return port


def ringfort_binary():
    return os.environ["RINGFORT_BIN"]


def redis_binary():
    return os.environ.get("REDIS_SERVER", "redis-server")


def clean_environment(**more):
    """The caller's environment without RINGFORT_*: the server would take the scripts' variables for settings."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("RINGFORT_")}, **more}


def is_redis(binary):
    return os.path.basename(binary).startswith("redis-server")


def work_dir(name):
    """A new directory on the disk of the repository's target directory: /tmp is memory on some machines."""
    base = os.environ.get("RINGFORT_WORK_DIR")
    if not base:
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        base = os.path.join(os.environ.get("CARGO_TARGET_DIR") or os.path.join(root, "target"), "scripts")
    os.makedirs(base, exist_ok=True)
    return tempfile.mkdtemp(prefix=name + "-", dir=base)


class Server:
    """One server process. `start` may be called again after `stop` or `kill`: same port, same data."""

    def __init__(self, name, binary, arguments, directory, port, http_port=None, cluster_port=None):
        self.name = name
        self.binary = binary
        self.arguments = arguments
        self.directory = directory
        self.port = port
        self.http_port = http_port
        self.cluster_port = cluster_port
        self.process = None
        self.log_path = os.path.join(directory, "..", os.path.basename(directory) + ".log")

    def spawn(self, extra=()):
        """Starts the process without waiting for it to answer."""
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [self.binary, *self.arguments, *extra],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, env=clean_environment(),
        )
        log.close()

    def start(self, extra=()):
        self.spawn(extra)
        self.wait_ready()
        return self

    def wait_ready(self, seconds=START_SECONDS_MAX):
        """Waits until PING is answered with PONG; raises StartError otherwise."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise StartError(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                with Client(self.port, timeout=5) as client:
                    client.call("PING")
                    return
            except ReplyError as error:
                # An answer that asks for a password shows that it runs.
                if str(error).startswith("NOAUTH"):
                    return
            except (OSError, ProtocolError):
                pass
            time.sleep(0.005)
        raise StartError(f"{self.name} does not answer after {seconds:.0f} s:\n{self.log_tail()}")

    def stop(self):
        """Clean stop with SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StartError(f"{self.name} did not end {STOP_SECONDS_MAX:.0f} s after SIGTERM:\n{self.log_tail()}")

    def kill(self):
        """SIGKILL, and waits until the process is gone."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def client(self, timeout=30.0):
        return Client(self.port, timeout=timeout)

    def cpu_seconds(self):
        """User and system time of the whole process, all threads, ended ones included.

        The same sum as utime + stime in /proc/PID/stat, in nanoseconds instead of 10 ms ticks: the
        clock id of a process is made of its id (see clock_getcpuclockid(3) and the kernel's
        include/linux/posix-timers.h).
        """
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise StartError(f"{self.name} has no VmRSS: it ended")

    def log_tail(self, lines=15):
        try:
            with open(self.log_path, errors="replace") as log:
                return "".join(log.readlines()[-lines:])
        except OSError:
            return "(no log)"

    def log_size(self):
        return os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0

    def log_since(self, offset):
        with open(self.log_path, errors="replace") as log:
            log.seek(offset)
            return log.read()


def redis(directory, appendonly=False, appendfsync="everysec", extra=()):
    directory = _own(directory, "redis")
    port = free_port()
    arguments = [
        "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "",
        "--appendonly", "yes" if appendonly else "no", "--appendfsync", appendfsync, *extra,
    ]
    return Server("redis", redis_binary(), arguments, directory, port)


def ringfort(directory, durability="everysec", threads=1, extra=(), data_dir=None):
    """A ringfort with 64 shards unless `extra` says otherwise; `data_dir` puts its data elsewhere."""
    binary = ringfort_binary()
    if is_redis(binary):
        return redis(directory, appendonly=durability != "none",
                     appendfsync="always" if durability == "always" else "everysec", extra=extra)
    directory = _own(directory, "ringfort")
    port, http_port, cluster_port = free_port(), free_port(), free_port()
    arguments = [
        "serve", "--port", str(port), "--bind", "127.0.0.1", "--http-port", str(http_port),
        "--cluster-port", str(cluster_port),
        "--dir", data_dir or directory, "--threads", str(threads), "--durability", durability, *extra,
    ]
    # Not the one that follows the port: somebody else may have drawn that.
    if "--peer-port" not in extra:
        arguments += ["--peer-port", str(free_port())]
    return Server("ringfort", binary, arguments, directory, port, http_port, cluster_port)


def _own(directory, name):
    number = 0
    while os.path.exists(os.path.join(directory, f"{name}-{number}")):
        number += 1
    path = os.path.join(directory, f"{name}-{number}")
    os.makedirs(path)
    return path


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)
