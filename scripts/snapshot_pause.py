"""Measures how long snapshots hold requests up. Run by scripts/snapshot_pause.sh, which says what it needs.

A node of one worker is filled; then one connection asks GET after GET while another process keeps writing, first with
snapshots held off, then while every shard is written again and again. Whatever the machine itself holds up shows in
both phases.
"""

import argparse
import multiprocessing
import random
import sys
import time
import urllib.request

import server as servers
from resp import encode

VALUE_BYTES = 1024
LIMIT_MS = 5.0
# The share of GETs that may be late by chance: no machine that does other things too is ever free of it.
NOISE = 0.0001
BATCH = 200


def key(number):
    return b"key:%012d" % number


def fill(node, keys):
    value = bytes(random.Random(1).randbytes(VALUE_BYTES))
    with node.client(timeout=120) as client:
        for first in range(0, keys, BATCH):
            numbers = range(first, min(first + BATCH, keys))
            client.send_raw(b"".join(encode([b"SET", key(n), value]) for n in numbers))
            client.stream.read(5 * len(numbers))


def keep_writing(node, keys, seconds):
    """About 10,000 SETs a second, in batches."""
    chance = random.Random(2)
    value = chance.randbytes(VALUE_BYTES)
    end = time.monotonic() + seconds
    with node.client(timeout=120) as client:
        while time.monotonic() < end:
            client.send_raw(b"".join(encode([b"SET", key(chance.randrange(keys)), value]) for _ in range(50)))
            client.stream.read(5 * 50)
            time.sleep(0.005)


def gaps(node, keys, seconds):
    """Milliseconds of each GET."""
    chance = random.Random(3)
    taken = []
    end = time.monotonic() + seconds
    with node.client(timeout=120) as client:
        while True:
            started = time.monotonic()
            if started > end:
                return sorted(taken)
            client.call("GET", key(chance.randrange(keys)))
            taken.append((time.monotonic() - started) * 1000)


def snapshots(node):
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith("ringfort_snapshots_total"))


def phase(node, name, keys, seconds, wal_max):
    with node.client(timeout=120) as client:
        client.call("CONFIG", "SET", "wal-max-bytes", wal_max)
    time.sleep(2)
    before = snapshots(node)
    writer = multiprocessing.Process(target=keep_writing, args=(node, keys, seconds))
    writer.start()
    taken = gaps(node, keys, seconds)
    writer.join()
    made = snapshots(node) - before
    late = sum(1 for ms in taken if ms > LIMIT_MS)
    at = lambda share: taken[min(len(taken) - 1, int(len(taken) * share))]
    print(f"{name}: {len(taken):,} GETs, {made} snapshots, p50 {at(0.5):.3f} ms, p99.9 {at(0.999):.2f} ms, "
          f"p99.99 {at(0.9999):.2f} ms, longest {taken[-1]:.2f} ms, {late} beyond {LIMIT_MS:g} ms", flush=True)
    return made, late / len(taken)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mib", nargs="?", type=int, default=1024, help="data in the node, in MiB (default 1024)")
    parser.add_argument("seconds", nargs="?", type=int, default=20, help="length of each phase (default 20)")
    options = parser.parse_args()
    keys = options.mib * 1024 * 1024 // VALUE_BYTES
    directory = servers.work_dir("snapshot-pause")
    node = servers.ringfort(directory)
    try:
        node.start()
        fill(node, keys)
        print(f"{keys:,} keys of {VALUE_BYTES} bytes, {node.rss_bytes() / 2**20:,.0f} MiB resident", flush=True)
        _, late_without = phase(node, "without snapshots", keys, options.seconds, "64gb")
        made, late = phase(node, "with snapshots", keys, options.seconds, "1mb")
    except servers.StartError as error:
        sys.exit(f"snapshot_pause: {error}")
    finally:
        node.kill()
        servers.remove(directory)
    if made == 0:
        sys.exit("snapshot_pause: no snapshot was written, so nothing was measured")
    sys.exit(1 if late > 2 * late_without + NOISE else 0)


if __name__ == "__main__":
    main()
