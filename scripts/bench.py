"""The measurements behind scripts/bench.sh: what they are, how they are taken, how they are judged.

The yardstick is CPU time of the server's process per operation: requests per second depend on the
client, which on a small machine competes with the server. Both servers run at the same time, one of
them idle, and are measured in turns, so that a change of the machine's mood meets both.
"""

import argparse
import csv
import hashlib
import io
import os
import platform
import statistics
import subprocess
import sys
import threading
import time

import groups
import server as servers
from resp import Client, ProtocolError, ReplyError, encode

ROWS = ["p1", "p16", "p64", "always", "memory", "restart", "tests", "full"]
CLUSTER_ROWS = ["c1", "c16", "c64", "cget"]
CLUSTER_LIMITS = {"c1": 1.0, "c16": 0.6, "c64": 0.5, "cget": 0.6}
LIMITS = {"p1": 1.0, "p16": 0.55, "p64": 0.35, "always": 0.5, "memory": 0.75, "restart": 1.0, "tests": 1.0}
KEYSPACE = 100_000
KEYS = 1_000_000
LIST_LENGTH = 100_000

# redis-benchmark's default tests in its own order. A popping test must not run dry: at most as many
# pops as the filling test before it has pushed.
DEFAULT_TESTS = [
    "ping_inline", "ping_mbulk", "set", "get", "incr", "lpush", "rpush", "lpop", "rpop", "sadd", "hset",
    "spop", "zadd", "zpopmin", "lrange_100", "lrange_300", "lrange_500", "lrange_600", "mset",
]
POPS_MAX = {"spop": KEYSPACE, "zpopmin": KEYSPACE}
PUSHES_LIKE = {"rpush": "lpush", "lpop": "lpush", "rpop": "lpush"}
# `-t lrange_100` would push a list first and mix its cost in: the same command, on a list pushed before.
LRANGE = {"lrange_100": 99, "lrange_300": 299, "lrange_500": 499, "lrange_600": 599}


class Table:
    """Collects rows and prints them as one Markdown table."""

    def __init__(self):
        self.rows = []
        self.failed = False

    def add(self, what, unit, redis, ringfort, limit, digits=2, note=""):
        """`redis` and `ringfort` are samples; the medians are compared."""
        ratio = statistics.median(ringfort) / statistics.median(redis)
        verdict = "PASS" if ratio <= limit else "FAIL"
        self.failed |= verdict == "FAIL"
        row = [what, unit, _spread(redis, digits), _spread(ringfort, digits), f"{ratio:.2f}",
               f"{limit:.2f}", verdict, note]
        self.rows.append(row)
        if sys.stderr.isatty():
            print(f"  {what}: {ratio:.2f} {verdict}", file=sys.stderr, flush=True)

    def print(self):
        head = ["what", "unit", "redis median (min to max)", "ringfort median (min to max)", "ratio",
                "limit", "", "requests/s redis, ringfort"]
        print("| " + " | ".join(head) + " |")
        print("|" + "---|" * len(head))
        for row in self.rows:
            print("| " + " | ".join(row) + " |")


def _spread(samples, digits):
    median = f"{statistics.median(samples):.{digits}f}"
    if len(samples) == 1:
        return median
    return f"{median} ({min(samples):.{digits}f} to {max(samples):.{digits}f})"


def benchmark(server, arguments):
    """One run of redis-benchmark; returns (requests per second, CPU seconds of the server)."""
    command = [os.environ.get("REDIS_BENCHMARK", "redis-benchmark"), "-p", str(server.port), "--csv",
               "-c", "50", "-d", "64", "-r", str(KEYSPACE), *arguments]
    if getattr(server, "cluster", False):
        command.append("--cluster")
    before = server.cpu_seconds()
    output = run_while_serving(server, command, 600)
    cpu = server.cpu_seconds() - before
    lines = [row for row in csv.reader(io.StringIO(output)) if len(row) > 1 and row[0] != "test"]
    if len(lines) != 1:
        sys.exit(f"bench: {' '.join(command)} should print one result:\n{output}")
    return float(lines[0][1]), cpu


