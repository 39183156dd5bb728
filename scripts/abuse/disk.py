"""Disks that are full, and files that are damaged."""

import os
import re
import subprocess
import time

import server as servers
from checks import Failure, is_ringfort, require, still_serves
from resp import ReplyError

DISK_MB = 96
BALLAST_MB = 40
VALUE = "v" * 50_000
# Written in order, so that damage can be placed between things that are known.
MARKS = 3000


def full_disk(directory):
    """Writes are refused with a clear error, reads go on, and writes work again once there is room."""
    if not is_ringfort():
        return "not asked of a redis-server: it ends itself"
    results = [full_disk_with(directory, durability) for durability in ("everysec", "always")]
    return "; ".join(results)


def full_disk_with(directory, durability):
    mount = os.path.join(directory, "disk-" + durability)
    os.makedirs(mount)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", mount]
    mounted = subprocess.run(command, capture_output=True, text=True)
    require(mounted.returncode == 0, f"cannot mount a tmpfs (needs root): {mounted.stderr.strip()}")
    server = None
    try:
        ballast = os.path.join(mount, "ballast")
        with open(ballast, "wb") as file:
            file.write(b"\0" * (BALLAST_MB << 20))
        data = os.path.join(mount, "data")
        os.makedirs(data)
        server = servers.ringfort(directory, durability=durability, data_dir=data)
        return fill_and_free(server.start(), ballast, durability)
    finally:
        if server:
            server.kill()
        subprocess.run(["umount", mount], check=False)


def fill_and_free(server, ballast, durability):
    with server.client(timeout=60) as client:
        acknowledged, refused = write_until_refused(client)
        require(refused, f"{acknowledged} writes of {len(VALUE)} bytes fit on a disk of {DISK_MB} MB")
        require(re.search(r"(?i)disk|space", refused), f"the refusal does not say why: {refused}")
        for _ in range(20):
            for number in (0, acknowledged - 1):
                require(client.call("GET", f"fill:{number}") == VALUE.encode(), "a read failed on a full disk")
            again, _ = write_until_refused(client, first=acknowledged, most=3)
            acknowledged += again
        require(server.running(), f"the server ended on a full disk:\n{server.log_tail()}")
        os.remove(ballast)
        wrote_again = write_again(client)
    server.kill()
    server.start()
    with server.client(timeout=60) as client:
        for number in range(acknowledged):
            require(client.call("GET", f"fill:{number}") == VALUE.encode(), f"fill:{number} was acknowledged and is gone")
        require(client.call("GET", "after") == b"there is room", "the write after the full disk is gone")
    return f"{durability}: refused after {acknowledged} writes ({refused}), again after {wrote_again:.1f} s"


def write_until_refused(client, first=0, most=10_000):
    """Returns how many writes were acknowledged, and the text of the refusal."""
    for number in range(first, first + most):
        try:
            client.call("SET", f"fill:{number}", VALUE)
        except ReplyError as error:
            return number - first, str(error)
    return most, ""


def write_again(client):
    """Seconds until a write is taken again."""
    started = time.monotonic()
    while time.monotonic() - started < 15:
        try:
            client.call("SET", "after", "there is room")
            return time.monotonic() - started
        except ReplyError:
            time.sleep(0.1)
    raise Failure("writes are still refused 15 s after space was freed")


def mark(number):
    return f"mark-{number:08d}-" + "m" * 40


def written(directory):
    """A server that has written all marks and was killed; and its log file with each mark's place."""
    server = servers.ringfort(directory, durability="everysec").start()
    with server.client() as client:
        for number in range(MARKS):
            client.call("SET", f"key:{number}", mark(number))
    server.kill()
    return server


def find_mark(server, number):
    """(path, offset) where the mark lies on disk."""
    wanted = mark(number).encode()
    for folder, _, names in sorted(os.walk(server.directory)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                offset = file.read().rfind(wanted)
            if offset >= 0:
                return path, offset
    raise Failure(f"mark {number} lies in no file of {server.directory}")


def damage_in_the_middle(directory):
    """The node refuses to start, names the file, and says what to do."""
    server = written(directory)
    path, offset = find_mark(server, MARKS // 2)
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"DAMAGED!")
    before = server.log_size()
    server.spawn()
    try:
        code = server.process.wait(30)
    except subprocess.TimeoutExpired:
        if not is_ringfort():
            return "redis-server starts with damaged values"
        raise Failure(f"the node runs on a damaged log:\n{server.log_since(before)}")
    said = server.log_since(before)
    require(code != 0, "exit code 0 with a damaged log")
    require(code > 0, f"it was ended by signal {-code}:\n{said}")
    name = os.path.basename(path)
    require(name in said, f"the message does not name {name}:\n{said}")
    require(re.search(r"\d{3,}", said), f"the message does not say where:\n{said}")
    require("panicked" not in said, f"a panic:\n{said}")
    return said.strip().splitlines()[-1]


def torn_tail(directory):
    """The last record was being written when the power went: the node starts without it."""
    server = written(directory)
    path, offset = find_mark(server, MARKS - 1)
    with open(path, "r+b") as file:
        # The file keeps its length: segments are as long as they will be from the start.
        length = file.seek(0, os.SEEK_END)
        file.seek(offset + 5)
        if is_ringfort():
            file.write(b"\0" * (length - offset - 5))
        else:
            file.truncate()
    server.start()
    with server.client() as client:
        for number in range(MARKS - 1):
            require(client.call("GET", f"key:{number}") == mark(number).encode(), f"key:{number} is gone")
        require(client.call("GET", f"key:{MARKS - 1}") is None, "half a record was taken for whole")
    still_serves(server, "after a torn tail")
    server.kill()
    server.start()
    still_serves(server, "after a torn tail and another restart")
    return "only the torn record is missing"
