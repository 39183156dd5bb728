"""The load of a fault run: clients that write and read through everything, and note what they saw for history.py.

Keys are shared by all clients, so that their operations overlap; a key is retired after a bounded number of operations, so that judging
it stays quick. Values are never written twice to a key: what is read says who wrote it.
"""

import itertools
import random
import re
import threading
import time

from history import NEVER, OK, REFUSED, UNKNOWN, Operation
from resp import Client, ProtocolError, ReplyError, encode

TIMEOUT_SECONDS = 3.0
# Errors that say: certainly not applied.
DEFINITE = ("CLUSTERDOWN", "TRYAGAIN", "BUSY", "LOADING", "MISCONF", "OOM")
# Few keys take half of the load: there operations overlap. The others live long enough to see several faults.
HOT_KEYS, COLD_KEYS = 24, 240
OPERATIONS_MAX = 200
# Each operation without an answer may double the work of the judge.
UNKNOWN_MAX = 10
BATCH_MAX = 8
MULTI_KEYS = 3
GAPS_FROM_SECONDS = 0.15
UNEXPECTED_MAX = 20

# What is done to a key of a family, weighted by repetition.
FAMILIES = {
    "register": ("set",) * 6 + ("get",) * 7 + ("setnx", "setxx", "getset", "getset", "getdel", "del"),
    "multi": ("mset", "mget", "set", "get"),
    "counter": ("incr",) * 4 + ("incrby", "get", "get"),
    "text": ("append",) * 3 + ("get", "get", "strlen"),
    "list": ("rpush",) * 3 + ("lrange",) * 2,
    "field": ("hincrby",) * 2 + ("hget",),
}
FAMILY_OF_NUMBER = ("register", "register", "register", "multi", "counter", "text", "list", "field")


class Key:
    """A key and all that was done to it. Changed under the pool's lock."""

    def __init__(self, number):
        self.family = FAMILY_OF_NUMBER[number % len(FAMILY_OF_NUMBER)]
        self.name = f"{self.family}:{number}"
        self.history = []
        self.started = 0
        self.unknown = 0

    def final_read(self):
        """(kind, command) that shows the whole value."""
        return {"list": ("lrange", ("LRANGE", self.name, 0, -1)), "field": ("get", ("HGET", self.name, "f"))}.get(
            self.family, ("get", ("GET", self.name)))


class Pool:
    """The keys in use, and those that are retired."""

    def __init__(self, first=0):
        self.lock = threading.Lock()
        self.numbers = itertools.count(first)
        self.values = itertools.count(1)
        self.live = [Key(next(self.numbers)) for _ in range(HOT_KEYS + COLD_KEYS)]
        self.retired = []

    def place(self, source):
        if source.random() < 0.5:
            return source.randrange(HOT_KEYS)
        return HOT_KEYS + source.randrange(COLD_KEYS)

    def take(self, place):
        """A key for one operation; whoever is full is replaced first."""
        with self.lock:
            key = self.live[place]
            if key.started >= OPERATIONS_MAX or key.unknown >= UNKNOWN_MAX:
                self.retired.append(key)
                key = self.live[place] = Key(next(self.numbers))
                # The family of a place may change: a place is no more than a share of the load.
            key.started += 1
            return key

    def note(self, key, operation):
        with self.lock:
            key.history.append(operation)
            if operation.outcome == UNKNOWN:
                key.unknown += 1

    def value(self):
        return b"%d" % next(self.values)

    def keys(self):
        with self.lock:
            return self.retired + self.live


class Sent:
    """A command and the operations it stands for: one for each of its keys."""

    def __init__(self, words, keys, kind, arguments):
        self.words = words
        self.keys = keys
        self.kind = kind
        self.arguments = arguments
        self.invoked = 0.0

    def operations(self, client, returned, outcome, values):
        for key, argument, value in zip(self.keys, self.arguments, values):
            yield key, Operation(client, self.kind, argument, self.invoked, returned, outcome, value)


def _single(words, key, kind, argument=None):
    return Sent(words, [key], kind, [argument])


