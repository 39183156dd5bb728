"""The run behind scripts/elastic.sh: a cluster that grows and shrinks under an even load, and the verdict on what the clients felt."""

import argparse
import http.client
import os
import random
import signal
import sys
import threading
import time

import groups
import history
import operator_api
import server as servers
import stalls
from elastic_load import Load, LoadError
from fault_nodes import Cluster
from resp import ProtocolError, ReplyError

# What the cluster must keep, of what it gave before: throughput of any second, and p99.
LOWEST_SHARE = 0.7
P99_TIMES = 10.0
# For how long one shard of 1 GiB may be unavailable while it moves.
GAP_MS_MAX = 200.0
# Commands under way when it is found out what the cluster can do.
CLOSED_DEPTH = 256
FORMING_SECONDS_MAX = 90.0
LOOK_SECONDS = 0.25
# The placement must be done for so long: between two steps of it nothing seems to be left.
DONE_SECONDS = 2.0
# For a command to end beyond the time that it was given.
COMMAND_END_SECONDS_MAX = 30.0
# Nobody was reached, or the outcome is unknown: the help of each command says to repeat it.
EXIT_CODES_AGAIN = (3, 4)
RESTART_SECONDS = (2.0, 5.0)
ONE_SHARD_RATE = 500
# A thread that only sleeps is held up for so long, and the processors stand idle for the most part: that is the machine, and not the load.
HELD_SECONDS_MIN = 0.2
HELD_BUSY_SHARE_MAX = 0.5
WORDS_AT_END_MAX = 10


