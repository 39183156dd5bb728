"""Nodes in network namespaces, joined by a bridge, and what can go wrong between them.

The bridge lies in the namespace of whoever runs this, so that clients reach every node. A direction is cut by a false hardware
address for the other end: frames leave and nobody takes them, as silently as on a broken network, and it needs nothing of the kernel
but namespaces, veth and bridge. Knows no processes: nodes are numbers from 0; CLIENTS stands for the side of the clients.
"""

import os
import subprocess

CLIENTS = -1
NOBODY = "02:00:00:00:de:ad"
# A slow line: bits a second, and frames that wait before frames are dropped.
SLOW_RATE, SLOW_FRAMES_MAX = "2mbit", 60


class Impossible(Exception):
    """What is missing here; the text says what to do."""


def _run(*words):
    made = subprocess.run(words, capture_output=True, text=True)
    if made.returncode != 0:
        raise Impossible(f"`{' '.join(words)}` failed: {made.stderr.strip() or made.stdout.strip()}")
    return made.stdout


def why_impossible():
    """None, or what keeps network faults from being injected here."""
    if os.geteuid() != 0:
        return "network faults need root, for network namespaces; run as root, or with --no-network"
    if subprocess.run(["sh", "-c", "command -v ip"], capture_output=True).returncode != 0:
        return "network faults need `ip` (Debian: apt-get install iproute2); install it, or use --no-network"
    return None


def sweep():
    """Removes what runs that were killed have left: their process ids are in the names."""
    for line in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.splitlines():
        name = line.split()[0]
        pid = name[2:].split("n")[0]
        if name.startswith("rf") and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            _remove(name, "rf" + pid)


def _remove(namespace, bridge):
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True)
    subprocess.run(["ip", "link", "del", bridge], capture_output=True)


class Network:
    def __init__(self, nodes):
        why = why_impossible()
        if why:
            raise Impossible(why)
        sweep()
        pid = os.getpid()
        self.nodes = nodes
        self.bridge = f"rf{pid}"
        self.namespaces = [f"rf{pid}n{number}" for number in range(nodes)]
        self.net = f"10.{64 + (pid >> 8) % 128}.{pid % 256}"
        self.cuts = set()
        self.shaped = set()
        try:
            self._make()
        except Impossible as error:
            self.remove()
            raise Impossible(f"{error}\nnetwork faults cannot be injected here; use --no-network") from None

    def _make(self):
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        _run("ip", "addr", "add", self.address(CLIENTS) + "/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")
        for number, namespace in enumerate(self.namespaces):
            outer = f"{self.bridge}v{number}"
            _run("ip", "netns", "add", namespace)
            _run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _run("ip", "link", "set", outer, "master", self.bridge, "up")
            _run("ip", "-n", namespace, "addr", "add", self.address(number) + "/24", "dev", "eth0")
            _run("ip", "-n", namespace, "link", "set", "eth0", "up")
            _run("ip", "-n", namespace, "link", "set", "lo", "up")

    def remove(self):
        # A namespace takes its end of the line with it only once its last process is gone.
        for number in range(self.nodes):
            subprocess.run(["ip", "link", "del", f"{self.bridge}v{number}"], capture_output=True)
        for namespace in self.namespaces:
            _remove(namespace, self.bridge)

    def address(self, number):
        return f"{self.net}.{1 if number == CLIENTS else 11 + number}"

    def inside(self, number):
        """The words that run a command in a node's namespace, under the same process id."""
        return ["ip", "netns", "exec", self.namespaces[number]]

    def _neighbour(self, sender, receiver, *words):
        place = ["ip"] if sender == CLIENTS else ["ip", "-n", self.namespaces[sender]]
        device = self.bridge if sender == CLIENTS else "eth0"
        return _run(*place, "neigh", words[0], self.address(receiver), *words[1:], "dev", device)

    def cut(self, sender, receiver):
        """From now on nothing that `sender` sends reaches `receiver`; the other direction stays."""
        self._neighbour(sender, receiver, "replace", "lladdr", NOBODY, "nud", "permanent")
        self.cuts.add((sender, receiver))

    def cut_both(self, one, other):
        self.cut(one, other)
        self.cut(other, one)

    def mend(self):
        """All directions work again, at full speed."""
        for sender, receiver in list(self.cuts):
            self._neighbour(sender, receiver, "del")
            self.cuts.discard((sender, receiver))
        for number in list(self.shaped):
            _run(*self.inside(number), "tc", "qdisc", "del", "dev", "eth0", "root")
            self.shaped.discard(number)

    def delay_and_loss(self, number, milliseconds, percent):
        self._qdisc(number, "root", "netem", "delay", f"{milliseconds}ms", f"{milliseconds // 2}ms", "loss", f"{percent}%")

    def slow(self, number):
        """What the node sends queues behind a narrow line; what does not fit is dropped."""
        self._qdisc(number, "root", "handle", "1:", "htb", "default", "1")
        tc = [*self.inside(number), "tc"]
        _run(*tc, "class", "add", "dev", "eth0", "parent", "1:", "classid", "1:1", "htb", "rate", SLOW_RATE)
        _run(*tc, "qdisc", "add", "dev", "eth0", "parent", "1:1", "pfifo", "limit", str(SLOW_FRAMES_MAX))

    def _qdisc(self, number, *words):
        _run(*self.inside(number), "tc", "qdisc", "add", "dev", "eth0", *words)
        self.shaped.add(number)

    def lacks(self, kind, *words):
        """None, or why the kernel cannot shape traffic in this way."""
        try:
            self._qdisc(0, "root", *words)
            self.mend()
        except (Impossible, OSError) as error:
            return f"{kind}: {error}"
        return None
