"""Several servers that belong together: a ringfort cluster, and a redis with replicas. Measured as one: CPU time is that of all their processes."""

import time

import server as servers
from resp import ProtocolError, ReplyError

READY_SECONDS_MAX = 90.0


class Group:
    """Looks to the measurements like one server: the first one's port, everybody's CPU."""

    def __init__(self, name, members, port, wait, cluster=False):
        self.name = name
        self.members = members
        self.port = port
        self.cluster = cluster
        self.directory = members[0].directory
        self._wait = wait

    def start(self):
        for member in self.members:
            member.spawn()
        for member in self.members:
            member.wait_ready()
        self._wait(self)
        return self

    def kill(self):
        for member in self.members:
            member.kill()
            servers.remove(member.directory)

    def running(self):
        return all(member.running() for member in self.members)

    def cpu_seconds(self):
        return sum(member.cpu_seconds() for member in self.members)

    def log_tail(self):
        return "\n".join(f"{member.name}:\n{member.log_tail()}" for member in self.members)

    def client(self, timeout=30.0):
        return self.members[0].client(timeout)


def _until(what, holds):
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except (OSError, ProtocolError, ReplyError):
            pass
        time.sleep(0.1)
    raise servers.StartError(f"{what} not within {READY_SECONDS_MAX:.0f} s")


def ringfort_cluster(directory, nodes=3, extra=(), durability="everysec"):
    """Nodes that form one cluster by themselves; ready when every shard has as many voters as nodes, up to three."""
    peer_ports = [servers.free_port() for _ in range(nodes)]
    join = ",".join(f"127.0.0.1:{port}" for port in peer_ports)
    members = []
    for number, peer_port in enumerate(peer_ports):
        member = servers.ringfort(directory, durability=durability, extra=[
            "--peer-port", str(peer_port), "--join", join, "--bootstrap-expect", str(nodes), *extra,
        ])
        member.name = f"ringfort node {number + 1}"
        members.append(member)
    group = Group("ringfort", members, members[0].cluster_port, lambda group: _until("a settled cluster", lambda: settled(group)), cluster=True)
    return group


def metrics(member):
    """The figures of a node's /metrics: name (with labels) to value."""
    import urllib.request
    with urllib.request.urlopen(f"http://127.0.0.1:{member.http_port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def total(figures, name):
    """Over all labels."""
    return sum(value for key, value in figures.items() if key.split("{")[0] == name)


def settled(group):
    """Every shard has a leader, and each node leads about its share of them."""
    wanted = len(group.members)
    figures = [metrics(member) for member in group.members]
    led, voters = ([total(figure, f"ringfort_worker_shards_{what}") for figure in figures] for what in ("led", "voting"))
    shards = sum(led)
    return shards > 0 and all(count == shards for count in voters[:3]) and max(led) - min(led) <= max(2, shards / wanted / 4)


def redis_replicated(directory, replicas=2):
    first = servers.redis(directory)
    members = [first]
    for _ in range(replicas):
        replica = servers.redis(directory, extra=["--replicaof", "127.0.0.1", str(first.port)])
        members.append(replica)

    def synced():
        with first.client() as client:
            info = client.call("INFO", "replication").decode()
        return info.count("state=online") == replicas

    return Group("redis", members, first.port, lambda group: _until("replicas", synced))
