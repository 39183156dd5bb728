"""Three nodes with a password, and many clients' programs at once while leaders are killed, paused and stopped; see scripts/clients_cluster.sh.

Each program does the everyday part, prints `following PREFIX`, and then goes on writing and reading until its standard input ends, with the one client it has:
`ok N` for each number that was acknowledged and read back, `error TEXT` for a call that failed and is tried again, at last `right N` when all of
them are there. This end brings the faults, looks at the longest time each client was without a success, and reads everything once more through each node.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time

import groups
import server as servers
from resp import ReplyError

PASSWORD = "a password"
NODES = 3
SETTLED_SECONDS_MAX = 60.0
# Everyday operations of all programs at once, and the last reading: generous, as a busy machine is no fault of theirs.
EVERYDAY_SECONDS_MAX = 90.0
END_SECONDS_MAX = 60.0
# From a fault on, until every client that need not wait for the node itself has written again.
RECOVERY_SECONDS_MAX = 15.0
# How long a node stays away: longer than an election, and than what any of the clients waits for an answer.
AWAY_SECONDS = 5.0
CALM_SECONDS = 1.0
ERRORS_SHOWN = 4
BENCHMARK_REQUESTS = "20000"
BENCHMARK_SECONDS_MAX = 90
# Tests that redis-benchmark 7.0 runs by default, LRANGE in its lengths.
BENCHMARK_TESTS_MIN = 20


class Program(threading.Thread):
    """A client's program, and what it has said."""

    def __init__(self, name, command, environment, node):
        super().__init__(daemon=True)
        self.name = name
        # The node that it was told of: a plain client knows no other.
        self.node = node
        self.plain = "cluster" not in command
        self.following = None
        self.right = None
        self.numbers = 0
        self.last = None
        self.gaps = []
        self.errors = {}
        self.errors_path = environment["ERRORS"]
        with open(self.errors_path, "wb") as errors:
            self.process = subprocess.Popen(shlex.split(command), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=errors, text=True, bufsize=1)
        self.start()

    def run(self):
        for line in self.process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            now = time.monotonic()
            if word == "ok":
                if self.last is not None:
                    self.gaps.append((self.last, now))
                self.numbers, self.last = int(rest) + 1, now
            elif word == "error":
                self.errors[rest] = self.errors.get(rest, 0) + 1
            elif word == "following":
                self.following = rest
            elif word == "right":
                self.right = int(rest)

    def gap(self, since, until):
        """The longest time without a success that touches the window."""
        # What goes on right now has no end yet.
        gaps = self.gaps[:] + [(self.last or since, time.monotonic())]
        return max((to - begin for begin, to in gaps if begin < until and to > since), default=0.0)

    def wrote_since(self, moment):
        return self.last is not None and self.last > moment

    def words(self):
        with open(self.errors_path, errors="replace") as errors:
            return errors.read()[-3000:]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Failed(Exception):
    """What did not work; the text is the report."""


def until(seconds, holds, what):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what()}")
        time.sleep(0.05)


def led(member):
    return groups.total(groups.metrics(member), "ringfort_worker_shards_led")


def settle(group):
    def settled():
        try:
            return groups.settled(group)
        except OSError:
            return False
    until(SETTLED_SECONDS_MAX, settled, lambda: "all shards whole and led by all nodes alike")
    print(f"clients: the nodes lead {', '.join(f'{led(member):.0f}' for member in group.members)} shards", flush=True)


def start_programs(group, directory):
    programs = []
    for number, argument in enumerate(sys.argv[1:]):
        name, command = argument.split("=", 1)
        node = group.members[number % NODES]
        environment = {**os.environ, "PORT": str(node.port), "CLUSTER_PORT": str(node.cluster_port), "PASSWORD": PASSWORD,
                       "ERRORS": os.path.join(directory, f"program-{number}.err")}
        programs.append(Program(name, f"{command} client-{number}", environment, node))
    return programs


def alive(programs):
    for program in programs:
        if program.process.poll() is not None:
            raise Failed(f"{program.name} ended with {program.process.returncode}:\n{program.words()}")
    return True


def fault(group, programs, what, member, harm, heal):
    """Harms one node for a while. Clients that can reach others must go on meanwhile, the others once it is back."""
    share = led(member)
    began = time.monotonic()
    harm(member)
    others = [program for program in programs if not (program.plain and program.node is member)]
    until(RECOVERY_SECONDS_MAX, lambda: alive(programs) and all(program.wrote_since(began + CALM_SECONDS) for program in others),
          lambda: f"{what} of {member.name}: " + ", ".join(p.name for p in others if not p.wrote_since(began + CALM_SECONDS)) + " did not write again")
    time.sleep(max(0.0, began + AWAY_SECONDS - time.monotonic()))
    heal(member)
    healed = time.monotonic()
    until(RECOVERY_SECONDS_MAX, lambda: alive(programs) and all(program.wrote_since(healed + CALM_SECONDS) for program in programs),
          lambda: f"after {what} of {member.name}: " + ", ".join(
              p.name for p in programs if not p.wrote_since(healed + CALM_SECONDS)) + " did not write again")
    now = time.monotonic()
    gaps = ", ".join(f"{program.name} {program.gap(began, now):.1f}" + (" (its node)" if program not in others else "") for program in programs)
    print(f"clients: {what} of {member.name}, which led {share:.0f} shards, for {healed - began:.1f} s; "
          f"longest time without a success, s: {gaps}", flush=True)
    settle(group)


