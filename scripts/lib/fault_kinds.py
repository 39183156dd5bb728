"""The faults: each does its harm to a running cluster and takes it back. What follows (do all answer, is all whole) is the run's business.

A fault is a function of the run (`run.cluster`, `run.random`, `run.hold`) that returns a line about what it did. `needs_whole`: it takes a copy
of the data away, so all others must be complete before.
"""

import os
import signal
import time
from typing import Callable, NamedTuple

import fault_load
import fault_network
import server as servers
from resp import ProtocolError, ReplyError

REBUILD_SECONDS_MAX = 60.0
BALLAST_BYTES = 1 << 16
# What is written onto a full disk: more than the log keeps free, over keys of every shard, again and again the same.
FILLER_KEYS, FILLER_BYTES, FILLER_BATCH = 512, 4096, 64


class Kind(NamedTuple):
    name: str
    act: Callable
    needs_whole: bool
    network: bool
    # What lies between the nodes is hurt.
    between: bool


KINDS = {}


def kind(name, needs_whole=False, network=False, between=False):
    def register(function):
        KINDS[name] = Kind(name, function, needs_whole, network or between, between)
        return function
    return register


def _any(run):
    return run.random.choice(run.cluster.nodes)


def _kill_and_restart(run, nodes):
    for node in nodes:
        node.kill()
    run.hold(0.3, 4.0)
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()
    return "kill -9 of " + " and ".join(node.name for node in nodes)


@kind("kill")
def kill(run):
    return _kill_and_restart(run, [_any(run)])


@kind("kill-leader")
def kill_leader(run):
    node = run.cluster.leader()
    led = node.shards("led")
    run.failovers.append(time.monotonic())
    return f"{_kill_and_restart(run, [node])}, which led {led} shards"


@kind("kill-two")
def kill_two(run):
    return _kill_and_restart(run, run.random.sample(run.cluster.nodes, min(2, len(run.cluster.nodes))))


@kind("kill-all")
def kill_all(run):
    """Acknowledged writes are in the system's cache: the end of every process takes none of them away."""
    return _kill_and_restart(run, run.cluster.nodes)


@kind("restart")
def restart(run):
    """An orderly stop."""
    node = _any(run)
    code = node.stop()
    run.hold(0.3, 2.0)
    node.start()
    if code != 0:
        run.fail(f"{node.name} ended with {code} after SIGTERM")
    return f"SIGTERM to {node.name}"


@kind("rolling-restart", needs_whole=True)
def rolling_restart(run):
    """Every node once, each only when the one before has caught up: what an upgrade does. Clients turn to another node."""
    began, before = time.monotonic(), run.load.counts()
    for node in run.cluster.nodes:
        code = node.stop()
        if code != 0:
            run.fail(f"{node.name} ended with {code} after SIGTERM")
        node.start()
        run.await_whole()
    ended, after = time.monotonic(), run.load.counts()
    refused, unknown = (after[outcome] - before[outcome] for outcome in ("refused", "unknown"))
    return (f"SIGTERM to every node in turn, {ended - began:.0f} s: {refused} commands refused, {unknown} of unknown outcome, "
            f"longest wait of a client {run.load.longest_gap(began, ended):.2f} s")


@kind("move", needs_whole=True)
def move(run):
    """Comes back under other ports: still the same node, and all others must find it."""
    node = _any(run)
    node.stop()
    run.cluster.move(node)
    run.hold(0.1, 1.0)
    node.start()
    return f"{node.name} moved to port {node.port}"


@kind("pause")
def pause(run):
    """Longer than a lease: whoever led must not answer from its old state when it wakes."""
    node = run.cluster.leader() if run.random.random() < 0.6 else _any(run)
    node.process.send_signal(signal.SIGSTOP)
    late = None
    try:
        seconds = run.hold(1.0, 3.5)
        late = fault_load.LateReads(run.load.pool, node)
    finally:
        node.process.send_signal(signal.SIGCONT)
    late.collect()
    return f"SIGSTOP of {node.name} for {seconds:.1f} s"


