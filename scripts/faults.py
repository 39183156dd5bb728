"""The fault run behind scripts/faults.sh: a cluster, clients, faults one after the other, and the verdict on what the clients saw."""

import argparse
import os
import random
import shlex
import signal
import statistics
import sys
import time

import fault_kinds
import fault_load
import fault_network
import history
import server as servers
import stalls
from fault_kinds import KINDS
from fault_nodes import Cluster

WORDS_AT_END_MAX = 12
FORMING_SECONDS_MAX = 90.0
# From here on a run says what the nodes answered meanwhile.
SLOW_SECONDS = 2.0
# A client's gap belongs to a kill when it touches this time behind it: soon enough each client needs a shard that has no leader.
FAILOVER_SECONDS = 1.0


class Window:
    """One fault, from its beginning until every node answered again."""

    def __init__(self, name, begin):
        self.name = name
        self.begin = self.end = begin
        self.healed = begin
        self.what = ""
        self.before = {}
        self.after = {}


class Run:
    """What the faults work with, and what came of them."""

    def __init__(self, options, directory):
        self.options = options
        self.random = random.Random(options.seed)
        self.directory = directory
        self.windows = []
        self.failures = []
        self.failovers = []
        self.skipped = {}
        self.began = time.monotonic()
        # All bounds are in its time.
        self.clock = stalls.Clock(self.say)
        self.network = None
        # Why there is none where it was wanted.
        self.no_network = None
        self.cluster = None
        self.load = None

    # What the faults call.

    def hold(self, low, high):
        seconds = self.random.uniform(low, high)
        time.sleep(seconds)
        return seconds

    def fail(self, text):
        self.failures.append(text)
        self.say(f"FAILED {text}")

    def say(self, text):
        print(f"faults: {time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    # The course of a run.

    def prepare(self):
        """Starts everything; raises StartError or Impossible."""
        stand_in = servers.is_redis(servers.ringfort_binary())
        kinds = [KINDS[name] for name in self.options.scenario] if self.options.scenario else list(KINDS.values())
        if any(kind.network for kind in kinds) and not self.options.no_network and not stand_in:
            self.make_network()
        self.cluster = Cluster(self.directory, self.options.nodes, self.network, self.options.durability, self.options.threads)
        self.kinds = [kind for kind in kinds if self.possible(kind, stand_in)]
        for name, why in self.skipped.items():
            print(f"faults: skipped {name}: {why}", flush=True)
        if not self.kinds and not self.options.failover:
            raise fault_network.Impossible("no fault is left that could be injected")
        self.cluster.start()
        self.await_progress(FORMING_SECONDS_MAX)
        self.await_whole()
        if self.failures:
            raise servers.StartError("the cluster did not form")

    def make_network(self):
        try:
            self.network = fault_network.Network(self.options.nodes)
        except fault_network.Impossible as error:
            if not self.options.network_if_possible:
                raise
            self.no_network = f"this machine cannot: {error}".replace("\n", "; ")

    def possible(self, kind, stand_in):
        why = None
        if kind.network and self.network is None:
            why = "--no-network" if self.options.no_network else self.no_network or "one redis-server stands in"
        elif stand_in and kind.name in ("wipe", "damage-log", "damage-snapshot", "full-disk", "move"):
            why = "one redis-server stands in"
        elif (kind.needs_whole or kind.between) and self.options.nodes < 3:
            why = "needs three nodes"
        elif kind.name == "full-disk":
            why = self.cluster.small_disk(self.cluster.nodes[-1])
        elif kind.name == "delay":
            why = self.network.lacks("netem", "netem", "delay", "1ms")
        elif kind.name == "slow-line":
            why = self.network.lacks("htb", "handle", "1:", "htb", "default", "1")
        if why:
            self.skipped[kind.name] = why
        return why is None

    def inject(self):
        """Every kind once, in a new order each time, until the time is over."""
        until = self.clock.now() + self.options.seconds
        while self.clock.now() < until:
            for kind in self.random.sample(self.kinds, len(self.kinds)):
                if self.clock.now() > until:
                    return
                self.one(kind)
                if len(self.failures) > self.options.failures_max:
                    self.say("too many failures; the run ends here")
                    return

    def one(self, kind):
        if kind.needs_whole and not self.await_whole():
            return
        self.hold(0.3, 1.5)
        window = Window(kind.name, time.monotonic())
        window.before = self.load.counts()
        try:
            window.what = kind.act(self)
        except (servers.StartError, fault_network.Impossible, OSError) as error:
            self.fail(f"{kind.name}: {type(error).__name__}: {error}")
        if self.network:
            self.network.mend()
        window.healed = time.monotonic()
        self.await_progress(self.options.progress_seconds)
        window.end = time.monotonic()
        window.after = self.load.counts()
        self.windows.append(window)
        self.say(f"{kind.name}: {window.what}; all answered {window.end - window.healed:.1f} s later")

    def await_progress(self, seconds):
        """Every node takes a write to every shard again."""
        began = self.clock.now()
        deadline = began + seconds
        words = []
        while True:
            self.revive()
            asked = self.clock.now()
            why = self.cluster.why_not_answering()
            if why is None:
                if self.clock.now() - began > SLOW_SECONDS:
                    words.append(f"all answered, asked at {asked - began:.2f} s, {self.clock.now() - asked:.2f} s")
                    self.say(f"slow to answer: {'; '.join(words)}")
                return True
            if len(words) < WORDS_AT_END_MAX:
                words.append(f"asked at {asked - began:.2f} s, {self.clock.now() - asked:.2f} s: {why}")
            if self.clock.now() > deadline:
                self.fail(f"no progress {seconds:.0f} s after all was healed: {why}; {self.cluster.why_not_whole()}")
                return False
            time.sleep(0.1)

    def revive(self):
        """A node that ended by itself is a failure; the run goes on with it."""
        for node in self.cluster.nodes:
            if node.wanted and not node.running():
                self.fail(f"{node.name} ended by itself with {node.process.returncode}:\n{node.log_tail()}")
                node.spawn()
                try:
                    node.wait_ready()
                except servers.StartError as error:
                    self.fail(str(error))

    def await_whole(self):
        deadline = self.clock.now() + self.options.settle_seconds
        while True:
            self.revive()
            why = self.cluster.why_not_whole()
            if why is None:
                return True
            if self.clock.now() > deadline:
                self.fail(f"not whole {self.options.settle_seconds:.0f} s after all was healed: {why}")
                return False
            time.sleep(0.2)

    def failover(self):
        """Only kills of the node that leads most, each followed by a time of peace."""
        for _ in range(self.options.failover):
            self.await_whole()
            self.one(KINDS["kill-leader"])
            self.hold(1.0, 2.0)

    def read_back(self):
        """Every node shows every key; the readings are operations like any other."""
        for number, node in enumerate(self.cluster.nodes):
            why = fault_load.read_back(self.load.pool, node, 1000 + number, self.options.progress_seconds)
            if why:
                self.fail(why)

    def panics(self):
        for node in self.cluster.nodes:
            lines = [line.strip() for line in node.log_since(0).splitlines() if "panicked" in line]
            if lines:
                self.fail(f"{node.name} panicked {len(lines)} times: {lines[0]}")


def judge(run):
    """Judges all keys and reports on them; the verdicts with their keys."""
    keys = run.load.pool.keys()
    operations = sum(len(key.history) for key in keys)
    started = time.monotonic()
    print(f"judging {operations:,} operations on {len(keys):,} keys, for {run.options.judge_seconds:.0f} s at most", flush=True)
    verdicts = list(zip(keys, history.judge_all((key.history for key in keys), run.options.judge_seconds)))
    print(f"{operations:,} operations on {len(keys):,} keys judged in {time.monotonic() - started:.1f} s")
    report(run, verdicts)
    return verdicts


def report(run, verdicts):
    """Says what nothing explains and what could not be judged, and keeps the histories of both; with --keep all of them."""
    bad = [(key, verdict) for key, verdict in verdicts if verdict.good is False]
    undecided = [(key, verdict) for key, verdict in verdicts if verdict.good is None]
    for key, verdict in bad[:WORDS_AT_END_MAX]:
        at = verdict.culprit.invoked
        since = verdict.around[-1].invoked if verdict.around else at
        during = [f"{window.name} ({window.what})" for window in run.windows if since - 1 < window.end and window.begin < at]
        print(f"{at - run.began:.3f} s into the run, {' and '.join(during) or 'between faults'}:")
        print("\n".join(history.described(key.name, key.history, verdict, run.began)))
    if undecided:
        named = ", ".join(f"{key.name} ({verdict.why})" for key, verdict in undecided[:WORDS_AT_END_MAX])
        run.fail(f"{len(undecided)} keys are undecided, nobody knows whether they are in order: {named}")
    kept = verdicts if run.options.keep else bad + undecided
    if kept:
        path = os.path.join(run.directory, "histories.jsonl")
        again = history.save(path, ((key.name, key.history) for key, _ in kept))
        print(f"  whole histories: {path}\n  judge them again: {again}")


def table(run):
    print(f"\n{'fault':16} {'times':>5} {'ok':>9} {'refused':>8} {'unknown':>8} {'longest gap s':>14} {'answers after s':>16}")
    for name in dict.fromkeys(window.name for window in run.windows):
        windows = [window for window in run.windows if window.name == name]
        sums = [sum(window.after[outcome] - window.before[outcome] for window in windows)
                for outcome in (history.OK, history.REFUSED, history.UNKNOWN)]
        gap = max(run.load.longest_gap(window.begin, window.end) for window in windows)
        heal = max(window.end - window.healed for window in windows)
        print(f"{name:16} {len(windows):5} {sums[0]:9,} {sums[1]:8,} {sums[2]:8,} {gap:14.2f} {heal:16.2f}")
    counts = run.load.counts()
    print(f"{'in all':16} {len(run.windows):5} {counts['ok']:9,} {counts['refused']:8,} {counts['unknown']:8,}")
    gaps = [run.load.longest_gap(at, at + FAILOVER_SECONDS) for at in run.failovers]
    if gaps:
        print(f"failover, {len(gaps)} kills of the node that leads most: longest gap of a client, median "
              f"{statistics.median(gaps):.2f} s, max {max(gaps):.2f} s")
    print("errors that clients saw:")
    for text, count in run.load.errors()[:WORDS_AT_END_MAX]:
        print(f"  {count:7,}  {text}")


def conclude(run):
    """Prints everything; returns the exit code."""
    table(run)
    for worker in run.load.workers:
        if worker.fault:
            run.fail(worker.fault)
    unexpected = [text for worker in run.load.workers for text in worker.unexpected]
    for text in unexpected[:WORDS_AT_END_MAX]:
        run.fail(f"an error that is neither definite nor UNKNOWN: {text}")
    verdicts = judge(run)
    words = [verdict.why.split(":")[0] for _, verdict in verdicts if verdict.good is False]
    violations = len(words)
    counted = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    stale = words.count("stale read")
    print(f"acknowledged writes lost (or applied twice): {violations - stale}, stale reads: {stale}")
    print(f"faults: {violations} violations{' (' + counted + ')' if counted else ''}, {len(run.failures)} other failures")
    for text in run.failures:
        print(f"  {text.splitlines()[0]}")
    return 1 if violations or run.failures else 0


def execute(run):
    run.prepare()
    print(f"faults: {len(run.cluster.nodes)} nodes answer, {time.monotonic() - run.began:.1f} s after their start", flush=True)
    run.load = fault_load.Load(run.cluster.nodes, run.options.clients, run.options.seed)
    run.load.start()
    try:
        run.failover() if run.options.failover else run.inject()
        run.await_progress(run.options.progress_seconds)
        run.hold(1.0, 1.0)
    finally:
        run.load.stop()
    run.read_back()
    run.panics()
    return conclude(run)


def parse():
    parser = argparse.ArgumentParser(prog="faults.sh", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", help="how long faults are injected (default 180)")
    parser.add_argument("seed", type=int, nargs="?", help="by chance if not given")
    # Destinations of their own: a positional argument that is not there would take back what the flag has set.
    parser.add_argument("--seconds", type=float, dest="seconds_flag")
    parser.add_argument("--seed", type=int, dest="seed_flag")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--scenario", action="append", choices=sorted(KINDS), help="only this kind of fault; may be given again")
    parser.add_argument("--no-network", action="store_true", help="no network namespaces: all nodes on 127.0.0.1")
    parser.add_argument("--network-if-possible", action="store_true", help="where network faults cannot be injected, says so and goes on without")
    parser.add_argument("--failover", type=int, metavar="N", default=0, help="only N kills of the node that leads most")
    parser.add_argument("--progress-seconds", type=float, default=30, help="bound until every node answers after a fault")
    parser.add_argument("--settle-seconds", type=float, default=90, help="bound until every shard has all its voters")
    parser.add_argument("--failures-max", type=int, default=10, help="failures after which the run ends early")
    parser.add_argument("--judge-seconds", type=float, default=history.SECONDS_MAX,
                        help="bound for the verdict on what the clients saw; what is undecided by then has failed")
    parser.add_argument("--durability", default="everysec", choices=("always", "everysec"))
    parser.add_argument("--threads", type=int, default=2, help="workers a node")
    parser.add_argument("--keep", action="store_true", help="keep data and logs of a run without failures too")
    options = parser.parse_args()
    options.seconds = first_of(options.seconds_flag, options.seconds, 180.0)
    options.seed = first_of(options.seed_flag, options.seed, random.SystemRandom().randrange(1 << 32))
    if options.failover:
        options.scenario, options.no_network = ["kill-leader"], True
    return options


def first_of(*values):
    return next(value for value in values if value is not None)


def main():
    options = parse()
    # Whoever ends the run ends it through the clean-up below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = servers.work_dir("faults")
    run = Run(options, directory)
    print(f"faults: seed {options.seed}, {options.clients} clients, "
          f"{f'{options.failover} kills' if options.failover else f'{options.seconds:.0f} s'}", flush=True)
    code = 1
    try:
        code = execute(run)
    except (servers.StartError, fault_network.Impossible) as error:
        print(f"faults: {error}", flush=True)
    finally:
        if run.cluster:
            run.cluster.close()
        if run.network:
            run.network.remove()
        if code == 0 and not options.keep:
            servers.remove(directory)
        else:
            print(f"faults: data and logs are kept in {directory}\n"
                  f"  again: scripts/faults.sh {shlex.join(sys.argv[1:])} --seed {options.seed}", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