def run_while_serving(server, command, seconds):
    """Output of a run of redis-benchmark, which would try for ever to reach a server that has ended."""
    run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + seconds
    while True:
        try:
            output, _ = run.communicate(timeout=1)
            break
        except subprocess.TimeoutExpired:
            if server.running() and time.monotonic() < deadline:
                continue
        run.kill()
        run.wait()
        sys.exit(f"bench: {server.name} ended or hangs during {' '.join(command)}:\n{server.log_tail()}")
    if run.returncode != 0:
        sys.exit(f"bench: {' '.join(command)} ended with {run.returncode}:\n{output}")
    return output


def test_arguments(test):
    if test in LRANGE:
        return ["LRANGE", "mylist", "0", str(LRANGE[test])]
    return ["-t", test]


def requests_for(server, test, pipeline, seconds):
    """How many requests keep `server` busy for about `seconds`."""
    probe = 20_000 if pipeline == 1 or test in LRANGE else 100_000
    rate, _ = benchmark(server, ["-n", str(probe), "-P", str(pipeline), *test_arguments(test)])
    return max(probe, int(rate * seconds) // 1000 * 1000)


class Samples:
    """CPU microseconds per operation and requests per second of one test on both servers."""

    def __init__(self):
        self.cpu = {}
        self.rate = {}

    def take(self, server, test, pipeline, requests):
        rate, cpu = benchmark(server, ["-n", str(requests), "-P", str(pipeline), *test_arguments(test)])
        self.cpu.setdefault(server.name, []).append(cpu * 1e6 / requests)
        self.rate.setdefault(server.name, []).append(rate)

    def add_to(self, table, what, limit):
        names = list(self.cpu)
        note = ", ".join(f"{statistics.median(self.rate[name]):,.0f}" for name in names)
        table.add(what, "CPU us/op", self.cpu[names[0]], self.cpu[names[1]], limit, note=note)


def distinct(pair):
    """Two servers, the second named `ringfort` also where a redis-server stands in for it."""
    pair[1].name = "ringfort"
    return pair


def run_pipelines(options, table, rows):
    """SET and GET at pipeline 1, 16 and 64."""
    pair = distinct([servers.redis(options.dir), servers.ringfort(options.dir)])
    with_servers(pair, lambda: [
        measure(options, table, pair, test, int(row[1:]), LIMITS[row]) for row in rows for test in ("set", "get")
    ])


def run_always(options, table):
    pair = distinct([servers.redis(options.dir, appendonly=True, appendfsync="always"),
                     servers.ringfort(options.dir, durability="always")])
    with_servers(pair, lambda: measure(options, table, pair, "set", 16, LIMITS["always"], "always, "))


def measure(options, table, pair, test, pipeline, limit, prefix=""):
    requests = requests_for(pair[0], test, pipeline, options.seconds)
    samples = Samples()
    for _ in range(options.rounds):
        for server in pair:
            samples.take(server, test, pipeline, requests)
    samples.add_to(table, f"{prefix}{test.upper()}, pipeline {pipeline}", limit)


def run_cluster(options, table, rows):
    """Three nodes against a redis with two replicas, every process counted; a cluster client sends to the leaders."""
    pair = [groups.redis_replicated(options.dir), groups.ringfort_cluster(options.dir)]

    def run():
        for row in rows:
            if row != "cget":
                measure(options, table, pair, "set", int(row[1:]), CLUSTER_LIMITS[row], "three nodes, ")

    with_servers(pair, run)
    if "cget" in rows:
        pair = [servers.redis(options.dir), groups.ringfort_cluster(options.dir)]
        with_servers(pair, lambda: measure_gets(options, table, pair))


def measure_gets(options, table, pair):
    """GETs of keys that are there: nearly all of them, as random as they are."""
    for server in pair:
        benchmark(server, ["-n", str(12 * KEYSPACE), "-P", "16", "-t", "set"])
    measure(options, table, pair, "get", 16, CLUSTER_LIMITS["cget"], "three nodes against one redis, ")


def run_default_tests(options, table):
    """Every default test of redis-benchmark, one at a time, at pipeline 16."""
    pair = distinct([servers.redis(options.dir), servers.ringfort(options.dir)])

    def run():
        samples = {test: Samples() for test in DEFAULT_TESTS}
        requests = {}
        for _ in range(options.rounds):
            for server in pair:
                clear(server)
            for test in DEFAULT_TESTS:
                if test == "lrange_100":
                    for server in pair:
                        fill_list(server)
                if test not in requests:
                    requests[test] = default_test_requests(options, pair[0], test, requests)
                for server in pair:
                    samples[test].take(server, test, 16, requests[test])
        for test in DEFAULT_TESTS:
            samples[test].add_to(table, f"{test.upper()}, pipeline 16", LIMITS["tests"])

    with_servers(pair, run)


def default_test_requests(options, server, test, requests):
    if test in POPS_MAX:
        return POPS_MAX[test]
    if test in PUSHES_LIKE:
        return requests[PUSHES_LIKE[test]]
    return requests_for(server, test, 16, options.seconds / 2)


def clear(server):
    with server.client(timeout=120) as client:
        client.call("FLUSHALL")


def fill_list(server):
    """A list as long as LRANGE's test needs it, of redis-benchmark's own element size."""
    with server.client(timeout=120) as client:
        client.call("DEL", "mylist")
        for _ in range(LIST_LENGTH // 100):
            client.call("LPUSH", "mylist", *["x" * 64] * 100)


def run_full(options):
    """redis-benchmark as people run it: no -t, every default test."""
    server = servers.ringfort(options.dir)
    requests = 10_000 if options.quick else 100_000

    def run():
        command = [os.environ.get("REDIS_BENCHMARK", "redis-benchmark"), "-q", "-p", str(server.port),
                   "-P", "16", "-n", str(requests)]
        print(f"\n$ {' '.join(command)}", flush=True)
        output = run_while_serving(server, command, 900)
        results = [line.split("\r")[-1].strip() for line in output.split("\n")]
        results = [line for line in results if "requests per second" in line]
        print("\n".join(results))
        # 19 tests, and LPUSH once more for LRANGE.
        if len(results) != len(DEFAULT_TESTS) + 1 or "rror" in output:
            sys.exit(f"bench: it gave {len(results)} results:\n{output}")

    with_servers([server], run)


def with_servers(pair, work):
    try:
        for server in pair:
            server.start()
        work()
    except servers.StartError as error:
        sys.exit(f"bench: {error}")
    finally:
        for server in pair:
            server.kill()
            servers.remove(server.directory)


def key(number):
    return b"key:%012d" % number


def value(number):
    return hashlib.sha256(b"%d" % number).hexdigest().encode()


class Load:
    """1,000,000 SETs of 16-byte keys and 64-byte values, encoded once."""

    def __init__(self, keys):
        self.keys = keys
        self.chunks = [
            b"".join(encode([b"SET", key(n), value(n)]) for n in range(first, min(first + 1000, keys)))
            for first in range(0, keys, 1000)
        ]

    def into(self, server):
        """Sends everything, checks every reply and the number of keys."""
        with server.client(timeout=120) as client:
            writer = threading.Thread(target=lambda: [client.send_raw(chunk) for chunk in self.chunks])
            writer.start()
            expected = b"+OK\r\n" * 1000
            left = self.keys
            while left > 0:
                count = min(1000, left)
                if client.stream.read(5 * count) != expected[:5 * count]:
                    sys.exit(f"bench: {server.name} did not answer every SET with OK")
                left -= count
            writer.join()
            if client.call("DBSIZE") != self.keys:
                sys.exit(f"bench: {server.name} holds {client.call('DBSIZE')} keys, not {self.keys}")


def settled_rss(server):
    """Resident memory once it has stopped moving by more than 0.1 % in a second."""
    last = server.rss_bytes()
    for _ in range(20):
        time.sleep(1)
        now = server.rss_bytes()
        if abs(now - last) <= last // 1000:
            return now
        last = now
    return last


def run_memory(options, table, load):
    pair = distinct([servers.redis(options.dir), servers.ringfort(options.dir)])
    total, growth = {}, {}

    def run():
        for server in pair:
            empty = settled_rss(server)
            load.into(server)
            total[server.name] = [settled_rss(server) / 1e6]
            growth[server.name] = [total[server.name][0] - empty / 1e6]

    with_servers(pair, run)
    for what, sizes in (("resident memory", total), ("resident memory above the empty server's", growth)):
        table.add(f"{what}, {load.keys:,} keys", "MB", sizes["redis"], sizes["ringfort"], LIMITS["memory"], 1)


def first_get_seconds(server, number):
    """From the start of the process until GET answers the right value."""
    wanted = value(number)
    start = time.monotonic()
    server.spawn()
    while time.monotonic() - start < 300:
        try:
            with Client(server.port, timeout=60) as client:
                while True:
                    try:
                        if client.call("GET", key(number)) == wanted:
                            return time.monotonic() - start
                        sys.exit(f"bench: {server.name} answered a wrong value after its restart")
                    except ReplyError as error:
                        if not str(error).startswith("LOADING"):
                            raise
        except (OSError, ProtocolError):
            if not server.running():
                sys.exit(f"bench: {server.name} did not come back:\n{server.log_tail()}")
    sys.exit(f"bench: {server.name} does not answer 300 s after its restart:\n{server.log_tail()}")


def run_restart(options, table, load):
    """Both keep their data on disk; a clean stop and a SIGKILL, as they recover differently."""
    pair = distinct([servers.redis(options.dir, appendonly=True), servers.ringfort(options.dir)])

    def run():
        for server in pair:
            load.into(server)
        # The last second of an everysec log is on its way to the disk.
        time.sleep(2)
        for what in ("SIGTERM", "SIGKILL"):
            times = {}
            for _ in range(options.rounds):
                for server in pair:
                    server.stop() if what == "SIGTERM" else server.kill()
                    took = first_get_seconds(server, load.keys - 1)
                    times.setdefault(server.name, []).append(took)
            table.add(f"restart after {what} to the first GET, {load.keys:,} keys", "s", times["redis"],
                      times["ringfort"], LIMITS["restart"])

    with_servers(pair, run)


def describe_machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), model)
    versions = [
        subprocess.run([binary, "--version"], capture_output=True, text=True,
                       env=servers.clean_environment()).stdout.strip()
        for binary in (servers.redis_binary(), servers.ringfort_binary())
    ]
    print(f"{os.cpu_count()} x {model}, Linux {platform.release()}; {versions[0]}; {versions[1]}\n", flush=True)


