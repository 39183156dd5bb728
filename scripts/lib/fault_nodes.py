"""The nodes of a fault run: starting, wiping and damaging them, and asking whether they answer and are whole.

A node's directory holds `data`, or a small tmpfs with `data` in it for the one whose disk is to be filled. With a Network each node lives in
a namespace of its own; without, all listen on 127.0.0.1.
"""

import glob
import http.client
import os
import shutil
import subprocess
import time
import urllib.request

import groups
import server as servers
from resp import Client, ProtocolError, ReplyError

SHARDS = 64
SLOTS = 16384
# Small segments and logs: snapshots and the freeing of segments happen during the run.
WAL_SEGMENT, WAL_MAX = "1mb", "8mb"
TMPFS_MIB = 160
SECRET = "only-for-the-fault-run"
# Header of a log segment, src/durability/README.md.
SEGMENT_HEADER_BYTES = 512
# A snapshot of an empty shard is about as large.
SNAPSHOT_BYTES_MIN = 200


def slot(key):
    """CRC16 (XMODEM) of a key without a hash tag."""
    crc = 0
    for byte in key.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc % SLOTS


def probe_keys():
    """One key for each shard."""
    found, number = {}, 0
    while len(found) < SHARDS:
        key = f"probe:{number}"
        found.setdefault(slot(key) * SHARDS // SLOTS, key)
        number += 1
    return [found[shard] for shard in range(SHARDS)]


class Node(servers.Server):
    """One server process that may lose its data, and is reached at `host`."""

    def __init__(self, number, directory, data, binary, arguments, host, ports):
        super().__init__(f"node {number + 1}", binary, arguments, directory, ports["port"], ports.get("http"))
        self.number = number
        self.data = data
        self.host = host
        self.disk = None
        # Whether the process is meant to run: one that ended by itself is a failure.
        self.wanted = False

    def client(self, timeout=5.0):
        return Client(self.port, host=self.host, timeout=timeout)

    def spawn(self, extra=()):
        self.wanted = True
        super().spawn(extra)

    def kill(self):
        self.wanted = False
        super().kill()

    def stop(self):
        self.wanted = False
        return super().stop()

    def wait_ready(self, seconds=servers.START_SECONDS_MAX):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.running():
                raise servers.StartError(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                with self.client() as client:
                    client.call("PING")
                    return
            except (OSError, ProtocolError, ReplyError):
                time.sleep(0.02)
        raise servers.StartError(f"{self.name} does not answer after {seconds:.0f} s:\n{self.log_tail()}")

    def wipe(self):
        shutil.rmtree(self.data)

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.host}:{self.http_port}/metrics", timeout=3) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def shards(self, what):
        """Shards that this node leads (`led`) or votes in (`voting`); 0 when it does not say."""
        if self.http_port is None:
            return 0
        try:
            return int(groups.total(self.metrics(), f"ringfort_worker_shards_{what}"))
        except (OSError, ValueError, http.client.HTTPException):
            return 0

    def why_not_answering(self, keys):
        """None when a write to every shard is taken through this node; otherwise the first thing that went wrong."""
        try:
            with self.client() as client:
                for key, reply in zip(keys, client.pipeline([("SET", key, "1") for key in keys])):
                    if isinstance(reply, ReplyError):
                        return f"{self.name}: SET {key}: {reply}"
        except (OSError, ProtocolError) as error:
            return f"{self.name}: {type(error).__name__}: {error}"
        return None

    def flip_bytes(self, pattern, source):
        """Changes eight bytes in the middle of what a file of this node holds; returns where, or None without such a file."""
        paths = sorted(glob.glob(os.path.join(self.data, "**", pattern), recursive=True))
        source.shuffle(paths)
        least = 16 * SEGMENT_HEADER_BYTES if pattern.endswith(".log") else SNAPSHOT_BYTES_MIN
        for path in paths:
            with open(path, "r+b") as file:
                content = file.read()
                used = len(content.rstrip(b"\0"))
                if used < least:
                    continue
                # Not near the end: what is damaged must have whole records behind it, or it is a torn tail.
                at = source.randrange(used // 4, used // 2)
                file.seek(at)
                file.write(bytes(byte ^ 0xFF for byte in content[at:at + 8]))
                return f"{os.path.basename(path)} at byte {at} of {used}"
        return None


class Cluster:
    """All nodes of a run."""

    def __init__(self, directory, count, network=None, durability="everysec", threads=1, shards=SHARDS, wal=(WAL_SEGMENT, WAL_MAX), more=()):
        self.directory = directory
        self.shards = shards
        self.wal = wal
        self.more = more
        self.network = network
        self.probes = probe_keys()
        self.mounted = []
        self.nodes = []
        if servers.is_redis(servers.ringfort_binary()):
            self.nodes.append(self._redis())
            return
        ports = [self._ports() for _ in range(count)]
        hosts = [network.address(number) if network else "127.0.0.1" for number in range(count)]
        join = ",".join(f"{host}:{port['peer']}" for host, port in zip(hosts, ports))
        for number in range(count):
            self.nodes.append(self._ringfort(number, hosts[number], ports[number], join, durability, threads, count))

    def add(self, durability="everysec", threads=1):
        """One more node on this machine, which joins those that are there."""
        number = max(node.number for node in self.nodes) + 1
        join = ",".join(f"{node.host}:{node.arguments[node.arguments.index('--peer-port') + 1]}" for node in self.nodes)
        node = self._ringfort(number, "127.0.0.1", self._ports(), join, durability, threads, 0)
        self.nodes.append(node)
        return node

    def _ports(self):
        if self.network:
            return {"port": 6379, "cluster": 7379, "peer": 16379, "http": 8379}
        return {name: servers.free_port() for name in ("port", "cluster", "peer", "http")}

    def _redis(self):
        """One redis-server stands in, for trying out the run itself."""
        directory = os.path.join(self.directory, "node-1")
        data = os.path.join(directory, "data")
        os.makedirs(data)
        port = servers.free_port()
        arguments = ["--port", str(port), "--bind", "127.0.0.1", "--dir", data, "--save", "", "--appendonly", "yes"]
        return Node(0, directory, data, servers.ringfort_binary(), arguments, "127.0.0.1", {"port": port})

    def _ringfort(self, number, host, ports, join, durability, threads, expect):
        directory = os.path.join(self.directory, f"node-{number + 1}")
        os.makedirs(directory)
        data = os.path.join(directory, "data")
        together = ["--join", join, "--bootstrap-expect", str(expect)] if expect != 1 else []
        arguments = [
            "serve", "--bind", host, "--port", str(ports["port"]), "--cluster-port", str(ports["cluster"]),
            "--http-bind", host, "--http-port", str(ports["http"]), "--peer-bind", host, "--peer-port", str(ports["peer"]),
            "--announce-host", host, "--cluster-secret", SECRET, *together,
            "--protected-mode", "no", "--shards", str(self.shards), "--threads", str(threads), "--durability", durability,
            "--wal-segment-bytes", self.wal[0], "--wal-max-bytes", self.wal[1], *self.more, "--dir",
        ]
        binary = servers.ringfort_binary()
        if self.network:
            inside = self.network.inside(number)
            binary, arguments = inside[0], [*inside[1:], os.path.abspath(binary), *arguments]
        return Node(number, directory, data, binary, arguments + [data], host, ports)

    def move(self, node):
        """Gives a node that is not running other ports. The list to join by is brought up to date, as an operator would: whoever
        comes back with an empty directory finds the others by nothing else."""
        ports = {name: servers.free_port() for name in ("port", "cluster-port", "http-port", "peer-port")}
        peer = node.arguments[node.arguments.index("--peer-port") + 1]
        for name, port in ports.items():
            node.arguments[node.arguments.index("--" + name) + 1] = str(port)
        node.port, node.http_port = ports["port"], ports["http-port"]
        for other in self.nodes:
            at = other.arguments.index("--join") + 1
            members = other.arguments[at].split(",")
            now = f"{node.host}:{ports['peer-port']}"
            other.arguments[at] = ",".join(now if member == f"{node.host}:{peer}" else member for member in members)

    def small_disk(self, node):
        """Puts a node's data on a small tmpfs, before its first start. Returns None, or why that is impossible."""
        if os.geteuid() != 0:
            return "a full disk needs root, to mount a small tmpfs"
        path = os.path.join(node.directory, "disk")
        os.makedirs(path)
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MIB}m", "tmpfs", path], capture_output=True, text=True)
        if made.returncode != 0:
            return f"a full disk cannot be made here: {made.stderr.strip()}"
        self.mounted.append(path)
        node.disk = path
        node.data = os.path.join(path, "data")
        node.arguments[-1] = node.data
        return None

    def start(self):
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait_ready()

    def close(self):
        for node in self.nodes:
            node.kill()
        for path in self.mounted:
            subprocess.run(["umount", "-l", path], capture_output=True)

    def leader(self):
        """The node that leads most shards."""
        return max(self.nodes, key=lambda node: node.shards("led"))

    def others(self, node):
        return [other for other in self.nodes if other is not node]

    def why_not_answering(self):
        for node in self.nodes:
            why = node.why_not_answering(self.probes)
            if why:
                return why
        return None

    def why_not_whole(self):
        """None when every shard has its voters on all nodes again."""
        if len(self.nodes) == 1:
            return None
        led = sum(node.shards("led") for node in self.nodes)
        voting = [node.shards("voting") for node in self.nodes]
        whole = led >= SHARDS and all(count == led for count in voting)
        return None if whole else f"{led} shards are led; the nodes vote in {', '.join(map(str, voting))}"
