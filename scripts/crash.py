"""The crash test behind scripts/crash.sh: what the clients write, and what must be there afterwards.

Each client owns its keys and writes growing counters into them, in pipelined batches. For every key it
knows the last counter that was sent and the last that was acknowledged: after a restart the key must
hold a counter between the two. What a restart has shown is from then on as good as acknowledged.
"""

import os
import random
import subprocess
import sys
import threading
import time

import server as servers
from resp import Client, ProtocolError, ReplyError, encode

CLIENTS = 6
BATCH_MAX = 48
MSET_KEYS = 8
LIST_ELEMENTS_MAX = 400
FILLER_KEYS = 400
# Long enough that the log outgrows its limit and snapshots run meanwhile.
FILLER = "x" * 700
WAL_BYTES_MAX = 4 << 20


class Violation(Exception):
    """A promise that was broken; the text names key, mode and counters."""


class Counters:
    """Last sent and last acknowledged counter of each key of one client."""

    def __init__(self):
        self.sent = {}
        self.acked = {}

    def next(self, key):
        self.sent[key] = self.sent.get(key, 0) + 1
        return self.sent[key]

    def ack(self, key, value):
        self.acked[key] = value

    def check(self, key, found):
        acked, sent = self.acked.get(key, 0), self.sent.get(key, 0)
        if not acked <= found <= sent:
            raise Violation(f"{key}: acknowledged up to {acked}, sent up to {sent}, found {found}")

    def settle(self, key, found):
        """From here on what was found must stay."""
        self.check(key, found)
        self.sent[key] = self.acked[key] = found