def make(pool, source):
    """The next command, drawn at random."""
    key = pool.take(pool.place(source))
    choice = source.choice(FAMILIES[key.family])
    name = key.name
    if choice in ("mset", "mget"):
        return make_multi(pool, source, key, choice)
    if choice in ("set", "setnx", "setxx", "getset"):
        value = pool.value()
        words = ("GETSET", name, value) if choice == "getset" else ("SET", name, value)
        return _single(words + {"setnx": ("NX",), "setxx": ("XX",)}.get(choice, ()), key, choice, value)
    if choice in ("incr", "incrby", "hincrby"):
        by = 1 if choice == "incr" else source.randrange(2, 100)
        words = {"incr": ("INCR", name), "incrby": ("INCRBY", name, by), "hincrby": ("HINCRBY", name, "f", by)}[choice]
        return _single(words, key, "incrby", by)
    if choice == "append":
        value = pool.value() + b";"
        return _single(("APPEND", name, value), key, "append", value)
    if choice == "rpush":
        value = pool.value()
        return _single(("RPUSH", name, value), key, "rpush", value)
    if choice == "hget":
        return _single(("HGET", name, "f"), key, "get")
    if choice == "lrange":
        return _single(("LRANGE", name, 0, -1), key, "lrange")
    return _single((choice.upper(), name), key, choice)


def make_multi(pool, source, key, choice):
    """MSET or MGET. Keys of several shards are not one unit: each is judged as an operation of its own."""
    keys = [key]
    for _ in range(20):
        if len(keys) == MULTI_KEYS:
            break
        place = pool.place(source)
        if pool.live[place].family == "multi" and pool.live[place] not in keys:
            other = pool.take(place)
            # The place may have got a new key between the look and the taking.
            if other.family == "multi" and other not in keys:
                keys.append(other)
    if choice == "mget":
        return Sent(("MGET", *(one.name for one in keys)), keys, "get", [None] * len(keys))
    values = [pool.value() for _ in keys]
    words = ("MSET", *(word for one, value in zip(keys, values) for word in (one.name, value)))
    return Sent(words, keys, "set", values)


def outcome_of(sent, reply):
    """(outcome, a value for each key) of a reply."""
    if isinstance(reply, ReplyError):
        definite = str(reply).startswith(DEFINITE)
        # One part of a command over several shards was refused; others may have been applied.
        alone = len(sent.keys) == 1
        return (REFUSED if definite and alone else UNKNOWN), [None] * len(sent.keys)
    if sent.words[0] == "MGET":
        return OK, reply
    if sent.words[0] == "MSET":
        return OK, [reply] * len(sent.keys)
    return OK, [tuple(reply) if sent.kind == "lrange" else reply]


