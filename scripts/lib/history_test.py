"""The judge on histories that are known to be good or bad: it must tell them apart before its word counts.

    python3 scripts/lib/history_test.py [N]      N times small histories against the exhaustive judge of history_small.py
"""

import contextlib
import io
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

import history
import history_small
from history import NEVER, OK, REFUSED, UNKNOWN, Bounds, Operation

SMALL_DEFAULT = 250
# What a kill under load may leave on one key must be judged with so few configurations.
GAP_CONFIGURATIONS_MAX = 20_000
GAP_UNKNOWN = 12


def op(kind, argument, invoked, returned, value=None, outcome=OK, client=0):
    return Operation(client, kind, argument, invoked, returned, outcome, value)


def unknown(kind, argument, invoked):
    return op(kind, argument, invoked, NEVER, outcome=UNKNOWN)


def written(value, invoked, returned):
    return op("set", value, invoked, returned, b"OK")


def read(value, invoked, returned):
    return op("get", None, invoked, returned, value)


# name -> operations
GOOD = {
    "one after another": [written(b"a", 0, 1), read(b"a", 2, 3), written(b"b", 4, 5), read(b"b", 6, 7)],
    "a read beside a write sees either": [
        written(b"a", 0, 1), written(b"b", 2, 5), read(b"b", 3, 4), read(b"b", 4.5, 6)],
    "two writes at once end in either order": [
        written(b"a", 0, 4), written(b"b", 1, 3), read(b"a", 5, 6)],
    "a write without an answer is seen late": [
        written(b"a", 0, 1), unknown("set", b"b", 2), read(b"a", 3, 4), read(b"b", 90, 91)],
    "a write without an answer is never seen": [
        written(b"a", 0, 1), unknown("set", b"b", 2), read(b"a", 3, 4), read(b"a", 90, 91)],
    "INCR without an answer counts, or not": [
        op("incrby", 1, 0, 1, 1), unknown("incrby", 1, 2), unknown("incrby", 1, 3), op("incrby", 1, 4, 5, 3)],
    "a refused write is not there": [
        written(b"a", 0, 1), op("set", b"b", 2, 3, outcome=REFUSED), read(b"a", 4, 5)],
    "a deletion nobody confirmed makes room for SET NX": [
        written(b"a", 0, 1), unknown("del", None, 2), op("setnx", b"b", 3, 4, b"OK"), read(b"b", 5, 6)],
    "GETSET hands the values on": [
        op("getset", b"a", 0, 1, None), op("getset", b"b", 2, 3, b"a"), op("getdel", None, 4, 5, b"b"),
        op("del", None, 6, 7, 0)],
    "appended in the order of the lengths": [
        op("append", b"xx", 0, 5, 3), op("append", b"y", 0, 5, 1), read(b"yxx", 6, 7)],
    "pushed": [
        op("rpush", b"1", 0, 1, 1), unknown("rpush", b"2", 2), op("rpush", b"3", 3, 4, 3),
        op("lrange", None, 5, 6, (b"1", b"2", b"3"))],
}

# name -> (operations, a word of the explanation)
BAD = {
    "stale read": ([
        written(b"a", 0, 1), written(b"b", 2, 3), read(b"a", 4, 5), read(b"b", 6, 7)], "stale read"),
    "a read that goes back": ([
        written(b"a", 0, 1), unknown("set", b"b", 2), read(b"b", 3, 4), read(b"a", 5, 6), read(b"b", 7, 8)], "stale read"),
    "lost write": ([
        written(b"a", 0, 1), written(b"b", 2, 3), read(b"a", 4, 5), read(b"a", 6, 7)], "lost write"),
    "all lost": ([written(b"a", 0, 1), read(None, 2, 3), read(None, 4, 5)], "lost write"),
    "SET applied twice": ([
        written(b"a", 0, 1), written(b"b", 2, 3), read(b"b", 4, 5), read(b"a", 6, 7), read(b"a", 8, 9)], ""),
    "a write without an answer seen again after another": ([
        unknown("set", b"a", 0), read(b"a", 1, 2), written(b"b", 3, 4), read(b"b", 5, 6), read(b"a", 7, 8), read(b"a", 9, 10)], ""),
    "value from nowhere": ([written(b"a", 0, 1), read(b"z", 2, 3)], ""),
    "phantom after a definite error": ([
        written(b"a", 0, 1), op("set", b"b", 2, 3, outcome=REFUSED), read(b"b", 4, 5)], "phantom"),
    "INCR applied twice": ([op("incrby", 1, 0, 1, 1), op("incrby", 1, 2, 3, 3)], "a write's reply"),
    "INCR without an answer applied twice": ([
        op("incrby", 1, 0, 1, 1), unknown("incrby", 1, 2), op("get", None, 4, 5, b"3")], ""),
    "a refused INCR counted": ([
        op("incrby", 1, 0, 1, 1), op("incrby", 1, 2, 3, outcome=REFUSED), read(b"2", 4, 5)], ""),
    "two SET NX both won": ([
        op("setnx", b"a", 0, 5, b"OK"), op("setnx", b"b", 0, 5, b"OK")], ""),
    "two GETSET saw the same value": ([
        written(b"a", 0, 1), op("getset", b"b", 2, 5, b"a"), op("getset", b"c", 2, 5, b"a")], ""),
    "seen before it was sent": ([read(b"a", 0, 1), written(b"a", 2, 3)], ""),
    "an element pushed twice": ([
        op("rpush", b"1", 0, 1, 1), op("lrange", None, 2, 3, (b"1", b"1"))], ""),
    "an acknowledged APPEND is gone": ([
        op("append", b"x", 0, 1, 1), op("append", b"y", 2, 3, 2), read(b"y", 4, 5)], ""),
}