def kill(member):
    member.kill()


def pause(member):
    member.process.send_signal(signal.SIGSTOP)


def wake(member):
    member.process.send_signal(signal.SIGCONT)


def faults(group, programs):
    killed = max(group.members, key=led)
    fault(group, programs, "kill -9", killed, kill, lambda member: member.start())
    paused = max((member for member in group.members if member is not killed), key=led)
    try:
        fault(group, programs, "SIGSTOP", paused, pause, wake)
    finally:
        wake(paused)
    last = next(member for member in group.members if member not in (killed, paused))
    fault(group, programs, "SIGTERM", last, lambda member: member.stop(), lambda member: member.start())


def finish(group, programs):
    for program in programs:
        program.process.stdin.close()
    until(END_SECONDS_MAX, lambda: all(program.process.poll() is not None for program in programs),
          lambda: ", ".join(program.name for program in programs if program.process.poll() is None) + " did not end")
    failed = []
    for program in programs:
        program.join()
        if program.process.returncode != 0 or program.right != program.numbers:
            failed.append(f"{program.name} ended with {program.process.returncode}:\n{program.words()}")
            continue
        for member in group.members:
            missing = read_back(member, program)
            if missing:
                failed.append(f"{program.name}: {member.name} lacks {len(missing)} of {program.right} acknowledged writes: {missing[:5]}")
        errors = sorted(program.errors.items(), key=lambda one: -one[1])[:ERRORS_SHOWN]
        print(f"clients: {program.name}: {program.right} writes acknowledged and there, {sum(program.errors.values())} calls failed"
              + "".join(f"\n    {count} times {text}" for text, count in errors), flush=True)
    if failed:
        raise Failed("\n".join(failed))


def read_back(member, program):
    with member.client() as client:
        client.call("AUTH", PASSWORD)
        replies = client.pipeline([("GET", f"{program.following}:follow:{number}") for number in range(program.right)])
    return [(number, reply) for number, reply in enumerate(replies) if isinstance(reply, ReplyError) or reply != b"%d" % number]


def benchmark(group):
    """redis-benchmark's default tests through the plain port of each node, and as a cluster from the first on."""
    runs = [(member.name, ["-p", str(member.port)]) for member in group.members]
    runs.append(("the cluster port", ["--cluster", "-p", str(group.members[0].cluster_port)]))
    for name, words in runs:
        command = [os.environ.get("REDIS_BENCHMARK", "redis-benchmark"), *words, "-a", PASSWORD, "-q", "-n", BENCHMARK_REQUESTS, "-P", "16"]
        began = time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=BENCHMARK_SECONDS_MAX)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"redis-benchmark on {name} did not end in {BENCHMARK_SECONDS_MAX} s: {str(error.stdout)[-500:]}") from None
        said = done.stdout + done.stderr
        tests = said.count("requests per second")
        if done.returncode != 0 or "error" in said.lower() or tests < BENCHMARK_TESTS_MIN:
            raise Failed(f"redis-benchmark on {name} ended with {done.returncode} after {tests} tests:\n{said[-2000:]}")
        print(f"benchmark: {tests} tests on {name} in {time.monotonic() - began:.1f} s", flush=True)


def run(group, directory, programs):
    group.start()
    settle(group)
    benchmark(group)
    programs += start_programs(group, directory)
    until(EVERYDAY_SECONDS_MAX, lambda: alive(programs) and all(program.following for program in programs),
          lambda: ", ".join(program.name for program in programs if not program.following) + " did not get through the everyday part")
    print(f"clients: {len(programs)} clients did their everyday operations", flush=True)
    time.sleep(CALM_SECONDS)
    faults(group, programs)
    finish(group, programs)


def main():
    """Each argument is the name of a client and, after `=`, the command line of its program; a prefix for its keys is added to it."""
    directory = servers.work_dir("clients")
    group = groups.ringfort_cluster(directory, NODES, extra=["--requirepass", PASSWORD])
    programs = []
    why = None
    try:
        run(group, directory, programs)
    except (Failed, servers.StartError, OSError) as error:
        why = f"{type(error).__name__}: {error}"
    finally:
        for program in programs:
            program.end()
        for member in group.members:
            member.kill()
    if why:
        sys.exit(f"clients: {why}\nclients: data and logs are kept in {directory}")
    servers.remove(directory)
    print(f"clients: {len(programs)} clients follow three nodes through a kill, a pause and a stop, nothing acknowledged is missing")


if __name__ == "__main__":
    main()