class Worker(threading.Thread):
    """One client: a connection to some node, another one after an error."""

    def __init__(self, number, seed, pool, nodes, pause_seconds):
        super().__init__(daemon=True)
        self.number = number
        self.random = random.Random(seed)
        self.pool = pool
        self.nodes = nodes
        self.pause_seconds = pause_seconds
        self.stopping = False
        self.connection = None
        self.node = None
        self.counts = {OK: 0, REFUSED: 0, UNKNOWN: 0}
        self.errors = {}
        self.unexpected = []
        self.fault = None
        # (begin, end) of the longer times without a success.
        self.gaps = []
        self.last_success = time.monotonic()

    def run(self):
        try:
            while not self.stopping:
                if self.connection is None and not self.connect():
                    time.sleep(0.03)
                    continue
                self.batch()
                time.sleep(self.random.uniform(0, 2 * self.pause_seconds))
        except Exception as error:  # a fault of the harness: the run must not pass because a client is gone
            self.fault = f"client {self.number}: {type(error).__name__}: {error}"
        self.disconnect()

    def connect(self):
        choices = [node for node in self.nodes if node is not self.node] or self.nodes
        self.node = self.random.choice(choices)
        try:
            self.connection = Client(self.node.port, host=self.node.host, timeout=TIMEOUT_SECONDS)
        except OSError:
            return False
        return True

    def disconnect(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def batch(self):
        size = 1 if self.random.random() < 0.6 else self.random.randint(2, BATCH_MAX)
        batch = [make(self.pool, self.random) for _ in range(size)]
        invoked = time.monotonic()
        for sent in batch:
            sent.invoked = invoked
        answered, refused = 0, False
        try:
            self.connection.send_raw(b"".join(encode(sent.words) for sent in batch))
            for sent in batch:
                reply = self.connection.read()
                self.take(sent, reply)
                answered += 1
                refused |= isinstance(reply, ReplyError)
        except (OSError, ProtocolError) as error:
            self.count_error(f"{type(error).__name__}: {error}")
            for sent in batch[answered:]:
                self.finish(sent, NEVER, UNKNOWN, [None] * len(sent.keys))
            self.disconnect()
        if refused and self.random.random() < 0.5:
            self.disconnect()

    def take(self, sent, reply):
        now = time.monotonic()
        outcome, values = outcome_of(sent, reply)
        if isinstance(reply, ReplyError):
            self.count_error(str(reply))
            if not str(reply).startswith((*DEFINITE, "UNKNOWN")) and len(self.unexpected) < UNEXPECTED_MAX:
                self.unexpected.append(f"{self.node.name}: {' '.join(map(str, sent.words))[:60]}: {reply}")
        self.finish(sent, now if outcome != UNKNOWN else NEVER, outcome, values)
        if outcome == OK:
            if now - self.last_success > GAPS_FROM_SECONDS:
                self.gaps.append((self.last_success, now))
            self.last_success = now

    def finish(self, sent, returned, outcome, values):
        for key, operation in sent.operations(self.number, returned, outcome, values):
            self.counts[outcome] += 1
            self.pool.note(key, operation)

    def count_error(self, text):
        text = re.sub(r"\d+", "N", text)[:110]
        if text in self.errors or len(self.errors) < 100:
            self.errors[text] = self.errors.get(text, 0) + 1


class Load:
    """All clients."""

    def __init__(self, nodes, clients, seed, pause_seconds=0.004):
        self.pool = Pool()
        self.workers = [Worker(number, f"{seed}/{number}", self.pool, nodes, pause_seconds) for number in range(clients)]

    def start(self):
        for worker in self.workers:
            worker.start()

    def stop(self):
        for worker in self.workers:
            worker.stopping = True
        for worker in self.workers:
            worker.join()
        now = time.monotonic()
        for worker in self.workers:
            worker.gaps.append((worker.last_success, now))

    def counts(self):
        return {outcome: sum(worker.counts[outcome] for worker in self.workers) for outcome in (OK, REFUSED, UNKNOWN)}

    def errors(self):
        together = {}
        for worker in self.workers:
            for text, count in worker.errors.items():
                together[text] = together.get(text, 0) + count
        return sorted(together.items(), key=lambda one: -one[1])

    def longest_gap(self, begin, end):
        """Seconds: the longest time that one client was without a success and that touches this window."""
        now = time.monotonic()
        gaps = [gap for worker in self.workers for gap in list(worker.gaps) + [(worker.last_success, now)]]
        return max((min(to, now) - since for since, to in gaps if since < end and to > begin), default=0.0)


class LateReads:
    """Readings of all live keys that a node finds when it wakes: sent while it sleeps and others have gone on."""

    CLIENT = 900

    def __init__(self, pool, node):
        self.pool = pool
        with pool.lock:
            self.keys = list(pool.live)
        self.connection = node.client(timeout=TIMEOUT_SECONDS)
        self.invoked = time.monotonic()
        self.connection.send_raw(b"".join(encode(key.final_read()[1]) for key in self.keys))

    def collect(self):
        """To be called when the node has woken. What was not answered takes no part: it was only read."""
        try:
            for key in self.keys:
                reply = self.connection.read()
                if not isinstance(reply, ReplyError):
                    value = tuple(reply) if isinstance(reply, list) else reply
                    self.pool.note(key, Operation(
                        self.CLIENT, key.final_read()[0], None, self.invoked, time.monotonic(), OK, value))
        except (OSError, ProtocolError):
            pass
        self.connection.close()


def read_back(pool, node, number, seconds):
    """Reads every key through one node, as operations of a client of its own. Returns None, or why that was impossible."""
    keys = pool.keys()
    deadline = time.monotonic() + seconds
    at = 0
    while at < len(keys):
        part = keys[at:at + 200]
        try:
            with node.client(timeout=TIMEOUT_SECONDS * 3) as client:
                invoked = time.monotonic()
                replies = client.pipeline([key.final_read()[1] for key in part])
                returned = time.monotonic()
            error = next((reply for reply in replies if isinstance(reply, ReplyError)), None)
        except (OSError, ProtocolError) as broken:
            error = broken
        if error is not None:
            if time.monotonic() > deadline:
                return f"{node.name}: the final state cannot be read: {type(error).__name__}: {error}"
            time.sleep(0.2)
            continue
        for key, reply in zip(part, replies):
            value = tuple(reply) if isinstance(reply, list) else reply
            key.history.append(Operation(number, key.final_read()[0], None, invoked, returned, OK, value))
        at += len(part)
    return None