@kind("pause-flapping")
def pause_flapping(run):
    """Pauses about as long as a lease, one after the other."""
    node = run.cluster.leader()
    for _ in range(run.random.randint(4, 8)):
        node.process.send_signal(signal.SIGSTOP)
        try:
            run.hold(0.2, 1.2)
        finally:
            node.process.send_signal(signal.SIGCONT)
        run.hold(0.01, 0.5)
    return f"short pauses of {node.name}"


@kind("wipe", needs_whole=True)
def wipe(run):
    node = _any(run)
    node.kill()
    node.wipe()
    run.hold(0.1, 2.0)
    node.spawn()
    node.wait_ready()
    return f"data directory of {node.name} wiped"


def _damage(run, pattern):
    node = _any(run)
    if run.random.random() < 0.5:
        node.kill()
    else:
        node.stop()
    where = node.flip_bytes(pattern, run.random)
    offset = node.log_size()
    node.spawn()
    if where is None:
        run.fail(f"{node.name} has no file {pattern} to damage")
        node.wait_ready()
        return "nothing"
    try:
        node.wait_ready(REBUILD_SECONDS_MAX)
    except servers.StartError:
        return _refused(run, node, where, offset)
    told = [line.strip() for line in node.log_since(offset).splitlines() if "corrupt at byte" in line]
    if told and not any("rebuilt from its peers" in line or "No replica of this node" in line for line in told):
        run.fail(f"{node.name}, {where}: it started and does not say what becomes of its replicas: {told[0]}")
    # What lies behind the last record, or was freed by a newer snapshot, is nobody's.
    text = told[0][-420:] if told else "nothing about it in its log: nothing depended on it"
    return f"{node.name}, {where}: started and says: {text}"


def _refused(run, node, where, offset):
    """All others have a copy of everything: there is no reason to refuse. The run goes on with a wiped node."""
    said = node.log_since(offset).strip()
    state = "it does not answer" if node.running() else f"it ended with {node.process.returncode}"
    run.fail(f"{node.name}, {where}: {state}, where its peers could rebuild it:\n{said[-1500:]}")
    if node.running():
        node.kill()
    node.wipe()
    node.spawn()
    node.wait_ready()
    return f"{node.name}, {where}: refused; wiped by hand"


@kind("damage-log", needs_whole=True)
def damage_log(run):
    return _damage(run, "wal-*.log")


@kind("damage-snapshot", needs_whole=True)
def damage_snapshot(run):
    return _damage(run, "shard-*.snap")