def parse_options():
    parser = argparse.ArgumentParser(prog="bench.sh", description="Compares ringfort with redis-server.")
    parser.add_argument("--quick", action="store_true", help="one short round, 100,000 keys: shows that it runs")
    parser.add_argument("--cluster", action="store_true", help="three nodes against a redis with two replicas: rows " + ", ".join(CLUSTER_ROWS))
    parser.add_argument("--rows", help="which rows, by comma (default: all of one node, or of the cluster)")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement (default 3, quick 1)")
    parser.add_argument("--seconds", type=float, help="length of one run on redis (default 2.5, quick 0.3)")
    parser.add_argument("--no-check", action="store_true", help="exit 0 also when a row is above its limit")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (0.3 if options.quick else 2.5)
    known = CLUSTER_ROWS if options.cluster else ROWS
    options.rows = options.rows.split(",") if options.rows else known
    unknown = set(options.rows) - set(known)
    if unknown:
        parser.error(f"unknown rows {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return options


def main():
    options = parse_options()
    options.dir = servers.work_dir("bench")
    describe_machine()
    table = Table()
    try:
        if options.cluster:
            run_cluster(options, table, options.rows)
        pipelines = [row for row in options.rows if row in ("p1", "p16", "p64")]
        if pipelines:
            run_pipelines(options, table, pipelines)
        if "always" in options.rows:
            run_always(options, table)
        if {"memory", "restart"} & set(options.rows):
            load = Load(KEYS // 10 if options.quick else KEYS)
            if "memory" in options.rows:
                run_memory(options, table, load)
            if "restart" in options.rows:
                run_restart(options, table, load)
        if "tests" in options.rows:
            run_default_tests(options, table)
        if table.rows:
            table.print()
        if "full" in options.rows:
            run_full(options)
    finally:
        servers.remove(options.dir)
    sys.exit(1 if table.failed and not options.no_check else 0)


if __name__ == "__main__":
    main()