class Writer:
    """One client: makes commands, reads their replies, checks its keys after a restart."""

    def __init__(self, number, seed, atomic):
        self.number = number
        self.random = random.Random(seed)
        self.counters = Counters()
        self.atomic = atomic
        self.writes = 0
        self.error = None

    def key(self, kind, index=0):
        return f"{kind}:{self.number}:{index}"

    def keys(self, kind, count):
        return [self.key(kind, index) for index in range(count)]

    def command(self):
        """One write: (arguments, keys with the counters it carries, expected reply)."""
        kind = self.random.choice(("string", "incr", "list", "hash", "mset", "mset", "filler", "rename"))
        if kind == "string":
            key = self.key("s", self.random.randrange(20))
            value = self.counters.next(key)
            return ("SET", key, value), [(key, value)], b"OK"
        if kind == "incr":
            key = self.key("i", self.random.randrange(4))
            value = self.counters.next(key)
            return ("INCR", key), [(key, value)], value
        if kind == "list":
            key = self.key("l")
            value = self.counters.next(key)
            return ("RPUSH", key, value), [(key, value)], None
        if kind == "hash":
            field = f"f{self.random.randrange(40)}"
            name = self.key("h") + "/" + field
            value = self.counters.next(name)
            return ("HSET", self.key("h"), field, value), [(name, value)], None
        if kind == "mset":
            keys = self.keys("m", MSET_KEYS)
            value = self.counters.next(self.key("m"))
            arguments = [word for key in keys for word in (key, value)]
            return ("MSET", *arguments), [(self.key("m"), value)], b"OK"
        if kind == "filler":
            key = self.key("f", self.random.randrange(FILLER_KEYS))
            value = self.counters.next(key)
            return ("SET", key, f"{value}:{FILLER}"), [(key, value)], b"OK"
        name = self.key("r")
        value = self.counters.next(name)
        if value == 1:
            return ("SET", self.key("r", 1), "moved"), [(name, value)], b"OK"
        return ("RENAME", self.key("r", value - 1), self.key("r", value)), [(name, value)], b"OK"

    def run(self, port):
        """Writes until the connection breaks."""
        try:
            with Client(port, timeout=20) as client:
                while True:
                    batch = [self.command() for _ in range(self.random.randint(1, BATCH_MAX))]
                    client.send_raw(b"".join(encode(arguments) for arguments, _, _ in batch))
                    for arguments, counters, expected in batch:
                        reply = client.read()
                        if isinstance(reply, ReplyError) or (expected is not None and reply != expected):
                            raise Violation(f"{arguments[:3]} was answered with {reply!r}, not {expected!r}")
                        for key, value in counters:
                            self.counters.ack(key, value)
                        self.writes += 1
                    self.trim(client)
        except Violation as violation:
            self.error = str(violation)
        except (OSError, ProtocolError):
            pass

    def trim(self, client):
        """Keeps the list short enough to be read back each time."""
        key = self.key("l")
        if client.call("LLEN", key) > LIST_ELEMENTS_MAX:
            client.call("LTRIM", key, -LIST_ELEMENTS_MAX // 2, -1)

    def verify(self, client):
        """Reads everything back; raises Violation."""
        for kind, count in (("s", 20), ("i", 4), ("f", FILLER_KEYS)):
            keys = self.keys(kind, count)
            for key, found in zip(keys, client.call("MGET", *keys)):
                self.counters.settle(key, int((found or b"0").split(b":")[0]))
        self.verify_list(client)
        fields = client.call("HGETALL", self.key("h"))
        hash_found = dict(zip(fields[::2], fields[1::2]))
        for number in range(40):
            field = f"f{number}"
            self.counters.settle(self.key("h") + "/" + field, int(hash_found.get(field.encode(), b"0")))
        self.verify_mset(client)
        self.verify_rename(client)

    def verify_list(self, client):
        key = self.key("l")
        elements = [int(element) for element in client.call("LRANGE", key, 0, -1)]
        last = elements[-1] if elements else 0
        if elements != list(range(last - len(elements) + 1, last + 1)):
            raise Violation(f"{key} has a gap or a repetition: {elements[:5]} ... {elements[-5:]}")
        self.counters.settle(key, last)

    def verify_mset(self, client):
        keys = self.keys("m", MSET_KEYS)
        found = [int(value or b"0") for value in client.call("MGET", *keys)]
        if self.atomic and len(set(found)) != 1:
            raise Violation(f"half an MSET: {dict(zip(keys, found))}")
        name = self.key("m")
        for value in found:
            self.counters.check(name, value)
        if len(set(found)) == 1:
            self.counters.settle(name, found[0])

    def verify_rename(self, client):
        """The one value lies under exactly one of the names it has had since the last look."""
        name = self.key("r")
        acked, sent = self.counters.acked.get(name, 0), self.counters.sent.get(name, 0)
        numbers = range(max(acked, 1), sent + 1)
        there = [number for number in numbers if client.call("EXISTS", self.key("r", number))]
        if not there and acked == 0:
            there = [0]
        if len(there) != 1 and (self.atomic or not there):
            raise Violation(f"{name}: after RENAMEs {acked} to {sent} it lies under {there}")
        if len(there) == 1:
            self.counters.settle(name, there[0])


class CrashTest:
    def __init__(self, mode, kills, seed, threads):
        self.mode = mode
        self.kills = kills
        self.random = random.Random(seed)
        self.directory = servers.work_dir("crash-" + mode)
        extra = ["--wal-max-bytes", str(WAL_BYTES_MAX)] if has_flag("--wal-max-bytes") else []
        self.server = servers.ringfort(self.directory, durability=mode, threads=threads, extra=extra)
        self.writers = [Writer(number, self.random.random(), threads == 1) for number in range(CLIENTS)]
        self.slowest_restart = 0.0

    def run(self):
        """Returns a line that sums up; raises Violation or StartError."""
        self.server.start()
        for kill in range(1, self.kills + 1):
            self.write_and_kill(kill)
            self.restart()
            with self.server.client(timeout=60) as client:
                for writer in self.writers:
                    writer.verify(client)
        self.server.stop()
        writes = sum(writer.writes for writer in self.writers)
        return (f"{self.mode}: {self.kills} kills, {writes:,} acknowledged writes, nothing lost; "
                f"slowest restart {self.slowest_restart:.2f} s")

    def write_and_kill(self, kill):
        threads = [threading.Thread(target=writer.run, args=(self.server.port,)) for writer in self.writers]
        for thread in threads:
            thread.start()
        time.sleep(self.random.choice((0.05, 0.3, 1.0)) * self.random.uniform(0.2, 2.0))
        if not self.server.running():
            raise Violation(f"the node ended by itself:\n{self.server.log_tail()}")
        if kill % 10 == 0:
            # A clean stop in between: it must lose nothing either, and be recovered from.
            self.server.stop()
        else:
            self.server.kill()
        for thread in threads:
            thread.join()
        errors = [writer.error for writer in self.writers if writer.error]
        if errors:
            raise Violation("; ".join(errors))

    def restart(self):
        if self.random.random() < 0.25:
            # Killed again while it recovers.
            self.server.spawn()
            time.sleep(self.random.uniform(0, 0.2))
            self.server.kill()
        started = time.monotonic()
        self.server.start()
        self.slowest_restart = max(self.slowest_restart, time.monotonic() - started)


def has_flag(flag):
    """Whether this build knows a flag of `serve`."""
    binary = servers.ringfort_binary()
    if servers.is_redis(binary):
        return False
    return flag in subprocess.run([binary, "serve", "--help"], capture_output=True, text=True,
                                  env=servers.clean_environment()).stdout


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    threads = int(os.environ.get("CRASH_THREADS", "1"))
    modes = os.environ.get("CRASH_MODES", "always everysec").split()
    print(f"crash: {kills} kills a mode, seed {seed}", flush=True)
    for mode in modes:
        test = CrashTest(mode, kills, seed, threads)
        try:
            print(f"crash: {test.run()}", flush=True)
        except (Violation, servers.StartError, ReplyError, ProtocolError, OSError) as error:
            test.server.kill()
            print(f"crash: {mode}: {type(error).__name__}: {error}\n"
                  f"  the data is kept in {test.directory}\n"
                  f"  again: scripts/crash.sh {kills} {seed}\n{test.server.log_tail()}", flush=True)
            sys.exit(1)
        servers.remove(test.directory)


if __name__ == "__main__":
    main()