@kind("full-disk")
def full_disk(run):
    node = next(node for node in run.cluster.nodes if node.disk)
    path = os.path.join(node.disk, "ballast")
    try:
        with open(path, "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(BALLAST_BYTES))
            except OSError:
                pass
        refused = _fill(run, node)
        if not node.running():
            run.fail(f"{node.name} ended on a full disk:\n{node.log_tail()}")
            node.kill()
    finally:
        os.remove(path)
    if not node.running():
        node.spawn()
        node.wait_ready()
    return f"disk of {node.name} full; refused with: {refused}"


def _fill(run, node):
    """Writes for some seconds through a node; returns the first refusal, or None."""
    until, number, refused = time.monotonic() + run.random.uniform(4.0, 8.0), 0, None
    while time.monotonic() < until and node.running():
        try:
            with node.client() as client:
                while time.monotonic() < until:
                    keys = [f"fill:{(number + at) % FILLER_KEYS}" for at in range(FILLER_BATCH)]
                    number += FILLER_BATCH
                    for reply in client.pipeline([("SET", key, "x" * FILLER_BYTES) for key in keys]):
                        if isinstance(reply, ReplyError):
                            refused = refused or str(reply)
                    time.sleep(0.02)
        except (OSError, ProtocolError):
            time.sleep(0.1)
    return refused


def _cut_from_peers(run, node, clients_too):
    network = run.cluster.network
    for other in run.cluster.others(node):
        network.cut_both(node.number, other.number)
    if clients_too:
        network.cut_both(node.number, fault_network.CLIENTS)


def _isolated(run, node, clients_too):
    _cut_from_peers(run, node, clients_too)
    seconds = run.hold(1.5, 7.0)
    run.cluster.network.mend()
    return f"{node.name} cut off for {seconds:.1f} s" + (", from clients too" if clients_too else "")


@kind("isolate-leader", between=True)
def isolate_leader(run):
    """Its clients go on talking to it: it must not answer from what may be old."""
    return _isolated(run, run.cluster.leader(), clients_too=False)


@kind("isolate", network=True)
def isolate(run):
    return _isolated(run, _any(run), clients_too=True)


@kind("halves", between=True)
def halves(run):
    """One node here, two there, clients on both sides; then the border moves without a time of peace."""
    nodes = run.random.sample(run.cluster.nodes, 2)
    for node in nodes:
        run.cluster.network.mend()
        _cut_from_peers(run, node, clients_too=False)
        run.hold(1.5, 4.0)
    run.cluster.network.mend()
    return f"{nodes[0].name}, then {nodes[1].name} on a side of its own"


@kind("one-way", between=True)
def one_way(run):
    """What a node sends is lost, what is sent to it arrives; or the other way round."""
    node = run.cluster.leader() if run.random.random() < 0.6 else _any(run)
    mute = run.random.random() < 0.5
    peers = run.cluster.others(node)
    if run.random.random() < 0.4:
        peers = [run.random.choice(peers)]
    for other in peers:
        ends = (node.number, other.number) if mute else (other.number, node.number)
        run.cluster.network.cut(*ends)
    seconds = run.hold(1.5, 6.0)
    run.cluster.network.mend()
    return f"{node.name} {'unheard by' if mute else 'deaf to'} {len(peers)} others for {seconds:.1f} s"


@kind("bridge", between=True)
def bridge(run):
    """Two nodes do not see each other; the third sees both."""
    one, other = run.random.sample(run.cluster.nodes, 2)
    run.cluster.network.cut_both(one.number, other.number)
    seconds = run.hold(2.0, 6.0)
    run.cluster.network.mend()
    return f"{one.name} and {other.name} cut from each other for {seconds:.1f} s"


@kind("flapping", between=True)
def flapping(run):
    node = run.cluster.leader() if run.random.random() < 0.5 else _any(run)
    rounds = run.random.randint(5, 12)
    for _ in range(rounds):
        _cut_from_peers(run, node, clients_too=False)
        run.hold(0.1, 1.0)
        run.cluster.network.mend()
        run.hold(0.05, 0.6)
    return f"{node.name} cut off {rounds} times"


@kind("loss", network=True)
def loss(run):
    """Short silences in every direction, as bursts of loss."""
    ends = [node.number for node in run.cluster.nodes] + [fault_network.CLIENTS]
    until = time.monotonic() + run.random.uniform(3.0, 7.0)
    while time.monotonic() < until:
        run.cluster.network.cut(*run.random.sample(ends, 2))
        run.hold(0.01, 0.08)
        run.cluster.network.mend()
        run.hold(0.01, 0.2)
    return "bursts of loss everywhere"


@kind("slow-line", network=True)
def slow_line(run):
    node = run.cluster.leader() if run.random.random() < 0.5 else _any(run)
    run.cluster.network.slow(node.number)
    seconds = run.hold(3.0, 7.0)
    run.cluster.network.mend()
    return f"{node.name} behind {fault_network.SLOW_RATE} for {seconds:.1f} s"


@kind("delay", network=True)
def delay(run):
    milliseconds, percent = run.random.choice(((10, 1), (40, 3), (100, 5), (5, 20)))
    for node in run.cluster.nodes:
        run.cluster.network.delay_and_loss(node.number, milliseconds, percent)
    seconds = run.hold(3.0, 8.0)
    run.cluster.network.mend()
    return f"{milliseconds} ms and {percent} % loss at every node for {seconds:.1f} s"