class Watch(threading.Thread):
    """Counts what the nodes send each other, through restarts and departures."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_ = run
        self.seen = {}
        self.moved = 0
        # The run looks too, where a phase begins and ends.
        self.lock = threading.Lock()
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(1.0):
            self.look()

    def look(self):
        with self.lock:
            for node in list(self.run_.cluster.nodes):
                try:
                    now = groups.total(node.metrics(), "ringfort_move_sent_bytes_total")
                except (OSError, ValueError, http.client.HTTPException):
                    continue
                before = self.seen.get(node.number, 0)
                self.seen[node.number] = now
                self.moved += now - before if now >= before else now


class Run:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.random = random.Random(options.seed)
        self.began = time.monotonic()
        self.cluster = None
        self.load = None
        self.watch = None
        self.rows = []
        self.failures = []
        self.missed = []
        self.kills = []
        self.clock = stalls.Clock(lambda _: None, HELD_SECONDS_MIN)

    def say(self, text):
        print(f"elastic: {time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def fail(self, text):
        self.failures.append(text)
        self.say(f"FAILED {text}")

    # ---- the cluster ---------------------------------------------------------------------------------

    def prepare(self):
        shards = 1 if self.options.one_shard else self.options.shards
        more = [word for pair in self.options.set for word in ("--" + pair.split("=", 1)[0], pair.split("=", 1)[1])]
        self.cluster = Cluster(self.directory, 3, threads=self.options.threads, shards=shards,
                               wal=(self.options.wal_segment, self.options.wal_max), durability=self.options.durability, more=more)
        self.cluster.start()
        deadline = time.monotonic() + FORMING_SECONDS_MAX
        while sum(node.shards("voting") for node in self.cluster.nodes) < 3 * shards:
            if time.monotonic() > deadline:
                raise servers.StartError("the cluster did not form")
            time.sleep(0.2)
        value = self.options.value_bytes
        keys = max(1000, self.options.data // value)
        self.load = Load(os.environ["ELASTIC_LOAD"], self.directory, [f"127.0.0.1:{self.cluster_port(node)}" for node in self.cluster.nodes],
                         seed=self.options.seed, keys=keys, value_bytes=value, shards=shards, get_per_mille=500 if self.options.one_shard else 100)
        self.watch = Watch(self)
        self.watch.start()
        self.load.ask("fill")
        self.say(f"{keys:,} keys of {value} bytes are there, {keys * value / 2**20:,.0f} MiB")

    @staticmethod
    def cluster_port(node):
        return node.arguments[node.arguments.index("--cluster-port") + 1]

    def view(self):
        return operator_api.of_any(self.cluster.nodes, "GET", "/v1/cluster")

    def node_view(self, view, node):
        return next((one for one in view["nodes"] if one["http_port"] == node.http_port), None)

    def is_done(self, node):
        """Whether the placement has given this node its share."""
        view = self.view()
        mine = self.node_view(view, node)
        moves = view["moves"]
        # What a cluster needs nobody for holds nothing: then it must have looked at it for a while.
        return mine is not None and (mine["holds"] > 0 or self.options.one_shard) and moves["copying"] == 0 and moves["waiting"] == 0

    def await_done(self, node):
        deadline = time.monotonic() + self.options.move_seconds
        since = None
        while True:
            if time.monotonic() > deadline:
                self.fail(f"{node.name}: its move is not done after {self.options.move_seconds:.0f} s: {self.why()}")
                return
            try:
                done = self.is_done(node)
            except (OSError, http.client.HTTPException, operator_api.Refused):
                done = False
            since = (since or time.monotonic()) if done else None
            if since and time.monotonic() - since > DONE_SECONDS:
                return
            time.sleep(LOOK_SECONDS)

    def why(self):
        try:
            view = self.view()
            states = ", ".join(f"{one['host']}:{one['port']} {one['state']} holds {one['holds']}" for one in view["nodes"])
            return f"moves {view['moves']}, problems {view['problems']}, {states}"
        except (OSError, http.client.HTTPException, operator_api.Refused) as error:
            return str(error)

    # ---- phases --------------------------------------------------------------------------------------

    def phase(self, name, act):
        """Lets something happen under load; the row of what was felt meanwhile."""
        self.watch.look()
        moved = self.watch.moved
        self.load.ask(f"phase {name}")
        began = time.monotonic()
        balanced = act()
        time.sleep(max(0.0, self.options.seconds_per_phase - (time.monotonic() - began)))
        self.watch.look()
        row = self.load.ask("phase between")
        row.update(moved=self.watch.moved - moved, balanced=balanced, held=self.held_since(began))
        self.rows.append(row)
        self.say(f"{name}: {row['per_second']:,.0f} ops/s, lowest {row['lowest_second']:,} at {row['lowest_at']:.1f} s, p50 {row['p50_us'] / 1000:.2f} ms, "
                 f"p99 {row['p99_us'] / 1000:.2f} ms, longest gap {row['gap_us'] / 1000:.0f} ms, moved {row['moved'] / 2**20:,.0f} MiB"
                 + (f", done after {balanced:.1f} s" if balanced else "") + (f", tried again: {row['retried']}" if row["retried"] else "") + self.described_held(row))
        return row

    @staticmethod
    def described_held(row):
        """Told, never forgiven: a run in which the machine stood still is to be made again."""
        return "".join(f"; the machine itself stood still for {seconds * 1000:.0f} ms, {at:.1f} s in" for at, seconds in row["held"])

    def held_since(self, began):
        """When, in seconds since then, the machine itself let nothing run, and for how long."""
        return [(at - began, seconds) for at, seconds, used in list(self.clock.stalls)
                if at >= began and used < HELD_BUSY_SHARE_MAX]

    def quiet(self):
        return None

    def with_kill(self, move):
        """Runs a move, with a kill in its middle where that is asked for. Gives its seconds."""
        began = time.monotonic()
        killer = None
        ended = threading.Event()
        if self.options.kill:
            killer = threading.Thread(target=self.kill_one, args=(ended,))
            killer.start()
        try:
            move()
            seconds = time.monotonic() - began
        finally:
            # Else it would start a node when all is over.
            ended.set()
            if killer:
                killer.join()
        return seconds

    def kill_one(self, ended):
        """As soon as something moves, and a little later."""
        before = self.watch.moved
        while self.watch.moved == before and not ended.is_set():
            time.sleep(LOOK_SECONDS)
        time.sleep(self.random.uniform(0.0, 2.0))
        if ended.is_set():
            self.say("the move was over before anybody was killed")
        victim = self.random.choice([node for node in self.cluster.nodes if node.running()])
        victim.kill()
        self.kills.append(victim.name)
        self.say(f"{victim.name} was killed")
        time.sleep(self.random.uniform(*RESTART_SECONDS))
        victim.spawn()
        self.say(f"{victim.name} is started again")
        try:
            victim.wait_ready()
            self.say(f"{victim.name} is ready")
        except servers.StartError as error:
            self.fail(str(error))

    def grow(self):
        node = self.cluster.add(self.options.durability, self.options.threads)

        def move():
            node.spawn()
            node.wait_ready()
            self.await_done(node)

        return self.with_kill(move)

    def shrink(self, node=None):
        node = node or self.cluster.nodes[-1]

        # One that was killed comes back to its cluster: it must not have been let go meanwhile.
        seconds = self.with_kill(lambda: self.order("drain" if self.options.kill else "remove", node))
        if self.options.kill:
            self.order("remove", node)
        node.stop()
        self.cluster.nodes.remove(node)
        self.gone.append(node)
        return seconds

    def order(self, verb, node):
        """Has the command line drain or remove a node, and waits until it has; given again where its exit code says to."""
        try:
            name = self.node_view(self.view(), node)["id"]
        except (OSError, http.client.HTTPException, operator_api.Refused, TypeError) as error:
            self.fail(f"{verb} {node.name}: what its id is cannot be asked: {error}")
            return
        deadline = time.monotonic() + self.options.move_seconds
        while True:
            left = max(1, int(deadline - time.monotonic()))
            words = ["node", verb, name, "--timeout", f"{left}s"]
            code, out, err = operator_api.command(self.cluster.others(node), words, left + COMMAND_END_SECONDS_MAX)
            with open(os.path.join(self.directory, "operator.log"), "a") as log:
                log.write(f"$ ringfort {' '.join(words)}\n{out}{err}exit code {code}\n")
            for line in out.splitlines():
                self.say(f"ringfort node {verb}: {line}")
            if code == 0:
                return
            said = "; ".join(err.splitlines()[-WORDS_AT_END_MAX:])
            if code not in EXIT_CODES_AGAIN or time.monotonic() >= deadline:
                self.fail(f"ringfort {' '.join(words)} ({node.name}): exit code {code}: {said}; {self.why()}")
                return
            self.say(f"ringfort node {verb}: exit code {code}, once more: {said}")
            time.sleep(LOOK_SECONDS)

    # ---- the runs ------------------------------------------------------------------------------------

    def find_rate(self):
        if self.options.rate:
            return self.options.rate
        self.load.order(f"closed {CLOSED_DEPTH}")
        time.sleep(1.0)
        row = self.phase("all it can", self.quiet)
        self.rows.pop()
        self.load.ask("idle")
        return int(row["per_second"] * self.options.share)

    def elastic(self):
        rate = self.find_rate()
        self.say(f"the load is {rate:,} commands a second")
        self.load.order(f"open {rate}")
        time.sleep(1.0)
        self.phase("3 nodes", self.quiet)
        for name in ("3 -> 4", "4 -> 5"):
            self.phase(name, self.grow)
        self.phase("5 nodes", self.quiet)
        for name in ("5 -> 4", "4 -> 3"):
            self.phase(name, self.shrink)
        self.phase("3 again", self.quiet)

    def one_shard(self):
        rate = self.options.rate or ONE_SHARD_RATE
        self.load.order(f"open {rate}")
        time.sleep(1.0)
        self.phase("before", self.quiet)
        self.phase("join", self.grow)
        fourth = self.cluster.nodes[-1]
        leader = max(self.cluster.nodes, key=lambda node: node.shards("led"))
        self.phase("leader goes", lambda: self.shrink(leader))
        self.say(f"the joined node holds {fourth.shards('voting')} voters")
        self.phase("after", self.quiet)

    # ---- the verdict ---------------------------------------------------------------------------------

    def judge_load(self):
        """All keys are read, and what was seen of the shared ones is judged."""
        self.load.ask("idle")
        for row in self.rows:
            if row["gave_up"]:
                self.fail(f"{row['phase']}: {row['gave_up']} commands were refused until the client gave up")
        checked = self.load.ask("check")
        self.lost = checked["lost"]
        if self.lost:
            self.fail(f"{self.lost} acknowledged writes are lost: {'; '.join(checked['examples'])}")
        keys = self.load.quit()
        verdicts = dict(zip(keys, history.judge_all(keys.values(), self.options.judge_seconds)))
        bad = [key for key, verdict in verdicts.items() if verdict.good is False]
        undecided = [key for key, verdict in verdicts.items() if verdict.good is None]
        self.say(f"{checked['checked']:,} keys read back, {self.lost} lost; {sum(map(len, keys.values())):,} operations on {len(keys):,} shared "
                 f"keys judged: {len(bad)} not linearizable, {len(undecided)} undecided")
        for key in bad[:WORDS_AT_END_MAX]:
            self.fail("\n    ".join(history.described(f"shared:{key}", keys[key], verdicts[key])))
        if undecided:
            named = ", ".join(f"shared:{key} ({verdicts[key].why})" for key in undecided[:WORDS_AT_END_MAX])
            self.fail(f"{len(undecided)} keys are undecided, nobody knows whether they are in order: {named}")
        if bad or undecided:
            path = os.path.join(self.directory, "histories.jsonl")
            self.say(f"judge them again: {history.save(path, ((key, keys[key]) for key in bad + undecided))}")

    def judge_figures(self):
        before = self.rows[0]
        for row in self.rows[1:]:
            name = row["phase"]
            if self.options.one_shard:
                if row["gap_us"] / 1000 > GAP_MS_MAX:
                    self.missed.append(f"{name}: unavailable for {row['gap_us'] / 1000:.0f} ms, more than {GAP_MS_MAX:.0f} ms")
                continue
            if row["lowest_second"] < LOWEST_SHARE * before["per_second"]:
                self.missed.append(f"{name}: {row['lowest_second']:,} commands in the worst second, less than {LOWEST_SHARE:.0%} of "
                                   f"{before['per_second']:,.0f}{self.described_held(row)}")
            if row["p99_us"] >= P99_TIMES * before["p99_us"]:
                self.missed.append(f"{name}: p99 {row['p99_us'] / 1000:.1f} ms, {row['p99_us'] / before['p99_us']:.0f} times that of before{self.described_held(row)}")

    def table(self):
        print(f"\n| {'phase':10} | ops/s | lowest second | p50 ms | p99 ms | slowest ms | longest gap ms | moved MiB | done after s | tried again | errors |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
        for row in self.rows:
            balanced = "" if row["balanced"] is None else f"{row['balanced']:.1f}"
            print(f"| {row['phase']:10} | {row['per_second']:,.0f} | {row['lowest_second']:,} | {row['p50_us'] / 1000:.2f} | {row['p99_us'] / 1000:.2f} | "
                  f"{row['max_us'] / 1000:.0f} | {row['gap_us'] / 1000:.0f} | {row['moved'] / 2**20:,.0f} | {balanced} | "
                  f"{sum(row['retried'].values()):,} | {row['gave_up']} |")
        print(f"acknowledged writes lost: {self.lost}" + (f"; killed: {', '.join(self.kills)}" if self.kills else ""))

    def panics(self):
        for node in [*self.cluster.nodes, *self.gone]:
            lines = [line.strip() for line in node.log_since(0).splitlines() if "panicked" in line]
            if lines:
                self.fail(f"{node.name} panicked: {lines[0]}")

    gone = ()
    lost = 0

    def execute(self):
        self.gone = []
        self.prepare()
        self.one_shard() if self.options.one_shard else self.elastic()
        self.judge_load()
        self.panics()
        self.judge_figures()
        self.table()
        for text in self.missed:
            print(f"elastic: missed: {text}")
        strict = self.missed and not self.options.report_only
        print(f"elastic: {len(self.failures)} failures, {len(self.missed)} limits missed{' (reported only)' if self.options.report_only else ''}")
        return 1 if self.failures or strict else 0

    def close(self):
        if self.watch:
            self.watch.stopped.set()
        if self.load:
            self.load.kill()
        if self.cluster:
            self.cluster.close()


def size(text):
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    text = text.lower().removesuffix("b")
    return int(float(text[:-1]) * units[text[-1]]) if text[-1] in units else int(text)


def parse():
    parser = argparse.ArgumentParser(prog="elastic.sh", description=__doc__)
    parser.add_argument("--seconds-per-phase", type=float, default=30, help="at least; a move takes what it takes (default 30)")
    parser.add_argument("--data", type=size, default=1 << 30, help="bytes of all values (default 1gb)")
    parser.add_argument("--value-bytes", type=int, default=1024)
    parser.add_argument("--kill", action="store_true", help="SIGKILL of a random node in the middle of each move")
    parser.add_argument("--one-shard", action="store_true", help="all data in one shard, which moves under a light load")
    parser.add_argument("--report-only", action="store_true", help="figures decide nothing: for machines that are too small, or busy")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--share", type=float, default=0.5, help="the load, as a part of what the cluster can do")
    parser.add_argument("--rate", type=int, help="the load in commands a second, whatever the cluster can do")
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="workers of each node; all nodes share this machine")
    parser.add_argument("--durability", default="everysec", choices=("always", "everysec", "none"))
    parser.add_argument("--wal-segment", default="16mb")
    parser.add_argument("--wal-max", default="256mb")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of every node")
    parser.add_argument("--move-seconds", type=float, default=600, help="bound for each move")
    parser.add_argument("--judge-seconds", type=float, default=history.SECONDS_MAX, help="bound for the verdict on the shared keys")
    parser.add_argument("--keep", action="store_true", help="keep data and logs of a run without failures too")
    return parser.parse_args()


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = servers.work_dir("elastic")
    print(f"elastic: seed {options.seed}, data in {directory}", flush=True)
    run = Run(options, directory)
    code = 1
    try:
        code = run.execute()
    except (servers.StartError, LoadError, ProtocolError, ReplyError) as error:
        print(f"elastic: {error}")
    finally:
        run.close()
        if code == 0 and not options.keep:
            servers.remove(directory)
        else:
            print(f"elastic: data and logs are in {directory}; again: scripts/elastic.sh --seed {options.seed}")
    sys.exit(code)


if __name__ == "__main__":
    main()