def random_history(source, clients=6, count=180):
    """What a correct register would answer to clients that overlap: each operation takes effect at one moment between
    its sending and its return; some are never answered, and then have had their effect or not."""
    state, operations, free_at = None, [], [source.random() for _ in range(clients)]
    planned = []
    for number in range(count):
        client = min(range(clients), key=free_at.__getitem__)
        invoked = free_at[client]
        effect = invoked + source.expovariate(2)
        returned = effect + source.expovariate(2)
        free_at[client] = returned + source.random()
        kind = source.choice(("set", "get", "get", "setnx", "getset", "del"))
        argument = b"%d" % number if kind in ("set", "setnx", "getset") else None
        planned.append((effect, client, kind, argument, invoked, returned))
    for effect, client, kind, argument, invoked, returned in sorted(planned):
        fate = source.random()
        if fate < 0.03:
            operations.append(unknown(kind, argument, invoked))
            if fate < 0.015:
                state, _ = history.STEPS[kind](state, argument)
            continue
        state, reply = history.STEPS[kind](state, argument)
        operations.append(op(kind, argument, invoked, returned, reply, client=client))
    return operations


def spoil(operations, source):
    """Turns one read into a stale one: the value before an acknowledged, settled SET. None if there is no such place."""
    for at, one in enumerate(operations):
        if one.kind == "get" and one.value is not None and source.random() < 0.2:
            settled = [w for w in operations if w.kind == "set" and w.outcome == OK and w.returned < one.invoked]
            if len(settled) > 3:
                oldest = min(settled, key=lambda w: w.returned)
                newer = [w for w in settled if w.invoked > oldest.returned]
                if newer and oldest.argument != one.value:
                    return operations[:at] + [one._replace(value=oldest.argument)] + operations[at + 1:]
    return None


def gap(family, source):
    """What a kill leaves on a key: many clients at once, many of them without an answer, some of those applied. Then all goes on."""
    write, reading = {"register": ("set", "get"), "counter": ("incrby", "get"), "text": ("append", "get"), "list": ("rpush", "lrange")}[family]
    operations, state, now, values = [], None, 0.0, iter(range(1, 10_000))

    def one():
        value = next(values)
        return source.randrange(1, 100) if family == "counter" else b"%d;" % value

    def step(kind, argument, invoked, returned):
        nonlocal state
        state, reply = history.STEPS[kind](state, argument)
        operations.append(op(kind, argument, invoked, returned, reply))

    for at in range(60):
        if at % 15 == 10:
            lost = [one() for _ in range(GAP_UNKNOWN // 4)]
            operations.extend(unknown(write, argument, now) for argument in lost)
            for argument in source.sample(lost, source.randrange(len(lost) + 1)):
                state, _ = history.STEPS[write](state, argument)
            now += 1
        moments = sorted(now + source.random() for _ in range(8))
        for moment in moments:
            kind = source.choice((write, write, reading))
            step(kind, one() if kind == write else None, now + source.random() * (moment - now), moment + source.random())
        now += 2.5
    for _ in range(3):
        step(reading, None, now, now + 0.5)
        now += 1
    return operations


def without_a_write(operations):
    """The same with a reply at the end that one of the last acknowledged writes is missing from."""
    last = operations[-1]
    value = last.value
    if isinstance(value, tuple):
        value = value[:-1]
    elif last.kind == "get" and value.endswith(b";"):
        before = [one.value for one in operations if one.kind == "get" and one.value not in (None, value)]
        value = before[0]
    else:
        value = b"%d" % (int(value) - 1)
    return operations[:-1] + [last._replace(value=value)]


def gaps():
    """Complaints; and the most configurations that were needed."""
    most = 0
    for seed in range(24):
        source = random.Random(seed)
        family = ("register", "counter", "text", "list")[seed % 4]
        good = gap(family, source)
        for operations, wanted in ((good, True), (without_a_write(good), False)):
            found = history.history_search.search(operations, Bounds(GAP_CONFIGURATIONS_MAX))
            most = max(most, found.explored)
            if found.good is not wanted:
                yield f"{family} with a gap, seed {seed}: {found.good} instead of {wanted} {found.why}"
    print(f"history: {GAP_UNKNOWN} writes without an answer: {most:,} configurations at most")


def small(count):
    """Each small history, in order and spoiled, against the judge that tries everything."""
    kinds = {True: 0, False: 0}
    for seed in range(count):
        source = random.Random(seed)
        for family in history_small.KINDS:
            operations = history_small.draw(family, source)
            for _ in range(3):
                wanted = history_small.is_explained(operations)
                kinds[wanted] += 1
                found = history.judge(operations).good
                if found is not wanted:
                    yield "\n  ".join([f"small {family}, seed {seed}: {found} instead of {wanted}", *map(str, operations)])
                operations = history_small.mutate(operations, source)
    if min(kinds.values()) < count:
        yield f"the small histories are of one sort: {kinds}"
    print(f"history: {kinds[True]:,} good and {kinds[False]:,} bad small histories judged like by trying everything")


def too_hard():
    """Which of many even numbers were added? None make an odd one, but whoever tries them one by one will not find that out."""
    return [unknown("incrby", 2 * number, 0) for number in range(1, 40)] + [read(b"701", 1, 2), read(b"701", 3, 4)]


def end_this_process(_operations, _bounds):
    os.kill(os.getpid(), signal.SIGKILL)


def bounds():
    """Whatever takes too long ends in time, as undecided, and takes no verdict from the others."""
    found = history.judge(too_hard(), Bounds(5_000))
    if found.good is not None or "given up after" not in found.why:
        yield f"a bound of configurations: {found}"
    started = time.monotonic()
    found = history.judge(too_hard(), Bounds(10 ** 9, started + 0.2))
    if found.good is not None or "the time was over" not in found.why or time.monotonic() - started > 5:
        yield f"a bound of time: {found} after {time.monotonic() - started:.1f} s"
    histories = {"good": GOOD["pushed"], "hard": too_hard(), "bad": BAD["stale read"][0], "refused": GOOD["a refused write is not there"]}
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "histories.jsonl")
        history.save(path, histories.items())
        if history.load(path) != {key: sorted(one, key=lambda one: one.invoked) for key, one in histories.items()}:
            yield "histories that were written and read are not the same"
        ended = subprocess.run([sys.executable, history.__file__, path, "--seconds", "1"], capture_output=True, text=True, timeout=60)
        for part in ("UNDECIDED hard: ", "VIOLATION bad: stale read", "2 linearizable, 1 violations, 1 undecided"):
            if part not in ended.stdout or ended.returncode != 1:
                yield f"the program ended with {ended.returncode} and does not say {part!r}: {ended.stdout}{ended.stderr}"
        history.save(path, [("good", histories["good"])])
        ended = subprocess.run([sys.executable, history.__file__, path], capture_output=True, text=True, timeout=60)
        if ended.returncode != 0:
            yield f"the program on a good history: {ended.returncode}: {ended.stdout}{ended.stderr}"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool, contextlib.redirect_stderr(io.StringIO()):
        found = history.on_all(pool, end_this_process, [[]], [0], Bounds(1, time.monotonic() + 30))
    if found[0].good is not None or "was ended" not in found[0].why:
        yield f"a judge that was killed: {found}"


def main():
    failures = []
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SMALL_DEFAULT
    for complaints in (small(count), gaps(), bounds()):
        failures.extend(complaints)
    for name, operations in GOOD.items():
        verdict = history.judge(operations)
        if not verdict.good:
            failures.append(f"good history refused: {name}: {verdict.why}")
    for name, (operations, word) in BAD.items():
        verdict = history.judge(operations)
        if verdict.good is not False or word not in verdict.why:
            failures.append(f"bad history: {name}: {verdict.good}, {verdict.why}")
    started, spoiled = time.monotonic(), 0
    for seed in range(60):
        source = random.Random(seed)
        operations = random_history(source)
        if not history.judge(operations).good:
            failures.append(f"random history {seed} is correct and was not found so")
        bad = spoil(operations, source)
        if bad:
            spoiled += 1
            if history.judge(bad).good is not False:
                failures.append(f"random history {seed} with a stale read was accepted")
    took = time.monotonic() - started
    if spoiled < 20:
        failures.append(f"only {spoiled} histories could be spoiled")
    print("\n".join(failures) or f"history: {len(GOOD)} good and {len(BAD)} bad histories told apart; "
          f"60 random ones, {spoiled} of them spoiled, in {took:.1f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
